"""Fitting a retriever to a reader's scores (Izacard and Grave 2021b, "Distilling Knowledge from Reader to Retriever")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kofid.retrieval.dense.base import PASSAGE_TOKENS, QUESTION_TOKENS, Encoder
from kofid.training.contrast import gather_from_all, in_batch_loss, stable_hash, tensors_of
from kofid.training.data import distillation_dataset
from kofid.training.options import PLAIN_DISTILLATION, Distillation, Notes, TrainOptions, no_notes
from kofid.training.trainer import train
from kofid.types import Example, OnStep

if TYPE_CHECKING:
    import torch
    from torch import nn

# Inner products of vectors of length 1 differ by little: divided by this they can be as sure as a reader.
_UNIT_TEMPERATURE = 0.05


def suited_distillation(distillation: Distillation, encoder: Encoder) -> Distillation:
    """Return the distillation with the retriever's temperature that suits ``encoder``, where it is 0."""
    if distillation.retriever_temperature:
        return distillation
    unit = encoder.kind().get("normalize", True)
    return replace(distillation, retriever_temperature=_UNIT_TEMPERATURE if unit else encoder.dimension**0.5)


def kl_loss(
    question: torch.Tensor,
    passages: torch.Tensor,
    reader_scores: torch.Tensor,
    temperature: float = 1.0,
    retriever_temperature: float | None = None,
    reduction: str = "batchmean",
) -> torch.Tensor:
    """Return KL(softmax(reader scores) || softmax(inner products)), averaged over questions (section 3.3, eq. 4).

    Shapes: question (batch, dimension), passages (batch, n_passages, dimension), reader scores
    (batch, n_passages) with -inf where a question has fewer passages. ``reduction`` ``mean`` divides by the number of
    passages, too.
    """
    import torch
    from torch.nn.functional import kl_div

    scores = torch.einsum("bd,bnd->bn", question, passages)
    scores = scores / (retriever_temperature or question.shape[-1] ** 0.5)
    missing = reader_scores.isinf()
    log_retriever = scores.masked_fill(missing, -torch.inf).log_softmax(-1).masked_fill(missing, 0.0)
    total = kl_div(log_retriever, (reader_scores / temperature).softmax(-1), reduction="sum")
    return total / (len(question) if reduction == "batchmean" else scores.numel())


def fit_distilled(
    encoder: Encoder,
    examples: Sequence[Example],
    options: TrainOptions,
    checkpoints: Path,
    *,
    distillation: Distillation = PLAIN_DISTILLATION,
    resume: bool = False,
    on_step: OnStep | None = None,
    notes: Notes = no_notes,
) -> dict[str, float]:
    """Train ``encoder`` in place to rank each example's passages as their scores (the reader's) do."""
    dataset = distillation_dataset(examples, notes)
    distillation = suited_distillation(distillation, encoder)

    def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        import torch

        n_passages = max(len(row["passages"]) for row in rows)
        scores = torch.full((len(rows), n_passages), -torch.inf)
        positive = torch.zeros(len(rows), n_passages, dtype=torch.bool)
        for i, row in enumerate(rows):
            scores[i, : len(row["scores"])] = torch.tensor(row["scores"])
            positive[i, : len(row["scores"])] = torch.tensor(row["positive"])
        texts = [text for row in rows for text in row["passages"] + [""] * (n_passages - len(row["passages"]))]
        batch = encoder.tokenize([row["question"] for row in rows], QUESTION_TOKENS)
        passages = encoder.tokenize(texts, PASSAGE_TOKENS)
        return (
            {"question_" + k: v for k, v in batch.items()}
            | {"passage_" + k: v for k, v in passages.items()}
            | {
                "scores": scores,
                "positive": positive,
                "keys": torch.tensor([stable_hash(text) for text in texts]).view(len(rows), -1),
            }
        )

    def loss(_: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        question, passages = (encoder.embed(tensors_of(name, inputs)) for name in ("question", "passage"))
        candidates, scores = passages.view(len(question), -1, encoder.dimension), inputs["scores"]
        value = kl_loss(
            question,
            candidates,
            scores,
            distillation.temperature,
            distillation.retriever_temperature,
            distillation.reduction,
        )
        if distillation.contrast:
            value = value + distillation.contrast * best_positive_loss(
                question, candidates, scores, inputs["positive"], inputs["keys"], distillation.retriever_temperature
            )
        return value

    figures = train(
        encoder.model,
        dataset,
        collate,
        loss,
        options,
        checkpoints,
        average_gradients=True,
        resume=resume,
        keep_checkpoints=True,
        on_step=on_step,
    )
    encoder.model.eval()
    return figures


def best_positive_loss(
    question: torch.Tensor,
    passages: torch.Tensor,
    scores: torch.Tensor,
    positive: torch.Tensor,
    keys: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    """Return the in-batch loss of each question's best-scored positive passage; its other positives are no candidates.

    The passages of all processes are candidates.
    """
    import torch

    known = positive.any(dim=1, keepdim=True)
    best = scores.masked_fill(known & ~positive, -torch.inf).argmax(dim=1)
    mine = torch.arange(len(scores), device=scores.device)
    rest = ~scores.isinf() & ~positive
    rest[mine, best] = False
    candidates, names = (torch.cat((rows[mine, best], rows[rest])) for rows in (passages, keys))
    return in_batch_loss(question, gather_from_all(candidates), gather_from_all(names), temperature)
