"""What a fusion reader takes in and makes of it: passages packed one after another, and their states."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

# The label that the loss leaves out.
IGNORED = -100


@dataclass(frozen=True)
class Batch:
    """Passages of several questions, one after another without padding.

    ``input_ids`` (n_tokens,); ``lengths``: tokens of each passage; ``n_passages`` of each question;
    ``labels`` (n_questions, n_target_tokens), padded with -100; ``matches`` (n_tokens,): see ``kofid.reader.fid.lexical_match``;
    ``n_question``: how many of each passage's tokens, its first ones, are the question's.
    """

    input_ids: torch.Tensor
    lengths: list[int]
    n_passages: list[int]
    labels: torch.Tensor | None = None
    matches: torch.Tensor | None = None
    n_question: list[int] | None = None

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        labels = None if self.labels is None else self.labels.to(device)
        matches = None if self.matches is None else self.matches.to(device)
        return replace(self, input_ids=self.input_ids.to(device), labels=labels, matches=matches)


@dataclass(frozen=True)
class Encoded:
    """A question's encoder states (n_states, d_model), how many of them each passage has, and their tokens (n_states,).

    ``n_question``: how many of each passage's are the question's, where that is known.
    """

    states: torch.Tensor
    lengths: list[int]
    ids: torch.Tensor
    n_question: list[int] | None = None
