"""The layers of T5 (Raffel et al. 2020, section 2.1), for packed sequences.

Attribute names here (``wi_0``, ``DenseReluDense``, ``SelfAttention``, ``EncDecAttention``, ``layer``, ``block``, ...) are those
of T5 checkpoints, and ``layer`` has their order: so weights need no renaming. Class names are our own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from kofid.errors import InputError
from kofid.language import say
from kofid.reader.fid.attention import (
    Attention,
    CrossAttention,
    DecoderOutput,
    EncoderMemory,
    KeysValues,
    LayerMemories,
    Past,
    attend_packed,
)

if TYPE_CHECKING:
    from transformers import T5Config


class Norm(nn.Module):
    """Root mean square norm (Zhang and Sennrich 2019): no mean, no bias."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config.d_model))
        self.epsilon = config.layer_norm_epsilon

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return ``hidden`` (.., d_model), scaled."""
        return functional.rms_norm(hidden, self.weight.shape, self.weight, self.epsilon)


class _Dense(nn.Module):
    """The two products of a feed-forward layer; gated (Shazeer 2020) in T5 v1.1, where a third one is multiplied in."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        if config.is_gated_act:
            self.wi_0 = nn.Linear(config.d_model, config.d_ff, bias=False)
            self.wi_1 = nn.Linear(config.d_model, config.d_ff, bias=False)
        else:
            self.wi = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.wo = nn.Linear(config.d_ff, config.d_model, bias=False)
        self.dropout = nn.Dropout(config.dropout_rate)
        self.gated = config.is_gated_act
        self.activation = activation(config.dense_act_fn)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        inner = (
            self.activation(self.wi_0(hidden)) * self.wi_1(hidden) if self.gated else self.activation(self.wi(hidden))
        )
        return self.wo(self.dropout(inner))


