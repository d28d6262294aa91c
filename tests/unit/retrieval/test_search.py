"""Scores and rankings against numbers worked by hand, slow loops and public packages; fusion; measures."""

from __future__ import annotations

import json
import random
import shutil
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import log, sqrt
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
import pytest
import rank_bm25
from support.slow_index import VOCABULARY, SlowIndex, random_passages, random_question

from kofid.errors import IncompatibleArtifactError
from kofid.evaluation.metrics import answer_metrics
from kofid.formats import read_corpus
from kofid.korean.text import clean
from kofid.pipeline import Pipeline
from kofid.retrieval import fusion as fuse
from kofid.retrieval.build import build_index, update_index
from kofid.retrieval.dense.base import NamedEncoder
from kofid.retrieval.engines import PackageSearch
from kofid.retrieval.explain import explain
from kofid.retrieval.hybrid import VectorSearch, open_search
from kofid.retrieval.index import Index
from kofid.retrieval.modes import FusionMethod, RankerName
from kofid.retrieval.sparse import builder as build
from kofid.retrieval.sparse import scoring
from kofid.retrieval.sparse.analyzer import Analyzer, parse_components
from kofid.retrieval.sparse.query import QueryTerm, weigh
from kofid.retrieval.sparse.ranking import PLAIN, Ranker, Ranking
from kofid.retrieval.sparse.search import SparseIndex
from kofid.storage.bundled import resource
from kofid.types import Answer, Hit, Passage, Question

WORDS = Analyzer(parse_components("whitespace"))


def plain(ranker: str = "lucene", k1: float = 1.2, b: float = 0.75, **options: Any) -> Ranking:
    """Return a ranking that has texts and nothing else, but for ``options``."""
    return replace(PLAIN, ranker=Ranker(ranker, k1, b), **options)


def build_and_open(path: Path, passages: Sequence[Passage], ranking: Ranking | None = None) -> Index:
    """Build the index of ``passages``, whose terms are their words, and open it."""
    build_index(path, passages, analyzer=WORDS)
    return Index.open(path, ranking=ranking or plain())


def untitled(*texts: str) -> list[Passage]:
    return [Passage(str(n), "", text) for n, text in enumerate(texts)]


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.passage.id for hit in hits]


def ask(*words: str) -> list[QueryTerm]:
    return [QueryTerm(word, 0, 1.0, word) for word in words]


