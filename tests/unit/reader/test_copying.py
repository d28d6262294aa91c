"""Fresh readers learn to look: the value that stands beside the key that a question names, among several passages."""

from __future__ import annotations

import random

import pytest
import torch
from transformers.optimization import Adafactor

from kofid.reader.fid.batch import Batch
from kofid.reader.fid.config import Decoding, Variant
from kofid.reader.fid.generation import generate
from kofid.reader.fid.init import fresh_reader_model
from kofid.reader.fid.model import FusionReader

KEYS, VALUES = range(4, 32), range(32, 60)
COLON, NOTHING, END = 2, 3, 1
N_PASSAGES = 4


def batch_of(chance: random.Random, n_questions: int, *, hidden: bool = False) -> Batch:
    """Return passages ``KEY : key value``, the question's key before each; ``hidden``: nothing in its place."""
    rows, answers = [], []
    for _ in range(n_questions):
        keys, values = chance.sample(KEYS, N_PASSAGES), [chance.choice(VALUES) for _ in range(N_PASSAGES)]
        gold = chance.randrange(N_PASSAGES)
        question = NOTHING if hidden else keys[gold]
        rows += [[question, COLON, key, value, END] for key, value in zip(keys, values, strict=True)]
        answers.append([values[gold], END])
    return Batch(torch.tensor(rows).flatten(), [5] * len(rows), [N_PASSAGES] * n_questions, torch.tensor(answers))


def right(model: FusionReader, *, hidden: bool = False) -> float:
    """Return the share of 200 questions, never seen before, that are answered right."""
    batch = batch_of(random.Random(99), 200, hidden=hidden)
    model.eval()
    with torch.inference_mode():
        found = generate(model, model.encode(batch), Decoding(3))
    return sum(a.ids == gold[:1] for a, gold in zip(found, batch.labels.tolist(), strict=True)) / 200


@pytest.mark.parametrize(
    ("variant", "skt"),
    [(Variant(), False), (Variant(first_k=4, cross_layers=(2,), n_kv_heads=1), False), (Variant(), True)],
    ids=["FiDT5", "FiD-Light and FiDO", "FiDSKT"],
)
def test_a_fresh_reader_learns_to_look_up(variant: Variant, skt: bool) -> None:
    torch.manual_seed(0)
    model = fresh_reader_model("tiny", 60, variant, skt=skt)
    optimizer = Adafactor(model.parameters(), lr=2e-2, scale_parameter=True, relative_step=False)
    chance = random.Random(1)
    for step in range(1, 401):
        model.train()
        loss, _ = model(batch_of(chance, 16))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 25 == 0 and right(model) == 1.0:
            break
    assert right(model) == 1.0
    # Without the question it can but choose: 1 of 4, deviation of 200 choices sqrt(3/16 / 200) = 0.03.
    assert right(model, hidden=True) < 0.4
