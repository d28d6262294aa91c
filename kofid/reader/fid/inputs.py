"""Questions and passages as a reader's input tokens, and answers as its output."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kofid.types import Passage

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from kofid.reader.fid.batch import Batch
    from kofid.reader.fid.lexical_match import Pieces

PASSAGE_TOKENS = 250
ANSWER_TOKENS = 32
_POINTED = re.compile(r"\s*index\s*:\s*([\d\s,]*?)\s*answer\s*:\s*(.*)", re.DOTALL)


def format_input(question: str, passage: Passage, number: int | None = None) -> str:
    """Return one passage's input text (Izacard and Grave 2021, section 3), numbered from 1 for source pointing."""
    index = "" if number is None else f"index: {number} "
    return f"question: {question} {index}title: {passage.title} context: {passage.text}"


def format_target(answer: str, sources: Sequence[int] | None) -> str:
    """Return what the reader is to write; with ``sources`` their numbers first (FiD-Light, section 3.3)."""
    return answer if sources is None else f"index: {' '.join(map(str, sources))} answer: {answer}"


def parse_target(text: str, n_passages: int) -> tuple[str, list[int]]:
    """Return the answer and the passages' numbers of what a pointing reader wrote; no numbers that do not exist."""
    match = _POINTED.fullmatch(text)
    if match is None:
        return text, []
    numbers = dict.fromkeys(map(int, re.findall(r"\d+", match[1])))
    return match[2].strip(), [n for n in numbers if 1 <= n <= n_passages]


def encode_inputs(
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[str],
    passages: Sequence[Sequence[Passage]],
    max_tokens: int = PASSAGE_TOKENS,
    *,
    pointing: bool = False,
    pieces: Pieces | None = None,
) -> Batch:
    """Return the passages of questions as one packed batch, each cut on the right at ``max_tokens``.

    With ``pieces`` (of the tokenizer) it has lexical matches.
    """
    import numpy as np
    import torch

    from kofid.reader.fid.batch import Batch

    texts = [
        format_input(question, passage, number if pointing else None)
        for question, row in zip(questions, passages, strict=True)
        for number, passage in enumerate(row, 1)
    ]
    rows = tokenizer(texts, truncation=True, max_length=max_tokens)["input_ids"] if texts else []
    ids = torch.tensor([token for row in rows for token in row], dtype=torch.long)
    batch = Batch(ids, [len(row) for row in rows], [len(row) for row in passages])
    if pieces is not None:
        asking = tokenizer([f"question: {question}" for question in questions], add_special_tokens=False)["input_ids"]
        asked = [len(own) for own, row in zip(asking, passages, strict=True) for _ in row]
        found = [pieces.features(np.array(row), min(n, len(row))) for row, n in zip(rows, asked, strict=True)]
        batch.n_asked = [min(n, len(row)) for row, n in zip(rows, asked, strict=True)]
        batch.matches = torch.from_numpy(np.concatenate([np.zeros(0, np.int64), *found]))
    return batch


def encode_targets(
    tokenizer: PreTrainedTokenizerBase,
    targets: Sequence[str],
    max_tokens: int = ANSWER_TOKENS,
    *,
    batch: Batch | None = None,
    pieces: Pieces | None = None,
) -> torch.Tensor:
    """Return labels of shape (batch, length), each ended by the end token and padded with -100, which the loss leaves out.

    With ``pieces`` an answer has its tokens as the passages in ``batch`` have them, that they can be copied.
    """
    import numpy as np
    import torch

    from kofid.reader.fid.batch import IGNORED

    rows = tokenizer(list(targets), truncation=True, max_length=max_tokens)["input_ids"]
    end = tokenizer.eos_token_id
    if pieces is not None and batch is not None:
        ends = np.cumsum([0, *batch.lengths])
        sizes = np.diff(ends[np.cumsum([0, *batch.n_passages])]).tolist()
        sources = torch.split(batch.input_ids, sizes)
        rows = [
            [*pieces.as_in(np.array(row[:-1], np.int64), own.numpy()).tolist(), end] if row and row[-1] == end else row
            for row, own in zip(rows, sources, strict=True)
        ]
    rows = [row if row and row[-1] == end else [*row[: max_tokens - 1], end] for row in rows]  # GPT-2's add no end
    longest = max(map(len, rows), default=0)
    return torch.tensor([[*row, *[IGNORED] * (longest - len(row))] for row in rows], dtype=torch.long)
