"""A grid of retrievers as one resumable experiment: model x epochs x fold x mode x fusion.

A folder holds all: ``folds/`` the questions of each fold, ``encoders/``, ``indexes/`` (copies that share the given index's
files, each with the vectors of an encoder), ``results/`` one file a system and fold. What is there is not done again.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from kofid.errors import InputError, UsageError
from kofid.evaluation.comparison import System
from kofid.evaluation.rankings import read_measures
from kofid.experiments.settings import assign_settings, keep_settings, refuse_other_settings
from kofid.experiments.steps import UNWATCHED, OnBegin, Step, Watcher, measure_step, run_steps, vectors_step
from kofid.formats import read_questions
from kofid.formats.json_shapes import question_to_json
from kofid.formats.lines import read_lines
from kofid.language import say
from kofid.retrieval.fusion import Fusion
from kofid.retrieval.modes import FusionMethod, SearchMode
from kofid.storage.files import write_file
from kofid.storage.ownership import claim_folder
from kofid.training.options import RETRIEVER, SUITED_CONTRAST, Contrast, TrainOptions
from kofid.types import Example

FACTORS = ("model", "epochs", "mode", "fusion", "lambda")
MODES = (SearchMode.SPARSE, SearchMode.DENSE, SearchMode.SEQUENTIAL, SearchMode.CROSS)
_KINDS = {"index": str, "questions": str, "dev": str, "folds": int, "grid": dict, "options": dict}


@dataclass(frozen=True)
class Training:
    """What all encoders of a grid share: settings of ``train_retriever`` besides the model and the epochs."""

    pooling: str | None = None
    normalize: bool | None = None
    vocab_size: int = 8_000
    bits: int = 32
    n_context: int = 20
    mode: SearchMode = SearchMode.SPARSE
    dev: str | None = None
    encoding: str | None = None
    limit: int | None = None


@dataclass(frozen=True)
class Grid:
    """Encoders to train and searches to measure.

    ``index`` is searched; encoders train on ``questions``, and are measured on ``dev`` or, in ``n_folds``, on the
    questions left out. ``epochs`` of 0 takes a model as it is. ``fusions`` are those of the mode cross.
    """

    folder: Path
    index: Path
    questions: str
    dev: str | None = None
    n_folds: int = 0
    models: Sequence[str] = ()
    epochs: Sequence[float] = (3,)
    modes: Sequence[SearchMode] = (SearchMode.SPARSE, SearchMode.DENSE, SearchMode.CROSS)
    fusions: Sequence[Fusion] = (Fusion(),)
    training: Training = Training()
    contrast: Contrast = SUITED_CONTRAST
    options: TrainOptions = RETRIEVER

    @classmethod
    def read(cls, path: Path, folder: Path) -> Grid:
        """Read a TOML file; raise InputError for one that is not, UsageError for what it may not say."""
        table = _Table.read(path)
        training, contrast, options = assign_settings(table.options, Training(), SUITED_CONTRAST, RETRIEVER)
        factors = table.factors
        weights: Sequence[float | None] = factors.get("lambda", [None])
        methods = [FusionMethod(str(method)) for method in factors.get("fusion", ["max"])]
        return cls(
            folder,
            Path(table.index),
            table.questions,
            table.dev,
            table.n_folds,
            tuple(map(str, factors.get("model", ()))),
            tuple(factors.get("epochs", cls.epochs)),
            tuple(map(SearchMode, factors.get("mode", cls.modes))),
            tuple(Fusion(method, weight) for method, weight in product(methods, weights)),
            training,
            contrast,
            options,
        )

    # --- what is to be done ---

    def steps(self, watcher: Watcher = UNWATCHED) -> Iterator[Step]:
        """Yield the steps in their order, those done already too; the folds' questions are written first."""
        claim_folder(self.folder)
        for fold, (train, dev) in self._question_files().items():
            if SearchMode.SPARSE in self.modes:
                yield self._measure("sparse", fold, dev, self.index, SearchMode.SPARSE, None, watcher)
            for model, epochs in product(self.models, self.epochs):
                name = _slug(model, f"e{epochs}", fold)
                encoder = self.folder / "encoders" / name
                if epochs:
                    yield self._train(name, model, epochs, train, encoder, watcher)
                index, device = self.folder / "indexes" / name, self.options.device
                opened = str(encoder) if epochs else model
                yield vectors_step(f"index {name}", self.index, index, opened, device, watcher.progress)
                for search, mode, fusion in self._searches():
                    yield self._measure(_slug(model, f"e{epochs}", search), fold, dev, index, mode, fusion, watcher)

    def _searches(self) -> Iterator[tuple[str, SearchMode, Fusion | None]]:
        """Yield the name of each way to search with vectors, its mode and its fusion."""
        for mode in self.modes:
            if mode is SearchMode.CROSS:
                for fusion in self.fusions:
                    weight = "" if fusion.dense_weight is None else fusion.dense_weight
                    yield _slug(mode, fusion.method, weight), mode, fusion
            elif mode is not SearchMode.SPARSE:
                yield mode, mode, None

    def _train(self, name: str, model: str, epochs: float, train: str, encoder: Path, watcher: Watcher) -> Step:
        def work(resume: bool) -> None:
            from kofid.training.retriever import train_retriever

            with watcher.training(name) as on_step:
                train_retriever(
                    train,
                    encoder,
                    index=self.index,
                    model=model,
                    contrast=self.contrast,
                    options=replace(self.options, epochs=epochs),
                    resume=resume,
                    progress=watcher.progress,
                    on_step=on_step,
                    notes=watcher.notes,
                    **asdict(self.training),
                )

        return Step(f"train {name}", encoder, work)

    def _measure(
        self,
        system: str,
        fold: str,
        dev: str,
        index: Path,
        mode: SearchMode,
        fusion: Fusion | None,
        watcher: Watcher,
    ) -> Step:
        done = self.folder / "results" / f"{_slug(system)}.{fold}.jsonl"
        name = f"measure {system} {fold}"
        return measure_step(name, index, dev, done, mode, fusion, self.options.device, watcher.progress)

    def _question_files(self) -> dict[str, tuple[str, str]]:
        """Return the files of questions to train on and to measure, by the name of the fold."""
        if not self.n_folds:
            return {"dev": (self.questions, str(self.dev))}
        from kofid.training.folds import folds

        examples = [Example(question) for question in read_questions(self.questions)]
        files = {}
        for number, (train, held_out) in enumerate(folds(examples, self.n_folds), 1):
            pair = []
            for part, members in (("train", train), ("dev", held_out)):
                path = self.folder / "folds" / f"{number}.{part}.jsonl"
                path.parent.mkdir(parents=True, exist_ok=True)
                rows = (question_to_json(example.question) for example in members)
                write_file(path, [json.dumps(row, ensure_ascii=False) + "\n" for row in rows])
                pair.append(str(path))
            files[f"fold-{number}"] = (pair[0], pair[1])
        return files

    def _settings(self) -> dict[str, Any]:
        """Return what all results come from; what the names of systems tell is not among it."""
        return {
            "index": str(self.index.resolve()),
            "questions": str(Path(self.questions).resolve()),
            "dev": str(Path(self.dev).resolve()) if self.dev else None,
            "folds": self.n_folds,
            **{f"training_{name}": value for name, value in asdict(self.training).items()},
            **asdict(self.contrast),
            **{name: value for name, value in asdict(self.options).items() if name != "device"},
        }

    # --- doing it ---

    def run(self, watcher: Watcher = UNWATCHED, on_begin: OnBegin = lambda step, done: None) -> list[System]:
        """Do what is not done yet and return the systems, each with its measures of all folds, the first first.

        ``on_begin`` is told each step before it runs, and whether it was done before. Raises UsageError where the folder
        holds results of other settings than these (models and searches may be added), KofidError where a step fails; the same
        call then goes on.
        """
        claim_folder(self.folder)
        file = self.folder / "settings.json"
        refuse_other_settings(file, self._settings(), self.folder.name, has_results=(self.folder / "results").is_dir())
        keep_settings(file, self._settings())
        steps = list(self.steps(watcher))
        run_steps(steps, on_begin)
        results: dict[str, list[Path]] = {}
        for step in steps:
            if step.done.parent.name == "results":
                results.setdefault(step.done.name.rpartition(".")[0].rpartition(".")[0], []).append(step.done)
        systems = []
        for name, files in results.items():
            measures: dict[str, dict[str, float]] = {}
            for file in files:
                measures |= read_measures(str(file))
            systems.append(System(name, str(files[0]), measures))
        return systems


