"""One reader, many threads: the answers are those of one question after the other."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from support.examples import EXAMPLES, PASSAGES, tokenizer
from support.twins import lively

from kofid.reader.fid.config import Decoding, Variant
from kofid.reader.fid.reader import FiDReader
from kofid.reader.fid.single import SingleReader
from kofid.reader.open import open_reader
from kofid.training.extractive import fresh_extractive
from kofid.types import Answer, Hit, Reader

N_THREADS = 8
QUESTIONS = [
    (example.question.text, (*example.hits, *(Hit(p, 0.0) for p in PASSAGES[i : i + 4])))
    for i, example in enumerate(EXAMPLES)
] * 2


def fusion(variant: Variant) -> FiDReader:
    model = lively(5, variant, std=0.3, vocab_size=len(tokenizer()))
    with torch.no_grad():
        model.shared.weight[:3] = 0.0  # <pad>, </s>, <unk>: a lively model's answer may be empty
    decoding = Decoding.for_variant(variant, answer_tokens=8)
    return FiDReader(model, tokenizer(), max_tokens=36, decoding=decoding)  # less than passages have: they are cut


def extractive() -> Reader:
    return fresh_extractive("tiny", [p.text for p in PASSAGES], vocab_size=200)


def read_all(reader: Reader, n_threads: int, questions: Sequence[tuple[str, tuple[Hit, ...]]]) -> list[list[Answer]]:
    with ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(lambda pair: reader.read(*pair), questions))


@pytest.mark.parametrize(
    "reader",
    [
        lambda: open_reader("span"),
        lambda: fusion(Variant()),
        lambda: fusion(Variant(match=True, copying=True)),
        lambda: SingleReader(fusion(Variant())),
        extractive,
    ],
    ids=["span", "t5", "copying", "single", "extractive"],
)
def test_eight_threads_get_the_answers_of_one(reader: object) -> None:
    shared = reader()
    together = read_all(shared, N_THREADS, QUESTIONS)  # first, so that nothing is in a cache yet
    alone = read_all(shared, 1, QUESTIONS)
    assert together == alone
    assert sum(map(bool, together)) > len(QUESTIONS) // 3
