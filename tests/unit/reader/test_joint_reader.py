"""The joint reader: spans, distinct answers, the order of passages, threads, and artifacts that make no sense."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.tiny_encoder import EXAMPLES, ORACLE_HEADS, Oracle, write_joint

from kofid.encoder.pieces import Pieces
from kofid.errors import CorruptArtifactError, IncompatibleArtifactError
from kofid.reader.joint.confidence import Calibration, Settings, Weights
from kofid.reader.joint.reader import MAX_WINDOWS, JointReader, WindowReading, distinct_answers, reordered
from kofid.reader.joint.spans import MAX_PIECES, Span, best_spans
from kofid.reader.open import open_reader
from kofid.storage.artifacts import open_artifact
from kofid.types import Hit, Passage, RankingReader

QUESTIONS = [example.question.text for example in EXAMPLES]


def hits(*texts: str) -> list[Hit]:
    return [Hit(Passage(f"h{i}", f"제목 {i}", text), float(len(texts) - i)) for i, text in enumerate(texts)]


def oracle(
    encoder: Path, answers: Mapping[str, float], relevance: Mapping[str, float], settings: Settings, **more: Any
) -> JointReader:
    stand_in: Any = Oracle(encoder, answers, relevance)
    return JointReader(stand_in, ORACLE_HEADS, settings, **more)


@pytest.fixture(scope="module")
def reader(tiny_joint: Path) -> JointReader:
    opened = open_reader(str(tiny_joint))
    assert isinstance(opened, JointReader) and isinstance(opened, RankingReader)
    return opened


# --- spans ----------------------------------------------------------------------------------------------------


def some_pieces(rng: np.random.Generator, n: int) -> Pieces:
    """Return pieces of two characters that begin and end segments here and there."""
    last = rng.random(n) < 0.6
    last[-1] = True
    first = np.array([True, *last[:-1]])
    starts = 2 * np.arange(n, dtype=np.int32)
    return Pieces(np.zeros(n, dtype=np.int32), starts, starts + 2, first, last)


def slow_spans(start: np.ndarray, end: np.ndarray, pieces: Pieces, limit: int) -> list[tuple[int, int, float]]:
    firsts = sorted((i for i in range(len(pieces)) if pieces.first[i]), key=lambda i: -start[i])[:16]
    lasts = sorted((i for i in range(len(pieces)) if pieces.last[i]), key=lambda i: -end[i])[:16]
    pairs = [(start[i] + end[j], i, j) for i in firsts for j in lasts if 0 <= j - i < MAX_PIECES]
    return [(2 * i, 2 * j + 2, float(score)) for score, i, j in sorted(pairs, reverse=True)[:limit]]


@pytest.mark.parametrize("n", [1, 2, 9, 60, 160])
def test_spans_equal_two_loops(n: int) -> None:
    rng = np.random.default_rng(n)
    for limit in (1, 8, 500):
        pieces = some_pieces(rng, n)
        start, end = rng.normal(size=(2, n)).astype(np.float32)
        spans = best_spans(start, end, pieces, 3, limit)
        assert [(s.start, s.end, s.score) for s in spans] == slow_spans(start, end, pieces, limit)
        assert {span.passage for span in spans} <= {3}


def test_a_window_without_edges_or_pieces_has_no_spans() -> None:
    numbers, never = np.arange(3, dtype=np.int32), np.zeros(3, dtype=bool)
    logits = np.zeros(3, dtype=np.float32)
    assert best_spans(logits, logits, Pieces(numbers, numbers, numbers + 1, never, ~never), 0, 4) == []
    assert best_spans(logits[:0], logits[:0], Pieces(numbers, numbers, numbers, never, never).cut(0, 0), 0, 4) == []
    # The only end stands before the only start.
    first, last = np.array([False, False, True]), np.array([True, False, False])
    assert best_spans(logits, logits, Pieces(numbers, numbers, numbers + 1, first, last), 0, 4) == []


# --- answers --------------------------------------------------------------------------------------------------


def test_scores_of_all_passages_are_one_distribution(tiny_encoder: Path) -> None:
    settings = Settings(Weights(relevance=1.0, search=0.5), Calibration(intercept=0.25, share=1.0, relevance=0.5))
    reader = oracle(tiny_encoder, {"이순신": 5.0, "장영실": 5.5}, {"다리": 2.0, "지도": 1.0}, settings)
    answers = reader.read("누가?", hits("다리는 이순신이 만들었다.", "지도는 장영실이 만들었다."))
    # Both were found with the same score, the best: 이순신: 2 x 5 + 2 + 0.5 = 12.5; 장영실: 2 x 5.5 + 1 + 0.5 = 12.5 - 0 ...
    # as the second's score is 0.5 of the first's, 1 + 0.25: 12.25. Spans with one of their ends have 5 - 9 at most, 14 less.
    # Shares 1 / (1 + exp(-+0.25)); logits 0.25 + log share + 0.5 relevance.
    assert [answer.text for answer in answers[:2]] == ["이순신", "장영실"]
    shares = [1 / (1 + math.exp(-0.25)), 1 / (1 + math.exp(0.25))]
    logits = [0.25 + math.log(shares[0]) + 1.0, 0.25 + math.log(shares[1]) + 0.5]
    confidences = [answer.confidence for answer in answers[:2]]
    assert confidences == pytest.approx([1 / (1 + math.exp(-logit)) for logit in logits], abs=1e-4)
    assert [answer.passage.id for answer in answers[:2] if answer.passage] == ["h0", "h1"]


@pytest.mark.parametrize(
    ("weights", "best"),
    [
        (Weights(relevance=0.0, search=9.0), "장영실"),  # 10 and 11
        (Weights(relevance=0.5, search=0.0), "장영실"),  # 11 and 11.5
        (Weights(relevance=0.5, search=3.0), "이순신"),  # 12.5 and 11.5 + 0.75
        (Weights(relevance=2.0, search=0.0), "이순신"),  # 14 and 13
    ],
)
def test_relevance_and_search_weigh(tiny_encoder: Path, weights: Weights, best: str) -> None:
    reader = oracle(tiny_encoder, {"이순신": 5.0, "장영실": 5.5}, {"다리": 2.0, "지도": 1.0}, Settings(weights))
    assert reader.read("누가?", hits("다리는 이순신이 만들었다.", "지도는 장영실이 만들었다."))[0].text == best


def test_the_same_answer_counts_once(tiny_encoder: Path) -> None:
    reader = oracle(tiny_encoder, {"무정": 5.0, "《무정》": 4.0, "이순신": 4.5}, {}, Settings())
    texts = ("《무정》은 봄이었다.", "무정은 이순신이 만들었다.")
    answers = reader.read("무엇?", hits(*texts))
    # 《무정》 in the first has starts 4 and 5, ends 4 and 5: the best span there is 무정, 10, and so it is in the second.
    assert answers[0].text == "무정" and "이순신" in [answer.text for answer in answers]
    assert answers[0].passage is not None and answers[0].passage.id == "h0"
    assert sum(answer.text.strip("《》") == "무정" for answer in answers) == 1
    both = oracle(tiny_encoder, {"《무정》": 5.0, "무정": 4.0}, {}, Settings()).read("무엇?", hits(*texts))
    assert both[0].text == "《무정》" and sum(answer.text.strip("《》") == "무정" for answer in both) == 1


def test_of_equal_answers_the_best_one_gives_place_and_marks() -> None:
    passages = [Passage("a", "", "무정 x"), Passage("b", "", "《무정》 y")]
    windows = [
        WindowReading(0, -1.0, [Span(0, 0, 2, 3.0), Span(0, 3, 4, 1.0)]),
        WindowReading(1, 2.0, [Span(1, 0, 4, 2.0), Span(1, 0, 1, 9.0)]),  # 《 alone is no answer
    ]
    found = [Hit(passage, 1.0) for passage in passages]
    first, second = distinct_answers(windows, found, Settings(Weights(relevance=1.0)))
    # 무정: 3 - 1 = 2 in a, 2 + 2 = 4 in b; x: 1 - 1 = 0. The sum of both is log(e^4 + e^0) = 4.01815.
    assert (first.text, first.span, first.score) == ("《무정》", windows[1].spans[0], 4.0)
    assert first.marks == pytest.approx((-0.01815, 2.0), abs=1e-5)
    assert (second.text, second.score) == ("x", 0.0)
    assert second.marks == pytest.approx((-4.01815, -1.0), abs=1e-5)
    assert distinct_answers([], found, Settings()) == []
    assert distinct_answers([WindowReading(0, 1.0, [])], found, Settings()) == []


def test_answers_stand_where_they_say(reader: JointReader) -> None:
    texts = [hit.passage.text for example in EXAMPLES for hit in example.hits]
    texts += ["햏햏은 5㎞를 갔다. ＡＢ는 😀이다.", "李舜臣(이순신)은\n\n《난중일기》를\t썼다. " * 12]
    for question in QUESTIONS[:3]:
        answers = reader.read(question, hits(*texts))
        assert 1 <= len(answers) <= 5
        for answer in answers:
            assert answer.passage is not None and answer.text == answer.passage.text[answer.start : answer.end] != ""
            assert answer.text == answer.text.strip() and 0 <= answer.confidence <= 1
        assert len({answer.text for answer in answers}) == len(answers)


def test_an_answer_in_a_later_window_is_found(tiny_encoder: Path) -> None:
    text = "다리는 파리에 있다. " * 40 + "지도는 장영실이 만들었다. " + "다리는 파리에 있다. " * 5
    reader = oracle(tiny_encoder, {"장영실": 5.0}, {}, Settings())
    answer = reader.read("누가?", hits(text))[0]
    assert answer.text == "장영실" and answer.start == text.index("장영실")


# --- the order of passages ------------------------------------------------------------------------------------


def test_passages_in_a_new_order_by_hand() -> None:
    found = hits("a", "b", "c", "d", "e")
    windows = [
        WindowReading(0, 1.0, []),
        WindowReading(0, 0.0, []),
        WindowReading(2, 1.5, []),
        WindowReading(3, 1.5, []),
    ]
    found = [replace(hit, score=score) for hit, score in zip(found, (10.0, 8.0, 6.0, 5.0, 1.0), strict=True)]
    # With 1: 0: 1 + 1 = 2; 2: 1.5 + 0.6 = 2.1; 3: 1.5 + 0.5 = 2; 0 and 3 are alike and stay as they were; 1 and 4 were not read.
    order = reordered(windows, found, Weights(search=1.0))
    assert [hit.passage.id for hit in order] == ["h2", "h0", "h3", "h1", "h4"]
    assert [hit.score for hit in order[:3]] == pytest.approx([2.1, 2.0, 2.0])
    assert {hit.source for hit in order} == {"joint"}
    # With 2: 3, 2.7, 2.5.
    assert [hit.passage.id for hit in reordered(windows, found, Weights(search=2.0))] == ["h0", "h2", "h3", "h1", "h4"]
    assert [hit.passage.id for hit in reordered(windows, found, Weights())] == ["h2", "h3", "h0", "h1", "h4"]
    assert [hit.passage for hit in reordered([], found, Weights())] == [hit.passage for hit in found]


def test_scores_fall_along_the_new_order(reader: JointReader) -> None:
    found = hits(*(example.hits[0].passage.text for example in EXAMPLES), "", " \n")
    order = reader.read_and_rank(QUESTIONS[0], found).hits
    assert sorted(hit.passage.id for hit in order) == sorted(hit.passage.id for hit in found)
    scores = [hit.score for hit in order]
    assert scores == sorted(scores, reverse=True) and len(set(scores)) > 3
    assert [hit.passage.text for hit in order[-2:]] == ["", " \n"]


def test_no_more_windows_are_read_than_allowed(tiny_encoder: Path, tiny_joint: Path) -> None:
    found = hits(*["다리는 파리에 있다."] * 30)
    few = oracle(tiny_encoder, {}, {}, Settings(), max_windows=3)
    assert [window.passage for window in few.read_windows("다리?", [hit.passage for hit in found])] == [0, 1, 2]
    order = few.read_and_rank("다리?", found).hits
    assert [hit.passage.id for hit in order] == [hit.passage.id for hit in found]
    usual = oracle(tiny_encoder, {}, {}, Settings())
    assert len(usual.read_windows("다리?", [hit.passage for hit in found])) == MAX_WINDOWS
    directory = open_artifact(tiny_joint, "reader").directory
    loaded = JointReader.load(directory, Settings(), max_windows=2)
    assert len(loaded.read_windows("다리?", [hit.passage for hit in found])) == 2


def test_nothing_to_read(reader: JointReader) -> None:
    assert reader.read("누가?", []) == []
    assert reader.read_and_rank("누가?", []).hits == []
    empty = hits("", "  ")
    reading = reader.read_and_rank("누가?", empty)
    assert reading.answers == [] and [hit.passage for hit in reading.hits] == [hit.passage for hit in empty]
    assert reader.read("", EXAMPLES[0].hits)


# --- threads and memory ---------------------------------------------------------------------------------------


def test_reading_is_the_same_whatever_else_is_read(tiny_joint: Path, reader: JointReader) -> None:
    passages = [list(example.hits) + list(EXAMPLES[0].hits) for example in EXAMPLES]
    alone = [reader.read_and_rank(question, read) for question, read in zip(QUESTIONS, passages, strict=True)]
    fresh = open_reader(str(tiny_joint))
    assert isinstance(fresh, JointReader)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(fresh.read_and_rank, QUESTIONS * 2, passages * 2)) == alone * 2


# --- artifacts ------------------------------------------------------------------------------------------------


def settings_json(**changes: Any) -> dict[str, Any]:
    return Settings().to_json() | changes


WEIGHTS, CALIBRATION = Settings().to_json()["weights"], Settings().to_json()["calibration"]


def test_settings_are_those_of_the_manifest(tiny_encoder: Path, tmp_path: Path) -> None:
    settings = Settings(Weights(0.5, 0.1), Calibration(-1.0, 0.9, 0.8))
    assert Settings.parse(settings.to_json()) == settings
    path = write_joint(tmp_path / "r", tiny_encoder, joint=Settings(calibration=Calibration(-100, 0, 0)).to_json())
    answers = open_reader(str(path)).read(QUESTIONS[0], EXAMPLES[0].hits)
    assert answers and all(answer.confidence == pytest.approx(math.exp(-30), rel=1e-3) for answer in answers)


@pytest.mark.parametrize(
    "stored",
    [
        None, 3, [], {"format_version": 1}, settings_json(weights=None), settings_json(weights={"heaviness": 1.0}),
        settings_json(weights=WEIGHTS | {"search": "0.1"}), settings_json(weights=WEIGHTS | {"search": None}),
        settings_json(weights=WEIGHTS | {"search": float("nan")}), settings_json(weights=WEIGHTS | {"search": 10**400}),
        settings_json(calibration=CALIBRATION | {"share": float("inf")}), settings_json(calibration=[1, 2, 3, 4]),
        settings_json(calibration=CALIBRATION | {"share": [1.0]}),
    ],
    ids=lambda stored: str(stored)[:60],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(stored: Any, tiny_encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(CorruptArtifactError, match="joint"):
        open_reader(str(write_joint(tmp_path / "r", tiny_encoder, joint=stored)))


@pytest.mark.parametrize("version", [2, None, "1"])
def test_another_format_is_refused(version: Any, tiny_encoder: Path, tmp_path: Path, english: None) -> None:
    path = write_joint(tmp_path / "r", tiny_encoder, joint=settings_json(format_version=version))
    with pytest.raises(IncompatibleArtifactError, match=f"format {version}.*train it anew") as stopped:
        open_reader(str(path))
    assert stopped.value.exit_code == 5


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("span.weight", None),
        ("relevance.bias", None),
        ("span.weight", np.zeros((2, 16), dtype=np.float32)),
        ("span.weight", np.zeros((3, 32), dtype=np.float32)),
        ("relevance.weight", np.zeros(32, dtype=np.float32)),
        ("relevance.bias", np.zeros(0, dtype=np.float32)),
    ],
)
def test_heads_that_are_missing_or_do_not_fit_are_corrupt(
    name: str, changed: np.ndarray | None, tiny_joint: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(open_artifact(tiny_joint, "reader").directory, tmp_path / "r")
    path = folder / "weights.safetensors"
    heads = {key: values for key, values in load_file(path).items() if key != name}
    save_file(heads if changed is None else heads | {name: changed}, path)
    with pytest.raises(CorruptArtifactError, match=name):
        JointReader.load(folder, Settings())
