"""Training a reader of any kind, from files to an artifact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kofid.errors import UsageError
from kofid.language import say, setting
from kofid.reader.fid.config import PASSAGE_TOKENS, Variant
from kofid.reader.kinds import TRAINING_SETTINGS, ReaderKind, kinds_with
from kofid.training.data import Paths, example_texts, first_example, fresh_size, load_examples, path_names
from kofid.training.options import (
    READER,
    FreshModel,
    Notes,
    ReadingLengths,
    TrainOptions,
    no_notes,
    refuse_options,
    said_once,
)
from kofid.training.run import Fit, run_settings, run_training
from kofid.types import Example, OnStep, Progress, silent

if TYPE_CHECKING:
    from kofid.reader.fid.reader import FiDReader

_MODEL = "fresh:mini"
_WINDOW_TOKENS = 384
_PLAIN, _FRESH, _LENGTHS = Variant(), FreshModel(), ReadingLengths()


def train_reader(
    data: Paths,
    output: str | Path,
    *,
    kind: ReaderKind = ReaderKind.T5,
    index: str | Path | None = None,
    model: str = _MODEL,
    decoder: str | None = None,
    variant: Variant = _PLAIN,
    fresh: FreshModel = _FRESH,
    lengths: ReadingLengths = _LENGTHS,
    options: TrainOptions = READER,
    dev: str | None = None,
    words: Path | None = None,
    half: bool = False,
    encoding: str | None = None,
    limit: int | None = None,
    resume: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
    on_step: OnStep | None = None,
    notes: Notes = no_notes,
) -> dict[str, Any]:
    """Train a reader of a kind, write it to ``output``, and return its figures.

    ``data`` is FiD JSON, or question files whose passages are found in ``index``; ``dev`` is such a file, on which the weights
    with the best exact match are chosen and the confidence is fitted. ``model`` is a checkpoint or ``fresh:SIZE``;
    ``decoder`` the GPT-2 that ``skt`` joins to it (a FiDSKT to go on with has its own). ``words`` has rarities and kinds
    of names for ``span`` (None: the bundled ones); ``half`` saves 16 bits a weight. ``notes`` is told what is cut or left
    out. With ``dry_run`` nothing is trained: the first example comes back, and what a run would take. Raises UsageError
    for settings that do not go together.
    """

    kind, files = ReaderKind(kind), path_names(data)
    _refuse_foreign_settings(
        kind,
        _changed(options, READER) + _changed(variant, _PLAIN) + _changed(fresh, _FRESH) + _changed(lengths, _LENGTHS),
        model=model != _MODEL,
        decoder=decoder is not None,
        dev=dev is not None,
        words=words is not None,
        half=half,
        resume=resume,
    )
    refuse_options(options, has_dev=dev is not None)
    run = ReaderRun(kind, Path(output), files, model, decoder, dev, lengths, options, resume, on_step, said_once(notes))

    def load(paths: Sequence[str], *, keep_gold: bool = True) -> list[Example]:
        return load_examples(
            paths,
            index,
            n_context=lengths.n_context,
            keep_gold=keep_gold,
            encoding=encoding,
            limit=limit,
            progress=progress,
        )

    examples = load(files)
    held_out = load([dev], keep_gold=False) if dev else []
    if kind in (ReaderKind.T5, ReaderKind.SKT, ReaderKind.SINGLE):
        return _train_fusion(run, examples, held_out, variant, fresh, half=half, dry_run=dry_run)
    if dry_run:
        return first_example(examples)
    if kind is ReaderKind.SPAN:
        return run.span(examples, words, progress)
    return run.joint(examples, held_out, progress) if kind is ReaderKind.JOINT else run.extractive(examples, fresh)


def _train_fusion(
    run: ReaderRun,
    examples: Sequence[Example],
    dev: Sequence[Example],
    variant: Variant,
    fresh: FreshModel,
    *,
    half: bool,
    dry_run: bool,
) -> dict[str, Any]:
    reader = run.initial_reader(examples, variant, fresh)
    if dry_run:
        from kofid.training.estimate import estimate

        return {**first_example(examples), "estimate": estimate(reader, examples, run.options, run.lengths.n_context)}
    if run.kind is ReaderKind.SINGLE:
        return run.single(reader, examples)
    return run.fid(reader, examples, dev, half=half)


@dataclass(frozen=True)
class ReaderRun:
    """A training run of a reader: where it ends, what it starts from, and how it goes."""

    kind: ReaderKind
    output: Path
    data: Sequence[str]
    model: str
    decoder: str | None
    dev: str | None
    lengths: ReadingLengths
    options: TrainOptions
    resume: bool
    on_step: OnStep | None
    notes: Notes

    def initial_reader(self, examples: Sequence[Example], variant: Variant, fresh: FreshModel) -> FiDReader:
        """Return the fusion reader to train."""
        from kofid.training.fid import initial_reader

        return initial_reader(
            model_folder(self.model),
            example_texts(examples),
            variant,
            skt=self.kind is ReaderKind.SKT,
            decoder=self.decoder,
            fresh=fresh,
            max_tokens=self.lengths.max_tokens or PASSAGE_TOKENS,
            answer_tokens=self.lengths.answer_tokens,
            seed=self.options.seed,
        )

    def fid(
        self, reader: FiDReader, examples: Sequence[Example], dev: Sequence[Example], *, half: bool
    ) -> dict[str, float]:
        """Train and write a fusion reader; with ``dev`` its confidence is fitted there. Return its figures."""
        from kofid.training.calibration import calibrate
        from kofid.training.fid import fit_fid

        def fit(checkpoints: Path, on_step: OnStep | None) -> Fit:
            figures = fit_fid(
                reader,
                examples,
                self.options,
                checkpoints,
                dev=dev,
                n_context=self.lengths.n_context,
                answer_tokens=self.lengths.answer_tokens,
                resume=self.resume,
                keep_checkpoints=True,  # until the reader is written
                on_step=on_step,
                notes=self.notes,
            )
            fitted = {"confidence": asdict(calibrate(reader, dev, self.lengths.n_context))} if dev else {}
            if half:
                reader.model.half()
            return Fit(figures, fitted)

        return run_training(self.output, "reader", self._settings(PASSAGE_TOKENS), reader, fit, self.on_step)

    def single(self, reader: FiDReader, examples: Sequence[Example]) -> dict[str, float]:
        """Train and write a reader of single passages; return its figures."""
        from kofid.reader.fid.single import SingleReader
        from kofid.training.single import fit_single

        single = SingleReader(reader)

        def fit(checkpoints: Path, on_step: OnStep | None) -> Fit:
            return Fit(
                fit_single(
                    single,
                    examples,
                    self.options,
                    checkpoints,
                    n_context=self.lengths.n_context,
                    answer_tokens=self.lengths.answer_tokens,
                    resume=self.resume,
                    keep_checkpoints=True,  # until the reader is written
                    on_step=on_step,
                    notes=self.notes,
                )
            )

        return run_training(self.output, "reader", self._settings(PASSAGE_TOKENS), single, fit, self.on_step)

    def extractive(self, examples: Sequence[Example], fresh: FreshModel) -> dict[str, float]:
        """Train and write an extractive reader; return its figures."""
        from kofid.reader.extractive.reader import ExtractiveReader, Spans
        from kofid.training.extractive import fit_extractive, fresh_extractive

        lengths, seed = self.lengths, self.options.seed
        spans = Spans(max_tokens=lengths.max_tokens or _WINDOW_TOKENS, stride=lengths.stride, norm=lengths.norm)
        size = fresh_size(self.model)
        if size is None:
            reader = ExtractiveReader.load(model_folder(self.model), spans=spans, new_head=True, seed=seed)
        else:
            texts = example_texts(examples)
            reader = fresh_extractive(size, texts, spans, vocab_size=fresh.vocab_size, seed=seed)

        def fit(checkpoints: Path, on_step: OnStep | None) -> Fit:
            return Fit(
                fit_extractive(
                    reader,
                    examples,
                    self.options,
                    checkpoints,
                    n_context=lengths.n_context,
                    resume=self.resume,
                    keep_checkpoints=True,  # until the reader is written
                    on_step=on_step,
                    notes=self.notes,
                )
            )

        settings = self._settings(_WINDOW_TOKENS) | {"stride": lengths.stride, "norm": lengths.norm}
        return run_training(self.output, "reader", settings, reader, fit, self.on_step)

    def joint(self, examples: Sequence[Example], dev: Sequence[Example], progress: Progress) -> dict[str, float]:
        """Train and write a joint reader; with ``dev`` its weights and its confidence are fitted there. Return its figures."""
        from kofid.encoder.session import TOKENIZER
        from kofid.reader.joint.windows import WINDOW_PIECES
        from kofid.reader.open import BUNDLED_READERS
        from kofid.storage.bundled import resource
        from kofid.training.joint import TrainedJoint, fit_joint, joint_dataset, open_joint, sample_rows
        from kofid.training.joint_settings import fit_settings

        start = model_folder(str(resource(BUNDLED_READERS["joint"])) if self.model == _MODEL else self.model)
        model, tokenizer = open_joint(start, seed=self.options.seed)
        dataset = joint_dataset(tokenizer, examples, progress=progress, notes=self.notes)
        trained = TrainedJoint(model, Path(start) / TOKENIZER, sample_rows(dataset))

        def fit(checkpoints: Path, on_step: OnStep | None) -> Fit:
            figures = fit_joint(
                model,
                dataset,
                self.options,
                checkpoints,
                pad=tokenizer.pad,
                n_negatives=self.lengths.n_negatives,
                resume=self.resume,
                keep_checkpoints=True,  # until the reader is written
                on_step=on_step,
            )
            settings, measured = fit_settings(trained, dev, progress=progress)
            return Fit(figures | measured, {"joint": settings.to_json()})

        return run_training(self.output, "reader", self._settings(WINDOW_PIECES), trained, fit, self.on_step)

    def span(self, examples: Sequence[Example], words: Path | None, progress: Progress) -> dict[str, float]:
        """Train and write a reader of spans; return its figures."""
        from kofid.reader.span.reader import Words
        from kofid.storage.artifacts import is_artifact, open_artifact, write_artifact
        from kofid.storage.bundled import resource
        from kofid.training.span import fit_span

        seed = self.options.seed
        source = words or resource("models/span")
        known = Words.load(open_artifact(source, "reader").directory if is_artifact(source) else source)
        settings: dict[str, object] = {"reader": "span", "data": list(self.data), "seed": seed}
        settings["words"] = str(words or "bundled")
        with write_artifact(self.output, "reader", settings) as directory:
            figures = fit_span(examples, directory, seed=seed, progress=progress, words=known)
            settings["figures"] = figures
        return figures

    def _settings(self, max_tokens: int) -> dict[str, Any]:
        """Return what the artifact keeps of a run whose passages have ``max_tokens`` where nothing else is said."""
        return run_settings(
            self.options,
            reader=str(self.kind),
            model=self.model,
            decoder=self.decoder,
            data=list(self.data),
            dev=self.dev,
            n_context=self.lengths.n_context,
            max_tokens=self.lengths.max_tokens or max_tokens,
            answer_tokens=self.lengths.answer_tokens,
        )


def model_folder(model: str) -> str:
    """Return the folder to open for a model: the current generation of a reader of kofid, anything else as it is."""
    from kofid.storage.artifacts import is_artifact, open_artifact

    return str(open_artifact(Path(model), "reader").directory) if is_artifact(Path(model)) else model


def _changed(options: Any, default: Any) -> list[str]:
    """Return the names of the fields in which a dataclass differs from another."""
    return [field.name for field in fields(options) if getattr(options, field.name) != getattr(default, field.name)]


def _refuse_foreign_settings(kind: ReaderKind, changed: Sequence[str], **more: bool) -> None:
    """Raise UsageError for a setting that this kind of reader does not take, where it is not left at its default."""
    for name in (*changed, *(name for name, is_set in more.items() if is_set)):
        kinds = kinds_with(name, TRAINING_SETTINGS)
        if kind not in kinds:
            reader, others = setting("kind", kind), ", ".join(kinds)
            raise UsageError(
                say(
                    f"{setting(name)}은(는) {reader}에 없습니다. 있는 리더: {others}",
                    f"{setting(name)} is not for {reader}, only for: {others}",
                )
            )
