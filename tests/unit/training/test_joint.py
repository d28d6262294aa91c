"""Training the joint reader: its rows, its loss, runs that go on, and settings fitted on what it read."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import concatenate_datasets
from support.examples import digest, write_fid
from support.processes import Interrupted, interrupt_at
from support.tiny_encoder import CPU, EXAMPLES, PASSAGES, tiny_tokenizer

import kofid
from kofid.encoder.pieces import SPACE, PieceTokenizer
from kofid.errors import InputError
from kofid.korean.kiwi import analyze
from kofid.reader.joint.confidence import Settings
from kofid.reader.joint.model import JointModel, Scores
from kofid.reader.joint.reader import WindowReading
from kofid.reader.joint.spans import Span
from kofid.reader.joint.windows import PreparedPassage, prepare_passage
from kofid.storage.artifacts import open_artifact
from kofid.training.joint import (
    answer_pieces,
    draw_windows,
    fit_joint,
    joint_batch,
    joint_dataset,
    joint_loss,
    open_joint,
    sample_rows,
)
from kofid.training.joint_settings import Read, fit_settings, settings_of
from kofid.types import Example, Hit, Passage, Question


@pytest.fixture(scope="module")
def tokenizer(tiny_encoder: Path) -> PieceTokenizer:
    return PieceTokenizer.load(tiny_encoder / "tokenizer.json")


def prepare(tokenizer: PieceTokenizer, text: str) -> PreparedPassage:
    return prepare_passage(tokenizer, Passage("p", "", text), [], analyze(text))


def said(window: dict[str, Any]) -> str:
    """Return the text of a window's row: question, title and text between signs."""
    words = tiny_tokenizer()
    return "".join(words.id_to_token(i) for i in window["ids"]).replace(SPACE, "")


# --- rows -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "answers", "expected"),
    [
        ("다리는 파리에 있다. 파리는 넓다.", ["파리"], ["파리", "파리"]),
        ("《무정》은 이순신이 썼다.", ["《무정》", "이순신"], ["《무정》", "이순신"]),
        ("《무정》은 이순신이 썼다.", ["무정"], ["무정"]),
        ("다리는 파리에 있다.", ["있"], []),  # within a verb: no span begins and ends there
        ("다리는 파리에 있다.", ["리"], []),
        ("다리는 파리에 있다.", ["서울", " ", ""], []),
        ("다리는 파리에 있다.", ["파리에 있다"], ["파리에 있다"]),
        ("5㎞를 걸었다.", ["5km"], ["5㎞"]),
    ],
)
def test_answers_are_marked_between_edges_that_a_span_may_have(
    tokenizer: PieceTokenizer, text: str, answers: list[str], expected: list[str]
) -> None:
    prepared = prepare(tokenizer, text)
    pieces = prepared.pieces
    places = answer_pieces(prepared, answers)
    assert [text[pieces.start[first] : pieces.end[end - 1]] for first, end in places] == expected
    assert all(pieces.first[first] and pieces.last[end - 1] for first, end in places)


def test_a_row_marks_the_answer(tokenizer: PieceTokenizer) -> None:
    dataset = joint_dataset(tokenizer, EXAMPLES)
    assert len(dataset) == len(EXAMPLES)
    for row, example in zip(dataset, EXAMPLES, strict=True):
        assert row["question"] == example.question.text
        (gold,), (negative,) = row["gold"], row["negative"]
        words = [tiny_tokenizer().id_to_token(i).replace(SPACE, "") for i in gold["ids"]]
        (start,), (end,) = gold["starts"], gold["ends"]
        assert "".join(words[start : end + 1]) == example.question.answers[0]
        assert start in gold["firsts"] and end in gold["lasts"]
        assert (negative["starts"], negative["ends"]) == ([], [])
        assert example.hits[1].passage.text.replace(" ", "") in said(negative)


def test_only_what_surely_does_not_answer_is_a_negative(tokenizer: PieceTokenizer) -> None:
    gold, other, says_it = PASSAGES[0], PASSAGES[1], Passage("x", "", "다리 위에 이순신이 있다.")
    notes: list[str] = []
    example = replace(EXAMPLES[0], hits=tuple(Hit(p, 1.0) for p in (says_it, gold, other)))
    no_answer = replace(example, question=replace(example.question, answers=("그때 그 사람",)))
    (row,) = joint_dataset(tokenizer, [example, no_answer], notes=notes.append)
    assert [said(window).count("이순신이") for window in row["gold"]] == [1]
    assert len(row["negative"]) == 1 and "장영실" in said(row["negative"][0])
    assert len(notes) == 1 and "1" in notes[0]
    # Where no gold passage is known, those that say the answer are.
    unknown = replace(example, question=replace(example.question, positive_ids=()))
    (row,) = joint_dataset(tokenizer, [unknown])
    assert len(row["gold"]) == 2 and len(row["negative"]) == 1


