"""The files of an index's generation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from math import isfinite
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kofid.korean.kiwi import TAGS
from kofid.language import say
from kofid.retrieval.index_settings import IndexSettings
from kofid.retrieval.sparse.analyzer import Analyzer
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


def stored_analyzer(directory: Path, settings: IndexSettings) -> Analyzer:
    """Return the analyzer of an index; raise IncompatibleArtifactError where Kiwi or the user dictionary is another."""
    try:
        words = tuple((directory / USER_DICTIONARY).read_text(encoding="utf-8").splitlines())
    except UnicodeDecodeError as error:
        raise corrupt(directory / USER_DICTIONARY, say("UTF-8이 아닙니다", "not UTF-8")) from error
    if not all(map(_is_user_word, words)):
        raise corrupt(
            directory / USER_DICTIONARY, say("Kiwi의 낱말이 아닌 줄이 있습니다", "a line is no word for Kiwi")
        )
    return Analyzer.from_settings(settings.analyzer, settings.weights, words)


def _is_user_word(line: str) -> bool:
    form, tag, score = (*line.split("\t"), "", "")[:3]
    try:
        return bool(form) and (tag or "NNP") in TAGS and isfinite(float(score or 0))
    except ValueError:
        return False
