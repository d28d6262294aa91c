"""Questions and passages as a reader's input tokens, and answers as its output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kofid.reader.fid.config import ANSWER_TOKENS, PASSAGE_TOKENS
from kofid.types import Passage

if TYPE_CHECKING:
    import numpy as np
    import torch
    from transformers import PreTrainedTokenizerBase

    from kofid.reader.fid.batch import Batch
    from kofid.reader.fid.lexical_match import Pieces


def format_input(question: str, passage: Passage, number: int | None = None) -> str:
    """Return one passage's input text (Izacard and Grave 2021, section 3), numbered from 1 for source pointing."""
    index = "" if number is None else f"index: {number} "
    return f"question: {question} {index}title: {passage.title} context: {passage.text}"


def token_rows(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Return the token ids of each text, at most ``max_tokens``: long ones cut on the right, before the end token.

    The tokenizer is not asked to cut: that changes its state, which another thread may be using.
    """
    if not texts:
        return []
    rows: list[list[int]] = tokenizer(list(texts), verbose=False)["input_ids"]
    _, n_after = _n_around(tokenizer)
    return [
        row if len(row) <= max_tokens else [*row[: max_tokens - n_after], *row[len(row) - n_after :]] for row in rows
    ]


def target_rows(tokenizer: PreTrainedTokenizerBase, targets: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Return the token ids of each target, at most ``max_tokens``, as ``token_rows`` but from the first word on.

    Nothing that a tokenizer puts before a text is written: the decoder starts from a token of its own.
    """
    n_before, _ = _n_around(tokenizer)
    return [row[n_before:] for row in token_rows(tokenizer, targets, max_tokens + n_before)]


def _n_around(tokenizer: PreTrainedTokenizerBase) -> tuple[int, int]:
    """Return how many tokens stand before and after every text: none and T5's end token, a BERT's [CLS] and [SEP]."""
    frame: list[int] = tokenizer("")["input_ids"]
    framed: list[int] = tokenizer("0")["input_ids"]
    n_before = next((i for i, (a, b) in enumerate(zip(frame, framed, strict=False)) if a != b), len(frame))
    return n_before, len(frame) - n_before


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
    rows = token_rows(tokenizer, texts, max_tokens)
    ids = torch.tensor([token for row in rows for token in row], dtype=torch.long)
    lengths, n_passages = [len(row) for row in rows], [len(row) for row in passages]
    if pieces is None:
        return Batch(ids, lengths, n_passages)
    # "question: ..." alone is taken to have the tokens that it has at the beginning of an input: a space comes after it
    # there, and tokenizers of the T5 kind put that into the next token. What stands before it counts as the question's.
    beginnings = tokenizer([f"question: {q}" for q in questions], add_special_tokens=False, verbose=False)["input_ids"]
    n_before, _ = _n_around(tokenizer)
    n_tokens = [n_before + len(row) for row, n in zip(beginnings, n_passages, strict=True) for _ in range(n)]
    n_question = [min(n, length) for n, length in zip(n_tokens, lengths, strict=True)]
    features = [pieces.features(np.array(row), n) for row, n in zip(rows, n_question, strict=True)]
    matches = torch.from_numpy(np.concatenate([np.zeros(0, np.int64), *features]))
    return Batch(ids, lengths, n_passages, matches=matches, n_question=n_question)


def encode_targets(
    tokenizer: PreTrainedTokenizerBase,
    targets: Sequence[str],
    max_tokens: int = ANSWER_TOKENS,
    *,
    batch: Batch | None = None,
    pieces: Pieces | None = None,
) -> torch.Tensor:
    """Return labels of shape (batch, length), each ended by the end token and padded with -100, which the loss leaves out.

    Targets are cut at ``max_tokens``. With ``pieces`` an answer has its tokens as the passages in ``batch`` have them, so
    that they can be copied.
    """
    import torch

    from kofid.reader.fid.batch import IGNORED

    rows = target_rows(tokenizer, targets, max_tokens)
    end = tokenizer.eos_token_id
    if pieces is not None and batch is not None:
        rows = [
            _as_in_passages(row, passages, pieces, end)
            for row, passages in zip(rows, _tokens_of_questions(batch), strict=True)
        ]
    rows = [row if row and row[-1] == end else [*row[: max_tokens - 1], end] for row in rows]  # GPT-2's add no end
    longest = max(map(len, rows), default=0)
    return torch.tensor([[*row, *[IGNORED] * (longest - len(row))] for row in rows], dtype=torch.long)


def _tokens_of_questions(batch: Batch) -> list[np.ndarray]:
    """Return the tokens of each question's passages together, (n_tokens,)."""
    import torch

    passages = iter(batch.lengths)
    sizes = [sum(next(passages) for _ in range(n)) for n in batch.n_passages]
    return [ids.numpy() for ids in torch.split(batch.input_ids, sizes)]


def _as_in_passages(row: list[int], passages: np.ndarray, pieces: Pieces, end: int) -> list[int]:
    """Return a target's tokens as they stand in ``passages`` (n_tokens,), where they do.

    A row without the end token stays as it is.
    """
    import numpy as np

    if not row or row[-1] != end:
        return row
    return [*pieces.as_in(np.array(row[:-1], np.int64), passages).tolist(), end]
