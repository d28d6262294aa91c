"""Answers from a fusion reader, a token at a time: the likeliest (greedy), the best of several beams, or sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from kofid.reader.fid.attention import LayerMemories, Past, pays_to_absorb
from kofid.reader.fid.batch import Encoded
from kofid.reader.fid.config import Decoding
from kofid.reader.fid.constrained import IMPOSSIBLE, PassageConstraint, restrict_rows
from kofid.reader.fid.model import FusionReader


@dataclass(frozen=True)
class Decoded:
    """An answer's tokens, without start and end, and the log probability of each, the end's included."""

    ids: list[int]
    log_probabilities: list[float]

    @property
    def log_probability(self) -> float:
        """The answer's log probability."""
        return sum(self.log_probabilities)

    @property
    def mean_log_probability(self) -> float:
        """The mean log probability a token, by which beams are compared; 0 for no token at all.

        >>> Decoded([7], [-1.0, -2.0]).mean_log_probability
        -1.5
        """
        return self.log_probability / max(1, len(self.log_probabilities))


def generate(model: FusionReader, encoded: Sequence[Encoded], decoding: Decoding) -> list[Decoded]:
    """Return the best answer to each question; no tokens where a question has no passages."""
    return [answers[0] for answers in generate_n_best(model, encoded, decoding)]


@torch.inference_mode()
def generate_n_best(model: FusionReader, encoded: Sequence[Encoded], decoding: Decoding) -> list[list[Decoded]]:
    """Return the answers to each question, best first: as many as there are beams at most, one without beams.

    One answer without tokens where a question has no passages.
    """
    readable = [i for i, e in enumerate(encoded) if len(e.states)]
    answers = [[Decoded([], [])]] * len(encoded)
    if readable:
        absorbed = decoding.absorbed
        if absorbed is None:
            absorbed = pays_to_absorb(model.decoder.cross_attentions, decoding.answer_tokens)
        encoded = [encoded[i] for i in readable]
        memories = model.memories(encoded, absorbed=absorbed)
        decode = _beams if decoding.n_beams > 1 else _one_by_one
        for i, decoded in zip(readable, decode(model, memories, encoded, decoding), strict=True):
            answers[i] = decoded
    return answers


def _constraints(model: FusionReader, encoded: Sequence[Encoded], decoding: Decoding) -> list[PassageConstraint]:
    """Return each question's constraint; none where answers are free."""
    return [PassageConstraint.begin(e, model.end_token) for e in encoded] if decoding.from_passages else []


def _one_by_one(
    model: FusionReader, memories: LayerMemories, encoded: Sequence[Encoded], decoding: Decoding
) -> list[list[Decoded]]:
    """Take the likeliest token each time, or one drawn from the likeliest that make up ``top_p``."""
    n = len(encoded)
    rng = torch.Generator(model.device).manual_seed(decoding.seed)
    ids = torch.full((n, 1), model.start_token, device=model.device)
    past: Past | None = None
    answers = [Decoded([], []) for _ in range(n)]
    growing = [True] * n
    constraints = _constraints(model, encoded, decoding)
    for _ in range(decoding.answer_tokens):
        hidden, past, _ = model.decode(ids, memories, past)
        log_probabilities = model.logits(hidden[:, -1:], encoded)[:, 0].float().log_softmax(-1)
        log_probabilities = restrict_rows(log_probabilities, constraints)
        ids = _draw(log_probabilities, decoding, rng) if decoding.sample else log_probabilities.argmax(-1, keepdim=True)
        tokens = ids[:, 0].tolist()
        if constraints:
            constraints = [each.after(token) for each, token in zip(constraints, tokens, strict=True)]
        taken = log_probabilities.gather(1, ids)[:, 0].tolist()
        for i, (token, log_probability) in enumerate(zip(tokens, taken, strict=True)):
            if growing[i]:
                answers[i].log_probabilities.append(log_probability)
                growing[i] = token != model.end_token
                if growing[i]:
                    answers[i].ids.append(token)
        if not any(growing):
            break
    return [[answer] for answer in answers]


def _draw(log_probabilities: torch.Tensor, decoding: Decoding, rng: torch.Generator) -> torch.Tensor:
    """Return a token of each row, shape (n, 1), drawn at the temperature from the smallest set whose share is ``top_p``."""
    shares, order = (log_probabilities / decoding.temperature).softmax(-1).sort(-1, descending=True)
    shares = shares.masked_fill(shares.cumsum(-1) - shares >= decoding.top_p, 0.0)
    return order.gather(1, torch.multinomial(shares, 1, generator=rng))


