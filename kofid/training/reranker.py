"""Training a reranker that reads question and passage together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from kofid.retrieval.modes import SearchMode
from kofid.retrieval.reranker import CrossEncoder, open_cross_encoder
from kofid.training.data import (
    Paths,
    example_texts,
    first_example,
    fresh_size,
    is_positive,
    load_examples,
    path_names,
)
from kofid.training.encoder import fresh_bert_config, refuse_unknown_size
from kofid.training.negatives import draw_negatives, retriever_dataset
from kofid.training.options import RERANKER, Notes, TrainOptions, no_notes, refuse_options, said_once
from kofid.training.run import Fit, run_settings, run_training
from kofid.training.trainer import train
from kofid.types import Example, OnStep, Progress, silent

if TYPE_CHECKING:
    import torch
    from torch import nn


def fresh_cross_encoder(size: str, texts: Sequence[str], *, vocab_size: int = 8_000, seed: int = 1) -> CrossEncoder:
    """Return an untrained BERT classifier of a named size with a WordPiece tokenizer learned from ``texts``."""
    from transformers import BertForSequenceClassification

    from kofid.devices import seed_everything
    from kofid.training.tokenizers import train_wordpiece

    refuse_unknown_size(size)
    tokenizer = train_wordpiece(texts, vocab_size)
    seed_everything(seed)
    config = fresh_bert_config(size, len(tokenizer))
    config.num_labels = 1
    return CrossEncoder(BertForSequenceClassification(config), tokenizer)


def fit_reranker(
    reranker: CrossEncoder,
    examples: Sequence[Example],
    options: TrainOptions,
    checkpoints: Path,
    *,
    n_negatives: int = 4,
    dev: Sequence[Example] = (),
    resume: bool = False,
    on_step: OnStep | None = None,
    notes: Notes = no_notes,
) -> dict[str, float]:
    """Train ``reranker`` in place to tell a gold passage from ``n_negatives`` others found for the question.

    The loss is the cross-entropy of the gold one among its group (Gao et al. 2021, "Rethink Training of BERT Rerankers in
    Multi-Stage Retrieval Pipeline", section 3). With ``dev`` it ends with the weights that put most gold hits first.
    """
    epoch = 0

    def set_epoch(number: int) -> None:
        nonlocal epoch
        epoch = number

    def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        import torch

        pairs, sizes = [], []
        for row in rows:
            rng = Random(f"{options.seed} {epoch} {row['question']}")
            negatives = draw_negatives(row, n_negatives, rng)
            pairs += reranker.pairs(row["question"], [rng.choice(row["positives"]), *negatives])
            sizes.append(1 + len(negatives))
        return {**reranker.batch(pairs), "sizes": torch.tensor(sizes)}

    def loss(model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        import torch

        sizes = inputs.pop("sizes").tolist()
        scores = reranker.scores_of(model(**inputs).logits.float())
        groups = torch.split(scores, sizes)
        return torch.stack([-group.log_softmax(0)[0] for group in groups]).mean()  # the gold one is first

    figures = train(
        reranker.model,
        retriever_dataset(examples, notes),
        collate,
        loss,
        options,
        checkpoints,
        dev=(lambda: dev_figures(reranker, dev)) if dev else None,
        on_epoch=set_epoch,
        resume=resume,
        keep_checkpoints=True,  # until the reranker is written
        on_step=on_step,
    )
    reranker.model.eval()
    return figures


def dev_figures(reranker: CrossEncoder, examples: Sequence[Example]) -> dict[str, float]:
    """Return hit@1, MRR and hit@5 of gold passages among each example's own hits, reranked."""
    training = reranker.model.training
    reranker.model.eval()
    ranks = []
    for example in examples:
        hits = reranker.rerank(example.question.text, example.hits)
        gold = (rank for rank, hit in enumerate(hits, 1) if is_positive(example.question, hit.passage))
        ranks.append(next(gold, np.inf))
    reranker.model.train(training)
    first = np.array(ranks, dtype=np.float64)
    return {"hit1": float((first == 1).mean()), "mrr": float((1 / first).mean()), "hit5": float((first <= 5).mean())}


def train_reranker(
    data: Paths,
    output: str | Path,
    *,
    index: str | Path | None = None,
    model: str = "fresh:mini",
    vocab_size: int = 8_000,
    n_negatives: int = 4,
    options: TrainOptions = RERANKER,
    dev: str | None = None,
    mode: SearchMode = SearchMode.SPARSE,
    n_context: int = 20,
    encoding: str | None = None,
    limit: int | None = None,
    resume: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
    on_step: OnStep | None = None,
    notes: Notes = no_notes,
) -> dict[str, Any]:
    """Train a cross-encoder, write it to ``output``, and return its figures.

    ``data`` is FiD JSON, or question files whose passages, negatives among them, ``mode`` finds in ``index``. ``model`` is
    an encoder's folder or name, or ``fresh:SIZE``. With ``dry_run`` nothing is trained: the first example comes back.
    Raises UsageError for settings that do not go together.
    """
    refuse_options(options, has_dev=dev is not None)

    def load(paths: Sequence[str]) -> list[Example]:
        return load_examples(
            paths,
            index,
            n_context=n_context,
            mode=mode,
            encoding=encoding,
            limit=limit,
            device=options.device,
            progress=progress,
        )

    files = path_names(data)
    examples = load(files)
    if dry_run:
        return first_example(examples)
    held_out = load([dev]) if dev else []
    size = fresh_size(model)
    if size is None:
        reranker = open_cross_encoder(model, "cpu", new_head=True)
    else:
        reranker = fresh_cross_encoder(size, example_texts(examples), vocab_size=vocab_size, seed=options.seed)

    def fit(checkpoints: Path, on_step: OnStep | None) -> Fit:
        return Fit(
            fit_reranker(
                reranker,
                examples,
                options,
                checkpoints,
                n_negatives=n_negatives,
                dev=held_out,
                resume=resume,
                on_step=on_step,
                notes=said_once(notes),
            )
        )

    settings = run_settings(options, model=model, data=files, negatives=n_negatives)
    return run_training(Path(output), "reranker", settings, reranker, fit, on_step)
