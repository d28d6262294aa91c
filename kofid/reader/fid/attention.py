"""Attention over packed sequences: they lie one after another without padding, so there is no padding to mask.

The one mask is the causal one, -inf in the bias of the decoder's self-attention for later tokens.

Heads of keys and values may be fewer than heads of queries (grouped-query attention, Ainslie et al. 2023; one of each is
multi-query attention, Shazeer 2019). A *group* is the n_heads / n_kv_heads query heads that share one head of keys and
values. Its queries are rows of one product with these keys, (group x n_queries, d_head): no key is repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

KeysValues = tuple[torch.Tensor, torch.Tensor]
# Keys and values of the tokens decoded so far, by layer, each (n_rows, n_kv_heads, n_tokens, d_head).
Past = list[KeysValues]


class Attention(nn.Module):
    """Projections of one attention layer.

    ``q`` maps (.., d_model) to ``n_heads`` heads, ``k`` and ``v`` to ``n_kv_heads`` (a divisor of ``n_heads``), ``o``
    back. Logits are multiplied by ``scale``: d_head ** -0.5 in GPT-2, 1 in T5 (its
    queries start out small instead).
    """

    projections = ("q", "k", "v", "o")

    def __init__(
        self, d_model: int, n_heads: int, n_kv_heads: int, d_head: int, *, scale: float = 1.0, bias: bool = False
    ) -> None:
        super().__init__()
        if n_heads % n_kv_heads:
            raise ValueError(f"{n_kv_heads} key-value heads do not divide {n_heads} heads")
        self.n_heads, self.n_kv_heads, self.d_head, self.scale = n_heads, n_kv_heads, d_head, scale
        self.q = nn.Linear(d_model, n_heads * d_head, bias=bias)
        self.k = nn.Linear(d_model, n_kv_heads * d_head, bias=bias)
        self.v = nn.Linear(d_model, n_kv_heads * d_head, bias=bias)
        self.o = nn.Linear(n_heads * d_head, d_model, bias=bias)

    def queries(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return queries (n_kv_heads, group x n, d_head) of ``hidden`` (n, d_model): in each group one head after another."""
        split = self.q(hidden).view(-1, self.n_heads, self.d_head).transpose(0, 1)
        return split.reshape(self.n_kv_heads, -1, self.d_head)

    def keys_values(self, hidden: torch.Tensor) -> KeysValues:
        """Return keys and values (n_kv_heads, n, d_head) of ``hidden`` (n, d_model)."""
        k, v = (part(hidden).view(-1, self.n_kv_heads, self.d_head).transpose(0, 1) for part in (self.k, self.v))
        return k, v

    def concatenate(self, context: torch.Tensor) -> torch.Tensor:
        """Return what ``attend`` gave, (n_kv_heads, group x n, d_head), with the heads side by side: (n, n_heads x d_head)."""
        return context.view(self.n_heads, -1, self.d_head).transpose(0, 1).flatten(1)

    def attend(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return softmax(scale q k + bias) v of one sequence, (n_kv_heads, group x n_queries, d_head), like ``q``.

        ``k`` and ``v`` (n_kv_heads, n_keys, d_head); ``bias`` (n_heads, n_queries, n_keys).
        """
        if bias is not None:
            bias = bias.reshape(self.n_kv_heads, -1, bias.shape[-1])
        return softmax_attention(q, k, v, self.scale, bias)

    def attend_causally(
        self, hidden: torch.Tensor, bias: torch.Tensor, past: KeysValues | None
    ) -> tuple[torch.Tensor, KeysValues]:
        """Return self-attention of ``hidden`` (n_rows, n_tokens, d_model) to itself and the past, and the new past.

        ``bias`` (n_heads, n_tokens, n_past + n_tokens) is -inf where a token must not look. The past is keys and values
        of shape (n_rows, n_kv_heads, n_past, d_head).
        """
        rows, n, _ = hidden.shape
        q, k, v = (part(hidden).view(rows, n, -1, self.d_head).transpose(1, 2) for part in (self.q, self.k, self.v))
        if past is not None:
            k, v = (torch.cat(pair, dim=2) for pair in zip(past, (k, v), strict=True))
        q = q.reshape(rows, self.n_kv_heads, -1, self.d_head)
        grouped = bias.reshape(1, self.n_kv_heads, -1, bias.shape[-1])
        context = scaled_dot_product_attention(q, k, v, attn_mask=grouped.to(q.dtype), scale=self.scale)
        context = context.view(rows, self.n_heads, n, self.d_head).transpose(1, 2).flatten(2)
        return self.o(context), (k, v)


@dataclass(frozen=True)
class ProjectedMemory:
    """Keys and values of one question's encoder states, each (n_kv_heads, n_states, d_head)."""

    keys: torch.Tensor
    values: torch.Tensor


@dataclass(frozen=True)
class AbsorbedMemory:
    """One question's encoder states (n_states, d_model) as they are: queries are brought to them."""

    states: torch.Tensor


# What a cross-attention layer attends to, for one question.
EncoderMemory = ProjectedMemory | AbsorbedMemory
# The memories of all questions, for each decoder layer; None where a layer has no cross-attention.
LayerMemories = Sequence[Sequence[EncoderMemory] | None]


class DecoderOutput(NamedTuple):
    """What a decoder makes of some tokens.

    ``hidden`` (n_rows, n_tokens, d_model); ``past``: what the next tokens need; ``cross_inputs``: for each layer the states
    (n_rows, n_tokens, d_model) that its cross-attention was given, None where it has none (see ``CrossAttention.logits``).
    """

    hidden: torch.Tensor
    past: Past
    cross_inputs: list[torch.Tensor | None]


class CrossAttention(Attention):
    """Attention of the decoder to a question's encoder states."""

    def memory(self, states: torch.Tensor, *, absorbed: bool = False) -> EncoderMemory:
        """Return what attention to ``states`` (n_states, d_model) needs.

        ``absorbed`` makes no keys and values: the key projection moves into the query, q (W x) = (q W) x, and the value
        projection comes after the attention. The result is the same and nothing is stored but the states, which all layers
        share. It pays for few tokens over many states: see ``pays_to_absorb``.
        """
        return AbsorbedMemory(states) if absorbed else ProjectedMemory(*self.keys_values(states))

    def forward(self, hidden: torch.Tensor, memories: Sequence[EncoderMemory]) -> torch.Tensor:
        """Return attention of ``hidden`` (n_rows, n_tokens, d_model) to the memories, an equal share of rows to each."""
        rows = len(hidden) // len(memories)
        parts = [self._attend_to(part.flatten(0, 1), m) for part, m in zip(hidden.split(rows), memories, strict=True)]
        return self.o(torch.cat(parts)).view_as(hidden)

    def _attend_to(self, hidden: torch.Tensor, memory: EncoderMemory) -> torch.Tensor:
        """Return attention of ``hidden`` (n, d_model) to one question's memory, (n, n_heads x d_head), before ``o``."""
        q = self.queries(hidden)  # (n_kv_heads, group x n, d_head)
        if isinstance(memory, ProjectedMemory):
            return self.concatenate(self.attend(q, memory.keys, memory.values))
        states = memory.states[None]  # (1, n_states, d_model): keys and values of all heads at once
        asking = self._absorb(q).flatten(0, 1)[None]  # (1, n_heads x n, d_model); a bias of keys moves all logits alike
        mixed = softmax_attention(asking, states, states, self.scale)  # (1, n_heads x n, d_model)
        value = self.v.weight.view(self.n_kv_heads, self.d_head, -1)  # (n_kv_heads, d_head, d_model)
        context = torch.bmm(mixed.view(self.n_kv_heads, -1, states.shape[-1]), value.transpose(1, 2))  # as q
        if self.v.bias is not None:  # attention sums to one, so the bias is added once
            context = context + self.v.bias.view(self.n_kv_heads, 1, self.d_head)
        return self.concatenate(context)

    def logits(self, hidden: torch.Tensor, memory: EncoderMemory) -> torch.Tensor:
        """Return logits before the softmax, (n_heads, n, n_states), of ``hidden`` (n, d_model)."""
        q = self.scale * self.queries(hidden)  # (n_kv_heads, group x n, d_head)
        if isinstance(memory, ProjectedMemory):
            logits = q @ memory.keys.transpose(1, 2)  # (n_kv_heads, group x n, n_states)
        else:
            logits = self._absorb(q) @ memory.states.T
            if self.k.bias is not None:
                logits = logits + q @ self.k.bias.view(self.n_kv_heads, self.d_head, 1)
        return logits.view(self.n_heads, len(hidden), -1)

    def _absorb(self, q: torch.Tensor) -> torch.Tensor:
        """Return queries (n_kv_heads, n, d_head) with the key projection in them, to meet states: (n_kv_heads, n, d_model)."""
        return torch.bmm(q, self.k.weight.view(self.n_kv_heads, self.d_head, -1))


def pays_to_absorb(attentions: Sequence[CrossAttention | None], n_tokens: int) -> bool:
    """Tell whether ``n_tokens`` decoded tokens cost less by absorbed memories than by keys and values.

    ``attentions``: a decoder's cross-attentions, all of one shape. In multiplications for a state and layer: keys and
    values cost 2 n_kv_heads d_head d_model once; absorbed, each token costs 2 n_heads (d_model - d_head) more.
    """
    attention = next(a for a in attentions if a is not None)
    d_model = attention.k.in_features
    once = 2 * attention.n_kv_heads * attention.d_head * d_model
    more = 2 * attention.n_heads * (d_model - attention.d_head)
    return more * n_tokens < once


def attend_packed(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    lengths: Sequence[int],
    d_head: int,
    scale: float,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return attention within each of the sequences of ``lengths``, whose q, k and v (n, n_heads x d_head) are packed; like ``q``.

    ``bias`` (n_heads, longest, longest). So the projections before and after are one product for all sequences.
    """
    context = []
    for n, *qkv in zip(lengths, *(x.split(list(lengths)) for x in (q, k, v)), strict=True):
        queries, keys, values = (x.view(n, -1, d_head).transpose(0, 1) for x in qkv)
        attended = softmax_attention(queries, keys, values, scale, None if bias is None else bias[:, :n, :n])
        context.append(attended.transpose(0, 1).flatten(1))
    return torch.cat(context)


def softmax_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Return softmax(scale q k + bias) v, (n, n_queries, d), of n products side by side.

    ``q`` (n, n_queries, d); ``k`` and ``v`` (n, n_keys, d); ``bias`` (n, n_queries, n_keys). Here n is the number of
    key-value heads and n_queries counts those of a whole group; absorbed, n is 1 and n_queries counts those of all heads.

    On a CPU torch's fused attention in 16 bits is slower than two products: twice within a passage, several times where few
    queries ask many keys.
    """
    if q.dtype == torch.bfloat16 and q.device.type == "cpu":
        k = k.transpose(1, 2)
        logits = scale * torch.bmm(q, k) if bias is None else torch.baddbmm(bias.to(q.dtype), q, k, alpha=scale)
        return torch.bmm(logits.softmax(-1), v)
    mask = None if bias is None else bias[None]
    return scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=mask, scale=scale)[0]


def pooled_heads(weight: torch.Tensor, n_heads: int, n_kv_heads: int) -> torch.Tensor:
    """Return key or value weights (n_heads x d_head, ..) as (n_kv_heads x d_head, ..), each the mean of its group.

    Ainslie et al. 2023 ("GQA"), section 2.1.
    """
    grouped = weight.view(n_kv_heads, n_heads // n_kv_heads, -1, *weight.shape[1:])
    return grouped.mean(1).flatten(0, 1)
