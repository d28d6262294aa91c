"""A reranker that reads question and passage together (Nogueira and Cho 2019, "Passage Re-ranking with BERT")."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kofid.errors import InputError
from kofid.language import say
from kofid.retrieval.dense.base import QUESTION_TOKENS, dense_text
from kofid.storage.artifacts import artifact_kind, is_artifact, open_artifact, refuse_missing
from kofid.types import Hit, Passage

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from kofid.retrieval.fusion import Scores

MAX_TOKENS = 320
# Tokens of pairs that are scored at a time, padding included.
_TOKENS_AT_A_TIME = 8_192


class CrossEncoder:
    """Scores pairs with a sequence classifier of Transformers that has one output, or two (the second for "relevant").

    It opens and is saved as sentence-transformers' CrossEncoder does. A pair has at most ``max_tokens`` tokens: the
    question at most 64, the passage's end is cut.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_tokens: int = MAX_TOKENS
    ) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        limit = getattr(model.config, "max_position_embeddings", max_tokens + 2) - 2  # RoBERTa keeps two
        self.max_tokens = min(max_tokens, limit)
        self._tokenizing = threading.Lock()

    @classmethod
    def load(cls, directory: str, *, device: torch.device | None = None, new_head: bool = False) -> CrossEncoder:
        """Open a folder or hub name (safetensors only, no code of its own); raise InputError.

        With ``new_head`` an encoder that has no classifier gets one to train.
        """
        from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=False)
            config = AutoConfig.from_pretrained(directory, trust_remote_code=False)
            classifies = any(str(name).endswith("ForSequenceClassification") for name in config.architectures or ())
            if not classifies and not new_head:
                raise InputError(
                    say(
                        f"{directory}: 재순위 모델이 아닙니다 (ForSequenceClassification이어야 합니다)",
                        f"{directory}: not a reranker (it must be a ForSequenceClassification)",
                    )
                )
            outputs = {"num_labels": config.num_labels if classifies else 1}
            model = AutoModelForSequenceClassification.from_pretrained(
                directory, trust_remote_code=False, use_safetensors=True, **outputs
            )
        except (OSError, ValueError) as error:
            raise InputError(
                say(
                    f"재순위 모델 '{directory}'을(를) 열 수 없습니다: {error}",
                    f"reranker '{directory}' cannot be opened: {error}",
                )
            ) from error
        if model.config.num_labels > 2:
            n = model.config.num_labels
            raise InputError(
                say(f"{directory}: 출력이 {n}개입니다", f"{directory}: it has {n} outputs, not one or two")
            )
        return cls(model.to(device) if device is not None else model, tokenizer)

    def save(self, directory: Path) -> None:
        """Write model (safetensors) and tokenizer."""
        self.model.save_pretrained(directory)
        self.tokenizer.save_pretrained(directory)

    def pairs(self, question: str, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of the question with each text, cut."""
        question_limit = min(QUESTION_TOKENS, self.max_tokens // 2)
        cut: dict[str, Any] = {"truncation": True, "max_length": question_limit}
        with self._tokenizing:  # the tokenizer keeps where it cuts as a state of its own, so threads take turns
            question_tokens = self.tokenizer(question, add_special_tokens=False, return_offsets_mapping=True, **cut)
            offsets = question_tokens["offset_mapping"]
            questions = [question[: offsets[-1][1]] if offsets else ""] * len(texts)
            pairs = self.tokenizer(questions, list(texts), truncation="only_second", max_length=self.max_tokens)
        tokens: list[list[int]] = pairs["input_ids"]
        return tokens

    def batch(self, pairs: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
        """Return the model's inputs, each (n_pairs, longest); segments where the model has two."""
        rows: Any = self.tokenizer.pad({"input_ids": list(map(list, pairs))}, return_tensors="pt")
        inputs = {name: rows[name] for name in ("input_ids", "attention_mask")}
        if getattr(self.model.config, "type_vocab_size", 0) > 1 and self.tokenizer.sep_token_id is not None:
            ends = (inputs["input_ids"] == self.tokenizer.sep_token_id).long()
            after = ends.cumsum(1) - ends  # tokens after the first separator are of the second segment
            inputs["token_type_ids"] = (after > 0).long() * inputs["attention_mask"]
        return inputs

    def scores_of(self, logits: torch.Tensor) -> torch.Tensor:
        """Return scores (n,) of the classifier's logits (n, 1 or 2)."""
        return logits[:, -1] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]

    def score(self, question: str, passages: Sequence[Passage]) -> Scores:
        """Return the passages' scores, (n,): higher is better, on no fixed scale."""
        import torch

        scores = np.empty(len(passages), dtype=np.float32)
        pairs = self.pairs(question, list(map(dense_text, passages))) if passages else []
        order = sorted(range(len(pairs)), key=lambda i: -len(pairs[i]))
        start = 0
        with torch.inference_mode():
            while start < len(order):
                rows = order[start : start + max(1, _TOKENS_AT_A_TIME // len(pairs[order[start]]))]
                inputs = self.batch([pairs[i] for i in rows])
                logits = self.model(**{name: part.to(self.model.device) for name, part in inputs.items()}).logits
                scores[rows] = self.scores_of(logits.float()).cpu().numpy()
                start += len(rows)
        return scores

    def rerank(self, question: str, hits: Sequence[Hit]) -> list[Hit]:
        """Return the same passages by their scores, best first."""
        scores = self.score(question, [hit.passage for hit in hits])
        order = np.argsort(-scores, kind="stable")
        return [Hit(hits[i].passage, float(scores[i]), "cross-encoder") for i in order]


def open_cross_encoder(name: str, device: str = "auto", *, new_head: bool = False) -> CrossEncoder:
    """Open a reranker that kofid trained, or any Hugging Face sequence classifier of one or two outputs; raise InputError.

    With ``new_head`` also an encoder, which gets a classifier to train.
    """
    from kofid.devices import choose_device

    path = Path(name)
    refuse_missing(path)
    directory = name
    if is_artifact(path):
        kind = "encoder" if new_head and artifact_kind(path) == "encoder" else "reranker"
        directory = str(open_artifact(path, kind).directory)
    return CrossEncoder.load(directory, device=choose_device(device), new_head=new_head)
