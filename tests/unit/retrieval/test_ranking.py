"""Rankers against numbers worked by hand, loops over dicts and public packages."""

from __future__ import annotations

import json
import random
from math import log, sqrt
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
import pytest
import rank_bm25
from support.indexes import A0, A1, B2, C1, THREE, build_and_open, ids, plain, score_all, untitled
from support.slow_index import VOCABULARY, SlowIndex, random_passages, random_question

from kofid.retrieval.index import Index
from kofid.retrieval.modes import RankerName
from kofid.retrieval.sparse.bm25 import Ranker
from kofid.retrieval.sparse.ranking import PLAIN, Ranking


@pytest.fixture(scope="module")
def random_index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """About 600 passages in one segment, every twentieth word of a question unknown."""
    return build_and_open(tmp_path_factory.mktemp("random") / "kb", random_passages(random.Random(1), 200))


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return build_and_open(tmp_path_factory.mktemp("three") / "kb", THREE)


@pytest.mark.parametrize(
    ("question", "scores"),
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
def test_bm25_by_hand(three: Index, question: str, scores: list[float]):
    assert score_all(three, question) == pytest.approx(scores, abs=1e-6)
    best = sorted((n for n in range(3) if scores[n]), key=lambda n: -scores[n])
    assert ids(three.search(question, 3)) == [str(n) for n in best]
    assert [hit.score for hit in three.search(question, 3)] == pytest.approx([scores[n] for n in best], abs=1e-6)


@pytest.mark.parametrize(
    ("ranker", "question", "scores"),
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
def test_rankers_by_hand(three: Index, ranker: str, question: str, scores: list[float]):
    assert score_all(three.ranked(ranker=ranker), question) == pytest.approx(scores, abs=1e-6)


@pytest.mark.parametrize(("ranker", "delta"), [("bm25+", 1.0), ("bm25l", 0.5), ("lucene", 0.0), ("atire", 0.0)])
def test_delta_is_its_authors_unless_given(three: Index, ranker: str, delta: float):
    same = score_all(three.ranked(ranker=ranker, delta=delta), "a")
    assert same.tolist() == score_all(three.ranked(ranker=ranker), "a").tolist()
    assert not np.allclose(same, score_all(three.ranked(ranker=ranker, delta=delta + 0.1), "a"))


def test_other_parameters_by_hand(three: Index):
    # k1 = 2, b = 0: no length factor, K = 2: a stands once in the first, twice in the second: ln 1.6 / 3, ln 1.6 · 2 / 4
    scores = score_all(three.ranked(k1=2.0, b=0.0), "a")
    assert scores == pytest.approx([log(1.6) / 3, log(1.6) / 2, 0], abs=1e-6)


def test_passage_without_terms_is_short(tmp_path: Path):
    # lengths 1, 0, 1: average 2/3, K = 1.2 (0.25 + 0.75 · 1.5) = 1.65; n = 1 of 3: ln(8/3) / 2.65
    assert score_all(build_and_open(tmp_path / "kb", untitled("a", "😀", "b")), "a") == pytest.approx(
        [C1, 0, 0], abs=1e-6
    )


def test_term_repeated_more_than_a_byte_can_say_counts_as_255(tmp_path: Path):
    # one passage, b = 0: idf ln(1 + 0.5 / 1.5), 255 / (255 + 1.2)
    index = build_and_open(tmp_path / "kb", untitled("a " * 1_000), plain(b=0.0))
    assert score_all(index, "a") == pytest.approx([log(4 / 3) * 255 / 256.2], abs=1e-6)


# --- by loops and by other packages ---------------------------------------------------------------------------


@pytest.mark.parametrize("ranker", list(RankerName))
@pytest.mark.parametrize(("k1", "b"), [(1.2, 0.75), (0.8, 0.0), (2.0, 1.0)])
def test_rankers_equal_loops_over_dicts(random_index: Index, ranker: str, k1: float, b: float):
    slow = SlowIndex(list(random_index.passages), lambda text: [text.split()], ranker=ranker, k1=k1, b=b)
    fast = random_index.ranked(ranker=ranker, k1=k1, b=b)
    rng = random.Random(2)
    for question in [random_question(rng) for _ in range(4)]:
        expected = slow.scores([(word, 0, 1.0) for word in question.split()])
        assert score_all(fast, question) == pytest.approx(expected, rel=1e-5, abs=1e-5)


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
        assert score_all(ours, " ".join(words)) == pytest.approx(theirs, rel=1e-4, abs=1e-4)
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
        has_word = np.array([word in terms for terms in package_terms])
        assert score_all(ours, word) == pytest.approx(np.where(has_word, theirs, 0), rel=1e-4, abs=1e-4)
        assert has_word.all() or theirs[~has_word].min() == theirs[~has_word].max() > 0


@pytest.mark.parametrize(("ranker", "engine"), [("okapi", rank_bm25.BM25Okapi), ("bm25+", rank_bm25.BM25Plus)])
def test_rank_bm25_gives_the_same_scores(random_index: Index, package_terms: list[list[str]], ranker: str, engine: Any):
    """Where the formulas are the same.

    There an idf below 0 becomes a quarter of the average one, here 0; there BM25+ counts delta for missing terms. Its
    BM25L multiplies by the term frequency once more, which no paper does, and is not compared.
    """
    theirs = engine(package_terms, k1=1.5, b=0.75)
    ours = random_index.ranked(ranker=ranker, k1=1.5, b=0.75)
    df = {word: sum(word in terms for terms in package_terms) for word in VOCABULARY}
    words = [word for word in VOCABULARY[::20] if 0 < df[word] < len(package_terms) / 2]
    assert len(words) > 10
    for word in words:
        has_word = np.array([word in terms for terms in package_terms])
        expected = np.where(has_word, theirs.get_scores([word]), 0)
        assert score_all(ours, word) == pytest.approx(expected, rel=1e-5, abs=1e-5)
    if ranker == "okapi":
        common = max(df, key=lambda word: df[word])
        assert df[common] > len(package_terms) / 2
        assert not score_all(ours, common).any() and theirs.get_scores([common]).max() > 0


# --- settings -------------------------------------------------------------------------------------------------


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
