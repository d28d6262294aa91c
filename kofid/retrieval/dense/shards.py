"""Passage vectors in shards that an interruption does not lose."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kofid.errors import InputError
from kofid.language import say

if TYPE_CHECKING:
    from kofid.retrieval.dense.base import Encoder, Vectors
    from kofid.retrieval.sparse.passages import Passages


# Passages whose vectors are one file: what an interruption may cost.
SHARD = 16_384


_BATCH = 1_024


def n_shards(n_passages: int) -> int:
    """Return how many files the vectors of so many passages take."""
    return -(-n_passages // SHARD)


def encode_shard(
    encoder: Encoder, passages: Passages, number: int, folder: Path, on_batch: Callable[[int], None]
) -> None:
    """Write the vectors of one shard's passages, unless they are there: a file is there whole or not at all.

    ``on_batch`` is told how many passages were encoded. Raises InputError for NaN and infinity.
    """
    path = shard_file(folder, number)
    start, end = number * SHARD, min((number + 1) * SHARD, len(passages))
    if path.is_file():
        on_batch(end - start)
        return
    vectors = np.empty((end - start, encoder.dimension), dtype=np.float32)
    for first in range(start, end, _BATCH):
        batch = [passages[i] for i in range(first, min(first + _BATCH, end))]
        vectors[first - start : first - start + len(batch)] = encoder.encode_passages(batch)
        on_batch(len(batch))
    refuse_infinite(vectors)
    folder.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}")
    with new.open("wb") as file:
        np.save(file, vectors, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def read_shards(folder: Path, n: int) -> Iterator[Vectors]:
    """Yield the vectors of all shards in order."""
    for number in range(n):
        yield np.load(shard_file(folder, number), mmap_mode="r", allow_pickle=False)


def shard_file(folder: Path, number: int) -> Path:
    """Return the file of a shard."""
    return folder / f"{number:05}.npy"


def refuse_infinite(vectors: Vectors) -> None:
    """Raise InputError where a number is NaN or infinite."""
    if not np.isfinite(vectors).all():
        raise InputError(
            say(
                "인코더가 NaN이나 무한대를 냈습니다. 모델을 확인하세요.",
                "the encoder gave NaN or infinity; check the model",
            )
        )
