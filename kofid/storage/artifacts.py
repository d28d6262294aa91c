"""Kept directories (indexes, models, runs): written whole, checksummed, switched by one rename.

Layout, frozen as format 1::

    DIR/CURRENT               one line: gen-N, and the SHA-256 of its manifest
    DIR/gen-N/manifest.json   format, kind, settings, and SHA-256 and size of every other file
    DIR/gen-N/...             the files

Nothing inside a generation is ever written again. A reader holds the generation that ``CURRENT`` named when it
opened; a writer makes the next one beside it and renames ``CURRENT`` last.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from kofid import __version__
from kofid.errors import CorruptArtifactError, IncompatibleArtifactError, InputError, KofidError, ResourceError
from kofid.language import say
from kofid.storage.arrays import TOC, ArrayFile

FORMAT = 1
T = TypeVar("T")
# A file in an unfinished directory that says how far its writer came.
JOURNAL = "journal.json"
_GENERATION = re.compile(r"gen-(\d{1,9})")
_CURRENT = re.compile(r"(gen-\d{1,9}) ([0-9a-f]{64})\n")
# Directories on their way in and out: nothing reads them, and whoever writes next removes them.
_BUILDING, _REMOVING = ".building-", ".removing-"


@dataclass(frozen=True)
class Artifact:
    """An opened generation: its directory, and its manifest's kind and settings."""

    directory: Path
    kind: str
    settings: dict[str, Any]
    fingerprint: str


def is_artifact(path: Path) -> bool:
    """Tell whether ``path`` is a directory that kofid wrote."""
    return (path / "CURRENT").is_file()


@contextmanager
def write_artifact(path: Path, kind: str, settings: dict[str, Any], *, resume: bool = False) -> Iterator[Path]:
    """Yield an empty directory to fill; when the block ends without an error, make it the current generation.

    ``settings`` may still be filled while the block runs. After an error, or a kill at any moment, the generation
    that was current stays current. A directory left unfinished with a ``JOURNAL`` in it is kept, until another writer
    comes; with ``resume`` that one gets it as it is. Raises ResourceError when another process writes here or the disk refuses,
    and InputError when ``path`` holds something that is not an artifact.
    """
    from filelock import FileLock, Timeout

    path = Path(path)
    try:
        if path.is_file() or (path.is_dir() and _holds_other_things(path)):
            raise InputError(
                say(
                    f"{path}: kofid가 만든 것이 아닌 파일이 있습니다. 비어 있거나 새 경로를 주세요.",
                    f"{path}: holds files that kofid did not write; name an empty or new path",
                )
            )
        path.mkdir(parents=True, exist_ok=True)
        with FileLock(path / ".lock", timeout=0):
            _remove_leftovers(path, keep=resume)
            number = 1 + max((n for n, _ in _generations(path)), default=0)
            building = path / f"{_BUILDING}gen-{number}"
            try:
                building.mkdir(exist_ok=resume)
                yield building
                (building / JOURNAL).unlink(missing_ok=True)
                checksum = _write_manifest(building, kind, settings, _current_files(path))
                _sync_tree(building)
                _switch(path, building, f"gen-{number}", checksum)
            finally:
                with suppress(OSError):  # what stays is removed next time
                    _remove_leftovers(path, keep=True)
                if not is_artifact(path):  # a first build that failed leaves nothing behind
                    _remove_empty(path)
    except Timeout as error:
        raise ResourceError(
            say(
                f"{path}: 다른 kofid가 지금 여기에 쓰고 있습니다. 끝난 뒤 다시 하세요.",
                f"{path}: another kofid is writing here; try again when it has ended",
            )
        ) from error
    except OSError as error:
        raise ResourceError(
            say(
                f"{path}: 쓸 수 없습니다 ({error.strerror or error}). 먼저 있던 것은 그대로입니다.",
                f"{path}: cannot be written ({error.strerror or error}); what was there is intact",
            )
        ) from error


def _generations(path: Path) -> list[tuple[int, Path]]:
    """Return number and path of the finished generations in ``path``."""
    found = ((_GENERATION.fullmatch(entry.name), entry) for entry in path.iterdir())
    return [(int(m.group(1)), entry) for m, entry in found if m and _is_own(entry)]


def _is_own(entry: Path) -> bool:
    """Tell whether kofid put an entry into its directory: of generations, those with a manifest and the current one."""
    if not _GENERATION.fullmatch(entry.name):
        return entry.name in (".lock", "CURRENT", ".CURRENT.new") or entry.name.startswith((_BUILDING, _REMOVING))
    if (entry / "manifest.json").is_file() or not entry.exists():  # another writer may have removed it just now
        return True
    return entry.name == (_current(entry.parent) or "").partition(" ")[0]


def _holds_other_things(path: Path) -> bool:
    return not all(map(_is_own, path.iterdir()))


