"""What each term gave to a score."""

from __future__ import annotations

from math import log
from pathlib import Path

import numpy as np
import pytest
from support.indexes import A1, C1, THREE, ask, build_and_open, plain

from kofid.retrieval.build import build_index
from kofid.retrieval.explain import explain
from kofid.retrieval.index import Index
from kofid.retrieval.sparse.ranking import Ranking
from kofid.retrieval.sparse.search import SparseIndex
from kofid.types import Passage


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
    explanation = explain(index, "솔개는 누구", hits)
    assert [[s.field for s in shares].count("article") for shares in explanation.hits] == [0, 1, 1]
    assert [[s.field for s in shares].count("sentence") for shares in explanation.hits] == [1, 1, 1]
    for hit, shares in zip(hits, explanation.hits, strict=True):
        assert sum(share.score for share in shares) == pytest.approx(hit.score, rel=1e-4)
    assert explanation.hits[1][-1].score == pytest.approx(-0.1 * hits[0].score, rel=1e-4)
