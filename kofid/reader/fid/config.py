"""What a fusion reader is built as, how it reads and how it decodes: plain data, nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from kofid.errors import UsageError
from kofid.language import say, setting

PASSAGE_TOKENS = 250
ANSWER_TOKENS = 32


class ScoreMethod(StrEnum):
    """How a passage's score is made of cross-attention; the first is that of Izacard and Grave 2021b. See ``score_passages``."""

    FIRST = "first"
    ANSWER = "answer"
    MAX = "max"
    NORM = "norm"


@dataclass(frozen=True)
class Variant:
    """What makes a reader FiD-Light or FiDO.

    ``first_k`` states are kept of each passage (0: all). Decoder layers ``cross_layers``, counted from 1, have
    cross-attention (empty: layers n, 2n, 3n, ... of ``n_cross_layer``). The decoder has ``n_kv_heads`` key-value heads (0:
    as many as heads). With ``pointing`` the reader also writes the numbers of the passages that it answers from. With
    ``match`` its inputs say which tokens question and passage share, with ``copying`` it can copy from the passages: both
    help readers that have seen little text.
    """

    first_k: int = 0
    cross_layers: tuple[int, ...] = ()
    n_kv_heads: int = 0
    pointing: bool = False
    n_cross_layer: int = 1
    match: bool = False
    copying: bool = False

    @classmethod
    def of(
        cls,
        first_k: int = 0,
        cross_layers: str | None = None,
        n_kv_heads: int = 0,
        pointing: bool = False,
        match: bool = False,
        copying: bool = False,
    ) -> Variant:
        """Return the variant that options name; ``cross_layers`` is N, or A,B,... Raises UsageError.

        >>> Variant.of(first_k=8, cross_layers="6").n_cross_layer, Variant.of(cross_layers="12,6").cross_layers
        (6, (6, 12))
        """
        try:
            numbers = tuple(int(part) for part in cross_layers.split(",")) if cross_layers else ()
        except ValueError as error:
            option = setting("n_cross_layer", cross_layers)
            raise UsageError(
                say(
                    f"{option}: 수 하나나 쉼표로 나눈 층 번호여야 합니다",
                    f"{option}: must be a number, or layers with commas between",
                )
            ) from error
        if cross_layers and "," not in cross_layers:
            return cls(first_k, (), n_kv_heads, pointing, numbers[0], match, copying)
        return cls(first_k, tuple(sorted(set(numbers))), n_kv_heads, pointing, match=match, copying=copying)

    @staticmethod
    def every(n: int, n_layers: int) -> tuple[int, ...]:
        """Return layers n, 2n, 3n, ...

        >>> Variant.every(6, 24)
        (6, 12, 18, 24)
        """
        return tuple(range(n, n_layers + 1, n)) if n > 0 else ()

    def resolve(self, n_layers: int, n_heads: int) -> tuple[tuple[int, ...], int]:
        """Return the layers with cross-attention and the key-value heads of a decoder; raise UsageError for impossible ones.

        >>> Variant(n_cross_layer=2, n_kv_heads=1).resolve(n_layers=6, n_heads=8)
        ((2, 4, 6), 1)
        """
        layers = self.cross_layers or self.every(self.n_cross_layer, n_layers)
        if not layers or min(layers) < 1 or max(layers) > n_layers:
            option = setting("n_cross_layer", ",".join(map(str, self.cross_layers)) or self.n_cross_layer)
            raise UsageError(
                say(
                    f"{option}: 디코더 층은 1에서 {n_layers}까지입니다",
                    f"{option}: the decoder has layers 1 to {n_layers}",
                )
            )
        n_kv_heads = self.n_kv_heads or n_heads
        if n_kv_heads < 1 or n_heads % n_kv_heads:
            option = setting("n_kv_heads", n_kv_heads)
            raise UsageError(
                say(
                    f"{option}: 디코더의 머리 {n_heads}개를 고르게 나누어야 합니다",
                    f"{option}: must divide the decoder's {n_heads} heads",
                )
            )
        return layers, n_kv_heads


@dataclass(frozen=True)
class Decoding:
    """How answers are decoded: at most ``answer_tokens`` tokens, the end included.

    ``absorbed`` cross-attention: None where it pays (see ``pays_to_absorb``). ``from_passages``: answers stand in a passage
    word for word; what is decoded of them always stands there in a row.
    """

    answer_tokens: int = ANSWER_TOKENS
    n_beams: int = 1
    sample: bool = False
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 1
    absorbed: bool | None = None
    from_passages: bool = False

    @classmethod
    def for_variant(cls, variant: Variant, answer_tokens: int = ANSWER_TOKENS) -> Decoding:
        """Return how a reader decodes when nothing else is said: one that copies weighs four beginnings from its passages."""
        return cls(answer_tokens, n_beams=4, from_passages=True) if variant.copying else cls(answer_tokens)


@dataclass(frozen=True)
class ReadingOptions:
    """How a reader that writes its answers does so; what is left out is as the reader has it.

    ``dtype`` of its numbers, ``int8`` products, ``n_beams`` (0: the reader's own number); a ``temperature`` above 0 samples
    from the likeliest tokens that make up ``top_p``; ``from_passages`` says whether answers must stand in a passage (None:
    the reader's own way); an answer has at most ``answer_tokens`` tokens (0: the reader's own number, 32 by default).
    Raises UsageError for options that exclude each other.
    """

    dtype: str = "float32"
    int8: Literal["none", "decoder", "all"] = "none"
    n_beams: int = 0
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 1
    from_passages: bool | None = None
    answer_tokens: int = 0

    def __post_init__(self) -> None:
        if self.temperature and self.n_beams > 1:
            beams, temperature = setting("n_beams"), setting("temperature")
            raise UsageError(
                say(f"{beams}와 {temperature}는 함께 못 씁니다", f"{beams} and {temperature} exclude each other")
            )
        if self.top_p < 1 and not self.temperature:
            top_p, temperature = setting("top_p"), setting("temperature")
            raise UsageError(say(f"{top_p}에는 {temperature}가 있어야 합니다", f"{top_p} needs {temperature}"))

    def decoding(self, default: Decoding) -> Decoding:
        """Return how a reader whose ``default`` is another is to decode.

        >>> ReadingOptions(temperature=0.5).decoding(Decoding(n_beams=4))
        Decoding(answer_tokens=32, n_beams=1, sample=True, temperature=0.5, top_p=1.0, seed=1, absorbed=None, from_passages=False)
        """
        sample = self.temperature > 0
        return replace(
            default,
            answer_tokens=self.answer_tokens or default.answer_tokens,
            n_beams=self.n_beams or (1 if sample else default.n_beams),
            sample=sample,
            temperature=self.temperature or 1.0,
            top_p=self.top_p,
            seed=self.seed,
            from_passages=default.from_passages if self.from_passages is None else self.from_passages,
        )
