"""Search over segments: every passage's score for a question, exact, a few numpy operations a term and segment."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kofid.retrieval.sparse.query import QueryTerm
from kofid.retrieval.sparse.ranking import Ranking
from kofid.retrieval.sparse.segment import Field, Postings, Segment, hash_term, spans
from kofid.storage.arrays import Array

Scores = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

# Hits are chosen among the best 3 k passages (at least 30), so that one of an article already there can give way.
_POOL = 3
_POOL_AT_LEAST = 30
_SENTENCE_END = re.compile(r"(?<=[.?!다])\s+|\n")
# Characters of a passage in which sentences are looked for.
_READ = 5_000
# Postings longer than this are worth avoiding.
_LONG = 2_000


class Share(NamedTuple):
    """What one term gave to a passage's score, by its text or by its title."""

    term: str
    component: int
    field: str
    score: float


class _Field(NamedTuple):
    """A field of one segment, with what an occurrence is worth by length, computed once."""

    field: Field
    lengths: Scores  # of each passage or article
    average: float  # over the collection
    once: Scores  # worth of a term that occurs once in each passage or article


class _Asked(NamedTuple):
    """A component's terms of a question: weights (times idf), hashes, and postings by segment, then by term."""

    terms: list[str]
    weights: list[float]
    hashes: npt.NDArray[np.uint64]
    postings: list[list[Postings]]


