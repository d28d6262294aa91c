"""How much a reader attends to each passage: what a retriever can learn from it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from kofid.reader.fid.attention import CrossAttention, Memory
from kofid.reader.fid.batch import IGNORED, Encoded
from kofid.reader.fid.generation import pays_to_absorb
from kofid.reader.fid.model import FusionReader


@torch.inference_mode()
def score_passages(
    model: FusionReader,
    encoded: Sequence[Encoded],
    how: str = "first",
    labels: torch.Tensor | None = None,
) -> list[list[float]]:
    """Return a score for each passage of each question, from cross-attention averaged over heads and layers.

    ``first``: logits (before the softmax) of the first decoded token, averaged over the passage's states (Izacard and
    Grave 2021b, "Distilling Knowledge from Reader to Retriever", section 3.2). ``answer``: the same averaged over all tokens
    of an answer, ``labels`` (n_questions, n_tokens) padded with -100; so the others, too, where labels are given. ``max``: the
    highest of the passage's logits. ``norm``: its share of attention, each state's times the length of its value (Izacard
    et al. 2023, "Atlas", section 2.2; Kobayashi et al. 2020, section 3).
    """
    if how == "answer" and labels is None:
        raise ValueError("no answers to score by")
    start = torch.full((len(encoded), 1), model.start_token, device=model.device)
    given, counted = start, torch.ones_like(start, dtype=torch.bool)
    if labels is not None:
        given = torch.cat((start, labels[:, :-1].masked_fill(labels[:, :-1] == IGNORED, 0)), dim=1)
        counted = labels != IGNORED
    totals = [torch.zeros(len(e.lengths), device=model.device) for e in encoded]
    layers = 0

    def add(attention: CrossAttention, asking: torch.Tensor, memories: Sequence[Memory]) -> None:
        nonlocal layers
        layers += 1
        for total, tokens, keep, memory, e in zip(totals, asking, counted, memories, encoded, strict=True):
            logits = attention.logits(tokens[keep], memory).float()  # (n_heads, n_tokens, n_states)
            if how == "norm":
                lengths = _value_lengths(attention, memory)
                logits = logits.softmax(-1) * lengths[:, None]
            parts = torch.split(logits.mean((0, 1)) if how != "max" else logits, e.lengths, dim=-1)
            if parts:
                total.add_(torch.stack([_of_passage(part, how) for part in parts]))

    if encoded:
        absorbed = how != "norm" and pays_to_absorb(model, given.shape[1])  # lengths of values need values
        model.decode(given, model.remember(encoded, absorbed=absorbed), watch=add)
    return [(total / max(1, layers)).tolist() for total in totals]


def _of_passage(part: torch.Tensor, how: str) -> torch.Tensor:
    """Return what a passage's states come to: their mean, the mean of heads' and tokens' highest, or their sum."""
    if not part.shape[-1]:
        return part.new_zeros(())
    if how == "max":
        return part.amax(-1).mean()
    return part.sum() if how == "norm" else part.mean()


def _value_lengths(attention: CrossAttention, memory: Memory) -> torch.Tensor:
    """Return the Euclidean lengths of values, (n_heads, n_states): those of a group of heads are the same."""
    if memory.values is None:
        raise ValueError("an absorbed memory has no values")
    group = attention.n_heads // attention.n_kv_heads
    return memory.values.float().norm(dim=-1).repeat_interleave(group, dim=0)
