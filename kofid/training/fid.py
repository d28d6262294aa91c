"""Training a fusion reader."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from kofid.korean.answers import character_f1, exact_match
from kofid.reader.fid.inputs import encode_inputs, encode_targets, format_input, format_target
from kofid.reader.fid.reader import FiDReader
from kofid.training.data import reader_dataset
from kofid.training.tokenizers import train_tokenizer
from kofid.training.trainer import TrainOptions, train
from kofid.types import Example, OnStep, Passage

if TYPE_CHECKING:
    import torch
    from torch import nn

    from kofid.reader.fid.batch import Batch
    from kofid.reader.fid.config import Variant
    from kofid.reader.fid.model import FusionReader

VOCABULARY = 8_000
# Texts that morphemes are looked up in for a vocabulary: enough for the frequencies of some thousand pieces.
_ANALYSED = 30_000
# Words and digits around every question, passage and answer, which a reader's own texts may lack.
_FRAME = f"{format_input('', Passage('', '', ''), 0)} {format_target('', range(10))}"
# What a checkpoint may lack, and small enough to train whole.
_ADDED = ("match.", "copying.")
# Layers of cross-attention, norms too, in the decoders of T5 and GPT-2.
_CROSS = re.compile(r"^decoder\.(block\.\d+\.layer\.1|h\.\d+\.(crossattention|ln_cross_attn))\.")


def fresh_reader(
    size: str,
    texts: Sequence[str],
    variant: Variant | None = None,
    *,
    skt: bool = False,
    n_decoder_layers: int | None = None,
    vocab_size: int = VOCABULARY,
    morphemes: bool = False,
    seed: int = 1,
) -> FiDReader:
    """Return an untrained reader of a named size with a tokenizer learned from ``texts`` (see ``train_tokenizer``)."""
    from kofid.devices import seed_everything
    from kofid.reader.fid.init import fresh_reader_model

    if morphemes:
        texts = Random(seed).sample(texts, min(_ANALYSED, len(texts)))
    tokenizer = train_tokenizer([*texts, _FRAME], vocab_size, morphemes=morphemes)
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
    morphemes: bool = False,
    seed: int = 1,
) -> FiDReader:
    """Return the reader to train: ``fresh:SIZE``, or one made of checkpoints (for ``skt`` a T5 and, as ``decoder``, a GPT-2).

    A fusion reader that ``model`` already is keeps its own options where ``variant`` says nothing. Raises InputError.
    """
    from kofid.reader.fid.checkpoints import join, open_gpt2, open_reader_model
    from kofid.reader.fid.config import Variant
    from kofid.reader.fid.reader import open_tokenizer

    if model.startswith("fresh:"):
        size = model.removeprefix("fresh:")
        shape: dict[str, Any] = {"skt": skt, "n_decoder_layers": n_decoder_layers}
        return fresh_reader(size, texts, variant, vocab_size=vocab_size, morphemes=morphemes, seed=seed, **shape)
    if decoder is None:
        own = open_reader_model(model).variant
        asked = replace(variant, match=variant.match or own.match, copying=variant.copying or own.copying)
        return FiDReader.load(model, variant=None if variant == Variant() else asked)
    joined = join(open_reader_model(model), open_gpt2(decoder), variant)
    return FiDReader(joined, open_tokenizer(model), open_tokenizer(decoder))


def reader_batch(reader: FiDReader, rows: Sequence[dict[str, Any]]) -> Batch:
    """Return the packed batch of rows of ``reader_dataset``; of several right answers one is drawn (torch's seed)."""
    import torch

    pointing = reader.model.variant.pointing
    passages = [
        [Passage("", title, text) for title, text in zip(row["titles"], row["texts"], strict=True)] for row in rows
    ]
    questions = [row["question"] for row in rows]
    tokens: dict[str, Any] = {"pieces": reader.pieces}
    batch = encode_inputs(reader.tokenizer, questions, passages, reader.max_tokens, pointing=pointing, **tokens)
    targets = []
    for row in rows:
        n = len(row["targets"])
        answer = row["targets"][int(torch.randint(n, ())) if n > 1 else 0]
        sources = [number for number, positive in enumerate(row["positive"], 1) if positive]
        targets.append(format_target(answer, sources if pointing else None))
    if reader.model.copying is not None:
        tokens |= {"batch": batch}
    return replace(batch, labels=encode_targets(reader.decoder_tokenizer, targets, **tokens))


def draw_target(row: dict[str, Any], seed: int, epoch: int) -> str:
    """Return one of a row's right answers: by chance, but the same for a question in the same epoch.

    So it does not matter which process asks, nor after which interruption.
    """
    targets: list[str] = row["targets"]
    return Random(f"{seed} {epoch} {row['question']}").choice(targets)


def starts_random(name: str) -> bool:
    """Tell whether a parameter is new where a T5 is joined to a GPT-2: of the bridge or of cross-attention."""
    return name.startswith("bridge.") or _CROSS.search(name) is not None


def train_reader(
    reader: FiDReader,
    examples: Sequence[Example],
    options: TrainOptions,
    checkpoints: Path,
    *,
    dev: Sequence[Example] = (),
    n_context: int = 10,
    resume: bool = False,
    keep: bool = False,
    on_step: OnStep | None = None,
) -> dict[str, float]:
    """Train ``reader`` in place to write the target from each example's first ``n_context`` passages.

    With ``dev`` it ends with the weights that had the best exact match there. See ``train`` for the rest.
    """
    dataset = reader_dataset(examples, n_context)
    epoch = 0

    def set_epoch(number: int) -> None:
        nonlocal epoch
        epoch = number

    def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
        batch = reader_batch(reader, [row | {"targets": [draw_target(row, options.seed, epoch)]} for row in rows])
        return {"batch": batch, "labels": batch.labels}

    def loss(model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        value, _ = model(inputs["batch"].to(reader.model.device))
        return value  # type: ignore[no-any-return]

    with made_ready(reader.model, options) as merged:

        def evaluate() -> dict[str, float]:
            with merged():
                return dev_figures(reader, dev, n_context)

        figures = train(
            reader.model,
            dataset,
            collate,
            loss,
            options,
            checkpoints,
            dev=evaluate if dev else None,
            first=starts_random,
            on_epoch=set_epoch,
            resume=resume,
            keep=keep,
            on_step=on_step,
        )
    reader.model.eval()
    return figures


@contextmanager
def made_ready(model: FusionReader, options: TrainOptions) -> Iterator[Callable[[], AbstractContextManager[Any]]]:
    """Set ``model`` up for training: gradient checkpointing and adapters, which are merged into it in the end.

    Yields a context in which it can be read with: adapters merged for a while.
    """
    from kofid.devices import seed_everything

    model.encoder.checkpointing = options.gradient_checkpointing
    try:
        if options.lora:
            from kofid.training.lora import Adapters

            seed_everything(options.seed)
            joined = model.decoder_config is not None
            adapters = Adapters(
                model, options.lora, lambda name: name.startswith(_ADDED) or (joined and starts_random(name))
            )
            yield adapters.merged
            adapters.merge()
        else:
            yield nullcontext
    finally:
        model.encoder.checkpointing = False


def dev_figures(reader: FiDReader, examples: Sequence[Example], n_context: int) -> dict[str, float]:
    """Return exact match and character F1 of a reader's answers, the examples shared out among all processes."""
    import torch
    from torch import distributed

    many = distributed.is_available() and distributed.is_initialized()
    rank, n_processes = (distributed.get_rank(), distributed.get_world_size()) if many else (0, 1)
    training = reader.model.training
    now = reader.with_options(n_context=n_context)
    sums = torch.zeros(2, dtype=torch.float64)
    for example in examples[rank::n_processes]:
        answers = now.read(example.question.text, example.hits)
        said, right = answers[0].text if answers else "", example.question.answers
        sums += torch.tensor([float(exact_match(said, right)), character_f1(said, right)], dtype=torch.float64)
    reader.model.train(training)
    if many:
        sums = sums.to(reader.model.device)
        distributed.all_reduce(sums)
    em, f1 = (sums / len(examples)).tolist()
    return {"em": em, "f1": f1}