@dataclass(frozen=True)
class _Table:
    """What a TOML file says, checked."""

    index: str
    questions: str
    dev: str | None = None
    n_folds: int = 0
    factors: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> _Table:
        try:
            table = tomllib.loads("\n".join(line for _, line in read_lines(str(path))))
        except (ValueError, RecursionError) as error:
            raise InputError(
                say(f"{path}: 읽을 수 없는 TOML입니다: {error}", f"{path}: not readable TOML: {error}")
            ) from error
        wrong_kind = [name for name, kind in _KINDS.items() if name in table and not isinstance(table[name], kind)]
        grid = {} if "grid" in wrong_kind else table.get("grid", {})
        factors = {name: value if isinstance(value, list) else [value] for name, value in grid.items()}
        unknown = [*wrong_kind, *(set(table) - set(_KINDS)), *(set(factors) - set(FACTORS)), *_wrong_values(factors)]
        if unknown or "index" not in table or "questions" not in table:
            names, wrong = ", ".join(FACTORS), ", ".join(map(str, unknown)) or "index, questions"
            raise UsageError(
                say(
                    f"{path}: {wrong}: index, questions와 dev 또는 folds, [grid] {names}, [options]를 적습니다",
                    f"{path}: {wrong}: there must be index, questions and dev or folds, [grid] {names}, [options]",
                )
            )
        if ("dev" in table) == ("folds" in table):
            raise UsageError(say(f"{path}: dev와 folds 가운데 하나만", f"{path}: give dev or folds, one of them"))
        for name in (table["index"], table["questions"], table.get("dev")):
            if name is not None and not Path(name).exists():  # said now, not after hours
                raise InputError(say(f"{path}: {name}이(가) 없습니다", f"{path}: there is no {name}"))
        n_folds, options = table.get("folds", 0), table.get("options", {})
        return cls(table["index"], table["questions"], table.get("dev"), n_folds, factors, options)


def _wrong_values(factors: Mapping[str, Sequence[Any]]) -> Iterator[object]:
    """Yield the modes and fusions that there are not, and numbers that are none."""
    yield from (mode for mode in factors.get("mode", ()) if mode not in list(MODES))
    yield from (method for method in factors.get("fusion", ()) if method not in list(FusionMethod))
    for name in ("epochs", "lambda"):
        yield from (value for value in factors.get(name, ()) if isinstance(value, bool) or not _is_number(value))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and value >= 0


def _slug(*parts: Any) -> str:
    """Return a name that can be a file's."""
    return "-".join(re.sub(r"[^\w.]+", "-", str(part).strip("./")) for part in parts if str(part))
