"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from kofid.errors import InputError
from kofid.language import say


def write_file(path: Path, chunks: Iterable[str]) -> None:
    """Write a text file that appears whole or not at all."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.writelines(chunks)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_folder(path: Path, files: Mapping[str, Iterable[str]]) -> None:
    """Write a new folder of text files, by their relative names; it appears whole or not at all.

    Raises InputError when something is there already.
    """
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise InputError(
            say(
                f"{path}: 이미 있습니다. 비어 있거나 새 경로를 주세요.",
                f"{path}: is there already; name an empty or new path",
            )
        )
    temporary = path.with_name(f".{path.name}.part")
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
