"""The files of an index's generation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kofid.retrieval.settings import IndexSettings
from kofid.retrieval.sparse.analyzer import Analyzer
from kofid.retrieval.sparse.segment import Segment
from kofid.storage.arrays import ArrayFile, ArrayWriter

DELETED = "deleted.seg"


VECTORS = "dense.faiss"


USER_DICTIONARY = "user_dictionary.tsv"


def open_segments(directory: Path, n_components: int) -> list[Segment]:
    """Open the segments of an index's generation, in order."""
    names = sorted(file for file in directory.glob("[0-9]*.seg"))
    return [Segment(name, n_components) for name in names]


def write_deleted(directory: Path, positions: Sequence[npt.NDArray[np.uint16]]) -> None:
    """Write the positions deleted from each segment."""
    file = ArrayWriter(directory / DELETED)
    for number, deleted in enumerate(positions):
        file.add(f"{number:04}", deleted)
    file.close()


def read_deleted(directory: Path) -> list[npt.NDArray[np.uint16]]:
    """Return the positions deleted from each segment."""
    file = ArrayFile(directory / DELETED)
    return [file[name].all() for name in file.names]


def stored_analyzer(directory: Path, settings: IndexSettings) -> Analyzer:
    """Return the analyzer of an index; raise IncompatibleArtifactError where Kiwi or the user dictionary is another."""
    words = tuple((directory / USER_DICTIONARY).read_text(encoding="utf-8").splitlines())
    return Analyzer.from_settings(settings.analyzer, settings.weights, words)