def test_other_windows_of_a_gold_passage_are_negatives(tokenizer: PieceTokenizer) -> None:
    long = Passage("p0", "다리", "그때는 봄이었다. " * 30 + PASSAGES[0].text + " 그때는 봄이었다." * 30)
    (row,) = joint_dataset(tokenizer, [replace(EXAMPLES[0], hits=(Hit(long, 1.0),))])
    assert row["gold"] and row["negative"]
    assert all("이순신" in said(window) for window in row["gold"])
    assert not any("이순신" in said(window) for window in row["negative"])


def test_nothing_to_learn_from_is_said(tokenizer: PieceTokenizer, english: None) -> None:
    nothing = replace(EXAMPLES[0], question=replace(EXAMPLES[0].question, answers=()))
    with pytest.raises(InputError, match="nothing to learn"):
        joint_dataset(tokenizer, [nothing, replace(EXAMPLES[1], hits=())])


def test_some_rows_are_looked_at(tokenizer: PieceTokenizer) -> None:
    dataset = joint_dataset(tokenizer, EXAMPLES[:3])
    golds = [row["gold"][0] for row in dataset]
    assert sample_rows(dataset) == [(gold["ids"], gold["types"]) for gold in golds]
    many = concatenate_datasets([dataset] * 100)
    assert 64 <= len(sample_rows(many)) < 128


def test_windows_are_drawn_anew_each_epoch_but_the_same_again() -> None:
    row = {"question": "누구?", "gold": [{"n": n} for n in range(4)], "negative": [{"n": n} for n in range(10, 20)]}
    drawn = [draw_windows(row, 1, epoch, 3) for epoch in range(60)]
    assert drawn == [draw_windows(row, 1, epoch, 3) for epoch in range(60)]
    assert drawn != [draw_windows(row, 2, epoch, 3) for epoch in range(60)]
    assert {windows[0]["n"] for windows in drawn} == {0, 1, 2, 3}
    assert {window["n"] for windows in drawn for window in windows[1:]} == set(range(10, 20))
    assert all(len({window["n"] for window in windows}) == 4 for windows in drawn)
    assert len(draw_windows(row, 1, 0, 99)) == 11 and len(draw_windows(row, 1, 0, 0)) == 1


# --- batches and loss -----------------------------------------------------------------------------------------


def window_of(length: int, firsts: list[int], lasts: list[int], starts: list[int], ends: list[int]) -> dict[str, Any]:
    rows = {"ids": list(range(10, 10 + length)), "types": [i % 2 for i in range(length)]}
    return rows | {"firsts": firsts, "lasts": lasts, "starts": starts, "ends": ends}


GROUPS = [
    [window_of(6, [2, 3, 4], [2, 4], [3], [4]), window_of(3, [1, 2], [2], [], [])],
    [
        window_of(5, [1, 4], [1, 4], [1, 4], [1, 4]),
        window_of(9, [5, 6, 8], [5, 7, 8], [], []),
        window_of(4, [2], [2, 3], [], []),
    ],
]


def test_a_batch_has_every_window_once_beside_others_of_like_length() -> None:
    parts = joint_batch(GROUPS, 1)["parts"]
    assert [tuple(part["ids"].shape) for part in parts] == [(2, 4), (2, 6), (1, 9)]
    assert [part["group"].tolist() for part in parts] == [[0, 1], [1, 0], [1]]
    middle = parts[1]
    assert middle["ids"].tolist() == [[10, 11, 12, 13, 14, 1], [10, 11, 12, 13, 14, 15]]
    assert middle["types"].tolist() == [[0, 1, 0, 1, 0, 0], [0, 1, 0, 1, 0, 1]]
    assert middle["attended"].sum(1).tolist() == [5, 6]
    assert middle["may_start"].nonzero().tolist() == [[0, 1], [0, 4], [1, 2], [1, 3], [1, 4]]
    assert middle["may_end"].nonzero().tolist() == [[0, 1], [0, 4], [1, 2], [1, 4]]
    assert middle["starts"].nonzero().tolist() == [[0, 1], [0, 4], [1, 3]]
    assert middle["ends"].nonzero().tolist() == [[0, 1], [0, 4], [1, 4]]