@pytest.fixture(scope="module")
def demo_questions() -> list[str]:
    lines = resource("demo/questions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["question"] for line in lines]


@pytest.fixture(scope="module")
def random_index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """About 600 passages in one segment, every twentieth word of a question unknown."""
    return build_and_open(tmp_path_factory.mktemp("random") / "kb", random_passages(random.Random(1), 200))


# --- rankers, by hand ----------------------------------------------------------------------------------------

THREE = untitled("a b", "a a c", "b")
# Three passages of 2, 3 and 1 terms: average 2. k1 = 1.2, b = 0.75.
# length factor K = 1.2 (0.25 + 0.75 length / 2): 1.2, 1.65, 0.75
# idf = ln(1 + (3 - n + 0.5) / (n + 0.5)): a and b, n = 2: ln 1.6; c, n = 1: ln(8/3)
# score of a term standing f times: idf f / (f + K)
A0 = log(1.6) * 1 / 2.2  # 0.2136
A1 = log(1.6) * 2 / 3.65  # 0.2575
C1 = log(8 / 3) * 1 / 2.65  # 0.3701
B2 = log(1.6) * 1 / 1.75  # 0.2686


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return build_and_open(tmp_path_factory.mktemp("three") / "kb", THREE)


@pytest.mark.parametrize(
    ("asked", "scores"),
    [
        ("a", [A0, A1, 0]),
        ("c", [0, C1, 0]),
        ("b", [A0, 0, B2]),
        ("a c", [A0, A1 + C1, 0]),
        ("a a", [2 * A0, 2 * A1, 0]),  # asked twice, counts twice
        ("a unknown", [A0, A1, 0]),
        ("unknown", [0, 0, 0]),
        ("", [0, 0, 0]),
    ],
)
def test_bm25_by_hand(three: Index, asked: str, scores: list[float]):
    assert three.score_sparse(asked) == pytest.approx(scores, abs=1e-6)
    best = sorted((n for n in range(3) if scores[n]), key=lambda n: -scores[n])
    assert ids(three.search(asked, 3)) == [str(n) for n in best]
    assert [hit.score for hit in three.search(asked, 3)] == pytest.approx([scores[n] for n in best], abs=1e-6)


@pytest.mark.parametrize(
    ("ranker", "asked", "scores"),
    [
        # K as above. okapi's idf: a stands in over half the passages, so 0; c: ln((3 - 1 + 0.5) / 1.5)
        ("okapi", "a", [0, 0, 0]),
        ("okapi", "c", [0, log(5 / 3) * 2.2 / 2.65, 0]),
        ("atire", "a", [log(3 / 2) * 2.2 / 2.2, log(3 / 2) * 4.4 / 3.65, 0]),
        ("bm25+", "a", [log(4 / 2) * (2.2 / 2.2 + 1), log(4 / 2) * (4.4 / 3.65 + 1), 0]),
        # tf / (K / 1.2) + 0.5: 1.5 and 2 / 1.375 + 0.5; idf ln(4 / 2.5)
        ("bm25l", "a", [log(1.6) * 2.2 * 1.5 / 2.7, log(1.6) * 2.2 * 1.954545 / 3.154545, 0]),
        # (1 + ln(3 / 3))^2 = 1; root of tf over root of length
        ("tf-idf", "a", [1 / sqrt(2), sqrt(2) / sqrt(3), 0]),
        ("tf-idf", "c", [0, (1 + log(3 / 2)) ** 2 / sqrt(3), 0]),
    ],
)
def test_rankers_by_hand(three: Index, ranker: str, asked: str, scores: list[float]):
    assert three.ranked(ranker=ranker).score_sparse(asked) == pytest.approx(scores, abs=1e-6)


@pytest.mark.parametrize(("ranker", "delta"), [("bm25+", 1.0), ("bm25l", 0.5), ("lucene", 0.0), ("atire", 0.0)])
def test_delta_is_its_authors_unless_given(three: Index, ranker: str, delta: float):
    same = three.ranked(ranker=ranker, delta=delta).score_sparse("a")
    assert same.tolist() == three.ranked(ranker=ranker).score_sparse("a").tolist()
    assert not np.allclose(same, three.ranked(ranker=ranker, delta=delta + 0.1).score_sparse("a"))


def test_other_parameters_by_hand(three: Index):
    # k1 = 2, b = 0: no length factor, K = 2: a stands once in the first, twice in the second: ln 1.6 / 3, ln 1.6 · 2 / 4
    scores = three.ranked(k1=2.0, b=0.0).score_sparse("a")
    assert scores == pytest.approx([log(1.6) / 3, log(1.6) / 2, 0], abs=1e-6)


def test_passage_without_terms_is_short(tmp_path: Path):
    # lengths 1, 0, 1: average 2/3, K = 1.2 (0.25 + 0.75 · 1.5) = 1.65; n = 1 of 3: ln(8/3) / 2.65
    assert build_and_open(tmp_path / "kb", untitled("a", "😀", "b")).score_sparse("a") == pytest.approx(
        [C1, 0, 0], abs=1e-6
    )


def test_term_repeated_more_than_a_byte_can_say_counts_as_255(tmp_path: Path):
    # one passage, b = 0: idf ln(1 + 0.5 / 1.5), 255 / (255 + 1.2)
    index = build_and_open(tmp_path / "kb", untitled("a " * 1_000), plain(b=0.0))
    assert index.score_sparse("a") == pytest.approx([log(4 / 3) * 255 / 256.2], abs=1e-6)


# --- rankers, by loops and by other packages -----------------------------------------------------------------


@pytest.mark.parametrize("ranker", list(RankerName))
@pytest.mark.parametrize(("k1", "b"), [(1.2, 0.75), (0.8, 0.0), (2.0, 1.0)])
def test_rankers_equal_loops_over_dicts(random_index: Index, ranker: str, k1: float, b: float):
    slow = SlowIndex(list(random_index.passages), lambda text: [text.split()], ranker=ranker, k1=k1, b=b)
    fast = random_index.ranked(ranker=ranker, k1=k1, b=b)
    rng = random.Random(2)
    for question in [random_question(rng) for _ in range(4)]:
        expected = slow.scores([(word, 0, 1.0) for word in question.split()])
        assert fast.score_sparse(question) == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.fixture(scope="module")
def package_terms(random_index: Index) -> list[list[str]]:
    return [passage.text.split() for passage in random_index.passages]


@pytest.mark.parametrize("ranker", ["lucene", "atire"])
def test_bm25s_gives_the_same_scores(random_index: Index, package_terms: list[list[str]], ranker: str):
    engine = bm25s.BM25(k1=1.5, b=0.75, method=ranker, backend="numpy")
    engine.index(package_terms, show_progress=False)
    ours = random_index.ranked(ranker=ranker, k1=1.5, b=0.75)
    rng = random.Random(3)
    for words in [random_question(rng).split() for _ in range(20)]:
        theirs = engine.get_scores([word for word in words if word != "unknown"] or ["unknown"])
        assert ours.score_sparse(" ".join(words)) == pytest.approx(theirs, rel=1e-4, abs=1e-4)
        order = [int(n) for n in np.argsort(-theirs, kind="stable")[:10] if theirs[n] > 0]
        assert [hit.score for hit in ours.search(" ".join(words), 10)] == pytest.approx(theirs[order], rel=1e-4)


@pytest.mark.parametrize("ranker", ["bm25+", "bm25l"])
def test_bm25s_gives_the_same_scores_but_for_what_a_missing_term_is_worth(
    random_index: Index, package_terms: list[list[str]], ranker: str
):
    """There delta counts for terms that the passage does not have as well; here, as in Lv and Zhai, it does not."""
    engine = bm25s.BM25(k1=1.5, b=0.75, delta=0.5, method=ranker, backend="numpy")
    engine.index(package_terms, show_progress=False)
    ours = random_index.ranked(ranker=ranker, k1=1.5, b=0.75, delta=0.5)
    for word in VOCABULARY[::30]:
        theirs = engine.get_scores([word])
        there = np.array([word in terms for terms in package_terms])
        assert ours.score_sparse(word) == pytest.approx(np.where(there, theirs, 0), rel=1e-4, abs=1e-4)
        assert there.all() or theirs[~there].min() == theirs[~there].max() > 0


@pytest.mark.parametrize(("ranker", "engine"), [("okapi", rank_bm25.BM25Okapi), ("bm25+", rank_bm25.BM25Plus)])
def test_rank_bm25_gives_the_same_scores(random_index: Index, package_terms: list[list[str]], ranker: str, engine: Any):
    """Where the formulas are the same.

    There an idf below 0 becomes a quarter of the average one, here 0; there BM25+ counts delta for missing terms. Its
    BM25L multiplies by the term frequency once more, which no paper does, and is not compared.
    """
    theirs = engine(package_terms, k1=1.5, b=0.75)
    ours = random_index.ranked(ranker=ranker, k1=1.5, b=0.75)
    df = {word: sum(word in terms for terms in package_terms) for word in VOCABULARY}
    asked = [word for word in VOCABULARY[::20] if 0 < df[word] < len(package_terms) / 2]
    assert len(asked) > 10
    for word in asked:
        there = np.array([word in terms for terms in package_terms])
        expected = np.where(there, theirs.get_scores([word]), 0)
        assert ours.score_sparse(word) == pytest.approx(expected, rel=1e-5, abs=1e-5)
    if ranker == "okapi":
        common = max(df, key=lambda word: df[word])
        assert df[common] > len(package_terms) / 2
        assert not ours.score_sparse(common).any() and theirs.get_scores([common]).max() > 0


# --- all parts of a score ------------------------------------------------------------------------------------


def test_whole_scores_equal_loops_over_dicts(demo_index: Index, demo_questions: list[str]):
    """Morphemes and bigrams, titles, weights: what the default ranking gives on the demo."""
    analyzer = Analyzer()

    def terms_of(text: str) -> list[list[str]]:
        found = analyzer.analyze(analyzer.units(text))
        return [[term for analysis in found for term in analysis[c]] for c in range(2)]

    slow = SlowIndex(list(demo_index.passages), terms_of, title_weight=1.0)
    index = demo_index.ranked(article_penalty=0.0)
    for question in demo_questions[::60]:
        terms = [(t.text, t.component, t.weight) for t in index.query(question)]
        expected = slow.scores(terms)
        assert index.score_sparse(question) == pytest.approx(expected, rel=1e-4, abs=1e-4)
        for position, score in index.sparse.search(index.query(question), 10):
            assert score == pytest.approx(expected[position] + 0.2 * slow.together(position, terms), rel=1e-4)


def test_titles_count_by_the_squared_share_of_them_that_is_asked_for(tmp_path: Path):
    # 소설 stands in 1 of 4 texts: idf = ln(1 + 3.5 / 1.5). Titles of 2, 1 and 1 words, one an article: average 4/3.
    # K of the titles: 1.2 (0.25 + 0.75 · 2 / (4/3)) = 1.65, and 1.2 (0.25 + 0.75 · 0.75) = 0.975
    passages = [
        Passage("A#0", "무정 소설", "하나 둘"),
        Passage("A#1", "무정 소설", "셋 넷"),
        Passage("B", "소설", "다섯 여섯"),
        Passage("C", "시", "소설 일곱"),
    ]
    index = build_and_open(tmp_path / "kb", passages, plain(title_weight=2.0))
    idf = log(10 / 3)
    half, whole, text = 2 * (1 / 2) ** 2 * idf / 2.65, 2 * idf / 1.975, idf / 2.2
    assert index.score_sparse("소설") == pytest.approx([half, half, whole, text], abs=1e-6)
    assert ids(index.search("소설", 4)) == ["B", "C", "A#0", "A#1"]
    # Both words asked for, all of it: 무정 stands in no text, so counts as if in one.
    both = 2 * 2 * idf / 2.65
    assert index.score_sparse("무정 소설")[:3] == pytest.approx([both, both, whole], abs=1e-6)
    assert ids(index.search("무정", 4)) == ["A#0", "A#1"]
    assert index.ranked(title_weight=0.0).search("무정", 4) == []


def test_terms_that_stand_together_by_hand(tmp_path: Path):
    passages = [
        Passage("A", "", "하나 x다 둘 y"),  # two sentences, the one ends in 다; an x within a word is enough
        Passage("B", "", "y x"),
        Passage("C", "", "x\ny"),
        Passage("D", "X", "y y"),  # the title's x stands with every sentence
        Passage("E", "", "하나 xyz"),  # no word that is asked for, so not found
        Passage("F", "", "z. y 3.5 x"),  # a point within a number ends nothing
        Passage("G", "", "x! y"),
    ]
    index = build_and_open(tmp_path / "kb", passages, plain(b=0.0, sentence_weight=0.5))
    x, y = log(1 + 3.5 / 4.5), log(1 + 1.5 / 6.5)  # words of 4 and of 6 of 7 texts: x다 and xyz are others
    once = 1 / 2.2
    alone = {
        "A": y * once,
        "B": (x + y) * once,
        "C": (x + y) * once,
        "D": y * 2 / 3.2,
        "F": (x + y) * once,
        "G": (x + y) * once,
    }
    together = {"A": max(x, y), "B": x + y, "C": max(x, y), "D": x + y, "F": x + y, "G": max(x, y)}
    hits = index.search("x y", 9)
    assert {hit.passage.id: hit.score for hit in hits} == {
        name: pytest.approx(alone[name] + 0.5 * together[name], abs=1e-6) for name in alone
    }
    assert ids(hits)[:2] == ["B", "F"]
    # Scores of all passages are without: they are what the best are chosen by.
    assert index.score_sparse("x y") == pytest.approx([alone.get(p.id, 0.0) for p in passages], abs=1e-6)
    # Asked twice, counts twice; what weighs nothing adds nothing.
    asked = [*ask("x", "x"), QueryTerm("y", 0, 0.0, "y")]
    assert dict(index.sparse.search(asked, 9))[1] == pytest.approx(2 * x * once + 0.5 * 2 * x, abs=1e-6)


def test_sentences_of_folded_letters(tmp_path: Path):
    """Wide letters are found as plain ones, so they stand together as such."""
    passages = [Passage("wide", "", "ＫＢＳ 방송"), Passage("plain", "", "KBS 방송")]
    index = build_and_open(tmp_path / "kb", passages, plain(sentence_weight=0.5))
    wide, narrow = index.search("kbs 방송", 2)
    assert wide.score == narrow.score


def test_further_passages_of_an_article_give_way(tmp_path: Path):
    passages = [*(Passage(f"A#{n}", "", "x") for n in range(3)), Passage("B", "", "y"), Passage("C", "", "z")]
    index = build_and_open(tmp_path / "kb", passages, plain(b=0.0))
    # x stands in 3 of 5 passages, y in 1; B is to score 0.85 of what A's passages do.
    best = log(1 + 2.5 / 3.5) / 2.2
    asked = [QueryTerm("x", 0, 1.0, ""), QueryTerm("y", 0, 0.85 * best / (log(1 + 4.5 / 1.5) / 2.2), "")]
    found = {penalty: index.ranked(article_penalty=penalty).sparse.search(asked, 9) for penalty in (0.0, 0.1, 0.6)}
    assert [position for position, _ in found[0.0]] == [0, 1, 2, 3]
    assert [position for position, _ in found[0.1]] == [0, 1, 3, 2]
    assert [score for _, score in found[0.1]] == pytest.approx([best, 0.9 * best, 0.85 * best, 0.8 * best], rel=1e-5)
    assert [position for position, _ in found[0.6]] == [0, 3, 1]  # 1 - 2 · 0.6 is less than nothing


def test_an_article_of_many_passages_does_not_fill_the_list(tmp_path: Path):
    passages = [*(Passage(f"A#{n}", "", "x y") for n in range(20)), Passage("B", "", "x z u")]
    index = build_and_open(tmp_path / "kb", passages)
    assert ids(index.search("x", 3)) == ["A#0", "A#1", "A#2"]
    assert ids(index.ranked(article_penalty=0.3).search("x", 3)) == ["A#0", "B", "A#1"]


# --- questions -----------------------------------------------------------------------------------------------

Weighed = list[tuple[str, int, float]]


def weighed(*words: tuple[str, list[list[str]]], spec: str = "kiwi+bigram*0.5", **options: Any) -> Weighed:
    ranking = Ranking(**({"asking_weight": 0.1, "ending_weight": 0.3} | options))
    analyzer = Analyzer(parse_components(spec))
    return [(t.text, t.component, t.weight) for t in weigh(words, analyzer, analyzer.weights, ranking)]


def test_bigrams_of_endings_count_less():
    """Bigrams are component 1, which counts half."""
    found = weighed(("이순신은", [["이순신"], ["이순", "순신", "신은"]]))
    assert found == [("이순신", 0, 1.0), ("이순", 1, 0.5), ("순신", 1, 0.5), ("신은", 1, 0.15)]
    # Where no morpheme is known there is no telling, so all count.
    assert weighed(("쀍뛟은", [[], ["쀍뛟", "뛟은"]])) == [("쀍뛟", 1, 0.5), ("뛟은", 1, 0.5)]


@pytest.mark.parametrize(
    ("word", "stems", "bigrams", "endings"),
    [
        ("선거법은", ["선거", "법"], ["선거", "거법", "법은"], ["법은"]),  # within the word, though in no morpheme
        ("일어났나", ["일어나"], ["일어", "어났", "났나"], ["어났", "났나"]),  # the stem changes before its ending
        ("먹는다", ["먹"], ["먹는", "는다"], ["먹는", "는다"]),
        ("꽃", ["꽃"], ["꽃"], []),
        ("법은법은", ["법", "법"], ["법은", "은법", "법은"], []),  # the last is one, but as well another's middle
        ("李舜臣은", ["李舜臣", "이순신"], ["李舜", "舜臣", "은", "이순", "순신"], ["은"]),
        ("1,592", ["1592"], ["1", "59", "92"], []),
        ("1,592년에", ["1592", "년"], ["1", "59", "92", "년에"], ["년에"]),
        ("5.2는", ["5.2"], ["5", "2", "는"], ["는"]),
        pytest.param(
            *("1,2는", ["12"], ["1", "2", "는"], ["는"]),
        ),
    ],
)
def test_bigrams_of_endings(word: str, stems: list[str], bigrams: list[str], endings: list[str]):
    found = weighed((word, [stems, bigrams]), spec="kiwi+bigram")
    assert [term for term, c, weight in found if c == 1 and weight < 1] == endings


@pytest.mark.parametrize(("other", "terms"), [("kiwi-all", ["법", "은"]), ("whitespace", ["법은"])])
def test_endings_are_told_by_content_alone(other: str, terms: list[str]):
    """Particles are morphemes too, and a word is all of itself: neither says what is an ending."""
    assert weighed(("법은", [terms, ["법은"]]), spec=f"{other}+bigram")[-1] == ("법은", 1, 1.0)
    assert weighed(("법은", [["법"], terms, ["법은"]]), spec=f"kiwi+{other}+bigram")[-1] == ("법은", 2, 0.3)


def test_words_that_ask_count_less():
    who, who_is = ("누가", [["누가"], []]), ("누구인가", [["누구"], ["누구", "구인"]])
    king = ("세종", [["세종"], ["세종"]])
    assert weighed(who, king) == [("누가", 0, 0.1), ("세종", 0, 1.0), ("세종", 1, 0.5)]
    assert weighed(king, who_is)[2:] == [("누구", 0, 0.1), ("누구", 1, 0.05), ("구인", 1, pytest.approx(0.015))]
    # Nothing but words that ask: then they are what it is about.
    assert weighed(who, ("언제", [["언제"], ["언제"]])) == [("누가", 0, 1.0), ("언제", 0, 1.0), ("언제", 1, 0.5)]
    assert weighed() == []


@pytest.mark.parametrize(
    "word",
    [
        "누구는",
        "누가",
        "언제",
        "언제였나",
        "어디에서",
        "무엇을",
        "무슨",
        "몇",
        "얼마나",
        "어느",
        "어떤",
        "어떻게",
        "왜",
        "왜냐",
        "왜일까",
        "누가요",
        "뭔가요",
    ],
)
def test_words_that_ask(word: str):
    assert weighed((word, [["x"], []]), ("세종", [["세종"], []]), asking_weight=0.0)[0] == ("x", 0, 0.0)


@pytest.mark.parametrize("word", ["왜군은", "왜구가", "왜란은", "누가복음은"])
def test_words_that_only_begin_like_one_that_asks(word: str):
    assert weighed((word, [["x"], []]), ("세종", [["세종"], []]), asking_weight=0.0)[0] == ("x", 0, 1.0)


def test_question_of_words_that_ask_alone_finds_them(tmp_path: Path):
    passages = untitled("누구 언제 어디", "누구 없소", "세종")
    build_index(tmp_path / "kb", passages, analyzer=WORDS)
    index = Index.open(tmp_path / "kb")
    assert index.ranking.asking_weight == 0.0
    assert ids(index.search("누구", 3)) == ["1", "0"]
    assert ids(index.search("누구 세종", 3)) == ["2"]


def test_ranking_settings_come_back():
    ranking = Ranking(Ranker("bm25+", 1.7, 0.3, 0.9), 0.1, 0.2, 0.3, 0.4, 0.5)
    assert ranking.settings() == {
        "ranker": "bm25+",
        "k1": 1.7,
        "b": 0.3,
        "delta": 0.9,
        "title_weight": 0.1,
        "asking_weight": 0.2,
        "ending_weight": 0.3,
        "sentence_weight": 0.4,
        "article_penalty": 0.5,
    }
    assert Ranking.from_settings(json.loads(json.dumps(ranking.settings()))) == ranking
    assert Ranking.from_settings(PLAIN.settings()) == PLAIN
    assert Ranking.from_settings({}) == Ranking()
    assert Ranking.from_settings({"k1": 2.0, "title_weight": 0.0}) == Ranking(Ranker(k1=2.0), title_weight=0.0)


def test_index_remembers_its_ranking_and_can_be_asked_with_another(tmp_path: Path):
    stored = Ranking(Ranker("atire", 2.0, 0.5), title_weight=0.5, sentence_weight=0.0)
    settings = build_index(
        tmp_path / "kb",
        [Passage("1", "", "이순신"), Passage("2", "", "홍길동")],
        analyzer=Analyzer(parse_components("kiwi*2+bigram*0.5")),
        ranking=stored,
        notes={"note": "x"},
    )
    index = Index.open(tmp_path / "kb")
    assert index.settings == settings and index.artifact.settings == settings.to_json()
    assert (settings.n_passages, settings.n_segments, settings.notes) == (2, 1, {"note": "x"})
    assert settings.analyzer == Analyzer().settings and settings.weights == (2.0, 0.5)
    assert (index.ranking, index.weights) == (stored, (2.0, 0.5))
    # In each component the length is average, so K = 2; atire's idf is ln 2. One morpheme, two bigrams, each once.
    once = log(2) * 3 / (1 + 2)
    assert index.search("이순신", 1)[0].score == pytest.approx(2 * once + 0.5 * 2 * once, rel=1e-5)
    ranking = Ranking(Ranker("bm25+", 2.0), sentence_weight=0.0)
    other = Index.open(tmp_path / "kb", ranking=ranking, weights=[1.0, 0.0])
    assert other.search("이순신", 1)[0].score == pytest.approx(log(3) * (1 + 1), rel=1e-5)
    assert index.ranked(ranker="bm25+", weights=[1.0, 0.0]).search("이순신", 1) == other.search("이순신", 1)
    assert index.search("이순신", 1)[0].score == pytest.approx(2 * once + 0.5 * 2 * once, rel=1e-5)


# --- pruning -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[11, 12, 13])
def segmented(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Index:
    """About 3,000 passages in seven segments."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "MAX_PASSAGES", 500)
        patch.setattr(build, "_SLACK", 60)
        passages = random_passages(random.Random(request.param), 1_000)
        index = build_and_open(tmp_path_factory.mktemp("segmented") / "kb", passages)
    assert len(passages) > 2_500 and len(index.segments) > 5
    return index


@pytest.fixture
def pruned(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Count what is pruned: what is yielded grows by one for each of a term's postings."""
    calls: list[int] = []
    restrict = scoring.restrict

    def counted(postings: Any, owners: Any) -> Any:
        calls.append(len(postings) - len(owners))
        return restrict(postings, owners)

    monkeypatch.setattr(scoring, "restrict", counted)
    yield calls


def pruning(index: Index, ranking: Ranking, deleted: Sequence[np.ndarray] = (), pruned_from: int = 20) -> SparseIndex:
    """Return the segments of an index, with even short postings pruned."""
    return SparseIndex(index.segments, [1.0], ranking, deleted, pruned_from)


def deleted_by_chance(rng: random.Random, index: Index, share: float) -> list[np.ndarray]:
    """Return positions to delete from each segment, about ``share`` of them."""
    return [np.array(sorted(rng.sample(range(len(s)), int(len(s) * share))), np.uint16) for s in index.segments]


def asked_by_chance(rng: random.Random) -> list[QueryTerm]:
    words = random_question(rng).split()
    return [QueryTerm(word, 0, rng.choice([1.0, 1.0, 0.3]), word) for word in words]


@pytest.mark.parametrize("title_weight", [0.0, 1.0])
@pytest.mark.parametrize("deleting", [False, True], ids=["whole", "with deleted"])
def test_pruned_search_finds_what_full_scores_say(
    segmented: Index, pruned: list[int], title_weight: float, deleting: bool
):
    rng = random.Random(5)
    deleted = deleted_by_chance(rng, segmented, 1 / 3 if deleting else 0)
    gone = {start + int(d) for start, ds in zip(segmented.sparse.starts, deleted, strict=False) for d in ds}
    for ranker in RankerName:
        for k1, b in ((0.8, 0.5), (0.0, 0.75), (2.0, 1.0)):
            ranking = plain(ranker, k1, b, title_weight=title_weight)
            index = pruning(segmented, ranking, deleted)
            for _ in range(4):
                asked = asked_by_chance(rng)
                scores = index.score_all(asked)
                assert not any(scores[position] for position in gone)
                ranked = [(int(n), float(scores[n])) for n in np.argsort(-scores, kind="stable") if scores[n] > 0]
                for k in (1, 3, 10, 100):
                    assert index.search(asked, k) == ranked[:k]
    assert len(pruned) > 100


@pytest.mark.parametrize("title_weight", [0.0, 1.0])
def test_sentences_count_among_the_best_by_full_scores(segmented: Index, pruned: list[int], title_weight: float):
    """The best 3 k, 30 at least, are given what their sentences are worth, and the rest are not looked at."""
    rng = random.Random(6)
    deleted = deleted_by_chance(rng, segmented, 1 / 3)
    live = np.concatenate([~np.isin(np.arange(len(s)), d) for s, d in zip(segmented.segments, deleted, strict=True)])
    slow = SlowIndex(
        [segmented.passages[int(n)] for n in np.flatnonzero(live)],
        lambda text: [text.split()],
        k1=1.2,
        b=0.75,
        title_weight=title_weight,
    )
    among_live = np.cumsum(live) - 1
    ranking = plain(title_weight=title_weight, sentence_weight=0.5)
    index = pruning(segmented, ranking, deleted)
    moved = 0
    for _ in range(40):
        asked = asked_by_chance(rng)
        scores = index.score_all(asked)
        order = [int(n) for n in np.argsort(-scores, kind="stable") if scores[n] > 0]
        terms = [(term.text, 0, term.weight) for term in asked]
        together = {n: 0.5 * slow.together(int(among_live[n]), terms) for n in order[:120]}
        for k in (1, 10, 30):
            pool = {n: float(scores[n]) + together[n] for n in order[: max(3 * k, 30)]}
            best = sorted(pool, key=lambda n: (-pool[n], n))[:k]
            found = index.search(asked, k)
            assert [score for _, score in found] == pytest.approx([pool[n] for n in best], rel=1e-5)
            assert [pool[n] for n, _ in found] == pytest.approx([pool[n] for n in best], rel=1e-5)
            moved += best != order[:k]
    assert moved > 10 and len(pruned) > 10


def test_scores_do_not_depend_on_what_is_pruned(segmented: Index, pruned: list[int]):
    """But for rounding, since the order of adding differs."""
    ranking = plain(title_weight=1.0)
    some, none = pruning(segmented, ranking), pruning(segmented, ranking, pruned_from=100_000)
    queries = [ask(*random_question(random.Random(seed)).split()) for seed in range(20)]
    scores = [[score for _, score in some.search(query, 10)] for query in queries]
    n = len(pruned)
    for query, expected in zip(queries, scores, strict=True):
        assert [score for _, score in none.search(query, 10)] == pytest.approx(expected, rel=1e-5)
    assert len(pruned) == n > 0


@pytest.mark.parametrize("title_weight", [0.0, 1.0])
def test_segmented_scores_equal_loops_over_dicts(segmented: Index, pruned: list[int], title_weight: float):
    passages = list(segmented.passages)
    slow = SlowIndex(passages, lambda text: [text.split()], k1=1.2, b=0.75, title_weight=title_weight)
    index = pruning(segmented, plain(title_weight=title_weight))
    for question in ("w0 w5", "w3 w40 unknown w0", "w200"):
        expected = slow.scores([(word, 0, 1.0) for word in question.split()])
        assert index.score_all(ask(*question.split())) == pytest.approx(expected, rel=1e-4, abs=1e-4)
        best = sorted(expected, reverse=True)[:10]
        assert [score for _, score in index.search(ask(*question.split()), 10)] == pytest.approx(best, rel=1e-4)
    assert pruned


# --- explanations --------------------------------------------------------------------------------------------


def test_shares_by_hand(tmp_path: Path):
    index = build_and_open(tmp_path / "kb", THREE)
    a, c = index.sparse.explain(ask("a", "c", "b", "unknown"), 1)[::-1]
    assert (a.term, a.component, a.field, a.score) == ("a", 0, "text", pytest.approx(A1, abs=1e-6))
    assert (c.term, c.component, c.field, c.score) == ("c", 0, "text", pytest.approx(C1, abs=1e-6))
    assert index.sparse.explain(ask("c"), 0) == []


def test_shares_of_titles_by_hand(tmp_path: Path):
    passages = [Passage("A", "무정 소설", "소설"), Passage("B", "소설 무정 시", "셋"), Passage("C", "", "시")]
    ranking = plain(b=0.0, title_weight=1.0, sentence_weight=0.5)
    shares = build_and_open(tmp_path / "kb", passages, ranking).sparse.explain(ask("소설", "시"), 1)
    # Each stands in one of three texts: ln(8/3) / 2.2, and two of three words of the title are said: times 4/9.
    assert {(s.term, s.field): s.score for s in shares} == {
        ("소설", "title"): pytest.approx(log(8 / 3) / 2.2 * 4 / 9, abs=1e-6),
        ("시", "title"): pytest.approx(log(8 / 3) / 2.2 * 4 / 9, abs=1e-6),
        ("", "sentence"): pytest.approx(0.5 * 2 * log(8 / 3), abs=1e-6),
    }


def test_shares_sum_to_the_score(demo_index: Index, demo_questions: list[str]):
    index = demo_index.ranked(article_penalty=0.0)
    for question in demo_questions[::30]:
        terms = index.query(question)
        scores = index.sparse.score_all(terms)
        for position, score in index.sparse.search(terms, 5):
            shares = index.sparse.explain(terms, position)
            assert sum(share.score for share in shares) == pytest.approx(score, rel=1e-4)
            assert [s.score for s in shares] == sorted((s.score for s in shares), reverse=True)
            of_terms = sum(share.score for share in shares if share.field in ("text", "title"))
            assert of_terms == pytest.approx(scores[position], rel=1e-4)
            assert [s.field for s in shares].count("sentence") == 1


def test_shares_sum_to_the_score_over_segments_with_deleted(segmented: Index):
    deleted = [np.arange(0, len(s), 3, dtype=np.uint16) for s in segmented.segments]
    index = SparseIndex(segmented.segments, [1.0], plain(title_weight=1.0), deleted)
    for question in ("w0 w5 w9", "w3 w40 w0"):
        terms = ask(*question.split())
        scores = index.score_all(terms)
        for position in np.argsort(-scores)[:20]:
            shares = index.explain(terms, int(position))
            assert sum(share.score for share in shares) == pytest.approx(scores[position], rel=1e-4)


def test_explanation_tells_the_penalty_from_the_shares(demo_index: Index, tmp_path: Path):
    passages = [*(Passage(f"A#{n}", "글", f"솔개 {n}") for n in range(3)), Passage("B", "", "참새")]
    build_index(tmp_path / "kb", passages)
    index = Index.open(tmp_path / "kb", ranking=Ranking(article_penalty=0.1))
    hits = index.search("솔개는 누구", 3)
    found = explain(index, "솔개는 누구", hits)
    assert [[s.field for s in shares].count("article") for shares in found.hits] == [0, 1, 1]
    assert [[s.field for s in shares].count("sentence") for shares in found.hits] == [1, 1, 1]
    for hit, shares in zip(hits, found.hits, strict=True):
        assert sum(share.score for share in shares) == pytest.approx(hit.score, rel=1e-4)
    assert found.hits[1][-1].score == pytest.approx(-0.1 * hits[0].score, rel=1e-4)


# --- searching -----------------------------------------------------------------------------------------------


def test_search(small_index: Path):
    index = Index.open(small_index)
    assert len(index) == 4
    hits = index.search("폴로늄이라는 이름은 누가 지었나?", 2)
    assert hits[0].passage == Passage("퀴리", "마리 퀴리", "퀴리는 새 원소를 폴로늄이라고 이름 지었다.")
    assert hits[0].source == "sparse"
    assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)


def test_title_is_searched(small_index: Path):
    assert ids(Index.open(small_index).search("마리", 3)) == ["퀴리"]


@pytest.mark.parametrize("question", ["", "   ", "?!", "쀍뛟", "zzzz", "😀"])
def test_nothing_to_find(small_index: Path, question: str):
    assert Index.open(small_index).search(question, 5) == []


def test_more_asked_for_than_there_are(small_index: Path):
    hits = Index.open(small_index).search("이순신", 1_000)
    assert {h.passage.title for h in hits} == {"이순신"} and len(hits) == 2


def test_none_asked_for(small_index: Path):
    assert Index.open(small_index).search("이순신", 0) == []


def test_none_asked_for_without_penalty(small_index: Path):
    assert Index.open(small_index, ranking=PLAIN).search("이순신", 0) == []


@pytest.mark.parametrize("ranking", [PLAIN, Ranking()], ids=["plain", "default"])
def test_ties_stand_in_corpus_order(tmp_path: Path, ranking: Ranking):
    index = build_and_open(tmp_path / "kb", untitled(*["같은 글이다"] * 130), ranking)
    for k in (1, 7, 60, 130):
        assert ids(index.search("같은", k)) == [str(n) for n in range(k)]


def test_ties_stand_in_corpus_order_over_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(build, "MAX_PASSAGES", 20)
    monkeypatch.setattr(build, "_SLACK", 1)
    index = build_and_open(tmp_path / "kb", untitled(*["같은 글이다"] * 70))
    assert len(index.segments) == 4
    assert ids(index.search("같은", 45)) == [str(n) for n in range(45)]


def test_composed_and_decomposed_questions_and_corpora(tmp_path: Path):
    results = []
    for form in ("NFC", "NFD"):
        corpus = tmp_path / f"{form}.jsonl"
        lines = [{"id": str(n), "text": text} for n, text in enumerate(["이순신은 장군이다", "세종은 임금이다"])]
        corpus.write_text("".join(unicodedata.normalize(form, json.dumps(e, ensure_ascii=False)) + "\n" for e in lines))
        build_index(tmp_path / form, read_corpus([str(corpus)]))
        index = Index.open(tmp_path / form)
        results += [index.search(clean(unicodedata.normalize(asked, "이순신은 누구?")), 5) for asked in ("NFC", "NFD")]
    assert results[0] and all(result == results[0] for result in results)


def test_hanja_are_found_by_their_reading_and_the_other_way_round(tmp_path: Path):
    build_index(tmp_path / "kb", [Passage("한자", "", "李舜臣은 장군이다."), Passage("한글", "", "이순신은 장군이다.")])
    index = Index.open(tmp_path / "kb")
    assert set(ids(index.search("이순신", 5))) == set(ids(index.search("李舜臣", 5))) == {"한자", "한글"}


class FirstTitle:
    """Answers with the title of the first hit."""

    def read(self, question: str, hits: Sequence[Hit]) -> list[Answer]:
        return [Answer(hits[0].passage.title, 1.0, hits[0].passage)] if hits else []


@pytest.mark.parametrize(
    "question",
    [unicodedata.normalize("NFD", "폴로늄"), "폴로\u200b늄", "폴로늄 \ud800"],
    ids=["NFD", "zero-width", "lone surrogate"],
)
def test_question_typed_into_the_chat_is_cleaned(small_index: Path, question: str):
    """It does not pass through a file reader; what a terminal hands over may hold lone surrogates."""
    index = Index.open(small_index)
    reply = Pipeline(index, FirstTitle(), index.search).ask(question)
    assert reply.answer is not None and reply.answer.text == "마리 퀴리"


def test_passage_without_any_term(tmp_path: Path):
    build_index(tmp_path / "kb", [Passage("1", "", "😀"), Passage("2", "", "이순신"), Passage("3", "", "...")])
    index = Index.open(tmp_path / "kb")
    assert len(index) == 3
    assert ids(index.search("이순신", 5)) == ["2"]
    assert index.search("😀", 5) == []


# --- other engines -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("engine", "ranker"), [("bm25s", "lucene"), ("rank-bm25", "okapi")])
def test_peers_score_title_and_text_as_one(tmp_path: Path, engine: str, ranker: str):
    passages = [
        Passage("1", "가", "나 다"),
        Passage("2", "라", "나 나 마"),
        Passage("3", "바", "사"),
        Passage("4", "아", "자 나 차"),
        Passage("5", "카", "타"),
        Passage("6", "", "가 파 하"),
    ]
    index = build_and_open(tmp_path / "kb", passages)
    peer = PackageSearch(index, engine, 1.2, 0.75)
    whole = [Passage(p.id, "", f"{p.title} {p.text}") for p in passages]
    slow = SlowIndex(whole, lambda text: [text.split()], ranker=ranker, k1=1.2, b=0.75)
    for question in ("가", "가 하", "바 unknown", "타"):
        expected = slow.scores([(word, 0, 1.0) for word in question.split()])
        hits = peer.search(question, 10)
        assert {hit.passage.id: hit.score for hit in hits} == {
            p.id: pytest.approx(score, rel=1e-5) for p, score in zip(passages, expected, strict=True) if score
        }
        assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)
        assert {h.source for h in hits} == {engine}
    assert ids(peer.search("가", 1)) == ["1"]


