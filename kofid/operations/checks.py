"""Checks of what is there: the files of an index or model, and the installation."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from kofid.language import say
from kofid.reader.open import BUNDLED_READERS
from kofid.storage.artifacts import Artifact, artifact_kind, open_artifact
from kofid.storage.bundled import is_bundled

PACKAGES = (
    "kofid",
    "torch",
    "transformers",
    "datasets",
    "kiwipiepy",
    "bm25s",
    "rank-bm25",
    "lightgbm",
    "onnxruntime",
    "ir-measures",
    "matplotlib",
    "faiss-cpu",
    "faiss-gpu",
)


def verify(path: str | Path) -> Artifact:
    """Check every file of an index or model by SHA-256, and return what it is.

    Raises CorruptArtifactError naming a damaged file, InputError for what is no artifact.

    >>> from kofid.storage.bundled import resource
    >>> verify(resource("models/span")).kind
    'reader'
    """
    return open_artifact(Path(path), artifact_kind(Path(path)), thorough=True)


@dataclass(frozen=True)
class Installation:
    """What is installed: ``packages`` with their versions (None: not there), the GPU's name, readers that came along."""

    python: str
    n_processors: int
    packages: Mapping[str, str | None]
    gpu: str | None
    bundled_readers: tuple[str, ...]

    @property
    def advice(self) -> list[str]:
        """What to type, a sentence each, where something is missing or too much."""
        faiss = [name for name in ("faiss-cpu", "faiss-gpu") if self.packages[name]]
        if len(faiss) == 2:
            return [
                say(
                    "faiss-cpu와 faiss-gpu가 함께 있습니다. 하나를 지우세요.",
                    "both faiss-cpu and faiss-gpu: remove one",
                )
            ]
        missing = []
        if not faiss:
            missing.append(("faiss", "cpu", say("조밀 검색", "dense retrieval")))
        if not self.packages["matplotlib"]:
            missing.append(("matplotlib", "plot", say("그림", "plots")))
        return [
            say(
                f"{name}이(가) 없습니다. {use}을(를) 쓰려면: pip install 'kofid[{extra}]'",
                f"no {name}; for {use}: pip install 'kofid[{extra}]'",
            )
            for name, extra, use in missing
        ]


def doctor() -> Installation:
    """Look over the installation; torch is loaded only where it is installed, to find the GPU.

    >>> doctor().packages["kofid"] is not None
    True
    """
    return Installation(
        python=platform.python_version(),
        n_processors=os.cpu_count() or 1,
        packages={name: _version(name) for name in PACKAGES},
        gpu=_gpu(),
        bundled_readers=tuple(name for name, path in BUNDLED_READERS.items() if is_bundled(path)),
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _gpu() -> str | None:
    if find_spec("torch") is None:
        return None
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
