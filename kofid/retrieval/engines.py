"""Other BM25 engines over an index's own terms, built in memory, to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kofid.retrieval.index import Index
from kofid.retrieval.modes import Engine
from kofid.retrieval.sparse.bm25 import K1, B
from kofid.types import Hit, Search


class PackageSearch:
    """A public BM25 package over titles and texts as one field. Takes long, and much memory, for a large index.

    Terms are those of the index's components but those of weight 0; the packages know no other weights.
    """

    def __init__(self, index: Index, engine: Engine, k1: float = K1, b: float = B) -> None:
        self._index = index
        self._engine = engine
        self._positions = [p for p in range(index.passages.n_positions) if index.passages.is_live(p)]
        passages = (index.passages[position] for position in self._positions)
        terms = [self._terms(f"{passage.title}\n{passage.text}") for passage in passages]
        self.package = _rank_bm25(terms, k1, b) if engine == Engine.RANK_BM25 else _bm25s(terms, k1, b)

    def _terms(self, text: str) -> list[str]:
        return [
            f"{c}:{term}"
            for _, analysis in self._index.analyze(text)
            for c, part in enumerate(analysis)
            if self._index.weights[c]
            for term in part
        ]

    def score(self, terms: Sequence[str]) -> Any:
        """Return the scores of all live passages, shape (n_passages,)."""
        if self._engine == Engine.RANK_BM25:
            return self.package.get_scores(list(terms))
        return self.package.get_scores_from_ids(self.package.get_tokens_ids(list(terms)))

    def search(self, question: str, k: int) -> list[Hit]:
        """Return the best ``k`` passages with a positive score, equal ones in corpus order."""
        scores = self.score(self._terms(question))
        threshold = np.partition(scores, -k)[-k] if k < len(scores) else 0
        candidates = np.flatnonzero((scores >= threshold) & (scores > 0))
        best = candidates[np.argsort(-scores[candidates], kind="stable")[:k]].tolist()
        return [Hit(self._index.passages[self._positions[i]], float(scores[i]), self._engine) for i in best]


def _rank_bm25(passages: list[list[str]], k1: float, b: float) -> Any:
    from rank_bm25 import BM25Okapi

    return BM25Okapi(passages, k1=k1, b=b)


def _bm25s(passages: list[list[str]], k1: float, b: float) -> Any:
    import bm25s

    vocabulary: dict[str, int] = {}
    ids = [[vocabulary.setdefault(term, len(vocabulary)) for term in terms] for terms in passages]
    engine = bm25s.BM25(k1=k1, b=b, method="lucene", backend="numpy")
    engine.index((ids, vocabulary), create_empty_token=False, show_progress=False)
    return engine


def open_engine(index: Index, engine: Engine) -> Search:
    """Return the search of an engine over the terms of ``index``, with the k1 and b of its ranking."""
    if engine == Engine.KOFID:
        return index.search
    return PackageSearch(index, engine, index.ranking.ranker.k1, index.ranking.ranker.b).search
