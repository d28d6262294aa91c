"""Small indexes and rankings for tests of retrieval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

from kofid.retrieval.build import build_index
from kofid.retrieval.index import Index
from kofid.retrieval.sparse.analyzer import Analyzer, parse_components
from kofid.retrieval.sparse.bm25 import Ranker
from kofid.retrieval.sparse.query import QueryTerm
from kofid.retrieval.sparse.ranking import PLAIN, Ranking
from kofid.retrieval.sparse.scoring import Scores
from kofid.types import Hit, Passage

WORDS = Analyzer(parse_components("whitespace"))


def plain(ranker: str = "lucene", k1: float = 1.2, b: float = 0.75, **options: Any) -> Ranking:
    """Return a ranking that has texts and nothing else, but for ``options``."""
    return replace(PLAIN, ranker=Ranker(ranker, k1, b), **options)


def build_and_open(path: Path, passages: Sequence[Passage], ranking: Ranking | None = None) -> Index:
    """Build the index of ``passages``, whose terms are their words, and open it."""
    build_index(path, passages, analyzer=WORDS)
    return Index.open(path, ranking=ranking or plain())


def score_all(index: Index, question: str) -> Scores:
    """Return the scores of all positions, shape (n_positions,)."""
    return index.sparse.score_all(index.query(question))


def untitled(*texts: str) -> list[Passage]:
    return [Passage(str(n), "", text) for n, text in enumerate(texts)]


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.passage.id for hit in hits]


def ask(*words: str) -> list[QueryTerm]:
    return [QueryTerm(word, 0, 1.0, word) for word in words]


THREE = untitled("a b", "a a c", "b")
# Three passages of 2, 3 and 1 terms: average 2. k1 = 1.2, b = 0.75.
# length factor K = 1.2 (0.25 + 0.75 length / 2): 1.2, 1.65, 0.75
# idf = ln(1 + (3 - n + 0.5) / (n + 0.5)): a and b, n = 2: ln 1.6; c, n = 1: ln(8/3)
# score of a term standing f times: idf f / (f + K)
A0 = log(1.6) * 1 / 2.2  # 0.2136
A1 = log(1.6) * 2 / 3.65  # 0.2575
C1 = log(8 / 3) * 1 / 2.65  # 0.3701
B2 = log(1.6) * 1 / 1.75  # 0.2686
