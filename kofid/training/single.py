"""Training a reader of single passages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from kofid.korean.answer_match import has_answer
from kofid.reader.fid.config import ANSWER_TOKENS
from kofid.reader.fid.single import SingleReader
from kofid.training.data import is_positive
from kofid.training.fid import fit_fid
from kofid.training.options import Notes, TrainOptions, no_notes
from kofid.types import Example, OnStep


def one_passage_examples(reader: SingleReader, examples: Sequence[Example]) -> Iterator[Example]:
    """Yield an example for each gold passage of each example: the question and that passage alone.

    A passage too long for the reader is cut to its first piece that says the answer, or to its first.
    """
    for example in examples:
        question = example.question
        answers = (example.target,) if example.target else question.answers
        for hit in example.hits:
            if is_positive(question, hit.passage):
                pieces = [piece for _, piece in reader.cut(question.text, hit.passage)]
                piece = next((p for p in pieces if has_answer(p.text, answers)), pieces[0])
                yield replace(example, hits=(replace(hit, passage=piece),))


def fit_single(
    reader: SingleReader,
    examples: Sequence[Example],
    options: TrainOptions,
    checkpoints: Path,
    *,
    n_context: int = 10,
    answer_tokens: int = ANSWER_TOKENS,
    resume: bool = False,
    keep_checkpoints: bool = False,
    on_step: OnStep | None = None,
    notes: Notes = no_notes,
) -> dict[str, float]:
    """Train ``reader`` in place to write the target from each gold passage among an example's first ``n_context``."""
    cut = [replace(example, hits=example.hits[:n_context]) for example in examples]
    return fit_fid(
        reader.reader,
        list(one_passage_examples(reader, cut)),
        options,
        checkpoints,
        n_context=1,
        answer_tokens=answer_tokens,
        resume=resume,
        keep_checkpoints=keep_checkpoints,
        on_step=on_step,
        notes=notes,
    )
