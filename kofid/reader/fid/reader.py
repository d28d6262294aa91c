"""The FiD reader: a model and its tokenizers, from hits to answers."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kofid.errors import UsageError
from kofid.korean.answer_match import has_answer, normalize_robust
from kofid.language import say, setting
from kofid.reader.confidence import Confidence, ConfidenceOf, plain_confidence
from kofid.reader.fid.config import PASSAGE_TOKENS, Decoding, ScoreMethod
from kofid.reader.fid.inputs import encode_inputs, encode_targets
from kofid.reader.fid.pointing import parse_target
from kofid.reader.tokenizers import open_tokenizer
from kofid.types import Answer, Hit, Passage

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from kofid.reader.fid.batch import Encoded
    from kofid.reader.fid.config import Variant
    from kofid.reader.fid.generation import Decoded
    from kofid.reader.fid.lexical_match import Pieces
    from kofid.reader.fid.model import FusionReader

# How many questions are scored at once. Sums of floats depend on it in their last bits, so a run that resumes keeps to it.
SCORED_AT_A_TIME = 4


class FiDReader:
    """Answers from the first ``n_context`` hits with a fusion reader.

    ``decoder_tokenizer`` is for answers where the decoder has a vocabulary of its own; ``max_tokens`` are read of a
    passage; ``pieces`` are the tokenizer's, where they are known already. A reader never changes: ``with_options`` gives
    another one. Several threads may ask it at once. Raises UsageError for a ``decoding`` that the model cannot do, and for
    more ``max_tokens`` than its encoder reads.
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
        confidence: ConfidenceOf | None = None,
        pieces: Pieces | None = None,
    ) -> None:
        self.model: Final = model.eval()
        self.tokenizer: Final = tokenizer
        self.decoder_tokenizer: Final = _ending_with(decoder_tokenizer or tokenizer, model.end_token)
        self.pieces: Final = pieces or pieces_for(model.variant, tokenizer)
        self.n_context: Final = n_context
        self.max_tokens: Final = _readable(max_tokens, model.encoder.max_tokens)
        self.decoding: Final = decoding or Decoding.for_variant(model.variant)
        self.decoding.refuse_first_k(model.variant)
        self.confidence: Final[ConfidenceOf] = confidence or plain_confidence

    def with_options(
        self,
        *,
        n_context: int | None = None,
        max_tokens: int | None = None,
        decoding: Decoding | None = None,
        confidence: Confidence | None = None,
        model: FusionReader | None = None,
        uncalibrated: bool = False,
    ) -> FiDReader:
        """Return a reader that has the rest in common with this one.

        With ``uncalibrated`` its confidence is ``plain_confidence``, unless another is given.
        """
        return FiDReader(
            model or self.model,
            self.tokenizer,
            self.decoder_tokenizer,
            n_context=n_context or self.n_context,
            max_tokens=max_tokens or self.max_tokens,
            decoding=decoding or self.decoding,
            confidence=confidence or (plain_confidence if uncalibrated else self.confidence),
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

        from kofid.reader.fid.weights import open_reader_model

        model = open_reader_model(directory, variant, dtype or torch.float32).to(device or "cpu")
        second = decoder_folder(Path(directory))
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
        from kofid.reader.fid.weights import save_reader_model

        save_reader_model(self.model, directory)
        self.tokenizer.save_pretrained(directory)
        if self.decoder_tokenizer is not self.tokenizer:
            self.decoder_tokenizer.save_pretrained(decoder_folder(directory))

    def read(self, question: str, hits: Sequence[Hit]) -> list[Answer]:
        """Return distinct answers, best first, each with the passage it comes from; none where the best one is empty.

        There are at most as many as beams. They are ordered as beams are, by mean log probability a token; a confidence is
        that of the whole answer, so confidences need not fall from one answer to the next. Answers that differ only in
        brackets and spaces are one. The passage is the first one that the reader points to, where it was trained to; else
        the one that it attends to most among those that say the answer.
        """
        from kofid.reader.fid.generation import generate_n_best

        if not hits or not question.strip():
            return []
        hits = hits[: self.n_context]
        encoded = self._encode([question], [hits])
        (n_best,) = generate_n_best(self.model, encoded, self.decoding)
        answers: dict[str, Answer] = {}
        attention: Sequence[float] = ()  # to each passage: computed once, and only for an answer that cites none
        for decoded in n_best:
            text, cited = self.text_and_cited(decoded, len(hits))
            key = normalize_robust(text) or text
            if not text and not answers:
                return []
            if not text or key in answers:
                continue
            if not cited and not attention:
                attention = self._attention(encoded)
            cited_passages = [hits[number - 1].passage for number in cited]
            passage = cited_passages[0] if cited else _most_attended(text, hits, attention)
            cited_ids = tuple(each.id for each in cited_passages)
            answers[key] = self._answer(text, passage, decoded.log_probability, cited_ids)
        return list(answers.values())

    def text_and_cited(self, decoded: Decoded, n_passages: int) -> tuple[str, list[int]]:
        """Return the answer that was written, and the numbers (from 1) of the passages that a pointing reader cites."""
        text = str(self.decoder_tokenizer.decode(decoded.ids, skip_special_tokens=True)).strip()
        return parse_target(text, n_passages) if self.model.variant.pointing else (text, [])

    def _attention(self, encoded: Sequence[Encoded]) -> list[float]:
        """Return how much the one question's first decoded token attends to each passage."""
        from kofid.reader.fid.passage_scores import score_passages

        return score_passages(self.model, encoded)[0]

    def _answer(self, text: str, passage: Passage, log_probability: float, cited: tuple[str, ...]) -> Answer:
        """Return an answer with its passage, its place there, where it stands there word for word, and its confidence."""
        stands_in_passage = has_answer(passage.text, (text,))  # or a form of it, with particles or in brackets
        confidence = self.confidence(log_probability, stands_in_passage=stands_in_passage)
        start = passage.text.find(text)
        if start < 0:
            return Answer(text, confidence, passage, cited=cited)
        return Answer(text, confidence, passage, start, start + len(text), cited)

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

        ``method``: see ``score_passages``; its labels are made of ``answers``, one a question. Only the first ``n_context``
        hits are read (None: all); the others get scores below those, in their order.
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
                # One less for each hit that was not read, from the lowest score on.
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


def _readable(max_tokens: int, limit: int | None) -> int:
    """Return the number of tokens to read of a passage; raise UsageError where the encoder has fewer positions (``limit``)."""
    if limit is not None and max_tokens > limit:
        option, most = setting("max_tokens", max_tokens), setting("max_tokens", limit)
        raise UsageError(
            say(
                f"{option}: 이 인코더는 토큰 {limit}개까지 읽습니다 ({most})",
                f"{option}: this encoder reads at most {limit} tokens ({most})",
            )
        )
    return max_tokens


def decoder_folder(directory: Path) -> Path:
    """Return where a reader's folder has the tokenizer of a decoder with a vocabulary of its own."""
    return directory / "decoder"


def _most_attended(text: str, hits: Sequence[Hit], attention: Sequence[float]) -> Passage:
    """Return the passage with the highest ``attention`` (n_hits,) of those that say the answer, of all where none does."""
    ranks = [(has_answer(hit.passage.text, (text,)), a) for hit, a in zip(hits, attention, strict=True)]
    return hits[ranks.index(max(ranks))].passage


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