def activation(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the activation that the configurations of T5, BERT and GPT-2 call ``name``."""
    activations: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "relu": functional.relu,
        "gelu": functional.gelu,
        "gelu_new": partial(functional.gelu, approximate="tanh"),
        "silu": functional.silu,
        "swish": functional.silu,
        "tanh": torch.tanh,
    }
    if name not in activations:
        raise InputError(
            say(
                f"모르는 활성 함수 {name}: {', '.join(activations)}",
                f"unknown activation {name}: there are {', '.join(activations)}",
            )
        )
    return activations[name]


class _FeedForward(nn.Module):
    """A feed-forward layer: norm before, what came in added after, as in all layers of T5."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.DenseReluDense = _Dense(config)
        self.layer_norm = Norm(config)
        self.dropout = nn.Dropout(config.dropout_rate)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden + self.dropout(self.DenseReluDense(self.layer_norm(hidden)))


class _FirstAttention(Attention):
    """The self-attention of the first layer: it holds the biases by distance that all layers use."""

    def __init__(self, config: T5Config, *heads: int) -> None:
        super().__init__(*heads)
        self.relative_attention_bias = nn.Embedding(config.relative_attention_num_buckets, config.num_heads)


class _SelfAttentionLayer(nn.Module):
    """Self-attention with its norm and dropout, which the blocks put together."""

    def __init__(self, config: T5Config, n_kv_heads: int, *, first: bool) -> None:
        super().__init__()
        heads = (config.d_model, config.num_heads, n_kv_heads, config.d_kv)
        self.SelfAttention = _FirstAttention(config, *heads) if first else Attention(*heads)
        self.layer_norm = Norm(config)
        self.dropout = nn.Dropout(config.dropout_rate)


class _CrossAttentionLayer(nn.Module):
    """Cross-attention with its norm and dropout, which the decoder's blocks put together."""

    def __init__(self, config: T5Config, n_kv_heads: int) -> None:
        super().__init__()
        self.EncDecAttention = CrossAttention(config.d_model, config.num_heads, n_kv_heads, config.d_kv)
        self.layer_norm = Norm(config)
        self.dropout = nn.Dropout(config.dropout_rate)


class _EncoderBlock(nn.Module):
    """An encoder layer: self-attention within each passage, then feed-forward."""

    def __init__(self, config: T5Config, *, first: bool) -> None:
        super().__init__()
        attention = _SelfAttentionLayer(config, config.num_heads, first=first)
        self.layer = nn.ModuleList([attention, _FeedForward(config)])

    @property
    def attention(self) -> _SelfAttentionLayer:
        return cast("_SelfAttentionLayer", self.layer[0])

    def forward(self, hidden: torch.Tensor, lengths: Sequence[int], bias: torch.Tensor) -> torch.Tensor:
        heads = self.attention.SelfAttention
        normed = self.attention.layer_norm(hidden)
        context = attend_packed(
            heads.q(normed), heads.k(normed), heads.v(normed), lengths, heads.d_head, heads.scale, bias
        )
        result: torch.Tensor = self.layer[1](hidden + self.attention.dropout(heads.o(context)))
        return result


class T5Encoder(nn.Module):
    """T5's encoder, over passages one after another, of any length."""

    max_tokens = None

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.block = nn.ModuleList(_EncoderBlock(config, first=i == 0) for i in range(config.num_layers))
        self.final_layer_norm = Norm(config)
        self.dropout = nn.Dropout(config.dropout_rate)
        self.config = config
        self.checkpointing = False

    @property
    def attentions(self) -> list[Attention]:
        """The layers' attentions."""
        return [block.attention.SelfAttention for block in cast("list[_EncoderBlock]", list(self.block))]

    @property
    def distance_biases(self) -> nn.Embedding:
        """What is added to logits by bucket of distance, (n_buckets, n_heads)."""
        return cast("_FirstAttention", self.attentions[0]).relative_attention_bias

    def forward(self, embedded: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        """Return the states (n_tokens, d_model) of passages of ``lengths`` from their embeddings (n_tokens, d_model)."""
        longest = max(lengths)
        positions = torch.arange(longest, device=embedded.device)
        bias = position_bias(self.distance_biases, self.config, positions, longest, both_ways=True)
        hidden = self.dropout(embedded)
        for block in self.block:
            if self.checkpointing and self.training:
                hidden = checkpoint(block, hidden, lengths, bias, use_reentrant=False)
            else:
                hidden = block(hidden, lengths, bias)
        return self.dropout(self.final_layer_norm(hidden))


class _DecoderBlock(nn.Module):
    """A decoder layer; one without cross-attention keeps its place empty (FiDO, de Jong et al. 2023, section 4.1)."""

    def __init__(self, config: T5Config, n_kv_heads: int, *, first: bool, crosses: bool) -> None:
        super().__init__()
        self.layer = nn.ModuleList([_SelfAttentionLayer(config, n_kv_heads, first=first)])
        self.layer.append(cast("nn.Module", _CrossAttentionLayer(config, n_kv_heads) if crosses else None))
        self.layer.append(_FeedForward(config))

    @property
    def attention(self) -> _SelfAttentionLayer:
        return cast("_SelfAttentionLayer", self.layer[0])

    @property
    def cross(self) -> _CrossAttentionLayer | None:
        return cast("_CrossAttentionLayer | None", self.layer[1])

    def forward(
        self,
        hidden: torch.Tensor,
        bias: torch.Tensor,
        memories: Sequence[EncoderMemory] | None,
        past: KeysValues | None,
    ) -> tuple[torch.Tensor, KeysValues, torch.Tensor | None]:
        """Return the next hidden states (n_rows, n_tokens, d_model), keys and values so far, and cross-attention's input."""
        attention = self.attention
        context, present = attention.SelfAttention.attend_causally(attention.layer_norm(hidden), bias, past)
        hidden = hidden + attention.dropout(context)
        cross_input = None
        if self.cross is not None and memories is not None:
            cross_input = self.cross.layer_norm(hidden)
            hidden = hidden + self.cross.dropout(self.cross.EncDecAttention(cross_input, memories))
        return self.layer[2](hidden), present, cross_input


class T5Decoder(nn.Module):
    """T5's decoder, with cross-attention in some layers and perhaps fewer key-value heads."""

    def __init__(self, config: T5Config, cross_layers: Sequence[int], n_kv_heads: int) -> None:
        super().__init__()
        self.block = nn.ModuleList(
            _DecoderBlock(config, n_kv_heads, first=i == 0, crosses=i + 1 in cross_layers)
            for i in range(config.num_decoder_layers)
        )
        self.final_layer_norm = Norm(config)
        self.dropout = nn.Dropout(config.dropout_rate)
        self.config = config

    @property
    def cross_attentions(self) -> list[CrossAttention | None]:
        """The layers' cross-attentions, None where there is none."""
        blocks = cast("list[_DecoderBlock]", list(self.block))
        return [None if block.cross is None else block.cross.EncDecAttention for block in blocks]

    def forward(self, embedded: torch.Tensor, memories: LayerMemories, past: Past | None = None) -> DecoderOutput:
        """Return what embeddings (n_rows, n_tokens, d_model) come to; the questions' rows lie one after another."""
        n_past = past[0][0].shape[2] if past else 0
        n_total = n_past + embedded.shape[1]
        first_attention = cast("_DecoderBlock", self.block[0]).attention.SelfAttention
        bias_table = cast("_FirstAttention", first_attention).relative_attention_bias
        positions = torch.arange(n_past, n_total, device=embedded.device)
        bias = position_bias(bias_table, self.config, positions, n_total, both_ways=False)
        hidden = self.dropout(embedded)
        present: Past = []
        cross_inputs: list[torch.Tensor | None] = []
        for i, (block, layer_memories) in enumerate(zip(self.block, memories, strict=True)):
            hidden, keys_values, cross_input = block(hidden, bias, layer_memories, past[i] if past else None)
            present.append(keys_values)
            cross_inputs.append(cross_input)
        return DecoderOutput(self.dropout(self.final_layer_norm(hidden)), present, cross_inputs)


def position_bias(
    table: nn.Embedding, config: T5Config, queries: torch.Tensor, n_keys: int, *, both_ways: bool
) -> torch.Tensor:
    """Return what is added to logits by distance, (n_heads, n_queries, n_keys).

    ``table`` (n_buckets, n_heads); ``queries`` (n_queries,) are positions, those of keys are 0 to ``n_keys`` - 1. Not
    ``both_ways``, as in the decoder, this is the causal mask too: -inf for keys that come later.

    Half of the buckets (a quarter each way) are for single distances, the others for ranges that grow by a constant
    factor up to the longest distance (Raffel et al. 2020, section 2.1).
    """
    offsets = torch.arange(n_keys, device=queries.device)[None] - queries[:, None]  # key - query
    buckets = config.relative_attention_num_buckets // (2 if both_ways else 1)
    exact = buckets // 2
    distance = offsets.abs() if both_ways else (-offsets).clamp(min=0)
    growth = math.log(config.relative_attention_max_distance / exact)
    far = exact + (torch.log(distance.clamp(min=1) / exact) / growth * (buckets - exact)).long()
    bucket = torch.where(distance < exact, distance, far.clamp(max=buckets - 1))
    if both_ways:
        bucket = bucket + buckets * (offsets > 0)
    bias: torch.Tensor = table(bucket).permute(2, 0, 1)
    return bias if both_ways else bias.masked_fill(offsets > 0, -torch.inf)
