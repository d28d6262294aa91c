"""Question -> hits -> reranked hits -> answers: where retrieval and readers meet."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from kofid.korean.text import clean, sentence_spans
from kofid.reader.confidence import SURE
from kofid.retrieval.correct import forgiving_search
from kofid.retrieval.index import Index
from kofid.types import Answer, Hit, Passage, Reader, Search


@dataclass(frozen=True)
class Reply:
    """What comes back for a question: candidate answers and the passages read, both best first.

    ``corrected`` is the question as it was searched for and read, where it was spelled wrongly; ``reading_seconds`` is
    what the reader took, ``seconds`` all of it.
    """

    question: str
    answers: list[Answer]
    hits: list[Hit]
    corrected: str | None = None
    reading_seconds: float = 0.0
    seconds: float = 0.0

    @property
    def answer(self) -> Answer | None:
        """The best answer."""
        return self.answers[0] if self.answers else None

    @property
    def sure(self) -> bool:
        """Whether the best answer's confidence reaches the threshold."""
        return bool(self.answers) and self.answers[0].confidence >= SURE

    @property
    def evidence(self) -> list[Hit]:
        """The hits, those that the reader cites first, or the answer's own passage."""
        if self.answer is None or self.answer.passage is None:
            return self.hits
        first = self.answer.cited or (self.answer.passage.id,)
        places = {passage_id: place for place, passage_id in enumerate(first)}
        return sorted(self.hits, key=lambda hit: places.get(hit.passage.id, len(first)))


class NoReader:
    """Gives no answers: for those who want the passages alone."""

    def read(self, question: str, hits: Sequence[Hit]) -> list[Answer]:
        """Return nothing."""
        return []


@dataclass(frozen=True)
class Pipeline:
    """An index and a reader. ``search`` is how passages are found; ``correct``: misspelled questions set right."""

    index: Index
    reader: Reader
    search: Search
    k: int = 10
    correct: bool = True

    def ask(self, question: str) -> Reply:
        """Return answers to ``question``; no hits and no answers when nothing in it is known to the index."""
        begun = time.perf_counter()
        question = clean(question).strip()
        if self.correct:
            hits, corrected = forgiving_search(self.index, self.search, question, self.k)
        else:
            hits, corrected = self.search(question, self.k), None
        start = time.perf_counter()
        answers = self.reader.read(corrected or question, hits)
        end = time.perf_counter()
        return Reply(question, answers, hits, corrected, end - start, end - begun)

    def likely_sentence(self, question: str, passage: Passage) -> tuple[int, int]:
        """Return character offsets of the passage's sentence that shares most terms with the question."""
        asked = self.index.terms(question)
        spans = sentence_spans(passage.text) or [(0, len(passage.text))]
        overlaps = [len(asked & self.index.terms(passage.text[a:b])) for a, b in spans]
        return spans[overlaps.index(max(overlaps))]

    def sentence_at(self, passage: Passage, position: int) -> tuple[int, int]:
        """Return character offsets of the passage's sentence that holds ``position``."""
        spans = sentence_spans(passage.text)
        return next(((a, b) for a, b in spans if a <= position < b), (0, len(passage.text)))
