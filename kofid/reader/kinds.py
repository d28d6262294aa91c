"""The kinds of reader, and which settings each takes: nothing heavy.

A setting that no kind lists here is for all of them. ``kofid.reader.open`` has how each kind is opened.
"""

from __future__ import annotations

from enum import StrEnum


class ReaderKind(StrEnum):
    """The kinds of reader."""

    T5 = "t5"  # Fusion-in-Decoder on a T5
    SKT = "skt"  # Fusion-in-Decoder of a T5 encoder and a GPT-2 decoder
    SINGLE = "single"  # a T5 that reads passages one by one
    EXTRACTIVE = "extractive"  # an encoder that marks where an answer starts and ends
    SPAN = "span"  # candidate spans ranked by boosted trees
    JOINT = "joint"  # a pretrained encoder that marks the answer and ranks the passages at once


_FUSION = frozenset(("dev", "eval_steps", "patience", "half"))
_WRITING = frozenset((
    "first_k", "pointing", "n_cross_layer", "cross_layers", "n_kv_heads", "n_decoder_layers", "match", "morphemes", "lora",
    "gradient_checkpointing", "answer_tokens",
))  # fmt: skip
_NEURAL = frozenset((
    "model", "max_tokens", "vocab_size", "epochs", "max_steps", "batch_size", "accumulate", "learning_rate",
    "min_learning_rate", "optimizer", "schedule", "warmup", "weight_decay", "ema", "report", "save_steps", "bf16", "resume",
))  # fmt: skip
# Settings of training that a kind takes and some other kind does not.
TRAINING_SETTINGS: dict[ReaderKind, frozenset[str]] = {
    ReaderKind.T5: _FUSION | _WRITING | _NEURAL | {"copying"},
    ReaderKind.SKT: _FUSION | _WRITING | _NEURAL | {"decoder", "warmup_cross"},
    ReaderKind.SINGLE: _WRITING | _NEURAL | {"copying"},
    ReaderKind.EXTRACTIVE: _NEURAL | {"stride", "norm"},
    ReaderKind.SPAN: frozenset({"words"}),
    ReaderKind.JOINT: _NEURAL - {"max_tokens", "vocab_size", "ema"} | {"dev", "n_negatives"},
}
_DECODING = frozenset((
    "dtype", "int8", "n_beams", "temperature", "top_p", "seed", "from_passages", "answer_tokens",
))  # fmt: skip
# Settings of reading that a kind takes and some other kind does not.
READING_SETTINGS: dict[ReaderKind, frozenset[str]] = {
    ReaderKind.T5: _DECODING | {"device", "n_context"},
    ReaderKind.SKT: _DECODING | {"device", "n_context"},
    ReaderKind.SINGLE: _DECODING | {"device", "n_context"},
    ReaderKind.EXTRACTIVE: frozenset({"device", "n_context"}),
    ReaderKind.SPAN: frozenset(),
    ReaderKind.JOINT: frozenset({"n_windows"}),
}


def kinds_with(setting: str, table: dict[ReaderKind, frozenset[str]]) -> list[ReaderKind]:
    """Return the kinds that take a setting; all of them where no kind lists it.

    >>> [kind.value for kind in kinds_with("words", TRAINING_SETTINGS)]
    ['span']
    """
    return [kind for kind, settings in table.items() if setting in settings] or list(ReaderKind)
