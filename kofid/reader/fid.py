"""The FiD reader: a model and its tokenizer, from hits to answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kofid.errors import InputError
from kofid.language import say
from kofid.reader.inputs import ANSWER_TOKENS, PASSAGE_TOKENS, encode_inputs
from kofid.text import has_answer
from kofid.types import Answer, Hit

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from kofid.reader.fid_t5 import FiDT5


class FiDReader:
    """Answers from the first ``n_context`` hits with a FiDT5."""

    def __init__(
        self,
        model: FiDT5,
        tokenizer: PreTrainedTokenizerBase,
        *,
        n_context: int = 10,
        max_tokens: int = PASSAGE_TOKENS,
        num_beams: int = 1,
    ) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.n_context = n_context
        self.max_tokens = max_tokens
        self.num_beams = num_beams

    @classmethod
    def load(
        cls,
        directory: str,
        *,
        device: torch.device | None = None,
        n_context: int = 10,
        max_tokens: int = PASSAGE_TOKENS,
    ) -> FiDReader:
        """Open a FiDT5 or any T5 checkpoint (safetensors only, no code of the model's own)."""
        from transformers import AutoTokenizer

        from kofid.reader.fid_t5 import FiDT5

        try:
            tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=False)
            model = FiDT5.from_pretrained(directory, use_safetensors=True)
        except (OSError, ValueError) as error:
            raise InputError(
                say(
                    f"리더 '{directory}'을(를) 열 수 없습니다: {error}",
                    f"reader '{directory}' cannot be opened: {error}",
                )
            ) from error
        return cls(model.float().to(device or "cpu"), tokenizer, n_context=n_context, max_tokens=max_tokens)

    def save(self, directory: Path) -> None:
        """Write model (safetensors) and tokenizer."""
        self.model.save_pretrained(directory)
        self.tokenizer.save_pretrained(directory)

    def read(self, question: str, hits: Sequence[Hit]) -> list[Answer]:
        """Return the generated answer with the passage that the reader attends to most among those that say it."""
        import torch

        if not hits or not question.strip():
            return []
        hits = hits[: self.n_context]
        batch = self._encode([question], [hits])
        with torch.inference_mode():
            ids, probabilities = self.model.answer(**batch, max_new_tokens=ANSWER_TOKENS, num_beams=self.num_beams)
        text = str(self.tokenizer.decode(ids[0], skip_special_tokens=True)).strip()
        if not text:
            return []
        attended = self.model.score_passages(**batch)[0].tolist()
        best = max(range(len(hits)), key=lambda i: (has_answer(hits[i].passage.text, (text,)), attended[i]))
        passage = hits[best].passage
        start = passage.text.find(text)
        span = (start, start + len(text)) if start >= 0 else (None, None)
        return [Answer(text, float(probabilities[0]), passage, *span)]

    def score(self, pairs: Sequence[tuple[str, Sequence[Hit]]], batch_size: int = 4) -> Iterator[list[Hit]]:
        """Yield each question's hits with the reader's cross-attention scores, in the order given."""
        for start in range(0, len(pairs), batch_size):
            chosen = pairs[start : start + batch_size]
            scores: list[list[float]] = [[]] * len(chosen)
            if any(hits for _, hits in chosen):
                batch = self._encode([q for q, _ in chosen], [hits for _, hits in chosen])
                scores = self.model.score_passages(**batch).tolist()
            for (_, hits), row in zip(chosen, scores, strict=True):
                yield [replace(hit, score=score, source="reader") for hit, score in zip(hits, row, strict=False)]

    def _encode(self, questions: Sequence[str], hits: Sequence[Sequence[Hit]]) -> dict[str, torch.Tensor]:
        passages = [[hit.passage for hit in row] for row in hits]
        batch = encode_inputs(self.tokenizer, questions, passages, self.max_tokens)
        return {name: tensor.to(self.model.device) for name, tensor in batch.items()}
