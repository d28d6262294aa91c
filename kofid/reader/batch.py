"""A batch for a fusion reader: passages packed one after another."""

from __future__ import annotations

from dataclasses import dataclass

import torch

# The label that the loss leaves out.
IGNORED = -100


@dataclass
class Batch:
    """Passages of several questions, one after another without padding.

    ``input_ids`` (n_tokens,); ``lengths``: tokens of each passage; ``n_passages`` of each question;
    ``labels`` (n_questions, n_target_tokens), padded with -100.
    """

    input_ids: torch.Tensor
    lengths: list[int]
    n_passages: list[int]
    labels: torch.Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        labels = None if self.labels is None else self.labels.to(device)
        return Batch(self.input_ids.to(device), self.lengths, self.n_passages, labels)
