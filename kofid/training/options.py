"""What a training run is told, and nothing heavy."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from kofid.errors import UsageError
from kofid.language import say, setting

OptimizerName = Literal["adamw", "adafactor"]
Schedule = Literal["linear", "cosine", "constant", "cyclic"]
ReportTo = Literal["none", "tensorboard", "wandb"]
# Is told, once, what a run leaves out or cuts.
Notes = Callable[[str], None]


@dataclass(frozen=True)
class TrainOptions:
    """What the optimizer is told, how long a run is, and what it keeps on the way.

    ``max_steps`` of -1 means that ``epochs`` counts. A ``learning_rate`` of 0 is the one that suits the model.
    ``schedule`` is how the rate falls after the share ``warmup`` of the steps; ``cyclic`` rises from
    ``min_learning_rate`` for that share of the steps, falls for as long, and begins anew (Smith 2017, "Cyclical Learning
    Rates for Training Neural Networks"). ``ema`` is the decay of averaged weights (0: none); ``patience`` the number of
    evaluations without a better one that end a run (0: never); ``lora`` the rank of adapters (0: none);
    ``warmup_cross`` the number of steps in which only a reader's bridge and cross-attention train.
    """

    epochs: float = 3.0
    max_steps: int = -1
    batch_size: int = 8
    accumulate: int = 1
    learning_rate: float = 1e-4
    min_learning_rate: float = 0.0
    optimizer: OptimizerName = "adamw"
    schedule: Schedule = "linear"
    warmup: float = 0.06
    weight_decay: float = 0.01
    save_steps: int = 500
    eval_steps: int = 500
    patience: int = 0
    seed: int = 1
    bf16: bool = False
    gradient_checkpointing: bool = False
    ema: float = 0.0
    lora: int = 0
    warmup_cross: int = 0
    report: ReportTo = "none"
    device: str = "auto"


@dataclass(frozen=True)
class Contrast:
    """How questions are told from the passages of others.

    Inner products are divided by ``temperature`` (0: the one that suits the encoder); ``n_negatives`` are drawn for each
    question from the hits that are not gold; ``symmetric`` also tells each passage from the questions of others.
    ``at_a_time`` texts are embedded together (0: all), and again on the way back: a batch of any size fits into memory
    (Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", section 3).
    """

    temperature: float = 1.0
    n_negatives: int = 1
    symmetric: bool = False
    at_a_time: int = 0


@dataclass(frozen=True)
class Distillation:
    """How the retriever follows the reader.

    ``temperature`` divides the reader's scores, ``retriever_temperature`` the inner products: 0 is the square root of the
    dimension (Izacard and Grave 2021b, section 3.3), or 0.05 where vectors have length 1. ``reduction`` is ``batchmean``,
    the divergence of a question averaged over questions, or ``mean``, that over passages too. ``contrast`` adds so much
    of the loss of one passage among those of the whole batch (Karpukhin et al. 2020, section 3.2): the best-scored of
    those that are gold, or say an answer where no gold is known; the best-scored of all where there are none of these.
    """

    temperature: float = 1.0
    retriever_temperature: float = 0.0
    reduction: Literal["batchmean", "mean"] = "batchmean"
    contrast: float = 0.0


class Stage(StrEnum):
    """The parts of a distillation."""

    ALL = "all"
    SCORE = "score"  # only take the reader's scores
    TRAIN = "train"  # only train by scores that are there


@dataclass(frozen=True)
class FreshModel:
    """What a new reader is made with: size of the vocabulary, pieces within morphemes, decoder layers (None: as its size has)."""

    vocab_size: int = 8_000
    morphemes: bool = False
    n_decoder_layers: int | None = None


@dataclass(frozen=True)
class ReadingLengths:
    """How much a reader reads and writes in training.

    ``n_context`` passages a question, ``max_tokens`` a passage or window (None: 250, or 384 of an extractive reader), which
    overlap by ``stride``; ``answer_tokens`` an answer. ``n_negatives`` windows that do not answer are read beside one that does
    by a joint reader. ``norm``: an extractive reader's probabilities add up to 1 over
    all windows of a question (``shared``) or in each (``window``).
    """

    n_context: int = 10
    max_tokens: int | None = None
    answer_tokens: int = 32
    stride: int = 128
    norm: Literal["shared", "window"] = "shared"
    n_negatives: int = 1


READER = TrainOptions()
RERANKER = TrainOptions()
DISTILLED = TrainOptions()
RETRIEVER = TrainOptions(batch_size=32, learning_rate=0.0, weight_decay=0.0)
PLAIN_DISTILLATION = Distillation()
PLAIN_CONTRAST, SUITED_CONTRAST = Contrast(), Contrast(temperature=0.0)


def no_notes(_message: str) -> None:
    """Say nothing."""


def said_once(notes: Notes) -> Notes:
    """Return the notes of the first process, and of all others none."""
    return notes if is_first_process() else no_notes


def refuse_options(options: TrainOptions, *, has_dev: bool) -> None:
    """Raise UsageError for options that do not go together."""
    if options.patience and not has_dev:
        patience, dev = setting("patience", options.patience), setting("dev")
        raise UsageError(say(f"{patience}에는 {dev}가 있어야 합니다", f"{patience} needs {dev}"))
    if options.min_learning_rate and options.schedule != "cyclic":
        lowest, cyclic = setting("min_learning_rate", options.min_learning_rate), setting("schedule", "cyclic")
        raise UsageError(say(f"{lowest}은(는) {cyclic}에만 있습니다", f"{lowest} is for {cyclic} only"))
    if options.learning_rate and options.min_learning_rate > options.learning_rate:
        lowest, rate = (setting(name, getattr(options, name)) for name in ("min_learning_rate", "learning_rate"))
        raise UsageError(say(f"{lowest}이(가) {rate}보다 큽니다", f"{lowest} is above {rate}"))


def is_first_process() -> bool:
    """Tell whether this is the only process of a run, or the first that ``torchrun`` started."""
    return os.environ.get("RANK", "0") == "0"
