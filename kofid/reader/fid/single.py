"""The generating reader without fusion: each passage is read alone, and the likeliest answer is kept."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kofid.korean.answer_match import normalize_robust
from kofid.reader.fid.inputs import encode_inputs, format_input
from kofid.reader.fid.reader import FiDReader
from kofid.types import Answer, Hit, Passage

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from kofid.reader.fid.generation import Decoded

MAX_ANSWERS = 5
# A passage's words; what has no spaces is cut now and then.
_WORD = re.compile(r"\S{1,20}")


class SingleReader:
    """Reads the first ``n_context`` hits of a fusion reader one by one, long passages in pieces.

    An answer's score is its mean log probability a token, as beams are compared in ``generate``, plus
    ``retrieval_weight`` times how far its hit's score is below the best hit's: with a weight of 1 this orders as the
    product of reader and retriever in RAG-Sequence (Lewis et al. 2020, section 2.1).
    """

    def __init__(self, reader: FiDReader, *, retrieval_weight: float = 0.0) -> None:
        self.reader: Final = reader
        self.retrieval_weight: Final = retrieval_weight

    @classmethod
    def load(cls, directory: str, *, retrieval_weight: float = 0.0, **options: Any) -> SingleReader:
        """Open what ``FiDReader.load`` opens, with its ``options``; raise InputError."""
        return cls(FiDReader.load(directory, **options), retrieval_weight=retrieval_weight)

    def save(self, directory: Path) -> None:
        """Write model (safetensors) and tokenizers."""
        self.reader.save(directory)

    def read(self, question: str, hits: Sequence[Hit]) -> list[Answer]:
        """Return at most 5 distinct answers, best first, each with the passage that it was read in.

        A confidence is exp of the answer's score. Answers that differ only in brackets and spaces are one.
        """
        hits = hits[: self.reader.n_context]
        if not hits or not question.strip():
            return []
        pieces = [(i, *piece) for i, hit in enumerate(hits) for piece in self.cut(question, hit.passage)]
        best_score = max(hit.score for hit in hits)
        answers: dict[str, Answer] = {}
        decodeds = self._generate(question, [piece for _, _, piece in pieces])
        for (i, offset, piece), decoded in zip(pieces, decodeds, strict=True):
            text, cited = self.reader.text_and_cited(decoded, 1)
            key = normalize_robust(text) or text
            score = decoded.mean_log_probability + self.retrieval_weight * (hits[i].score - best_score)
            confidence = math.exp(score)
            if text and (key not in answers or confidence > answers[key].confidence):
                passage = hits[i].passage
                start, end = _place(text, passage.text, offset, len(piece.text))
                answers[key] = Answer(text, confidence, passage, start, end, (passage.id,) if cited else ())
        return sorted(answers.values(), key=lambda answer: -answer.confidence)[:MAX_ANSWERS]

    def cut(self, question: str, passage: Passage) -> list[tuple[int, Passage]]:
        """Return the pieces of a passage that are read, each with its place in the passage's text."""
        return cut_passage(self.reader.tokenizer, question, passage, self.reader.max_tokens)

    def _generate(self, question: str, pieces: Sequence[Passage]) -> list[Decoded]:
        """Return the best answer to a question from each piece alone."""
        import torch

        from kofid.reader.fid.generation import generate

        model = self.reader.model
        batch = encode_inputs(
            self.reader.tokenizer,
            [question] * len(pieces),
            [[piece] for piece in pieces],
            self.reader.max_tokens,
            pointing=model.variant.pointing,
            pieces=self.reader.pieces,
        )
        with torch.inference_mode():
            encoded = model.encode(batch.to(model.device))
        return generate(model, encoded, self.reader.decoding)


def _place(answer: str, text: str, offset: int, length: int) -> tuple[int, int] | tuple[None, None]:
    """Return the answer's characters in the passage: in the piece that it was read in, else anywhere."""
    start = text.find(answer, offset, offset + length)
    start = text.find(answer) if start < 0 else start
    return (None, None) if start < 0 else (start, start + len(answer))


def cut_passage(
    tokenizer: PreTrainedTokenizerBase, question: str, passage: Passage, max_tokens: int, overlap: float = 0.25
) -> list[tuple[int, Passage]]:
    """Return pieces of a passage that fit ``format_input`` in ``max_tokens`` tokens, each with its place in the text.

    Pieces end between words and share some ``overlap`` of their tokens. Words are counted one by one, which any
    tokenizer can do; a passage that fits is one piece.
    """
    words = [match.span() for match in _WORD.finditer(passage.text)]
    if not words or len(tokenizer(format_input(question, passage))["input_ids"]) <= max_tokens:
        return [(0, passage)]
    frame = len(tokenizer(format_input(question, replace(passage, text="")))["input_ids"])
    room = max(max_tokens - frame, 1)
    counts = [
        len(ids) for ids in tokenizer([passage.text[a:b] for a, b in words], add_special_tokens=False)["input_ids"]
    ]
    pieces, first = [], 0
    while True:
        last = _reach(counts, first, room)
        start = words[first][0]
        pieces.append((start, replace(passage, text=passage.text[start : words[last - 1][1]])))
        if last == len(words):
            return pieces
        back, shared = last, 0
        while back - 1 > first and shared + counts[back - 1] <= overlap * room:
            back -= 1
            shared += counts[back]
        first = back


def _reach(counts: Sequence[int], first: int, room: int) -> int:
    """Return where the words from ``first`` on that fill ``room`` tokens end, one word at least."""
    last, total = first + 1, counts[first]
    while last < len(counts) and total + counts[last] <= room:
        total += counts[last]
        last += 1
    return last
