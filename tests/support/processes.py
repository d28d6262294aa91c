"""Runs of several processes, and runs cut short."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import kofid

TESTS = Path(__file__).parents[1]
# What other processes import from: the tests, and the kofid that this process has.
IMPORTED = os.pathsep.join((str(TESTS), str(Path(kofid.__file__).parents[1])))

Step = Callable[[int, int, float], None]


class Interrupted(Exception):
    """Stands for a kill between two steps."""


def interrupt_at(step: int) -> Step:
    def on_step(now: int, steps: int, loss: float) -> None:
        if now == step:
            raise Interrupted

    return on_step


def torchrun(n: int, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": IMPORTED, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(n), "-m", *command]
    return subprocess.run(run, env=environment, cwd=cwd, check=False, capture_output=True, text=True)
