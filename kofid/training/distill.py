"""Distilling a reader into a retriever: the reader's scores of passages, then a retriever that follows them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from kofid.errors import UsageError
from kofid.language import say, setting
from kofid.reader.fid.config import ScoreMethod
from kofid.storage.artifacts import refuse_foreign
from kofid.storage.files import refuse_unwritable
from kofid.training.data import Paths, example_texts, load_examples, path_names
from kofid.training.options import (
    DISTILLED,
    PLAIN_DISTILLATION,
    Distillation,
    Notes,
    Stage,
    TrainOptions,
    no_notes,
    refuse_options,
    said_once,
)
from kofid.training.run import Fit, run_settings, run_training
from kofid.types import Example, OnStep, Progress, silent


def distill(
    data: Paths,
    output: str | Path,
    *,
    reader: str | None = None,
    retriever: str | None = None,
    index: str | Path | None = None,
    stage: Stage = Stage.ALL,
    n_context: int = 10,
    score: ScoreMethod = ScoreMethod.FIRST,
    dtype: str = "float32",
    distillation: Distillation = PLAIN_DISTILLATION,
    scores: Path | None = None,
    options: TrainOptions = DISTILLED,
    encoding: str | None = None,
    limit: int | None = None,
    resume: bool = False,
    progress: Progress = silent,
    on_step: OnStep | None = None,
    notes: Notes = no_notes,
) -> dict[str, float]:
    """Train ``retriever`` to rank passages as ``reader`` attends to them, write it to ``output``, and return its figures.

    ``data`` is FiD JSON, or question files whose passages are found in ``index``; of each question the first ``n_context``
    passages are scored and learned from. The stage ``score`` only writes the scores, to ``output`` as FiD JSON; ``train``
    learns from the scores that ``data`` has. ``scores`` is a file for the scores of a whole run. Scoring that was
    interrupted goes on where it stopped. Raises UsageError for what is missing or does not go together.
    """
    stage, output = Stage(stage), Path(output)
    _refuse_missing(reader, retriever, stage)
    refuse_options(options, has_dev=False)
    _refuse_outputs(output, scores, stage)
    loaded = load_examples(
        path_names(data),
        index,
        n_context=n_context,
        keep_gold=False,
        encoding=encoding,
        limit=limit,
        device=options.device,
        progress=progress,
    )
    examples = [replace(example, hits=example.hits[:n_context]) for example in loaded]
    if stage is Stage.TRAIN:
        return _train(str(retriever), reader, data, examples, output, options, distillation, resume, on_step, notes)
    from kofid.formats import write_examples
    from kofid.training.teacher import open_teacher, score_examples, score_journal

    journal = score_journal(output, str(reader), score, dtype, examples)
    teacher = open_teacher(str(reader), device=options.device, n_context=n_context, dtype=dtype)
    examples = list(score_examples(teacher, examples, progress, score, journal))
    file = output if stage is Stage.SCORE else scores
    if file is not None:
        write_examples(file, examples)
    figures: dict[str, float] = {"n_questions": len(examples)}
    if stage is Stage.ALL:
        figures = _train(str(retriever), reader, data, examples, output, options, distillation, resume, on_step, notes)
    journal.unlink()
    return figures


def _train(
    retriever: str,
    reader: str | None,
    data: Paths,
    examples: Sequence[Example],
    output: Path,
    options: TrainOptions,
    distillation: Distillation,
    resume: bool,
    on_step: OnStep | None,
    notes: Notes,
) -> dict[str, float]:
    from kofid.training.distill_fit import fit_distilled, suited_distillation
    from kofid.training.encoder import EncoderStart

    encoder = EncoderStart(retriever, seed=options.seed).encoder(example_texts(examples))
    distillation = suited_distillation(distillation, encoder)
    names = {"model": retriever, "teacher": reader, "data": path_names(data), "distillation": asdict(distillation)}

    def fit(checkpoints: Path, on_step: OnStep | None) -> Fit:
        return Fit(
            fit_distilled(
                encoder,
                examples,
                options,
                checkpoints,
                distillation=distillation,
                resume=resume,
                on_step=on_step,
                notes=said_once(notes),
            )
        )

    settings = run_settings(options, **names, **encoder.kind())
    return run_training(output, "encoder", settings, encoder, fit, on_step)


def _refuse_outputs(output: Path, scores: Path | None, stage: Stage) -> None:
    """Raise InputError, before hours of scoring, for what could not be written after them."""
    if stage is Stage.SCORE:
        if not output.parent.exists():
            output.parent.mkdir(parents=True)
        refuse_unwritable(output)
    else:
        refuse_foreign(output, "encoder")
    if scores is not None:
        refuse_unwritable(scores)


def _refuse_missing(reader: str | None, retriever: str | None, stage: Stage) -> None:
    for name, value, spared in (("reader", reader, Stage.TRAIN), ("retriever", retriever, Stage.SCORE)):
        if value is None and stage is not spared:
            raise UsageError(say(f"{setting(name)}를 주세요", f"give a {setting(name)}"))
    if stage is not Stage.TRAIN and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        only = setting("stage", "train")
        raise UsageError(say(f"torchrun은 {only}만 나누어 합니다", f"torchrun shares out {only} only"))
