"""Logistic regression by Newton's method, for confidences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def fit_logistic(inputs: np.ndarray, right: Sequence[bool], ridge: float = 1.0) -> list[float]:
    """Return intercept and weights, none below 0, of the chance that an answer is right.

    ``inputs`` (n, n_inputs), each such that more of it must never mean a lower confidence; ``right`` (n,). The weights'
    squares cost ``ridge`` / 2.
    """
    table = np.concatenate([np.ones((len(right), 1)), inputs], axis=1)
    target = np.array(right, dtype=np.float64)
    weights = np.zeros(table.shape[1])
    penalty = np.diag([1e-6, *[ridge] * inputs.shape[1]])
    for _ in range(50):
        chance = 1.0 / (1.0 + np.exp(-np.clip(table @ weights, -30.0, 30.0)))
        slope = table.T @ (target - chance) - penalty @ weights
        bend = (table * (chance * (1.0 - chance))[:, None]).T @ table + penalty
        weights = weights + np.linalg.solve(bend, slope)
    return [float(weights[0]), *(max(float(weight), 0.0) for weight in weights[1:])]
