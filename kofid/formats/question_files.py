"""Questions from files: JSONL, SQuAD/KorQuAD JSON, FiD JSON, CSV, or one question a line."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from kofid.errors import InputError
from kofid.formats import squad
from kofid.formats.json_shapes import has_known_answer, renewed
from kofid.formats.lines import read_lines
from kofid.formats.records import Record, records_of_lines, text_field
from kofid.korean.text import clean
from kofid.language import say
from kofid.types import Question

_SUFFIXES = {".jsonl", ".json", ".txt", ".tsv", ".csv", ".gz", ".xz", ".zst", ".bz2"}


def is_question_file(argument: str) -> bool:
    """Tell whether a command's argument names a file of questions (or ``-``) rather than being a question.

    >>> is_question_file("-"), is_question_file("누가 썼나?")
    (True, False)
    """
    if argument == "-":
        return True
    try:
        path = Path(argument)
        return path.exists() and not path.is_dir()  # what is no regular file is refused when it is opened
    except (OSError, ValueError):  # a long question is no path
        return False


def looks_like_missing_file(argument: str) -> bool:
    """Tell whether an argument was surely meant as a file that is not there.

    >>> looks_like_missing_file("none.jsonl"), looks_like_missing_file("node.js는 무엇인가?")
    (True, False)
    """
    return Path(argument[:200]).suffix in _SUFFIXES and " " not in argument and not is_question_file(argument)


def typed_question(text: str, number: int) -> Question:
    """Return a question as a person typed it, in clean Unicode; its number is its id.

    >>> typed_question(" 누가 썼나? ", 1)
    Question(text='누가 썼나?', id='1', answers=(), positive_ids=())
    """
    return Question(clean(text).strip(), id=str(number))


def read_questions(source: str, encoding: str | None = None) -> Iterator[Question]:
    """Yield questions, in file order. Raises InputError naming file and line.

    A CSV file has a column ``question`` (or 질문). Another file whose first line opens no JSON is plain text, one question
    a line.

    >>> from kofid.storage.bundled import resource
    >>> next(read_questions(str(resource("demo/questions.jsonl")))).answers
    ('전형필',)
    """
    if looks_like_missing_file(source):
        raise InputError(say(f"{source}: 그런 파일이 없습니다", f"{source}: no such file"))
    if Path(source).suffix.lower() == ".csv":
        yield from _csv_questions(source, encoding)
        return
    lines = read_lines(source, encoding)
    first = next((entry for entry in lines if entry[1].strip()), None)
    if first is None:
        return
    lines = chain([first], lines)
    if not first[1].lstrip().startswith(("{", "[")):
        yield from (Question(clean(text).strip(), id=str(n)) for n, text in lines if text.strip())
        return
    paragraphs: defaultdict[str, int] = defaultdict(int)
    for record in records_of_lines(source, lines):
        if squad.is_article(record):
            for passage, entries in squad.paragraphs_of(record, paragraphs):
                yield from (squad.question_of(entry, passage.id) for entry in entries)
        else:
            yield question_of(record)


def _csv_questions(source: str, encoding: str | None) -> Iterator[Question]:
    rows = csv.reader(line + "\n" for _, line in read_lines(source, encoding))
    header = [name.strip().lower() for name in next(rows, [])]
    columns = {name: header.index(name) for name in ("question", "질문", "id", "answer") if name in header}
    column = columns.get("question", columns.get("질문"))
    if column is None:
        raise InputError(
            say(
                f"{source}:1: 'question'(질문) 열이 없습니다. 첫 줄에 열 이름을 적으세요: {', '.join(header)}",
                f"{source}:1: no column 'question'; the first line must name the columns: {', '.join(header)}",
            )
        )
    for number, row in enumerate(rows, 1):
        cells = [clean(cell).strip() for cell in row] + [""] * (len(header) - len(row))
        if cells[column]:
            answer = cells[columns["answer"]] if "answer" in columns else ""
            name = cells[columns["id"]] if "id" in columns else ""
            yield Question(cells[column], name or str(number), (answer,) if answer else ())


def question_of(record: Record) -> Question:
    """Return the question of a JSON object with ``question`` and, where known, ``answers`` and ``positive_ids``."""
    text = text_field(record, "question", "query").strip()
    record = Record(record.place, renewed(record.value))
    answers = answers_of(record)
    positives = _strings(record, "positive_ids") or _strings(record, "positive_id")
    return Question(text, text_field(record, "id", "_id", "guid", required=False), answers, positives)


def answers_of(record: Record) -> tuple[str, ...]:
    """Return the known answers of a JSON object, empty where it has none."""
    known = _strings(record, "answer") if has_known_answer(record.value) else ()
    return _strings(record, "answers") or known or _strings(record, "target")


def _strings(record: Record, name: str) -> tuple[str, ...]:
    value: Any = record.value.get(name)
    if value is None:
        return ()
    if isinstance(value, dict) and "text" in value:  # Hugging Face's SQuAD: {"text": [...], "answer_start": [...]}
        value = value["text"]
    if isinstance(value, (str, int)):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(v, (str, int)) for v in value):
        raise InputError(
            say(
                f"{record.place}: '{name}'은 문자열의 목록이어야 합니다",
                f"{record.place}: '{name}' must be a list of strings",
            )
        )
    return tuple(clean(str(v)) for v in value)
