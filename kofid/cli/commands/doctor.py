"""kofid doctor"""

from __future__ import annotations

import kofid
from kofid.cli import console
from kofid.cli.options.common import Json
from kofid.language import say

NEEDS_ARGUMENTS = False
HELP = say(
    "설치를 살핍니다: 꾸러미, faiss, GPU, 함께 온 모델.",
    "Look over the installation: packages, faiss, GPU, bundled models.",
)
EXAMPLE = "kofid doctor"


def run(json_output: Json = False) -> None:
    """Report the installation."""
    installation = kofid.doctor()
    readers = ", ".join(installation.bundled_readers)
    rows = {"python": installation.python, "cpus": str(installation.n_processors)}
    rows |= {name: version or "-" for name, version in installation.packages.items()}
    rows |= {"gpu": installation.gpu or "-", "bundled readers": readers}
    if console.wants_json(json_output):
        console.print_json(rows)
    else:
        console.print_table("", [say("무엇", "what"), say("판", "version")], rows.items())
    for sentence in installation.advice:
        console.note(sentence)
