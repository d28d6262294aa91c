"""From logits of starts and ends to spans of text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kofid.encoder.pieces import Pieces

# Pieces of the longest answer.
MAX_PIECES = 40
# Starts and ends of a window that are paired with each other.
_ENDS = 16


@dataclass(frozen=True, slots=True)
class Span:
    """Characters ``start`` to ``end`` of passage number ``passage``, and the logits of start and end together."""

    passage: int
    start: int
    end: int
    score: float


def best_spans(start: np.ndarray, end: np.ndarray, pieces: Pieces, passage: int, limit: int) -> list[Span]:
    """Return the ``limit`` best spans of a window, best first, by its pieces and their logits (n,) each.

    A span begins where a piece may begin one and ends, within MAX_PIECES, where one may end it.

    >>> five = np.arange(5, dtype=np.int32)
    >>> pieces = Pieces(five, five, five + 1, np.array([1, 1, 0, 1, 1], bool), np.array([1, 0, 1, 1, 1], bool))
    >>> best_spans(np.array([0, 2, 9, 1, 0.0]), np.array([0, 9, 3, 2, 0.0]), pieces, 0, 2)
    [Span(passage=0, start=1, end=3, score=5.0), Span(passage=0, start=1, end=4, score=4.0)]
    """
    firsts, lasts = np.flatnonzero(pieces.first), np.flatnonzero(pieces.last)
    firsts = firsts[np.argsort(-start[firsts], kind="stable")[:_ENDS]]
    lasts = lasts[np.argsort(-end[lasts], kind="stable")[:_ENDS]]
    lengths = lasts[None] - firsts[:, None]
    scores = np.where((lengths >= 0) & (lengths < MAX_PIECES), start[firsts][:, None] + end[lasts][None], -np.inf)
    spans = []
    for place in np.argsort(-scores, axis=None, kind="stable")[:limit].tolist():
        i, j = divmod(place, len(lasts))
        if np.isfinite(scores[i, j]):
            first, last = int(firsts[i]), int(lasts[j])
            spans.append(Span(passage, int(pieces.start[first]), int(pieces.end[last]), float(scores[i, j])))
    return spans
