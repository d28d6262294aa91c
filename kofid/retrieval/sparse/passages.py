"""The passages of an index, by position and by id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from kofid.retrieval.sparse.segment import Segment
from kofid.types import Passage


class Passages:
    """All passages of some segments. Positions run through the segments; deleted passages keep theirs, unlisted."""

    def __init__(self, segments: Sequence[Segment], deleted: Sequence[npt.NDArray[np.uint16]]) -> None:
        self._segments = segments
        self._starts: list[int] = [0, *np.cumsum([len(segment) for segment in segments]).tolist()]
        self._deleted = [frozenset(positions.tolist()) for positions in deleted]

    def __len__(self) -> int:
        """Return how many passages there are, deleted ones not counted."""
        return self._starts[-1] - sum(map(len, self._deleted))

    @property
    def n_positions(self) -> int:
        """How many positions there are, those of deleted passages too."""
        return self._starts[-1]

    def __getitem__(self, position: int) -> Passage:
        segment, local = self.place(position)
        return self._segments[segment][local]

    def place(self, position: int) -> tuple[int, int]:
        """Return the segment of a position, and the position in it."""
        segment = int(np.searchsorted(self._starts, position, "right")) - 1
        return segment, position - self._starts[segment]

    def is_live(self, position: int) -> bool:
        """Tell whether the passage at a position has not been deleted."""
        segment, local = self.place(position)
        return local not in self._deleted[segment]

    def __iter__(self) -> Iterator[Passage]:
        for segment, deleted in zip(self._segments, self._deleted, strict=True):
            yield from (segment[i] for i in range(len(segment)) if i not in deleted)

    def find(self, passage_id: str) -> int | None:
        """Return the position of a passage, None when there is no such id."""
        places = (
            (start, segment.find(passage_id)) for start, segment in zip(self._starts, self._segments, strict=False)
        )
        return next((start + n for start, n in places if n is not None and self.is_live(start + n)), None)

    def of_article(self, article: str) -> Iterator[int]:
        """Yield the positions of the passages cut from an article (``ARTICLE#0``, ``ARTICLE#1``, ...), or of it itself."""
        for start, segment in zip(self._starts, self._segments, strict=False):
            yield from (start + n for n in segment.of_article(article) if self.is_live(start + n))
