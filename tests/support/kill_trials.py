"""Long work killed at random moments and taken up again: ``python tests/support/kill_trials.py train|vectors|loop TIMES`` prints one JSON object.

It holds the trial's counts and, under ``failures``, all that went wrong. As in fault_trials.py, each run of ``kofid`` is a fork of
this process, which has imported all that it needs and has no threads of its own. After a kill the same command runs again
(with ``--resume`` where there is such an option); every other time it is killed once more on the way.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from kofid.cli import app as cli
from kofid.errors import KofidError
from kofid.retrieval.dense import shards
from kofid.retrieval.dense.faiss_index import import_faiss
from kofid.storage.artifacts import open_artifact
from kofid.storage.bundled import resource
from kofid.storage.ownership import MARKER
from kofid.training.checkpoints import last_checkpoint

PASSAGES, QUESTIONS = str(resource("demo/passages.jsonl")), str(resource("demo/questions.jsonl"))


def started(log: Path, *arguments: object) -> int:
    """Start ``kofid`` with arguments, and return its process id. What it says goes to ``log``."""
    child = os.fork()
    if child == 0:
        sys.argv = ["kofid", *map(str, arguments)]
        with log.open("w", encoding="utf-8") as file, redirect_stdout(StringIO()), redirect_stderr(file):
            code = cli._run()
        os._exit(code)
    return child


def finish(log: Path, *arguments: object) -> float:
    """Run ``kofid`` to its end, and return how many seconds that took."""
    start = time.perf_counter()
    code = os.waitstatus_to_exitcode(os.waitpid(started(log, *arguments), 0)[1])
    if code:
        raise RuntimeError(f"exit {code}: {log.read_text(encoding='utf-8')[-500:]}")
    return time.perf_counter() - start


def killed(moment: float, log: Path, *arguments: object) -> bool:
    """Run ``kofid`` and kill it after ``moment`` seconds; tell whether it was still at work."""
    child = started(log, *arguments)
    time.sleep(moment)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def digest(path: Path, kind: str, name: str) -> str:
    """Return the SHA-256 of a file of an artifact, all of which must be sound."""
    return hashlib.sha256((open_artifact(path, kind, thorough=True).directory / name).read_bytes()).hexdigest()


class Kills:
    """Makes the same thing over and over, ``prepare`` and ``command`` in a folder of its own, and is killed on the way.

    ``result`` tells the SHA-256 of what was made, ``progress`` how far a killed run came as the next one will see it.
    """

    def __init__(
        self,
        root: Path,
        prepare: Callable[[Path], None],
        command: Callable[[Path], list[object]],
        resume: list[object],
        result: Callable[[Path], str],
        progress: Callable[[Path], int],
    ) -> None:
        self.root, self.prepare, self.command, self.resume, self.result, self.progress = (
            root, prepare, command, resume, result, progress,
        )  # fmt: skip
        self.failures: list[str] = []

    def begin(self, name: object) -> Path:
        """Return a folder in the state before the work."""
        folder = self.root / str(name)
        folder.mkdir()
        self.prepare(folder)
        return folder

    def run(self, times: int) -> dict[str, Any]:
        """Return the counts of ``times`` works, each killed once or twice and then taken up to its end."""
        rng = random.Random(1)
        folder = self.begin("whole")
        seconds = finish(self.root / "log", *self.command(folder))
        whole, left = self.result(folder), sorted(path.name for path in folder.iterdir())
        came: list[int] = []
        same = late = kills = 0
        for number in range(times):
            folder = self.begin(number)
            moments = [rng.uniform(0, seconds) for _ in range(1 + number % 2)]
            try:
                n = self._kill(folder, moments, came)
                while not n:  # it had ended: the machine was quicker
                    late += 1
                    folder = self.begin(f"{number}-{late}")
                    moments = [moment / 2 for moment in moments]
                    n = self._kill(folder, moments, came)
                kills += n
                finish(self.root / "log", *self.command(folder), *self.resume)
                checksum = self.result(folder)
                entries = sorted(path.name for path in folder.iterdir())
            except (KofidError, OSError, RuntimeError) as error:
                self.failures.append(f"{number}: {type(error).__name__}: {error}")
                continue
            same += checksum == whole
            if checksum != whole:
                self.failures.append(f"{number}, killed after {moments} s: {checksum} in place of {whole}")
            if entries != left:
                self.failures.append(f"{number}, killed after {moments} s: leaves {entries}")
        return {
            "same": same,
            "of": times,
            "kills": kills,
            "progress": sorted(came),
            "ended_before_the_kill": late,
            "seconds_uninterrupted": round(seconds, 1),
            "sha256": whole,
            "failures": self.failures,
        }

    def _kill(self, folder: Path, moments: list[float], came: list[int]) -> int:
        """Start the work and kill it, once for each moment; return how often it was still at work."""
        n = 0
        for moment in moments:
            if killed(moment, self.root / "log", *self.command(folder), *(self.resume if n else [])):
                n += 1
                came.append(self.progress(folder))
        return n


def train(root: Path, times: str) -> dict[str, Any]:
    """Kill the training of a retriever: 24 steps, a checkpoint every third."""
    finish(root / "log", "index", PASSAGES, "-o", root / "kb", "--analyzer", "bigram")

    def command(folder: Path) -> list[object]:
        return [
            "train-retriever", "-i", root / "kb", QUESTIONS, "--limit", 200, "--model", "fresh:tiny", "--vocab-size", 2000,
            "--max-steps", 24, "--save-steps", 3, "--batch-size", 8, "--device", "cpu", "-o", folder / "encoder",
        ]  # fmt: skip

    def progress(folder: Path) -> int:
        last = last_checkpoint(folder / ".encoder.checkpoints")
        return int(last.name.partition("-")[2]) if last else 0

    def result(folder: Path) -> str:
        return digest(folder / "encoder", "encoder", "model.safetensors")

    return Kills(root, lambda folder: None, command, ["--resume"], result, progress).run(int(times))


def vectors(root: Path, times: str) -> dict[str, Any]:
    """Kill the encoding of an index's vectors: 200 passages in 17 shards, each encoded in one go."""
    shards.SHARD = 12
    import_faiss()
    finish(root / "log", "index", PASSAGES, "-o", root / "kb", "--analyzer", "bigram")
    finish(
        root / "log", "train-retriever", "-i", root / "kb", QUESTIONS, "--limit", 64, "--model", "fresh:mini",
        "--vocab-size", 2000, "--max-steps", 1, "--batch-size", 4, "--device", "cpu", "-o", root / "encoder",
    )  # fmt: skip

    def prepare(folder: Path) -> None:
        finish(root / "log", "index", PASSAGES, "--limit", 200, "-o", folder / "kb", "--analyzer", "bigram")

    def command(folder: Path) -> list[object]:
        return ["index", "-o", folder / "kb", "--dense", root / "encoder", "--device", "cpu"]

    def progress(folder: Path) -> int:
        open_artifact(folder / "kb", "index", thorough=True)  # what was there answers all the while
        return sum(1 for _ in folder.glob(".kb.vectors-*/*.npy"))

    def result(folder: Path) -> str:
        return digest(folder / "kb", "index", "dense.faiss")

    return Kills(root, prepare, command, [], result, progress).run(int(times))


