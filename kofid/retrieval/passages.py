"""The passages of an index on disk, read one by one."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from kofid.types import Passage


class PassageStore:
    """Passages by position or id: JSON lines, mapped from disk, with the offset of each line."""

    def __init__(self, directory: Path) -> None:
        self._offsets = np.load(directory / "passages.offsets.npy", mmap_mode="r", allow_pickle=False)
        with (directory / "passages.jsonl").open("rb") as file:
            self._lines = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    @staticmethod
    def write(directory: Path, passages: Iterable[Passage]) -> Iterator[Passage]:
        """Write passages as they pass through; the store is complete when the iterator is exhausted."""
        offsets = [0]
        with (directory / "passages.jsonl").open("wb") as file:
            for passage in passages:
                entry = {"id": passage.id, "title": passage.title, "text": passage.text}
                offsets.append(offsets[-1] + file.write(json.dumps(entry, ensure_ascii=False).encode() + b"\n"))
                yield passage
        np.save(directory / "passages.offsets.npy", np.asarray(offsets, dtype=np.int64))

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, position: int) -> Passage:
        start, end = self._offsets[position], self._offsets[position + 1]
        entry = json.loads(self._lines[start:end])
        return Passage(entry["id"], entry["title"], entry["text"])

    def __iter__(self) -> Iterator[Passage]:
        return (self[position] for position in range(len(self)))

    @cached_property
    def positions(self) -> dict[str, int]:
        """Position of each passage id."""
        return {passage.id: position for position, passage in enumerate(self)}
