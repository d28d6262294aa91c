"""Training a retriever: one encoder, an encoder a fold, or an encoder of raw text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kofid.errors import UsageError
from kofid.language import say, setting
from kofid.retrieval.modes import SearchMode
from kofid.storage.artifacts import is_artifact, open_artifact
from kofid.storage.files import write_file
from kofid.storage.ownership import claim_folder
from kofid.training.data import Paths, example_texts, first_example, load_examples, path_names
from kofid.training.encoder import EncoderStart, Pooling
from kofid.training.encoder_fit import dev_figures, fit_encoder, pretrain_encoder
from kofid.training.folds import folds as split_into_folds
from kofid.training.options import (
    RETRIEVER,
    SUITED_CONTRAST,
    Contrast,
    Notes,
    TrainOptions,
    is_first_process,
    no_notes,
    refuse_options,
    said_once,
)
from kofid.training.raw_text_pairs import Pairs, sample_texts
from kofid.training.run import Fit, run_settings, run_training
from kofid.types import Example, OnStep, Passage, Progress, silent

if TYPE_CHECKING:
    from kofid.retrieval.dense.base import Encoder

# Passages from which a fresh vocabulary is learned.
_SAMPLED = 120_000
# Inner products of vectors of length 1 are at most 1: divided by this they can tell passages apart.
_UNIT_TEMPERATURE = 0.03
_RATE, _STATIC_RATE = 2e-4, 0.01


def train_retriever(
    data: Paths,
    output: str | Path,
    *,
    index: str | Path | None = None,
    model: str = "fresh:mini",
    pretrain: bool = False,
    pooling: Pooling | None = None,
    normalize: bool | None = None,
    vocab_size: int = 8_000,
    bits: int = 32,
    contrast: Contrast = SUITED_CONTRAST,
    options: TrainOptions = RETRIEVER,
    folds: int = 0,
    dev: str | None = None,
    mode: SearchMode = SearchMode.SPARSE,
    n_context: int = 20,
    encoding: str | None = None,
    limit: int | None = None,
    resume: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
    on_step: OnStep | None = None,
    notes: Notes = no_notes,
) -> dict[str, Any]:
    """Train an encoder on questions and passages, write it to ``output``, and return its figures.

    ``data`` is FiD JSON, or question files whose passages, negatives among them, ``mode`` finds in ``index``; with
    ``pretrain`` it is corpora, of whose sentences pairs are made. ``model`` is an encoder's folder or name, ``fresh:SIZE``
    or ``static:DIMENSION``. ``folds`` makes so many encoders, each measured on the questions that it did not see.
    With ``dry_run`` nothing is trained: the first example comes back. Raises UsageError for what does not go together.
    """
    _refuse_together(options, pretrain=pretrain, folds=folds, dev=dev, index=index, mode=mode)
    files, output = path_names(data), Path(output)
    start = EncoderStart(model, pooling, normalize, vocab_size, bits, options.seed)
    settings = {"model": model, "data": files, "pretrain": pretrain, "mode": str(mode)}
    run = RetrieverRun(start, options, contrast, settings, resume=resume, on_step=on_step, notes=said_once(notes))
    if pretrain:
        return run.pretrain(files, output, encoding=encoding, limit=limit, dry_run=dry_run, progress=progress)

    def load(paths: Sequence[str]) -> list[Example]:
        return load_examples(
            paths,
            index,
            n_context=n_context,
            mode=mode,
            encoding=encoding,
            limit=limit,
            device=options.device,
            progress=progress,
        )

    examples = load(files)
    if dry_run:
        return first_example(examples)
    if folds:
        return run.cross_validate(examples, output, folds)
    return run.fit(examples, output, dev=load([dev]) if dev else ())


def _refuse_together(
    options: TrainOptions, *, pretrain: bool, folds: int, dev: str | None, index: str | Path | None, mode: SearchMode
) -> None:
    refuse_options(options, has_dev=dev is not None)
    names = {name: setting(name) for name in ("pretrain", "index", "dev", "folds", "mode")}
    if pretrain and (dev or index or folds):
        others = ", ".join(names[name] for name in ("index", "dev", "folds"))
        raise UsageError(
            say(f"{names['pretrain']}은 {others}와 함께 못 씁니다", f"{names['pretrain']} goes with none of {others}")
        )
    if folds == 1:
        raise UsageError(say(f"{names['folds']}: 2 이상이어야 합니다", f"{names['folds']}: must be 2 or more"))
    if folds and dev:
        raise UsageError(
            say(
                f"{names['folds']}는 남겨 둔 겹에서 잽니다: {names['dev']}는 빼세요",
                f"{names['folds']} measures on its own folds; leave out {names['dev']}",
            )
        )
    if mode is not SearchMode.SPARSE and index is None:
        raise UsageError(
            say(f"{names['mode']}에는 {names['index']}가 있어야 합니다", f"{names['mode']} needs {names['index']}")
        )


def suited(encoder: Encoder, options: TrainOptions, contrast: Contrast) -> tuple[TrainOptions, Contrast]:
    """Return options and contrast with a learning rate and a temperature that suit the kind of encoder, where they are 0."""
    kind = encoder.kind()
    static = kind["pooling"] == "static"
    rate = options.learning_rate or (_STATIC_RATE if static else _RATE)
    temperature = contrast.temperature or (_UNIT_TEMPERATURE if static or kind["normalize"] else 1.0)
    return replace(options, learning_rate=rate), replace(contrast, temperature=temperature)


@dataclass(frozen=True)
class RetrieverRun:
    """Training runs that share all but their questions. A temperature or a learning rate of 0 is the encoder's own."""

    start: EncoderStart
    options: TrainOptions = RETRIEVER
    contrast: Contrast = SUITED_CONTRAST
    settings: dict[str, Any] = field(default_factory=dict)
    resume: bool = False
    on_step: OnStep | None = None
    notes: Notes = no_notes

    def fit(
        self,
        examples: Sequence[Example],
        output: Path,
        *,
        dev: Sequence[Example] = (),
        held_out: Sequence[Example] = (),
    ) -> dict[str, float]:
        """Train on ``examples`` and write the encoder; return its figures, those on ``held_out`` by that name."""
        encoder = self.start.encoder(example_texts(examples))
        options, contrast = suited(encoder, self.options, self.contrast)

        def fit(checkpoints: Path, on_step: OnStep | None) -> Fit:
            figures = fit_encoder(
                encoder,
                examples,
                options,
                checkpoints,
                contrast=contrast,
                dev=dev,
                resume=self.resume,
                on_step=on_step,
                notes=self.notes,
            )
            if held_out:
                figures |= {f"held_out_{name}": value for name, value in dev_figures(encoder, held_out).items()}
            return Fit(figures)

        return run_training(output, "encoder", self._kept(encoder, options, contrast), encoder, fit, self.on_step)

    def cross_validate(self, examples: Sequence[Example], output: Path, n: int) -> dict[str, float]:
        """Train ``n`` encoders, each from the start, in folders of ``output``; return the means of their figures.

        With ``resume`` those already done are kept. ``output`` also has folds.json: each fold's figures, and the
        questions held out from it.
        """
        if is_first_process() and output.exists() and not self.resume:
            resume = setting("resume")
            raise UsageError(
                say(
                    f"{output}이(가) 이미 있습니다. 이어서 하려면 {resume}, 아니면 지우세요.",
                    f"{output} is there already; go on with {resume}, or remove it",
                )
            )
        pairs = split_into_folds(examples, n, self.options.seed)
        if is_first_process():
            claim_folder(output)
        rows: list[dict[str, Any]] = []
        for number, (seen, held_out) in enumerate(pairs, 1):
            figures = self._fold(seen, held_out, output, number, n)
            rows.append({"fold": number, **figures, "held_out": [e.question.text for e in held_out]})
        if is_first_process():
            write_file(output / "folds.json", [json.dumps(row, ensure_ascii=False) + "\n" for row in rows])
        names = [name for name in rows[0] if name.startswith("held_out_")]
        return {"folds": n, **{name: sum(row[name] for row in rows) / n for name in names}}

    def _fold(
        self, examples: Sequence[Example], held_out: Sequence[Example], output: Path, number: int, n: int
    ) -> dict[str, float]:
        """Return the figures of one fold's encoder, trained now or before."""
        path = output / f"fold-{number}"
        questions = "\n".join([str(n), *(e.question.text for e in held_out)])
        fold = {"fold": f"{number}/{n}", "held_out_sha256": hashlib.sha256(questions.encode()).hexdigest()}
        if not is_artifact(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            return replace(self, settings=self.settings | fold).fit(examples, path, held_out=held_out)
        settings = open_artifact(path, "encoder").settings
        if settings.get("held_out_sha256") != fold["held_out_sha256"]:
            raise UsageError(
                say(
                    f"{path}은(는) 다른 질문이나 다른 겹으로 만든 것입니다. {output}을(를) 지우고 다시 하세요.",
                    f"{path} was made of other questions or folds; remove {output} and start anew",
                )
            )
        figures: dict[str, float] = settings["figures"]
        return figures

    def pretrain(
        self,
        data: Sequence[str],
        output: Path,
        *,
        encoding: str | None = None,
        limit: int | None = None,
        dry_run: bool = False,
        progress: Progress = silent,
    ) -> dict[str, Any]:
        """Train on pairs made of corpora and write the encoder; return its figures, or a first pair with ``dry_run``."""
        encoder, pairs = _raw_pairs(data, self.start, encoding, limit, progress)
        if dry_run:
            return {"n_passages": len(pairs), **pairs.example(encoder.texts)}
        options, contrast = suited(encoder, self.options, self.contrast)

        def fit(checkpoints: Path, on_step: OnStep | None) -> Fit:
            return Fit(
                pretrain_encoder(
                    encoder, pairs, options, checkpoints, contrast=contrast, resume=self.resume, on_step=on_step
                )
            )

        return run_training(output, "encoder", self._kept(encoder, options, contrast), encoder, fit, self.on_step)

    def _kept(self, encoder: Encoder, options: TrainOptions, contrast: Contrast) -> dict[str, Any]:
        return run_settings(options, **self.settings, contrast=asdict(contrast), **encoder.kind())


def _raw_pairs(
    data: Sequence[str], start: EncoderStart, encoding: str | None, limit: int | None, progress: Progress
) -> tuple[Encoder, Pairs]:
    """Return the encoder to train, and the passages of corpora as pairs for it."""
    from kofid.formats import read_corpus

    def passages(what: str) -> Iterator[Passage]:
        return iter(progress(islice(read_corpus(data, encoding=encoding), limit), what, None))

    texts = sample_texts(passages(say("글 고르기", "sampling texts")), _SAMPLED, start.seed) if start.is_fresh else []
    encoder = start.encoder(texts)
    return encoder, Pairs(passages(say("글 읽기", "reading texts")), encoder.pieces)
