"""Training a FiDT5 reader."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kofid.errors import UsageError
from kofid.language import say
from kofid.reader.fid import FiDReader
from kofid.reader.inputs import encode_inputs, encode_targets
from kofid.training.data import reader_dataset
from kofid.training.tokenizer import train_tokenizer
from kofid.training.trainer import OnStep, TrainOptions, train
from kofid.types import Example, Passage

if TYPE_CHECKING:
    import torch
    from torch import nn

VOCABULARY = 8_000


def fresh_reader(size: str, texts: Sequence[str], *, vocab_size: int = VOCABULARY, seed: int = 1) -> FiDReader:
    """Return an untrained reader of a named size with a tokenizer learned from ``texts``."""
    from kofid.devices import seed_everything
    from kofid.reader.fid_t5 import FRESH, FiDT5, fresh_config, mimetic_init

    if size not in FRESH:
        sizes = ", ".join(FRESH)
        raise UsageError(
            say(f"크기 '{size}'은(는) 없습니다. 있는 크기: {sizes}", f"no size '{size}'; there are: {sizes}")
        )
    tokenizer = train_tokenizer(texts, vocab_size)
    seed_everything(seed)
    model = FiDT5(fresh_config(size, len(tokenizer)))
    mimetic_init(model)
    return FiDReader(model, tokenizer)


def train_reader(
    reader: FiDReader,
    examples: Sequence[Example],
    options: TrainOptions,
    checkpoints: Path,
    *,
    n_context: int = 10,
    resume: bool = False,
    on_step: OnStep | None = None,
) -> dict[str, float]:
    """Train ``reader`` in place to write the target from each example's first ``n_context`` passages."""
    dataset = reader_dataset(examples, n_context)

    def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        passages = [
            [Passage("", title, text) for title, text in zip(row["titles"], row["texts"], strict=True)] for row in rows
        ]
        batch = encode_inputs(reader.tokenizer, [row["question"] for row in rows], passages, reader.max_tokens)
        return batch | {"labels": encode_targets(reader.tokenizer, [row["target"] for row in rows])}

    def loss(model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        value: torch.Tensor = model(**inputs).loss
        return value

    figures = train(reader.model, dataset, collate, loss, options, checkpoints, resume=resume, on_step=on_step)
    reader.model.eval()
    return figures
