"""Distilling a reader into a retriever (Izacard and Grave 2021b, "Distilling Knowledge from Reader to Retriever")."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kofid.errors import InputError
from kofid.language import say
from kofid.reader.fid.reader import SCORED_AT_A_TIME, FiDReader
from kofid.retrieval.dense.base import PASSAGE_TOKENS, QUESTION_TOKENS, Encoder
from kofid.storage.files import write_file
from kofid.training.contrast import everywhere, in_batch_loss, key, part
from kofid.training.data import distillation_dataset
from kofid.training.trainer import TrainOptions, train
from kofid.types import Example, Hit, OnStep

if TYPE_CHECKING:
    import torch
    from torch import nn


def score_examples(
    reader: FiDReader,
    examples: Sequence[Example],
    progress: Callable[[Iterable[Any], int], Iterable[Any]] = lambda items, _: items,
    how: str = "first",
    journal: Path | None = None,
) -> Iterator[Example]:
    """Yield the examples, each hit's score replaced by the reader's cross-attention score (see ``score_passages``).

    ``first`` looks at the first decoded token; the others at all tokens of the answer where every example has one. What is
    scored is kept in ``journal``, a line of scores a question; those of an earlier run that was stopped are not made again.
    """
    answers = [e.target or next(iter(e.question.answers), "") for e in examples]
    known = answers if how != "first" and all(answers) else None
    if how == "answer" and known is None:
        raise InputError(say("답(answers)이 없는 질문이 있습니다", "some questions have no answers to score by"))
    kept = _whole_lines(journal)[: len(examples)] if journal else []
    n = len(kept) - len(kept) % SCORED_AT_A_TIME
    rest = [(e.question.text, e.hits) for e in examples[n:]]
    scored = (
        [replace(hit, score=score, source="reader") for hit, score in zip(e.hits, row, strict=True)]
        for e, row in zip(examples, kept[:n], strict=False)
    )
    new = _kept_in(journal, kept[:n], reader.score(rest, how, known[n:] if known else None))
    for example, hits in zip(examples, progress(chain(scored, new), len(examples)), strict=True):
        yield replace(example, hits=tuple(hits))


def _whole_lines(journal: Path) -> list[list[float]]:
    """Return the rows of a journal; its last line may be half written."""
    text = journal.read_text(encoding="utf-8") if journal.is_file() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def _kept_in(journal: Path | None, rows: Sequence[Sequence[float]], new: Iterable[list[Hit]]) -> Iterator[list[Hit]]:
    """Yield what is new and write its scores after ``rows``."""
    if journal is None:
        yield from new
        return
    write_file(journal, (json.dumps(row) + "\n" for row in rows))
    with journal.open("a", encoding="utf-8", buffering=1) as file:  # a line at a time
        for hits in new:
            file.write(json.dumps([hit.score for hit in hits]) + "\n")
            yield hits


@dataclass(frozen=True)
class Distillation:
    """How the retriever follows the reader.

    ``temperature`` divides the reader's scores, ``retriever_temperature`` the inner products: 0 is the square root of the
    dimension (section 3.3), or 0.05 where vectors have length 1. ``reduction`` is ``batchmean``, the divergence of a question
    averaged over questions, or ``mean``, that over passages too. ``contrast`` adds so much of the loss of one passage
    among those of the whole batch (Karpukhin et al. 2020, section 3.2): the best-scored of those that are gold, or say an answer
    where no gold is known; of all where there are none such.
    """

    temperature: float = 1.0
    retriever_temperature: float = 0.0
    reduction: str = "batchmean"
    contrast: float = 0.0

    def suited(self, encoder: Encoder) -> Distillation:
        """Return this with the retriever's own temperature."""
        if self.retriever_temperature:
            return self
        unit = encoder.kind().get("normalize", True)
        return replace(self, retriever_temperature=_UNIT if unit else encoder.dimension**0.5)


# Inner products of vectors of length 1 differ by little: divided by this they can be as sure as a reader.
_UNIT = 0.05


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


def distill(
    encoder: Encoder,
    examples: Sequence[Example],
    options: TrainOptions,
    checkpoints: Path,
    *,
    how: Distillation | None = None,
    resume: bool = False,
    on_step: OnStep | None = None,
) -> dict[str, float]:
    """Train ``encoder`` in place to rank each example's passages as their scores (the reader's) do."""
    dataset = distillation_dataset(examples)
    chosen = (how or Distillation()).suited(encoder)

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
                "keys": torch.tensor([key(text) for text in texts]).view(len(rows), -1),
            }
        )

    def loss(_: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        question, passages = (encoder.embed(part(name, inputs)) for name in ("question", "passage"))
        own, scores = passages.view(len(question), -1, encoder.dimension), inputs["scores"]
        value = kl_loss(question, own, scores, chosen.temperature, chosen.retriever_temperature, chosen.reduction)
        if chosen.contrast:
            value = value + chosen.contrast * _contrast(
                question, own, scores, inputs["positive"], inputs["keys"], chosen.retriever_temperature
            )
        return value

    figures = train(
        encoder.model,
        dataset,
        collate,
        loss,
        options,
        checkpoints,
        by_itself=True,
        resume=resume,
        keep=True,
        on_step=on_step,
    )
    encoder.model.eval()
    return figures


def _contrast(
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
    return in_batch_loss(question, everywhere(candidates), everywhere(names), temperature)
