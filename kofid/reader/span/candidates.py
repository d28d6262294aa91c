"""What the trees see of a candidate span in the light of a question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kofid.korean.questions import TYPE_CODES
from kofid.reader.span.features import STATIC_NAMES, UNITS, PreparedPassage
from kofid.reader.span.hit_context import WANTED_ERA, HitContext, SpanTable, bigrams, question_bigrams, wanted_date
from kofid.reader.span.lexicon import Lexicon
from kofid.reader.span.name_types import NameTypes
from kofid.reader.span.question import NUMBER_KIND, AnalyzedQuestion
from kofid.types import Hit

QUESTION_NAMES = (
    "ask", "kind", "has_unit", "n_terms", "idf_terms", "particle_asked", "date_asked", "hit_rank", "passage_weight",
    "bigrams_covered", "title_covered", "title_in_question", "passage_covered", "sentence_covered",
    "neighbours_covered", "before_covered", "after_covered", "sentence_share", "sentence_rank", "sentence_gap",
    "missing", "promise", "inside_covered", "inside_share", "near_3", "near_6", "near_12", "proximity",
    "left_distance", "right_distance", "top_distance", "second_distance", "verb_distance", "verb_right", "head_ends",
    "head_distance", "head_in_sentence", "unit_inside", "unit_same", "kind_score", "kind_known", "kind_of_last",
    "kind_of_before", "kind_of_after", "bigrams_in_sentence", "bigrams_left", "bigrams_right", "bigrams_inside",
    "n_hits", "n_mentions", "better_elsewhere", "surface_in_question",
    "side_asked", "side_fits", "side_distance", "side_right", "type_fits",
)  # fmt: skip
NAMES = (*STATIC_NAMES, *QUESTION_NAMES)
_N_WORDS = STATIC_NAMES.index("n_words")
_DATE_UNITS = (UNITS["년"], UNITS["월"])
# By what date is asked (see hit_context.wanted_date), the forms (see date_form) that say it, and those that nearly do.
_FORMS = {1: (1,), 2: (4, 6, 7), 4: (2,)}
_LOOSE = {1: (3, 7), 2: (2, 3), 4: (3, 6)}


@dataclass(frozen=True, slots=True)
class Candidates:
    """The C candidates of a question: which hit and which of its spans, (C,) each; features (C, F), float32.

    The columns of ``features`` are NAMES.
    """

    hit: np.ndarray
    span: np.ndarray
    features: np.ndarray


def candidate_features(
    question: AnalyzedQuestion,
    hits: Sequence[Hit],
    prepared: Sequence[PreparedPassage],
    lexicon: Lexicon,
    name_types: NameTypes,
) -> Candidates:
    """Return the candidates in the most promising sentences of ``hits`` with their features.

    The scores of the hits are not looked at, only their order: retrievers differ in what their scores mean.
    """
    context = HitContext(question, hits, prepared, lexicon)
    numbers = context.promising_spans()
    spans = SpanTable.gather(context, prepared, numbers)
    static = np.concatenate([p.static for p in prepared])[numbers]
    groups = (
        context.of_question(question),
        context.of_hit(question, hits, spans),
        context.of_sentence(spans),
        context.of_terms(question, spans),
        context.of_head(question, spans),
        context.of_side(question, spans),
        _of_kind(question, context, prepared, spans, name_types),
        _of_bigrams(question, context, prepared, spans),
        _of_mentions(question, context, spans),
        {"type_fits": _type_fits(question, static)},
    )
    columns = {name: column for group in groups for name, column in group.items()}
    of_question = np.empty((len(numbers), len(QUESTION_NAMES)), dtype=np.float32)
    for at, name in enumerate(QUESTION_NAMES):
        of_question[:, at] = columns[name]
    span = numbers - context.span_base[spans.hit]
    return Candidates(spans.hit, span, np.concatenate([static, of_question], axis=1))


def _of_kind(
    question: AnalyzedQuestion,
    context: HitContext,
    prepared: Sequence[PreparedPassage],
    spans: SpanTable,
    name_types: NameTypes,
) -> dict[str, np.ndarray]:
    """Tell how well each span, as a name, and the nouns at its end and beside it, as kinds, fit the kind asked for."""
    units = np.concatenate([p.static[:, STATIC_NAMES.index("unit_kind")] for p in prepared])[spans.number]
    noun = question.head or {TYPE_CODES["who"]: "누구", TYPE_CODES["where"]: "어디"}.get(question.ask, "")
    vector = name_types.kind_vector(noun) if noun else None
    if vector is None:
        scores, likeness = np.zeros(len(spans.number)), np.zeros(len(context.forms) + 2)
    else:
        scores = np.concatenate([p.name_vectors for p in prepared])[spans.number] @ vector
        likeness = np.concatenate([[0.0], name_types.likeness(vector, context.forms), [0.0]])
    return {
        "kind_score": scores,
        "kind_known": np.full(len(scores), vector is not None),
        "kind_of_last": likeness[spans.last + 1],
        "kind_of_before": likeness[spans.first],
        "kind_of_after": likeness[spans.last + 2],
        "unit_same": units == UNITS.get(question.unit, -1),
    }


def _type_fits(question: AnalyzedQuestion, static: np.ndarray) -> np.ndarray:
    """Return, (C,), 1 where a span is the date or the number asked for, -1 where it is not or where neither is asked for.

    A date that says less or more than was asked (a day for a year) gets something between; 0 is where nothing can be told.
    """
    form, unit, digit = (static[:, STATIC_NAMES.index(name)] for name in ("date_form", "unit_kind", "has_digit"))
    is_date = (form > 0) | np.isin(unit, _DATE_UNITS)
    is_number = (digit > 0) & ~is_date
    date = wanted_date(question)
    if date:
        exact = _FORMS.get(date)
        fits = np.ones(len(form)) if exact is None else np.isin(form, exact) + 0.5 * np.isin(form, _LOOSE[date])
        return np.asarray(np.where(is_date, fits, 0.0 if date == WANTED_ERA else -1.0))
    if question.kind == NUMBER_KIND:
        return np.asarray(np.where(is_number & ((unit > 0) | (static[:, _N_WORDS] == 1)), 1.0, -1.0))
    if question.kind:
        return np.asarray(np.where(is_date | is_number, -1.0, 0.0))
    return np.zeros(len(form))


def _of_bigrams(
    question: AnalyzedQuestion, context: HitContext, prepared: Sequence[PreparedPassage], spans: SpanTable
) -> dict[str, np.ndarray]:
    """Count the question's character bigrams in, around and about each span: they see through cut-up words."""
    text = "\n".join(p.view.passage.text for p in prepared) + "\n "
    total = np.concatenate([[0], np.cumsum(np.isin(bigrams(text), question_bigrams(question.text)))])
    starts = [p.view.starts + offset for p, offset in zip(prepared, context.char_base, strict=False)]
    character = np.concatenate([*starts, [len(total) - 1]])
    sentence_start = character[context.bounds[:, 0]][spans.sentence]
    sentence_end = character[np.maximum(context.bounds[:, 1] - 1, 0)][spans.sentence]

    def count(start: np.ndarray, end: np.ndarray) -> np.ndarray:
        return np.asarray(total[np.clip(end, 0, len(total) - 1)] - total[np.clip(start, 0, len(total) - 1)])

    return {
        "bigrams_in_sentence": count(sentence_start, sentence_end),
        "bigrams_left": count(np.maximum(spans.start - 20, sentence_start), spans.start - 1),
        "bigrams_right": count(spans.end, np.minimum(spans.end + 20, sentence_end)),
        "bigrams_inside": count(spans.start, spans.end - 1) / np.maximum(spans.end - spans.start - 1, 1),
    }


def _of_mentions(question: AnalyzedQuestion, context: HitContext, spans: SpanTable) -> dict[str, np.ndarray]:
    """Count where else the same text stands, and whether the question says it itself."""
    names, which, counts = np.unique(np.array(spans.surfaces), return_inverse=True, return_counts=True)
    promise = context.promise[spans.sentence]
    best = np.full(len(names), -np.inf)
    np.maximum.at(best, which, promise)
    pairs = np.unique(which * len(context.span_base) + spans.hit)
    hits = np.bincount(pairs // len(context.span_base), minlength=len(names))
    compact = question.text.replace(" ", "").lower()
    said = np.array([name.lower() in compact for name in names.tolist()])
    return {
        "n_mentions": counts[which],
        "n_hits": hits[which],
        "better_elsewhere": best[which] - promise,
        "surface_in_question": said[which],
    }
