"""How the joint reader weighs what it sees, and how likely its answer is right."""

from __future__ import annotations

import sys
from dataclasses import asdict, astuple, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Weights:
    """What is added to a span's logits: so much of its window's relevance, less so much for each rank of its passage.

    ``rank_relevance`` is what a rank costs a passage's relevance when passages are put in a new order.
    """

    relevance: float = 1.0
    rank: float = 0.0
    rank_relevance: float = 0.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """Logistic regression from three marks of an answer to the chance that it is right.

    ``share``: the logarithm of the answer's share in the softmax over all distinct answers; ``relevance``: the logit that its
    window answers the question; ``rest``: that of all other windows, the highest of them (an answer that stands in two is surer).
    """

    intercept: float = 0.0
    share: float = 1.0
    relevance: float = 0.5
    rest: float = 0.0

    def confidence(self, marks: np.ndarray) -> np.ndarray:
        """Return the confidences, (n,), of answers by their ``marks``, (n, 3)."""
        logits = self.intercept + marks @ np.array([self.share, self.relevance, self.rest])
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

        >>> Settings.parse(Settings(Weights(rank=0.1)).to_json()).weights.rank
        0.1
        """
        settings = cls(Weights(**stored["weights"]), Calibration(**stored["calibration"]))
        if not all(abs(value) <= sys.float_info.max for part in astuple(settings) for value in part):
            raise ValueError(f"not finite: {stored}")
        return settings
