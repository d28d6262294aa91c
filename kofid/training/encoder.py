"""The encoder that training starts from: a model's name, an untrained BERT, or untrained static vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kofid.errors import UsageError
from kofid.language import say, setting
from kofid.retrieval.dense.base import Encoder
from kofid.retrieval.dense.encoders import open_encoder
from kofid.retrieval.dense.static import StaticEncoder
from kofid.retrieval.dense.transformer import TransformerEncoder
from kofid.training.data import fresh_size
from kofid.training.tokenizers import train_tokenizer, train_wordpiece

if TYPE_CHECKING:
    from transformers import BertConfig

FRESH_ENCODERS: dict[str, dict[str, Any]] = {
    "tiny": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128},
    "mini": {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024},
}
_STATIC = "static:"
Pooling = Literal["mean", "cls", "pooler"]


@dataclass(frozen=True)
class EncoderStart:
    """The encoder that training starts from: a model's name, ``fresh:SIZE`` or ``static:DIMENSION``, and its settings.

    ``pooling`` and ``normalize`` are the model's own where None.
    """

    model: str
    pooling: Pooling | None = None
    normalize: bool | None = None
    vocab_size: int = 8_000
    bits: int = 32
    seed: int = 1

    @property
    def is_fresh(self) -> bool:
        """Whether it is untrained."""
        return self.model.startswith(_STATIC) or fresh_size(self.model) is not None

    def encoder(self, texts: Sequence[str]) -> Encoder:
        """Open or make the encoder; ``texts`` are for the vocabulary of an untrained one. Raises UsageError."""
        if self.is_fresh:
            self._refuse_foreign_settings(is_static=self.model.startswith(_STATIC))
        encoder = self._plain(texts)
        self._refuse_foreign_settings(is_static=isinstance(encoder, StaticEncoder))
        if isinstance(encoder, StaticEncoder):
            return encoder.with_bits(self.bits)
        if isinstance(encoder, TransformerEncoder):
            return encoder.with_pooling(self.pooling, normalize=self.normalize)
        return encoder

    def _refuse_foreign_settings(self, *, is_static: bool) -> None:
        if is_static and (self.pooling or self.normalize is not None):
            pooling, normalize = setting("pooling"), setting("normalize")
            raise UsageError(
                say(f"{pooling}과 {normalize}는 static에 없습니다", f"{pooling} and {normalize} are not for static")
            )
        if not is_static and self.bits != 32:
            bits = setting("bits", self.bits)
            raise UsageError(say(f"{bits}은(는) static에만 있습니다", f"{bits} is for static only"))

    def _plain(self, texts: Sequence[str]) -> Encoder:
        if self.model.startswith(_STATIC):
            dimension = self.model.removeprefix(_STATIC)
            if not dimension.isdecimal() or not int(dimension):
                model = setting("model", self.model)
                raise UsageError(
                    say(f"{model}: static:차원, 보기로 static:384", f"{model}: static:DIMENSION, say static:384")
                )
            return fresh_static(texts, int(dimension), vocab_size=self.vocab_size, seed=self.seed)
        size = fresh_size(self.model)
        if size is None:
            return open_encoder(self.model, "cpu").encoder
        return fresh_encoder(size, texts, vocab_size=self.vocab_size, seed=self.seed)


def refuse_unknown_size(size: str) -> None:
    """Raise UsageError for a size that no fresh encoder has."""
    if size not in FRESH_ENCODERS:
        sizes = ", ".join(FRESH_ENCODERS)
        raise UsageError(
            say(f"크기 '{size}'은(는) 없습니다. 있는 크기: {sizes}", f"no size '{size}'; there are: {sizes}")
        )


def fresh_bert_config(size: str, vocab_size: int) -> BertConfig:
    """Return the configuration of an untrained BERT of a named size. No dropout: it sees little data once or twice."""
    from transformers import BertConfig

    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return BertConfig(vocab_size=vocab_size, pad_token_id=0, **dropout, **FRESH_ENCODERS[size])


def fresh_encoder(size: str, texts: Sequence[str], *, vocab_size: int = 8_000, seed: int = 1) -> TransformerEncoder:
    """Return an untrained BERT encoder of a named size with a tokenizer learned from ``texts``."""
    from transformers import BertModel

    from kofid.devices import seed_everything

    refuse_unknown_size(size)
    tokenizer = train_tokenizer(texts, vocab_size)
    seed_everything(seed)
    return TransformerEncoder(BertModel(fresh_bert_config(size, len(tokenizer))), tokenizer)


def fresh_static(texts: Sequence[str], dimension: int, *, vocab_size: int = 8_000, seed: int = 1) -> StaticEncoder:
    """Return untrained static vectors for a tokenizer learned from ``texts``.

    A token's length is at first its rarity in them, log(n_tokens / count).
    """
    tokenizer = train_wordpiece(texts, vocab_size).backend_tokenizer
    n = tokenizer.get_vocab_size()
    counts = np.zeros(n, dtype=np.int64)
    for row in StaticEncoder.fresh(tokenizer, 1, np.ones(n, np.float32)).pieces(texts):
        counts += np.bincount(row, minlength=n)
    return StaticEncoder.fresh(tokenizer, dimension, np.log((counts.sum() + 1) / (counts + 1)).astype(np.float32), seed)
