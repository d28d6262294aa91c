"""Files as located records: compressed or not, JSON or JSON lines or TSV, each record with its place for errors."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import stat
import sys
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain, count, islice
from pathlib import Path
from typing import IO, Any, NamedTuple

from kofid.errors import InputError
from kofid.korean.text import clean
from kofid.language import say, setting

# A line longer than this is no passage or article; reading it whole would only fill the memory.
MAX_LINE_BYTES = 64 * 2**20
_GIVEN_OPEN = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")
_BROKEN_STREAM = (EOFError, OSError, lzma.LZMAError, zlib.error)


class Record(NamedTuple):
    """One parsed JSON value and where it stood (``FILE:LINE``, or ``FILE`` and its number in an array)."""

    place: str
    value: Any


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


def parse(text: str, source: str, number: int = 1) -> Any:
    """Return the JSON value of ``text``, which begins at line ``number``; raise InputError naming the line."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            say(
                f"{source}:{number + error.lineno - 1}: 올바른 JSON이 아닙니다 ({error.colno}번째 글자: {error.msg})",
                f"{source}:{number + error.lineno - 1}: not valid JSON (character {error.colno}: {error.msg})",
            )
        ) from error
    except RecursionError as error:
        raise InputError(
            say(f"{source}:{number}: JSON이 너무 깊게 겹쳐 있습니다", f"{source}:{number}: JSON is nested too deeply")
        ) from error
    except ValueError as error:  # a number of thousands of digits
        raise InputError(
            say(
                f"{source}:{number}: 읽을 수 없는 수가 있습니다 ({error})",
                f"{source}:{number}: unreadable number ({error})",
            )
        ) from error


def read_records(source: str, encoding: str | None = None, skipped: list[str] | None = None) -> Iterator[Record]:
    """Yield the records of a file; see ``records_of_lines``."""
    return records_of_lines(source, read_lines(source, encoding), skipped)


def records_of_lines(
    source: str, lines: Iterable[tuple[int, str]], skipped: list[str] | None = None
) -> Iterator[Record]:
    """Yield the records of JSON lines, a JSON array, a SQuAD ``data`` array, or a TSV with a header.

    JSON lines and TSV are streamed; a JSON document is read whole. Given a list ``skipped``, a broken line is left
    out and its error appended there instead of raised.
    """
    lines = iter(lines)
    first = next((entry for entry in lines if entry[1].strip()), None)
    if first is None:
        return
    number, line = first
    if "\t" in line and line.lstrip()[0] not in "{[":
        yield from _tsv(source, line.split("\t"), lines, skipped)
    elif _is_whole(line):
        yield from _unwrap(source, number, parse(line, source, number))
        yield from _parse_lines(source, lines, skipped)
    else:
        ahead = list(islice(lines, 2))
        lines = chain([first], ahead, lines)
        if _is_broken_json_lines(ahead):
            yield from _parse_lines(source, lines, skipped)
        else:
            text = "\n".join(line for _, line in lines)
            yield from _unwrap(source, number, parse(text, source, number))


def _is_broken_json_lines(ahead: list[tuple[int, str]]) -> bool:
    """Tell, by the two lines after it, a broken first JSON line from the beginning of a document over several lines.

    Objects whole in themselves follow one another only in JSON lines; in a document a comma or bracket comes between.
    """
    return all(_is_whole(line) for _, line in ahead)


def _parse_lines(source: str, lines: Iterable[tuple[int, str]], skipped: list[str] | None = None) -> Iterator[Record]:
    """Yield a record for each numbered line of JSON that is not blank."""
    for number, line in lines:
        if not line.strip():
            continue
        try:
            record = Record(f"{source}:{number}", parse(line, source, number))
        except InputError as error:
            skip_or_raise(error, skipped)
            continue
        yield record


def skip_or_raise(error: InputError, skipped: list[str] | None) -> None:
    """Note the error where a list is kept for that; raise it otherwise."""
    if skipped is None:
        raise error
    skipped.append(str(error))


def _is_whole(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _unwrap(source: str, number: int, value: Any) -> Iterator[Record]:
    """Yield the entries of a document: a list, SQuAD's ``data``, or a mapping from id to passage."""
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        value = value["data"]
    elif isinstance(value, dict) and value and all(isinstance(v, dict) and "text" in v for v in value.values()):
        value = [{"id": key, **entry} for key, entry in value.items()]
    if isinstance(value, list):
        for index, entry in enumerate(value):
            yield Record(f"{source}[{index}]", entry)
    else:
        yield Record(f"{source}:{number}", value)


def _tsv(
    source: str, header: list[str], lines: Iterator[tuple[int, str]], skipped: list[str] | None
) -> Iterator[Record]:
    """Yield rows of a TSV with a header, as DPR's ``psgs_w100.tsv`` (id, text, title)."""
    csv.field_size_limit(MAX_LINE_BYTES)
    for number, line in lines:
        if not line.strip():
            continue
        cells = next(csv.reader([line], delimiter="\t"))
        if len(cells) != len(header):
            error = InputError(
                say(
                    f"{source}:{number}: 칸이 {len(cells)}개입니다. 머리줄에는 {len(header)}개({', '.join(header)})입니다.",
                    f"{source}:{number}: {len(cells)} columns where the header has {len(header)} ({', '.join(header)})",
                )
            )
            skip_or_raise(error, skipped)
            continue
        yield Record(f"{source}:{number}", dict(zip(header, cells, strict=True)))


def text_field(record: Record, *names: str, required: bool = True) -> str:
    """Return the first of the named fields as clean text; raise InputError naming the record when all are missing."""
    if not isinstance(record.value, dict):
        raise InputError(
            say(
                f"{record.place}: 객체({{...}})가 와야 하는데 {type(record.value).__name__}입니다",
                f"{record.place}: an object is expected, not {type(record.value).__name__}",
            )
        )
    for name in names:
        value = record.value.get(name)
        if isinstance(value, str):
            return clean(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
    if required:
        fields = ", ".join(list(record.value)[:8])
        raise InputError(
            say(
                f"{record.place}: '{names[0]}' 필드(문자열)가 없습니다. 있는 필드: {fields}",
                f"{record.place}: no text field '{names[0]}'; fields there: {fields}",
            )
        )
    return ""


def list_field(record: Record, name: str) -> list[Any]:
    """Return a field that holds a list, empty where it is missing; raise InputError when it is something else."""
    value = record.value.get(name) if isinstance(record.value, dict) else None
    if value is None:
        return []
    if not isinstance(value, list):
        raise InputError(
            say(f"{record.place}: '{name}'은 목록이어야 합니다", f"{record.place}: '{name}' must be a list")
        )
    return value
