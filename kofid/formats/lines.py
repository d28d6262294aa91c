"""Files as lines or bytes: compressed or not, in UTF-8 or another encoding, each error with its place."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import sys
import zlib
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import IO, Any

from kofid.errors import InputError
from kofid.language import say, setting

# A line longer than this is no passage or article; reading it whole would only fill the memory.
MAX_LINE_BYTES = 64 * 2**20
_GIVEN_OPEN = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")
_BROKEN_STREAM = (EOFError, OSError, lzma.LZMAError, zlib.error)


def open_bytes(source: str) -> Any:
    """Open a file for reading bytes, or standard input for ``-``; gzip, xz, bzip2 and zstd are told by their first bytes.

    Raises InputError when the file cannot be opened.
    """
    try:
        if source != "-" and not _can_be_read(source):
            raise InputError(
                say(
                    f"{source}: 보통 파일이 아닙니다 (파이프나 장치). 표준입력은 - 로 주세요.",
                    f"{source}: not a regular file (a pipe or a device); give standard input as -",
                )
            )
        buffered: Any = sys.stdin.buffer if source == "-" else Path(source).open("rb")  # noqa: SIM115
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            say(f"{source}: 열 수 없습니다 ({reason})", f"{source}: cannot be opened ({reason})")
        ) from error
    try:
        head = buffered.peek(6)[:6]
    except OSError as error:
        raise InputError(say(f"{source}: 읽을 수 없습니다 ({error})", f"{source}: cannot be read ({error})")) from error
    if head.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=buffered)
    if head.startswith(b"\xfd7zXZ\x00"):
        return lzma.open(buffered)
    if head.startswith(b"BZh"):
        return bz2.open(buffered)
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return _open_zstd(buffered)
    return buffered


def _can_be_read(source: str) -> bool:
    """Tell a regular file, or a pipe that this process was given open, from what may never end or never begin.

    ``/dev/stdin`` and a shell's ``<(command)``, ``/dev/fd/63``, are such pipes. A folder is refused by its own error.
    """
    mode = os.stat(source).st_mode
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode) or (stat.S_ISFIFO(mode) and source.startswith(_GIVEN_OPEN))


def _open_zstd(buffered: Any) -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd.ZstdFile(buffered)


def read_lines(source: str, encoding: str | None = None) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its end). UTF-8 unless ``encoding`` says otherwise.

    Raises InputError with the byte offset and a guess when the bytes are not in the encoding.
    """
    with open_bytes(source) as stream:
        if encoding and encoding.lower().replace("_", "-") not in ("utf-8", "utf8", "utf-8-sig"):
            yield from _decoded_lines(source, stream, encoding)
            return
        offset = 0
        for number, line in enumerate(_byte_lines(source, stream), 1):
            if number == 1:
                _refuse_utf16(source, line)
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise _wrong_encoding(source, number, offset + error.start, line) from error
            offset += len(line)
            yield number, text.rstrip("\r\n")


def _broken_stream() -> tuple[type[Exception], ...]:
    """Return what reading a damaged file may raise."""
    zstd = sys.modules.get("compression.zstd") or sys.modules.get("backports.zstd")
    return (*_BROKEN_STREAM, zstd.ZstdError) if zstd else _BROKEN_STREAM


def _unreadable(source: str, number: int, error: Exception) -> InputError:
    return InputError(
        say(
            f"{source}:{number}: 압축이 깨졌거나 읽을 수 없습니다 ({error})",
            f"{source}:{number}: damaged or unreadable ({error})",
        )
    )


def _too_long(source: str, number: int) -> InputError:
    return InputError(
        say(
            f"{source}:{number}: 한 줄이 {MAX_LINE_BYTES >> 20} MiB를 넘습니다. 줄을 나누세요.",
            f"{source}:{number}: a line is over {MAX_LINE_BYTES >> 20} MiB; split it",
        )
    )


def _byte_lines(source: str, stream: IO[bytes]) -> Iterator[bytes]:
    for number in count(1):
        try:
            line = stream.readline(MAX_LINE_BYTES)
        except _broken_stream() as error:
            raise _unreadable(source, number, error) from error
        if not line:
            return
        if len(line) == MAX_LINE_BYTES:
            raise _too_long(source, number)
        yield line


def _decoded_lines(source: str, stream: IO[bytes], encoding: str) -> Iterator[tuple[int, str]]:
    try:
        text = io.TextIOWrapper(stream, encoding=encoding)
    except LookupError as error:
        raise InputError(say(f"모르는 인코딩입니다: {encoding}", f"unknown encoding: {encoding}")) from error
    for number in count(1):
        try:
            line = text.readline(MAX_LINE_BYTES)
        except UnicodeError as error:
            raise InputError(
                say(
                    f"{source}:{number}: {encoding}(으)로 읽을 수 없습니다 ({error})",
                    f"{source}:{number}: not {encoding} ({error})",
                )
            ) from error
        except _broken_stream() as error:
            raise _unreadable(source, number, error) from error
        if not line:
            return
        if len(line) == MAX_LINE_BYTES:
            raise _too_long(source, number)
        yield number, line.rstrip("\r\n")


def _refuse_utf16(source: str, line: bytes) -> None:
    if line.startswith((b"\xff\xfe", b"\xfe\xff")) or line[:64].count(0) > 8:
        remedy = setting("encoding", "utf-16")
        raise InputError(
            say(
                f"{source}:1: 0바이트째: UTF-16으로 보입니다. {remedy} 을 붙이세요.",
                f"{source}:1: byte 0: this looks like UTF-16; add {remedy}",
            )
        )


def _wrong_encoding(source: str, number: int, offset: int, line: bytes) -> InputError:
    try:
        line.decode("cp949")
        remedy = setting("encoding", "cp949")
        korean, english = f"CP949로 보입니다. {remedy} 를 붙이세요.", f"this looks like CP949; add {remedy}"
    except UnicodeDecodeError:
        remedy = setting("encoding")
        korean, english = f"{remedy} 으로 인코딩을 알려 주세요.", f"name the encoding by {remedy}"
    return InputError(
        say(
            f"{source}:{number}: {offset}바이트째: UTF-8이 아닙니다. {korean}",
            f"{source}:{number}: byte {offset}: not UTF-8; {english}",
        )
    )
