"""What proves that kofid wrote a thing: nothing without such a proof is ever removed or replaced.

There are three proofs. What stands only while kofid works has a name that ends in a checksum (``own_name``): the name is
there from the first moment to the last, so a kill leaves nothing that cannot be told. A folder of long work, which people
see and name (checkpoints, shards of vectors), holds a marker (``claim_folder``). A finished generation has a manifest that
lists each of its files (``kofid.storage.generations``).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

from kofid.errors import InputError
from kofid.language import say

MARKER = ".kofid"
_OWN_NAME = re.compile(r"\.([a-z]+)-(.+)-([0-9a-f]{12})", re.DOTALL)


def own_name(purpose: str, name: str) -> str:
    """Return the name under which something called ``name`` is kept while kofid works on it.

    >>> own_name("building", "gen-1"), is_own_name(own_name("building", "gen-1"), "building")
    ('.building-gen-1-7241d54c6b56', True)
    """
    return f".{purpose}-{name}-{_checksum(purpose, name)}"


def is_own_name(name: str, purpose: str) -> bool:
    """Tell whether ``own_name`` gave this name for this purpose."""
    match = _OWN_NAME.fullmatch(name)
    return match is not None and match[1] == purpose and match[3] == _checksum(purpose, match[2])


def _checksum(purpose: str, name: str) -> str:
    return hashlib.sha256(f"kofid {purpose} {name}".encode("utf-8", "surrogateescape")).hexdigest()[:12]


def claim_folder(path: Path) -> None:
    """Make a folder for kofid's use alone, or take one that is empty or was claimed before.

    Raises InputError when it holds anything else. Several processes may claim the same folder at once.
    """
    if os.path.lexists(path) and not (path.is_dir() and (not os.listdir(path) or is_claimed(path))):
        raise InputError(
            say(
                f"{path}: kofid가 만든 것이 아닌 파일이 있습니다. 옮기거나 다른 경로를 주세요.",
                f"{path}: holds files that kofid did not write; move them, or name another path",
            )
        )
    if not is_claimed(path):
        path.mkdir(parents=True, exist_ok=True)
        (path / MARKER).write_text("This folder and all in it is kofid's.\n", encoding="utf-8")


def is_claimed(path: Path) -> bool:
    """Tell whether ``claim_folder`` took this folder."""
    return (path / MARKER).is_file() and not (path / MARKER).is_symlink()


def remove_claimed(path: Path) -> None:
    """Remove a folder that was claimed, as far as the disk lets it go; any other stays as it is.

    The marker goes last, so that a removal cut short can be taken up.
    """
    with suppress(OSError):
        if is_claimed(path):
            for entry in path.iterdir():
                if entry.name != MARKER:
                    _remove(entry)
            (path / MARKER).unlink()
            path.rmdir()


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()
