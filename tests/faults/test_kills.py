"""Long work killed at random moments and taken up again ends with the same bits: ``pytest -m faults tests/faults/test_kills.py -rP``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.faults, pytest.mark.skipif(not hasattr(os, "fork"), reason="trials fork")]

KILLS = Path(__file__).parents[1] / "support/kill_trials.py"
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.mark.parametrize(("work", "times"), [("train", 20), ("vectors", 20), ("loop", 10)])
def test_killed_at_random_moments_and_taken_up_again(tmp_path: Path, work: str, times: int) -> None:
    """Weights and vectors, every time, have the SHA-256 of a run that nothing interrupted; nothing else is left."""
    if work != "train":
        pytest.importorskip("faiss")
    done = subprocess.run(
        [sys.executable, str(KILLS), work, str(times)],
        capture_output=True, text=True, env=ENVIRONMENT | {"KOFID_TRIALS": str(tmp_path)}, timeout=1800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    failures = report.pop("failures")
    print(work, json.dumps(report))
    assert failures == [], "\n".join(failures)
    assert (report["same"], report["of"]) == (times, times) and report["kills"] >= times
    assert len(set(report["progress"])) > 3  # they were killed at quite different moments
