"""Passage vectors in shards that an interruption does not lose, encoded by one process or by many."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kofid.language import say
from kofid.retrieval.dense.base import refuse_infinite
from kofid.types import Progress

if TYPE_CHECKING:
    from kofid.retrieval.dense.base import Encoder, Vectors
    from kofid.retrieval.sparse.passages import Passages

# Passages whose vectors are one file: what an interruption may cost.
SHARD = 16_384
_BATCH = 1_024


def shard_size(n_passages: int, n_processes: int) -> int:
    """Return how many passages make a shard: few enough that each of several processes has some.

    >>> shard_size(1_000_000, 4), shard_size(10_000, 4), shard_size(10_000, 1)
    (16384, 2500, 16384)
    """
    return SHARD if n_processes == 1 else min(SHARD, ceil(n_passages / n_processes))


@dataclass(frozen=True)
class VectorShards:
    """The shards of ``n_passages`` passages' vectors, ``size`` to a file of ``folder``."""

    folder: Path
    n_passages: int
    size: int

    def __len__(self) -> int:
        return ceil(self.n_passages / self.size)

    @property
    def is_complete(self) -> bool:
        """Whether all files are there."""
        return all(self._file(number).is_file() for number in range(len(self)))

    def bounds(self, number: int) -> tuple[int, int]:
        """Return the first passage of a shard and the one after its last."""
        return number * self.size, min((number + 1) * self.size, self.n_passages)

    def encode(self, number: int, encoder: Encoder, passages: Passages, on_batch: Callable[[int], None]) -> None:
        """Write the vectors of one shard's passages, unless they are there: a file is there whole or not at all.

        ``on_batch`` is told how many passages were encoded. Raises InputError for NaN and infinity.
        """
        start, end = self.bounds(number)
        if self._file(number).is_file():
            on_batch(end - start)
            return
        vectors = np.empty((end - start, encoder.dimension), dtype=np.float32)
        for first in range(start, end, _BATCH):
            batch = [passages[i] for i in range(first, min(first + _BATCH, end))]
            vectors[first - start : first - start + len(batch)] = encoder.encode_passages(batch)
            on_batch(len(batch))
        refuse_infinite(vectors)
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = self._file(number).with_suffix(f".{os.getpid()}")
        with unfinished.open("wb") as file:
            np.save(file, vectors, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self._file(number))

    def read(self) -> Iterator[Vectors]:
        """Yield the vectors of all shards in order."""
        for number in range(len(self)):
            yield np.load(self._file(number), mmap_mode="r", allow_pickle=False)

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:05}.npy"


def encode_share(
    shards: VectorShards, encoder: Encoder, passages: Passages, share: tuple[int, int], progress: Progress
) -> None:
    """Encode one process's share (i, n) of the shards: every n-th from the i-th, from 0."""
    numbers = range(len(shards))[share[0] :: share[1]]
    n_passages = sum(end - start for start, end in map(shards.bounds, numbers))
    counted = iter(progress(range(n_passages), say("패시지 벡터", "passage vectors"), n_passages))

    def count(n: int) -> None:
        for _ in islice(counted, n):
            pass

    for number in numbers:
        shards.encode(number, encoder, passages, count)
    next(counted, None)  # the bar ends


def merge_shards(shards: VectorShards, path: Path, dimension: int, faiss: str) -> tuple[str, float | None]:
    """Write one faiss file of all shards; return its factory string and its recall@20, None where the search is exact."""
    from kofid.retrieval.dense.faiss_index import DenseIndex, choose_factory, recall_against_flat

    factory = choose_factory(faiss, shards.n_passages)
    DenseIndex.build(shards.read(), dimension, factory).save(path)
    if factory == "Flat":
        return factory, None
    return factory, round(recall_against_flat(DenseIndex.load(path), shards.read(), dimension), 4)