@pytest.mark.parametrize("engine", ["bm25s", "rank-bm25"])
def test_peers_find_the_demo_s_passages(demo_index: Index, engine: str):
    entries = [json.loads(line) for line in resource("demo/questions.jsonl").read_text(encoding="utf-8").splitlines()]
    peer = PackageSearch(demo_index, engine)
    found = [bool(set(e["positive_ids"]) & set(ids(peer.search(e["question"], 5)))) for e in entries[::20]]
    assert sum(found) >= 0.95 * len(found)


@pytest.mark.parametrize("engine", ["bm25s", "rank-bm25"])
@pytest.mark.parametrize("question", ["", "?!", "쀍뛟", "zzzz"])
def test_peers_find_nothing_where_there_is_nothing(small_index: Path, engine: str, question: str):
    assert PackageSearch(Index.open(small_index), engine).search(question, 5) == []


@pytest.mark.parametrize("engine", ["bm25s", "rank-bm25"])
def test_peers_pass_over_deleted_passages(tmp_path: Path, small_index: Path, engine: str):
    path = tmp_path / "kb"
    shutil.copytree(small_index, path)
    update_index(path, delete=["이순신#0"])
    found = PackageSearch(Index.open(path), engine).search("거북선을 이끈 이순신의 기록", 5)
    assert ids(found)[0] == "이순신#1" and "이순신#0" not in ids(found)


