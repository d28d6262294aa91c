"""Manifests: which files a generation has, of what kind it is, and whether all of it is still what was written.

Checksums show integrity, not authenticity: who can write to a directory can make all of them fit. So nothing that is read
is trusted beyond what its reader checks: names stay inside the generation, files are regular ones, types and bounds are
looked at where they are used, and no content is ever run as code.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from kofid import __version__
from kofid.errors import CorruptArtifactError
from kofid.language import say
from kofid.storage.arrays import TOC, ArrayFile
from kofid.storage.files import NotAFileError, is_regular, read_regular

FORMAT = 1
T = TypeVar("T")
MANIFEST = "manifest.json"
# What CURRENT says: a generation, and the SHA-256 of its manifest.
CURRENT_LINE = re.compile(r"(gen-\d{1,9}) ([0-9a-f]{64})\n")
# Bytes that are read of each at most; the manifest of an index of 100,000 documents has 10 MB.
_CURRENT_SIZE, _MANIFEST_SIZE = 200, 1 << 26


@dataclass(frozen=True)
class ArtifactKind:
    """What an artifact can be: its name, the command that makes it (but for the directory), and the files that it needs.

    Of each tuple of patterns in ``needs`` some file must fit one; ``settings_need`` are files that settings call for.
    """

    name: str
    korean: str
    english: str
    command: str
    needs: tuple[tuple[str, ...], ...]
    settings_need: tuple[tuple[str, str], ...] = ()

    def missing(self, files: Iterable[str], settings: dict[str, Any]) -> str | None:
        """Return the first file that is needed and not among ``files``; None where all are there."""
        wanted = [*self.needs, *((file,) for key, file in self.settings_need if settings.get(key))]
        names = list(files)
        for patterns in wanted:
            if not any(fnmatchcase(name, pattern) for name in names for pattern in patterns):
                return patterns[0]
        return None


_SEGMENTS = ("0000.seg", "0000.seg.toc", "deleted.seg", "deleted.seg.toc", "user_dictionary.tsv")
KINDS = {
    kind.name: kind
    for kind in (
        ArtifactKind(
            "index",
            "색인이",
            "an index",
            "kofid index CORPUS -o",
            tuple((file,) for file in _SEGMENTS),
            (("dense", "dense.faiss"),),
        ),
        ArtifactKind(
            "encoder",
            "인코더가",
            "an encoder",
            "kofid train-retriever QUESTIONS -i INDEX -o",
            (("*.safetensors",), ("tokenizer*", "*vocab*", "*.model")),
        ),
        ArtifactKind(
            "reader",
            "리더가",
            "a reader",
            "kofid train-reader QUESTIONS -i INDEX -o",
            (("*.safetensors", "span.json"), ("config.json", "span.json", "encoder.onnx")),
        ),
        ArtifactKind(
            "reranker",
            "리랭커가",
            "a reranker",
            "kofid train-reranker QUESTIONS -i INDEX -o",
            (("*.safetensors",), ("config.json",)),
        ),
    )
}


@dataclass(frozen=True)
class Manifest:
    """What stands in a generation's manifest; ``files`` are size and SHA-256 by name."""

    directory: Path
    format: int
    kind: str
    settings: dict[str, Any]
    files: dict[str, Any]

    @property
    def path(self) -> Path:
        """The manifest itself."""
        return self.directory / MANIFEST


