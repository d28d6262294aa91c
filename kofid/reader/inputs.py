"""Questions and passages as a reader's input tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kofid.types import Passage

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

PASSAGE_TOKENS = 250
ANSWER_TOKENS = 32


def format_input(question: str, passage: Passage) -> str:
    """Return one passage's input text (Izacard and Grave 2021, section 3)."""
    return f"question: {question} title: {passage.title} context: {passage.text}"


def encode_inputs(
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[str],
    passages: Sequence[Sequence[Passage]],
    max_tokens: int = PASSAGE_TOKENS,
) -> dict[str, torch.Tensor]:
    """Return ``input_ids`` and ``attention_mask`` of shape (batch, n_passages, length).

    Inputs are cut on the right at ``max_tokens``. A question with fewer passages than the others is filled up with
    passages whose mask is all zero.
    """
    import torch

    n_passages = max(map(len, passages), default=0)
    texts = [format_input(q, p) for q, row in zip(questions, passages, strict=True) for p in row]
    rows = tokenizer(texts, truncation=True, max_length=max_tokens, padding=True, return_tensors="pt")
    length = rows["input_ids"].shape[-1]
    input_ids = torch.full((len(questions), n_passages, length), tokenizer.pad_token_id)
    mask = torch.zeros_like(input_ids)
    start = 0
    for i, row in enumerate(passages):
        input_ids[i, : len(row)] = rows["input_ids"][start : start + len(row)]
        mask[i, : len(row)] = rows["attention_mask"][start : start + len(row)]
        start += len(row)
    return {"input_ids": input_ids, "attention_mask": mask}


def encode_targets(
    tokenizer: PreTrainedTokenizerBase, targets: Sequence[str], max_tokens: int = ANSWER_TOKENS
) -> torch.Tensor:
    """Return labels of shape (batch, length), padding as -100, which the loss leaves out."""
    batch = tokenizer(list(targets), truncation=True, max_length=max_tokens, padding=True, return_tensors="pt")
    labels: torch.Tensor = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    return labels
