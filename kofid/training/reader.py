"""Training a fusion reader."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kofid.reader.fid import FiDReader
from kofid.reader.inputs import encode_inputs, encode_targets, format_target
from kofid.training.data import reader_dataset
from kofid.training.tokenizer import train_tokenizer
from kofid.training.trainer import OnStep, TrainOptions, train
from kofid.types import Example, Passage

if TYPE_CHECKING:
    import torch
    from torch import nn

    from kofid.reader.fusion import Batch, Variant

VOCABULARY = 8_000


def fresh_reader(
    size: str,
    texts: Sequence[str],
    variant: Variant | None = None,
    *,
    skt: bool = False,
    n_decoder_layers: int | None = None,
    vocab_size: int = VOCABULARY,
    seed: int = 1,
) -> FiDReader:
    """Return an untrained reader of a named size with a tokenizer learned from ``texts``."""
    from kofid.devices import seed_everything
    from kofid.reader.fresh import fresh_reader_model

    tokenizer = train_tokenizer(texts, vocab_size)
    seed_everything(seed)
    options: dict[str, Any] = {"skt": skt, "n_decoder_layers": n_decoder_layers}
    return FiDReader(fresh_reader_model(size, len(tokenizer), variant, **options), tokenizer)


def initial_reader(
    model: str,
    texts: Sequence[str],
    variant: Variant,
    *,
    skt: bool = False,
    decoder: str | None = None,
    n_decoder_layers: int | None = None,
    vocab_size: int = VOCABULARY,
    seed: int = 1,
) -> FiDReader:
    """Return the reader to train: ``fresh:SIZE``, or one made of checkpoints (for ``skt`` a T5 and, as ``decoder``, a GPT-2).

    A fusion reader that ``model`` already is keeps its own options where ``variant`` says nothing. Raises InputError.
    """
    from kofid.reader.checkpoints import join, open_gpt2, open_reader_model
    from kofid.reader.fid import open_tokenizer
    from kofid.reader.fusion import Variant

    if model.startswith("fresh:"):
        size = model.removeprefix("fresh:")
        shape: dict[str, Any] = {"skt": skt, "n_decoder_layers": n_decoder_layers}
        return fresh_reader(size, texts, variant, vocab_size=vocab_size, seed=seed, **shape)
    if decoder is None:
        return FiDReader.load(model, variant=None if variant == Variant() else variant)
    joined = join(open_reader_model(model), open_gpt2(decoder), variant)
    return FiDReader(joined, open_tokenizer(model), open_tokenizer(decoder))


def reader_batch(reader: FiDReader, rows: Sequence[dict[str, Any]]) -> Batch:
    """Return the packed batch of rows of ``reader_dataset``; of several right answers one is drawn (torch's seed)."""
    import torch

    pointing = reader.model.variant.pointing
    passages = [
        [Passage("", title, text) for title, text in zip(row["titles"], row["texts"], strict=True)] for row in rows
    ]
    batch = encode_inputs(
        reader.tokenizer, [row["question"] for row in rows], passages, reader.max_tokens, pointing=pointing
    )
    targets = []
    for row in rows:
        n = len(row["targets"])
        answer = row["targets"][int(torch.randint(n, ())) if n > 1 else 0]
        sources = [number for number, positive in enumerate(row["positive"], 1) if positive]
        targets.append(format_target(answer, sources if pointing else None))
    batch.labels = encode_targets(reader.decoder_tokenizer, targets)
    return batch


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

    def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {"batch": reader_batch(reader, rows)}

    def loss(model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        value, _ = model(inputs["batch"].to(reader.model.device))
        return value  # type: ignore[no-any-return]

    figures = train(reader.model, dataset, collate, loss, options, checkpoints, resume=resume, on_step=on_step)
    reader.model.eval()
    return figures
