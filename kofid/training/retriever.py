"""Training the shared-weight dense retriever."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from kofid.errors import UsageError
from kofid.language import say
from kofid.retrieval.dense.base import PASSAGE_TOKENS, QUESTION_TOKENS, Encoder, Rows
from kofid.retrieval.dense.static import StaticEncoder
from kofid.retrieval.dense.transformer import TransformerEncoder
from kofid.training.contrast import Contrast, contrastive_loss, key
from kofid.training.data import is_positive, retriever_dataset
from kofid.training.pairs import Pairs
from kofid.training.tokenizers import train_tokenizer
from kofid.training.trainer import TrainOptions, train
from kofid.types import Example, OnStep

if TYPE_CHECKING:
    import torch
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


def fresh_encoder(size: str, texts: Sequence[str], *, vocab_size: int = 8_000, seed: int = 1) -> TransformerEncoder:
    """Return an untrained BERT encoder of a named size with a tokenizer learned from ``texts``."""
    from transformers import BertModel

    from kofid.devices import seed_everything

    refuse_unknown_size(size)
    tokenizer = train_tokenizer(texts, vocab_size)
    seed_everything(seed)
    return TransformerEncoder(BertModel(fresh_bert_config(size, len(tokenizer))), tokenizer)


def train_retriever(
    encoder: Encoder,
    examples: Sequence[Example],
    options: TrainOptions,
    checkpoints: Path,
    *,
    contrast: Contrast | None = None,
    dev: Sequence[Example] = (),
    resume: bool = False,
    on_step: OnStep | None = None,
) -> dict[str, float]:
    """Train ``encoder`` in place with the passages of other questions, and hard ones of its own, as negatives.

    With ``dev`` it ends with the weights that put the most gold passages first among all those of the dev examples.
    """
    how = contrast or Contrast()
    epoch = 0

    def set_epoch(number: int) -> None:
        nonlocal epoch
        epoch = number

    def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        golds, negatives = [], []
        for row in rows:
            chance = Random(f"{options.seed} {epoch} {row['question']}")
            golds.append(chance.choice(row["positives"]))
            negatives += chance.sample(row["negatives"], min(how.n_negatives, len(row["negatives"])))
        return _batch(
            encoder,
            encoder.pieces([row["question"] for row in rows]),
            encoder.pieces(golds + negatives),
            golds + negatives,
        )

    dataset = retriever_dataset(examples)
    with made_ready(encoder, options) as merged:

        def evaluate() -> dict[str, float]:
            with merged():
                return dev_figures(encoder, dev)

        figures = train(
            encoder.model,
            dataset,
            collate,
            contrastive_loss(encoder, how),
            options,
            checkpoints,
            dev=evaluate if dev else None,
            on_epoch=set_epoch,
            by_itself=True,
            resume=resume,
            keep=True,  # until the encoder is written
            on_step=on_step,
        )
    encoder.model.eval()
    return figures


@contextmanager
def made_ready(encoder: Encoder, options: TrainOptions) -> Iterator[Callable[[], AbstractContextManager[Any]]]:
    """Set an encoder up for training: gradient checkpointing and adapters, which are merged into it in the end.

    Yields a context in which it can be evaluated: adapters merged for a while. Raises UsageError for one without layers.
    """
    if (options.lora or options.gradient_checkpointing) and not isinstance(encoder, TransformerEncoder):
        raise UsageError(
            say(
                "--lora와 --gradient-checkpointing은 층이 있는 인코더에만 됩니다 (static에는 안 됩니다)",
                "--lora and --gradient-checkpointing need an encoder with layers (not static)",
            )
        )
    model: Any = encoder.model
    if options.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    try:
        if options.lora:
            from kofid.devices import seed_everything
            from kofid.training.lora import Adapters

            seed_everything(options.seed)
            adapters = Adapters(model, options.lora)
            yield adapters.merged
            adapters.merge()
        else:
            yield nullcontext
    finally:
        if options.gradient_checkpointing:
            model.gradient_checkpointing_disable()


def pretrain_retriever(
    encoder: Encoder,
    pairs: Pairs,
    options: TrainOptions,
    checkpoints: Path,
    *,
    contrast: Contrast | None = None,
    resume: bool = False,
    on_step: OnStep | None = None,
) -> dict[str, float]:
    """Train ``encoder`` in place on pairs of raw text; the i-th pair of an epoch is the same whoever draws it."""
    from datasets import Dataset

    epoch = 0

    def set_epoch(number: int) -> None:
        nonlocal epoch
        epoch = number

    def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        drawn = [pairs.draw(row["number"], np.random.default_rng([options.seed, epoch, row["number"]])) for row in rows]
        return _batch(encoder, [q for q, _ in drawn], [p for _, p in drawn], [str(row["number"]) for row in rows])

    figures = train(
        encoder.model,
        Dataset.from_dict({"number": np.arange(len(pairs))}),
        collate,
        contrastive_loss(encoder, contrast or Contrast()),
        options,
        checkpoints,
        on_epoch=set_epoch,
        by_itself=True,
        resume=resume,
        keep=True,  # until the encoder is written
        on_step=on_step,
    )
    encoder.model.eval()
    return figures


def fresh_static(texts: Sequence[str], dimension: int, *, vocab_size: int = 8_000, seed: int = 1) -> StaticEncoder:
    """Return untrained static vectors for a tokenizer learned from ``texts``.

    A token's length is at first its rarity in them, log(n_tokens / count).
    """
    from kofid.training.tokenizers import train_wordpiece

    tokenizer = train_wordpiece(texts, vocab_size).backend_tokenizer
    n = tokenizer.get_vocab_size()
    counts = np.zeros(n, dtype=np.int64)
    for row in StaticEncoder.fresh(tokenizer, 1, np.ones(n, np.float32)).pieces(texts):
        counts += np.bincount(row, minlength=n)
    return StaticEncoder.fresh(tokenizer, dimension, np.log((counts.sum() + 1) / (counts + 1)).astype(np.float32), seed)


def dev_figures(encoder: Encoder, examples: Sequence[Example]) -> dict[str, float]:
    """Return hit@1, MRR and hit@5 of gold passages among all passages of the examples."""
    training = encoder.model.training
    encoder.model.eval()
    passages = list({hit.passage: None for example in examples for hit in example.hits})
    scores = encoder.encode_questions([e.question.text for e in examples]) @ encoder.encode_passages(passages).T
    encoder.model.train(training)
    ranks = []
    for example, row in zip(examples, scores, strict=True):
        gold = [i for i, passage in enumerate(passages) if is_positive(example.question, passage)]
        ranks.append(1 + int((row > row[gold].max()).sum()) if gold else len(passages) + 1)
    found = np.array(ranks)
    return {"hit1": float((found == 1).mean()), "mrr": float((1 / found).mean()), "hit5": float((found <= 5).mean())}


def _batch(encoder: Encoder, questions: Rows, passages: Rows, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """Return the tokens of questions and passages, and the passages' keys: equal where their names are."""
    import torch

    keys = torch.tensor([key(name) for name in names])
    parts = {"question": encoder.batch(questions, QUESTION_TOKENS), "passage": encoder.batch(passages, PASSAGE_TOKENS)}
    return {f"{part}_{name}": tensor for part, batch in parts.items() for name, tensor in batch.items()} | {
        "keys": keys
    }