def _remove_leftovers(path: Path, *, keep: bool) -> None:
    """Remove all but the current generation; with ``keep`` also an unfinished one with a journal stays.

    A process that has a generation's files open keeps them until it ends.
    """
    current = (_current(path) or "").partition(" ")[0]
    for _, entry in _generations(path):
        if entry.name != current:
            # First the name, so that no reader meets half a generation, nor the next writer if this one is killed.
            entry.rename(entry.with_name(_REMOVING + entry.name))
    for entry in [*path.glob(f"{_BUILDING}*"), *path.glob(f"{_REMOVING}*")]:
        if not (keep and (entry / JOURNAL).is_file()):
            shutil.rmtree(entry)
    (path / ".CURRENT.new").unlink(missing_ok=True)


def _remove_empty(path: Path) -> None:
    with suppress(OSError):
        (path / ".lock").unlink(missing_ok=True)
        path.rmdir()


def _current_files(path: Path) -> dict[tuple[int, int], dict[str, Any]]:
    """Return the manifest entries of the current generation's files, by device and inode."""
    current = _current(path)
    if current is None:
        return {}
    try:
        directory, manifest = _read_manifest(path, current)
        return {_identity(directory / name): entry for name, entry in manifest["files"].items()}
    except (KofidError, OSError):
        return {}  # a damaged generation is being replaced


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _write_manifest(
    directory: Path, kind: str, settings: dict[str, Any], known: dict[tuple[int, int], dict[str, Any]]
) -> str:
    """Write the manifest and return its SHA-256. Files linked from the current generation keep their checksums."""
    files = {
        p.relative_to(directory).as_posix(): known.get(_identity(p)) or {"sha256": _sha256(p), "size": p.stat().st_size}
        for p in sorted(directory.rglob("*"))
        if p.is_file()
    }
    manifest = {"format": FORMAT, "kind": kind, "kofid": __version__, "settings": settings, "files": files}
    text = json.dumps(manifest, ensure_ascii=False, indent=1, sort_keys=True)
    (directory / "manifest.json").write_text(text + "\n", encoding="utf-8")
    return _sha256(directory / "manifest.json")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_tree(directory: Path) -> None:
    for path in [*directory.rglob("*"), directory]:
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _switch(path: Path, building: Path, generation: str, checksum: str) -> None:
    """Make ``building`` the current generation; the one before stays current when the disk refuses."""
    before = _current(path)
    # Written before the generation gets its name: what has generations but neither this nor CURRENT has lost CURRENT.
    _write_current(path, f"{generation} {checksum}\n")
    building.rename(path / generation)
    _sync(path)
    (path / ".CURRENT.new").replace(path / "CURRENT")
    try:
        _sync(path)
    except OSError:  # after a power failure either one might be current: let it be the one before, now as well
        if before is None:
            (path / "CURRENT").unlink()
        else:
            _write_current(path, before)
            (path / ".CURRENT.new").replace(path / "CURRENT")
        raise


def _write_current(path: Path, line: str) -> None:
    with (path / ".CURRENT.new").open("w", encoding="utf-8", newline="") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def open_artifact(path: Path, kind: str, *, check_hashes: bool = True, thorough: bool = False) -> Artifact:
    """Open the current generation of ``path``, sizes always checked, hashes by default; see ``check_files``.

    Raises InputError when ``path`` is no artifact, IncompatibleArtifactError when it is of another kind or
    format, CorruptArtifactError naming the file that is missing or changed.
    """
    path = Path(path)
    return _steadily(path, lambda current: _open_current(path, current, kind, check_hashes, thorough))


def artifact_kind(path: Path) -> str:
    """Return what kind of artifact ``path`` is, by its manifest; ``index`` when it is none at all."""
    path = Path(path)
    return _steadily(
        path, lambda current: "index" if current is None else str(_read_manifest(path, current)[1]["kind"])
    )


def _steadily(path: Path, look: Callable[[str | None], T]) -> T:
    """Return what ``look`` makes of ``CURRENT``; again when a writer has switched and removed what it was looking at."""
    while True:
        current = _current(path)
        try:
            return look(current)
        except CorruptArtifactError:
            if _current(path) == current:
                raise


