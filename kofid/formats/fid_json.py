"""The FiD/DPR JSON: questions with the passages found for them, in and out."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

from kofid.errors import InputError
from kofid.formats.corpus import context_passage
from kofid.formats.json_shapes import example_to_json, renewed
from kofid.formats.question_files import question_of
from kofid.formats.records import Record, read_records, text_field
from kofid.language import say, setting
from kofid.storage.files import write_file
from kofid.types import Example, Hit


def read_examples(source: str, encoding: str | None = None) -> Iterator[Example]:
    """Yield the examples of a FiD JSON array or JSONL: ``question``, ``answers``, ``target``, ``ctxs``.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "found.json")
    ...     _ = path.write_text('[{"question": "누가 썼나?", "answers": ["이광수"], "ctxs": []}]', encoding="utf-8")
    ...     next(read_examples(str(path))).question.answers
    ('이광수',)
    """
    for record in map(_renewed, read_records(source, encoding)):
        contexts = record.value.get("ctxs") if isinstance(record.value, dict) else None
        if not isinstance(contexts, list):
            index = setting("index", "INDEX")
            raise InputError(
                say(
                    f"{record.place}: 'ctxs' 목록이 없습니다. {index} 로 찾거나, 먼저: kofid retrieve -i INDEX {source} -o FILE",
                    f"{record.place}: no list 'ctxs'; search by {index}, or run: kofid retrieve -i INDEX {source} -o FILE",
                )
            )
        places = (Record(f"{record.place}.ctxs[{i}]", entry) for i, entry in enumerate(contexts))
        hits = tuple(Hit(context_passage(entry), _score(entry), "file") for entry in places)
        target = text_field(record, "target", required=False) or None
        corrected = text_field(record, "corrected", required=False) or None
        yield Example(question_of(record), hits, target, corrected)


def _renewed(record: Record) -> Record:
    return Record(record.place, renewed(record.value)) if isinstance(record.value, dict) else record


def _score(record: Record) -> float:
    try:
        score = float(record.value.get("score") or 0.0)
        if not math.isfinite(score):
            raise ValueError
        return score
    except (TypeError, ValueError) as error:
        raise InputError(
            say(
                f"{record.place}: 'score'가 수가 아닙니다: {record.value['score']!r}",
                f"{record.place}: 'score' is not a number: {record.value['score']!r}",
            )
        ) from error


def write_examples(path: Path, examples: Iterable[Example]) -> int:
    """Write FiD JSON (a JSON array; JSON lines where the name ends in ``.jsonl``) and return the count.

    The file appears whole or not at all.

    >>> import tempfile
    >>> from kofid.types import Question
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_examples(Path(folder, "found.jsonl"), [Example(Question("누가 썼나?", "1"))])
    1
    """
    count = 0

    def entries() -> Iterator[str]:
        nonlocal count
        before, between, after = ("", "\n", "\n") if path.suffix == ".jsonl" else ("[\n", ",\n", "\n]\n")
        for count, example in enumerate(examples, 1):
            yield (before if count == 1 else between) + json.dumps(example_to_json(example), ensure_ascii=False)
        yield after if count else before.strip() + after.strip()

    write_file(path, entries())
    return count
