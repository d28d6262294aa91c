"""Logistic regression by Newton's method, for confidences."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from kofid.korean.answers import has_answer, robust_match
from kofid.reader.confidence import Confidence, log_odds
from kofid.reader.fid.reader import FiDReader
from kofid.types import Example


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


def calibrate(reader: FiDReader, examples: Sequence[Example], n_context: int) -> Confidence:
    """Return the confidence fitted to a reader's answers to ``examples``; right are those that match robustly."""
    import numpy as np

    plain = reader.with_options(n_context=n_context, plain=True)
    inputs: list[tuple[float, bool]] = []
    right: list[bool] = []
    for example in examples:
        for answer in plain.read(example.question.text, example.hits)[:1]:
            said = answer.passage is not None and has_answer(answer.passage.text, (answer.text,))
            inputs.append((log_odds(math.log(max(answer.confidence, 1e-300))), said))
            right.append(robust_match(answer.text, example.question.answers))
    return Confidence(*fit_logistic(np.array(inputs, dtype=np.float64).reshape(-1, 2), right))