def slow_loss(groups: list[list[dict[str, Any]]], scores: list[list[tuple[list[float], list[float], float]]]) -> float:
    """Return the loss of windows with (start logits, end logits, relevance), question by question."""
    binary = [
        math.log(1 + math.exp(-relevance if window["starts"] else relevance))
        for group, group_scores in zip(groups, scores, strict=True)
        for window, (_, _, relevance) in zip(group, group_scores, strict=True)
    ]
    total = sum(binary) / len(binary)
    for group, group_scores in zip(groups, scores, strict=True):
        shares = [math.exp(relevance) for _, _, relevance in group_scores]
        (gold,) = (i for i, window in enumerate(group) if window["starts"])
        total -= math.log(shares[gold] / sum(shares)) / len(groups)
        for side, may, right in ((0, "firsts", "starts"), (1, "lasts", "ends")):
            all_places = sum(math.exp(s[side][i]) for w, s in zip(group, group_scores, strict=True) for i in w[may])
            gold_places = sum(math.exp(s[side][i]) for w, s in zip(group, group_scores, strict=True) for i in w[right])
            total -= math.log(gold_places / all_places) / len(groups)
    return total


def test_the_loss_equals_the_slow_twin() -> None:
    torch.manual_seed(5)
    parts = joint_batch(GROUPS, 1)["parts"]
    scores = [
        Scores(
            torch.randn(part["ids"].shape) * 3, torch.randn(part["ids"].shape) * 3, torch.randn(len(part["ids"])) * 3
        )
        for part in parts
    ]
    by_length = {
        int(part["attended"][i].sum()): (score.start[i].tolist(), score.end[i].tolist(), score.relevance[i].item())
        for part, score in zip(parts, scores, strict=True)
        for i in range(len(part["ids"]))
    }
    slow = slow_loss(GROUPS, [[by_length[len(window["ids"])] for window in group] for group in GROUPS])
    assert joint_loss(parts, scores).item() == pytest.approx(slow, abs=1e-5)


def test_the_loss_by_hand() -> None:
    # One question; all logits 0. Relevance: log 2 each window, and one of two: log 2. Starts: 1 right place of 5 (3 + 2);
    # ends: 1 of 3.
    parts = joint_batch(GROUPS[:1], 1)["parts"]
    scores = [
        Scores(torch.zeros(p["ids"].shape), torch.zeros(p["ids"].shape), torch.zeros(len(p["ids"]))) for p in parts
    ]
    assert joint_loss(parts, scores).item() == pytest.approx(2 * math.log(2) + math.log(5) + math.log(3), abs=1e-6)


def test_what_padding_is_says_nothing(tiny_encoder: Path) -> None:
    model, tokenizer = open_joint(str(tiny_encoder), seed=1)
    model.eval()
    row = joint_dataset(tokenizer, EXAMPLES[:1])[0]
    (long,), (short,) = row["gold"], row["negative"]
    long = {**long, "ids": long["ids"] + [9] * 30, "types": long["types"] + [0] * 30}
    alone, together = (joint_batch([[short]], 1)["parts"][0], joint_batch([[short, long] * 4], 1)["parts"][1])
    n = len(short["ids"])
    with torch.no_grad():
        one, many = (model(part["ids"], part["types"], part["attended"]) for part in (alone, together))
    row_of_it = together["attended"].sum(1).tolist().index(n)
    assert torch.allclose(one.start[0], many.start[row_of_it, :n], atol=1e-5)
    assert torch.allclose(one.relevance[0], many.relevance[row_of_it], atol=1e-5)


# --- models and runs ------------------------------------------------------------------------------------------


def test_a_fresh_reader_is_the_same_for_a_seed_and_its_types_begin_alike(tiny_encoder: Path) -> None:
    models = [open_joint(str(tiny_encoder), seed=seed)[0] for seed in (1, 1, 2)]
    assert digest(models[0]) == digest(models[1]) != digest(models[2])
    types = models[0].encoder.embeddings.token_type_embeddings.weight
    assert torch.equal(types[0], types[1])
    assert not models[0].encoder.embeddings.word_embeddings.weight.requires_grad


@pytest.mark.parametrize("fault", ["absent", "no tokenizer", "not BERT", "no weights", "fresh:tiny"])
def test_what_is_no_encoder_is_refused_by_name(fault: str, tiny_encoder: Path, tmp_path: Path) -> None:
    folder = str(shutil.copytree(tiny_encoder, tmp_path / "e"))
    if fault == "absent":
        folder = str(tmp_path / "nowhere")
    elif fault == "no tokenizer":
        Path(folder, "tokenizer.json").unlink()
    elif fault == "not BERT":
        Path(folder, "config.json").write_text(json.dumps({"model_type": "t5"}))
    elif fault == "no weights":
        Path(folder, "model.safetensors").unlink()
    else:
        folder = fault
    with pytest.raises(InputError, match=folder) as stopped:
        open_joint(folder, seed=1)
    assert stopped.value.exit_code == 3


