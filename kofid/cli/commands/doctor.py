"""kofid doctor"""

from __future__ import annotations

import os
import platform

from kofid.cli import console
from kofid.cli.options.common import Json
from kofid.language import say

NEEDS_ARGUMENTS = False
HELP = say(
    "설치를 살핍니다: 꾸러미, faiss, GPU, 함께 온 모델.",
    "Look over the installation: packages, faiss, GPU, bundled models.",
)
EXAMPLE = "kofid doctor"
PACKAGES = (
    "kofid",
    "torch",
    "transformers",
    "datasets",
    "kiwipiepy",
    "bm25s",
    "rank-bm25",
    "lightgbm",
    "ir-measures",
    "matplotlib",
    "faiss-cpu",
    "faiss-gpu",
)


def run(json_output: Json = False) -> None:
    """Report the installation."""
    import torch

    from kofid.reader.open import BUNDLED_READERS
    from kofid.storage.bundled import is_bundled

    found = {"python": platform.python_version(), "cpus": str(os.cpu_count())}
    found |= {name: _version(name) for name in PACKAGES}
    found["gpu"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "-"
    found["bundled readers"] = ", ".join(name for name, path in BUNDLED_READERS.items() if is_bundled(path))
    if console.wants_json(json_output):
        console.print_json(found)
    else:
        console.print_table("", [say("무엇", "what"), say("판", "version")], [[k, v] for k, v in found.items()])
    _advise(found)


def _version(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return "-"


def _advise(found: dict[str, str]) -> None:
    faiss = [name for name in ("faiss-cpu", "faiss-gpu") if found[name] != "-"]
    if not faiss:
        console.note(
            say(
                "faiss가 없습니다. 조밀 검색을 쓰려면: pip install 'kofid[cpu]' 또는 'kofid[gpu]'",
                "no faiss; for dense retrieval: pip install 'kofid[cpu]' or 'kofid[gpu]'",
            )
        )
    elif len(faiss) == 2:
        console.note(
            say("faiss-cpu와 faiss-gpu가 함께 있습니다. 하나를 지우세요.", "both faiss-cpu and faiss-gpu: remove one")
        )
