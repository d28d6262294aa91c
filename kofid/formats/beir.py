"""BEIR folders (Thakur et al. 2021, https://github.com/beir-cellar/beir): corpus, queries and relevance.

``corpus.jsonl`` holds ``{"_id", "title", "text"}``, ``queries.jsonl`` ``{"_id", "text", "metadata"}``, and
``qrels/SUBSET.tsv`` the columns ``query-id``, ``corpus-id``, ``score``. BEIR knows no answers: kofid keeps them as
``metadata.answers``.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from kofid.errors import InputError
from kofid.formats.question_files import answers_of
from kofid.formats.records import Record, read_records, text_field
from kofid.language import say, setting
from kofid.types import Passage, Question

SUBSET = "test"
QRELS_COLUMNS = ("query-id", "corpus-id", "score")


def is_beir(path: str) -> bool:
    """Tell whether ``path`` is a folder with BEIR's queries or corpus."""
    return any((Path(path) / name).is_file() for name in ("queries.jsonl", "corpus.jsonl"))


def read_qrels(folder: str, subset: str = SUBSET) -> dict[str, dict[str, int]]:
    """Return the relevance by question and passage of ``qrels/SUBSET.tsv``; raises InputError naming file and line."""
    path = Path(folder) / "qrels" / f"{subset}.tsv"
    if not path.is_file():
        subsets, name = ", ".join(sorted(p.stem for p in path.parent.glob("*.tsv"))) or "-", setting("subset")
        raise InputError(
            say(
                f"{path}: 그런 파일이 없습니다. {name} 으로 고르세요. 있는 것: {subsets}",
                f"{path}: no such file; choose one by {name}; there are: {subsets}",
            )
        )
    qrels: dict[str, dict[str, int]] = {}
    for record in read_records(str(path)):
        question, passage = (text_field(record, name) for name in QRELS_COLUMNS[:2])
        relevance = qrels.setdefault(question, {})
        if passage in relevance:
            raise InputError(
                say(
                    f"{record.place}: 질문 '{question}'에 '{passage}'가 두 번 나옵니다",
                    f"{record.place}: '{passage}' comes twice for question '{question}'",
                )
            )
        relevance[passage] = _relevance(record)
    return qrels


def _relevance(record: Record) -> int:
    cell = text_field(record, QRELS_COLUMNS[2])
    try:
        return int(cell)
    except ValueError as error:
        raise InputError(
            say(f"{record.place}: '{cell}'은(는) 정수가 아닙니다", f"{record.place}: '{cell}' is not a whole number")
        ) from error


def read_questions(folder: str, qrels: Mapping[str, Mapping[str, int]]) -> Iterator[Question]:
    """Yield the questions of ``queries.jsonl`` that ``qrels`` judges, its ids above relevance 0 as gold."""
    for record in read_records(str(Path(folder) / "queries.jsonl")):
        question_id = text_field(record, "_id", "id")
        if question_id in qrels:
            metadata = record.value.get("metadata")
            answers = answers_of(Record(record.place, metadata)) if isinstance(metadata, dict) else ()
            gold = tuple(passage for passage, value in qrels[question_id].items() if value > 0)
            yield Question(text_field(record, "text").strip(), question_id, answers, gold)


def files(
    passages: Iterable[Passage],
    questions: Iterable[Question],
    qrels: Mapping[str, Mapping[str, int]],
    subset: str = SUBSET,
) -> dict[str, Iterator[str]]:
    """Return the files of a BEIR folder, each as its lines; raises InputError for a question without an id."""
    return {
        "corpus.jsonl": (_line({"_id": p.id, "title": p.title, "text": p.text}) for p in passages),
        "queries.jsonl": (_line(_query(question)) for question in questions),
        f"qrels/{subset}.tsv": _qrels_lines(qrels),
    }


def _query(question: Question) -> dict[str, Any]:
    if not question.id:
        raise InputError(say(f"{question.text}: id가 없습니다", f"{question.text}: no id"))
    metadata = {"answers": list(question.answers)} if question.answers else {}
    return {"_id": question.id, "text": question.text, "metadata": metadata}


def _qrels_lines(qrels: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """Yield the lines of a TSV as BEIR's own reader takes them: quoted where an id holds a quote or a tab."""
    rows = ((question, passage, value) for question, judged in qrels.items() for passage, value in judged.items())
    for row in chain([QRELS_COLUMNS], rows):
        line = io.StringIO()
        csv.writer(line, delimiter="\t", lineterminator="\n").writerow(row)
        yield line.getvalue()


def _line(entry: dict[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=False) + "\n"
