"""What ``kofid train-reader`` does for each kind of reader."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kofid.cli import console
from kofid.cli import training as common
from kofid.language import say
from kofid.types import Example

if TYPE_CHECKING:
    from kofid.reader.fid.config import Variant
    from kofid.reader.fid.reader import FiDReader
    from kofid.types import OnStep
from kofid.training.trainer import TrainOptions


def initial(
    examples: list[Example],
    variant: Variant,
    kept: dict[str, Any],
    decoder_layers: int | None,
    vocab_size: int,
    morphemes: bool,
    seed: int,
) -> FiDReader:
    """Return the fusion reader to train, as ``kept`` says: the model it starts from, the decoder, tokens a passage."""
    from kofid.training.fid import initial_reader

    return initial_reader(
        _own_folder(kept["model"]),
        common.example_texts(examples),
        variant,
        skt=kept["reader"] == "skt",
        decoder=kept["decoder"],
        n_decoder_layers=decoder_layers,
        vocab_size=vocab_size,
        morphemes=morphemes,
        seed=seed,
    ).with_options(max_tokens=kept["max_tokens"])


def train_span(
    examples: list[Example], output: Path, data: list[str], seed: int, words: Path | None
) -> dict[str, float]:
    """Train and write a reader of spans; return its figures."""
    from kofid.reader.span.reader import Words
    from kofid.storage.artifacts import is_artifact, open_artifact, write_artifact
    from kofid.storage.bundled import resource
    from kofid.training.span import train_span_reader

    source = words or resource("models/span")
    known = Words.load(open_artifact(source, "reader").directory if is_artifact(source) else source)
    made: dict[str, object] = {"reader": "span", "data": data, "seed": seed, "words": str(words or "bundled")}
    with write_artifact(output, "reader", made) as directory:
        figures = train_span_reader(examples, directory, seed=seed, progress=console.progress, words=known)
        made["figures"] = figures
    return figures


def train_extractive(
    examples: list[Example],
    output: Path,
    options: TrainOptions,
    kept: dict[str, Any],
    vocab_size: int,
    resume: bool,
) -> dict[str, float]:
    """Train and write an extractive reader; return its figures."""
    from kofid.reader.extractive.reader import ExtractiveReader, Spans
    from kofid.training.extractive import fresh_extractive, train_extractive
    from kofid.training.trainer import settings

    spans = Spans(max_tokens=kept["max_tokens"], stride=kept["stride"], norm=kept["norm"])
    size = common.fresh_size(kept["model"])
    if size is None:
        reader = ExtractiveReader.load(_own_folder(kept["model"]), spans=spans, new_head=True, seed=options.seed)
    else:
        texts = common.example_texts(examples)
        reader = fresh_extractive(size, texts, spans, vocab_size=vocab_size, seed=options.seed)

    def fit(checkpoints: Path, on_step: OnStep) -> dict[str, float]:
        n_context = kept["n_context"]
        return train_extractive(
            reader, examples, options, checkpoints, n_context=n_context, resume=resume, on_step=on_step
        )

    what = say("추출 리더 훈련", "training extractive reader")
    return common.run_training(output, "reader", settings(options, **kept), reader, what, fit)


def train_single(
    made: FiDReader, examples: list[Example], output: Path, options: TrainOptions, kept: dict[str, Any], resume: bool
) -> dict[str, float]:
    """Train and write a reader of single passages; return its figures."""
    from kofid.reader.fid.single import SingleReader
    from kofid.training.single import train_single
    from kofid.training.trainer import settings

    reader = SingleReader(made)

    def fit(checkpoints: Path, on_step: OnStep) -> dict[str, float]:
        return train_single(
            reader, examples, options, checkpoints, n_context=kept["n_context"], resume=resume, on_step=on_step
        )

    what = say("패시지 하나를 읽는 리더 훈련", "training single-passage reader")
    return common.run_training(output, "reader", settings(options, **kept), reader, what, fit)


def _own_folder(model: str) -> str:
    """Return the folder to open for a model: an artifact's current generation, anything else as it is."""
    from kofid.storage.artifacts import is_artifact, open_artifact

    return str(open_artifact(Path(model), "reader").directory) if is_artifact(Path(model)) else model


def train_fusion(
    reader: FiDReader,
    examples: list[Example],
    dev: list[Example],
    output: Path,
    options: TrainOptions,
    kept: dict[str, Any],
    *,
    half: bool,
    resume: bool,
) -> dict[str, float]:
    """Train and write a fusion reader; with ``dev`` its confidence is fitted there. Return its figures."""
    from kofid.training.calibration import calibrate
    from kofid.training.fid import train_reader
    from kofid.training.trainer import settings

    made = settings(options, **kept)

    def fit(checkpoints: Path, on_step: OnStep) -> dict[str, float]:
        figures = train_reader(
            reader,
            examples,
            options,
            checkpoints,
            dev=dev,
            n_context=kept["n_context"],
            resume=resume,
            keep=True,  # until the reader is written
            on_step=on_step,
        )
        if dev:
            made["confidence"] = asdict(calibrate(reader, dev, kept["n_context"]))
        if half:
            reader.model.half()
        return figures

    return common.run_training(output, "reader", made, reader, say("리더 훈련", "training reader"), fit)
