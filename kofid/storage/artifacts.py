"""Kept directories (indexes, models): written whole, checksummed, switched by one rename.

Layout, frozen as format 1::

    DIR/CURRENT               one line: gen-N, and the SHA-256 of its manifest
    DIR/gen-N/manifest.json   format, kind, settings, and SHA-256 and size of every other file
    DIR/gen-N/...             the files

Nothing inside a generation is ever written again. A reader holds the generation that ``CURRENT`` named when it
opened; a writer makes the next one beside it and renames ``CURRENT`` last.

Checksums tell damage, not forgery: see ``kofid.storage.manifest``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from kofid.errors import CorruptArtifactError, IncompatibleArtifactError, InputError, KofidError, ResourceError
from kofid.language import say
from kofid.storage.files import is_regular, link_file
from kofid.storage.generations import (
    JOURNAL,
    LOCK,
    NEW_CURRENT,
    generation_of,
    next_building,
    own_generations,
    refuse_foreign,
    remove_empty,
    remove_leftovers,
    unfinished,
)
from kofid.storage.locks import locked
from kofid.storage.manifest import (
    FORMAT,
    KINDS,
    Manifest,
    check_files,
    check_kind,
    corrupt,
    identity,
    read_current,
    read_manifest,
    write_manifest,
)
from kofid.storage.switch import switch_current, sync_tree

__all__ = [
    "FORMAT",
    "JOURNAL",
    "Artifact",
    "artifact_kind",
    "copy_artifact",
    "has_unfinished",
    "is_artifact",
    "link_files",
    "open_artifact",
    "refuse_foreign",
    "refuse_missing",
    "write_artifact",
]

T = TypeVar("T")
# Manifest entries of files, by device and inode.
_Entries = dict[tuple[int, int], dict[str, Any]]


@dataclass(frozen=True)
class Artifact:
    """An opened generation: its directory and the files in it that are its own, its manifest's kind and settings."""

    directory: Path
    kind: str
    settings: dict[str, Any]
    fingerprint: str
    files: tuple[str, ...]


def is_artifact(path: Path) -> bool:
    """Tell whether ``path`` is a directory that looks like one of kofid's."""
    return is_regular(path / "CURRENT")


def has_unfinished(path: Path) -> bool:
    """Tell whether ``write_artifact`` was interrupted here and could ``resume``."""
    return bool(unfinished(path))


# --- writing -------------------------------------------------------------------------------------------------


@contextmanager
def write_artifact(
    path: Path, kind: str, settings: dict[str, Any], *, resume: bool = False, shares: Path | None = None
) -> Iterator[Path]:
    """Yield an empty directory to fill; when the block ends without an error, make it the current generation.

    ``settings`` may still be filled while the block runs. After an error, or a kill at any moment, the generation
    that was current stays current. A directory left unfinished with a ``JOURNAL`` in it is kept, until another writer
    comes; with ``resume`` that one gets it as it is. Files linked from the current generation, or from that of ``shares``, keep
    their checksums. Raises ResourceError when another process writes here or the disk refuses, and InputError when
    ``path`` holds anything but an artifact of the same kind: nothing else is removed or replaced.
    """
    path = Path(path)
    try:
        refuse_foreign(path, kind)
        before = {entry.name for entry in path.iterdir()} if path.is_dir() else None
        path.mkdir(parents=True, exist_ok=True)
        with locked(path / LOCK, path):
            refuse_foreign(path, kind)  # again, now that no other kofid writes
            remove_leftovers(path, kind, keep=resume)
            building = next_building(path)
            try:
                building.mkdir(exist_ok=resume)
                yield building
                (building / JOURNAL).unlink(missing_ok=True)
                known = _entries(path) | (_entries(shares) if shares else {})
                checksum = write_manifest(building, kind, settings, known)
                sync_tree(building)
                switch_current(path, building, checksum)
            finally:
                with suppress(OSError):  # what stays is removed next time
                    remove_leftovers(path, kind, keep=True, new=generation_of(building))
                if not is_artifact(path):  # a first build that failed leaves nothing behind
                    remove_empty(path, before)
    except OSError as error:
        raise ResourceError(
            say(
                f"{path}: 쓸 수 없습니다 ({error.strerror or error}). 먼저 있던 것은 그대로입니다.",
                f"{path}: cannot be written ({error.strerror or error}); what was there is intact",
            )
        ) from error