def read_current(path: Path) -> str | None:
    """Return what ``CURRENT`` says; None where there is none, or something that is no file."""
    try:
        return read_regular(path / "CURRENT", _CURRENT_SIZE).decode("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError, NotAFileError):  # not where it is there but cannot be read
        return None


def current_name(path: Path) -> str | None:
    """Return the name of the generation that ``CURRENT`` names; None where it is damaged or missing."""
    match = CURRENT_LINE.fullmatch(read_current(path) or "")
    return match and match[1]


def read_manifest(path: Path, current: str) -> Manifest:
    """Return the manifest of the generation that ``CURRENT`` names, checked against the SHA-256 beside the name.

    Raises CorruptArtifactError.
    """
    match = CURRENT_LINE.fullmatch(current)
    if match is None or not (path / match[1]).is_dir() or (path / match[1]).is_symlink():
        raise corrupt(path / "CURRENT", say("있는 세대의 이름이 아닙니다", "names no generation that is there"))
    file = path / match[1] / MANIFEST
    try:
        text = read_regular(file, _MANIFEST_SIZE)
    except OSError as error:
        raise corrupt(file, say("읽을 수 없습니다", "cannot be read")) from error
    if hashlib.sha256(text).hexdigest() != match[2]:
        raise corrupt(file, say("SHA-256이 CURRENT의 것과 다릅니다", "SHA-256 differs from the one in CURRENT"))
    return _parse(file, text)


def look_at_manifest(directory: Path) -> Manifest | None:
    """Return the manifest of a generation, whatever its SHA-256; None where there is none that kofid could have written."""
    file = directory / MANIFEST
    try:
        return None if directory.is_symlink() else _parse(file, read_regular(file, _MANIFEST_SIZE))
    except (OSError, CorruptArtifactError):
        return None


def _parse(file: Path, text: bytes) -> Manifest:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise corrupt(file, say("올바른 JSON이 아닙니다", "not valid JSON")) from error
    needed = {"format": int, "kind": str, "settings": dict, "files": dict}
    if not isinstance(content, dict) or not all(isinstance(content.get(k), t) for k, t in needed.items()):
        raise corrupt(file, say("있어야 할 항목이 없습니다", "lacks an entry"))
    return Manifest(file.parent, content["format"], content["kind"], content["settings"], content["files"])


def write_manifest(
    directory: Path, kind: str, settings: dict[str, Any], known: dict[tuple[int, int], dict[str, Any]]
) -> str:
    """Write the manifest of a generation and return its SHA-256.

    ``known`` are the entries of files that are linked from elsewhere, by device and inode: they keep their checksums.
    """
    files = {
        p.relative_to(directory).as_posix(): known.get(identity(p)) or {"sha256": _sha256(p), "size": p.stat().st_size}
        for p in sorted(directory.rglob("*"))
        if p.is_file()
    }
    manifest = {"format": FORMAT, "kind": kind, "kofid": __version__, "settings": settings, "files": files}
    text = json.dumps(manifest, ensure_ascii=False, indent=1, sort_keys=True)
    (directory / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return _sha256(directory / MANIFEST)


def identity(path: Path) -> tuple[int, int]:
    """Return device and inode of a file."""
    status = path.stat()
    return status.st_dev, status.st_ino


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_kind(manifest: Manifest) -> None:
    """Raise CorruptArtifactError when the manifest does not list the files that its kind needs."""
    missing = KINDS[manifest.kind].missing(manifest.files, manifest.settings)
    if missing is not None:
        raise corrupt(manifest.path, say(f"{missing} 파일이 목록에 없습니다", f"lists no file {missing}"))


def check_files(manifest: Manifest, *, check_hashes: bool, thorough: bool = False) -> None:
    """Raise CorruptArtifactError when a file of the manifest is missing, a link, of another size or content, or outside.

    Files that are checked block by block as they are read (kofid.storage.arrays) are hashed only when ``thorough``; then their
    blocks are checked as well, which tell damage from before the hash was taken.
    """
    for name, entry in manifest.files.items():
        path = _place(manifest, name)
        if not isinstance(entry, dict):
            raise corrupt(manifest.path, say(f"{name!r} 항목이 잘못되었습니다", f"bad entry of {name!r}"))
        size = _readable(path, lambda path: path.stat().st_size)
        if size != (expected := entry.get("size")):
            raise corrupt(
                path,
                say(
                    f"크기가 {expected}이어야 하는데 {size}바이트입니다", f"{size} bytes where {expected} are expected"
                ),
            )
        in_blocks = not thorough and name + TOC in manifest.files  # its reader checks each block
        if check_hashes and not in_blocks and _readable(path, _sha256) != entry.get("sha256"):
            raise corrupt(path, say("SHA-256이 다릅니다", "SHA-256 differs"))
    for name in manifest.files if thorough else ():
        if name + TOC in manifest.files:
            _readable(manifest.directory / name, lambda path: ArrayFile(path).check_all())


def _place(manifest: Manifest, name: str) -> Path:
    """Return where a listed file is: a regular file inside the generation, reached by no link."""
    pure = PurePosixPath(name)
    path = manifest.directory / pure
    if pure.is_absolute() or ".." in pure.parts or pure.as_posix() != name or "\0" in name or not name.isprintable():
        raise corrupt(manifest.path, say(f"잘못된 파일 이름: {name!r}", f"bad file name: {name!r}"))
    if any((manifest.directory / folder).is_symlink() for folder in pure.parents):
        raise corrupt(path, say("링크를 지나는 경로입니다", "reached by a link"))
    if not is_regular(path):
        raise corrupt(path, say("파일이 없거나 보통 파일이 아닙니다", "missing, or not a regular file"))
    return path


def _readable(path: Path, read: Callable[[Path], T]) -> T:
    """Return what ``read`` makes of a file."""
    try:
        return read(path)
    except OSError as error:
        raise corrupt(path, say("읽을 수 없습니다", "cannot be read")) from error


def corrupt(path: Path, what: str) -> CorruptArtifactError:
    """Return the error of a damaged file."""
    return CorruptArtifactError(
        say(f"{path}: 손상되었습니다: {what}. 다시 만들어야 합니다.", f"{path}: damaged: {what}; it must be made again")
    )
