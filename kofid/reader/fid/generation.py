"""Answers from a fusion reader, a token at a time: the likeliest (greedy), the best of several beams, or sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from kofid.reader.fid.attention import Memory, Past
from kofid.reader.fid.batch import Encoded
from kofid.reader.fid.model import FusionReader


@dataclass(frozen=True)
class Decoding:
    """How answers are decoded. ``absorbed`` cross-attention: None where it pays (see ``pays_to_absorb``).

    ``from_passages``: answers stand in a passage word for word, what of them is decoded always in a row there.
    """

    max_tokens: int = 32
    n_beams: int = 1
    sample: bool = False
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 1
    absorbed: bool | None = None
    from_passages: bool = False

    @classmethod
    def suited(cls, model: FusionReader) -> Decoding:
        """Return how a reader decodes when nothing else is said: one that copies weighs four beginnings from its passages."""
        return cls() if model.copying is None else cls(n_beams=4, from_passages=True)


@dataclass(frozen=True)
class Decoded:
    """An answer's tokens, without start and end, and the log probability of each, the end's included."""

    ids: list[int]
    log_probabilities: list[float]

    @property
    def log_probability(self) -> float:
        """The answer's log probability."""
        return sum(self.log_probabilities)


def pays_to_absorb(model: FusionReader, max_tokens: int) -> bool:
    """Tell whether attending to the states themselves costs less than making keys and values of them.

    Of multiplications for a state and layer: keys and values cost 2 n_kv d_kv d_model once, absorbed attention
    2 n_heads (d_model - d_head) more for each token.
    """
    attention = next(a for a in model.decoder.cross_attentions if a is not None)
    d_model = attention.k.in_features
    once = 2 * attention.n_kv_heads * attention.d_head * d_model
    more = 2 * attention.n_heads * (d_model - attention.d_head)
    return more * max_tokens < once


@torch.inference_mode()
def generate(model: FusionReader, encoded: Sequence[Encoded], how: Decoding) -> list[Decoded]:
    """Return the best answer to each question; ``[]`` tokens where a question has no passages."""
    some = [i for i, e in enumerate(encoded) if len(e.states)]
    answers = [Decoded([], [])] * len(encoded)
    if some:
        absorbed = pays_to_absorb(model, how.max_tokens) if how.absorbed is None else how.absorbed
        encoded = [encoded[i] for i in some]
        memories = model.remember(encoded, absorbed=absorbed)
        decode = _beams if how.n_beams > 1 else _one_by_one
        for i, answer in zip(some, decode(model, memories, encoded, how), strict=True):
            answers[i] = answer
    return answers


def _one_by_one(
    model: FusionReader, memories: list[list[Memory] | None], encoded: Sequence[Encoded], how: Decoding
) -> list[Decoded]:
    """Take the likeliest token each time, or one drawn from the likeliest that make up ``top_p``."""
    n = len(encoded)
    chance = torch.Generator(model.device).manual_seed(how.seed)
    ids = torch.full((n, 1), model.start_token, device=model.device)
    past: Past | None = None
    found: list[tuple[list[int], list[float]]] = [([], []) for _ in range(n)]
    going = [True] * n
    tracks = [_Track.begin(e, model.end_token) for e in encoded] if how.from_passages else []
    for _ in range(how.max_tokens):
        hidden, past = model.decode(ids, memories, past)
        scores = model.logits(hidden[:, -1:], encoded)[:, 0].float().log_softmax(-1)
        for row, track in zip(scores, tracks, strict=False):
            track.restrict(row)
        ids = _draw(scores / how.temperature, how.top_p, chance) if how.sample else scores.argmax(-1, keepdim=True)
        for i, (token, score) in enumerate(zip(ids[:, 0].tolist(), scores.gather(1, ids)[:, 0].tolist(), strict=True)):
            if tracks:
                tracks[i] = tracks[i].after(token)
            if going[i]:
                found[i][1].append(score)
                going[i] = token != model.end_token
                if going[i]:
                    found[i][0].append(token)
        if not any(going):
            break
    return [Decoded(*entry) for entry in found]


def _draw(logits: torch.Tensor, top_p: float, chance: torch.Generator) -> torch.Tensor:
    """Return a token of each row, shape (n, 1), drawn from the smallest set of likely ones whose share is ``top_p``."""
    shares, order = logits.softmax(-1).sort(-1, descending=True)
    shares = shares.masked_fill(shares.cumsum(-1) - shares >= top_p, 0.0)
    return order.gather(1, torch.multinomial(shares, 1, generator=chance))


# A log probability below any that a token has; infinity would make sums of it no numbers.
_IMPOSSIBLE = -1e4


