"""Confidences fitted to answers that are known to be right or wrong: logistic regression with weights of 0 or more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from kofid.korean.answer_match import has_answer, robust_match
from kofid.reader.confidence import Confidence, log_odds
from kofid.reader.fid.reader import FiDReader
from kofid.types import Example


def fit_logistic(inputs: np.ndarray, right: Sequence[bool], ridge: float = 1.0) -> list[float]:
    """Return intercept and weights, none below 0, of the probability that an answer is right.

    ``inputs`` (n, n_inputs), each such that more of it must never mean a lower confidence; ``right`` (n,). The weights'
    squares cost ``ridge`` / 2. Where the best weights of all are not allowed, the best allowed ones are those of some of
    the inputs alone, the others having weight 0: of all fits to some inputs that are allowed, the likeliest.
    """
    target = np.array(right, dtype=np.float64)
    n_inputs = inputs.shape[1]
    best: tuple[float, list[float]] | None = None
    for size in range(n_inputs, -1, -1):
        for columns in combinations(range(n_inputs), size):
            cost, intercept, weights = _fit(inputs[:, columns], target, ridge)
            if (weights < 0).any():
                continue
            if size == n_inputs:
                return [intercept, *weights.tolist()]
            if best is None or cost < best[0]:
                spread = np.zeros(n_inputs)
                spread[list(columns)] = weights
                best = cost, [intercept, *spread.tolist()]
    assert best is not None  # no inputs at all are always allowed
    return best[1]


def _fit(inputs: np.ndarray, target: np.ndarray, ridge: float) -> tuple[float, float, np.ndarray]:
    """Return the cost of the best intercept and weights, whatever their signs, and these: Newton's method."""
    table = np.concatenate([np.ones((len(target), 1)), inputs], axis=1)
    weights = np.zeros(table.shape[1])
    penalty = np.diag([1e-6, *[ridge] * inputs.shape[1]])
    for _ in range(50):
        probability = 1.0 / (1.0 + np.exp(-np.clip(table @ weights, -30.0, 30.0)))
        gradient = table.T @ (target - probability) - penalty @ weights
        curvature = (table * (probability * (1.0 - probability))[:, None]).T @ table + penalty
        weights = weights + np.linalg.solve(curvature, gradient)
    log_odds_right = table @ weights
    cost = float(np.logaddexp(0.0, log_odds_right).sum() - target @ log_odds_right + weights @ penalty @ weights / 2)
    return cost, float(weights[0]), weights[1:]


def calibrate(reader: FiDReader, examples: Sequence[Example], n_context: int) -> Confidence:
    """Return the confidence fitted to a reader's answers to ``examples``; right are those that match robustly."""
    plain = reader.with_options(n_context=n_context, uncalibrated=True)
    inputs: list[tuple[float, bool]] = []
    right: list[bool] = []
    for example in examples:
        for answer in plain.read(example.question.text, example.hits)[:1]:
            stands_in_passage = answer.passage is not None and has_answer(answer.passage.text, (answer.text,))
            inputs.append((log_odds(math.log(max(answer.confidence, 1e-300))), stands_in_passage))
            right.append(robust_match(answer.text, example.question.answers))
    return Confidence(*fit_logistic(np.array(inputs, dtype=np.float64).reshape(-1, 2), right))