def copy_artifact(source: Path, target: Path, kind: str) -> None:
    """Write the artifact at ``source`` to ``target`` as well, files shared where the disk can; raises as both functions do."""
    artifact = open_artifact(source, kind)
    with write_artifact(target, kind, artifact.settings, shares=source) as directory:
        link_files(artifact, directory)


def link_files(artifact: Artifact, directory: Path, *, but: tuple[str, ...] = ()) -> None:
    """Give all files of an artifact, ``but`` some, a place in a directory that is being written."""
    for name in artifact.files:
        if name not in but:
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            link_file(artifact.directory / name, directory / name)


def _entries(path: Path) -> _Entries:
    """Return the manifest entries of the current generation's files."""
    current = read_current(path)
    if current is None:
        return {}
    try:
        manifest = read_manifest(path, current)
        return {identity(manifest.directory / name): entry for name, entry in manifest.files.items()}
    except (KofidError, OSError):
        return {}  # a damaged generation is being replaced


# --- opening -------------------------------------------------------------------------------------------------


def open_artifact(path: Path, kind: str, *, check_hashes: bool = True, thorough: bool = False) -> Artifact:
    """Open the current generation of ``path``, sizes always checked, hashes by default; see ``check_files``.

    Raises InputError when ``path`` is no artifact, IncompatibleArtifactError when it is of another kind or
    format, CorruptArtifactError naming the file that is missing or changed.
    """
    path = Path(path)

    def look(current: str | None) -> Artifact:
        if current is None:
            raise _no_artifact(path, kind)
        manifest = read_manifest(path, current)
        if manifest.format != FORMAT or manifest.kind != kind or kind not in KINDS:
            raise _incompatible(path, kind, manifest)
        check_kind(manifest)
        check_files(manifest, check_hashes=check_hashes, thorough=thorough)
        return Artifact(manifest.directory, kind, manifest.settings, current.split()[1], tuple(manifest.files))

    return _steadily(path, look)


def artifact_kind(path: Path) -> str:
    """Return what kind of artifact ``path`` is, by its manifest; ``index`` when it is none at all."""
    path = Path(path)
    return _steadily(path, lambda current: "index" if current is None else read_manifest(path, current).kind)


def _steadily(path: Path, look: Callable[[str | None], T]) -> T:
    """Return what ``look`` makes of ``CURRENT``; again when a writer has switched and removed what it was looking at."""
    while True:
        current = read_current(path)
        try:
            return look(current)
        except CorruptArtifactError:
            if read_current(path) == current:
                raise


def _incompatible(path: Path, kind: str, manifest: Manifest) -> IncompatibleArtifactError:
    expected = f"{kind}/{FORMAT}" if kind in KINDS else ", ".join(KINDS)
    actual = f"{manifest.kind!r}/{manifest.format}".replace("'", "")
    if manifest.kind != kind or kind not in KINDS:
        return IncompatibleArtifactError(
            say(f"{path}: {expected}이(가) 필요한데 {actual}입니다", f"{path}: {expected} is needed, this is {actual}")
        )
    command = f"{KINDS[kind].command} {path}"
    return IncompatibleArtifactError(
        say(
            f"{path}: 다른 판의 kofid가 만들어 읽을 수 없습니다 ({expected}이(가) 필요한데 {actual}입니다). 다시 만들려면: {command}",
            f"{path}: made by another version of kofid and cannot be read ({expected} is needed, this is {actual}); "
            f"to make it again: {command}",
        )
    )


def _no_artifact(path: Path, kind: str) -> KofidError:
    what = KINDS[kind]
    if not path.exists():
        return InputError(
            say(
                f"{path}: 그런 디렉터리가 없습니다. 만들려면: {what.command} {path}",
                f"{path}: no such directory; to make one: {what.command} {path}",
            )
        )
    if path.is_dir() and any(own_generations(path)) and not (path / NEW_CURRENT).exists():
        return corrupt(path / "CURRENT", say("없거나 보통 파일이 아닙니다", "missing, or not a regular file"))
    return InputError(
        say(
            f"{path}: kofid가 만든 {what.korean} 아닙니다. 만들려면: {what.command} 새디렉터리",
            f"{path}: not {what.english} made by kofid; to make one: {what.command} NEWDIR",
        )
    )


def refuse_missing(path: Path) -> None:
    """Raise InputError for a path that is not there, unless it may be a name on a model hub (OWNER/NAME)."""
    if not path.exists() and (path.is_absolute() or path.parts[0] in ("..", ".") or len(path.parts) > 2):
        raise InputError(say(f"{path}: 그런 디렉터리가 없습니다", f"{path}: no such directory"))
