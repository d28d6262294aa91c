"""Answers kept to the passages: what is decoded always stands in a passage, token after token."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from kofid.reader.fid.batch import Encoded

# A log probability below any that a token has; infinity would make sums of it no numbers.
IMPOSSIBLE = -1e4


@dataclass(frozen=True)
class PassageConstraint:
    """Where in a question's passages an answer so far stands, and so which tokens may come next.

    ``ids`` (n_states,) are the passages' tokens; ``continues`` (n_states,), bool, says which of them may follow the one
    before; ``places`` are the positions in ``ids`` of the tokens that may come next; ``end`` is the end token, which may come
    once the answer has ``begun``.
    """

    ids: torch.Tensor
    continues: torch.Tensor
    places: torch.Tensor
    end: int
    begun: bool = False

    @classmethod
    def begin(cls, encoded: Encoded, end: int) -> PassageConstraint:
        """Return the constraint of an answer that may begin anywhere in the passages, title and text."""
        n_question = encoded.n_question or [0] * len(encoded.lengths)
        offsets = [torch.arange(n) - first for n, first in zip(encoded.lengths, n_question, strict=True)]
        offset = torch.cat(offsets).to(encoded.ids.device)
        is_text = encoded.ids != end
        return cls(encoded.ids, is_text & (offset > 0), (is_text & (offset >= 0)).nonzero()[:, 0], end)

    def restrict(self, scores: torch.Tensor) -> torch.Tensor:
        """Return ``scores`` (n_vocabulary,) with every token impossible that does not go on where the answer stands."""
        allowed = torch.zeros_like(scores, dtype=torch.bool)
        allowed[self.ids[self.places]] = True
        allowed[self.end] = self.begun or not len(self.places)
        return scores.masked_fill(~allowed, IMPOSSIBLE)

    def after(self, token: int) -> PassageConstraint:
        """Return the constraint once ``token`` is written."""
        places = self.places[self.ids[self.places] == token] + 1
        places = places[places < len(self.ids)]
        return replace(self, places=places[self.continues[places]], begun=True)


def restrict_rows(scores: torch.Tensor, constraints: list[PassageConstraint]) -> torch.Tensor:
    """Return ``scores`` (n_rows, n_vocabulary), each row restricted by its constraint; as they are where there are none."""
    if not constraints:
        return scores
    return torch.stack([each.restrict(row) for each, row in zip(constraints, scores, strict=True)])
