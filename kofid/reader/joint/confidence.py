"""How the joint reader weighs what it sees, and how likely its answer is right."""

from __future__ import annotations

import sys
from dataclasses import asdict, astuple, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Weights:
    """How what is seen adds up.

    A passage's relevance is that of its best window, a logit, and ``search`` times its share of the best score of the search. A
    span's score is its logits and ``relevance`` times the relevance of its window and passage.
    """

    relevance: float = 1.0
    search: float = 0.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """Logistic regression from two marks of an answer to the chance that it is right.

    ``share``: the logarithm of the answer's share in the softmax over all distinct answers; ``relevance``: the logit that its
    window answers the question.
    """

    intercept: float = 0.0
    share: float = 1.0
    relevance: float = 0.5

    def confidence(self, marks: np.ndarray) -> np.ndarray:
        """Return the confidences, (n,), of answers by their ``marks``, (n, 2)."""
        logits = self.intercept + marks @ np.array([self.share, self.relevance])
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits, -30.0, 30.0))))


# What says that these settings, and the weights beside them, are to be read as this module reads them.
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Settings:
    """What a joint reader keeps beside its weights, in its manifest."""

    weights: Weights = Weights()
    calibration: Calibration = Calibration()

    def to_json(self) -> dict[str, Any]:
        """Return what ``parse`` takes."""
        return {"format_version": FORMAT_VERSION, **asdict(self)}

    @classmethod
    def parse(cls, stored: dict[str, Any]) -> Settings:
        """Return the settings that a manifest holds; raise KeyError, TypeError or ValueError for what are none.

        >>> Settings.parse(Settings(Weights(search=4.0)).to_json()).weights.search
        4.0
        """
        settings = cls(Weights(**stored["weights"]), Calibration(**stored["calibration"]))
        if not all(abs(value) <= sys.float_info.max for part in astuple(settings) for value in part):
            raise ValueError(f"not finite: {stored}")
        return settings
