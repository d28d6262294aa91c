"""TREC's run and qrels files, as trec_eval reads them (https://github.com/usnistgov/trec_eval).

A run line is ``question Q0 passage rank score tag``, a qrels line ``question iteration passage relevance``, separated
by whitespace. Korean titles in ids hold spaces, which these formats cannot: whitespace and ``%`` in an id are written
as ``%20``, ``%25``, ... (UTF-8, as in URLs) and read back.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

from kofid.errors import InputError
from kofid.formats.lines import read_lines
from kofid.korean.text import clean
from kofid.language import say
from kofid.types import Example, Question

Run = dict[str, list[tuple[str, float]]]  # question id -> (passage id, score), best first
Qrels = dict[str, dict[str, int]]  # question id -> passage or article id -> relevance
RUN_COLUMNS = ("question", "Q0", "passage", "rank", "score", "tag")
QRELS_COLUMNS = ("question", "iteration", "passage", "relevance")


def escape_id(name: str, what: str) -> str:
    """Return an id that has no whitespace; raise InputError naming ``what`` where there is none at all."""
    if not name:
        raise InputError(
            say(f"{what}: id가 없습니다. TREC 파일에는 id가 있어야 합니다.", f"{what}: no id; TREC files need ids")
        )
    return re.sub(r"[\s%]", lambda match: quote(match.group()), name)


def _unescape(name: str) -> str:
    return clean(unquote(name))


def run_lines(examples: Iterable[Example], tag: str = "kofid") -> Iterator[str]:
    """Yield the lines of a run, in the order of the hits.

    trec_eval goes by the scores as float32, not by the ranks: a score that is not below the one before it is written
    as the next lower float32. Raises InputError for a question without an id or with one that came before.
    """
    seen: set[str] = set()
    for example in examples:
        question = escape_id(example.question.id, example.question.text)
        if question in seen:
            raise InputError(say(f"질문 id '{question}'가 두 번 나옵니다", f"question id '{question}' comes twice"))
        seen.add(question)
        before = np.float32(np.inf)
        for rank, hit in enumerate(example.hits, 1):
            score = np.float32(hit.score)
            if not score < before:
                score = np.nextafter(before, np.float32(-np.inf))
            before = score
            yield f"{question} Q0 {escape_id(hit.passage.id, example.question.text)} {rank} {score:.9g} {tag}\n"


def read_run(source: str, encoding: str | None = None) -> Run:
    """Return a run, each question's passages in trec_eval's order: by score, ties by id, both falling; ranks are ignored.

    Raises InputError naming file and line for a malformed line, or a passage that comes twice for a question.
    """
    scores_of: dict[str, dict[str, float]] = {}
    for place, (question, _, passage, _, score, _) in _rows(source, RUN_COLUMNS, encoding):
        _add(scores_of, question, passage, _number(place, score, float), place)
    return {
        question: sorted(scores.items(), key=lambda entry: (np.float32(entry[1]), entry[0]), reverse=True)
        for question, scores in scores_of.items()
    }


def qrels_lines(qrels: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """Yield the lines of a qrels file."""
    for question, relevance in qrels.items():
        for passage, value in relevance.items():
            yield f"{escape_id(question, passage)} 0 {escape_id(passage, question)} {value}\n"


def read_qrels(source: str, encoding: str | None = None) -> Qrels:
    """Return a qrels file's relevance by question and passage; raises InputError naming file and line."""
    qrels: Qrels = {}
    for place, (question, _, passage, relevance) in _rows(source, QRELS_COLUMNS, encoding):
        _add(qrels, question, passage, _number(place, relevance, int), place)
    return qrels


def qrels_of(questions: Iterable[Question]) -> Qrels:
    """Return the qrels of questions with gold ids, each of relevance 1; raises InputError where an id is missing or twice.

    An id that names an article stays as it is: kofid counts any passage of it, other tools do not.
    """
    qrels: Qrels = {}
    for question in questions:
        if question.positive_ids:
            escape_id(question.id, question.text)
            if question.id in qrels:
                raise InputError(
                    say(f"질문 id '{question.id}'가 두 번 나옵니다", f"question id '{question.id}' comes twice")
                )
            qrels[question.id] = dict.fromkeys(question.positive_ids, 1)
    return qrels


def columns_of(line: str) -> str | None:
    """Return ``trec-run`` or ``trec-qrels`` where a line looks like one of these, else None."""
    cells = line.split()
    if len(cells) == len(RUN_COLUMNS) and re.fullmatch(r"-?\d+", cells[3]):
        return "trec-run"
    if len(cells) == len(QRELS_COLUMNS) and re.fullmatch(r"-?\d+", cells[3]):
        return "trec-qrels"
    return None


def _rows(source: str, columns: tuple[str, ...], encoding: str | None) -> Iterator[tuple[str, list[str]]]:
    for number, line in read_lines(source, encoding):
        cells = line.split()
        if not cells:
            continue
        if len(cells) != len(columns):
            names = ", ".join(columns)
            raise InputError(
                say(
                    f"{source}:{number}: 칸이 {len(cells)}개입니다. {len(columns)}개({names})여야 합니다.",
                    f"{source}:{number}: {len(cells)} columns; there must be {len(columns)} ({names})",
                )
            )
        yield f"{source}:{number}", cells


def _add(table: dict[str, dict[str, Any]], question: str, passage: str, value: float, place: str) -> None:
    passages = table.setdefault(_unescape(question), {})
    passage = _unescape(passage)
    if passage in passages:
        raise InputError(
            say(
                f"{place}: 질문 '{question}'에 '{passage}'가 두 번 나옵니다",
                f"{place}: '{passage}' comes twice for question '{question}'",
            )
        )
    passages[passage] = value


def _number(place: str, cell: str, kind: Callable[[str], Any]) -> Any:
    try:
        value = kind(cell)
        if not math.isfinite(value):
            raise ValueError
        return value
    except ValueError as error:
        raise InputError(
            say(f"{place}: '{cell}'은(는) 알맞은 수가 아닙니다", f"{place}: '{cell}' is not a number that fits")
        ) from error
