"""Training the shared-weight dense retriever."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kofid.errors import UsageError
from kofid.language import say
from kofid.retrieval.dense import PASSAGE_TOKENS, QUESTION_TOKENS, DenseEncoder
from kofid.training.data import retriever_dataset
from kofid.training.tokenizer import train_tokenizer
from kofid.training.trainer import OnStep, TrainOptions, train
from kofid.types import Example

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import BertConfig

FRESH_ENCODERS: dict[str, dict[str, Any]] = {
    "tiny": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128},
    "mini": {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024},
}


def refuse_unknown_size(size: str) -> None:
    """Raise UsageError for a size that no fresh encoder has."""
    if size not in FRESH_ENCODERS:
        sizes = ", ".join(FRESH_ENCODERS)
        raise UsageError(
            say(f"크기 '{size}'은(는) 없습니다. 있는 크기: {sizes}", f"no size '{size}'; there are: {sizes}")
        )


def fresh_bert_config(size: str, vocab_size: int) -> BertConfig:
    """Return the configuration of an untrained BERT of a named size. No dropout: it sees little data once or twice."""
    from transformers import BertConfig

    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return BertConfig(vocab_size=vocab_size, pad_token_id=0, **dropout, **FRESH_ENCODERS[size])


def fresh_encoder(size: str, texts: Sequence[str], *, vocab_size: int = 8_000, seed: int = 1) -> DenseEncoder:
    """Return an untrained BERT encoder of a named size with a tokenizer learned from ``texts``."""
    from transformers import BertModel

    from kofid.devices import seed_everything

    refuse_unknown_size(size)
    tokenizer = train_tokenizer(texts, vocab_size)
    seed_everything(seed)
    return DenseEncoder(BertModel(fresh_bert_config(size, len(tokenizer))), tokenizer)


def in_batch_loss(questions: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of each question's own positive among all passages of the batch.

    Each argument has shape (batch, dimension); scores are inner products (Karpukhin et al. 2020, section 3.2).
    """
    import torch
    from torch.nn.functional import cross_entropy

    scores = questions @ torch.cat([positives, negatives]).T  # (batch, 2 x batch)
    return cross_entropy(scores, torch.arange(len(questions), device=scores.device))


def train_retriever(
    encoder: DenseEncoder,
    examples: Sequence[Example],
    options: TrainOptions,
    checkpoints: Path,
    *,
    resume: bool = False,
    on_step: OnStep | None = None,
) -> dict[str, float]:
    """Train ``encoder`` in place with in-batch negatives and one hard negative a question."""
    dataset = retriever_dataset(examples)

    def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = encoder.tokenize([row["question"] for row in rows], QUESTION_TOKENS)
        passages = encoder.tokenize([row[k] for k in ("positive", "negative") for row in rows], PASSAGE_TOKENS)
        return _prefixed("question", batch) | _prefixed("passage", passages)

    def loss(_: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        questions = encoder.embed(_part("question", inputs))
        positives, negatives = encoder.embed(_part("passage", inputs)).chunk(2)
        return in_batch_loss(questions, positives, negatives)

    figures = train(encoder.model, dataset, collate, loss, options, checkpoints, resume=resume, on_step=on_step)
    encoder.model.eval()
    return figures


def _prefixed(prefix: str, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{prefix}_{name}": tensor for name, tensor in batch.items()}


def _part(prefix: str, inputs: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {n.removeprefix(prefix + "_"): t for n, t in inputs.items() if n.startswith(prefix + "_")}
