"""A grid of retrievers as one resumable experiment: model x epochs x fold x mode x fusion, each step a command of kofid.

A folder holds all: ``folds/`` the questions of each fold, ``encoders/``, ``indexes/`` (copies that share the given index's
files, each with the vectors of an encoder), ``results/`` one file a system and fold. What is there is not done again.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from kofid.errors import InputError, UsageError
from kofid.evaluation.comparison import System
from kofid.evaluation.rankings import read_measures
from kofid.experiments.steps import Step, measure_step, run_steps, vectors_step
from kofid.formats import read_questions
from kofid.language import say
from kofid.storage.files import write_file
from kofid.storage.ownership import claim_folder
from kofid.training.folds import folds
from kofid.types import Example, Question

GRID = ("model", "epochs", "mode", "fusion", "lambda")
MODES = ("sparse", "dense", "sequential", "cross")
_KEYS = ("index", "questions", "dev", "folds", "grid", "options")


@dataclass(frozen=True)
class Experiment:
    """What a TOML file asks for.

    ``index`` is searched; encoders train on ``questions``, and are measured on ``dev`` or, in ``n_folds``, on the
    questions left out. ``epochs`` of 0 takes a model as it is. ``options`` are those of ``kofid train-retriever``.
    """

    folder: Path
    index: Path
    questions: str
    dev: str | None = None
    n_folds: int = 0
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, folder: Path) -> Experiment:
        """Read a TOML file; raise InputError for one that is not, UsageError for what it may not say."""
        try:
            given = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(say(f"{path}: 그런 파일이 없습니다", f"{path}: no such file")) from error
        except ValueError as error:
            raise InputError(
                say(f"{path}: 읽을 수 없는 TOML입니다: {error}", f"{path}: not readable TOML: {error}")
            ) from error
        grid = {name: value if isinstance(value, list) else [value] for name, value in given.get("grid", {}).items()}
        unknown = [*(set(given) - set(_KEYS)), *(set(grid) - set(GRID))]
        wrong = [mode for mode in grid.get("mode", []) if mode not in MODES]
        if unknown or wrong or not isinstance(given.get("index"), str) or not isinstance(given.get("questions"), str):
            what = ", ".join([*unknown, *map(str, wrong)]) or "index, questions"
            raise UsageError(
                say(
                    f"{path}: {what}: index, questions와 dev 또는 folds, [grid] {', '.join(GRID)}, [options]를 적습니다",
                    f"{path}: {what}: there must be index, questions and dev or folds, [grid] {', '.join(GRID)}, [options]",
                )
            )
        if ("dev" in given) == ("folds" in given):
            raise UsageError(say(f"{path}: dev와 folds 가운데 하나만", f"{path}: give dev or folds, one of them"))
        folds_asked = int(given.get("folds", 0))
        index, questions, dev = given["index"], given["questions"], given.get("dev")
        for name in filter(None, (index, questions, dev)):  # said now, not after hours
            if not Path(name).exists():
                raise InputError(say(f"{path}: {name}이(가) 없습니다", f"{path}: there is no {name}"))
        return cls(folder, Path(index), questions, dev, folds_asked, grid, given.get("options", {}))

    # --- what is to be done ---

    def steps(self) -> Iterator[Step]:
        """Yield the commands in their order, those done already too; the folds' questions are written first."""
        claim_folder(self.folder)
        for fold, (train, dev) in self._questions().items():
            if "sparse" in self._modes:
                yield self._measure("sparse", fold, dev, self.index, ["--mode", "sparse"])
            for model, epochs in product(self.grid.get("model", []), self.grid.get("epochs", [3])):
                name = _slug(model, f"e{epochs}", fold)
                encoder = self.folder / "encoders" / name
                if epochs:
                    yield self._train(name, model, epochs, train, encoder)
                index = self.folder / "indexes" / name
                used = str(encoder) if epochs else str(model)
                yield vectors_step(f"index {name}", self.index, index, used)
                for system, options in self._searches():
                    yield self._measure(_slug(model, f"e{epochs}", system), fold, dev, index, options)

    @property
    def _modes(self) -> Sequence[str]:
        return self.grid.get("mode", ("sparse", "dense", "cross"))

    def _searches(self) -> Iterator[tuple[str, list[str]]]:
        """Yield the name of each way to search with vectors, and its options."""
        for mode in self._modes:
            if mode == "cross":
                for fusion, weight in product(self.grid.get("fusion", ["max"]), self.grid.get("lambda", [None])):
                    options = ["--mode", mode, "--fusion", str(fusion)]
                    options += [] if weight is None else ["--lambda", str(weight)]
                    yield _slug(mode, fusion, "" if weight is None else weight), options
            elif mode != "sparse":
                yield mode, ["--mode", mode]

    def _train(self, name: str, model: Any, epochs: Any, train: str, encoder: Path) -> Step:
        arguments = ["train-retriever", train, "-i", str(self.index), "--model", str(model), "--epochs", str(epochs)]
        for option, value in self.options.items():
            arguments += [f"--{option}"] if value is True else [f"--{option}", str(value)]
        return Step(f"train {name}", [*arguments, "-o", str(encoder)], encoder)

    def _measure(self, system: str, fold: str, dev: str, index: Path, options: Sequence[str]) -> Step:
        done = self.folder / "results" / f"{_slug(system)}.{fold}.jsonl"
        return measure_step(f"measure {system} {fold}", index, dev, done, options)

    def _questions(self) -> dict[str, tuple[str, str]]:
        """Return the files of questions to train on and to measure, by the name of the fold."""
        if not self.n_folds:
            return {"dev": (self.questions, str(self.dev))}
        found = [Example(question) for question in read_questions(self.questions)]
        files = {}
        for number, (train, held_out) in enumerate(folds(found, self.n_folds), 1):
            pair = []
            for part, examples in (("train", train), ("dev", held_out)):
                path = self.folder / "folds" / f"{number}.{part}.jsonl"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_file(path, [_line(example.question) for example in examples])
                pair.append(str(path))
            files[f"fold-{number}"] = (pair[0], pair[1])
        return files

    # --- doing it ---

    def run(self, on_step: Callable[[Step, bool], None] = lambda step, done: None) -> list[System]:
        """Do what is not done yet and return the systems, each with its measures of all folds, the first first.

        ``on_step`` is told each step before it runs, and whether it was done before. Raises KofidError where one fails.
        """
        steps = list(self.steps())
        run_steps(steps, on_step)
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


def _slug(*parts: Any) -> str:
    """Return a name that can be a file's."""
    return "-".join(re.sub(r"[^\w.]+", "-", str(part).strip("./")) for part in parts if str(part))


def _line(question: Question) -> str:
    entry = {"id": question.id, "question": question.text}
    more = {"answers": question.answers, "positive_ids": question.positive_ids}
    return json.dumps({**entry, **more}, ensure_ascii=False) + "\n"
