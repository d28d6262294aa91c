"""Long work as steps, one after another: what is done is not done again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from kofid.evaluation.rankings import judge_search, write_rankings
from kofid.formats import read_questions
from kofid.retrieval.fusion import Fusion
from kofid.retrieval.hybrid import open_search
from kofid.retrieval.index import Index
from kofid.retrieval.modes import SearchMode
from kofid.storage.artifacts import copy_artifact, is_artifact
from kofid.storage.files import write_file
from kofid.types import OnStep, Progress, Question, silent


@contextmanager
def _untold(_what: str) -> Iterator[OnStep]:
    yield lambda step, steps, loss: None


@dataclass(frozen=True)
class Watcher:
    """Who is told how the work goes: ``progress`` of items, ``training`` of each run's steps, ``notes`` of what is left out."""

    progress: Progress = silent
    training: Callable[[str], AbstractContextManager[OnStep]] = _untold
    notes: Callable[[str], None] = lambda message: None


UNWATCHED = Watcher()


@dataclass(frozen=True)
class Step:
    """One piece of work: its name, the file or artifact that proves it done, and a function of whether to resume a run."""

    name: str
    done: Path
    work: Callable[[bool], object]

    @property
    def is_done(self) -> bool:
        """Whether an earlier run finished it."""
        return is_artifact(self.done) if self.done.is_dir() else self.done.is_file()

    def run(self) -> None:
        """Do it, from the last checkpoint where there is one."""
        self.done.parent.mkdir(parents=True, exist_ok=True)
        self.work(self.done.with_name(f".{self.done.name}.checkpoints").is_dir())


OnBegin = Callable[[Step, bool], None]


def run_steps(steps: Iterable[Step], on_begin: OnBegin = lambda step, done: None) -> None:
    """Do what is not done yet; ``on_begin`` is told each step before it runs, and whether it was done before."""
    for step in steps:
        on_begin(step, step.is_done)
        if not step.is_done:
            step.run()


def vectors_step(name: str, index: Path, path: Path, encoder: str, device: str, progress: Progress) -> Step:
    """Return the step that makes ``path`` a copy of an index with the vectors of an encoder.

    The copy is an index before it has the vectors, so an empty file beside it proves them.
    """
    done = path.with_name(f"{path.name}.done")

    def work(_resume: bool) -> None:
        from kofid.retrieval.build import add_vectors
        from kofid.retrieval.dense.encoders import open_encoder
        from kofid.retrieval.dense.faiss_index import import_faiss

        import_faiss()  # what is missing is said before all is encoded
        if not is_artifact(path):
            copy_artifact(index, path, "index")
        add_vectors(path, open_encoder(encoder, device), progress=progress)
        write_file(done, [])

    return Step(name, done, work)


def measure_step(
    name: str,
    index: Path,
    questions: str,
    done: Path,
    mode: SearchMode,
    fusion: Fusion | None,
    device: str,
    progress: Progress,
) -> Step:
    """Return the step that writes each question's measures, to the per-question file ``done``."""

    def work(_resume: bool) -> None:
        search = open_search(Index.open(index), mode, device=device, fusion=fusion)
        write_rankings(done, judge_search(search, read_all_questions([questions]), progress=progress))

    return Step(name, done, work)


def read_all_questions(files: Iterable[str], limit: int | None = None, encoding: str | None = None) -> list[Question]:
    """Return the first ``limit`` questions of several files."""
    return list(islice((q for file in files for q in read_questions(file, encoding)), limit))
