"""Which packages a command loads."""

from __future__ import annotations

import json
import subprocess
import sys

RUN = """
import json, sys
import kofid.cli.app
loaded = []
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["kofid", *arguments]
    try:
        kofid.cli.app.main()
    except SystemExit as stop:
        assert not stop.code, (arguments, stop.code)
    loaded.append([name for name in ("torch", "transformers", "datasets", "faiss", "kiwipiepy") if name in sys.modules])
print(json.dumps(loaded), file=sys.stderr)
"""


def loaded_after(*commands: list[str]) -> list[list[str]]:
    """Run commands one after the other in a fresh process; return the heavy packages loaded after each."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(commands)],
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stderr.splitlines()[-1])
