"""Whether a configuration can be a model's: files may say anything, and what they say is built before weights are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transformers import BertConfig, GPT2Config, T5Config

from kofid.errors import InputError
from kofid.language import say

if TYPE_CHECKING:
    from kofid.reader.fid.model import FusionReader

_SIZES: dict[type, tuple[str, ...]] = {
    T5Config: (
        "vocab_size", "d_model", "d_kv", "d_ff", "num_heads", "num_layers", "num_decoder_layers",
        "relative_attention_num_buckets", "relative_attention_max_distance",
    ),
    BertConfig: (
        "vocab_size", "hidden_size", "num_attention_heads", "intermediate_size", "num_hidden_layers",
        "max_position_embeddings", "type_vocab_size",
    ),
    GPT2Config: ("vocab_size", "n_positions", "n_embd", "n_head", "n_layer"),
}  # fmt: skip
_LAYERS = ("num_layers", "num_decoder_layers", "num_hidden_layers", "n_layer")
# More than any model has in one dimension; a configuration that says more would only fill the memory.
_LARGEST = 10_000_000


def check_sizes(encoder: T5Config | BertConfig, decoder: T5Config | GPT2Config | None, n_weights: int) -> None:
    """Raise InputError for sizes that no model with so many weights can have; without ``decoder`` a T5 is both."""
    for config in (encoder, decoder):
        if config is not None:
            _check_part(config, n_weights)
    if isinstance(decoder, T5Config):  # the encoder's states and tokens are its own
        for name in ("hidden_size", "vocab_size"):
            if getattr(decoder, name) != getattr(encoder, name):
                raise _odd(name, getattr(decoder, name))


def _check_part(config: T5Config | BertConfig | GPT2Config, n_weights: int) -> None:
    for name in _SIZES[type(config)]:
        value = getattr(config, name)
        if type(value) is not int or not 0 < value <= (n_weights if name in _LAYERS else _LARGEST):
            raise _odd(name, value)
    if isinstance(config, T5Config):
        exact = config.relative_attention_num_buckets // 2  # see ``position_bias``
        if exact < 2 or config.relative_attention_max_distance <= exact:
            raise _odd("relative_attention_num_buckets", config.relative_attention_num_buckets)
    elif config.hidden_size % config.num_attention_heads:
        raise _odd("num_attention_heads", config.num_attention_heads)


def check_tokens(reader: FusionReader) -> None:
    """Raise InputError where the tokens that begin and end an answer are none of the vocabulary's."""
    for name in ("start_token", "end_token"):
        try:
            token = getattr(reader, name)
        except (TypeError, ValueError, IndexError) as error:
            raise _odd(name, None) from error
        if not 0 <= token < reader.decoder_config.vocab_size:
            raise _odd(name, token)


def _odd(name: str, value: object) -> InputError:
    return InputError(
        say(
            f"config.json: {name} {value!r}: 그런 모델은 있을 수 없습니다",
            f"config.json: {name} {value!r}: no model can be so",
        )
    )
