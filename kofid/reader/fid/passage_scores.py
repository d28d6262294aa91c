"""How much a reader attends to each passage: what a retriever can learn from it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from kofid.reader.fid.attention import CrossAttention, EncoderMemory
from kofid.reader.fid.batch import IGNORED, Encoded
from kofid.reader.fid.config import ScoreMethod
from kofid.reader.fid.generation import pays_to_absorb
from kofid.reader.fid.model import FusionReader


@torch.inference_mode()
def score_passages(
    model: FusionReader,
    encoded: Sequence[Encoded],
    method: str = ScoreMethod.FIRST,
    labels: torch.Tensor | None = None,
    *,
    absorbed: bool | None = None,
) -> list[list[float]]:
    """Return a score for each passage of each question, from cross-attention averaged over heads and layers.

    ``first``: logits (before the softmax) of the first decoded token, averaged over the passage's states (Izacard and
    Grave 2021b, "Distilling Knowledge from Reader to Retriever", section 3.2). ``answer``: the same averaged over all tokens
    of an answer, ``labels`` (n_questions, n_tokens) padded with -100; so the others, too, where labels are given. ``max``: the
    highest of the passage's logits. ``norm``: its share of attention, each state's times the length of its value (Izacard
    et al. 2023, "Atlas", section 2.2; Kobayashi et al. 2020, section 3). ``absorbed``: None where it pays.
    """
    if method == ScoreMethod.ANSWER and labels is None:
        raise ValueError("no answers to score by")
    if not encoded:
        return []
    if labels is None:
        ids = torch.full((len(encoded), 1), model.start_token, device=model.device)
        counted = torch.ones_like(ids, dtype=torch.bool)
    else:
        ids, counted = model.decoder_inputs(labels), labels != IGNORED
    if absorbed is None:
        absorbed = pays_to_absorb(model, ids.shape[1])
    memories = model.memories(encoded, absorbed=absorbed and method != ScoreMethod.NORM)  # the norm needs values
    totals = [torch.zeros(len(e.lengths), device=model.device) for e in encoded]
    layers = [
        layer
        for layer in zip(
            model.decoder.cross_attentions, model.decode(ids, memories).cross_inputs, memories, strict=True
        )
        if layer[0] is not None
    ]
    for attention, hidden, layer_memories in layers:
        assert attention is not None and hidden is not None and layer_memories is not None
        rows = zip(totals, hidden, counted, layer_memories, encoded, strict=True)
        for total, tokens, kept_tokens, memory, question in rows:
            total.add_(_scores_of_layer(attention, tokens[kept_tokens], memory, question.lengths, method))
    return [(total / max(1, len(layers))).tolist() for total in totals]


def _scores_of_layer(
    attention: CrossAttention, tokens: torch.Tensor, memory: EncoderMemory, lengths: list[int], method: str
) -> torch.Tensor:
    """Return a layer's score of each passage, (n_passages,), by decoder states ``tokens`` (n_tokens, d_model)."""
    if not lengths:
        return tokens.new_zeros(0)
    logits = attention.logits(tokens, memory).float()  # (n_heads, n_tokens, n_states)
    if method == ScoreMethod.NORM:
        logits = logits.softmax(-1) * _value_lengths(attention, memory)[:, None]
    parts = torch.split(logits.mean((0, 1)) if method != ScoreMethod.MAX else logits, lengths, dim=-1)
    return torch.stack([_of_passage(part, method) for part in parts])


def _of_passage(part: torch.Tensor, method: str) -> torch.Tensor:
    """Return what a passage's states come to: their mean, the mean of heads' and tokens' highest, or their sum."""
    if not part.shape[-1]:
        return part.new_zeros(())
    if method == ScoreMethod.MAX:
        return part.amax(-1).mean()
    return part.sum() if method == ScoreMethod.NORM else part.mean()


def _value_lengths(attention: CrossAttention, memory: EncoderMemory) -> torch.Tensor:
    """Return the Euclidean lengths of values, (n_heads, n_states): those of a group of heads are the same."""
    if memory.values is None:
        raise ValueError("an absorbed memory has no values")
    group = attention.n_heads // attention.n_kv_heads
    return memory.values.float().norm(dim=-1).repeat_interleave(group, dim=0)
