"""Files as located records: JSON or JSON lines or TSV, each record with its place for errors."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any, NamedTuple

from kofid.errors import InputError
from kofid.formats.lines import MAX_LINE_BYTES, read_lines
from kofid.korean.text import clean
from kofid.language import say


class Record(NamedTuple):
    """One parsed JSON value and where it stood (``FILE:LINE``, or ``FILE`` and its number in an array)."""

    place: str
    value: Any


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
