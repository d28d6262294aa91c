"""How likely an answer of the span reader is right."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Calibration:
    """Logistic regression from an answer's score, and its share among the answers, to the chance of being right."""

    intercept: float = 0.0
    score: float = 1.0
    share: float = 1.0

    @classmethod
    def parse(cls, stored: dict[str, Any]) -> Calibration:
        """Return the calibration of a model's settings; raise TypeError or ValueError for what is none."""
        calibration = cls(**stored)
        if not all(math.isfinite(weight) for weight in astuple(calibration)):
            raise ValueError(f"not finite: {stored}")
        return calibration

    def confidence(self, scores: np.ndarray) -> np.ndarray:
        """Return the confidences, (n,), of one question's distinct answers by their scores (n,)."""
        logits = self.intercept + np.stack(calibration_inputs(scores), axis=1) @ np.array([self.score, self.share])
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits, -30.0, 30.0))))


def calibration_inputs(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each answer's score and the logarithm of its share in the softmax over all of them, (n,) each.

    >>> [round(float(share), 3) for share in calibration_inputs(np.zeros(2))[1]]  # log 1/2
    [-0.693, -0.693]
    """
    top = scores.max()
    return scores, scores - (top + np.log(np.exp(scores - top).sum()))