@dataclass(frozen=True)
class _Beam:
    """The beginning of an answer: its tokens, the log probability of each, and their total."""

    ids: tuple[int, ...] = ()
    log_probabilities: tuple[float, ...] = ()
    total: float = 0.0
    constraint: PassageConstraint | None = None

    @property
    def mean(self) -> float:
        return self.total / len(self.log_probabilities)

    def grown(self, token: int, total: float) -> _Beam:
        """Return this with one more token, which brings the sum of log probabilities to ``total``.

        The token's own is the difference, so that they sum to the total by which beams were compared, to the last bit.
        """
        constraint = self.constraint and self.constraint.after(token)
        log_probabilities = (*self.log_probabilities, total - self.total)
        return _Beam((*self.ids, token), log_probabilities, total, constraint)


@dataclass(frozen=True)
class _Step:
    """A question's beams after a token: those that still grow, each with its parent's number, and those that ended."""

    growing: list[_Beam]
    parents: list[int]
    ended: list[_Beam]


def _grow(beams: Sequence[_Beam], candidates: Sequence[tuple[float, int, int]], end: int) -> _Step:
    """Return what ``candidates`` make of ``beams``: (total log probability, parent, token), best first, two for each beam.

    An end token counts only if it is among the ``n_beams`` best candidates. As a beam has one end token, at least half of
    the candidates go on: there are always as many growing beams as before.
    """
    step = _Step([], [], [])
    for rank, (total, parent, token) in enumerate(candidates):
        if token == end:
            if rank < len(beams):
                step.ended.append(beams[parent].grown(token, total))
        elif len(step.growing) < len(beams):
            step.growing.append(beams[parent].grown(token, total))
            step.parents.append(parent)
    return step


def _beams(
    model: FusionReader, memories: LayerMemories, encoded: Sequence[Encoded], decoding: Decoding
) -> list[list[Decoded]]:
    """Keep the ``n_beams`` likeliest beginnings of each question's answer; order ended ones by mean log probability.

    A question is settled once no growing beam can come to be among its best. It gets no more answers then, so that none
    depends on the other questions in the batch.
    """
    n, width = len(encoded), decoding.n_beams
    constraints = _constraints(model, encoded, decoding)
    growing = [[_Beam(constraint=constraints[q] if constraints else None)] * width for q in range(n)]
    ended: list[list[_Beam]] = [[] for _ in range(n)]
    settled = [False] * n
    totals = torch.full((n, width), IMPOSSIBLE, device=model.device)  # the growing beams' log probabilities
    totals[:, 0] = 0.0  # at first all beams are the same: only one of them may go on
    ids = torch.full((n * width, 1), model.start_token, device=model.device)
    past: Past | None = None
    for _ in range(decoding.answer_tokens):
        hidden, past, _ = model.decode(ids, memories, past)
        log_probabilities = model.logits(hidden[:, -1:], encoded)[:, 0].float().log_softmax(-1)
        log_probabilities = restrict_rows(
            log_probabilities, [b.constraint for row in growing for b in row if b.constraint is not None]
        )
        n_vocabulary = log_probabilities.shape[-1]
        # Of all beams of a question with any next token, (n, width x n_vocabulary), the best two for each beam.
        best, flat_indices = (totals[:, :, None] + log_probabilities.view(n, width, -1)).flatten(1).topk(2 * width)
        parent_rows: list[int] = []
        for q in range(n):
            parents_tokens = [divmod(index, n_vocabulary) for index in flat_indices[q].tolist()]
            candidates = [(total, *pair) for total, pair in zip(best[q].tolist(), parents_tokens, strict=True)]
            step = _grow(growing[q], candidates, model.end_token)
            growing[q] = step.growing
            parent_rows += [q * width + parent for parent in step.parents]
            totals[q] = torch.tensor([beam.total for beam in step.growing])
            if not settled[q]:
                ended[q] += step.ended
                settled[q] = _is_settled(ended[q], growing[q], width)
        if all(settled):
            break
        # The past follows the beams. Memories need not: a beam's parent is of the same question, and has the same memory.
        order = torch.tensor(parent_rows, device=model.device)
        past = [(k[order], v[order]) for k, v in past]
        ids = torch.tensor([beam.ids[-1] for row in growing for beam in row], device=model.device)[:, None]
    else:  # cut off: what still grows counts as it stands
        ended = [e if closed else [*e, *g] for e, g, closed in zip(ended, growing, settled, strict=True)]
    return [_ranked(beams, model.end_token, width) for beams in ended]


def _is_settled(ended: Sequence[_Beam], growing: Sequence[_Beam], width: int) -> bool:
    """Tell whether no beam that still grows can come to be better than those ended, by mean log probability."""
    if len(ended) < width:
        return False
    worst = sorted((beam.mean for beam in ended), reverse=True)[width - 1]
    return max(beam.mean for beam in growing) <= worst


def _ranked(beams: Sequence[_Beam], end: int, width: int) -> list[Decoded]:
    """Return the best ``width`` beams as answers, best mean log probability first."""
    best = sorted(beams, key=lambda beam: -beam.mean)[:width]
    return [Decoded([token for token in beam.ids if token != end], list(beam.log_probabilities)) for beam in best]
