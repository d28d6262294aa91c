"""One ranking from two: weighted sums of dense and sparse scores over all passages."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float32]

DENSE_WEIGHT = 1.1
SPARSE_WEIGHT = 1.0


def cross(
    dense: Scores,
    sparse: Scores,
    *,
    dense_weight: float = DENSE_WEIGHT,
    sparse_weight: float = SPARSE_WEIGHT,
    normalize: bool = False,
) -> Scores:
    """Return dense_weight x dense + sparse_weight x sparse, each of shape (n_passages,).

    With ``normalize`` each list is first scaled to [0, 1] over the passages of this question, since dot products and
    BM25 have scales of their own.
    """
    if normalize:
        dense, sparse = _unit_range(dense), _unit_range(sparse)
    return (dense_weight * dense + sparse_weight * sparse).astype(np.float32)


def _unit_range(scores: Scores) -> Scores:
    low, high = scores.min(), scores.max()
    if high == low:
        return np.zeros_like(scores)
    scaled: Scores = (scores - low) / (high - low)
    return scaled
