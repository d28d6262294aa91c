"""Answers that stand in a passage: decoding kept to what goes on there, against all spans scored one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.copiers import copier, matched
from support.twins import lively, random_batch

from kofid.reader.fid.batch import Encoded
from kofid.reader.fid.config import Decoding
from kofid.reader.fid.generation import generate
from kofid.reader.fid.model import FusionReader


def spans_of(encoded: Encoded, end: int, longest: int) -> set[tuple[int, ...]]:
    """Return all runs of tokens of the passages, the question's left out."""
    found = set()
    for ids, asked in zip(encoded.ids.split(encoded.lengths), encoded.n_question or [0] * 99, strict=False):
        row = ids.tolist()[asked:]
        for start in range(len(row)):
            for stop in range(start + 1, min(len(row), start + longest) + 1):
                if end not in row[start:stop]:
                    found.add(tuple(row[start:stop]))
    return found


@torch.no_grad()
def mean_log_probability(reader: FusionReader, encoded: Encoded, answer: tuple[int, ...]) -> float:
    """Return the mean log probability of an answer's tokens and its end, computed at once; impossible ones left in."""
    given = torch.tensor([[reader.start_token, *answer]])
    hidden = reader.decode(given, reader.memories([encoded])).hidden
    scores = reader.logits(hidden, [encoded]).float().log_softmax(-1)[0]
    return float(scores[torch.arange(len(answer) + 1), torch.tensor([*answer, reader.end_token])].mean())


@pytest.mark.parametrize("width", [1, 3])
def test_every_answer_stands_in_a_passage(width: int) -> None:
    how = Decoding(answer_tokens=6, n_beams=width, from_passages=True)
    inside = outside = 0
    for seed in range(6):
        reader, batch = copier(seed), matched((3, 1, 2), seed)
        batch = replace(batch, n_question=[n // 3 for n in batch.lengths])
        encoded = reader.encode(batch)
        free = generate(reader, encoded, replace(how, from_passages=False))
        for one, decoded, other in zip(encoded, generate(reader, encoded, how), free, strict=True):
            spans = spans_of(one, reader.end_token, 6)
            assert tuple(decoded.ids) in spans
            inside, outside = inside + 1, outside + (tuple(other.ids) not in spans)
    assert inside == 18 and outside > 6  # left alone, most are in no passage


def test_wide_beams_find_the_best_of_all_spans() -> None:
    found = 0
    for seed in range(5):
        reader, batch = copier(seed), matched((2,), seed)
        (one,) = reader.encode(batch)
        spans = spans_of(one, reader.end_token, 30)
        best = max(mean_log_probability(reader, one, span) for span in spans)
        (decoded,) = generate(reader, [one], Decoding(answer_tokens=30, n_beams=200, from_passages=True))
        assert tuple(decoded.ids) in spans
        own = mean_log_probability(reader, one, tuple(decoded.ids))
        assert own == pytest.approx(sum(decoded.log_probabilities) / len(decoded.log_probabilities), abs=1e-4)
        assert own >= best - 1e-4
        found += len(spans) > 10
    assert found >= 4


def test_it_is_the_way_of_readers_that_copy() -> None:
    assert Decoding.for_variant(copier(1).variant) == Decoding(n_beams=4, from_passages=True)
    assert Decoding.for_variant(lively(1).variant) == Decoding()
    reader, batch = lively(2, std=0.3), random_batch((2, 1), 2)  # any reader can be kept to its passages
    for one, decoded in zip(
        reader.encode(batch),
        generate(reader, reader.encode(batch), Decoding(answer_tokens=5, from_passages=True)),
        strict=True,
    ):
        assert tuple(decoded.ids) in spans_of(one, reader.end_token, 5)
