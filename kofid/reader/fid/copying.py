"""Copying from the passages: a pointer beside the vocabulary (See et al. 2017, "Get To The Point", section 2.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from kofid.reader.fid.batch import Encoded

_LEAST = 1e-9


class Copying(nn.Module):
    """Mixes the vocabulary's distribution with attention to the tokens of the passages."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.query = nn.Linear(d_model, d_model, bias=False)
        self.gate = nn.Linear(d_model, 1)

    def start(self, *, fresh: bool) -> None:
        """Set first weights: of a ``fresh`` reader at random, for a trained one such that it hardly copies as yet."""
        nn.init.normal_(self.query.weight, std=self.query.in_features**-0.5)
        nn.init.normal_(self.gate.weight, std=self.query.in_features**-0.5 if fresh else 0.0)
        nn.init.constant_(self.gate.bias, 0.0 if fresh else -4.0)

    def forward(self, hidden: torch.Tensor, logits: torch.Tensor, encoded: Sequence[Encoded]) -> torch.Tensor:
        """Return log probabilities (n_rows, n_tokens, n_vocabulary).

        Of decoder states ``hidden`` (n_rows, n_tokens, d_model), ``logits`` over the vocabulary, and the questions'
        passages, to each of which an equal share of the rows belongs:
        log((1 - g) softmax(logits) + g sum of attention to the states whose token it is), g = sigmoid(gate).
        """
        share = torch.sigmoid(self.gate(hidden).float())
        mixed = (1 - share) * logits.float().softmax(-1)
        rows = len(hidden) // len(encoded)
        queries = self.query(hidden) * hidden.shape[-1] ** -0.5
        parts = []
        for gate, query, e in zip(share.split(rows), queries.split(rows), encoded, strict=True):
            attention = (query @ e.states.T).float().softmax(-1) * gate
            places = e.ids.expand_as(attention)
            parts.append(mixed.new_zeros(*attention.shape[:-1], mixed.shape[-1]).scatter_add(-1, places, attention))
        return (mixed + torch.cat(parts)).clamp_min(_LEAST).log()
