"""The words of the trade: passages, questions, hits, answers, and what works on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of text that can be evidence. A passage cut from an article has the id ``ARTICLE#n``."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question, with its known answers and the ids of its gold passages or articles (both may be empty)."""

    text: str
    id: str = ""
    answers: tuple[str, ...] = ()
    positive_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage found for a question. ``score``: higher is better; ``source`` names what gave the score."""

    passage: Passage
    score: float
    source: str = "sparse"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with its evidence.

    ``confidence`` is the reader's estimate of being right, in [0, 1]. ``start`` and ``end`` are character
    offsets of the answer in ``passage.text``; they are ``None`` where the answer is not a span of it.
    ``passage`` is ``None`` only when nothing was found. ``cited`` are the ids of the passages that the reader itself
    names as its sources, where it was trained to.
    """

    text: str
    confidence: float
    passage: Passage | None = None
    start: int | None = None
    end: int | None = None
    cited: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Example:
    """A question with passages to read: one entry of the FiD/DPR JSON.

    ``target`` is the answer to learn; ``corrected`` the question as it was searched for, where it was spelled wrongly.
    """

    question: Question
    hits: tuple[Hit, ...] = field(default=())
    target: str | None = None
    corrected: str | None = None


class Retriever(Protocol):
    """Finds passages for a question."""

    def search(self, question: str, k: int) -> list[Hit]:
        """Return at most ``k`` hits, best first."""
        ...


class Reranker(Protocol):
    """Orders hits anew."""

    def rerank(self, question: str, hits: Sequence[Hit]) -> list[Hit]:
        """Return the same passages with new scores, best first."""
        ...


class Reader(Protocol):
    """Answers a question from passages."""

    def read(self, question: str, hits: Sequence[Hit]) -> list[Answer]:
        """Return candidate answers, best first; empty when there is nothing to read."""
        ...


class Encoder(Protocol):
    """Maps text to vectors."""

    dimension: int

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return float32 vectors of shape (len(texts), dimension)."""
        ...
