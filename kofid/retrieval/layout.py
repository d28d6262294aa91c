"""The files of an index's generation, and what its manifest's settings must be."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kofid.errors import IncompatibleArtifactError
from kofid.language import say
from kofid.retrieval.sparse.analyzer import Analyzer
from kofid.retrieval.sparse.ranking import RANKERS
from kofid.retrieval.sparse.segment import Segment
from kofid.storage.arrays import ArrayFile, ArrayWriter, corrupt_array
from kofid.storage.manifest import MANIFEST, corrupt

DELETED = "deleted.seg"
VECTORS = "dense.faiss"
USER_DICTIONARY = "user_dictionary.tsv"
_SEGMENT = re.compile(r"\d{4,}\.seg")


def open_segments(directory: Path, files: Iterable[str], n_components: int) -> list[Segment]:
    """Open the segments among an index's files, in order; what else lies in its directory is not looked at.

    Raises CorruptArtifactError.
    """
    names = sorted((name for name in files if _SEGMENT.fullmatch(name)), key=lambda name: int(name[:-4]))
    if names != [f"{number:04}.seg" for number in range(len(names))]:
        raise corrupt(directory / MANIFEST, say("빠진 세그먼트가 있습니다", "a segment is missing"))
    return [Segment(directory / name, n_components) for name in names]


def write_deleted(directory: Path, positions: Sequence[npt.NDArray[np.uint16]]) -> None:
    """Write the positions deleted from each segment."""
    file = ArrayWriter(directory / DELETED)
    for number, deleted in enumerate(positions):
        file.add(f"{number:04}", deleted)
    file.close()


def read_deleted(directory: Path, segments: Sequence[Segment]) -> list[npt.NDArray[np.uint16]]:
    """Return the positions deleted from each segment, in ascending order; raise CorruptArtifactError."""
    file = ArrayFile(directory / DELETED)
    deleted = [file.array(name, "<u2").all() for name in file.names]
    if len(deleted) != len(segments):
        raise corrupt_array(file.path)
    for positions, segment in zip(deleted, segments, strict=True):
        if len(positions) and (int(positions[-1]) >= len(segment) or (positions[1:] <= positions[:-1]).any()):
            raise corrupt_array(file.path)
    return deleted


def stored_analyzer(directory: Path, settings: dict[str, Any]) -> Analyzer:
    """Return the analyzer of an index.

    Raises IncompatibleArtifactError for another Kiwi, and as ``check_settings``.
    """
    check_settings(directory, settings)
    try:
        words = tuple((directory / USER_DICTIONARY).read_text(encoding="utf-8").splitlines())
    except UnicodeDecodeError as error:
        raise corrupt(directory / USER_DICTIONARY, say("UTF-8이 아닙니다", "not UTF-8")) from error
    return Analyzer.from_settings(settings["analyzer"], settings["ranking"]["weights"], words)


# --- settings ------------------------------------------------------------------------------------------------


def check_settings(directory: Path, settings: Mapping[str, Any]) -> None:
    """Raise CorruptArtifactError for settings of types that no index has, IncompatibleArtifactError for one of the first days."""
    if "ranking" not in settings:
        raise IncompatibleArtifactError(
            say(
                f"{directory.parent}: 예전 kofid가 만든 색인이라 읽을 수 없습니다. 다시 만들려면: kofid index CORPUS -o {directory.parent}",
                f"{directory.parent}: an index of an earlier kofid, which cannot be read; to make it again: "
                f"kofid index CORPUS -o {directory.parent}",
            )
        )
    for section, types in _SECTIONS.items():
        values = settings.get(section)
        if values is None and section == "dense":
            continue
        wrong = (
            [section]
            if not isinstance(values, dict)
            else [f"{section}.{key}" for key, fits in types.items() if key in values and not fits(values[key])]
            + [f"{section}.{key}" for key in _NEEDED[section] if key not in values]
        )
        if wrong:
            raise _bad(directory, wrong[0])
    n_components, n_weights = len(settings["analyzer"]["components"]), len(settings["ranking"]["weights"])
    if n_components != n_weights or not n_components:
        raise _bad(directory, "ranking.weights")
    for key in ("n_passages", "n_segments"):
        if not _is_count(settings.get(key, 0)):
            raise _bad(directory, key)


def _bad(directory: Path, key: str) -> Exception:
    return corrupt(directory / MANIFEST, say(f"설정 {key}이(가) 잘못되었습니다", f"bad setting {key}"))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e300 < value < 1e300


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 48


def _are(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(map(fits, value))


_SECTIONS: dict[str, dict[str, Callable[[object], bool]]] = {
    "analyzer": {"components": _are(_is_text), "tags": _are(_is_text), "context": _is_text},
    "ranking": {
        "weights": _are(_is_number),
        "ranker": lambda value: value in RANKERS,
        "delta": lambda value: value is None or _is_number(value),
    }
    | dict.fromkeys(
        ("k1", "b", "title_weight", "asking_weight", "ending_weight", "sentence_weight", "article_penalty"), _is_number
    ),
    "dense": {"encoder": _is_text, "fingerprint": _is_text, "faiss": _is_text}
    | dict.fromkeys(("dimension", "n_vectors"), _is_count),
}
_NEEDED = {
    "analyzer": ("components",),
    "ranking": ("weights",),
    "dense": ("encoder", "fingerprint", "faiss", "n_vectors"),
}
