"""What a fusion reader is told, and nothing heavy."""

from __future__ import annotations

from enum import StrEnum


class ScoreMethod(StrEnum):
    """How a passage's score is made of cross-attention; the first is that of Izacard and Grave 2021b. See ``score_passages``."""

    FIRST = "first"
    ANSWER = "answer"
    MAX = "max"
    NORM = "norm"
