"""The generating reader without fusion: each passage is read alone, and the likeliest answer is kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kofid.korean.answers import normalize_robust
from kofid.reader.fid.inputs import encode_inputs, parse_target
from kofid.reader.fid.reader import FiDReader
from kofid.types import Answer, Hit, Passage

if TYPE_CHECKING:
    from kofid.reader.fid.generation import Decoded

MAX_ANSWERS = 5


class SingleReader:
    """Reads the first ``n_context`` hits of a fusion reader one by one, long passages in pieces.

    An answer's score is its mean log probability a token, as beams are compared in ``generate``, plus
    ``retrieval_weight`` times how far its hit's score is below the best hit's: with a weight of 1 this orders as the
    product of reader and retriever in RAG-Sequence (Lewis et al. 2020, section 2.1).
    """

    def __init__(self, reader: FiDReader, *, retrieval_weight: float = 0.0) -> None:
        self.reader = reader
        self.retrieval_weight = retrieval_weight

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
        best_hit = max(hit.score for hit in hits)
        found: dict[str, Answer] = {}
        decoded = self._generate(question, [piece for _, _, piece in pieces])
        for (i, offset, piece), answer in zip(pieces, decoded, strict=True):
            text, cited = self._text(answer)
            key = normalize_robust(text) or text
            score = answer.log_probability / max(1, len(answer.log_probabilities))
            confidence = math.exp(score + self.retrieval_weight * (hits[i].score - best_hit))
            if text and (key not in found or confidence > found[key].confidence):
                passage = hits[i].passage
                start, end = _place(text, passage.text, offset, len(piece.text))
                found[key] = Answer(text, confidence, passage, start, end, (passage.id,) if cited else ())
        return sorted(found.values(), key=lambda answer: -answer.confidence)[:MAX_ANSWERS]

    def cut(self, question: str, passage: Passage) -> list[tuple[int, Passage]]:
        """Return the pieces of a passage that are read, each with its place in the passage's text."""
        from kofid.reader.extractive.windows import cut_passage

        return cut_passage(self.reader.tokenizer, question, passage, self.reader.max_tokens)

    def _generate(self, question: str, pieces: Sequence[Passage]) -> list[Decoded]:
        import torch

        from kofid.reader.fid.generation import generate

        model = self.reader.model
        alone = [[piece] for piece in pieces]
        batch = encode_inputs(
            self.reader.tokenizer,
            [question] * len(pieces),
            alone,
            self.reader.max_tokens,
            pointing=model.variant.pointing,
            pieces=self.reader.pieces,
        )
        with torch.inference_mode():
            encoded = model.encode(batch.to(model.device))
        return generate(model, encoded, self.reader.decoding)

    def _text(self, decoded: Decoded) -> tuple[str, bool]:
        """Return the answer that was written, and whether a pointing reader named its passage."""
        text = str(self.reader.decoder_tokenizer.decode(decoded.ids, skip_special_tokens=True)).strip()
        if not self.reader.model.variant.pointing:
            return text, False
        text, cited = parse_target(text, 1)
        return text, bool(cited)


def _place(answer: str, text: str, offset: int, length: int) -> tuple[int, int] | tuple[None, None]:
    """Return the answer's characters in the passage: in the piece that it was read in, else anywhere."""
    start = text.find(answer, offset, offset + length)
    start = text.find(answer) if start < 0 else start
    return (None, None) if start < 0 else (start, start + len(answer))
