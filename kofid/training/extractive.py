"""Training an extractive reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kofid.korean.answer_match import find_answer
from kofid.reader.extractive.reader import ExtractiveReader, Spans
from kofid.reader.extractive.windows import Window
from kofid.training.data import reader_dataset
from kofid.training.encoder import fresh_bert_config, refuse_unknown_size
from kofid.training.options import Notes, TrainOptions, no_notes
from kofid.training.tokenizers import train_wordpiece
from kofid.training.trainer import train
from kofid.types import Example, OnStep, Passage

if TYPE_CHECKING:
    import torch
    from torch import nn

VOCABULARY = 8_000
# Windows of a question in one step, where its passages make more.
N_WINDOWS = 16
# A window, with the first and last token of the answer to learn, None for "no answer".
Labelled = tuple[Window, tuple[int, int] | None]


def fresh_extractive(
    size: str, texts: Sequence[str], spans: Spans | None = None, *, vocab_size: int = VOCABULARY, seed: int = 1
) -> ExtractiveReader:
    """Return an untrained BERT reader of a named size with a tokenizer learned from ``texts``; raise UsageError."""
    from transformers import BertForQuestionAnswering

    from kofid.devices import seed_everything

    refuse_unknown_size(size)
    tokenizer = train_wordpiece(texts, vocab_size)
    seed_everything(seed)
    config = fresh_bert_config(size, len(tokenizer))
    return ExtractiveReader(BertForQuestionAnswering(config), tokenizer, spans or Spans())


def normalized_loss(
    logits: torch.Tensor, right: torch.Tensor, allowed: torch.Tensor, sizes: Sequence[int]
) -> torch.Tensor:
    """Return the mean over groups of windows of -log of the probability of all right tokens together.

    ``logits`` and the masks ``right`` and ``allowed`` have shape (n_windows, n_tokens); ``sizes``: windows of each group,
    whose allowed tokens are one softmax. Groups that are questions make the shared norm with the summed objective of Clark
    and Gardner (2018, "Shared-Normalization" and "Handling Noisy Labels"); groups of one window, BERT's usual loss.
    """
    import torch

    logits = logits.float().masked_fill(~allowed, -torch.inf)
    groups = zip(torch.split(logits, list(sizes)), torch.split(right, list(sizes)), strict=True)
    losses = [group.flatten().logsumexp(0) - group[marked].logsumexp(0) for group, marked in groups]
    return torch.stack(losses).mean()


def label_windows(reader: ExtractiveReader, row: dict[str, Any]) -> list[Labelled]:
    """Return the windows of a row of ``reader_dataset``, each with the place of the answer.

    In a gold passage that is the first one that the window has. The answer's words in other passages may be chance: such
    windows are left out, unless no gold passage has the answer, when they count as right.
    """
    passages = [Passage("", title, text) for title, text in zip(row["titles"], row["texts"], strict=True)]
    places = [
        _places(passage.text, row["targets"], gold) for passage, gold in zip(passages, row["positive"], strict=True)
    ]
    gold_has_answer = any(gold and spots for gold, spots in zip(row["positive"], places, strict=True))
    labelled: list[Labelled] = []
    for window in reader.windows(row["question"], passages):
        tokens = [window.tokens(*place) for place in places[window.passage]]
        spot = next((pair for pair in tokens if pair is not None), None)
        if spot is None or row["positive"][window.passage] or not gold_has_answer:
            labelled.append((window, spot))
    return labelled


def _places(text: str, targets: Sequence[str], gold: bool) -> list[tuple[int, int]]:
    """Return where the first of ``targets`` that the text says stands; in a gold passage, at need inside a word."""
    for target in targets:
        if places := find_answer(text, target):
            return places
    literal = [(text.find(target), len(target)) for target in targets if target and gold]
    return [(start, start + length) for start, length in literal if start >= 0][:1]


def extractive_batch(reader: ExtractiveReader, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the model's ``inputs`` and what a loss needs for rows of ``reader_dataset``: masks (n_windows, n_tokens).

    ``starts`` and ``ends`` are right tokens, the answer's; where a group has none, those of its "no answers". A group is a
    question, or a window, as the norm says. ``allowed``: tokens that can be right. ``answered`` (n_windows,): windows
    with the answer; ``sizes``: windows of each question.
    """
    import torch

    questions = [label_windows(reader, row) for row in rows]
    windows = [entry for question in questions for entry in question]
    groups = questions if reader.spans.norm == "shared" else [[entry] for entry in windows]
    inputs, inside = reader.batch([window for window, _ in windows])
    starts, ends, allowed = torch.zeros_like(inside), torch.zeros_like(inside), inside.clone()
    row = 0
    for group in groups:
        silent = all(spot is None for _, spot in group)
        for window, spot in group:
            allowed[row, window.none] = True
            if spot is not None or silent:
                first, last = spot or (window.none, window.none)
                starts[row, first] = ends[row, last] = True
            row += 1
    answered = torch.tensor([spot is not None for _, spot in windows])
    sizes = torch.tensor([len(question) for question in questions])
    return {"inputs": inputs, "starts": starts, "ends": ends, "allowed": allowed, "answered": answered, "sizes": sizes}


def draw_windows(sizes: Sequence[int], answered: Sequence[bool], n: int) -> tuple[list[int], list[int]]:
    """Return the rows of at most ``n`` windows of each question, and how many: those with the answer first, others drawn.

    Drawn by torch's seed, at the step itself: what a data loader draws ahead would be drawn again after ``resume``.
    """
    import torch

    rows: list[int] = []
    counts = []
    start = 0
    for size in sizes:
        order = torch.randperm(size).tolist() if size > n else range(size)
        drawn = sorted(sorted(order, key=lambda i: not answered[start + i])[:n])  # noqa: B023
        rows += [start + i for i in drawn]
        counts.append(len(drawn))
        start += size
    return rows, counts


def fit_extractive(
    reader: ExtractiveReader,
    examples: Sequence[Example],
    options: TrainOptions,
    checkpoints: Path,
    *,
    n_context: int = 10,
    n_windows: int = N_WINDOWS,
    resume: bool = False,
    keep_checkpoints: bool = False,
    on_step: OnStep | None = None,
    notes: Notes = no_notes,
) -> dict[str, float]:
    """Train ``reader`` in place to mark the answer in each example's first ``n_context`` passages.

    Probabilities are normalised as ``reader.spans.norm`` says; of a question's windows at most ``n_windows`` are in a
    step. Raises InputError when there is nothing to learn.
    """
    readable = [replace(e, hits=tuple(h for h in e.hits[:n_context] if h.passage.text.strip())) for e in examples]
    dataset = reader_dataset(readable, n_context, notes)

    def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
        return extractive_batch(reader, rows)

    def loss(model: nn.Module, batch: dict[str, Any]) -> torch.Tensor:
        rows, counts = draw_windows(batch["sizes"].tolist(), batch["answered"].tolist(), n_windows)
        sizes = counts if reader.spans.norm == "shared" else [1] * len(rows)
        output = model(**{name: tensor[rows] for name, tensor in batch["inputs"].items()})
        starts, ends, allowed = (batch[name][rows] for name in ("starts", "ends", "allowed"))
        start_loss = normalized_loss(output.start_logits, starts, allowed, sizes)
        return (start_loss + normalized_loss(output.end_logits, ends, allowed, sizes)) / 2

    figures = train(
        reader.model,
        dataset,
        collate,
        loss,
        options,
        checkpoints,
        resume=resume,
        keep_checkpoints=keep_checkpoints,
        on_step=on_step,
    )
    reader.model.eval()
    return figures
