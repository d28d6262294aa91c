"""Fitting an encoder: on questions with their passages, or on pairs made of raw text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from kofid.errors import UsageError
from kofid.language import say, setting
from kofid.retrieval.dense.base import PASSAGE_TOKENS, QUESTION_TOKENS, Encoder, Rows
from kofid.retrieval.dense.transformer import TransformerEncoder
from kofid.training.contrast import contrastive_loss, stable_hash
from kofid.training.data import is_positive
from kofid.training.lora import adapted
from kofid.training.negatives import draw_negatives, retriever_dataset
from kofid.training.options import PLAIN_CONTRAST, Contrast, Notes, TrainOptions, no_notes
from kofid.training.raw_text_pairs import Pairs
from kofid.training.trainer import train
from kofid.types import Example, OnStep

if TYPE_CHECKING:
    import torch


def fit_encoder(
    encoder: Encoder,
    examples: Sequence[Example],
    options: TrainOptions,
    checkpoints: Path,
    *,
    contrast: Contrast = PLAIN_CONTRAST,
    dev: Sequence[Example] = (),
    resume: bool = False,
    on_step: OnStep | None = None,
    notes: Notes = no_notes,
) -> dict[str, float]:
    """Train ``encoder`` in place with the passages of other questions, and hard ones of its own, as negatives.

    With ``dev`` it ends with the weights that put the most gold passages first among all those of the dev examples.
    """
    epoch = 0

    def set_epoch(number: int) -> None:
        nonlocal epoch
        epoch = number

    def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        golds, negatives = [], []
        for row in rows:
            rng = Random(f"{options.seed} {epoch} {row['question']}")
            golds.append(rng.choice(row["positives"]))
            negatives += draw_negatives(row, contrast.n_negatives, rng)
        return contrast_batch(
            encoder,
            encoder.pieces([row["question"] for row in rows]),
            encoder.pieces(golds + negatives),
            golds + negatives,
        )

    dataset = retriever_dataset(examples, notes)
    with adapted_encoder(encoder, options) as merged:

        def evaluate() -> dict[str, float]:
            with merged():
                return dev_figures(encoder, dev)

        figures = train(
            encoder.model,
            dataset,
            collate,
            contrastive_loss(encoder, contrast),
            options,
            checkpoints,
            dev=evaluate if dev else None,
            on_epoch=set_epoch,
            average_gradients=True,
            resume=resume,
            keep_checkpoints=True,  # until the encoder is written
            on_step=on_step,
        )
    encoder.model.eval()
    return figures


def pretrain_encoder(
    encoder: Encoder,
    pairs: Pairs,
    options: TrainOptions,
    checkpoints: Path,
    *,
    contrast: Contrast = PLAIN_CONTRAST,
    resume: bool = False,
    on_step: OnStep | None = None,
) -> dict[str, float]:
    """Train ``encoder`` in place on pairs of raw text; the i-th pair of an epoch is the same whoever draws it."""
    from datasets import Dataset

    epoch = 0

    def set_epoch(number: int) -> None:
        nonlocal epoch
        epoch = number

    def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        drawn = [pairs.draw(row["number"], np.random.default_rng([options.seed, epoch, row["number"]])) for row in rows]
        return contrast_batch(
            encoder, [q for q, _ in drawn], [p for _, p in drawn], [str(row["number"]) for row in rows]
        )

    figures = train(
        encoder.model,
        Dataset.from_dict({"number": np.arange(len(pairs))}),
        collate,
        contrastive_loss(encoder, contrast),
        options,
        checkpoints,
        on_epoch=set_epoch,
        average_gradients=True,
        resume=resume,
        keep_checkpoints=True,  # until the encoder is written
        on_step=on_step,
    )
    encoder.model.eval()
    return figures


@contextmanager
def adapted_encoder(encoder: Encoder, options: TrainOptions) -> Iterator[Callable[[], AbstractContextManager[Any]]]:
    """Set an encoder up for training: gradient checkpointing and adapters, which are merged into it in the end.

    Yields a context in which it can be evaluated: adapters merged for a while. Raises UsageError for one without layers.
    """
    if (options.lora or options.gradient_checkpointing) and not isinstance(encoder, TransformerEncoder):
        lora, checkpointing = setting("lora"), setting("gradient_checkpointing")
        raise UsageError(
            say(
                f"{lora}와 {checkpointing}은 층이 있는 인코더에만 됩니다 (static에는 안 됩니다)",
                f"{lora} and {checkpointing} need an encoder with layers (not static)",
            )
        )
    model: Any = encoder.model
    if options.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    try:
        with adapted(model, options.lora, options.seed) as merged:
            yield merged
    finally:
        if options.gradient_checkpointing:
            model.gradient_checkpointing_disable()


def dev_figures(encoder: Encoder, examples: Sequence[Example]) -> dict[str, float]:
    """Return hit@1, MRR and hit@5 of gold passages among all passages of the examples."""
    training = encoder.model.training
    encoder.model.eval()
    passages = list({hit.passage: None for example in examples for hit in example.hits})
    scores = encoder.encode_questions([e.question.text for e in examples]) @ encoder.encode_passages(passages).T
    encoder.model.train(training)
    ranks = []
    for example, row in zip(examples, scores, strict=True):
        gold = [i for i, passage in enumerate(passages) if is_positive(example.question, passage)]
        ranks.append(1 + int((row > row[gold].max()).sum()) if gold else len(passages) + 1)
    first = np.array(ranks)
    return {"hit1": float((first == 1).mean()), "mrr": float((1 / first).mean()), "hit5": float((first <= 5).mean())}


def contrast_batch(encoder: Encoder, questions: Rows, passages: Rows, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """Return the tokens of questions and passages, and the passages' keys: equal where their names are."""
    import torch

    keys = torch.tensor([stable_hash(name) for name in names])
    parts = {"question": encoder.batch(questions, QUESTION_TOKENS), "passage": encoder.batch(passages, PASSAGE_TOKENS)}
    return {f"{part}_{name}": tensor for part, batch in parts.items() for name, tensor in batch.items()} | {
        "keys": keys
    }