def loop_of_distillation(root: Path, times: str) -> dict[str, Any]:
    """Kill two rounds of distillation, which are steps in one process."""
    finish(root / "log", "index", PASSAGES, "-o", root / "kb", "--analyzer", "bigram")
    few = root / "questions.jsonl"
    few.write_text("\n".join(Path(QUESTIONS).read_text(encoding="utf-8").splitlines()[:40]), encoding="utf-8")

    def command(folder: Path) -> list[object]:
        return [
            "distill", few, "-i", root / "kb", "--reader", "t5", "--retriever", "static:32", "--rounds", 2, "--dev", few,
            "--n-context", 4, "--batch-size", 8, "--max-steps", 12, "--save-steps", 3, "--lr", 0.01, "--contrast", 1,
            "--device", "cpu", "-o", folder / "loop",
        ]  # fmt: skip

    def progress(folder: Path) -> int:
        return sum(1 for path in folder.rglob("*") if not path.name.startswith("."))

    def result(folder: Path) -> str:
        left = [str(path) for path in folder.rglob(".*") if path.name not in (".lock", MARKER)]
        if left:
            raise RuntimeError(f"left: {left}")
        return digest(folder / "loop/round-2/encoder", "encoder", "model.safetensors")

    return Kills(root, lambda folder: None, command, [], result, progress).run(int(times))


def main() -> None:
    """Run a trial and print its report."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("KOFID_TRIALS")) as root:
        works = {"train": train, "vectors": vectors, "loop": loop_of_distillation}
        report = works[sys.argv[1]](Path(root), *sys.argv[2:])
    print(json.dumps(report))


if __name__ == "__main__":
    main()
