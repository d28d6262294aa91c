"""Seconds and memory of a command with all its processes: ``python resources/benchmarks/watch.py COMMAND ...``.

Prints one JSON object after the command's own output. Memory is the peak sum of what the processes hold (what they
share counts once for each), looked at five times a second. Needs psutil.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress

import psutil


def main() -> None:
    """Run and watch."""
    start = time.perf_counter()
    process = psutil.Popen(sys.argv[1:])
    peak = 0
    while process.poll() is None:
        held = 0
        with suppress(psutil.NoSuchProcess):
            for one in [process, *process.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    held += one.memory_info().rss
        peak = max(peak, held)
        time.sleep(0.2)
    seconds = time.perf_counter() - start
    print(json.dumps({"exit": process.returncode, "seconds": round(seconds, 1), "peak_gib": round(peak / 2**30, 2)}))


if __name__ == "__main__":
    main()