def _current(path: Path) -> str | None:
    try:
        return (path / "CURRENT").read_bytes().decode("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):  # not where it is there but cannot be read
        return None


def _open_current(path: Path, current: str | None, kind: str, check_hashes: bool, thorough: bool) -> Artifact:
    if current is None:
        raise _no_artifact(path, kind)
    directory, manifest = _read_manifest(path, current)
    if manifest["format"] != FORMAT or manifest["kind"] != kind:
        found = f"{manifest['kind']}/{manifest['format']}"
        raise IncompatibleArtifactError(
            say(
                f"{path}: {kind}/{FORMAT}이(가) 필요한데 {found}입니다",
                f"{path}: {kind}/{FORMAT} is needed, this is {found}",
            )
        )
    check_files(directory, manifest["files"], check_hashes=check_hashes, thorough=thorough)
    return Artifact(directory, kind, manifest["settings"], current.split()[1])


def _no_artifact(path: Path, kind: str) -> KofidError:
    what, name, command = {
        "index": ("색인이", "an index", "kofid index CORPUS -o"),
        "encoder": ("인코더가", "an encoder", "kofid train-retriever QUESTIONS -i INDEX -o"),
        "reader": ("리더가", "a reader", "kofid train-reader QUESTIONS -i INDEX -o"),
    }[kind]
    if not path.exists():
        return InputError(
            say(
                f"{path}: 그런 디렉터리가 없습니다. 만들려면: {command} {path}",
                f"{path}: no such directory; to make one: {command} {path}",
            )
        )
    if path.is_dir() and _generations(path) and not (path / ".CURRENT.new").exists():
        return _corrupt(path / "CURRENT", say("파일이 없습니다", "missing"))
    return InputError(
        say(
            f"{path}: kofid가 만든 {what} 아닙니다. 만들려면: {command} 새디렉터리",
            f"{path}: not {name} made by kofid; to make one: {command} NEWDIR",
        )
    )


def _read_manifest(path: Path, current: str) -> tuple[Path, dict[str, Any]]:
    """Return the directory that ``CURRENT`` names and its manifest, checked against the SHA-256 beside the name."""
    match = _CURRENT.fullmatch(current)
    if match is None or not (path / match[1]).is_dir():
        raise _corrupt(path / "CURRENT", say("있는 세대의 이름이 아닙니다", "names no generation that is there"))
    file = path / match[1] / "manifest.json"
    try:
        text = file.read_bytes()
    except OSError as error:
        raise _corrupt(file, say("읽을 수 없습니다", "cannot be read")) from error
    if hashlib.sha256(text).hexdigest() != match[2]:
        raise _corrupt(file, say("SHA-256이 CURRENT의 것과 다릅니다", "SHA-256 differs from the one in CURRENT"))
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _corrupt(file, say("올바른 JSON이 아닙니다", "not valid JSON")) from error
    needed = {"format": int, "kind": str, "settings": dict, "files": dict}
    if not isinstance(manifest, dict) or not all(isinstance(manifest.get(k), t) for k, t in needed.items()):
        raise _corrupt(file, say("있어야 할 항목이 없습니다", "lacks an entry"))
    return file.parent, manifest


def check_files(directory: Path, files: dict[str, Any], *, check_hashes: bool, thorough: bool = False) -> None:
    """Raise CorruptArtifactError when a file of the manifest is missing, of another size or content, or outside.

    Files that are checked block by block as they are read (kofid.storage.arrays) are hashed only when ``thorough``; then their
    blocks are checked as well, which tell damage from before the hash was taken.
    """
    for name, expected in files.items():
        path = directory / name
        if name.startswith("/") or ".." in Path(name).parts or not isinstance(expected, dict):
            raise _corrupt(directory / "manifest.json", say(f"잘못된 파일 이름: {name!r}", f"bad file name: {name!r}"))
        try:
            size = path.stat().st_size
        except OSError as error:
            raise _corrupt(path, say("파일이 없습니다", "missing")) from error
        if size != expected.get("size"):
            wanted = expected.get("size")
            raise _corrupt(
                path,
                say(f"크기가 {wanted}이어야 하는데 {size}바이트입니다", f"{size} bytes where {wanted} are expected"),
            )
        lazy = not thorough and name + TOC in files  # its reader checks each block
        try:
            sound = not check_hashes or lazy or _sha256(path) == expected.get("sha256")
        except OSError as error:
            raise _corrupt(path, say("읽을 수 없습니다", "cannot be read")) from error
        if not sound:
            raise _corrupt(path, say("SHA-256이 다릅니다", "SHA-256 differs"))
    for name in files if thorough else ():
        if name + TOC in files:
            _check_blocks(directory / name)


def _check_blocks(path: Path) -> None:
    try:
        ArrayFile(path).check_all()
    except OSError as error:
        raise _corrupt(path, say("읽을 수 없습니다", "cannot be read")) from error


def _corrupt(path: Path, what: str) -> CorruptArtifactError:
    return CorruptArtifactError(
        say(f"{path}: 손상되었습니다: {what}. 다시 만들어야 합니다.", f"{path}: damaged: {what}; it must be made again")
    )


def refuse_missing(path: Path) -> None:
    """Raise InputError for a path that is not there, unless it may be a name on a model hub (OWNER/NAME)."""
    if not path.exists() and (path.is_absolute() or path.parts[0] in ("..", ".") or len(path.parts) > 2):
        raise InputError(say(f"{path}: 그런 디렉터리가 없습니다", f"{path}: no such directory"))