class SparseIndex:
    """Segments searched as one collection.

    ``deleted[i]`` are positions in segment i that count no more: scores are those of an index built without them.
    Positions are numbered through all segments; ``starts`` says where each segment begins.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        weights: Sequence[float],
        ranking: Ranking,
        deleted: Sequence[npt.NDArray[np.uint16]] = (),
    ) -> None:
        self.segments = segments
        self.weights = weights
        self.ranking = ranking
        self.starts = [0, *np.cumsum([len(segment) for segment in segments]).tolist()]
        self._live = (
            [_live(len(s), d) for s, d in zip(segments, deleted, strict=True)] if deleted else [None] * len(segments)
        )
        self.n_passages = sum(
            len(s) if live is None else int(live.sum()) for s, live in zip(segments, self._live, strict=True)
        )

    # --- fields ---

    @cached_property
    def _text(self) -> list[list[_Field]]:
        """The text fields, by component and segment."""
        return [self._prepare([s.text[c] for s in self.segments], self._live) for c in range(len(self.weights))]

    @cached_property
    def _titles(self) -> list[list[_Field]]:
        live = [
            None if mask is None else _live(len(s.titles[0].lengths), np.setdiff1d(s.articles, s.articles[mask]))
            for s, mask in zip(self.segments, self._live, strict=True)
        ]
        return [self._prepare([s.titles[c] for s in self.segments], live) for c in range(len(self.weights))]

    @cached_property
    def _title_sizes(self) -> list[Scores]:
        """How many terms each article's title has, over the components that count."""
        counted = [fields for fields, weight in zip(self._titles, self.weights, strict=True) if weight]
        sizes: list[Scores] = [sum(f.lengths for f in by_component) for by_component in zip(*counted, strict=True)]
        return sizes

    def _prepare(self, fields: Sequence[Field], live: Sequence[Mask | None]) -> list[_Field]:
        lengths = [f.lengths.astype(np.float32) for f in fields]
        kept = [n if mask is None else n[mask] for n, mask in zip(lengths, live, strict=True)]
        average = sum(float(k.sum(dtype=np.float64)) for k in kept) / max(1, sum(map(len, kept)))
        worth = self.ranking.ranker.saturation
        return [_Field(f, n, average, worth(np.ones_like(n), n, average)) for f, n in zip(fields, lengths, strict=True)]

    # --- scores ---

    def score_all(self, terms: Sequence[QueryTerm]) -> Scores:
        """Return the scores of all positions, shape (n,); 0 where no term occurs."""
        asked = [self._look_up(c, terms) for c in range(len(self.weights))]
        scores = [self._score(number, asked, -np.inf) for number in range(len(self.segments))]
        return np.concatenate([np.zeros(0, np.float32), *scores])

    def _score(self, number: int, asked: Sequence[_Asked], floor: float) -> Scores:
        """Return the scores of a segment's passages; of those that cannot exceed ``floor``, perhaps only a part.

        Terms are added by falling weight. Once the terms left cannot lift but a few passages above the floor, only
        those few are looked up in their postings (MaxScore, Turtle and Flood 1995).
        """
        segment, live = self.segments[number], self._live[number]
        scores = np.zeros(len(segment), np.float32)
        if self.ranking.title_weight:
            titles = self._title_scores(number, asked)
            some = np.flatnonzero(titles > 0)
            starts, stops = segment.article_starts[some], segment.article_starts[some + 1]
            scores[spans(starts, stops - starts)] = np.repeat(titles[some], stops - starts)
        if live is not None:
            scores[~live] = -np.inf
        long: list[tuple[float, int, Postings]] = []
        for c, a in enumerate(asked):
            todo = [entry for entry in zip(a.weights, a.postings[number], strict=True) if entry[0] and len(entry[1])]
            self._add(scores, self._text[c][number], [entry for entry in todo if len(entry[1]) <= _LONG])
            long += [(weight, c, postings) for weight, postings in todo if len(postings) > _LONG]
        long.sort(key=lambda entry: -entry[0])
        rest = sum(weight for weight, _, _ in long) * self.ranking.ranker.bound
        few: npt.NDArray[np.uint16] | None = None
        for weight, c, postings in long:
            if few is None and floor > 0:
                candidates = np.flatnonzero(scores > floor - rest)
                few = candidates.astype(np.uint16) if len(candidates) < len(postings) / 8 else None
            self._add(scores, self._text[c][number], [(weight, postings if few is None else _among(postings, few))])
            rest -= weight * self.ranking.ranker.bound
        return np.maximum(scores, 0) if live is not None else scores

    def document_frequency(self, term: str, component: int) -> int:
        """Return how many passages have a term in their text."""
        hashes = np.array([hash_term(term, component)], np.uint64)
        return sum(self._count(i, s.text[component].postings(hashes)[0]) for i, s in enumerate(self.segments))

    def _look_up(self, component: int, terms: Sequence[QueryTerm]) -> _Asked:
        wanted: dict[str, float] = {}
        for term in terms:
            if term.component == component and term.weight:
                wanted[term.text] = wanted.get(term.text, 0.0) + term.weight
        hashes = np.array([hash_term(term, component) for term in wanted], np.uint64)
        postings = [segment.text[component].postings(hashes) for segment in self.segments]
        weights = []
        for number, weight in enumerate(wanted.values()):
            df = sum(self._count(i, found[number]) for i, found in enumerate(postings))
            weights.append(weight * self.ranking.ranker.idf(self.n_passages, max(df, 1)))  # df 0: perhaps in a title
        return _Asked(list(wanted), weights, hashes, postings)

    def _count(self, segment: int, postings: Postings) -> int:
        live = self._live[segment]
        return len(postings) if live is None else int(live[postings.once].sum() + live[postings.repeated].sum())

    def _add(self, scores: Scores, field: _Field, found: Sequence[tuple[float, Postings]]) -> None:
        """Add to ``scores`` what each weighted term gives to the owners of its postings."""
        if not found:
            return
        weights = np.array([weight for weight, _ in found], np.float32)
        once, worth = _joined([p.once for _, p in found], weights)
        np.add.at(scores, once, worth * field.once[once])
        repeated, worth = _joined([p.repeated for _, p in found], weights)
        if len(repeated):
            frequencies = np.concatenate([p.frequencies for _, p in found]).astype(np.float32)
            lengths = field.lengths[repeated]
            np.add.at(scores, repeated, worth * self.ranking.ranker.saturation(frequencies, lengths, field.average))

    def _title_scores(self, number: int, asked: Sequence[_Asked]) -> Scores:
        """Return what each article's title gives, shape (n_articles,)."""
        n = len(self._title_sizes[number])
        scores, said = np.zeros(n, np.float32), np.zeros(n, np.float32)
        for fields, a in zip(self._titles, asked, strict=True):
            by_term = fields[number].field.postings(a.hashes)
            found = [entry for entry in zip(a.weights, by_term, strict=True) if len(entry[1])]
            self._add(scores, fields[number], found)
            for _, postings in found:
                said[postings.once] += 1
                said[postings.repeated] += postings.frequencies
        some = np.flatnonzero(said > 0)
        scores[some] *= self.ranking.title_weight * (said[some] / self._title_sizes[number][some]) ** 2
        return scores

    # --- search ---

    def search(self, terms: Sequence[QueryTerm], k: int) -> list[tuple[int, float]]:
        """Return (position, score) of the best ``k`` passages with a positive score, equal ones in corpus order."""
        asked = [self._look_up(c, terms) for c in range(len(self.weights))]
        chosen_among = self.ranking.article_penalty or self.ranking.sentence_weight
        pool = self._best(asked, max(_POOL * k, _POOL_AT_LEAST) if chosen_among else k)
        return self.spread(self._with_sentences(pool, asked))[:k]

    def with_sentences(self, pool: list[tuple[int, float]], terms: Sequence[QueryTerm]) -> list[tuple[int, float]]:
        """Return the pool in order of scores with what is added for terms that come together in one sentence."""
        return self._with_sentences(pool, [self._look_up(c, terms) for c in range(len(self.weights))])

    def _best(self, asked: Sequence[_Asked], n: int) -> list[tuple[int, float]]:
        best: list[tuple[int, float]] = []
        floor = np.float32(0)
        for number, start in enumerate(self.starts[:-1]):
            scores = self._score(number, asked, float(floor))
            found = np.flatnonzero(scores > floor)
            if len(found) > n:
                found = found[largest(scores[found], n)]
            best += zip((found + start).tolist(), scores[found].tolist(), strict=True)
            if len(best) > n:
                best.sort(key=lambda entry: (-entry[1], entry[0]))
                del best[n:]
                floor = np.float32(best[-1][1])
        return sorted(best, key=lambda entry: (-entry[1], entry[0]))

    def _with_sentences(self, pool: list[tuple[int, float]], asked: Sequence[_Asked]) -> list[tuple[int, float]]:
        """Add to each score what the question's terms weigh that come together in one sentence (and in the title)."""
        if not self.ranking.sentence_weight:
            return pool
        weights = _weights(asked)
        scored = [(position, score + self._sentence_score(position, weights)) for position, score in pool]
        return sorted(scored, key=lambda entry: (-entry[1], entry[0]))

    def _sentence_score(self, position: int, weights: dict[str, float]) -> float:
        number, local = self._place(position)
        passage = self.segments[number][local]
        title, text = (unicodedata.normalize("NFKC", part[:_READ]).lower() for part in (passage.title, passage.text))
        named = sum(weight for term, weight in weights.items() if term in title)
        rest = [(term, weight) for term, weight in weights.items() if term in text and term not in title]
        sentences = (sum(weight for term, weight in rest if term in s) for s in _SENTENCE_END.split(text))
        return self.ranking.sentence_weight * (named + max(sentences))

    def _place(self, position: int) -> tuple[int, int]:
        number = int(np.searchsorted(self.starts, position, "right")) - 1
        return number, position - self.starts[number]

    def spread(self, pool: list[tuple[int, float]]) -> list[tuple[int, float]]:
        """Return the pool in order of scores with the penalty for further passages of an article."""
        if not pool or not self.ranking.article_penalty:
            return pool
        step = self.ranking.article_penalty * pool[0][1]
        seen: dict[tuple[int, int], int] = {}
        spread = []
        for position, score in pool:
            segment, local = self._place(position)
            article = segment, int(self.segments[segment].articles[local])
            n = seen[article] = seen.get(article, -1) + 1
            spread.append((position, score - n * step))
        return sorted((entry for entry in spread if entry[1] > 0), key=lambda entry: (-entry[1], entry[0]))

    def explain(self, terms: Sequence[QueryTerm], position: int) -> list[Share]:
        """Return what each term gave to the score of the passage at ``position``, the greatest first.

        Field ``sentence`` is what all terms together gave for standing in one sentence (and in the title).
        """
        number, local = self._place(position)
        article = int(self.segments[number].articles[local])
        shares = []
        asked = [self._look_up(c, terms) for c in range(len(self.weights))]
        for c, a in enumerate(asked):
            found = self._titles[c][number].field.postings(a.hashes)
            for i, (term, weight) in enumerate(zip(a.terms, a.weights, strict=True)):
                for name, fields, postings, owner in (
                    ("text", self._text, a.postings[number][i], local),
                    ("title", self._titles, found[i], article),
                ):
                    scores = np.zeros(len(fields[c][number].lengths), np.float32)
                    self._add(scores, fields[c][number], [(weight, postings)])
                    if scores[owner]:
                        shares.append(Share(term, c, name, float(scores[owner])))
        raw = sum(share.score for share in shares if share.field == "title")
        factor = float(self._title_scores(number, asked)[article]) / raw if raw and self.ranking.title_weight else 0.0
        shares = [s if s.field == "text" else s._replace(score=s.score * factor) for s in shares]
        if self.ranking.sentence_weight:
            shares.append(Share("", 0, "sentence", self._sentence_score(position, _weights(asked))))
        return sorted((s for s in shares if s.score), key=lambda s: -s.score)


