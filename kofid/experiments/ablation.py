"""The ablation table of fusion readers: one reader a variant, trained alike, each measured in a process of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kofid.errors import UsageError
from kofid.evaluation.report import markdown_table, write_scatter
from kofid.experiments.processes import call_alone
from kofid.experiments.settings import keep_settings, refuse_other_settings, settings_text
from kofid.experiments.steps import UNWATCHED, Watcher, read_all_questions
from kofid.language import say, setting
from kofid.reader.kinds import ReaderKind
from kofid.storage.artifacts import is_artifact
from kofid.storage.files import write_file
from kofid.storage.ownership import claim_folder
from kofid.training.options import FreshModel, ReadingLengths, TrainOptions

if TYPE_CHECKING:
    from kofid.reader.fid.config import Variant


@dataclass(frozen=True)
class Change:
    """What a variant changes in the reader that all start from."""

    kind: ReaderKind = ReaderKind.T5
    first_k: int = 0
    n_cross_layer: int = 1
    n_kv_heads: int = 0

    def variant(self, base: Variant) -> Variant:
        """Return the variant: ``base`` with the changes."""
        return replace(
            base, first_k=self.first_k, n_cross_layer=self.n_cross_layer, cross_layers=(), n_kv_heads=self.n_kv_heads
        )


VARIANTS: dict[str, Change] = {
    "Original": Change(),
    "K8": Change(first_k=8),
    "K32": Change(first_k=32),
    "LSA6": Change(n_cross_layer=6),
    "LSA4": Change(n_cross_layer=4),
    "GQA4": Change(n_kv_heads=4),
    "LSA6+GQA4": Change(n_cross_layer=6, n_kv_heads=4),
    "K8+LSA6+GQA4": Change(first_k=8, n_cross_layer=6, n_kv_heads=4),
    "FiDSKT": Change(ReaderKind.SKT),
    "FiDSKT LSA6": Change(ReaderKind.SKT, n_cross_layer=6),
}


@dataclass(frozen=True)
class Row:
    """What a variant is worth, and takes.

    ``seconds`` a question (reading only), the reading process's ``peak_mb`` of memory in 2^20 bytes, the number of
    ``parameters``, the last ``loss`` of training (None where that is not known).
    """

    name: str
    em: float
    f1: float
    em_robust: float
    seconds: float
    peak_mb: int
    parameters: int
    loss: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as one JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class Ablation:
    """What all variants share: training on ``questions`` with passages of ``index``, measuring on ``dev`` or the same.

    ``decoder`` is the GPT-2 of the FiDSKT variants; ``base`` has the settings that are no variant's own.
    """

    folder: Path
    questions: Sequence[str]
    index: Path
    dev: str | None = None
    model: str = "fresh:thin"
    decoder: str | None = None
    base: Variant | None = None
    fresh: FreshModel = FreshModel()
    lengths: ReadingLengths = ReadingLengths()
    options: TrainOptions = TrainOptions(max_steps=300)
    limit: int | None = None

    def names(self, only: Sequence[str] = ()) -> list[str]:
        """Return the variants to run: ``only`` those, or all; without a GPT-2 those that need none.

        Raises UsageError for a name that is no variant's.
        """
        unknown = [name for name in only if name not in VARIANTS]
        if unknown:
            wrong, known = setting("only", ", ".join(unknown)), ", ".join(VARIANTS)
            raise UsageError(say(f"{wrong}: 있는 것은 {known}", f"{wrong}: there are {known}"))
        has_decoder = self.decoder is not None or self.model.startswith("fresh:")
        return [
            name
            for name, change in VARIANTS.items()
            if (name in only if only else has_decoder or change.kind is not ReaderKind.SKT)
        ]

    def run(self, names: Sequence[str], watcher: Watcher = UNWATCHED) -> Iterator[Row]:
        """Yield each variant's row as it is done; what an earlier run finished is not done again.

        Raises UsageError where the folder holds a variant made with other settings or a fresh FiDSKT gets a GPT-2, and
        KofidError where a run fails; the same call then goes on.
        """
        if self.model.startswith("fresh:") and any(VARIANTS[name].kind is ReaderKind.SKT for name in names):
            from kofid.training.fid import refuse_second_decoder

            refuse_second_decoder(self.model, self.decoder)
        claim_folder(self.folder)
        for name in names:
            self._refuse_other_settings(name)
        for name in names:
            done = self._path(name, ".json")
            if not done.is_file():
                settings = self._settings(name)
                keep_settings(self._path(name, ".settings.json"), settings)
                fingerprint = hashlib.sha256(settings_text(settings).encode()).hexdigest()[:16]
                row = self._measure(name, watcher).to_json() | {"settings": fingerprint}
                write_file(done, [json.dumps(row, ensure_ascii=False) + "\n"])
            stored = json.loads(done.read_text(encoding="utf-8"))
            yield Row(**{field: stored[field] for field in Row.__dataclass_fields__})

    def _path(self, name: str, suffix: str = "") -> Path:
        return self.folder / (name.replace(" ", "-").lower() + suffix)

    # --- settings, kept so that no old row stands under new ones ---

    def _settings(self, name: str) -> dict[str, Any]:
        """Return all that a variant's row comes from."""
        change = VARIANTS[name]
        return {
            "questions": [str(Path(file).resolve()) for file in self.questions],
            "dev": str(Path(self.dev).resolve()) if self.dev else None,
            "index": str(self.index.resolve()),
            "model": self.model,
            "decoder": self.decoder if change.kind is ReaderKind.SKT else None,
            "limit": self.limit,
            "variant": asdict(change),
            "base": {} if self.base is None else asdict(self.base),
            **asdict(self.fresh),
            **asdict(self.lengths),
            **asdict(self.options),
        }

    def _refuse_other_settings(self, name: str) -> None:
        has_results = self._path(name, ".json").is_file() or is_artifact(self._path(name))
        refuse_other_settings(self._path(name, ".settings.json"), self._settings(name), name, has_results=has_results)

    # --- the work ---

    def _measure(self, name: str, watcher: Watcher) -> Row:
        reader, figures = self._path(name), {}
        if not is_artifact(reader):
            figures = self._train(name, reader, watcher)
        return call_alone(_measure_reader, self, name, str(reader), figures.get("loss"))

    def _train(self, name: str, output: Path, watcher: Watcher) -> dict[str, Any]:
        from kofid.reader.fid.config import Variant
        from kofid.training.reader import train_reader

        change = VARIANTS[name]
        with watcher.training(name) as on_step:
            return train_reader(
                self.questions,
                output,
                kind=change.kind,
                index=self.index,
                model=self.model,
                decoder=self.decoder if change.kind is ReaderKind.SKT else None,
                variant=change.variant(self.base or Variant()),
                fresh=self.fresh,
                lengths=self.lengths,
                options=self.options,
                limit=self.limit,
                resume=output.with_name(f".{output.name}.checkpoints").is_dir(),
                progress=watcher.progress,
                on_step=on_step,
                notes=watcher.notes,
            )


