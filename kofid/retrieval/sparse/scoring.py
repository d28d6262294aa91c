"""What terms give to the passages of a segment: exact scores, a few numpy operations a term and segment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kofid.retrieval.sparse.query import QueryTerm
from kofid.retrieval.sparse.ranking import Ranking
from kofid.retrieval.sparse.segment import Field, Postings, Segment, hash_term, spans
from kofid.storage.arrays import Array

Scores = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

# Postings longer than this are worth pruning.
PRUNED_FROM = 2_000


class FieldStatistics(NamedTuple):
    """A field of one segment, with what an occurrence is worth by length, computed once."""

    field: Field
    lengths: Scores  # of each passage or article, in terms
    average_length: float  # over the collection
    single: Scores  # what a term gives that occurs once in each passage or article, by its length


class TermPostings(NamedTuple):
    """A component's terms of a question: weights (times idf), hashes, and postings by segment, then by term."""

    terms: list[str]
    weights: list[float]
    hashes: npt.NDArray[np.uint64]
    postings: list[list[Postings]]


class Scorer:
    """Scores the passages of segments as one collection.

    ``deleted[i]`` are positions in segment i that count no more: scores are those of an index built without them.
    Nothing is changed after construction, so threads may share it.
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
        self.weights = tuple(weights)
        self.ranking = ranking
        self._pruned_from = pruned_from
        live = [_live(len(s), d) for s, d in zip(segments, deleted, strict=True)] if deleted else [None] * len(segments)
        self._live: Sequence[Mask | None] = live
        self.n_passages = sum(
            len(s) if mask is None else int(mask.sum()) for s, mask in zip(segments, live, strict=True)
        )
        live_titles = [
            None if mask is None else _live(len(s.titles[0].lengths), np.setdiff1d(s.articles, s.articles[mask]))
            for s, mask in zip(segments, live, strict=True)
        ]
        components = range(len(self.weights))
        # By component and segment.
        self.texts = [self._statistics([s.text[c] for s in segments], live) for c in components]
        self.titles = [self._statistics([s.titles[c] for s in segments], live_titles) for c in components]
        # How many terms each article's title has, over the components that count.
        counted = [by_segment for by_segment, weight in zip(self.titles, self.weights, strict=True) if weight]
        self._title_sizes: list[Scores] = [
            sum((fields[i].lengths for fields in counted), start=np.zeros(len(s.titles[0].lengths), np.float32))
            for i, s in enumerate(segments)
        ]

    def _statistics(self, fields: Sequence[Field], live: Sequence[Mask | None]) -> list[FieldStatistics]:
        """Return the statistics of one component's fields, by segment."""
        lengths = [f.lengths.astype(np.float32) for f in fields]
        counted = [n if mask is None else n[mask] for n, mask in zip(lengths, live, strict=True)]
        average = sum(float(n.sum(dtype=np.float64)) for n in counted) / max(1, sum(map(len, counted)))
        saturation = self.ranking.ranker.saturation
        return [
            FieldStatistics(f, n, average, saturation(np.ones_like(n), n, average))
            for f, n in zip(fields, lengths, strict=True)
        ]

    # --- terms ---

    def look_up(self, terms: Sequence[QueryTerm]) -> list[TermPostings]:
        """Return the postings of a question's terms, by component."""
        return [self._look_up(component, terms) for component in range(len(self.weights))]

    def _look_up(self, component: int, terms: Sequence[QueryTerm]) -> TermPostings:
        query: dict[str, float] = {}
        for term in terms:
            if term.component == component and term.weight:
                query[term.text] = query.get(term.text, 0.0) + term.weight
        hashes = np.array([hash_term(term, component) for term in query], np.uint64)
        postings = [segment.text[component].postings(hashes) for segment in self.segments]
        weights = []
        for number, weight in enumerate(query.values()):
            df = sum(self._count(i, by_term[number]) for i, by_term in enumerate(postings))
            weights.append(weight * self.ranking.ranker.idf(self.n_passages, max(df, 1)))  # df 0: perhaps in a title
        return TermPostings(list(query), weights, hashes, postings)

    def document_frequency(self, term: str, component: int) -> int:
        """Return how many passages have a term in their text."""
        hashes = np.array([hash_term(term, component)], np.uint64)
        return sum(self._count(i, s.text[component].postings(hashes)[0]) for i, s in enumerate(self.segments))

    def _count(self, segment: int, postings: Postings) -> int:
        live = self._live[segment]
        return len(postings) if live is None else int(live[postings.single].sum() + live[postings.repeated].sum())

    # --- scores ---

    def score_segment(self, number: int, query: Sequence[TermPostings], floor: float = -np.inf) -> Scores:
        """Return the scores of a segment's passages; of those that cannot exceed ``floor``, perhaps only a part.

        Terms are added by falling weight. Once the terms left cannot lift but a few passages above the floor, only
        those few are looked up in their postings (MaxScore, Turtle and Flood 1995).
        """
        live = self._live[number]
        scores = self._spread_titles(number, query)
        if live is not None:
            scores[~live] = -np.inf
        long: list[tuple[float, int, Postings]] = []  # weight, component, postings worth pruning
        for c, terms in enumerate(query):
            pairs = [
                pair for pair in zip(terms.weights, terms.postings[number], strict=True) if pair[0] and len(pair[1])
            ]
            add_postings(
                scores, self.texts[c][number], [p for p in pairs if len(p[1]) <= self._pruned_from], self.ranking
            )
            long += [(weight, c, postings) for weight, postings in pairs if len(postings) > self._pruned_from]
        long.sort(key=lambda entry: -entry[0])
        rest = sum(weight for weight, _, _ in long) * self.ranking.ranker.bound
        candidates: npt.NDArray[np.uint16] | None = None
        for weight, c, postings in long:
            if candidates is None and floor > 0:
                above = np.flatnonzero(scores > floor - rest)
                candidates = above.astype(np.uint16) if len(above) < len(postings) / 8 else None
            pruned = postings if candidates is None else restrict(postings, candidates)
            add_postings(scores, self.texts[c][number], [(weight, pruned)], self.ranking)
            rest -= weight * self.ranking.ranker.bound
        return np.maximum(scores, 0) if live is not None else scores

    def _spread_titles(self, number: int, query: Sequence[TermPostings]) -> Scores:
        """Return what the title of each passage's article gives it."""
        segment = self.segments[number]
        scores = np.zeros(len(segment), np.float32)
        if self.ranking.title_weight:
            titles = self.score_titles(number, query)
            articles = np.flatnonzero(titles > 0)
            starts, stops = segment.article_starts[articles], segment.article_starts[articles + 1]
            scores[spans(starts, stops - starts)] = np.repeat(titles[articles], stops - starts)
        return scores

    def score_titles(self, number: int, query: Sequence[TermPostings]) -> Scores:
        """Return what each article's title gives, shape (n_articles,): by the squared share of it that is asked for."""
        sizes = self._title_sizes[number]
        scores, n_matched = np.zeros(len(sizes), np.float32), np.zeros(len(sizes), np.float32)
        for by_segment, terms in zip(self.titles, query, strict=True):
            by_term = by_segment[number].field.postings(terms.hashes)
            pairs = [pair for pair in zip(terms.weights, by_term, strict=True) if len(pair[1])]
            add_postings(scores, by_segment[number], pairs, self.ranking)
            for _, postings in pairs:
                n_matched[postings.single] += 1
                n_matched[postings.repeated] += postings.frequencies
        matched = np.flatnonzero(n_matched > 0)
        scores[matched] *= self.ranking.title_weight * (n_matched[matched] / sizes[matched]) ** 2
        return scores