def _weights(asked: Sequence[_Asked]) -> dict[str, float]:
    """Return what each term weighs in all components together."""
    weights: dict[str, float] = {}
    for a in asked:
        for term, weight in zip(a.terms, a.weights, strict=True):
            weights[term] = weights.get(term, 0.0) + weight
    return weights


def _live(n: int, deleted: npt.NDArray[np.integer]) -> Mask | None:
    if not len(deleted):
        return None
    mask = np.ones(n, bool)
    mask[deleted] = False
    return mask


def _joined(owners: Sequence[Array], weights: Scores) -> tuple[Array, Scores]:
    """Return owners of several terms one after another, and for each its term's weight."""
    if len(owners) == 1:
        return owners[0], weights
    return np.concatenate(owners), np.repeat(weights, [len(o) for o in owners])


def _among(postings: Postings, owners: npt.NDArray[np.uint16]) -> Postings:
    """Return the part of ``postings`` that concerns ``owners`` (ascending)."""
    once, _ = _common(postings.once, owners)
    repeated, places = _common(postings.repeated, owners)
    return Postings(once, repeated, postings.frequencies[places])


def _common(sorted_values: npt.NDArray[np.uint16], wanted: npt.NDArray[np.uint16]) -> tuple[Any, Any]:
    """Return the ``wanted`` values that are there, and their places."""
    if not len(sorted_values):
        return sorted_values, np.empty(0, np.int64)
    places = np.minimum(np.searchsorted(sorted_values, wanted), len(sorted_values) - 1)
    there = sorted_values[places] == wanted
    return wanted[there], places[there]


def largest(scores: Scores, n: int) -> npt.NDArray[np.int64]:
    """Return the places of the ``n`` largest scores; of equal ones the first."""
    if not n:
        return np.empty(0, np.int64)
    threshold = np.partition(scores, len(scores) - n)[len(scores) - n]
    above = np.flatnonzero(scores > threshold)
    level = np.flatnonzero(scores == threshold)[: n - len(above)]
    return np.sort(np.concatenate((above, level)))
