"""Encoders of questions and passages with shared weights: any Hugging Face encoder, or static embeddings.

A saved encoder is a folder that sentence-transformers opens as it is, with the same vectors.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kofid.retrieval.dense.base import PASSAGE_TOKENS, QUESTION_TOKENS, Rows, Vectors, dense_text
from kofid.retrieval.dense.sentence_transformers import (
    cannot_open,
    encoder_settings,
    pooling_settings,
    save_modules,
    save_pooler,
)
from kofid.types import Passage

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Tokens, padding included, that are encoded at a time.
_TOKENS_AT_A_TIME = 8_192


class TransformerEncoder:
    """A Hugging Face encoder with pooling.

    ``pooling`` is ``mean`` over unmasked tokens, ``cls``, the first token (Karpukhin et al. 2020, section 3.1), or
    ``pooler``, the first token through the model's own dense layer and tanh. ``normalize`` gives vectors length 1.
    ``prompts`` stand before questions and passages ("query: ", "passage: " of E5).
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        pooling: str = "mean",
        *,
        normalize: bool = False,
        prompts: tuple[str, str] = ("", ""),
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.pooling = pooling
        self.normalize = normalize
        self.prompts = prompts
        self.dimension = int(model.config.hidden_size)
        self._tokenizing = threading.Lock()

    @classmethod
    def load(cls, directory: str, *, pooling: str | None = None, normalize: bool | None = None) -> TransformerEncoder:
        """Open a saved encoder, or any Hugging Face encoder; runs no code of the model's own. Raises InputError.

        ``pooling`` and ``normalize`` are the folder's own where None, mean and no where it does not say.
        """
        from transformers import AutoConfig, AutoModel, AutoTokenizer, MT5EncoderModel, T5EncoderModel

        settings = encoder_settings(Path(directory))
        encoders = {"t5": T5EncoderModel, "mt5": MT5EncoderModel}
        try:
            tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=False)
            config = AutoConfig.from_pretrained(directory, trust_remote_code=False)
            if config.model_type in encoders:
                model: Any = encoders[config.model_type].from_pretrained(directory, use_safetensors=True)
            else:
                model = AutoModel.from_pretrained(directory, trust_remote_code=False, use_safetensors=True)
        except (OSError, ValueError) as error:
            raise cannot_open(directory, error) from error
        if model.config.is_encoder_decoder and config.model_type not in encoders:
            model = model.get_encoder()
        return cls(
            model.eval(),
            tokenizer,
            pooling or settings.get("pooling", "mean"),
            normalize=settings.get("normalize", False) if normalize is None else normalize,
            prompts=settings.get("prompts", ("", "")),
        )

    def with_pooling(
        self, pooling: str | None = None, *, normalize: bool | None = None, prompts: tuple[str, str] | None = None
    ) -> TransformerEncoder:
        """Return an encoder of the same model with other pooling, normalization or prompts; None keeps what is."""
        return TransformerEncoder(
            self.model,
            self.tokenizer,
            pooling or self.pooling,
            normalize=self.normalize if normalize is None else normalize,
            prompts=self.prompts if prompts is None else prompts,
        )

    def save(self, directory: Path) -> None:
        """Write model (safetensors), tokenizer and what sentence-transformers wants to know."""
        self.model.save_pretrained(directory)
        self.tokenizer.save_pretrained(directory)
        modules: list[tuple[str, str, dict[str, Any]]] = [
            ("", "models.Transformer", {}),
            (
                "1_Pooling",
                "models.Pooling",
                pooling_settings("cls" if self.pooling != "mean" else "mean", self.dimension),
            ),
        ]
        if self.pooling == "pooler":
            save_pooler(self.model, directory / "2_Dense")
            dense: dict[str, Any] = {"in_features": self.dimension, "out_features": self.dimension, "bias": True}
            dense["activation_function"] = "torch.nn.modules.activation.Tanh"
            modules.append(("2_Dense", "models.Dense", dense))
        limit = _limit(self.model, PASSAGE_TOKENS)
        (directory / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": limit}) + "\n")
        save_modules(directory, modules, normalize=self.normalize, prompts=self.prompts)

    def kind(self) -> dict[str, Any]:
        """Return pooling, normalization and prompts."""
        return {"pooling": self.pooling, "normalize": self.normalize, "prompts": list(self.prompts)}

    def pieces(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of texts, without [CLS], [SEP] or </s>."""
        rows: list[list[int]] = self._tokens(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        return rows

    def _tokens(self, texts: Any, **options: Any) -> Any:
        """Return what the tokenizer gives. It keeps where it cuts as a state of its own, so threads take turns."""
        with self._tokenizing:
            return self.tokenizer(texts, **options)

    def texts(self, rows: Sequence[list[int]]) -> list[str]:
        """Return the texts of tokens."""
        return [str(self.tokenizer.decode(row)) for row in rows]

    def batch(self, rows: Rows, max_tokens: int) -> dict[str, torch.Tensor]:
        """Return ``input_ids`` and ``attention_mask`` of shape (len(rows), longest), framed, cut at ``max_tokens``."""
        framed = list(self._tokens("")["input_ids"])
        n_before = sum(token != self.tokenizer.eos_token_id for token in framed[:1])  # T5 frames a text at its end only
        room = _limit(self.model, max_tokens) - len(framed)
        ids = [[*framed[:n_before], *map(int, row[:room]), *framed[n_before:]] for row in rows]
        batch = self.tokenizer.pad({"input_ids": ids}, return_tensors="pt")
        return {name: batch[name] for name in ("input_ids", "attention_mask")}

    def tokenize(self, texts: Sequence[str], max_tokens: int) -> dict[str, torch.Tensor]:
        """Return ``input_ids`` and ``attention_mask`` of shape (len(texts), longest), cut at ``max_tokens``."""
        limit = _limit(self.model, max_tokens)
        batch = self._tokens(list(texts), truncation=True, max_length=limit, padding=True, return_tensors="pt")
        return {name: batch[name] for name in ("input_ids", "attention_mask")}

    def embed(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return vectors of shape (batch, dimension), with gradients."""
        from torch.nn.functional import normalize

        output = self.model(**batch)
        states: torch.Tensor = output.last_hidden_state  # (batch, length, dimension)
        if self.pooling == "cls":
            vectors = states[:, 0]
        elif self.pooling == "pooler":
            vectors = output.pooler_output
        else:
            mask = batch["attention_mask"].unsqueeze(-1).to(states.dtype)
            vectors = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
        return normalize(vectors, dim=-1) if self.normalize else vectors

    def encode(self, texts: Sequence[str], max_tokens: int = PASSAGE_TOKENS) -> Vectors:
        """Return float32 vectors of shape (len(texts), dimension), in the order of ``texts``."""
        import torch

        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        device = next(self.model.parameters()).device
        limit = _limit(self.model, max_tokens)
        with torch.inference_mode():
            tokens = self._tokens(list(texts), truncation=True, max_length=limit)["input_ids"] if len(texts) else []
            for group in _group_by_length(tokens):
                rows = self.tokenizer.pad({"input_ids": [ids for _, ids in group]}, return_tensors="pt")
                batch = {name: rows[name].to(device) for name in ("input_ids", "attention_mask")}
                vectors[[i for i, _ in group]] = self.embed(batch).float().cpu().numpy()
        return vectors

    def encode_questions(self, questions: Sequence[str]) -> Vectors:
        """Return vectors of questions, shape (len(questions), dimension)."""
        return self.encode([self.prompts[0] + question for question in questions], QUESTION_TOKENS)

    def encode_passages(self, passages: Sequence[Passage]) -> Vectors:
        """Return vectors of passages (title, then text), shape (len(passages), dimension)."""
        return self.encode([self.prompts[1] + dense_text(p) for p in passages])


def _group_by_length(rows: Sequence[list[int]]) -> list[list[tuple[int, list[int]]]]:
    """Return (number, tokens) of all rows in groups of like length, each of few tokens together, padding included."""
    groups: list[list[tuple[int, list[int]]]] = []
    for i in sorted(range(len(rows)), key=lambda i: -len(rows[i])):
        longest = len(groups[-1][0][1]) if groups else 0
        if not groups or longest * (len(groups[-1]) + 1) > _TOKENS_AT_A_TIME:
            groups.append([])
        groups[-1].append((i, rows[i]))
    return groups


def _limit(model: Any, max_tokens: int) -> int:
    """Return how many tokens a text may have: at most two fewer than there are positions, of which RoBERTa keeps two."""
    return min(max_tokens, getattr(model.config, "max_position_embeddings", max_tokens + 2) - 2)
