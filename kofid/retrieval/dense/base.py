"""Encoders: what they see of questions and passages, and what they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from kofid.errors import InputError
from kofid.language import say
from kofid.types import Passage

if TYPE_CHECKING:
    import torch
    from torch import nn

Vectors = npt.NDArray[np.float32]
# The tokens of some texts.
Rows = Sequence[Sequence[int] | npt.NDArray[np.integer]]
QUESTION_TOKENS = 64
PASSAGE_TOKENS = 256


def dense_text(passage: Passage) -> str:
    """Return the text of a passage that encoders see.

    >>> dense_text(Passage("1", "이순신", "조선의 장군"))
    '이순신 조선의 장군'
    """
    return f"{passage.title} {passage.text}"


class Encoder(Protocol):
    """What turns texts into vectors whose inner product says how well they go together."""

    dimension: int

    @property
    def model(self) -> nn.Module:
        """What is trained."""
        ...

    def pieces(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of texts, without any that frame a text."""
        ...

    def texts(self, rows: Sequence[list[int]]) -> list[str]:
        """Return the texts of tokens, as far as those tell."""
        ...

    def batch(self, rows: Rows, max_tokens: int) -> dict[str, torch.Tensor]:
        """Return what ``embed`` takes, on the CPU, of texts' tokens, framed and cut at ``max_tokens``."""
        ...

    def tokenize(self, texts: Sequence[str], max_tokens: int) -> dict[str, torch.Tensor]:
        """Return what ``embed`` takes, on the CPU, of texts."""
        ...

    def embed(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return vectors of shape (batch, dimension), with gradients."""
        ...

    def encode_questions(self, questions: Sequence[str]) -> Vectors:
        """Return vectors of questions, shape (len(questions), dimension)."""
        ...

    def encode_passages(self, passages: Sequence[Passage]) -> Vectors:
        """Return vectors of passages (title, then text), shape (len(passages), dimension)."""
        ...

    def save(self, directory: Path) -> None:
        """Write the encoder."""
        ...

    def kind(self) -> dict[str, Any]:
        """Return what of the encoder is not in its weights."""
        ...


@dataclass(frozen=True)
class NamedEncoder:
    """An encoder, the name by which it was opened, and a fingerprint of its weights and kind."""

    encoder: Encoder
    name: str
    fingerprint: str


def refuse_infinite(vectors: Vectors) -> None:
    """Raise InputError where a number is NaN or infinite."""
    if not np.isfinite(vectors).all():
        raise InputError(
            say(
                "인코더가 NaN이나 무한대를 냈습니다. 모델을 확인하세요.",
                "the encoder gave NaN or infinity; check the model",
            )
        )
