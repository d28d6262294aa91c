"""Files and folders that appear whole or not at all, and reading that cannot hang.

A file that the user names as output may take the place of a regular file, as with every tool; never that of a directory, a
pipe or a device. A folder that the user names as output must be new or empty.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from kofid.errors import InputError
from kofid.language import say
from kofid.storage.ownership import own_name


class NotAFileError(OSError):
    """A path names a link, a pipe, a device or a directory where a regular file is expected."""


def is_regular(path: Path) -> bool:
    """Tell whether a path names a regular file, not a link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def read_regular(path: Path, limit: int) -> bytes:
    """Return the first ``limit`` bytes of a regular file; raise NotAFileError for anything else, OSError as ``open`` does.

    It never waits, as opening a pipe would.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise NotAFileError(error.errno, error.strerror, str(path)) from error
        raise
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotAFileError(errno.EINVAL, os.strerror(errno.EINVAL), str(path))
        return file.read(limit)


def refuse_unwritable(path: Path) -> None:
    """Raise InputError when ``path`` names a directory, a pipe or a device, which no output file may replace; or lies in no folder."""
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise InputError(
            say(
                f"{path}: {folder} 폴더가 없습니다. 먼저 만들거나 다른 파일 이름을 주세요.",
                f"{path}: there is no folder {folder}; make it first, or name another file",
            )
        )
    if path.exists() and not path.is_file():
        raise InputError(
            say(
                f"{path}: 보통 파일이 아니므로 덮어쓰지 않습니다. 다른 파일 이름을 주세요.",
                f"{path}: not a regular file, and not replaced; name another file",
            )
        )


def write_file(path: Path, chunks: Iterable[str]) -> None:
    """Write a text file that appears whole or not at all; raises as ``refuse_unwritable``."""
    with _appearing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(chunks)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all; raises as ``refuse_unwritable``."""
    with _appearing(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def _appearing(path: Path) -> Iterator[Path]:
    """Yield a file to write, which then takes the place of ``path`` (or of what that links to)."""
    refuse_unwritable(path)
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    temporary = target.with_name(own_name("part", target.name))
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_folder(path: Path, files: Mapping[str, Iterable[str]]) -> None:
    """Write a new folder of text files, by their relative names; it appears whole or not at all.

    Raises InputError when something is there already.
    """
    if os.path.lexists(path) and not (path.is_dir() and not path.is_symlink() and not any(path.iterdir())):
        raise InputError(
            say(
                f"{path}: 이미 있습니다. 비어 있거나 새 경로를 주세요.",
                f"{path}: is there already; name an empty or new path",
            )
        )
    temporary = path.with_name(own_name("part", path.name))
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        for name, chunks in files.items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            write_file(temporary / name, chunks)
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def link_file(source: Path, target: Path) -> None:
    """Give a file of the current generation a place in the next one: the same bytes, not a copy where that is possible."""
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
