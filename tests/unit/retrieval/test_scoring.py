"""All parts of a score, and pruning, against loops over dicts."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.indexes import ask, build_and_open, ids, plain, score_all
from support.slow_index import SlowIndex, random_question

from kofid.retrieval.index import Index
from kofid.retrieval.modes import RankerName
from kofid.retrieval.sparse import scoring
from kofid.retrieval.sparse.analyzer import Analyzer
from kofid.retrieval.sparse.query import QueryTerm
from kofid.retrieval.sparse.ranking import Ranking
from kofid.retrieval.sparse.search import SparseIndex
from kofid.types import Passage


def test_whole_scores_equal_loops_over_dicts(demo_index: Index, demo_questions: list[str]):
    """Morphemes and bigrams, titles, weights: what the default ranking gives on the demo."""
    analyzer = Analyzer()

    def terms_of(text: str) -> list[list[str]]:
        analyses = analyzer.analyze(analyzer.units(text))
        return [[term for analysis in analyses for term in analysis[c]] for c in range(2)]

    slow = SlowIndex(list(demo_index.passages), terms_of, title_weight=1.0)
    index = demo_index.ranked(article_penalty=0.0)
    for question in demo_questions[::60]:
        terms = [(t.text, t.component, t.weight) for t in index.query(question)]
        expected = slow.scores(terms)
        assert score_all(index, question) == pytest.approx(expected, rel=1e-4, abs=1e-4)
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
    assert score_all(index, "소설") == pytest.approx([half, half, whole, text], abs=1e-6)
    assert ids(index.search("소설", 4)) == ["B", "C", "A#0", "A#1"]
    # Both words asked for, all of it: 무정 stands in no text, so counts as if in one.
    both = 2 * 2 * idf / 2.65
    assert score_all(index, "무정 소설")[:3] == pytest.approx([both, both, whole], abs=1e-6)
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
    assert score_all(index, "x y") == pytest.approx([alone.get(p.id, 0.0) for p in passages], abs=1e-6)
    # Asked twice, counts twice; what weighs nothing adds nothing.
    query = [*ask("x", "x"), QueryTerm("y", 0, 0.0, "y")]
    assert dict(index.sparse.search(query, 9))[1] == pytest.approx(2 * x * once + 0.5 * 2 * x, abs=1e-6)


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
    query = [QueryTerm("x", 0, 1.0, ""), QueryTerm("y", 0, 0.85 * best / (log(1 + 4.5 / 1.5) / 2.2), "")]
    hits = {penalty: index.ranked(article_penalty=penalty).sparse.search(query, 9) for penalty in (0.0, 0.1, 0.6)}
    assert [position for position, _ in hits[0.0]] == [0, 1, 2, 3]
    assert [position for position, _ in hits[0.1]] == [0, 1, 3, 2]
    assert [score for _, score in hits[0.1]] == pytest.approx([best, 0.9 * best, 0.85 * best, 0.8 * best], rel=1e-5)
    assert [position for position, _ in hits[0.6]] == [0, 3, 1]  # 1 - 2 · 0.6 is less than nothing


def test_an_article_of_many_passages_does_not_fill_the_list(tmp_path: Path):
    passages = [*(Passage(f"A#{n}", "", "x y") for n in range(20)), Passage("B", "", "x z u")]
    index = build_and_open(tmp_path / "kb", passages)
    assert ids(index.search("x", 3)) == ["A#0", "A#1", "A#2"]
    assert ids(index.ranked(article_penalty=0.3).search("x", 3)) == ["A#0", "B", "A#1"]


# --- pruning -------------------------------------------------------------------------------------------------


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


def random_query(rng: random.Random) -> list[QueryTerm]:
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
                query = random_query(rng)
                scores = index.score_all(query)
                assert not any(scores[position] for position in gone)
                ranked = [(int(n), float(scores[n])) for n in np.argsort(-scores, kind="stable") if scores[n] > 0]
                for k in (1, 3, 10, 100):
                    assert index.search(query, k) == ranked[:k]
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
    for _ in range(20):
        query = random_query(rng)
        scores = index.score_all(query)
        order = [int(n) for n in np.argsort(-scores, kind="stable") if scores[n] > 0]
        terms = [(term.text, 0, term.weight) for term in query]
        together = {n: 0.5 * slow.together(int(among_live[n]), terms) for n in order[:120]}
        for k in (1, 10, 30):
            pool = {n: float(scores[n]) + together[n] for n in order[: max(3 * k, 30)]}
            best = sorted(pool, key=lambda n: (-pool[n], n))[:k]
            hits = index.search(query, k)
            assert [score for _, score in hits] == pytest.approx([pool[n] for n in best], rel=1e-5)
            assert [pool[n] for n, _ in hits] == pytest.approx([pool[n] for n in best], rel=1e-5)
            moved += best != order[:k]
    assert moved > 5 and len(pruned) > 5


def test_scores_do_not_depend_on_what_is_pruned(segmented: Index, pruned: list[int]):
    """But for rounding, since the order of adding differs."""
    ranking = plain(title_weight=1.0)
    with_pruning, without = pruning(segmented, ranking), pruning(segmented, ranking, pruned_from=100_000)
    queries = [ask(*random_question(random.Random(seed)).split()) for seed in range(20)]
    scores = [[score for _, score in with_pruning.search(query, 10)] for query in queries]
    n = len(pruned)
    for query, expected in zip(queries, scores, strict=True):
        assert [score for _, score in without.search(query, 10)] == pytest.approx(expected, rel=1e-5)
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