@dataclass(frozen=True)
class _Track:
    """Where in a question's passages an answer so far stands: the places, in ``ids``, of what may come next."""

    ids: torch.Tensor
    follows: torch.Tensor  # of ``ids``: whether it may go on with what stands before it
    places: torch.Tensor
    end: int
    begun: bool = False

    @classmethod
    def begin(cls, encoded: Encoded, end: int) -> _Track:
        """Return the track of an answer that may begin anywhere in the passages, title and text."""
        asked = encoded.n_asked or [0] * len(encoded.lengths)
        places = [torch.arange(n) - first for n, first in zip(encoded.lengths, asked, strict=True)]
        place = torch.cat(places).to(encoded.ids.device)
        written = encoded.ids != end
        return cls(encoded.ids, written & (place > 0), (written & (place >= 0)).nonzero()[:, 0], end)

    def restrict(self, scores: torch.Tensor) -> None:
        """Make impossible, in ``scores`` (n_vocabulary,), what does not go on where the answer stands."""
        allowed = torch.zeros_like(scores, dtype=torch.bool)
        allowed[self.ids[self.places]] = True
        allowed[self.end] = self.begun or not len(self.places)
        scores.masked_fill_(~allowed, _IMPOSSIBLE)

    def after(self, token: int) -> _Track:
        """Return the track once ``token`` is written."""
        places = self.places[self.ids[self.places] == token] + 1
        places = places[places < len(self.ids)]
        return replace(self, places=places[self.follows[places]], begun=True)


@dataclass
class _Beam:
    ids: list[int]
    scores: list[float]
    track: _Track | None = None


def _beams(
    model: FusionReader, memories: list[list[Memory] | None], encoded: Sequence[Encoded], how: Decoding
) -> list[Decoded]:
    """Keep the ``n_beams`` likeliest beginnings of each question's answer; the best mean log probability wins.

    A question that is settled gets no more answers, so that none depends on the others in its batch.
    """
    n, width = len(encoded), how.n_beams
    tracks = [_Track.begin(e, model.end_token) if how.from_passages else None for e in encoded]
    live: list[list[_Beam]] = [[_Beam([], [], track) for _ in range(width)] for track in tracks]
    done: list[list[_Beam]] = [[] for _ in range(n)]
    settled = [False] * n
    totals = torch.full((n, width), _IMPOSSIBLE, device=model.device)
    totals[:, 0] = 0.0  # at first all beams are the same
    ids = torch.full((n * width, 1), model.start_token, device=model.device)
    past: Past | None = None
    for _ in range(how.max_tokens):
        hidden, past = model.decode(ids, memories, past)
        scores = model.logits(hidden[:, -1:], encoded)[:, 0].float().log_softmax(-1)
        for row, beam in zip(scores, (beam for own in live for beam in own), strict=True):
            if beam.track is not None:
                beam.track.restrict(row)
        n_tokens = scores.shape[-1]
        best, places = (totals[:, :, None] + scores.view(n, width, -1)).flatten(1).topk(2 * width)
        rows, tokens = [], []
        for q in range(n):
            beams: list[tuple[_Beam, int, int, float]] = []
            for rank, (total, place) in enumerate(zip(best[q].tolist(), places[q].tolist(), strict=True)):
                parent, token = divmod(place, n_tokens)
                before = live[q][parent]
                track = before.track and before.track.after(token)
                grown = _Beam([*before.ids, token], [*before.scores, total - sum(before.scores)], track)
                if token == model.end_token:
                    if rank < width and not settled[q]:
                        done[q].append(grown)
                elif len(beams) < width:
                    beams.append((grown, q * width + parent, token, total))
            live[q] = [beam for beam, *_ in beams]
            rows += [row for _, row, _, _ in beams]
            tokens += [token for _, _, token, _ in beams]
            totals[q] = torch.tensor([total for *_, total in beams])
            settled[q] = settled[q] or _is_settled(done[q], live[q], width)
        if all(settled):
            break
        order = torch.tensor(rows, device=model.device)
        past = [(k[order], v[order]) for k, v in past]
        ids = torch.tensor(tokens, device=model.device)[:, None]
    else:  # cut off: what still grows counts as it stands
        done = [own if closed else [*own, *live[q]] for q, (own, closed) in enumerate(zip(done, settled, strict=True))]
    return [_best(finished, model.end_token) for finished in done]


def _is_settled(done: Sequence[_Beam], live: Sequence[_Beam], width: int) -> bool:
    """Tell whether no beam still growing can come to be better than those done, by mean log probability."""
    if len(done) < width:
        return False
    worst = sorted((_mean(beam) for beam in done), reverse=True)[width - 1]
    return max(map(_mean, live)) <= worst


def _mean(beam: _Beam) -> float:
    return sum(beam.scores) / len(beam.scores)


def _best(beams: Sequence[_Beam], end: int) -> Decoded:
    best = max(beams, key=_mean)
    return Decoded([token for token in best.ids if token != end], best.scores)
