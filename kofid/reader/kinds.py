"""The kinds of reader: their names, and nothing heavy."""

from __future__ import annotations

from enum import StrEnum


class ReaderKind(StrEnum):
    """The kinds of reader."""

    T5 = "t5"  # Fusion-in-Decoder on a T5
    SKT = "skt"  # Fusion-in-Decoder of a T5 encoder and a GPT-2 decoder
    SINGLE = "single"  # a T5 that reads passages one by one
    EXTRACTIVE = "extractive"  # an encoder that marks where an answer starts and ends
    SPAN = "span"  # candidate spans ranked by boosted trees
