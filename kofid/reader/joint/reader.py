"""The joint reader: answers, and orders passages, by one pass of a pretrained encoder over question and passage together."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final

import numpy as np

from kofid.encoder.session import WEIGHTS, Encoder, read_weights
from kofid.errors import CorruptArtifactError
from kofid.korean.answer_match import normalize_robust
from kofid.korean.kiwi import analyze, analyze_many
from kofid.language import say
from kofid.reader.joint.confidence import Settings, Weights
from kofid.reader.joint.spans import Span, best_spans
from kofid.reader.joint.windows import (
    PreparedPassage,
    Row,
    make_row,
    prepare_passage,
    prepare_question,
    promising_windows,
)
from kofid.types import Answer, Hit, Passage, Reading

# Windows that are read for a question, and spans that are kept of each.
MAX_WINDOWS, _SPANS = 24, 8
MAX_ANSWERS = 5
_CACHED_PASSAGES = 500
HEADS = ("span.weight", "span.bias", "relevance.weight", "relevance.bias")


@dataclass(frozen=True, slots=True)
class WindowReading:
    """What one window says to a question: its passage's number, how relevant it is (a logit), its best spans."""

    passage: int
    relevance: float
    spans: list[Span]


class PreparedPassages:
    """Passages prepared lately, by id and text, so that a passage met again costs nothing. Threads may share it."""

    def __init__(self, encoder: Encoder, capacity: int = _CACHED_PASSAGES) -> None:
        self._tokenizer: Final = encoder.tokenizer
        self._capacity: Final = capacity
        self._lock: Final = Lock()
        self._prepared: Final[OrderedDict[Passage, PreparedPassage]] = OrderedDict()

    def prepare(self, passages: Sequence[Passage]) -> list[PreparedPassage]:
        """Return the passages prepared, in order; those not here yet are analysed in one batch."""
        with self._lock:
            prepared = {p: self._prepared[p] for p in passages if p in self._prepared}
        new = [p for p in dict.fromkeys(passages) if p not in prepared]
        titles, texts = analyze_many([p.title for p in new]), analyze_many([p.text for p in new])
        for passage, title, text in zip(new, titles, texts, strict=True):
            prepared[passage] = prepare_passage(self._tokenizer, passage, title, text)
        with self._lock:
            self._prepared.update(prepared)
            for passage in prepared:
                self._prepared.move_to_end(passage)  # the oldest go first
            while len(self._prepared) > self._capacity:
                self._prepared.popitem(last=False)
        return [prepared[p] for p in passages]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A distinct answer: its best span, that span's score, and the marks that its confidence comes from (see Calibration)."""

    span: Span
    text: str
    score: float
    marks: tuple[float, float]


