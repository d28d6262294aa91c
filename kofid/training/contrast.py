"""Telling a question's passage from those of others: the loss of dense retrievers, over one process or many."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed, nn
from torch.nn.functional import cross_entropy, pad
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from kofid.retrieval.dense.base import Encoder
    from kofid.training.options import Contrast


def in_batch_loss(
    questions: torch.Tensor, passages: torch.Tensor, keys: torch.Tensor, temperature: float = 1.0
) -> torch.Tensor:
    """Return the cross-entropy of each question's own passage among all of the batch (Karpukhin et al. 2020, section 3.2).

    ``questions`` (batch, dimension); ``passages`` (batch or more, dimension), of which the i-th is gold for the i-th
    question; ``keys`` (n_passages,) are equal where passages are the same: another's gold that is one's own is left out.
    """
    n = len(questions)
    row = torch.arange(n, device=questions.device)
    scores = (questions @ passages.T).float() / temperature
    same = keys[:n, None] == keys[None]
    same[row, row] = False
    return cross_entropy(scores.masked_fill(same, -torch.inf), row)


def contrastive_loss(encoder: Encoder, contrast: Contrast) -> Callable[[nn.Module, dict[str, Any]], torch.Tensor]:
    """Return the loss of a batch: tensors of questions and passages by their prefixes, and the passages' ``keys``.

    The passages of all processes are candidates, so that several with small batches are one with a large one.
    """

    def loss(_: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        questions, passages = (
            _embedded(encoder, tensors_of(name, inputs), contrast.at_a_time) for name in ("question", "passage")
        )
        keys = inputs["keys"]
        n = len(questions)
        value = in_batch_loss(questions, gather_from_all(passages), gather_from_all(keys), contrast.temperature)
        if contrast.symmetric:
            back = in_batch_loss(
                passages[:n], gather_from_all(questions), gather_from_all(keys[:n]), contrast.temperature
            )
            value = (value + back) / 2
        return value

    return loss


def gather_from_all(rows: torch.Tensor) -> torch.Tensor:
    """Return the rows of all processes, this one's first; gradients go back to where they came from."""
    if not distributed.is_available() or not distributed.is_initialized() or distributed.get_world_size() == 1:
        return rows
    from torch.distributed.nn.functional import all_gather

    sizes = [torch.zeros(1, dtype=torch.long, device=rows.device) for _ in range(distributed.get_world_size())]
    distributed.all_gather(sizes, torch.tensor([len(rows)], device=rows.device))
    longest = max(int(size) for size in sizes)
    padded = pad(rows, (0, 0) * (rows.dim() - 1) + (0, longest - len(rows)))
    rows_of_rank = [part[: int(size)] for part, size in zip(all_gather(padded), sizes, strict=True)]  # type: ignore[no-untyped-call]
    mine = rows_of_rank.pop(distributed.get_rank())
    return torch.cat([mine, *rows_of_rank])


def stable_hash(name: str) -> int:
    """Return a number that is the same for a name in every process."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), signed=True)


def _embedded(encoder: Encoder, batch: dict[str, torch.Tensor], at_a_time: int) -> torch.Tensor:
    """Return vectors of a batch; of parts of it one after another, each embedded anew on the way back."""
    if not at_a_time or "offsets" in batch:
        return encoder.embed(batch)
    parts = zip(*(torch.split(tensor, at_a_time) for tensor in batch.values()), strict=True)
    embedded = [checkpoint(encoder.embed, dict(zip(batch, part, strict=True)), use_reentrant=False) for part in parts]
    return torch.cat(embedded)


def tensors_of(prefix: str, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return what of a batch's tensors belongs to questions or to passages."""
    return {n.removeprefix(prefix + "_"): t for n, t in inputs.items() if n.startswith(prefix + "_")}
