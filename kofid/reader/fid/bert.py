"""The layers of BERT (Devlin et al. 2019, section 3), for packed sequences: an encoder that was pretrained.

Attribute names here (``embeddings``, ``LayerNorm``, ``layer``, ``attention.self.query``, ...) are those of BERT checkpoints,
so weights need no renaming: only the word vectors are elsewhere, with the reader that shares them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from kofid.errors import InputError
from kofid.language import say, setting
from kofid.reader.fid.attention import attend_packed
from kofid.reader.fid.t5 import activation

if TYPE_CHECKING:
    from transformers import BertConfig


class _Embeddings(nn.Module):
    """What is added to the vectors of words: those of their positions and of the first type of text, and a norm."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, embedded: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        """Return the first layer's input (n_tokens, d_model); positions begin anew in each passage."""
        positions = torch.cat([self.position_embeddings.weight[:n] for n in lengths])
        return self.dropout(self.LayerNorm(embedded + positions + self.token_type_embeddings.weight[0]))


class _Projections(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)


class _Output(nn.Module):
    """The last product of a layer, to which what came in is added; the norm comes after."""

    def __init__(self, config: BertConfig, n_inner: int) -> None:
        super().__init__()
        self.dense = nn.Linear(n_inner, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, inner: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.LayerNorm(hidden + self.dropout(self.dense(inner)))
        return result


class BertAttention(nn.Module):
    """Self-attention within each passage. Its weights have no dropout, as those of T5 here have none."""

    projections = ("self.query", "self.key", "self.value", "output.dense")

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.self = _Projections(config)
        self.output = _Output(config, config.hidden_size)
        self.d_head = config.hidden_size // config.num_attention_heads

    def forward(self, hidden: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        """Return ``hidden`` (n_tokens, d_model) with what its passages' tokens attend to added, normed."""
        q, k, v = self.self.query(hidden), self.self.key(hidden), self.self.value(hidden)
        result: torch.Tensor = self.output(attend_packed(q, k, v, lengths, self.d_head, self.d_head**-0.5), hidden)
        return result


class _Intermediate(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = activation(config.hidden_act)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.activation(self.dense(hidden))


class _Layer(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = BertAttention(config)
        self.intermediate = _Intermediate(config)
        self.output = _Output(config, config.intermediate_size)

    def forward(self, hidden: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        hidden = self.attention(hidden, lengths)
        result: torch.Tensor = self.output(self.intermediate(hidden), hidden)
        return result


class BertEncoder(nn.Module):
    """BERT's encoder, over passages one after another, each of at most ``max_tokens``."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.embeddings = _Embeddings(config)
        self.layer = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))
        self.max_tokens = config.max_position_embeddings
        self.checkpointing = False

    def forward(self, embedded: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        """Return the states (n_tokens, d_model) of passages of ``lengths`` from their words' vectors (n_tokens, d_model).

        Raises InputError for a passage that is too long.
        """
        longest = max(lengths)
        if longest > self.max_tokens:
            limit = setting("max_tokens", self.max_tokens)
            raise InputError(
                say(
                    f"토큰 {longest}개인 패시지: 이 인코더는 {self.max_tokens}개까지 읽습니다 ({limit})",
                    f"a passage of {longest} tokens: this encoder reads at most {self.max_tokens} ({limit})",
                )
            )
        hidden = self.embeddings(embedded, lengths)
        checkpointing = self.checkpointing and self.training
        for layer in self.layer:
            hidden = (
                checkpoint(layer, hidden, lengths, use_reentrant=False) if checkpointing else layer(hidden, lengths)
            )
        return hidden
