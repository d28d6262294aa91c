"""Indexes in many segments: built, interrupted and resumed, added to and deleted from; always the scores of one piece."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.indexes import score_all
from support.slow_index import SlowIndex, random_article, random_passages, random_question, random_text

from kofid.errors import CorruptArtifactError, IncompatibleArtifactError, InputError
from kofid.formats.passage_split import article_id
from kofid.korean import kiwi as morphology
from kofid.retrieval import build as indexing
from kofid.retrieval.build import build_index, has_interrupted_build, record_ranking, update_index
from kofid.retrieval.index import Index
from kofid.retrieval.sparse import analysis_pool, segment
from kofid.retrieval.sparse import builder as build
from kofid.retrieval.sparse.analyzer import Analyzer, parse_components
from kofid.retrieval.sparse.bm25 import Ranker
from kofid.retrieval.sparse.ranking import PLAIN, Ranking
from kofid.storage.arrays import BLOCK, ArrayFile, ArrayWriter
from kofid.storage.artifacts import JOURNAL, open_artifact
from kofid.types import Passage

WORDS = Analyzer(parse_components("whitespace"))


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let segments hold 60 passages, and begin anew at an article from 50 on."""
    monkeypatch.setattr(build, "MAX_PASSAGES", 60)
    monkeypatch.setattr(build, "_SLACK", 10)
    monkeypatch.setattr(indexing, "_SMALL", 20)


def build_and_open(path: Path, passages: Iterable[Passage], analyzer: Analyzer = WORDS, **options: Any) -> Index:
    build_index(path, passages, analyzer=analyzer, **options)
    return Index.open(path)


def in_one_piece(path: Path, passages: Iterable[Passage], analyzer: Analyzer = WORDS) -> Index:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "MAX_PASSAGES", 65_536)
        patch.setattr(build, "_SLACK", 4_096)
        index = build_and_open(path, passages, analyzer)
    assert len(index.segments) == 1
    return index


def ranked(index: Index, question: str, k: int = 10) -> list[tuple[str, float]]:
    return [(hit.passage.id, hit.score) for hit in index.search(question, k)]


