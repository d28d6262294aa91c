"""Text as pieces of the encoder's vocabulary, none of which goes over the edge of a noun.

A particle would otherwise share a piece with the name before it, and no span of pieces could be the name alone. Text is cut
between morphemes wherever one side is a noun, a number, a sign or foreign; verbs stay whole with their endings, as the encoder
knows them. Each cut part is then split by the vocabulary's own Unigram model (Kudo 2018).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from kofid.korean.kiwi import Morpheme

# The mark of a space before a word, as SentencePiece writes it.
SPACE = "▁"
_WORD = re.compile(r"\S+")
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
# The first letters of tags that never are a part of a name: particles, endings, verbs.
_INFLECTED = ("J", "E", "V", "XSV", "XSA")
_CACHED_SEGMENTS = 50_000


@dataclass(frozen=True, slots=True)
class Segment:
    """Characters ``start`` to ``end`` of a text that are cut into pieces by themselves; ``spaced``: a word begins here."""

    start: int
    end: int
    spaced: bool

    def marked(self, text: str) -> str:
        """Return its characters, after the mark of a space where a word begins."""
        return SPACE * self.spaced + text[self.start : self.end]


@dataclass(frozen=True, slots=True)
class Pieces:
    """A text as n pieces: ``ids``, ``start`` and ``end`` characters, and which may begin (``first``) or end (``last``) a span.

    int32 and bool, (n,) each.
    """

    ids: np.ndarray
    start: np.ndarray
    end: np.ndarray
    first: np.ndarray
    last: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def cut(self, start: int, end: int) -> Pieces:
        """Return the pieces from number ``start`` up to ``end``."""
        part = slice(start, end)
        return Pieces(self.ids[part], self.start[part], self.end[part], self.first[part], self.last[part])


def segments(text: str, morphemes: Sequence[Morpheme]) -> list[Segment]:
    """Return where ``text`` is cut: at spaces, and between morphemes of which one is no inflection.

    >>> from kofid.korean.kiwi import analyze
    >>> text = "다리는 파리에 있다."
    >>> [segment.marked(text) for segment in segments(text, analyze(text))]
    ['▁다리', '는', '▁파리', '에', '▁있다', '.']
    """
    cuts = set()
    for left, right in zip(morphemes, morphemes[1:], strict=False):
        if not (left.tag.startswith(_INFLECTED) and right.tag.startswith(_INFLECTED)) and left.end <= right.start:
            cuts |= {left.end, right.start}
    ordered = sorted(cuts)
    parts = []
    at = 0
    for word in _WORD.finditer(text):
        start, end = word.span()
        while at < len(ordered) and ordered[at] <= start:
            at += 1
        spaced = True
        while at < len(ordered) and ordered[at] < end:
            parts.append(Segment(start, ordered[at], spaced))
            start, spaced = ordered[at], False
            at += 1
        parts.append(Segment(start, end, spaced))
    return parts


class PieceTokenizer:
    """Cuts text into pieces of a vocabulary; several threads may share it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Take the pieces of ``tokenizer``, a Unigram with ``<s>``, ``</s>`` and ``<pad>``."""
        self._model = tokenizer.model
        numbers = tokenizer.get_vocab()
        self.begin, self.end, self.pad = (numbers[token] for token in ("<s>", "</s>", "<pad>"))
        self._split = lru_cache(_CACHED_SEGMENTS)(self._split_segment)

    @classmethod
    def load(cls, path: Path) -> PieceTokenizer:
        """Open a ``tokenizer.json``."""
        return cls(Tokenizer.from_file(str(path)))

    def encode(self, text: str, morphemes: Sequence[Morpheme]) -> Pieces:
        """Return the pieces of ``text``, whose morphemes are given."""
        ids: list[int] = []
        starts: list[int] = []
        ends: list[int] = []
        first: list[bool] = []
        last: list[bool] = []
        for segment in segments(text, morphemes):
            piece_ids, piece_ends = self._split(segment.marked(text), segment.spaced)
            n = len(piece_ids)
            positions = [segment.start + end for end in piece_ends]
            ids += piece_ids
            starts += [segment.start, *positions[:-1]][:n]
            ends += positions
            first += [True, *[False] * (n - 1)][:n]
            last += [*[False] * (n - 1), True][-n:] if n else []
        numbers = (np.array(column, dtype=np.int32) for column in (ids, starts, ends))
        return Pieces(*numbers, *(np.array(column, dtype=bool) for column in (first, last)))

    def _split_segment(self, marked: str, spaced: bool) -> tuple[list[int], list[int]]:
        """Return the ids of a segment's pieces, and the character of the segment (the mark not counted) where each ends."""
        n_marks = int(spaced)  # the text itself may begin with such a character
        owner = []  # of each byte of the normalised text, the characters of the segment up to and with the byte's own
        normalized = ""
        for i, character in enumerate(marked):
            form = character if i < n_marks else unicodedata.normalize("NFKC", character)
            normalized += form
            owner += [i + 1 - n_marks] * len(form.encode())
        if not owner:
            return [], []
        ids, ends = [], []
        n_bytes = 0
        for token in self._model.tokenize(normalized):
            n_bytes += 1 if _BYTE.fullmatch(token.value) else len(token.value.encode())
            ids.append(token.id)
            ends.append(owner[min(n_bytes, len(owner)) - 1])
        ends[-1] = len(marked) - n_marks
        return ids, ends
