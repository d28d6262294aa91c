"""The FiD reader: a model and its tokenizers, from hits to answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kofid.errors import InputError
from kofid.korean.answers import has_answer
from kofid.language import say
from kofid.reader.confidence import Confidence, plain_confidence
from kofid.reader.fid.inputs import PASSAGE_TOKENS, encode_inputs, encode_targets, parse_target
from kofid.types import Answer, Hit

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from kofid.reader.fid.batch import Encoded
    from kofid.reader.fid.generation import Decoding
    from kofid.reader.fid.lexical_match import Pieces
    from kofid.reader.fid.model import FusionReader, Variant

_DECODER_TOKENIZER = "decoder"
# Questions scored at a time: sums of floats depend on it in their last bits.
SCORED_AT_A_TIME = 4


class FiDReader:
    """Answers from the first ``n_context`` hits with a fusion reader.

    ``decoder_tokenizer`` is for answers where the decoder has a vocabulary of its own.
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
    ) -> None:
        from kofid.reader.fid.generation import Decoding

        self.model = model.eval()
        self.tokenizer = tokenizer
        self.decoder_tokenizer = decoder_tokenizer or tokenizer
        if self.decoder_tokenizer.eos_token_id != model.end_token:  # KoGPT2's does not name the token that ends a text
            self.decoder_tokenizer.eos_token = self.decoder_tokenizer.convert_ids_to_tokens(model.end_token)
        self.pieces = pieces_for(model.variant, tokenizer)
        self.n_context = n_context
        self.max_tokens = max_tokens
        self.decoding = decoding or Decoding.suited(model)
        self.confidence = confidence or plain_confidence

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
        own = Path(directory) / _DECODER_TOKENIZER
        second = open_tokenizer(str(own)) if own.is_dir() else None
        return cls(
            model,
            open_tokenizer(directory),
            second,
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
        """Return the generated answer with the passage it comes from.

        That is the first one that the reader points to, where it was trained to; else the one that it attends to most
        among those that say the answer.
        """
        from kofid.reader.fid.generation import generate
        from kofid.reader.fid.passage_scores import score_passages

        if not hits or not question.strip():
            return []
        hits = hits[: self.n_context]
        encoded = self._encode([question], [hits])
        (decoded,) = generate(self.model, encoded, self.decoding)
        text = str(self.decoder_tokenizer.decode(decoded.ids, skip_special_tokens=True)).strip()
        text, cited = parse_target(text, len(hits)) if self.model.variant.pointing else (text, [])
        if not text:
            return []
        if cited:
            best = cited[0] - 1
        else:
            attended = score_passages(self.model, encoded)[0]
            best = max(range(len(hits)), key=lambda i: (has_answer(hits[i].passage.text, (text,)), attended[i]))
        passage = hits[best].passage
        start = passage.text.find(text)
        sources = tuple(hits[number - 1].passage.id for number in cited)
        said = has_answer(passage.text, (text,))
        confidence = self.confidence(decoded.log_probability, said=said)
        if start < 0:
            return [Answer(text, confidence, passage, cited=sources)]
        return [Answer(text, confidence, passage, start, start + len(text), sources)]

    def score(
        self,
        pairs: Sequence[tuple[str, Sequence[Hit]]],
        how: str = "first",
        answers: Sequence[str] | None = None,
        batch_size: int = SCORED_AT_A_TIME,
    ) -> Iterator[list[Hit]]:
        """Yield each question's hits with the reader's cross-attention scores, in the order given.

        ``how``: see ``score_passages``. ``answers`` are looked at token by token where they are given.
        """
        from kofid.reader.fid.passage_scores import score_passages

        for start in range(0, len(pairs), batch_size):
            chosen = pairs[start : start + batch_size]
            encoded = self._encode([q for q, _ in chosen], [hits for _, hits in chosen])
            labels = None
            if answers is not None:
                labels = encode_targets(self.decoder_tokenizer, answers[start : start + batch_size])
                labels = labels.to(self.model.device)
            rows = score_passages(self.model, encoded, how, labels)
            for (_, hits), row in zip(chosen, rows, strict=True):
                yield [replace(hit, score=score, source="reader") for hit, score in zip(hits, row, strict=True)]

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


def open_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Open a tokenizer (folder or hub name, no code of its own); raise InputError."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise InputError(
            say(f"토크나이저 '{name}'을(를) 열 수 없습니다: {error}", f"tokenizer '{name}' cannot be opened: {error}")
        ) from error