class JointReader:
    """Reads with an encoder that ``kofid.training.joint`` trained; never changes, several threads may ask it at once."""

    def __init__(
        self, encoder: Encoder, heads: dict[str, np.ndarray], settings: Settings, *, max_windows: int = MAX_WINDOWS
    ) -> None:
        self._encoder: Final = encoder
        self._heads: Final = heads
        self._settings: Final = settings
        self._max_windows: Final = max_windows
        self._passages: Final = PreparedPassages(encoder)

    @classmethod
    def load(cls, directory: Path, settings: Settings, *, max_windows: int = MAX_WINDOWS) -> JointReader:
        """Open a folder that ``kofid.training.joint`` wrote, to read at most ``max_windows`` of a question's windows.

        Raises CorruptArtifactError.
        """
        encoder = Encoder.load(directory)
        weights = read_weights(directory / WEIGHTS)
        hidden = encoder.hidden
        shapes = dict(zip(HEADS, [(2, hidden), (2,), (1, hidden), (1,)], strict=True))
        wrong = [name for name, shape in shapes.items() if name not in weights or weights[name].shape != shape]
        if wrong:
            what = f"{directory / WEIGHTS}: {', '.join(wrong)}"
            raise CorruptArtifactError(say(f"{what}이(가) 없거나 맞지 않습니다", f"{what} missing or of a wrong shape"))
        return cls(encoder, {name: weights[name] for name in HEADS}, settings, max_windows=max_windows)

    def read(self, question: str, hits: Sequence[Hit]) -> list[Answer]:
        """Return at most 5 distinct answers, best first, with their places in the passages."""
        return self.read_and_rank(question, hits).answers

    def read_and_rank(self, question: str, hits: Sequence[Hit]) -> Reading:
        """Return the answers, and the hits in the order of how well each, in the reader's eyes, answers the question."""
        passages = [hit.passage for hit in hits]
        windows = self.read_windows(question, passages)
        best = distinct_answers(windows, hits, self._settings)[:MAX_ANSWERS]
        marks = np.array([candidate.marks for candidate in best]).reshape(-1, 2)
        answers = [
            Answer(
                candidate.text, confidence, passages[candidate.span.passage], candidate.span.start, candidate.span.end
            )
            for candidate, confidence in zip(best, self._settings.calibration.confidence(marks).tolist(), strict=True)
        ]
        return Reading(answers, reordered(windows, hits, self._settings.weights))

    def prepare(self, passages: Sequence[Passage]) -> list[PreparedPassage]:
        """Return passages ready to be read; they stay so for a while."""
        return self._passages.prepare(passages)

    def read_windows(self, question: str, passages: Sequence[Passage]) -> list[WindowReading]:
        """Return what each window that is read says, in the order of the passages."""
        prepared = self.prepare(passages)
        prepared_question = prepare_question(self._encoder.tokenizer, question, analyze(question))
        windows = promising_windows(prepared_question, prepared, self._max_windows)
        tokenizer = self._encoder.tokenizer
        rows = [
            (number, make_row(tokenizer, prepared_question, prepared[number], window)) for number, window in windows
        ]
        return self._encoder.map(lambda numbered: self._read_row(numbered[0], numbered[1], prepared), rows)

    def _read_row(self, number: int, row: Row, prepared: Sequence[PreparedPassage]) -> WindowReading:
        states = self._encoder.states(row.ids, row.types)
        relevance = states[0] @ self._heads["relevance.weight"][0] + self._heads["relevance.bias"][0]
        first, end = row.window
        inside = states[row.text : row.text + end - first]
        start_logits, end_logits = (inside @ self._heads["span.weight"].T + self._heads["span.bias"]).T
        pieces = prepared[number].pieces.cut(first, end)
        return WindowReading(number, float(relevance), best_spans(start_logits, end_logits, pieces, number, _SPANS))


def search_shares(hits: Sequence[Hit]) -> list[float]:
    """Return each hit's score as a share of the best one; where scores say nothing (none above 0), by falling rank.

    >>> a, b = Passage("a", "", ""), Passage("b", "", "")
    >>> search_shares([Hit(a, 8.0), Hit(b, 6.0)]), search_shares([Hit(a, 0.0), Hit(b, 0.0)])
    ([1.0, 0.75], [1.0, 0.5])
    """
    best = max((hit.score for hit in hits), default=0.0)
    if best <= 0:
        return [1 / rank for rank in range(1, len(hits) + 1)]
    return [max(hit.score, 0.0) / best for hit in hits]


def distinct_answers(windows: Sequence[WindowReading], hits: Sequence[Hit], settings: Settings) -> list[Candidate]:
    """Return the distinct answers of all windows, best first; two texts are one if normalize_robust says so."""
    weights, shares = settings.weights, search_shares(hits)
    best: dict[str, tuple[float, Span, WindowReading]] = {}
    for window in windows:
        relevance = window.relevance + weights.search * shares[window.passage]
        for span in window.spans:
            key = normalize_robust(hits[span.passage].passage.text[span.start : span.end])
            score = span.score + weights.relevance * relevance
            if key and (key not in best or score > best[key][0]):
                best[key] = score, span, window
    if not best:
        return []
    total = float(np.logaddexp.reduce([score for score, _, _ in best.values()]))
    return [
        Candidate(
            span, hits[span.passage].passage.text[span.start : span.end], score, (score - total, window.relevance)
        )
        for score, span, window in sorted(best.values(), key=lambda entry: -entry[0])
    ]


def reordered(windows: Sequence[WindowReading], hits: Sequence[Hit], weights: Weights) -> list[Hit]:
    """Return hits by their relevance (see Weights); those of which no window was read come last."""
    shares = search_shares(hits)
    best: dict[int, float] = {}
    for window in windows:
        score = window.relevance + weights.search * shares[window.passage]
        best[window.passage] = max(best.get(window.passage, score), score)
    lowest = min(best.values(), default=0.0)
    scores = [best.get(number, lowest - 1 - number) for number in range(len(hits))]
    order = sorted(range(len(hits)), key=lambda number: -scores[number])
    return [Hit(hits[number].passage, scores[number], "joint") for number in order]
