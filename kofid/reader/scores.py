"""How much a reader attends to each passage: what a retriever can learn from it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from kofid.reader.batch import Encoded
from kofid.reader.fusion import FusionReader
from kofid.reader.heads import CrossAttention, Memory


@torch.inference_mode()
def score_passages(model: FusionReader, encoded: Sequence[Encoded]) -> list[list[float]]:
    """Return a score for each passage of each question.

    Cross-attention logits (before the softmax) of the first decoded token, averaged over heads, layers and the passage's
    states (Izacard and Grave 2021b, "Distilling Knowledge from Reader to Retriever", section 3.2).
    """
    sums = [torch.zeros(len(e.states), device=model.device) for e in encoded]
    layers = 0

    def add(attention: CrossAttention, asking: torch.Tensor, memories: Sequence[Memory]) -> None:
        nonlocal layers
        layers += 1
        for total, token, memory in zip(sums, asking[:, 0], memories, strict=True):
            total.add_(attention.logits(token[None], memory).mean(0)[0])

    start = torch.full((len(encoded), 1), model.start_token, device=model.device)
    if encoded:
        model.decode(start, model.remember(encoded), watch=add)
    return [
        [(own.sum() / max(1, len(own)) / layers).item() for own in torch.split(total, e.lengths)]
        for total, e in zip(sums, encoded, strict=True)
    ]
