"""What the joint reader sees: a question and some sentences of a passage, as pieces, side by side.

A row is ``<s> question </s> </s> title </s> sentences </s>``. Its token types, which the encoder had no use for, tell which
pieces belong to words that the question says too (compare the exact-match features of Chen et al. 2017, "Reading Wikipedia to
Answer Open-Domain Questions", section 3.2): a verb in any of its forms, a noun whatever particle follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kofid.encoder.pieces import Pieces, PieceTokenizer
from kofid.korean.kiwi import Morpheme
from kofid.korean.text import sentence_spans
from kofid.reader.span.passage import term_key
from kofid.types import Passage

# Pieces of a question, a title and a window of sentences; longer ones are cut.
QUESTION_PIECES, TITLE_PIECES, WINDOW_PIECES = 64, 24, 160
# Neighbouring windows share sentences of at most so many pieces.
_SHARED_PIECES = 48


@dataclass(frozen=True, slots=True)
class PreparedQuestion:
    """A question: its pieces' ids, and its words (see ``term_key``)."""

    ids: tuple[int, ...]
    keys: frozenset[str]


@dataclass(frozen=True, slots=True)
class PreparedPassage:
    """A passage ready to be read: its pieces, those of its title, its windows, and where its words are.

    ``windows``: (first, end) pieces of each; ``words``: (first, end) pieces of every mention of a word, by ``term_key``.
    """

    passage: Passage
    title: tuple[int, ...]
    pieces: Pieces
    windows: tuple[tuple[int, int], ...]
    words: dict[str, list[tuple[int, int]]]


@dataclass(frozen=True, slots=True)
class Row:
    """A question and a window as the encoder takes them: ``ids`` and ``types``, int32, (n,).

    The window's pieces stand from ``text`` on; they are the passage's from ``window`` [0] up to ``window`` [1].
    """

    ids: np.ndarray
    types: np.ndarray
    text: int
    window: tuple[int, int]


def prepare_question(tokenizer: PieceTokenizer, text: str, morphemes: Sequence[Morpheme]) -> PreparedQuestion:
    """Return a question ready to be read with passages."""
    ids = tokenizer.encode(text, morphemes).ids[:QUESTION_PIECES]
    return PreparedQuestion(tuple(ids.tolist()), frozenset(filter(None, map(term_key, morphemes))))


def prepare_passage(
    tokenizer: PieceTokenizer, passage: Passage, title: Sequence[Morpheme], text: Sequence[Morpheme]
) -> PreparedPassage:
    """Return a passage, given the morphemes of its title and text, ready to be read."""
    pieces = tokenizer.encode(passage.text, text)
    words: dict[str, list[tuple[int, int]]] = {}
    firsts = np.searchsorted(pieces.end, [m.start for m in text], side="right")
    ends = np.searchsorted(pieces.start, [m.end for m in text], side="left")
    for morpheme, first, end in zip(text, firsts.tolist(), ends.tolist(), strict=True):
        key = term_key(morpheme)
        if key and first < end:
            words.setdefault(key, []).append((first, end))
    title_ids = tokenizer.encode(passage.title, title).ids[:TITLE_PIECES]
    return PreparedPassage(passage, tuple(title_ids.tolist()), pieces, cut_windows(pieces, passage.text), words)


def cut_windows(pieces: Pieces, text: str, size: int = WINDOW_PIECES) -> tuple[tuple[int, int], ...]:
    """Return (first, end) pieces of windows over ``text``: as many whole sentences as ``size`` holds, some of them shared.

    A sentence that is too long itself is cut.
    """
    n = len(pieces)
    if n <= size:
        return ((0, n),) if n else ()
    starts = np.searchsorted(pieces.end, [a for a, _ in sentence_spans(text)], side="right").tolist()
    limits = sorted({0, *starts, n})
    # Sentences that are too long become several.
    cuts = [cut for a, b in zip(limits, limits[1:], strict=False) for cut in range(a, b, size)]
    cuts.append(n)
    windows = []
    first = 0
    while True:
        end = first + 1
        while end < len(cuts) - 1 and cuts[end + 1] - cuts[first] <= size:
            end += 1
        windows.append((cuts[first], cuts[end]))
        if end == len(cuts) - 1:
            return tuple(windows)
        following = end
        while following - 1 > first and cuts[end] - cuts[following - 1] <= _SHARED_PIECES:
            following -= 1
        while following < end and cuts[end + 1] - cuts[following] > size:
            following += 1  # what is shared must leave room for something new
        first = following


def make_row(
    tokenizer: PieceTokenizer, question: PreparedQuestion, prepared: PreparedPassage, window: tuple[int, int]
) -> Row:
    """Return the question and one window of a passage as one row."""
    head = [tokenizer.begin, *question.ids, tokenizer.end, tokenizer.end, *prepared.title, tokenizer.end]
    first, end = window
    ids = np.concatenate([head, prepared.pieces.ids[first:end], [tokenizer.end]]).astype(np.int32)
    types = np.zeros(len(ids), dtype=np.int32)
    offset = len(head) - first
    for key in question.keys:
        for a, b in prepared.words.get(key, ()):
            if a >= first and b <= end:
                types[a + offset : b + offset] = 1
    return Row(ids, types, len(head), window)


def promising_windows(
    question: PreparedQuestion, prepared: Sequence[PreparedPassage], limit: int
) -> list[tuple[int, tuple[int, int]]]:
    """Return (passage number, window) of the ``limit`` windows to read: those that say most of the question's words.

    ``prepared`` are in the order of the search. A word counts by how few windows say it; of windows alike the better
    passage's comes first.
    """
    windows = [(number, window) for number, passage in enumerate(prepared) for window in passage.windows]
    if len(windows) <= limit:
        return windows
    keys = sorted(question.keys)
    said = np.zeros((len(windows), len(keys)), dtype=bool)
    for i, (number, (first, end)) in enumerate(windows):
        words = prepared[number].words
        said[i] = [any(a >= first and b <= end for a, b in words.get(key, ())) for key in keys]
    rarity = np.log1p(len(windows) / (1.0 + said.sum(axis=0)))
    covered = said @ rarity / max(float(rarity.sum()), 1e-9)
    ranks = np.array([number for number, _ in windows])
    order = np.argsort(ranks * _RANK_WEIGHT - covered, kind="stable")[:limit]
    return [windows[i] for i in sorted(order.tolist())]


# What a place lower in the search's order costs, in shares of the question's words.
_RANK_WEIGHT = 0.05
