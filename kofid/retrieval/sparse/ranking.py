"""What a term is worth: BM25 in its variants, and TF-IDF.

Formulas as compared by Kamphuis et al. 2020 ("Which BM25 Do You Mean?", table 1) and, for BM25L and BM25+, Lv and Zhai
2011. N passages of which ``df`` hold the term; ``tf`` times in a passage of ``length`` terms, ``average`` on average.
A passage without the term gets nothing, with every ranker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import log
from typing import Any, TypedDict, Unpack

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


class RankingChanges(TypedDict, total=False):
    """The settings of a ranking by their names, those to change."""

    ranker: str
    k1: float
    b: float
    delta: float | None
    title_weight: float
    asking_weight: float
    ending_weight: float
    sentence_weight: float
    article_penalty: float


@dataclass(frozen=True)
class Ranking:
    """How the parts of a score are put together.

    A passage scores, summed over the analyzer's components with their weights, its text and ``title_weight`` times
    its title; the title counts by the square of the share of it that the question says, so that 무정 (소설) is not
    found for every 소설. ``asking_weight`` is for the terms of words that ask (누구, 언제), ``ending_weight`` for
    bigrams of particles and endings. ``sentence_weight`` adds that share of what the question's terms weigh that stand
    together in one sentence of the passage or in its title. Among hits, the n-th further passage of an article loses n times
    ``article_penalty`` of the best score, so that one long article does not fill the list.
    """

    ranker: Ranker = Ranker()
    title_weight: float = 1.0
    asking_weight: float = 0.0
    ending_weight: float = 0.6
    sentence_weight: float = 0.2
    article_penalty: float = 0.02

    def settings(self) -> dict[str, Any]:
        """Return what an index or a run keeps of it."""
        return self.ranker.settings() | {name: getattr(self, name) for name in _WEIGHTS}

    def changed(self, **changes: Unpack[RankingChanges]) -> Ranking:
        """Return this ranking with other settings, by the names that ``settings`` gives them; raise ValueError.

        >>> Ranking().changed(ranker="bm25+", title_weight=0.5).ranker.name
        <RankerName.BM25_PLUS: 'bm25+'>
        """
        unknown = changes.keys() - RankingChanges.__annotations__.keys()
        if unknown:
            raise ValueError(f"no such setting of a ranking: {', '.join(sorted(unknown))}")
        values: dict[str, Any] = dict(changes)
        ranker: dict[str, Any] = {name: values[name] for name in ("k1", "b", "delta") if name in values}
        if "ranker" in values:
            ranker["name"] = RankerName(values["ranker"])
        weights = {name: values[name] for name in _WEIGHTS if name in values}
        return replace(self, ranker=replace(self.ranker, **ranker), **weights)

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Ranking:
        """Return the ranking that ``settings`` describes; what is missing is as by default. Raises ValueError."""
        known = RankingChanges.__annotations__
        return cls().changed(**{name: value for name, value in settings.items() if name in known})


_WEIGHTS = ("title_weight", "asking_weight", "ending_weight", "sentence_weight", "article_penalty")

# BM25 alone, as other engines have it: the text, and nothing else.
PLAIN = Ranking(title_weight=0.0, asking_weight=1.0, ending_weight=1.0, sentence_weight=0.0, article_penalty=0.0)
