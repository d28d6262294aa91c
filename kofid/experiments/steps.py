"""Long work as commands of kofid, one after another: what is done is not done again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kofid.errors import KofidError
from kofid.language import say
from kofid.storage.artifacts import copy_artifact, is_artifact
from kofid.storage.files import write_file


@dataclass(frozen=True)
class Step:
    """One command, and what says that it is done: a file, an artifact, or for an index that gets vectors a mark beside it.

    ``copies`` is the index that is first copied to where the command works.
    """

    what: str
    arguments: Sequence[str]
    done: Path
    copies: Path | None = None

    @property
    def is_done(self) -> bool:
        """Whether an earlier run finished it."""
        return is_artifact(self.done) if self.done.is_dir() else self.done.is_file()

    def run(self) -> None:
        """Do it; raise KofidError where it fails."""
        self.done.parent.mkdir(parents=True, exist_ok=True)
        if self.copies is not None:
            copy = self.done.with_suffix("")
            if not is_artifact(copy):
                copy_artifact(self.copies, copy, "index")
        resume = ["--resume"] if self.done.with_name(f".{self.done.name}.checkpoints").is_dir() else []
        run_kofid(*self.arguments, *resume)
        if self.copies is not None:
            write_file(self.done, [])


def run_steps(steps: Iterable[Step], on_step: Callable[[Step, bool], None]) -> None:
    """Do what is not done yet; ``on_step`` is told each step before it runs, and whether it was done before."""
    for step in steps:
        on_step(step, step.is_done)
        if not step.is_done:
            step.run()


def vectors_step(what: str, index: Path, path: Path, encoder: str) -> Step:
    """Return the step that makes ``path`` a copy of an index, with the vectors of an encoder."""
    arguments = ["index", "-o", str(path), "--dense", encoder]
    return Step(what, arguments, path.with_name(f"{path.name}.done"), copies=index)


def measure_step(what: str, index: Path, questions: str, done: Path, options: Sequence[str]) -> Step:
    """Return the step that writes the measures of each question."""
    arguments = ["retrieve", "-i", str(index), "--eval", questions, "--per-question", str(done), "--no-correct"]
    return Step(what, [*arguments, *options], done)


def run_kofid(*arguments: str) -> dict[str, Any]:
    """Run kofid and return the object it prints last, if any; its progress goes to this process's standard error."""
    command = [sys.executable, "-m", "kofid", *arguments, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, preexec_fn=_die_with_parent())
    if done.returncode:
        raise KofidError(
            say(
                f"{' '.join(command[2:])} 이(가) 종료 코드 {done.returncode}로 끝났습니다. 같은 명령으로 이어 갑니다.",
                f"{' '.join(command[2:])} ended with exit code {done.returncode}; the same command goes on",
            )
        )
    lines = done.stdout.splitlines()
    found: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    return found


def _die_with_parent() -> Callable[[], None] | None:
    """Return what a child does first so as to end when this process is killed, else the two would work on side by side.

    Only Linux has it (prctl(2), PR_SET_PDEATHSIG).
    """
    if sys.platform != "linux":
        return None
    import ctypes

    prctl = ctypes.CDLL(None).prctl

    def begin() -> None:
        prctl(1, signal.SIGKILL)

    return begin
