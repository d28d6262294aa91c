"""Arrays in one file on disk, checked as they are read: a checksum for every 64 KB, verified when first touched.

An index is too big to hash whole at every start, and too precious to read unchecked. ``FILE`` holds the bytes of the
arrays, each at a multiple of 64; ``FILE.toc``, small and hashed like any other file, says what they are and holds the
64-bit XXH3 of each block. An array's type is part of the table, so nothing in the file is ever interpreted as code.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from kofid.errors import CorruptArtifactError
from kofid.language import say
from kofid.storage.files import NotAFileError, is_regular, read_regular

BLOCK = 1 << 16
TOC = ".toc"
_ALIGNMENT = 64
_TOC_SIZE = 1 << 26
_TYPES = {name: np.dtype(name) for name in ("<u1", "<u2", "<u4", "<u8", "<f4")}

Array = npt.NDArray[Any]


class ArrayWriter:
    """Writes named arrays, one after another."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb")
        self._arrays: dict[str, tuple[str, int, int]] = {}
        self._sums: list[int] = []
        self._pending = bytearray()
        self._size = 0

    def add(self, name: str, values: Array) -> None:
        """Write an array."""
        kind = values.dtype.newbyteorder("<").str.replace("|", "<")
        self.begin(name, kind)
        self.extend(values.astype(_TYPES[kind], copy=False).tobytes())

    def begin(self, name: str, kind: str = "<u1") -> None:
        """Begin an array that ``extend`` will fill."""
        self._write(b"\0" * (-self._size % _ALIGNMENT))
        self._arrays[name] = (kind, self._size, 0)

    def extend(self, content: bytes) -> int:
        """Write the next bytes of the array begun last; return how many bytes it has now."""
        name, (kind, start, _) = next(reversed(self._arrays.items()))
        self._write(content)
        self._arrays[name] = (kind, start, self._size - start)
        return self._size - start

    def _write(self, content: bytes) -> None:
        self._file.write(content)
        self._size += len(content)
        self._pending += content
        whole = len(self._pending) // BLOCK * BLOCK
        if whole:
            self._sums += [xxhash.xxh3_64_intdigest(self._pending[i : i + BLOCK]) for i in range(0, whole, BLOCK)]
            del self._pending[:whole]

    def close(self) -> None:
        """Write the table of contents."""
        if self._pending:
            self._sums.append(xxhash.xxh3_64_intdigest(self._pending))
        self._file.close()
        toc = {"arrays": self._arrays, "size": self._size, "sums": self._sums}
        self._path.with_name(self._path.name + TOC).write_text(json.dumps(toc) + "\n", encoding="utf-8")


class ArrayFile:
    """The arrays of a file, mapped into memory. Raises CorruptArtifactError when table and file do not agree."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._table = path.with_name(path.name + TOC)
        try:
            toc = json.loads(read_regular(self._table, _TOC_SIZE))
            self._arrays, self._sums, size = _check_toc(toc)
        except (ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError, NotAFileError) as error:
            raise corrupt_array(self._table) from error
        if not is_regular(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != size:
                raise corrupt_array(path)
            self._bytes: Any = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        self._sound = bytearray(len(self._sums))

    @property
    def names(self) -> list[str]:
        """The arrays' names, in the order they were written."""
        return list(self._arrays)

    def array(self, name: str, kind: str) -> CheckedArray:
        """Return an array that must be of a type; raise CorruptArtifactError when it is of another, or not there."""
        if self._arrays.get(name, ("",))[0] != kind:
            raise corrupt_array(self._table)
        return self[name]

    def __getitem__(self, name: str) -> CheckedArray:
        kind, start, size = self._arrays[name]
        itemsize = _TYPES[kind].itemsize
        return CheckedArray(self, start, np.frombuffer(self._bytes, _TYPES[kind], size // itemsize, start))

    def check(self, start: int, stop: int) -> None:
        """Raise CorruptArtifactError when a block that holds bytes ``start`` to ``stop`` has changed."""
        first, last = start // BLOCK, -(-stop // BLOCK)
        block = self._sound.find(0, first, last)
        while block >= 0:
            content = memoryview(self._bytes)[block * BLOCK : (block + 1) * BLOCK]
            if xxhash.xxh3_64_intdigest(content) != int(self._sums[block]):
                raise corrupt_array(self.path)
            self._sound[block] = 1
            block = self._sound.find(0, block, last)

    def release(self, start: int, stop: int) -> None:
        """Let go of memory that holds bytes ``start`` to ``stop``; reading them again takes them from disk (its cache)."""
        if hasattr(mmap, "MADV_DONTNEED"):
            first = start // BLOCK * BLOCK
            self._bytes.madvise(mmap.MADV_DONTNEED, first, min(-(-stop // BLOCK) * BLOCK, len(self._bytes)) - first)

    def check_all(self) -> None:
        """Raise CorruptArtifactError when any block has changed."""
        self.check(0, len(self._bytes))


def _check_toc(toc: dict[str, Any]) -> tuple[dict[str, tuple[str, int, int]], npt.NDArray[np.uint64], int]:
    """Return the table of contents: arrays, checksums, size; raise ValueError or the like for one that cannot be true."""
    size, sums = toc["size"], toc["sums"]
    if type(size) is not int or size < 0 or len(sums) != -(-size // BLOCK) or any(type(n) is not int for n in sums):
        raise ValueError(size)
    arrays = {}
    for name, (kind, start, length) in toc["arrays"].items():
        itemsize = _TYPES[kind].itemsize
        if type(start) is not int or type(length) is not int or length % itemsize or start % _ALIGNMENT:
            raise ValueError(name)
        if not 0 <= start <= start + length <= size:
            raise ValueError(name)
        arrays[name] = (kind, start, length)
    return arrays, np.array(sums, np.uint64), size


def corrupt_array(path: Path) -> CorruptArtifactError:
    """Return the error of a file, or of its table, that does not hold what was written."""
    return CorruptArtifactError(
        say(
            f"{path}: 손상되었습니다: 검사값이나 내용이 맞지 않습니다. 다시 만들어야 합니다.",
            f"{path}: damaged: checksum or contents do not fit; it must be made again",
        )
    )


class CheckedArray:
    """One array of an ``ArrayFile``; ``read`` returns values once their blocks have proved sound."""

    def __init__(self, file: ArrayFile, start: int, values: Array) -> None:
        self._file = file
        self._start = start
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def read(self, start: int, stop: int) -> Array:
        """Return values ``start`` to ``stop``, a read-only view; raise CorruptArtifactError where there are none such."""
        if not 0 <= start <= stop <= len(self._values):  # places come from other arrays
            raise corrupt_array(self._file.path)
        size = self._values.itemsize
        self._file.check(self._start + start * size, self._start + stop * size)
        return self._values[start:stop]

    def release(self, start: int, stop: int) -> None:
        """Let go of memory that values ``start`` to ``stop`` take."""
        size = self._values.itemsize
        self._file.release(self._start + start * size, self._start + stop * size)

    def all(self) -> Array:
        """Return all values."""
        return self.read(0, len(self))
