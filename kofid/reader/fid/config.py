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
    """How cross-attention makes a passage's score; ``first`` is the method of Izacard and Grave 2021b. See ``score_passages``."""

    FIRST = "first"
    ANSWER = "answer"
    MAX = "max"
    NORM = "norm"


@dataclass(frozen=True)
class Variant:
    """What makes a reader FiD-Light or FiDO.

    ``first_k`` states are kept of each passage (0: all). The question comes first in a passage's input, so most of them are
    states of the question's own tokens: answers of such a reader cannot be held to the passages' words (see ``Decoding``).

    Decoder layers ``cross_layers``, counted from 1, have cross-attention. Where it is empty every ``n_cross_layer``-th layer
    has it: despite its name that is a stride, not a count (1: all layers; 6 of 24: layers 6, 12, 18 and 24). The decoder
    has ``n_kv_heads`` key-value heads (0: as many as heads).

    With ``pointing`` the reader also writes the numbers of the passages that it answers from. With ``match`` its inputs say
    which tokens question and passage share, with ``copying`` it can copy from the passages: both help readers that have
    seen little text.
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

    With ``n_beams`` above 1 the likeliest of so many beginnings are followed, else the likeliest token is taken each time,
    or, with ``sample``, one is drawn. ``temperature``, ``top_p`` and ``seed`` are for drawing only: the temperature divides
    logits, so 1.0 leaves them as they are.

    ``absorbed``: whether cross-attention is absorbed (see ``CrossAttention.memory``); None: chosen by ``pays_to_absorb``.
    ``from_passages``: only what stands in one passage, token after token, is written. All tokens of the passages must be
    there for that: it does not go with ``first_k`` (see ``refuse_first_k``).
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
        """Return how a reader decodes by default.

        One that copies has four beams, and is held to the passages unless it keeps only the first states of each.

        >>> Decoding.for_variant(Variant(copying=True)) == Decoding(n_beams=4, from_passages=True)
        True
        >>> Decoding.for_variant(Variant(copying=True, first_k=8)) == Decoding(n_beams=4)
        True
        """
        if not variant.copying:
            return cls(answer_tokens)
        return cls(answer_tokens, n_beams=4, from_passages=variant.first_k == 0)

    def refuse_first_k(self, variant: Variant) -> None:
        """Raise UsageError where answers must stand in passages of which the reader keeps only the first states."""
        if self.from_passages and variant.first_k:
            option, first_k = setting("from_passages"), setting("first_k", variant.first_k)
            raise UsageError(
                say(
                    f"{option}: 이 리더는 패시지마다 앞의 상태만 남겨({first_k}) 답을 패시지에서 따올 수 없습니다. {option} 없이 쓰세요.",
                    f"{option}: this reader keeps only the first states of each passage ({first_k}), too few to take answers "
                    f"from passages word for word; leave {option} out",
                )
            )


@dataclass(frozen=True)
class ReadingOptions:
    """What a user asks of a reader; what is left out is as the reader has it.

    ``n_windows`` is how many windows of the passages a joint reader reads (0: 24); all else is for readers that write.

    ``dtype`` of its numbers, ``int8`` products, ``n_beams`` (0: the reader's own number). A ``temperature`` above 0 draws
    from the likeliest tokens that make up ``top_p``; 0.0, the default, means that nothing is drawn (in ``Decoding`` a
    ``sample`` of its own says so, and 1.0 is the temperature that changes nothing). ``from_passages`` says whether answers
    must stand in a passage (None: the reader's own way; True is refused for readers with ``first_k``). An answer has at
    most ``answer_tokens`` tokens (0: the reader's own number, 32 by default). Raises UsageError for options that exclude
    each other.
    """

    dtype: str = "float32"
    int8: Literal["none", "decoder", "all"] = "none"
    n_beams: int = 0
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 1
    from_passages: bool | None = None
    answer_tokens: int = 0
    n_windows: int = 0

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
        """Return how a reader is to decode: as these options ask, and as ``default`` where they leave something out.

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
