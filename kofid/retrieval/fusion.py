"""One ranking from two: passages found by their terms or by vectors, each with both of its scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kofid.retrieval.modes import FusionMethod

Scores = npt.NDArray[np.float32]

# What dense scores weigh against sparse ones, by method. That of ``raw`` is the contest's (README).
_DENSE_WEIGHTS = {FusionMethod.MAX: 0.2, FusionMethod.MINMAX: 0.2, FusionMethod.RAW: 1.1, FusionMethod.RRF: 1.0}


@dataclass(frozen=True)
class Fusion:
    """How dense and sparse scores become one.

    ``max``: each over the question's largest; ``minmax``: each scaled to [0, 1] over the question's candidates; ``raw``: as
    they are; ``rrf``: 1 / (``rrf_k`` + rank) of each (Cormack et al. 2009). Then dense_weight x dense + sparse_weight x
    sparse. A ``dense_weight`` of None is the method's own.

    >>> Fusion(FusionMethod.RAW, dense_weight=0.5)(np.array([1, 2], np.float32), np.array([3, 0], np.float32)).tolist()
    [3.5, 1.0]
    """

    method: FusionMethod = FusionMethod.MAX
    dense_weight: float | None = None
    sparse_weight: float = 1.0
    rrf_k: int = 60

    def __call__(self, dense: Scores, sparse: Scores) -> Scores:
        """Return the scores of candidates from their dense and sparse ones, each (n,).

        A sparse score of 0 says that no term is shared: such a passage has no sparse rank.
        """
        if self.method == FusionMethod.MAX:
            dense, sparse = (scores / max(float(np.abs(scores).max(initial=0)), 1e-9) for scores in (dense, sparse))
        elif self.method == FusionMethod.MINMAX:
            dense, sparse = _unit_range(dense), _unit_range(sparse)
        elif self.method == FusionMethod.RRF:
            matches = sparse > 0
            dense = (1 / (self.rrf_k + _ranks(dense))).astype(np.float32)
            sparse = np.where(matches, 1 / (self.rrf_k + _ranks(sparse)), 0).astype(np.float32)
        weight = _DENSE_WEIGHTS[self.method] if self.dense_weight is None else self.dense_weight
        return (weight * dense + self.sparse_weight * sparse).astype(np.float32)


def _ranks(scores: Scores) -> npt.NDArray[np.int64]:
    """Return each score's rank, from 1; equal ones in the order given."""
    ranks = np.empty(len(scores), dtype=np.int64)
    ranks[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    return ranks


def _unit_range(scores: Scores) -> Scores:
    low, high = scores.min(initial=np.inf), scores.max(initial=-np.inf)
    if high <= low:
        return np.zeros_like(scores)
    scaled: Scores = (scores - low) / (high - low)
    return scaled