# Every question with all other passages, so that there are windows to draw from.
WITH_ALL = [replace(e, hits=(e.hits[0], *(Hit(p, 1.0) for p in PASSAGES if p != e.hits[0].passage))) for e in EXAMPLES]


def run(encoder: Path, checkpoints: Path, *, dropout: float = 0.1, **more: Any) -> tuple[JointModel, list[float]]:
    model, tokenizer = open_joint(str(encoder), seed=1)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = dropout
    losses: list[float] = []
    more = {"options": CPU, "on_step": lambda step, steps, loss: losses.append(loss)} | more
    options = more.pop("options")
    fit_joint(model, joint_dataset(tokenizer, WITH_ALL), options, checkpoints, pad=tokenizer.pad, **more)
    return model, losses


def test_a_few_steps_learn_and_leave_word_vectors_alone(tiny_encoder: Path, tmp_path: Path) -> None:
    start, _ = open_joint(str(tiny_encoder), seed=1)
    model, losses = run(tiny_encoder, tmp_path / "c", options=replace(CPU, max_steps=24, batch_size=8))
    assert len(losses) == 24 and sum(losses[-4:]) < 0.7 * sum(losses[:4])
    words, layers = "embeddings.word_embeddings.weight", "encoder.layer.0.attention.self.query.weight"
    before, after = start.encoder.state_dict(), model.encoder.state_dict()
    assert torch.equal(before[words], after[words]) and not torch.equal(before[layers], after[layers])
    assert not (tmp_path / "c").exists()


def test_an_interrupted_run_goes_on_to_the_same_weights(tiny_encoder: Path, tmp_path: Path) -> None:
    options = replace(CPU, max_steps=8)  # 2 steps an epoch, a checkpoint every 3
    whole, _ = run(tiny_encoder, tmp_path / "a", options=options)
    with pytest.raises(Interrupted):
        run(tiny_encoder, tmp_path / "b", options=options, on_step=interrupt_at(5))
    resumed, losses = run(tiny_encoder, tmp_path / "b", options=options, resume=True)
    assert digest(resumed) == digest(whole) and len(losses) == 5


def test_every_epoch_reads_other_windows(tiny_encoder: Path, tmp_path: Path) -> None:
    # One step an epoch, which changes next to nothing: the loss differs only by what was drawn.
    options = replace(CPU, max_steps=3, batch_size=8, learning_rate=1e-12)
    _, losses = run(tiny_encoder, tmp_path / "a", dropout=0.0, options=options)
    _, again = run(tiny_encoder, tmp_path / "b", dropout=0.0, options=options)
    assert losses == again and min(abs(a - b) for a, b in zip(losses, losses[1:], strict=False)) > 1e-3
    _, all_windows = run(tiny_encoder, tmp_path / "c", dropout=0.0, options=options, n_negatives=7)
    assert all_windows == pytest.approx([all_windows[0]] * 3, abs=1e-4)


# --- from files to an artifact --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fid(tmp_path_factory.mktemp("data") / "fid.json", EXAMPLES)


