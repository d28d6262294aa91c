"""The FiD reader: a model and its tokenizers, from hits to answers."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kofid.errors import InputError
from kofid.korean.answer_match import has_answer, normalize_robust
from kofid.language import say
from kofid.reader.confidence import Confidence, plain_confidence
from kofid.reader.fid.config import PASSAGE_TOKENS, Decoding, ScoreMethod
from kofid.reader.fid.inputs import encode_inputs, encode_targets, parse_target
from kofid.types import Answer, Hit

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from kofid.reader.fid.batch import Encoded
    from kofid.reader.fid.config import Variant
    from kofid.reader.fid.generation import Decoded
    from kofid.reader.fid.lexical_match import Pieces
    from kofid.reader.fid.model import FusionReader

_DECODER_TOKENIZER = "decoder"
# Questions scored at a time: sums of floats depend on it in their last bits.
SCORED_AT_A_TIME = 4


class FiDReader:
    """Answers from the first ``n_context`` hits with a fusion reader.

    ``decoder_tokenizer`` is for answers where the decoder has a vocabulary of its own; ``max_tokens`` are read of a
    passage; ``pieces`` are the tokenizer's, where they are known already. A reader never changes: ``with_options`` gives
    another one. Several threads may ask it at once.
    """

    def __init__(
        self,
        model: FusionReader,
        tokenizer: PreTrainedTokenizerBase,
        decoder_tokenizer: PreTrainedTokenizerBase | None = None,
        *,
        n_context: int = 10,
        max_tokens: int = PASSAGE_TOKENS,
        decoding: Decoding | None = None,
        confidence: Confidence | None = None,
        pieces: Pieces | None = None,
    ) -> None:
        self.model: Final = model.eval()
        self.tokenizer: Final = tokenizer
        self.decoder_tokenizer: Final = _ending_with(decoder_tokenizer or tokenizer, model.end_token)
        self.pieces: Final = pieces or pieces_for(model.variant, tokenizer)
        self.n_context: Final = n_context
        self.max_tokens: Final = max_tokens
        self.decoding: Final = decoding or Decoding.for_variant(model.variant)
        self.confidence: Final = confidence or plain_confidence

    def with_options(
        self,
        *,
        n_context: int | None = None,
        max_tokens: int | None = None,
        decoding: Decoding | None = None,
        confidence: Confidence | None = None,
        model: FusionReader | None = None,
        plain: bool = False,
    ) -> FiDReader:
        """Return a reader that has the rest in common with this one; with ``plain`` its confidence is the plain one."""
        fitted = self.confidence if isinstance(self.confidence, Confidence) and not plain else None
        return FiDReader(
            model or self.model,
            self.tokenizer,
            self.decoder_tokenizer,
            n_context=n_context or self.n_context,
            max_tokens=max_tokens or self.max_tokens,
            decoding=decoding or self.decoding,
            confidence=confidence or fitted,
            pieces=self.pieces,
        )

    @classmethod
    def load(
        cls,
        directory: str,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
        variant: Variant | None = None,
        n_context: int = 10,
        max_tokens: int = PASSAGE_TOKENS,
        decoding: Decoding | None = None,
        confidence: Confidence | None = None,
    ) -> FiDReader:
        """Open a fusion reader or any T5 checkpoint (safetensors only, no code of the model's own); raise InputError.

        Numbers are of ``dtype``, float32 where it is None.
        """
        import torch

        from kofid.reader.fid.checkpoints import open_reader_model

        model = open_reader_model(directory, variant, dtype or torch.float32).to(device or "cpu")
        second = Path(directory) / _DECODER_TOKENIZER
        return cls(
            model,
            open_tokenizer(directory),
            open_tokenizer(str(second)) if second.is_dir() else None,
            n_context=n_context,
            max_tokens=max_tokens,
            decoding=decoding,
            confidence=confidence,
        )

    def save(self, directory: Path) -> None:
        """Write model (safetensors) and tokenizers."""
        from kofid.reader.fid.checkpoints import save_reader_model

        save_reader_model(self.model, directory)
        self.tokenizer.save_pretrained(directory)
        if self.decoder_tokenizer is not self.tokenizer:
            self.decoder_tokenizer.save_pretrained(directory / _DECODER_TOKENIZER)

    def read(self, question: str, hits: Sequence[Hit]) -> list[Answer]:
        """Return distinct answers, best first, each with the passage it comes from; none where the best one is empty.

        There are as many as beams at most, by mean log probability a token; answers that differ only in brackets and
        spaces are one. The passage is the first one that the reader points to, where it was trained to; else the one that
        it attends to most among those that say the answer.
        """
        from kofid.reader.fid.generation import generate_n_best

        if not hits or not question.strip():
            return []
        hits = hits[: self.n_context]
        encoded = self._encode([question], [hits])
        (n_best,) = generate_n_best(self.model, encoded, self.decoding)
        answers: dict[str, Answer] = {}
        attention: list[float] = []
        for decoded in n_best:
            text, cited = self.written(decoded, len(hits))
            key = normalize_robust(text) or text
            if text and key not in answers:
                attention = attention or ([] if cited else self._attention(encoded))
                answers[key] = self._answer(text, cited, decoded, hits, attention)
            elif not text and not answers:
                return []
        return list(answers.values())

    def written(self, decoded: Decoded, n_passages: int) -> tuple[str, list[int]]:
        """Return the answer that was written, and the numbers of the passages that a pointing reader names."""
        text = str(self.decoder_tokenizer.decode(decoded.ids, skip_special_tokens=True)).strip()
        return parse_target(text, n_passages) if self.model.variant.pointing else (text, [])

    def _attention(self, encoded: Sequence[Encoded]) -> list[float]:
        from kofid.reader.fid.passage_scores import score_passages

        return score_passages(self.model, encoded)[0]

    def _answer(
        self, text: str, cited: Sequence[int], decoded: Decoded, hits: Sequence[Hit], attention: Sequence[float]
    ) -> Answer:
        """Return an answer with its passage, its place there and its confidence."""
        by_attention = [(has_answer(hit.passage.text, (text,)), a) for hit, a in zip(hits, attention, strict=False)]
        best = cited[0] - 1 if cited else by_attention.index(max(by_attention))
        passage = hits[best].passage
        confidence = self.confidence(decoded.log_probability, said=has_answer(passage.text, (text,)))
        ids = tuple(hits[number - 1].passage.id for number in cited)
        start = passage.text.find(text)
        if start < 0:
            return Answer(text, confidence, passage, cited=ids)
        return Answer(text, confidence, passage, start, start + len(text), ids)

    def score(
        self,
        pairs: Sequence[tuple[str, Sequence[Hit]]],
        method: str = ScoreMethod.FIRST,
        answers: Sequence[str] | None = None,
        batch_size: int = SCORED_AT_A_TIME,
        *,
        n_context: int | None = None,
    ) -> Iterator[list[Hit]]:
        """Yield each question's hits with the reader's cross-attention scores, in the order given.

        ``method``: see ``score_passages``. ``answers`` are looked at token by token where they are given. Only the first
        ``n_context`` hits are read (None: all); the others get scores below those, in their order.
        """
        from kofid.reader.fid.passage_scores import score_passages

        for start in range(0, len(pairs), batch_size):
            part = pairs[start : start + batch_size]
            encoded = self._encode([question for question, _ in part], [hits[:n_context] for _, hits in part])
            labels = None
            if answers is not None:
                labels = encode_targets(
                    self.decoder_tokenizer, answers[start : start + batch_size], self.decoding.answer_tokens
                ).to(self.model.device)
            rows = score_passages(self.model, encoded, method, labels)
            for (_, hits), row in zip(part, rows, strict=True):
                unread = [min(row, default=0.0) - i for i in range(1, 1 + len(hits) - len(row))]
                scores = [*row, *unread]
                yield [replace(hit, score=score, source="reader") for hit, score in zip(hits, scores, strict=True)]

    def _encode(self, questions: Sequence[str], hits: Sequence[Sequence[Hit]]) -> list[Encoded]:
        import torch

        passages = [[hit.passage for hit in row] for row in hits]
        pointing = self.model.variant.pointing
        batch = encode_inputs(
            self.tokenizer, questions, passages, self.max_tokens, pointing=pointing, pieces=self.pieces
        )
        with torch.inference_mode():
            return self.model.encode(batch.to(self.model.device))


def pieces_for(variant: Variant, tokenizer: PreTrainedTokenizerBase) -> Pieces | None:
    """Return what a reader that matches or copies needs to know of its tokens."""
    from kofid.reader.fid.lexical_match import Pieces

    return Pieces(tokenizer) if variant.match or variant.copying else None


def _ending_with(tokenizer: PreTrainedTokenizerBase, end_token: int) -> PreTrainedTokenizerBase:
    """Return the tokenizer with the model's end token; KoGPT2's does not name the token that ends a text."""
    if tokenizer.eos_token_id == end_token:
        return tokenizer
    ending = copy.deepcopy(tokenizer)
    ending.eos_token = tokenizer.convert_ids_to_tokens(end_token)
    return ending


def open_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Open a tokenizer (folder or hub name, no code of its own), set neither to cut nor to pad; raise InputError."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise InputError(
            say(f"토크나이저 '{name}'을(를) 열 수 없습니다: {error}", f"tokenizer '{name}' cannot be opened: {error}")
        ) from error
    if tokenizer.is_fast:  # else the first call would change it, while another thread may be using it
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
    return tokenizer
