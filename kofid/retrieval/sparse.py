"""BM25 over term lists, by bm25s; rank_bm25 as the slow twin with the same formula."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from kofid.errors import InputError
from kofid.language import say

Scores = npt.NDArray[np.float32]

# Chosen on the training questions (see docs in README, "검색 설정").
K1 = 1.2
B = 0.75


class SparseEngine(Protocol):
    """Scores every passage for the terms of a question."""

    def score_all(self, terms: Sequence[str]) -> Scores:
        """Return scores of shape (n_passages,), 0 where no term occurs."""
        ...


class BM25:
    """BM25 with Lucene's idf (Kamphuis et al. 2020, table 1), scores computed when the index is built (bm25s)."""

    def __init__(self, k1: float = K1, b: float = B) -> None:
        import bm25s

        self._engine = bm25s.BM25(k1=k1, b=b, method="lucene", backend="numpy")

    @classmethod
    def build(cls, passages: Iterable[Sequence[str]], k1: float = K1, b: float = B) -> BM25:
        """Return the index of an iterable of term lists; raise InputError when none holds a term."""
        bm25 = cls(k1, b)
        vocabulary: dict[str, int] = {}
        ids = [[vocabulary.setdefault(term, len(vocabulary)) for term in terms] for terms in passages]
        if not vocabulary:
            raise InputError(say("색인할 낱말이 하나도 없습니다", "there is not one term to index"))
        bm25._engine.index((ids, vocabulary), create_empty_token=False, show_progress=False)
        return bm25

    def save(self, directory: Path) -> None:
        """Write arrays (.npy), vocabulary and parameters (.json)."""
        self._engine.save(directory, show_progress=False)

    @classmethod
    def load(cls, directory: Path) -> BM25:
        """Open what ``save`` wrote, arrays mapped from disk."""
        import bm25s

        bm25 = cls.__new__(cls)
        bm25._engine = bm25s.BM25.load(directory, mmap=True, allow_pickle=False, show_progress=False)
        return bm25

    def score_all(self, terms: Sequence[str]) -> Scores:
        """Return scores of shape (n_passages,), 0 where no term occurs; a term asked twice counts twice."""
        ids = self._engine.get_tokens_ids(list(terms))
        scores: Scores = self._engine.get_scores_from_ids(ids)
        return scores


class RankBM25:
    """The same scores from rank_bm25: its Okapi with Lucene's idf. For comparison; slow on large corpora."""

    def __init__(self, passages: Iterable[Sequence[str]], k1: float = K1, b: float = B) -> None:
        from rank_bm25 import BM25Okapi

        class LuceneOkapi(BM25Okapi):  # type: ignore[misc]
            def _calc_idf(self, nd: dict[str, int]) -> None:
                for term, n in nd.items():
                    self.idf[term] = math.log(1 + (self.corpus_size - n + 0.5) / (n + 0.5))

        self._engine = LuceneOkapi([list(terms) for terms in passages], k1=k1, b=b)
        self._scale = 1 / (k1 + 1)  # rank_bm25 keeps the constant factor k1 + 1, Lucene dropped it

    def score_all(self, terms: Sequence[str]) -> Scores:
        """Return scores of shape (n_passages,), 0 where no term occurs."""
        scores: Scores = (self._engine.get_scores(list(terms)) * self._scale).astype(np.float32)
        return scores


def top(scores: Scores, k: int) -> list[tuple[int, float]]:
    """Return (position, score) of the best ``k`` positive scores, equal scores in corpus order."""
    found = np.flatnonzero(scores > 0)
    if k < 1:
        return []
    if len(found) > k:
        threshold = np.partition(scores[found], len(found) - k)[len(found) - k]
        found = found[scores[found] >= threshold]
    order = found[np.argsort(-scores[found], kind="stable")][:k]
    return [(int(position), float(scores[position])) for position in order]


def read_parameters(directory: Path) -> tuple[float, float]:
    """Return k1 and b of a saved index."""
    parameters = json.loads((directory / "params.index.json").read_text())
    return float(parameters["k1"]), float(parameters["b"])
