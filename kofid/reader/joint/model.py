"""The joint reader's model in torch: for training, and for tests of what runs without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import BertModel


class Scores(NamedTuple):
    """What the model says of B rows of n pieces: ``start`` and ``end`` of the answer (B, n), ``relevance`` of the row (B,)."""

    start: Tensor
    end: Tensor
    relevance: Tensor


class JointModel(nn.Module):
    """An encoder with two heads: where the answer starts and ends, and whether the window answers at all.

    All scores are logits that no row normalises by itself, so that they compare across windows and passages (shared
    normalisation, Clark and Gardner 2018, "Simple and Effective Multi-Paragraph Reading Comprehension", section 3.3).
    """

    def __init__(self, encoder: BertModel) -> None:
        """Put fresh heads on ``encoder``."""
        super().__init__()
        hidden = encoder.config.hidden_size
        self.encoder = encoder
        self.span = nn.Linear(hidden, 2)
        self.relevance = nn.Linear(hidden, 1)
        for head in (self.span, self.relevance):
            nn.init.normal_(head.weight, std=0.02)
            nn.init.zeros_(head.bias)

    def forward(self, ids: Tensor, types: Tensor, attended: Tensor) -> Scores:
        """Return the scores of rows: ``ids``, ``types`` (whether the question says a piece's word) and ``attended``, (B, n)."""
        states = self.encoder(input_ids=ids, token_type_ids=types, attention_mask=attended).last_hidden_state
        start, end = self.span(states).float().unbind(-1)
        return Scores(start, end, self.relevance(states[:, 0]).float().squeeze(-1))