# --- vectors -------------------------------------------------------------------------------------------------


class FakeEncoder:
    """Counts three letters."""

    dimension = 3

    def _vectors(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([[text.count(letter) for letter in "가나다"] for text in texts], np.float32)

    def encode_questions(self, questions: Sequence[str]) -> np.ndarray:
        return self._vectors(questions)

    def encode_passages(self, passages: Sequence[Passage]) -> np.ndarray:
        return self._vectors([passage.text for passage in passages])


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> VectorSearch:
    path = tmp_path_factory.mktemp("vectors") / "kb"
    encoder: Any = FakeEncoder()
    passages = untitled("가", "가가 나", "다다다 가", "나 나 나나", "라")
    build_index(path, passages, analyzer=WORDS, ranking=plain(), encoder=NamedEncoder(encoder, "fake", "0"))
    index = Index.open(path)
    return VectorSearch(index, encoder, index.open_vectors())


def test_dense_search_by_hand(vectors: VectorSearch):
    # 가나 is (1, 1, 0): inner products 1, 3, 1, 4, 0
    hits = vectors.dense("가나", 2)
    assert [(h.passage.id, h.score, h.source) for h in hits] == [("3", 4.0, "dense"), ("1", 3.0, "dense")]
    assert vectors.dense("  ", 2) == []
    assert vectors.index.artifact.settings["dense"] == {
        "encoder": "fake",
        "fingerprint": "0",
        "dimension": 3,
        "metric": "inner product",
        "faiss": "Flat",
        "n_vectors": 5,
    }


def test_sequential_search_reorders_the_sparse_one(vectors: VectorSearch):
    # 가 and 나 are words of 0, 2 and of 1, 3; the vector of 가 나 is (1, 1, 0): 1, 1 and 3, 4
    hits = vectors.sequential("가 나", 3)
    assert [(h.passage.id, h.score) for h in hits] == [("3", 4.0), ("1", 3.0), ("0", 1.0)]
    best = vectors.index.search("가 나", 1)
    assert vectors.sequential("가 나", 3, depth=1)[0].passage == best[0].passage
    assert vectors.sequential("unknown", 3) == []


def test_cross_search_by_hand(vectors: VectorSearch):
    # 라: no vector says it, one text does: ln(1 + 4.5 / 1.5) / (1 + 1.2 (0.25 + 0.75 · 1 / 2)); lengths 1, 2, 2, 3, 1: 1.8
    length = 0.25 + 0.75 * 1 / 1.8
    raw = fuse.Fusion("raw")
    hits = vectors.cross("라", 1, raw)
    assert (hits[0].passage.id, hits[0].source) == ("4", "cross")
    assert hits[0].score == pytest.approx(log(4) / (1 + 1.2 * length), rel=1e-5)
    # With vectors alone it is the dense search.
    alone = fuse.Fusion("raw", sparse_weight=0.0)
    hits = vectors.cross("가 나", 2, alone)
    assert [(h.passage.id, h.score) for h in hits] == [("3", pytest.approx(4.4)), ("1", pytest.approx(3.3))]
    # Each over its highest: 1 and, of 3 dense and no sparse, 0.2 · 3 / 3.
    hits = vectors.cross("라 다", 9)
    assert [(h.passage.id, h.score) for h in hits[:2]] == [("4", pytest.approx(1.0)), ("2", pytest.approx(0.2))]
    assert vectors.cross(" ", 2) == []
    assert vectors.cross("unknown", 2) == []


@pytest.mark.parametrize("method", list(FusionMethod))
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_candidates_of_both_kinds_have_both_scores(vectors: VectorSearch, method: str, depth: int):
    # However few each kind finds, scores of raw are those of all: nothing absent counts as last.
    whole = {h.passage.id: h.score for h in vectors.cross("나 라", 5, fuse.Fusion("raw"), depth=5)}
    hits = vectors.cross("나 라", 1, fuse.Fusion(method), depth=depth)
    assert len(hits) == 1
    raw = vectors.cross("나 라", depth, fuse.Fusion("raw"), depth=depth)
    assert all(h.score == pytest.approx(whole[h.passage.id]) for h in raw)


def test_index_without_vectors_says_how_to_make_them(small_index: Path):
    """They are added to it: nothing is built again."""
    for open_vectors in (Index.open(small_index).open_vectors, lambda: open_search(Index.open(small_index), "dense")):
        with pytest.raises(IncompatibleArtifactError) as error:
            open_vectors()
        assert f"kofid index -o {small_index} dense=" in str(error.value)


def test_index_with_vectors_is_not_changed_in_parts(vectors: VectorSearch):
    path = vectors.index.artifact.directory.parent
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    with pytest.raises(IncompatibleArtifactError, match="dense=fake"):
        update_index(path, delete=["0"])
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before


# --- fusion --------------------------------------------------------------------------------------------------


def scores(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_raw_fusion_by_hand():
    # 1.1 · 1 + 3 = 4.1; 1.1 · 2 + 0 = 2.2
    assert fuse.Fusion("raw")(scores(1, 2), scores(3, 0)) == pytest.approx([4.1, 2.2])
    assert fuse.Fusion("raw", 0.5, 2)(scores(1, 2), scores(3, 0)) == pytest.approx([6.5, 1.0])


def test_fusion_over_the_highest_by_hand():
    # dense 1, 2 -> 0.5, 1; sparse 3, 0 -> 1, 0
    assert fuse.Fusion()(scores(1, 2), scores(3, 0)) == pytest.approx([0.1 + 1, 0.2])
    assert fuse.Fusion(dense_weight=2.0)(scores(1, 2), scores(0, 0)) == pytest.approx([1, 2])


def test_fusion_over_the_range_by_hand():
    # dense 10, 20, 30 -> 0, 0.5, 1; sparse 0, 8, 2 -> 0, 1, 0.25: 1.1 · dense + sparse
    found = fuse.Fusion("minmax", 1.1)(scores(10, 20, 30), scores(0, 8, 2))
    assert found == pytest.approx([0, 0.55 + 1, 1.1 + 0.25])
    assert found.dtype == np.float32
    assert fuse.Fusion("minmax")(scores(5, 5), scores(0, 2)) == pytest.approx([0, 1])
    assert fuse.Fusion("minmax")(scores(5), scores(3)) == pytest.approx([0])


def test_fusion_by_rank_by_hand():
    # dense ranks 3, 1, 2; sparse ranks 1, 2, none: no term is shared
    found = fuse.Fusion("rrf", 2.0, rrf_k=10)(scores(1, 9, 4), scores(7, 3, 0))
    assert found == pytest.approx([2 / 13 + 1 / 11, 2 / 11 + 1 / 12, 2 / 12])


@pytest.mark.parametrize("method", list(FusionMethod))
def test_fusion_leaves_its_arguments(method: str):
    dense, sparse = scores(1, 2), scores(3, 0)
    assert len(fuse.Fusion(method)(dense, sparse)) == 2
    assert dense.tolist() == [1, 2] and sparse.tolist() == [3, 0]
    assert len(fuse.Fusion(method)(scores(), scores())) == 0


# --- measures ------------------------------------------------------------------------------------------------


def test_answer_metrics_by_hand():
    questions = [
        Question("q", answers=("이순신",)),
        Question("q", answers=("1592년",)),
        Question("q", answers=("세종", "세종대왕")),
    ]
    # EM 0, 0, 1; F1 6/7, 1, 1 (see test_text.py); robust EM 1, 1, 1
    found = answer_metrics(["이순신이", "1592 년", "세종대왕"], questions)
    assert found == pytest.approx({"n": 3, "em": 1 / 3, "f1": (6 / 7 + 2) / 3, "em_robust": 1.0})
    assert answer_metrics([], []) == {"n": 0, "em": 0.0, "f1": 0.0, "em_robust": 0.0}
    with pytest.raises(ValueError, match="argument"):
        answer_metrics(["하나"], [])
