"""Search over segments: the best passages for a question's terms, exactly as the scores of all of them say."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kofid.retrieval.sparse.query import QueryTerm
from kofid.retrieval.sparse.ranking import Ranking
from kofid.retrieval.sparse.scoring import PRUNED_FROM, Scorer, Scores, TermPostings, add_postings
from kofid.retrieval.sparse.segment import Segment

# Hits are chosen among the best 3 k passages (at least 30), so that one of an article already there can give way.
_POOL_FACTOR = 3
_POOL_AT_LEAST = 30
_SENTENCE_END = re.compile(r"(?<=[.?!다])\s+|\n")
# Characters of a passage in which sentences are looked for.
_SENTENCES_WITHIN = 5_000

# A passage's position in the collection, and its score.
Scored = tuple[int, float]


class Share(NamedTuple):
    """What one term gave to a passage's score, by its text or by its title."""

    term: str
    component: int
    field: str
    score: float


class SparseIndex:
    """Segments searched as one collection.

    Positions are numbered through all segments; ``starts`` says where each segment begins. ``deleted`` and
    ``pruned_from`` are as ``Scorer`` takes them.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        weights: Sequence[float],
        ranking: Ranking,
        deleted: Sequence[npt.NDArray[np.uint16]] = (),
        pruned_from: int = PRUNED_FROM,
    ) -> None:
        self.segments = segments
        self.ranking = ranking
        self.starts = [0, *np.cumsum([len(segment) for segment in segments]).tolist()]
        self._scorer = Scorer(segments, weights, ranking, deleted, pruned_from)

    def score_all(self, terms: Sequence[QueryTerm]) -> Scores:
        """Return the scores of all positions, shape (n,); 0 where no term occurs."""
        query = self._scorer.look_up(terms)
        scores = [self._scorer.score_segment(number, query) for number in range(len(self.segments))]
        return np.concatenate([np.zeros(0, np.float32), *scores])

    def document_frequency(self, term: str, component: int) -> int:
        """Return how many passages have a term in their text."""
        return self._scorer.document_frequency(term, component)

    # --- search ---

    def search(self, terms: Sequence[QueryTerm], k: int) -> list[Scored]:
        """Return (position, score) of the best ``k`` passages with a positive score, equal ones in corpus order."""
        query = self._scorer.look_up(terms)
        is_reordered = self.ranking.article_penalty or self.ranking.sentence_weight
        pool = self._best(query, max(_POOL_FACTOR * k, _POOL_AT_LEAST) if is_reordered else k)
        return self.spread(self._with_sentences(pool, query))[:k]

    def _best(self, query: Sequence[TermPostings], n: int) -> list[Scored]:
        best: list[Scored] = []
        floor = np.float32(0)
        for number, start in enumerate(self.starts[:-1]):
            scores = self._scorer.score_segment(number, query, float(floor))
            places = np.flatnonzero(scores > floor)
            if len(places) > n:
                places = places[largest(scores[places], n)]
            best += zip((places + start).tolist(), scores[places].tolist(), strict=True)
            if len(best) > n:
                best.sort(key=_by_score)
                del best[n:]
                floor = np.float32(best[-1][1])
        return sorted(best, key=_by_score)

    # --- sentences and articles ---

    def with_sentences(self, pool: list[Scored], terms: Sequence[QueryTerm]) -> list[Scored]:
        """Return the pool in order of scores with what is added for terms that come together in one sentence."""
        return self._with_sentences(pool, self._scorer.look_up(terms))

    def _with_sentences(self, pool: list[Scored], query: Sequence[TermPostings]) -> list[Scored]:
        """Add to each score what the question's terms weigh that come together in one sentence (and in the title)."""
        if not self.ranking.sentence_weight:
            return pool
        weights = _weights(query)
        scored = [(position, score + self._sentence_score(position, weights)) for position, score in pool]
        return sorted(scored, key=_by_score)

    def _sentence_score(self, position: int, weights: dict[str, float]) -> float:
        number, local = self._place(position)
        passage = self.segments[number][local]
        title, text = (
            unicodedata.normalize("NFKC", part[:_SENTENCES_WITHIN]).lower() for part in (passage.title, passage.text)
        )
        in_title = sum(weight for term, weight in weights.items() if term in title)
        in_text = [(term, weight) for term, weight in weights.items() if term in text and term not in title]
        sentences = (sum(weight for term, weight in in_text if term in s) for s in _SENTENCE_END.split(text))
        return self.ranking.sentence_weight * (in_title + max(sentences))

    def _place(self, position: int) -> tuple[int, int]:
        number = int(np.searchsorted(self.starts, position, "right")) - 1
        return number, position - self.starts[number]

    def spread(self, pool: list[Scored]) -> list[Scored]:
        """Return the pool in order of scores with the penalty for further passages of an article."""
        if not pool or not self.ranking.article_penalty:
            return pool
        step = self.ranking.article_penalty * pool[0][1]
        n_seen: dict[tuple[int, int], int] = {}
        spread = []
        for position, score in pool:
            segment, local = self._place(position)
            article = segment, int(self.segments[segment].articles[local])
            n = n_seen[article] = n_seen.get(article, -1) + 1
            spread.append((position, score - n * step))
        return sorted((scored for scored in spread if scored[1] > 0), key=_by_score)

    # --- explanation ---

    def explain(self, terms: Sequence[QueryTerm], position: int) -> list[Share]:
        """Return what each term gave to the score of the passage at ``position``, the greatest first.

        Field ``sentence`` is what all terms together gave for standing in one sentence (and in the title).
        """
        number, local = self._place(position)
        article = int(self.segments[number].articles[local])
        query = self._scorer.look_up(terms)
        texts: list[Share] = []
        titles: list[Share] = []
        for c, component in enumerate(query):
            title, text = self._scorer.titles[c][number], self._scorer.texts[c][number]
            in_titles = title.field.postings(component.hashes)
            for i, (term, weight) in enumerate(zip(component.terms, component.weights, strict=True)):
                for shares, name, statistics, postings, owner in (
                    (texts, "text", text, component.postings[number][i], local),
                    (titles, "title", title, in_titles[i], article),
                ):
                    scores = np.zeros(len(statistics.lengths), np.float32)
                    add_postings(scores, statistics, [(weight, postings)], self.ranking)
                    shares.append(Share(term, c, name, float(scores[owner])))
        raw = sum(share.score for share in titles)
        if raw and self.ranking.title_weight:
            factor = float(self._scorer.score_titles(number, query)[article]) / raw
            texts += [share._replace(score=share.score * factor) for share in titles]
        if self.ranking.sentence_weight:
            texts.append(Share("", 0, "sentence", self._sentence_score(position, _weights(query))))
        return sorted((share for share in texts if share.score), key=lambda share: -share.score)


def _by_score(scored: Scored) -> tuple[float, int]:
    """Order by falling score, equal ones as in the corpus."""
    return -scored[1], scored[0]


def _weights(query: Sequence[TermPostings]) -> dict[str, float]:
    """Return what each term weighs in all components together."""
    weights: dict[str, float] = {}
    for component in query:
        for term, weight in zip(component.terms, component.weights, strict=True):
            weights[term] = weights.get(term, 0.0) + weight
    return weights


def largest(scores: Scores, n: int) -> npt.NDArray[np.int64]:
    """Return the places of the ``n`` largest scores; of equal ones the first."""
    if not n:
        return np.empty(0, np.int64)
    threshold = np.partition(scores, len(scores) - n)[len(scores) - n]
    above = np.flatnonzero(scores > threshold)
    level = np.flatnonzero(scores == threshold)[: n - len(above)]
    return np.sort(np.concatenate((above, level)))
