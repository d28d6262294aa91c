"""How much a reader attends to each passage: what a retriever can learn from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from kofid.reader.fid.attention import CrossAttention, EncoderMemory, ProjectedMemory, pays_to_absorb
from kofid.reader.fid.batch import IGNORED, Encoded
from kofid.reader.fid.config import ScoreMethod
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
    Grave 2021b, "Distilling Knowledge from Reader to Retriever", section 3.2). The other methods look at all tokens of an
    answer where there are ``labels``, (n_questions, n_tokens) padded with -100, and average over them; without labels at
    the first decoded token. ``answer``: the logits as in ``first``; it needs labels. ``max``: the highest of the passage's
    logits. ``norm``: the passage's share of attention, each state's times the norm of its value (Izacard et al. 2023,
    "Atlas", section 2.2; Kobayashi et al. 2020, section 3). ``absorbed``: see ``Decoding``.
    """
    if method == ScoreMethod.ANSWER and labels is None:
        raise ValueError("no answers to score by")
    if not encoded:
        return []
    if labels is None or method == ScoreMethod.FIRST:
        ids = torch.full((len(encoded), 1), model.start_token, device=model.device)
        is_counted = torch.ones_like(ids, dtype=torch.bool)
    else:
        ids, is_counted = model.decoder_inputs(labels), labels != IGNORED
    if absorbed is None:
        absorbed = pays_to_absorb(model.decoder.cross_attentions, ids.shape[1])
    memories = model.memories(encoded, absorbed=absorbed and method != ScoreMethod.NORM)  # the norm needs values
    cross_inputs = model.decode(ids, memories).cross_inputs
    score = _METHODS[ScoreMethod(method)]
    totals = [torch.zeros(len(e.lengths), device=model.device) for e in encoded]
    n_layers = 0
    for attention, hidden, layer_memories in zip(model.decoder.cross_attentions, cross_inputs, memories, strict=True):
        if attention is None or hidden is None or layer_memories is None:
            continue
        n_layers += 1
        for q, question in enumerate(encoded):
            if question.lengths:
                totals[q] += score(attention, hidden[q][is_counted[q]], layer_memories[q], question.lengths)
    return [(total / max(1, n_layers)).tolist() for total in totals]


# Each method returns a layer's score of each passage, (n_passages,), of passages that have ``lengths`` states in
# ``memory``, by the decoder states ``tokens`` (n_tokens, d_model). A passage without states has 0.


def _mean_logits(
    attention: CrossAttention, tokens: torch.Tensor, memory: EncoderMemory, lengths: list[int]
) -> torch.Tensor:
    logits = attention.logits(tokens, memory).float()  # (n_heads, n_tokens, n_states)
    by_passage = torch.split(logits.mean((0, 1)), lengths)
    return torch.stack([part.mean() if len(part) else part.new_zeros(()) for part in by_passage])


def _highest_logits(
    attention: CrossAttention, tokens: torch.Tensor, memory: EncoderMemory, lengths: list[int]
) -> torch.Tensor:
    """The highest is taken for each head and token; the mean of these is the score."""
    logits = attention.logits(tokens, memory).float()
    by_passage = torch.split(logits, lengths, dim=-1)
    return torch.stack([part.amax(-1).mean() if part.shape[-1] else part.new_zeros(()) for part in by_passage])


def _attended_norms(
    attention: CrossAttention, tokens: torch.Tensor, memory: EncoderMemory, lengths: list[int]
) -> torch.Tensor:
    if not isinstance(memory, ProjectedMemory):
        raise ValueError("an absorbed memory has no values")
    group = attention.n_heads // attention.n_kv_heads
    norms = memory.values.float().norm(dim=-1).repeat_interleave(group, dim=0)  # (n_heads, n_states)
    attended = attention.logits(tokens, memory).float().softmax(-1) * norms[:, None]
    return torch.stack([part.sum() for part in torch.split(attended.mean((0, 1)), lengths)])


_METHODS: dict[ScoreMethod, Callable[[CrossAttention, torch.Tensor, EncoderMemory, list[int]], torch.Tensor]] = {
    ScoreMethod.FIRST: _mean_logits,
    ScoreMethod.ANSWER: _mean_logits,
    ScoreMethod.MAX: _highest_logits,
    ScoreMethod.NORM: _attended_norms,
}
