"""The words of the trade: passages, questions, hits, answers, and what works on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable


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


class Reader(Protocol):
    """Answers a question from passages."""

    def read(self, question: str, hits: Sequence[Hit]) -> list[Answer]:
        """Return candidate answers, best first; empty when there is nothing to read."""
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader that also ranks makes of hits: candidate answers, and the hits in its own order, both best first."""

    answers: list[Answer]
    hits: list[Hit]


@runtime_checkable
class RankingReader(Protocol):
    """Answers a question from passages and, by the same look at them, puts them in a new order."""

    def read_and_rank(self, question: str, hits: Sequence[Hit]) -> Reading:
        """Return answers and reordered hits."""
        ...


# Finds at most so many passages for a question, best first.
Search = Callable[[str, int], list[Hit]]
# Orders an example's passages anew, best first.
Rerank = Callable[[Example], list[Hit]]
# Passes items on and shows how far they are: (items, what is done with them, how many there are where that is known).
Progress = Callable[[Iterable[Any], str, int | None], Iterable[Any]]
# Is told of a training run's (step, steps in all, last loss).
OnStep = Callable[[int, int, float], None]


def silent(items: Iterable[Any], _what: str, _total: int | None = None) -> Iterable[Any]:
    """Show no progress."""
    return items
