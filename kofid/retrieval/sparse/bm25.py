"""What a term is worth: BM25 in its variants, and TF-IDF.

Formulas as compared by Kamphuis et al. 2020 ("Which BM25 Do You Mean?", table 1) and, for BM25L and BM25+, Lv and Zhai
2011. N passages of which ``df`` hold the term; ``tf`` times in a passage of ``length`` terms, ``average`` on average.
A passage without the term gets nothing, with every ranker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np
import numpy.typing as npt

from kofid.retrieval.modes import RankerName

Floats = npt.NDArray[np.float32]

# Chosen on the training questions of Mr.TyDi and MIRACL over Korean Wikipedia (README, "검색 설정").
K1 = 0.8
B = 0.5
_DELTAS = {RankerName.BM25_PLUS: 1.0, RankerName.BM25L: 0.5}


@dataclass(frozen=True)
class Ranker:
    """A formula and its parameters; ``delta`` is used by BM25+ and BM25L (``None``: their authors' choice)."""

    name: RankerName = RankerName.LUCENE
    k1: float = K1
    b: float = B
    delta: float | None = None

    def idf(self, n: int, df: int) -> float:
        """Return the weight of a term that ``df`` of ``n`` passages hold."""
        return _IDF[self.name](n, df)

    def saturation(self, tf: Floats, length: Floats, average: float) -> Floats:
        """Return the part that term frequency and length play; all arrays of shape (n_postings,)."""
        delta = np.float32(self._delta)
        norm = (1 - self.b) + self.b * length / np.float32(average or 1)
        k1 = np.float32(self.k1)
        scores: npt.NDArray[np.floating[Any]]
        if self.name == RankerName.TF_IDF:
            scores = np.sqrt(tf) / np.sqrt(np.maximum(length, 1))
        elif self.name == RankerName.LUCENE:
            scores = tf / (tf + k1 * norm) + delta
        elif self.name == RankerName.BM25L:
            c = tf / np.maximum(norm, np.float32(1e-6)) + delta
            scores = (k1 + 1) * c / (k1 + c)
        else:  # okapi, atire, bm25+
            scores = (k1 + 1) * tf / (tf + k1 * norm) + delta
        return scores.astype(np.float32, copy=False)

    @property
    def bound(self) -> float:
        """What ``saturation`` never exceeds."""
        if self.name == RankerName.TF_IDF:
            return 1.0
        if self.name == RankerName.LUCENE:
            return 1 + self._delta
        return self.k1 + 1 + (0 if self.name == RankerName.BM25L else self._delta)

    @property
    def _delta(self) -> float:
        return _DELTAS.get(self.name, 0.0) if self.delta is None else self.delta

    def settings(self) -> dict[str, Any]:
        """Return what an index or a run keeps of it."""
        return {"ranker": str(self.name), "k1": self.k1, "b": self.b, "delta": self.delta}


_IDF: dict[RankerName, Callable[[int, int], float]] = {
    RankerName.LUCENE: lambda n, df: log(1 + (n - df + 0.5) / (df + 0.5)),
    # A term in over half the passages: 0, not less.
    RankerName.OKAPI: lambda n, df: max(0.0, log((n - df + 0.5) / (df + 0.5))),
    RankerName.ATIRE: lambda n, df: log(n / df),
    RankerName.BM25_PLUS: lambda n, df: log((n + 1) / df),
    RankerName.BM25L: lambda n, df: log((n + 1) / (df + 0.5)),
    # Lucene's ClassicSimilarity, before version 6 its default.
    RankerName.TF_IDF: lambda n, df: (1 + log(n / (df + 1))) ** 2,
}
