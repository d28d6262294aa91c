"""Exact search by torch: all vectors on an accelerator, one product a question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from kofid.retrieval.dense.base import Vectors
    from kofid.retrieval.dense.faiss_index import DenseIndex

_AT_A_TIME = 65_536


class TorchIndex:
    """The vectors of a ``DenseIndex`` on a device, in 32 bits; searched exactly whatever its kind."""

    def __init__(self, index: DenseIndex, device: torch.device) -> None:
        """Copy the vectors; raises ``torch.OutOfMemoryError`` where the device cannot hold them."""
        parts = (
            index.vectors(start, min(start + _AT_A_TIME, len(index))) for start in range(0, len(index), _AT_A_TIME)
        )
        self._vectors = torch.cat([torch.from_numpy(part).to(device) for part in parts])

    def __len__(self) -> int:
        return len(self._vectors)

    def search(self, vectors: Vectors, k: int) -> list[list[tuple[int, float]]]:
        """Return, for each question vector, (position, inner product) of the best ``k``, best first."""
        with torch.inference_mode():
            scores = torch.from_numpy(np.ascontiguousarray(vectors)).to(self._vectors.device) @ self._vectors.T
            best, places = scores.topk(min(k, len(self)))
        rows = zip(places.tolist(), best.tolist(), strict=True)
        return [list(zip(positions, values, strict=True)) for positions, values in rows]

    def score_some(self, vector: Vectors, positions: Sequence[int]) -> Vectors:
        """Return inner products with the passages at ``positions``, shape (len(positions),)."""
        with torch.inference_mode():
            rows = self._vectors[torch.tensor(list(positions), dtype=torch.long, device=self._vectors.device)]
            scores: Vectors = (rows @ torch.from_numpy(vector).to(rows.device)).cpu().numpy()
        return scores
