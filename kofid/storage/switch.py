"""The atomic switch of an artifact: all of a new generation is made safe on disk, then one rename of ``CURRENT`` makes it count."""

from __future__ import annotations

import os
from pathlib import Path

from kofid.storage.generations import NEW_CURRENT, generation_of
from kofid.storage.manifest import read_current


def sync_tree(directory: Path) -> None:
    """Make all files and folders under a directory, and itself, safe on disk."""
    for path in [*directory.rglob("*"), directory]:
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def switch_current(path: Path, building: Path, checksum: str) -> None:
    """Make ``building`` the current generation; the one before stays current when the disk refuses."""
    before, generation = read_current(path), generation_of(building)
    # Written before the generation gets its name: what has generations but neither this nor CURRENT has lost CURRENT.
    _write_current(path, f"{generation.name} {checksum}\n")
    building.rename(generation)
    _sync(path)
    (path / NEW_CURRENT).replace(path / "CURRENT")
    try:
        _sync(path)
    except OSError:  # after a power failure either one might be current: let it be the one before, now as well
        if before is None:
            (path / "CURRENT").unlink()
        else:
            _write_current(path, before)
            (path / NEW_CURRENT).replace(path / "CURRENT")
        raise


def _write_current(path: Path, line: str) -> None:
    with (path / NEW_CURRENT).open("w", encoding="utf-8", newline="") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
