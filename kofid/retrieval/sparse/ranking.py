"""What a term is worth: BM25 in its variants, and TF-IDF.

Formulas as compared by Kamphuis et al. 2020 ("Which BM25 Do You Mean?", table 1) and, for BM25L and BM25+, Lv and Zhai
2011. N passages of which ``df`` hold the term; ``tf`` times in a passage of ``length`` terms, ``average`` on average.
A passage without the term gets nothing, with every ranker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import log
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

# Chosen on the training questions of Mr.TyDi and MIRACL over Korean Wikipedia (README, "검색 설정").
K1 = 0.8
B = 0.5
DELTAS = {"bm25+": 1.0, "bm25l": 0.5}


@dataclass(frozen=True)
class Ranker:
    """A formula and its parameters; ``delta`` is used by BM25+ and BM25L (``None``: their authors' choice)."""

    name: str = "lucene"
    k1: float = K1
    b: float = B
    delta: float | None = None

    def idf(self, n: int, df: int) -> float:
        """Return the weight of a term that ``df`` of ``n`` passages hold."""
        return _IDF[self.name](n, df)

    def saturation(self, tf: Floats, length: Floats, average: float) -> Floats:
        """Return the part that term frequency and length play; all arrays of shape (n_postings,)."""
        delta = np.float32(DELTAS.get(self.name, 0.0) if self.delta is None else self.delta)
        norm = (1 - self.b) + self.b * length / np.float32(average or 1)
        k1 = np.float32(self.k1)
        scores: npt.NDArray[np.floating[Any]]
        if self.name == "tf-idf":
            scores = np.sqrt(tf) / np.sqrt(np.maximum(length, 1))
        elif self.name == "lucene":
            scores = tf / (tf + k1 * norm) + delta
        elif self.name == "bm25l":
            c = tf / np.maximum(norm, np.float32(1e-6)) + delta
            scores = (k1 + 1) * c / (k1 + c)
        else:  # okapi, atire, bm25+
            scores = (k1 + 1) * tf / (tf + k1 * norm) + delta
        return scores.astype(np.float32, copy=False)

    @property
    def bound(self) -> float:
        """What ``saturation`` never exceeds."""
        delta = DELTAS.get(self.name, 0.0) if self.delta is None else self.delta
        return {"tf-idf": 1.0, "lucene": 1 + delta, "bm25l": self.k1 + 1}.get(self.name, self.k1 + 1 + delta)

    def settings(self) -> dict[str, Any]:
        """Return what an index or a run keeps of it."""
        return {"ranker": self.name, "k1": self.k1, "b": self.b, "delta": self.delta}


_IDF: dict[str, Callable[[int, int], float]] = {
    "lucene": lambda n, df: log(1 + (n - df + 0.5) / (df + 0.5)),
    "okapi": lambda n, df: max(0.0, log((n - df + 0.5) / (df + 0.5))),  # a term in over half the passages: 0, not less
    "atire": lambda n, df: log(n / df),
    "bm25+": lambda n, df: log((n + 1) / df),
    "bm25l": lambda n, df: log((n + 1) / (df + 0.5)),
    "tf-idf": lambda n, df: (1 + log(n / (df + 1))) ** 2,  # Lucene's ClassicSimilarity, before version 6 its default
}
RANKERS = tuple(_IDF)


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
        own = {name: getattr(self, name) for name in _RANKING_WEIGHTS}
        return self.ranker.settings() | own

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Ranking:
        """Return the ranking that ``settings`` describes; what is missing is as by default."""
        ranker = Ranker()
        names = {"ranker": "name", "k1": "k1", "b": "b", "delta": "delta"}
        ranker = replace(ranker, **{own: settings[name] for name, own in names.items() if name in settings})
        return cls(ranker, **{name: settings[name] for name in _RANKING_WEIGHTS if name in settings})


_RANKING_WEIGHTS = ("title_weight", "asking_weight", "ending_weight", "sentence_weight", "article_penalty")

# BM25 alone, as other engines have it: the text, and nothing else.
PLAIN = Ranking(title_weight=0.0, asking_weight=1.0, ending_weight=1.0, sentence_weight=0.0, article_penalty=0.0)
