"""Where the terms of a question stand in all its hits laid end to end, and what follows for a span from that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kofid.korean.questions import TYPE_CODES
from kofid.reader.span.features import FOLLOWING, STATIC_NAMES, UNITS, PreparedPassage
from kofid.reader.span.lexicon import Lexicon
from kofid.reader.span.passage import AnalyzedPassage
from kofid.reader.span.question import BEGINNINGS, ENDINGS, AnalyzedQuestion
from kofid.types import Hit

MAX_SENTENCES = 36
# Farther than this, in morphemes, is as good as not there.
_FAR = 40.0
_WANTED_DATES = {
    noun: code
    for code, nouns in enumerate(("해 년도 연도 년", "날 날짜 생일 일자 일", "시기 시대 세기", "월 달"), start=1)
    for noun in nouns.split()
}
WANTED_ERA, _ANY_DATE = 3, 5


def bigrams(text: str) -> np.ndarray:
    """Return a number for each two neighbouring characters, (n - 1,); 0 where one is a space or a mark."""
    lowered = text.lower() if len(text.lower()) == len(text) else text
    codes = np.frombuffer(lowered.encode("utf-32-le"), dtype=np.uint32).astype(np.int64)
    marks = (codes <= ord(".")) | (codes == ord("?"))
    return np.where(marks[:-1] | marks[1:], 0, (codes[:-1] << 21) | codes[1:])


def wanted_date(question: AnalyzedQuestion) -> int:
    """Return 1 where a year is asked for, 2 a day, 3 a time or an era, 4 a month, 5 any date, 0 none."""
    return _WANTED_DATES.get(question.unit or question.head, _ANY_DATE if question.ask == TYPE_CODES["when"] else 0)


def question_bigrams(text: str) -> np.ndarray:
    """Return the distinct bigrams of a question, (n,) sorted."""
    distinct = np.unique(bigrams(text))
    return distinct[distinct > 0]


@dataclass(frozen=True, slots=True)
class SpanTable:
    """The C spans that are looked at, (C,) each, numbered as if all hits were one text.

    ``number`` of the span; ``hit``; ``first`` and ``last`` morpheme, both inclusive; ``start`` and ``end``
    character; ``sentence``; ``surfaces``: text without spaces.
    """

    number: np.ndarray
    hit: np.ndarray
    first: np.ndarray
    last: np.ndarray
    start: np.ndarray
    end: np.ndarray
    sentence: np.ndarray
    surfaces: list[str]

    @classmethod
    def gather(cls, context: HitContext, prepared: Sequence[PreparedPassage], numbers: np.ndarray) -> SpanTable:
        """Return the spans of these numbers, (C,)."""

        def flat(name: str, base: np.ndarray) -> np.ndarray:
            parts = [getattr(p.view, name) + offset for p, offset in zip(prepared, base, strict=False)]
            return np.asarray(np.concatenate(parts)[numbers])

        surfaces = [surface for p in prepared for surface in p.view.surfaces]
        return cls(
            number=numbers,
            hit=np.searchsorted(context.span_base, numbers, side="right") - 1,
            first=flat("first", context.morpheme_base),
            last=flat("last", context.morpheme_base),
            start=flat("start", context.char_base),
            end=flat("end", context.char_base),
            sentence=flat("sentence", context.sentence_base),
            surfaces=[surfaces[i] for i in numbers.tolist()],
        )


@dataclass(frozen=True, slots=True)
class Coverage:
    """The shares of a question's rarity that are said, each in [0, 1].

    In a ``sentence``, in the one ``before`` and ``after`` it, and ``around``, in all three and the title: (S,) each; in a
    ``passage`` with its title, and in a ``title``: (H,) each. ``missing``: (S,) rarity of the rarest term that sentence and
    title lack.
    """

    sentence: np.ndarray
    around: np.ndarray
    before: np.ndarray
    after: np.ndarray
    passage: np.ndarray
    title: np.ndarray
    missing: np.ndarray


class HitContext:
    """All H hits laid end to end (M morphemes, S sentences), with where each of T terms of the question stands.

    ``*_base``: (H + 1,) where the morphemes, sentences, spans and characters of each hit begin. ``bounds``: (S, 2)
    morpheme range, end exclusive. ``match``: (T, M). ``weights``: (T,) rarity, ``total`` their sum; ``coverage``: the shares
    of that sum. ``promise``: (S,), by which spans are looked at.
    """

    def __init__(
        self, question: AnalyzedQuestion, hits: Sequence[Hit], prepared: Sequence[PreparedPassage], lexicon: Lexicon
    ) -> None:
        views = [p.view for p in prepared]
        self.morpheme_base = np.cumsum([0, *(len(v.tags) for v in views)])
        self.sentence_base = np.cumsum([0, *(len(v.sentence_bounds) for v in views)])
        self.span_base = np.cumsum([0, *(len(v.first) for v in views)])
        self.char_base = np.cumsum([0, *(len(v.passage.text) + 1 for v in views)])
        self.forms = [form for v in views for form in v.forms]
        self.keys = [key for v in views for key in v.keys]
        self.range_side = np.concatenate([p.static[:, STATIC_NAMES.index("range_side")] for p in prepared])
        self.sentence_of_span = np.concatenate(
            [v.sentence + b for v, b in zip(views, self.sentence_base, strict=False)]
        )
        self.bounds = np.concatenate([v.sentence_bounds + b for v, b in zip(views, self.morpheme_base, strict=False)])
        self.hit_of_sentence = np.repeat(np.arange(len(views)), np.diff(self.sentence_base))
        self.weights = np.array([lexicon.idf(t) for t in question.terms] or [1.0])
        self.total = max(float(self.weights.sum()), 1e-9)
        self.match = self._matches(question)
        self.coverage = self._cover(question, views)
        by_hit = 0.4 * self.coverage.passage - 0.02 * np.arange(len(views))
        self.promise = self.coverage.sentence + 0.6 * self.coverage.around + by_hit[self.hit_of_sentence]

    def _matches(self, question: AnalyzedQuestion) -> np.ndarray:
        """Return which morpheme is which term, bool of shape (T, M)."""
        index = {term: i for i, term in enumerate(question.terms)}
        match = np.zeros((len(self.weights), self.morpheme_base[-1]), dtype=bool)
        for position, key in enumerate(self.keys):
            if key in index:
                match[index[key], position] = True
        return match

    def _share(self, presence: np.ndarray) -> np.ndarray:
        """Return the share of the question's rarity that is there, (n,), by how far each term is, (T, n)."""
        return np.asarray(self.weights @ presence / self.total)

    def _cover(self, question: AnalyzedQuestion, views: Sequence[AnalyzedPassage]) -> Coverage:
        """Find what share of the question's rarity each sentence, its neighbours, its passage and title hold."""
        inside = np.pad(np.cumsum(self.match, axis=1), ((0, 0), (1, 0)))
        here = inside[:, self.bounds[:, 1]] > inside[:, self.bounds[:, 0]]
        padded = np.pad(here, ((0, 0), (1, 1)))
        before, after = padded[:, :-2].copy(), padded[:, 2:].copy()
        before[:, self.sentence_base[:-1]] = False
        after[:, self.sentence_base[1:] - 1] = False
        in_passage = inside[:, self.morpheme_base[1:]] > inside[:, self.morpheme_base[:-1]]
        titles = [v.passage.title.lower() for v in views]
        terms = [term.rstrip("~") for term in question.terms] or ["\0"]
        in_title = np.array([[term in title for title in titles] for term in terms])
        titled = in_title[:, self.hit_of_sentence]
        return Coverage(
            sentence=self._share(here),
            around=self._share(here | before | after | titled),
            before=self._share(before),
            after=self._share(after),
            passage=self._share(in_passage | in_title),
            title=self._share(in_title),
            missing=(self.weights[:, None] * ~(here | titled)).max(axis=0),
        )

    def promising_spans(self) -> np.ndarray:
        """Return which spans, of all hits laid end to end, stand in the most promising sentences: (C,)."""
        promising = np.zeros(len(self.promise), dtype=bool)
        promising[np.argsort(-self.promise, kind="stable")[:MAX_SENTENCES]] = True
        return np.nonzero(promising[self.sentence_of_span])[0]

    def of_question(self, question: AnalyzedQuestion) -> dict[str, float]:
        """Tell what is asked, the same for all spans."""
        return {
            "ask": question.ask,
            "kind": question.kind,
            "has_unit": UNITS.get(question.unit, 9 if question.unit else 0),
            "n_terms": len(question.terms),
            "idf_terms": self.total,
            "particle_asked": FOLLOWING.get(question.particle, 0),
            "date_asked": wanted_date(question),
        }

    def of_hit(self, question: AnalyzedQuestion, hits: Sequence[Hit], spans: SpanTable) -> dict[str, np.ndarray]:
        """Tell how well each span's passage fits the question."""
        sought = question_bigrams(question.text)
        n_shared = [np.isin(sought, bigrams(h.passage.title + "\n" + h.passage.text)).sum() for h in hits]
        inside = np.pad(np.cumsum(self.match, axis=1), ((0, 0), (1, 0)))
        counts = inside[:, self.morpheme_base[1:]] - inside[:, self.morpheme_base[:-1]]
        lengths = np.diff(self.morpheme_base)
        # BM25's saturation with k1 = 1 and b = 1/2 (Robertson & Zaragoza 2009, section 3.4).
        weight = self._share(counts / (counts + 0.5 + 0.5 * lengths / lengths.mean()))
        compact = question.text.replace(" ", "")
        titles = [h.passage.title.partition(" (")[0].replace(" ", "") for h in hits]
        return {
            "hit_rank": spans.hit,
            "passage_weight": (weight - weight.max())[spans.hit],
            "bigrams_covered": np.array(n_shared)[spans.hit] / max(len(sought), 1),
            "title_covered": self.coverage.title[spans.hit],
            "title_in_question": np.array([bool(t) and t in compact for t in titles])[spans.hit],
            "passage_covered": self.coverage.passage[spans.hit],
        }

    def of_sentence(self, spans: SpanTable) -> dict[str, np.ndarray]:
        """Tell how well each span's sentence fits the question."""
        ranks = np.argsort(np.argsort(-self.promise, kind="stable"), kind="stable")
        best = np.maximum.reduceat(self.coverage.sentence, self.sentence_base[:-1])
        return {
            "sentence_covered": self.coverage.sentence[spans.sentence],
            "neighbours_covered": self.coverage.around[spans.sentence],
            "before_covered": self.coverage.before[spans.sentence],
            "after_covered": self.coverage.after[spans.sentence],
            "sentence_share": (self.coverage.sentence / max(float(self.coverage.sentence.max()), 1e-9))[spans.sentence],
            "sentence_rank": ranks[spans.sentence],
            "sentence_gap": best[spans.hit] - self.coverage.sentence[spans.sentence],
            "missing": self.coverage.missing[spans.sentence],
            "promise": self.promise[spans.sentence] - self.promise.max(),
        }

    def of_terms(self, question: AnalyzedQuestion, spans: SpanTable) -> dict[str, np.ndarray]:
        """Tell how near each span is to the question's terms, and how much of them it holds itself."""
        left, right = self.distances(self.match, spans)
        nearest = np.minimum(left, right)
        inside = np.pad(np.cumsum(self.match, axis=1), ((0, 0), (1, 0)))
        held = inside[:, spans.last + 1] > inside[:, spans.first]
        any_match = np.concatenate([[0], np.cumsum(self.match.any(axis=0))])
        order = np.argsort(-self.weights, kind="stable")
        verb = question.terms.index(question.verb) if question.verb in question.terms else -1
        none = np.full(len(spans.first), _FAR)
        near = {f"near_{d}": self._share((nearest <= d) & ~held) for d in (3, 6, 12)}
        return near | {
            "inside_covered": self._share(held),
            "inside_share": (any_match[spans.last + 1] - any_match[spans.first]) / (spans.last - spans.first + 1),
            "proximity": self._share(~held / (1.0 + nearest / 3.0)),
            "left_distance": left.min(axis=0),
            "right_distance": right.min(axis=0),
            "top_distance": nearest[order[0]],
            "second_distance": nearest[order[1]] if len(order) > 1 else none,
            "verb_distance": nearest[verb] if verb >= 0 else none,
            "verb_right": right[verb] if verb >= 0 else none,
        }

    def distances(self, match: np.ndarray, spans: SpanTable) -> tuple[np.ndarray, np.ndarray]:
        """Return morphemes back and on from each span to the nearest match, (T, M), in its sentence: (T, C), at most _FAR."""
        n = match.shape[1]
        previous = np.maximum.accumulate(np.where(match, np.arange(n), -1), axis=1)
        following = np.minimum.accumulate(np.where(match, np.arange(n), n)[:, ::-1], axis=1)[:, ::-1]
        previous = np.pad(previous, ((0, 0), (1, 0)), constant_values=-1)[:, spans.first]
        following = np.pad(following, ((0, 0), (0, 1)), constant_values=n)[:, spans.last + 1]
        left = np.where(previous >= self.bounds[spans.sentence, 0], spans.first - previous, _FAR)
        right = np.where(following < self.bounds[spans.sentence, 1], following - spans.last, _FAR)
        return np.minimum(left, _FAR), np.minimum(right, _FAR)

    def of_head(self, question: AnalyzedQuestion, spans: SpanTable) -> dict[str, np.ndarray]:
        """Tell where the noun that names the answer's kind, and the unit counted, stand to each span."""
        head, unit = question.head, question.unit
        forms = [form.lower() for form in self.forms]
        is_head = np.array([f == head or (len(f) > 1 and head.endswith(f)) for f in forms]) & bool(head)
        left, right = self.distances(is_head[None], spans)
        heads = np.concatenate([[0], np.cumsum(is_head)])
        units = np.concatenate([[0], np.cumsum([form == unit for form in forms])])
        return {
            "head_ends": is_head[spans.last],
            "head_distance": np.minimum(left, right)[0],
            "head_in_sentence": heads[self.bounds[spans.sentence, 1]] > heads[self.bounds[spans.sentence, 0]],
            "unit_inside": units[spans.last + 1] > units[spans.first],
        }

    def of_side(self, question: AnalyzedQuestion, spans: SpanTable) -> dict[str, np.ndarray]:
        """Tell whether each span is the date of a beginning or an ending, and how near words of the asked side stand.

        ``side_distance`` looks both ways, ``side_right`` on from the span only; both less that to words of the other side.
        """
        side = question.side
        stand = self.range_side[spans.number]
        nowhere = np.zeros(len(spans.number))
        if not side:
            return {"side_asked": nowhere, "side_fits": nowhere, "side_distance": nowhere, "side_right": nowhere}
        masks = [np.array([[key in words for key in self.keys]]) for words in (BEGINNINGS, ENDINGS)]
        (own_left, own_right), (left, right) = (self.distances(masks[i], spans) for i in (side - 1, 2 - side))
        return {
            "side_asked": np.full(len(spans.number), side),
            "side_fits": np.where(stand == 0, 0, np.where(stand == side, 1, -1)),
            "side_distance": (np.minimum(own_left, own_right) - np.minimum(left, right))[0],
            "side_right": (own_right - right)[0],
        }