def _measure_reader(ablation: Ablation, name: str, reader: str, loss: float | None) -> Row:
    """Return the row of a trained reader; called in a process that did nothing before."""
    from kofid.evaluation.predictions import evaluate
    from kofid.pipeline import Pipeline
    from kofid.reader.fid.config import ReadingOptions
    from kofid.reader.open import open_reader
    from kofid.retrieval.hybrid import open_search
    from kofid.retrieval.index import Index

    _quiet_transformers()
    n_context, device = ablation.lengths.n_context, ablation.options.device
    index = Index.open(ablation.index)
    opened = open_reader(reader, device=device, n_context=n_context, options=ReadingOptions(dtype="auto"))
    pipeline = Pipeline(index, opened, open_search(index, device=device), n_context)
    questions = read_all_questions([ablation.dev] if ablation.dev else ablation.questions, ablation.limit)
    evaluation = evaluate(pipeline, questions)
    scores, cost = evaluation.summary(), evaluation.cost()
    return Row(
        name,
        scores["em"],
        scores["f1"],
        scores["em_robust"],
        cost["seconds"],
        evaluation.peak_mb,
        evaluation.parameters or 0,
        loss,
    )


def _quiet_transformers() -> None:
    """Keep its notices off the standard error that this process shares with its parent's progress."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


# --- the table ------------------------------------------------------------------------------------------------


def ablation_columns() -> list[str]:
    """Return the heads of the table of an ablation."""
    names = [say("변형", "variant"), "EM", "F1", "EM robust"]
    return [*names, say("초/질문", "s/question"), say("메모리 MiB", "memory MiB"), say("매개변수", "parameters")]


def ablation_cells(row: Row) -> list[str]:
    """Return one row of such a table."""
    scores = [f"{100 * score:.1f}" for score in (row.em, row.f1, row.em_robust)]
    return [row.name, *scores, f"{row.seconds:.3f}", f"{row.peak_mb:,}", f"{row.parameters:,}"]


def write_ablation(path: Path, rows: Sequence[Row]) -> None:
    """Write the table as Markdown."""
    write_file(path, markdown_table(ablation_columns(), [ablation_cells(row) for row in rows]))


def plot_ablation(path: Path, rows: Sequence[Row]) -> None:
    """Write a plot of EM against seconds a question, a point a variant; as ``write_plot`` does."""
    points = [(row.name, row.seconds, 100 * row.em) for row in rows]
    write_scatter(path, points, say("초/질문", "seconds a question"), "EM (%)")
