"""Hard negatives: passages that search found for a question and that do not answer it; their pool, and the draw of each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from kofid.korean.answer_match import has_answer
from kofid.language import say
from kofid.retrieval.dense.base import dense_text
from kofid.training.data import is_positive, rows_dataset
from kofid.training.options import Notes, no_notes
from kofid.types import Example

if TYPE_CHECKING:
    from datasets import Dataset


def retriever_dataset(examples: Sequence[Example], notes: Notes = no_notes) -> Dataset:
    """Return rows of ``question``, ``positives`` and ``negatives``: texts of gold hits, and of others that say no answer.

    Where all others say an answer, they are negatives too: a word may stand in many passages that do not answer.
    """
    rows = []
    for example in examples:
        question = example.question
        flags = [is_positive(question, hit.passage) for hit in example.hits]
        positives = [h.passage for h, good in zip(example.hits, flags, strict=True) if good]
        others = [h.passage for h, good in zip(example.hits, flags, strict=True) if not good]
        negatives = [p for p in others if not has_answer(p.text, question.answers)] or others
        if positives and negatives:
            texts = {"positives": list(map(dense_text, positives)), "negatives": list(map(dense_text, negatives))}
            rows.append({"question": question.text, **texts})
    return rows_dataset(
        rows, len(examples), say("정답 패시지와 아닌 패시지가 함께", "both a positive and a negative passage"), notes
    )


def draw_negatives(row: dict[str, Any], n: int, rng: Random) -> list[str]:
    """Return the texts of ``n`` negatives of a row of ``retriever_dataset``, all of them where there are fewer.

    >>> draw_negatives({"negatives": ["가", "나"]}, 3, Random(1))
    ['가', '나']
    """
    negatives: list[str] = rng.sample(row["negatives"], min(n, len(row["negatives"])))
    return negatives