def add_postings(
    scores: Scores, statistics: FieldStatistics, pairs: Sequence[tuple[float, Postings]], ranking: Ranking
) -> None:
    """Add to ``scores`` what each weighted term gives to the owners of its postings."""
    if not pairs:
        return
    weights = np.array([weight for weight, _ in pairs], np.float32)
    owners, by_owner = _concatenate([p.single for _, p in pairs], weights)
    np.add.at(scores, owners, by_owner * statistics.single[owners])
    owners, by_owner = _concatenate([p.repeated for _, p in pairs], weights)
    if len(owners):
        frequencies = np.concatenate([p.frequencies for _, p in pairs]).astype(np.float32)
        saturation = ranking.ranker.saturation(frequencies, statistics.lengths[owners], statistics.average_length)
        np.add.at(scores, owners, by_owner * saturation)


def _live(n: int, deleted: npt.NDArray[np.integer]) -> Mask | None:
    if not len(deleted):
        return None
    mask = np.ones(n, bool)
    mask[deleted] = False
    return mask


def _concatenate(owners: Sequence[Array], weights: Scores) -> tuple[Array, Scores]:
    """Return owners of several terms one after another, and for each its term's weight."""
    if len(owners) == 1:
        return owners[0], weights
    return np.concatenate(owners), np.repeat(weights, [len(o) for o in owners])


def restrict(postings: Postings, owners: npt.NDArray[np.uint16]) -> Postings:
    """Return the part of ``postings`` that concerns ``owners`` (ascending)."""
    single, _ = _intersect(postings.single, owners)
    repeated, places = _intersect(postings.repeated, owners)
    return Postings(single, repeated, postings.frequencies[places])


def _intersect(sorted_values: npt.NDArray[np.uint16], wanted: npt.NDArray[np.uint16]) -> tuple[Any, Any]:
    """Return those of ``wanted`` that are among the sorted values, and their places there."""
    if not len(sorted_values):
        return sorted_values, np.empty(0, np.int64)
    places = np.minimum(np.searchsorted(sorted_values, wanted), len(sorted_values) - 1)
    matches = sorted_values[places] == wanted
    return wanted[matches], places[matches]
