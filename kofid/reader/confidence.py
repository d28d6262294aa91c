"""How likely a written answer is right."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import Any, Protocol

# At or above this confidence an answer is given as sure. On KorQuAD the span reader answers 40 % of the questions so.
SURE = 0.45


class ConfidenceOf(Protocol):
    """What makes an answer's confidence: a fitted ``Confidence``, or ``plain_confidence``."""

    def __call__(self, log_probability: float, *, stands_in_passage: bool) -> float:
        """Return the confidence, between 0 and 1, of an answer with this log probability."""
        ...


@dataclass(frozen=True)
class Confidence:
    """Logistic regression to the chance of being right, fitted on questions that the reader was not trained on.

    Its inputs are the log odds of the answer's probability (Platt 1999) and whether the answer stands in its passage as it
    is written; the weight of the second is called ``said``, as in the manifests of trained readers. The weights 0, 1 and 0
    leave the probability as it is.
    """

    intercept: float
    log_odds: float
    said: float

    @classmethod
    def parse(cls, stored: dict[str, Any]) -> Confidence:
        """Return the confidence of a model's settings; raise TypeError or ValueError for what is none.

        >>> Confidence.parse({"intercept": 0.5, "log_odds": 1.0, "said": 2.0}).said
        2.0
        """
        confidence = cls(**stored)
        if not all(math.isfinite(weight) for weight in astuple(confidence)):
            raise ValueError(f"not finite: {stored}")
        return confidence

    def __call__(self, log_probability: float, *, stands_in_passage: bool) -> float:
        """Return the chance, between 0 and 1.

        >>> round(Confidence(0.0, 1.0, 0.0)(math.log(0.8), stands_in_passage=True), 6)
        0.8
        """
        logit = self.intercept + self.log_odds * log_odds(log_probability) + self.said * stands_in_passage
        return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, logit))))


def log_odds(log_probability: float) -> float:
    """Return log(p / (1 - p)) of log(p), p at most 1 - 1e-6.

    >>> round(log_odds(math.log(0.8)), 6) == round(math.log(4), 6)
    True
    """
    at_most = min(log_probability, -1e-6)
    return at_most - math.log(-math.expm1(at_most))


def plain_confidence(log_probability: float, *, stands_in_passage: bool) -> float:
    """Return an answer's probability as the reader has it: the confidence where none was fitted."""
    return math.exp(log_probability)