def test_a_trained_reader_answers_and_can_be_trained_on(data: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    options = replace(CPU, max_steps=2)
    steps: list[int] = []
    figures = kofid.train_reader(
        data, tmp_path / "r", kind=kofid.ReaderKind.JOINT, model=str(tiny_encoder), options=options, dev=str(data),
        on_step=lambda step, n, loss: steps.append(step),
    )  # fmt: skip
    assert steps == [1, 2] and {"steps", "loss", "dev_em", "dev_f1", "dev_hit@1"} <= figures.keys()
    settings = open_artifact(tmp_path / "r", "reader").settings
    assert settings["reader"] == "joint" and settings["figures"] == figures and settings["max_tokens"] == 160
    assert Settings.parse(settings["joint"]) != Settings()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r"]

    reader = kofid.open_reader(str(tmp_path / "r"))
    answers = reader.read(EXAMPLES[0].question.text, EXAMPLES[0].hits)
    assert answers and all(a.passage and a.passage.text[a.start : a.end] == a.text for a in answers)

    kofid.train_reader(data, tmp_path / "s", kind=kofid.ReaderKind.JOINT, model=str(tmp_path / "r"), options=options)
    again = open_artifact(tmp_path / "s", "reader")
    assert again.settings["joint"] == Settings().to_json() and again.settings["model"] == str(tmp_path / "r")
    before, after = (open_joint(str(open_artifact(tmp_path / name, "reader").directory), seed=1)[0] for name in "rs")
    assert digest(before) != digest(after)
    assert torch.equal(*(m.encoder.embeddings.word_embeddings.weight for m in (before, after)))
    # It went on from where the first one ended, heads and all: two small steps away.
    assert (before.relevance.weight - after.relevance.weight).abs().max() < 0.02


def test_a_wrong_model_or_data_leaves_nothing(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        kofid.train_reader(data, tmp_path / "r", kind=kofid.ReaderKind.JOINT, model=str(tmp_path / "nowhere"))
    assert list(tmp_path.iterdir()) == []


# --- settings -------------------------------------------------------------------------------------------------


def read_of(number: int, right: tuple[float, float], wrong: tuple[float, float], *, gold_first: bool) -> Read:
    """Return a question with two passages, the right and the wrong one: (score of the span, relevance) of each."""
    gold = Hit(Passage(f"g{number}", "", f"정답{number} 이다"), 1.0)
    other = Hit(Passage(f"o{number}", "", f"오답{number} 이다"), 1.0)
    hits = (gold, other) if gold_first else (other, gold)
    windows = []
    for place, hit in enumerate(hits):
        score, relevance = right if hit is gold else wrong
        windows.append(WindowReading(place, relevance, [Span(place, 0, len(f"정답{number}"), score)]))
    question = Question(f"질문 {number}?", f"q{number}", (f"정답{number}",), (f"g{number}",))
    return Read(Example(question, hits), windows)


def test_relevance_counts_where_it_tells() -> None:
    # The wrong span is better by 1, its window less relevant by 3: relevance must count more than 1/3.
    reads = [read_of(n, (4.0, 2.0), (5.0, -1.0), gold_first=n % 3 == 0) for n in range(12)]
    settings, figures = settings_of(reads)
    assert settings.weights.relevance >= 0.5 and figures == {"dev_em": 100.0, "dev_f1": 100.0, "dev_hit@1": 100.0}


def test_relevance_does_not_count_where_it_misleads() -> None:
    reads = [read_of(n, (5.0, -1.0), (4.0, 2.0), gold_first=n % 3 == 0) for n in range(12)]
    settings, figures = settings_of(reads)
    assert settings.weights.relevance <= 0.25 and figures["dev_em"] == 100.0
    # Nor can passages be ordered by it, and the search found both alike.
    assert figures["dev_hit@1"] == 0.0


def test_the_search_counts_where_it_tells() -> None:
    # The second passage, found with half the score, is better by 0.4 in relevance: half of what the search counts must be more.
    reads = []
    for n in range(12):
        read = read_of(n, (4.0, 1.0), (3.9, 1.4), gold_first=True)
        first, second = read.example.hits
        reads.append(replace(read, example=replace(read.example, hits=(first, replace(second, score=0.5)))))
    settings, figures = settings_of(reads)
    assert settings.weights.search >= 1.0 and figures["dev_hit@1"] == figures["dev_em"] == 100.0


def test_confidence_tells_right_from_wrong_and_from_no_answer() -> None:
    sure = [read_of(n, (6.0, 4.0), (1.0, -3.0), gold_first=True) for n in range(20)]
    settings, _ = settings_of(sure)
    marks = settings.calibration.confidence
    # As read: share near 1, relevance 4. Without the gold passage: share 1, relevance -3, and wrong.
    right, nothing = marks(np.array([[-0.01, 4.0], [0.0, -3.0]])).tolist()
    assert right > 0.8 and nothing < 0.3


def test_without_answer_goes_what_is_gold_or_says_it() -> None:
    texts = {"g": "다른 말", "says": "정답 이다", "other": "오답 이다"}
    hits = tuple(Hit(Passage(name, "", text), 1.0) for name, text in texts.items())
    windows = [WindowReading(n, float(n), []) for n in (0, 0, 1, 2, 2)]
    read = Read(Example(Question("?", "q", ("정답",), ("g",)), hits), windows)
    assert read.without_answer().windows == windows[3:] and read.windows == windows
    assert read.without_answer().example == read.example


def test_without_dev_the_settings_are_the_default_ones() -> None:
    trained: Any = None  # is not touched
    assert fit_settings(trained, []) == (Settings(), {})
    assert settings_of([]) == (Settings(), {})
