"""Distilling a reader into a retriever (Izacard and Grave 2021b, "Distilling Knowledge from Reader to Retriever")."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kofid.reader.fid import FiDReader
from kofid.retrieval.encoder import Encoder
from kofid.retrieval.texts import PASSAGE_TOKENS, QUESTION_TOKENS
from kofid.training.contrast import part
from kofid.training.data import distillation_dataset
from kofid.training.trainer import OnStep, TrainOptions, train
from kofid.types import Example

if TYPE_CHECKING:
    import torch
    from torch import nn


def score_examples(
    reader: FiDReader,
    examples: Sequence[Example],
    progress: Callable[[Iterable[Any], int], Iterable[Any]] = lambda items, _: items,
) -> Iterator[Example]:
    """Yield the examples, each hit's score replaced by the reader's cross-attention score."""
    scored = reader.score([(e.question.text, e.hits) for e in examples])
    for example, hits in zip(examples, progress(scored, len(examples)), strict=True):
        yield replace(example, hits=tuple(hits))


def kl_loss(
    question: torch.Tensor, passages: torch.Tensor, reader_scores: torch.Tensor, temperature: float = 1.0
) -> torch.Tensor:
    """Return KL(softmax(reader scores) || softmax(inner products)), averaged over questions (section 3.3, eq. 4).

    Shapes: question (batch, dimension), passages (batch, n_passages, dimension), reader scores
    (batch, n_passages) with -inf where a question has fewer passages.
    """
    import torch
    from torch.nn.functional import kl_div

    scores = torch.einsum("bd,bnd->bn", question, passages) / question.shape[-1] ** 0.5
    missing = reader_scores.isinf()
    log_retriever = scores.masked_fill(missing, -torch.inf).log_softmax(-1).masked_fill(missing, 0.0)
    return kl_div(log_retriever, (reader_scores / temperature).softmax(-1), reduction="batchmean")


def distill(
    encoder: Encoder,
    examples: Sequence[Example],
    options: TrainOptions,
    checkpoints: Path,
    *,
    temperature: float = 1.0,
    resume: bool = False,
    on_step: OnStep | None = None,
) -> dict[str, float]:
    """Train ``encoder`` in place to rank each example's passages as their scores (the reader's) do."""
    dataset = distillation_dataset(examples)

    def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        import torch

        n_passages = max(len(row["passages"]) for row in rows)
        scores = torch.full((len(rows), n_passages), -torch.inf)
        for i, row in enumerate(rows):
            scores[i, : len(row["scores"])] = torch.tensor(row["scores"])
        texts = [text for row in rows for text in row["passages"] + [""] * (n_passages - len(row["passages"]))]
        batch = encoder.tokenize([row["question"] for row in rows], QUESTION_TOKENS)
        passages = encoder.tokenize(texts, PASSAGE_TOKENS)
        return (
            {"question_" + k: v for k, v in batch.items()}
            | {"passage_" + k: v for k, v in passages.items()}
            | {"scores": scores}
        )

    def loss(_: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        question, passages = (encoder.embed(part(name, inputs)) for name in ("question", "passage"))
        return kl_loss(question, passages.view(len(question), -1, encoder.dimension), inputs["scores"], temperature)

    figures = train(
        encoder.model, dataset, collate, loss, options, checkpoints, by_itself=True, resume=resume, on_step=on_step
    )
    encoder.model.eval()
    return figures
