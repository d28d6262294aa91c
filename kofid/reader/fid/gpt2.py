"""A GPT-2 decoder (Radford et al. 2019) with cross-attention to a T5 encoder's states: the writing half of FiDSKT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

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
)
from kofid.reader.fid.t5 import activation

if TYPE_CHECKING:
    from transformers import GPT2Config


class _Block(nn.Module):
    def __init__(self, config: GPT2Config, n_kv_heads: int, *, crosses: bool) -> None:
        super().__init__()
        d_head = config.n_embd // config.n_head
        scale = d_head**-0.5 if config.scale_attn_weights else 1.0
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = Attention(config.n_embd, config.n_head, n_kv_heads, d_head, scale=scale, bias=True)
        if crosses:
            self.ln_cross_attn = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
            self.crossattention = CrossAttention(
                config.n_embd, config.n_head, n_kv_heads, d_head, scale=scale, bias=True
            )
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        inner = config.n_inner or 4 * config.n_embd
        self.c_fc = nn.Linear(config.n_embd, inner)
        self.c_proj = nn.Linear(inner, config.n_embd)
        self.activation = activation(config.activation_function)
        self.dropout = nn.Dropout(config.resid_pdrop)
        self.crosses = crosses

    def forward(
        self,
        hidden: torch.Tensor,
        mask: torch.Tensor,
        memories: Sequence[EncoderMemory] | None,
        past: KeysValues | None,
    ) -> tuple[torch.Tensor, KeysValues, torch.Tensor | None]:
        """Return the next hidden states (n_rows, n_tokens, d_model), keys and values so far, and cross-attention's input."""
        context, present = self.attn.attend_causally(self.ln_1(hidden), mask, past)
        hidden = hidden + self.dropout(context)
        cross_input = None
        if self.crosses and memories is not None:
            cross_input = self.ln_cross_attn(hidden)
            hidden = hidden + self.dropout(self.crossattention(cross_input, memories))
        hidden = hidden + self.dropout(self.c_proj(self.activation(self.c_fc(self.ln_2(hidden)))))
        return hidden, present, cross_input


class GPT2Decoder(nn.Module):
    """GPT-2 with cross-attention in some layers and perhaps fewer key-value heads."""

    def __init__(self, config: GPT2Config, cross_layers: Sequence[int], n_kv_heads: int) -> None:
        super().__init__()
        if config.scale_attn_by_inverse_layer_idx:
            raise InputError(
                say(
                    "scale_attn_by_inverse_layer_idx로 배운 GPT-2는 쓸 수 없습니다",
                    "a GPT-2 trained with scale_attn_by_inverse_layer_idx cannot be used",
                )
            )
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.h = nn.ModuleList(_Block(config, n_kv_heads, crosses=i + 1 in cross_layers) for i in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.dropout = nn.Dropout(config.embd_pdrop)
        self.n_heads = config.n_head

    @property
    def cross_attentions(self) -> list[CrossAttention | None]:
        """The layers' cross-attentions, None where there is none."""
        blocks = cast("list[_Block]", list(self.h))
        return [block.crossattention if block.crosses else None for block in blocks]

    def forward(self, embedded: torch.Tensor, memories: LayerMemories, past: Past | None = None) -> DecoderOutput:
        """Return what embeddings (n_rows, n_tokens, d_model) come to; the questions' rows lie one after another."""
        n_past = past[0][0].shape[2] if past else 0
        n_total = n_past + embedded.shape[1]
        positions = torch.arange(n_past, n_total, device=embedded.device)
        later = torch.arange(n_total, device=embedded.device)[None] > positions[:, None]
        mask = torch.zeros(later.shape, dtype=embedded.dtype, device=embedded.device).masked_fill(later, -torch.inf)
        hidden = self.dropout(embedded + self.wpe(positions))
        present: Past = []
        cross_inputs: list[torch.Tensor | None] = []
        expanded = mask.expand(self.n_heads, *mask.shape)
        for i, (block, layer_memories) in enumerate(zip(self.h, memories, strict=True)):
            hidden, keys_values, cross_input = block(hidden, expanded, layer_memories, past[i] if past else None)
            present.append(keys_values)
            cross_inputs.append(cross_input)
        return DecoderOutput(self.ln_f(hidden), present, cross_inputs)