def files(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def parts(index: Index) -> list[list[Passage]]:
    return [[segment[n] for n in range(len(segment))] for segment in index.segments]


# --- segments ------------------------------------------------------------------------------------------------


def test_many_segments_give_the_scores_of_one(tmp_path: Path, small_segments: None):
    passages = random_passages(random.Random(1), 150)
    many, single = build_and_open(tmp_path / "many", passages), in_one_piece(tmp_path / "single", passages)
    assert len(many.segments) > 6 and len(many) == len(single) == len(passages)
    rng = random.Random(2)
    for question in [random_question(rng) for _ in range(30)]:
        assert score_all(many, question).tolist() == score_all(single, question).tolist()
        assert ranked(many, question) == ranked(single, question) != []


def test_many_segments_of_morphemes_give_the_scores_of_one(tmp_path: Path, small_segments: None, demo_index: Index):
    many = build_and_open(tmp_path / "many", demo_index.passages, Analyzer())
    assert len(many.segments) > 4
    for question in (
        "훈민정음은 언제 만들었나?",
        "임진왜란에서 이순신은 무엇을 했나",
        "가장 높은 산",
        "노벨상을 받은 사람",
    ):
        assert score_all(many, question).tolist() == score_all(demo_index, question).tolist()
        assert ranked(many, question) == ranked(demo_index, question) != []


def test_passages_keep_their_order_places_and_text(tmp_path: Path, small_segments: None):
    passages = random_passages(random.Random(3), 100)
    passages[70] = Passage("가", "줄\n바꿈", '따옴표 " 역빗금 \\ 😀\u2028' + " 긴" * 5_000)
    index = build_and_open(tmp_path / "kb", passages)
    assert list(index.passages) == passages == [index.passages[n] for n in range(len(passages))]
    assert [index.passages.find(p.id) for p in passages] == list(range(len(passages)))
    assert [p for part in parts(index) for p in part] == passages
    for unknown in ("", "a1", "a0#99", "없는 것"):
        assert index.passages.find(unknown) is None


def test_ids_of_equal_hashes_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(segment, "hash_term", lambda term, component=0: len(term))
    index = build_and_open(tmp_path / "kb", [Passage(name, "", f"글 {name}") for name in ("가", "나", "다라", "마")])
    assert [index.passages.find(name) for name in ("가", "나", "다라", "마")] == [0, 1, 2, 3]
    assert [index.passages.find(name) for name in ("바", "사아", "", "자차카")] == [None] * 4


@pytest.mark.parametrize("spread", [1, 1 << 20, 1 << 40, 1 << 56])
def test_hashes_are_found_wherever_they_lie(tmp_path: Path, spread: int):
    """Evenly as hashes do, or all in one corner."""
    rng = random.Random(spread)
    for n in (0, 1, 2, 100, 3_000):
        low = rng.choice([0, (1 << 64) - 256 * spread])
        values = sorted(low + rng.randrange(256 * spread) for _ in range(n))
        writer = ArrayWriter(tmp_path / "hashes")
        writer.add("hashes", np.array(values, np.uint64))
        writer.close()
        hashes = ArrayFile(tmp_path / "hashes")["hashes"]
        for value in [*values[::37], *values[-1:], 0, (1 << 64) - 1, low + 128 * spread]:
            assert segment.find(hashes, value) == (values.index(value) if value in values else None)


def test_an_article_stays_in_one_segment(tmp_path: Path, small_segments: None):
    index = build_and_open(tmp_path / "kb", random_passages(random.Random(4), 200, longest=10))
    articles = [{article_id(p.id) for p in part} for part in parts(index)]
    assert len(articles) > 10 and sum(map(len, articles)) == len(set.union(*articles)) == 200
    assert all(50 <= len(part) <= 60 for part in parts(index)[:-1])


def test_an_article_too_long_for_a_segment_is_cut(tmp_path: Path, small_segments: None):
    long = [Passage(f"long#{n}", "긴 글", f"쪽{n} 모두") for n in range(150)]
    before, after = [Passage("before", "", "앞 모두")], [Passage("after", "", "뒤 모두")]
    index = build_and_open(tmp_path / "kb", [*before, *long, *after])
    assert [len(part) for part in parts(index)] == [60, 60, 32]
    assert list(index.passages) == [*before, *long, *after]
    assert list(index.passages.of_article("long")) == list(range(1, 151))
    assert len(index.ranked(article_penalty=0.0).search("모두", 200)) == 152


def test_passages_of_an_article(tmp_path: Path, small_segments: None):
    passages = [
        Passage("글#0", "", "하나"),
        Passage("글#1", "", "둘"),
        Passage("글", "", "셋"),
        Passage("글#x", "", "넷"),
    ]
    index = build_and_open(tmp_path / "kb", passages)
    assert list(index.passages.of_article("글")) == [0, 1, 2]
    assert list(index.passages.of_article("글#x")) == [3]
    assert list(index.passages.of_article("글#1")) == []  # is no article, but cut from one
    assert list(index.passages.of_article("없다")) == []


def test_analysis_in_batches_and_by_processes_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    passages = random_passages(random.Random(5), 60)
    analyzer = Analyzer(parse_components("bigram+whitespace"))
    build_and_open(tmp_path / "plain", passages, analyzer)
    monkeypatch.setattr(analysis_pool, "_BATCH", 7)
    build_and_open(tmp_path / "batches", passages, analyzer)
    monkeypatch.setattr(analysis_pool, "_WORTH_A_POOL", 20)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    build_and_open(tmp_path / "processes", passages, analyzer)
    segments = [files(tmp_path / name)["gen-1/0000.seg"] for name in ("plain", "batches", "processes")]
    assert segments[0] == segments[1] == segments[2]


def test_words_forgotten_on_the_way_change_no_score(
    tmp_path: Path, small_segments: None, monkeypatch: pytest.MonkeyPatch
):
    passages = random_passages(random.Random(10), 100)
    analyzer = Analyzer(parse_components("kiwi+bigram"))
    remembered = build_and_open(tmp_path / "remembered", passages, analyzer)
    monkeypatch.setattr(build, "_MAX_WORDS", 20)
    forgotten = build_and_open(tmp_path / "forgotten", passages, analyzer)
    assert [part.analysis("w0") for part in remembered.segments][1:] == [None] * (len(remembered.segments) - 1)
    assert None not in [part.analysis("w0") for part in forgotten.segments]
    for question in ("w0 w7", "w3 w40 unknown", "w200"):
        assert score_all(remembered, question).tolist() == score_all(forgotten, question).tolist()


def test_a_segment_needs_no_terms(tmp_path: Path, small_segments: None):
    blank = [Passage(str(n), "", "?!") for n in range(120)]
    index = build_and_open(tmp_path / "kb", [*blank, Passage("word", "", "낱말")])
    assert len(index.segments) == 3 and ranked(index, "낱말")[0][0] == "word"


# --- words and sentences -------------------------------------------------------------------------------------


def test_analyses_of_words_are_kept_where_they_were_seen_first(tmp_path: Path, small_segments: None):
    passages = [Passage(str(n), "제목은", "이순신은 다시" if n else "이순신은 처음") for n in range(130)]
    index = build_and_open(tmp_path / "kb", passages, Analyzer())
    stored = [[part.analysis(word) for word in ("이순신은", "제목은", "다시", "없다")] for part in index.segments]
    assert stored[0] == ["이순신\x1e".encode(), "제목\x1e".encode(), "다시\x1e".encode(), None]
    assert stored[1:] == [[None] * 4] * 2


def test_kept_words_are_asked_for_without_kiwi(tmp_path: Path, small_passages: list[Passage]):
    """A first question of known words takes no second to load Kiwi, an unknown word does."""
    build_index(tmp_path / "kb", small_passages)
    script = """
import sys
from kofid.retrieval.index import Index
index = Index.open(sys.argv[1])
for question in ("거북선을 이끌고 싸웠다", "이순신은 장군이다. 1592년에!", "李", "", "폴로늄입니다"):
    print(len(index.search(question, 5)), "kiwipiepy" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "kb")], check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[:2] == ["1 False", "2 False"]
    assert done.stdout.splitlines()[-1] == "1 True"


def test_kept_analyses_are_those_that_kiwi_gives(demo_index: Index):
    analyzer = Analyzer()
    words = list(dict.fromkeys(word for passage in demo_index.passages for word in analyzer.units(passage.text)))
    assert len(words) > 5_000
    assert [terms for _, terms in demo_index.analyze(" ".join(words))] == analyzer.analyze(words)


def test_sentences_are_analysed_whole(tmp_path: Path, small_segments: None):
    analyzer = Analyzer(parse_components("kiwi+compound"), context="sentence")
    passages = [
        Passage(f"{n}", "조선 수군", f"이순신은 {n}번째 장군이다. 대통령 선거와 대통령선거.") for n in range(70)
    ]
    index = build_and_open(tmp_path / "kb", passages, analyzer)
    assert len(index.segments) == 2 and index.analyzer == analyzer
    assert index.analyze("이순신은 장군") == [("이순신은 장군", [["이순신", "장군"], []])]
    slow = SlowIndex(passages, lambda text: analyzer.analyze([text])[0], title_weight=1.0)
    for question in ("조선 장군", "대통령선거", "이순신은 3번째"):
        terms = [(t.text, t.component, t.weight) for t in index.query(question)]
        assert score_all(index, question) == pytest.approx(slow.scores(terms), rel=1e-4, abs=1e-5)
    assert all(part.analysis("이순신은") is None for part in index.segments)


def test_user_dictionary_is_kept(tmp_path: Path):
    analyzer = Analyzer(parse_components("kiwi"), user_words=("무지개여울\tNNP\t0", "늘봄가람"))
    index = build_and_open(
        tmp_path / "kb", [Passage("1", "", "무지개여울에 간다"), Passage("2", "", "여울에 무지개가")], analyzer
    )
    assert index.analyzer == analyzer
    assert ranked(index, "무지개여울로")[0][0] == "1" and len(ranked(index, "무지개여울로")) == 1
    update_index(tmp_path / "kb", add=[Passage("3", "", "무지개여울의 물")])
    assert {passage_id for passage_id, _ in ranked(Index.open(tmp_path / "kb"), "무지개여울로")} == {"1", "3"}


def test_index_of_another_kiwi_is_not_opened(small_index: Path, monkeypatch: pytest.MonkeyPatch):
    here = morphology.kiwi_version()
    monkeypatch.setattr(morphology, "kiwi_version", lambda: "kiwipiepy 99")
    for use in (Index.open, lambda path: update_index(path, delete=["퀴리"])):
        with pytest.raises(IncompatibleArtifactError) as error:
            use(small_index)
        assert here in str(error.value) and "kiwipiepy 99" in str(error.value)


# --- nothing to index ----------------------------------------------------------------------------------------


def test_empty_corpus_is_refused_and_leaves_nothing(tmp_path: Path):
    with pytest.raises(InputError):
        build_index(tmp_path / "kb", [])
    assert list(tmp_path.iterdir()) == []


def test_corpus_without_any_term_is_refused_and_leaves_nothing(tmp_path: Path):
    with pytest.raises(InputError):
        build_index(tmp_path / "kb", [Passage("1", "", "😀")])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("passages", [[], [Passage("1", "", "😀")]], ids=["no passage", "no term"])
def test_empty_corpus_leaves_the_index_that_was_there(tmp_path: Path, small_index: Path, passages: list[Passage]):
    path = tmp_path / "kb"
    shutil.copytree(small_index, path)
    before = files(path / "gen-1")
    with pytest.raises(InputError):
        build_index(path, passages)
    assert files(path / "gen-1") == before
    assert Index.open(path).search("폴로늄", 1)


# --- interrupted and resumed ---------------------------------------------------------------------------------


class Stop(Exception):
    pass


def stopping(passages: Sequence[Passage], after: int) -> Iterator[Passage]:
    yield from islice(passages, after)
    raise Stop


def interrupted(path: Path, passages: Sequence[Passage], after: int, **options: Any) -> list[str]:
    """Build as far as the passage numbered ``after``; return the names of the segments in the journal."""
    with pytest.raises(Stop):
        build_index(path, stopping(passages, after), **({"analyzer": WORDS} | options))
    journals = list(path.glob(f".building-gen-*/{JOURNAL}"))
    return [s["name"] for journal in journals for s in json.loads(journal.read_text())["segments"]]


def building(path: Path) -> Path:
    """Return the directory of the interrupted build."""
    (unfinished,) = path.glob(".building-gen-*")
    return unfinished


@pytest.fixture(scope="module")
def corpus() -> list[Passage]:
    return random_passages(random.Random(6), 120)


@pytest.mark.parametrize("after", [0, 30, 130, 190, 280])
def test_resumed_build_finds_what_an_uninterrupted_one_does(
    tmp_path: Path, small_segments: None, corpus: list[Passage], after: int
):
    whole = build_and_open(tmp_path / "whole", corpus)
    stored = interrupted(tmp_path / "kb", corpus, after)
    assert len(stored) == {0: 0, 30: 0, 130: 1, 190: 2, 280: 4}[after]
    assert has_interrupted_build(tmp_path / "kb") == bool(stored)
    resumed = build_and_open(tmp_path / "kb", corpus, resume=True)
    assert not has_interrupted_build(tmp_path / "kb") and sorted(p.name for p in (tmp_path / "kb").iterdir()) == [
        ".lock",
        "CURRENT",
        "gen-1",
    ]
    assert resumed.artifact.settings == whole.artifact.settings and list(resumed.passages) == corpus
    rng = random.Random(7)
    for question in [random_question(rng) for _ in range(10)]:
        assert score_all(resumed, question).tolist() == score_all(whole, question).tolist()
    for a, b in zip(resumed.segments, whole.segments, strict=True):
        ours, theirs = ArrayFile(a._file.path), ArrayFile(b._file.path)
        assert ours.names == theirs.names
        for name in ours.names:
            assert ours[name].all().tobytes() == theirs[name].all().tobytes(), name


def test_resumed_build_is_byte_for_byte_the_uninterrupted_one(
    tmp_path: Path, small_segments: None, corpus: list[Passage]
):
    analyzer = Analyzer(parse_components("bigram+kiwi"))
    build_and_open(tmp_path / "whole", corpus, analyzer)
    assert interrupted(tmp_path / "kb", corpus, 190, analyzer=analyzer)
    build_and_open(tmp_path / "kb", corpus, analyzer, resume=True)
    resumed, whole = files(tmp_path / "kb" / "gen-1"), files(tmp_path / "whole" / "gen-1")
    assert [name for name in whole if resumed[name] != whole[name]] == []


def test_resumed_build_reads_on_and_does_not_analyse_anew(
    tmp_path: Path, small_segments: None, corpus: list[Passage], monkeypatch: pytest.MonkeyPatch
):
    stored = interrupted(tmp_path / "kb", corpus, 250)
    segments = {name: (building(tmp_path / "kb") / name).stat().st_ino for name in stored}
    build_index(tmp_path / "kb", corpus, analyzer=WORDS, resume=True)
    assert {name: (tmp_path / "kb" / "gen-1" / name).stat().st_ino for name in stored} == segments and len(stored) > 2


def test_build_interrupted_twice(tmp_path: Path, small_segments: None, corpus: list[Passage]):
    assert len(interrupted(tmp_path / "kb", corpus, 130)) == 1
    assert len(interrupted(tmp_path / "kb", corpus, 250, resume=True)) == 3
    assert list(build_and_open(tmp_path / "kb", corpus, resume=True).passages) == corpus


def test_interrupted_rebuild_leaves_the_old_index_answering(
    tmp_path: Path, small_segments: None, corpus: list[Passage], small_passages: list[Passage]
):
    build_and_open(tmp_path / "kb", small_passages)
    assert interrupted(tmp_path / "kb", corpus, 200)
    assert list(Index.open(tmp_path / "kb").passages) == small_passages
    assert list(build_and_open(tmp_path / "kb", corpus, resume=True).passages) == corpus


def test_without_resume_an_interrupted_build_is_forgotten(
    tmp_path: Path, small_segments: None, corpus: list[Passage], small_passages: list[Passage]
):
    assert interrupted(tmp_path / "kb", corpus, 200)
    assert list(build_and_open(tmp_path / "kb", small_passages).passages) == small_passages
    assert not has_interrupted_build(tmp_path / "kb")


def test_resume_where_nothing_was_interrupted_is_a_build(tmp_path: Path, small_passages: list[Passage]):
    assert list(build_and_open(tmp_path / "kb", small_passages, resume=True).passages) == small_passages
    assert list(build_and_open(tmp_path / "kb", small_passages[:2], resume=True).passages) == small_passages[:2]


@pytest.mark.parametrize(
    "options",
    [
        {"analyzer": Analyzer(parse_components("bigram"))},
        {"analyzer": Analyzer(parse_components("whitespace*2"))},
        {"ranking": Ranking(Ranker(k1=2.0))},
        {"notes": {"split": 50}},
    ],
    ids=["analyzer", "weight", "ranking", "notes"],
)
def test_resume_with_other_settings_is_refused_and_loses_nothing(
    tmp_path: Path, small_segments: None, corpus: list[Passage], options: dict[str, Any]
):
    stored = interrupted(tmp_path / "kb", corpus, 200)
    with pytest.raises(IncompatibleArtifactError, match="resume"):
        build_index(tmp_path / "kb", corpus, resume=True, **({"analyzer": WORDS} | options))
    segments = {name: (building(tmp_path / "kb") / name).stat().st_ino for name in stored}
    assert list(build_and_open(tmp_path / "kb", corpus, resume=True).passages) == corpus
    assert {name: (tmp_path / "kb" / "gen-1" / name).stat().st_ino for name in stored} == segments


def test_resume_with_other_passages_is_refused(tmp_path: Path, small_segments: None, corpus: list[Passage]):
    stored = interrupted(tmp_path / "kb", corpus, 200)
    changed = [*corpus[:3], Passage(corpus[3].id, corpus[3].title, corpus[3].text + "."), *corpus[4:]]
    for other in (changed, corpus[1:], corpus[:40], []):
        with pytest.raises(IncompatibleArtifactError, match=stored[0]):
            build_index(tmp_path / "kb", other, analyzer=WORDS, resume=True)
    assert list(build_and_open(tmp_path / "kb", corpus, resume=True).passages) == corpus


def test_resumed_build_forgets_segments_that_were_not_finished(
    tmp_path: Path, small_segments: None, corpus: list[Passage]
):
    stored = interrupted(tmp_path / "kb", corpus, 200)
    unfinished = building(tmp_path / "kb")
    finished = sum(s["n_passages"] for s in json.loads((unfinished / JOURNAL).read_text())["segments"])
    assert len(list(unfinished.glob("0*.seg"))) > len(stored) > 1
    index = build_and_open(tmp_path / "kb", corpus[:finished], resume=True)
    assert list(index.passages) == corpus[:finished] and len(index.segments) == len(stored)


def test_segment_cut_short_by_a_kill_is_written_anew(tmp_path: Path, small_segments: None, corpus: list[Passage]):
    stored = interrupted(tmp_path / "kb", corpus, 200)
    half = building(tmp_path / "kb") / f"{len(stored):04}.seg"
    assert half.is_file()
    half.write_bytes(b"rubbish")
    assert list(build_and_open(tmp_path / "kb", corpus, resume=True).passages) == corpus


# --- added to and deleted from -------------------------------------------------------------------------------


def same_as_rebuilt(index: Index, rebuilt: Index, questions: Sequence[str]) -> None:
    """Check that all passages and all scores are those of an index built anew, in whatever order."""
    assert {p.id: p for p in index.passages} == {p.id: p for p in rebuilt.passages}
    assert len(index) == len(rebuilt) == sum(1 for _ in index.passages)
    every, anew = index.ranked(article_penalty=0.0), rebuilt.ranked(article_penalty=0.0)
    for question in questions:
        assert dict(ranked(every, question, 9_999)) == dict(ranked(anew, question, 9_999))
        ours, theirs = ranked(index, question, 9_999), ranked(rebuilt, question, 9_999)
        assert [score for _, score in ours] == [score for _, score in theirs]


@pytest.mark.parametrize("anywhere", [False, True], ids=["at the end", "anywhere"])
@pytest.mark.parametrize("seed", range(6))
def test_changed_index_is_as_if_built_anew(tmp_path: Path, small_segments: None, seed: int, anywhere: bool):
    """Rounds of random changes: passages and articles deleted, articles new, replaced, and extended."""
    rng = random.Random(seed)
    articles = {f"a{n}": random_article(rng, f"a{n}") for n in range(60)}
    path = tmp_path / "kb"
    build_and_open(path, (passage for article in articles.values() for passage in article))
    gone: list[str] = []
    for step in range(5):
        names = rng.sample(sorted(articles), 14)
        add: list[Passage] = []
        delete: list[str] = []
        for name in names[:3]:  # articles deleted whole
            delete.append(name)
            gone.append(name)
            del articles[name]
        for name in names[3:7]:  # a passage deleted
            if len(articles[name]) > 1:
                article = articles[name] = sorted(articles[name], key=lambda passage: passage.id)
                delete.append(article.pop(rng.randrange(len(article)) if anywhere else -1).id)
        back = [gone.pop(0)] if step > 1 else []  # deleted in a round before, and there again
        for name in [*back, *names[7:10]]:  # replaced, by fewer or more passages
            articles[name] = random_article(rng, name)
            add += articles[name]
        for name in names[10:14]:  # a passage replaced, or one more
            numbers = [int(passage.id.partition("#")[2]) for passage in articles[name]]
            id = f"{name}#{rng.choice([*numbers[1:], max(numbers) + 1])}"
            add.append(Passage(id, articles[name][0].title, random_text(rng, 3, 30)))
            articles[name] = [*(passage for passage in articles[name] if passage.id != id), add[-1]]
        for n in range(rng.randint(0, 8)):
            articles[f"b{step}-{n}"] = random_article(rng, f"b{step}-{n}")
            add += articles[f"b{step}-{n}"]
        settings = update_index(path, add=add, delete=delete)
        index = Index.open(path)
        passages = [passage for article in articles.values() for passage in article]
        assert (settings.n_passages, settings.n_segments) == (len(passages), len(index.segments))
        rebuilt = in_one_piece(tmp_path / f"rebuilt{step}", passages)
        same_as_rebuilt(index, rebuilt, [random_question(rng) for _ in range(8)])
        assert all(index.passages.find(passage.id) is not None for passage in passages)
        assert all(index.passages.find(passage_id) is None for passage_id in delete)
        for name, article in articles.items():
            of_article = [index.passages[position] for position in index.passages.of_article(name)]
            assert sorted(of_article, key=lambda p: p.id) == sorted(article, key=lambda p: p.id)


def test_changed_index_of_morphemes_is_as_if_built_anew(tmp_path: Path, small_segments: None, demo_index: Index):
    passages = list(demo_index.passages)
    build_and_open(tmp_path / "kb", passages[:200], Analyzer())
    update_index(tmp_path / "kb", add=passages[200:260], delete=[p.id for p in passages[:100:3]])
    left = [p for n, p in enumerate(passages[:260]) if n >= 100 or n % 3]
    rebuilt = in_one_piece(tmp_path / "rebuilt", left, Analyzer())
    same_as_rebuilt(
        Index.open(tmp_path / "kb"), rebuilt, ["훈민정음은 언제 만들었나?", "가장 높은 산은 어디인가", "한글", "장군"]
    )


def test_scores_after_a_deletion_by_hand(tmp_path: Path):
    """Two passages are left, of one word and of three: average 2; 가 is in both, 나 in one."""
    passages = [Passage("1", "", "가"), Passage("2", "", "가 나 다"), Passage("3", "", "가 나 라 마 바 사")]
    build_and_open(tmp_path / "kb", passages)
    update_index(tmp_path / "kb", delete=["3"])
    index = Index.open(tmp_path / "kb", ranking=PLAIN)
    slow = SlowIndex(passages[:2], lambda text: [text.split()])
    assert score_all(index, "가 나 라").tolist() == [
        *(pytest.approx(score) for score in slow.scores([("가", 0, 1.0), ("나", 0, 1.0)])),
        0.0,
    ]
    assert [passage_id for passage_id, _ in ranked(index, "라 마 바 사 가")] == ["1", "2"]
    assert ranked(index, "라") == [] and index.sparse.document_frequency("나", 0) == 1


def test_unchanged_segments_are_the_same_files(tmp_path: Path, small_segments: None, corpus: list[Passage]):
    build_and_open(tmp_path / "kb", corpus)
    before = {p.name: p.stat().st_ino for p in (tmp_path / "kb" / "gen-1").glob("0*.seg*")}
    update_index(tmp_path / "kb", delete=[corpus[0].id, corpus[-1].id])
    assert {p.name: p.stat().st_ino for p in (tmp_path / "kb" / "gen-2").glob("0*.seg*")} == before
    update_index(tmp_path / "kb", add=random_passages(random.Random(9), 1))
    after = {p.name: p.stat().st_ino for p in (tmp_path / "kb" / "gen-3").glob("0*.seg*")}
    assert len(before.items() & after.items()) >= len(before) - 2


def test_small_additions_do_not_add_up_to_many_segments(tmp_path: Path, small_segments: None, corpus: list[Passage]):
    n = len(build_and_open(tmp_path / "kb", corpus).segments)
    for step in range(12):
        update_index(tmp_path / "kb", add=[Passage(f"new{step}", "", f"새 글 {step}")])
    index = Index.open(tmp_path / "kb")
    assert len(index.segments) <= n + 1
    assert {p.id for p in index.passages} == {p.id for p in corpus} | {f"new{step}" for step in range(12)}


def test_nothing_added_and_nothing_deleted_changes_nothing(tmp_path: Path, small_segments: None, corpus: list[Passage]):
    first = build_and_open(tmp_path / "kb", corpus, notes={"note": "x"}, ranking=Ranking(Ranker("atire")))
    assert update_index(tmp_path / "kb") == first.settings
    second = Index.open(tmp_path / "kb")
    assert files(first.artifact.directory) == {} != files(second.artifact.directory)  # the old generation is gone
    assert ranked(second, "w0 w7") == ranked(first, "w0 w7")
    assert second.ranking == Ranking(Ranker("atire")) and second.artifact.settings["note"] == "x"


@pytest.mark.parametrize("unknown", ["none", "a5#99", "", "a"])
def test_unknown_id_is_refused_and_the_index_untouched(
    tmp_path: Path, small_segments: None, corpus: list[Passage], unknown: str
):
    build_and_open(tmp_path / "kb", corpus)
    before = files(tmp_path / "kb")
    with pytest.raises(InputError, match=f"'{unknown}'"):
        update_index(tmp_path / "kb", add=[Passage("new", "", "새 글")], delete=["a0", unknown, "a1"])
    assert files(tmp_path / "kb") == before
    update_index(tmp_path / "kb", delete=["a0"])
    with pytest.raises(InputError, match="'a0'"):  # already deleted
        update_index(tmp_path / "kb", delete=["a0"])


def test_failing_source_leaves_the_index_untouched(tmp_path: Path, small_segments: None, corpus: list[Passage]):
    build_and_open(tmp_path / "kb", corpus)
    before = files(tmp_path / "kb")
    new = [Passage(f"new{n}", "", "새 글") for n in range(200)]
    with pytest.raises(Stop):
        update_index(tmp_path / "kb", add=stopping(new, 150), delete=["a0"])
    assert files(tmp_path / "kb") == before


def test_what_is_not_there_cannot_be_changed(tmp_path: Path):
    with pytest.raises(InputError):
        update_index(tmp_path / "none", delete=["1"])
    assert list(tmp_path.iterdir()) == []


def test_article_and_passage_are_deleted_by_id(tmp_path: Path):
    passages = [*(Passage(f"A#{n}", "글", f"쪽{n} 모두") for n in range(4)), Passage("B", "", "모두")]
    build_and_open(tmp_path / "kb", passages)
    update_index(tmp_path / "kb", delete=["A#0", "A#2"])
    index = Index.open(tmp_path / "kb")
    assert [p.id for p in index.passages] == ["A#1", "A#3", "B"]
    assert [index.passages[n].id for n in index.passages.of_article("A")] == ["A#1", "A#3"]
    update_index(tmp_path / "kb", delete=["A"])
    assert [p.id for p in Index.open(tmp_path / "kb").passages] == ["B"]


def test_deleting_everything_is_refused(tmp_path: Path, small_index: Path):
    path = tmp_path / "kb"
    shutil.copytree(small_index, path)
    with pytest.raises(InputError):
        update_index(path, delete=["이순신", "세종", "퀴리"])
    assert len(Index.open(path)) == 4


def test_passage_deleted_and_its_article_extended_at_once(tmp_path: Path):
    build_and_open(tmp_path / "kb", [Passage(f"A#{n}", "글", f"쪽{n}") for n in range(3)])
    update_index(tmp_path / "kb", add=[Passage("A#3", "글", "쪽3")], delete=["A#1"])
    assert sorted(p.id for p in Index.open(tmp_path / "kb").passages) == ["A#0", "A#2", "A#3"]


def test_passages_of_one_article_added_out_of_order(tmp_path: Path):
    build_and_open(tmp_path / "kb", [Passage(f"A#{n}", "글", f"쪽{n}") for n in range(3)])
    new = [Passage("A#1", "글", "새 쪽1"), Passage("B", "", "다른 글"), Passage("A#2", "글", "새 쪽2")]
    update_index(tmp_path / "kb", add=new)
    passages = list(Index.open(tmp_path / "kb").passages)
    assert len(passages) == 4
    assert {p.id: p.text for p in passages} == {"A#0": "쪽0", "A#1": "새 쪽1", "A#2": "새 쪽2", "B": "다른 글"}


def test_article_whose_first_passage_was_deleted_long_ago(tmp_path: Path):
    build_and_open(tmp_path / "kb", [Passage(f"A#{n}", "글", f"쪽{n}") for n in range(3)])
    update_index(tmp_path / "kb", delete=["A#0"])
    update_index(tmp_path / "kb", add=[Passage("B", "", "다른 글")])  # writes the small segment anew, without A#0
    update_index(tmp_path / "kb", add=[Passage("A#1", "글", "새 쪽1")])
    index = Index.open(tmp_path / "kb")
    assert sorted(p.id for p in index.passages) == ["A#1", "A#2", "B"]
    assert {index.passages[n].text for n in index.passages.of_article("A")} == {"새 쪽1", "쪽2"}


def test_recorded_ranking(tmp_path: Path, small_segments: None, corpus: list[Passage]):
    index = build_and_open(tmp_path / "kb", corpus, notes={"note": "x"})
    update_index(tmp_path / "kb", delete=[corpus[0].id])
    before = {p.name: p.stat().st_ino for p in (tmp_path / "kb" / "gen-2").glob("*.seg*")}
    ranking = Ranking(Ranker("bm25+", 2.0), title_weight=0.0)
    record_ranking(tmp_path / "kb", ranking, [0.5])
    index = Index.open(tmp_path / "kb")
    assert (index.ranking, index.weights) == (ranking, (0.5,))
    assert index.artifact.settings["note"] == "x" and len(index) == len(corpus) - 1
    assert {p.name: p.stat().st_ino for p in (tmp_path / "kb" / "gen-3").glob("*.seg*")} == before


# --- damage --------------------------------------------------------------------------------------------------


def read_everything(index: Index) -> None:
    """Read all passages, all postings, all kept words."""
    assert len(list(index.passages)) == len(index)
    for part in index.segments:
        for name in part._file.names:
            part._file[name].all()


def test_a_flipped_byte_anywhere_in_a_segment_is_found_when_it_is_read(tmp_path: Path):
    rng = random.Random(8)
    build_and_open(tmp_path / "kb", random_passages(rng, 2_500))
    file = tmp_path / "kb" / "gen-1" / "0000.seg"
    content = file.read_bytes()
    assert len(content) > 4 * BLOCK
    opened = 0
    for start in range(0, len(content), BLOCK):
        position = rng.randrange(start, min(start + BLOCK, len(content)))
        file.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        with pytest.raises(CorruptArtifactError, match=r"0000\.seg"):
            open_artifact(tmp_path / "kb", "index", thorough=True)
        try:
            index = Index.open(tmp_path / "kb")
        except CorruptArtifactError as error:  # the dictionary is read at once
            assert "0000.seg" in str(error)
            continue
        opened += 1
        with pytest.raises(CorruptArtifactError, match=r"0000\.seg"):
            read_everything(index)
    assert opened > 1
    file.write_bytes(content)
    read_everything(Index.open(tmp_path / "kb"))


def test_damaged_passage_text_does_not_hinder_what_does_not_read_it(tmp_path: Path):
    passages = random_passages(random.Random(8), 2_500)
    build_and_open(tmp_path / "kb", passages)
    file = tmp_path / "kb" / "gen-1" / "0000.seg"
    content = bytearray(file.read_bytes())
    content[10] ^= 1
    file.write_bytes(content)
    index = Index.open(tmp_path / "kb")
    assert index.passages[len(passages) - 1] == passages[-1]
    assert np.count_nonzero(score_all(index, "w0"))
    with pytest.raises(CorruptArtifactError, match=r"0000\.seg"):
        _ = index.passages[0]
