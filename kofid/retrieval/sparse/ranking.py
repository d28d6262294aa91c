"""How the parts of a passage's score are put together: its text and title by BM25, and what kofid adds to them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypedDict, Unpack

from kofid.retrieval.modes import RankerName
from kofid.retrieval.sparse.bm25 import Ranker


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
