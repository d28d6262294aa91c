"""What lies in an artifact's directory: which entries kofid wrote, what a new artifact may replace, and what goes."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path

from kofid.errors import InputError
from kofid.language import say
from kofid.storage.files import is_regular, read_regular
from kofid.storage.manifest import CURRENT_LINE, KINDS, MANIFEST, Manifest, current_name, look_at_manifest, read_current
from kofid.storage.ownership import is_own_name, own_name

# A file in an unfinished directory that says how far its writer came.
JOURNAL = "journal.json"
LOCK, NEW_CURRENT = ".lock", ".CURRENT.new"
_GENERATION = re.compile(r"gen-(\d{1,9})")
_LAST_NUMBER = 999_999_999
# Directories on their way in and out.
BUILDING, _REMOVING = "building", "removing"


# --- recognising ---------------------------------------------------------------------------------------------


def refuse_foreign(path: Path, kind: str) -> None:
    """Raise InputError unless an artifact of ``kind`` may be written to ``path``.

    It may where nothing is, into an empty directory, and in place of an artifact of the same kind, be that damaged.
    Entries beside such an artifact that kofid did not write stay as they are.
    """
    if not os.path.lexists(path):
        return
    if path.is_dir() and not _is_in_the_way(path / "CURRENT") and not _is_in_the_way(path / NEW_CURRENT):
        kinds = recognise(path)
        if kind in kinds or (not kinds and all(map(_is_of_no_account, path.iterdir()))):
            return
        if len(kinds) == 1 and kinds <= KINDS.keys():
            (other,) = kinds
            raise InputError(
                say(
                    f"{path}: kofid가 만든 {other}입니다. {kind}을(를) 그 자리에 쓰지 않습니다. 비어 있거나 새 경로를 주세요.",
                    f"{path}: holds a kofid {other}, which no {kind} replaces; name an empty or new path",
                )
            )
    raise InputError(
        say(
            f"{path}: kofid가 만든 것이 아닌 파일이 있습니다. 비어 있거나 새 경로를 주세요.",
            f"{path}: holds files that kofid did not write; name an empty or new path",
        )
    )


def recognise(path: Path) -> set[str]:
    """Return the kinds of which the artifact in a directory, be it damaged, can be; none for a directory of anything else."""
    while True:
        current = read_current(path)
        kinds = _kinds(path, current)
        if kinds or read_current(path) == current:  # else a writer has switched meanwhile
            return kinds


def _kinds(path: Path, current: str | None) -> set[str]:
    match = CURRENT_LINE.fullmatch(current or "")
    if match and (path / match[1]).is_dir() and not (path / match[1]).is_symlink():
        manifest = look_at_manifest(path / match[1])
        return {manifest.kind} if manifest else _kinds_by_files(path / match[1])
    kinds = {manifest.kind for manifest in own_generations(path)}
    return kinds if len(kinds) == 1 else set()


def _kinds_by_files(directory: Path) -> set[str]:
    """Return the kinds that have all their files in a generation with a damaged manifest."""
    names = [file.relative_to(directory).as_posix() for file in directory.rglob("*")]
    return {kind.name for kind in KINDS.values() if kind.missing(names, {}) is None}


def own_generations(path: Path) -> Iterator[Manifest]:
    """Yield the manifests of the generations that kofid certainly wrote: all in them is listed, and a regular file."""
    for entry in path.iterdir():
        if _GENERATION.fullmatch(entry.name):
            manifest = look_at_manifest(entry)
            if manifest is not None and _lists_all(manifest):
                yield manifest


def _lists_all(manifest: Manifest) -> bool:
    for folder, folders, files in os.walk(manifest.directory):
        here = Path(folder)
        names = ((here / name).relative_to(manifest.directory).as_posix() for name in files)
        if any((here / name).is_symlink() for name in [*folders, *files]):
            return False
        if not all(name == MANIFEST or name in manifest.files for name in names):
            return False
    return True


def _is_in_the_way(file: Path) -> bool:
    """Tell whether something that is no file of kofid's has the name of one that is to be replaced."""
    if file.name == NEW_CURRENT and is_regular(file):
        return bool(set(read_regular(file, 100)) - set(b"gen-0123456789abcdef \n\0"))  # a line perhaps half written
    return os.path.lexists(file) and not is_regular(file)


def _is_of_no_account(entry: Path) -> bool:
    """Tell whether an entry leaves a directory as good as empty: what a killed first build leaves; strays that look so."""
    if entry.name == LOCK:
        return is_regular(entry) and not entry.stat().st_size
    return entry.name == NEW_CURRENT or entry.name.startswith((f".{BUILDING}-", f".{_REMOVING}-"))


# --- coming and going ----------------------------------------------------------------------------------------


def next_building(path: Path) -> Path:
    """Return the directory in which the next generation is to be built; the same one until there is a next generation."""
    taken = {entry.name for entry in path.iterdir()}
    last = int((current_name(path) or "gen-0").removeprefix("gen-"))
    numbers = chain(range(last + 1, _LAST_NUMBER + 1), range(1, last))
    return path / own_name(BUILDING, next(f"gen-{n}" for n in numbers if f"gen-{n}" not in taken))


def generation_of(building: Path) -> Path:
    """Return the place of the generation that was built in a directory."""
    return building.with_name(building.name.removeprefix(f".{BUILDING}-").rpartition("-")[0])


def unfinished(path: Path) -> list[Path]:
    """Return the directories of interrupted builds that can be gone on with."""
    entries = path.iterdir() if path.is_dir() else ()
    return [entry for entry in entries if is_own_name(entry.name, BUILDING) and (entry / JOURNAL).is_file()]


def remove_leftovers(path: Path, kind: str, *, keep: bool, new: Path | None = None) -> None:
    """Remove what kofid wrote here but for the current generation; with ``keep`` unfinished ones with a journal stay too.

    No generation goes while ``CURRENT`` does not say which is current, but for a ``new`` one that was not to become it. A
    process that has a generation's files open keeps them until it ends.
    """
    resumable = unfinished(path) if keep else []
    for entry in list(path.iterdir()):
        is_ours = is_own_name(entry.name, BUILDING) or is_own_name(entry.name, _REMOVING)
        if is_ours and entry not in resumable and entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
    current = current_name(path)
    for manifest in list(own_generations(path)):
        is_old = current is not None or manifest.directory == new
        if is_old and manifest.directory.name != current and manifest.kind == kind:
            # First the name, so that no reader meets half a generation, nor the next writer if this one is killed.
            going = manifest.directory.with_name(own_name(_REMOVING, manifest.directory.name))
            manifest.directory.rename(going)
            shutil.rmtree(going)
    if not _is_in_the_way(path / NEW_CURRENT):
        (path / NEW_CURRENT).unlink(missing_ok=True)


def remove_empty(path: Path, before: set[str] | None) -> None:
    """Remove a directory in which nothing came about; of one that was there, with these entries, the lock file alone."""
    with suppress(OSError):
        if {entry.name for entry in path.iterdir()} - (before or set()) <= {LOCK} and LOCK not in (before or ()):
            (path / LOCK).unlink(missing_ok=True)
            if before is None:
                path.rmdir()
