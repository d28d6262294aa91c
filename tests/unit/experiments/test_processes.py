"""A function in a process of its own: its results, its errors, its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kofid.errors import ResourceError
from kofid.experiments.processes import call_alone
from kofid.language import language, set_language


def test_results_errors_and_language_come_back():
    assert call_alone(os.getpid) != os.getpid()
    with pytest.raises(ValueError, match="x"):
        call_alone(int, "x")
    set_language("en")
    try:
        assert call_alone(language) == "en"
        with pytest.raises(ResourceError, match="killed"):
            call_alone(os.abort)
    finally:
        set_language("ko")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's end")
def test_it_ends_with_the_process_that_called_it(tmp_path: Path):
    inner = f"import os, time; open({str(tmp_path / 'new')!r}, 'w').write(str(os.getpid())); "
    inner += f"os.rename({str(tmp_path / 'new')!r}, {str(tmp_path / 'pid')!r}); time.sleep(60)"
    outer = f"from kofid.experiments.processes import call_alone; call_alone(exec, {inner!r})"
    parent = subprocess.Popen([sys.executable, "-c", outer])
    deadline = time.monotonic() + 60
    while not (tmp_path / "pid").exists():
        assert time.monotonic() < deadline and parent.poll() is None
        time.sleep(0.05)
    child = int((tmp_path / "pid").read_text())
    assert child != parent.pid and is_alive(child)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while is_alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and is not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
