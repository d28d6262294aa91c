"""The questions that a command was given: words, files or standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from kofid.errors import UsageError
from kofid.language import say
from kofid.types import Example, Hit, Question

Questions = Annotated[
    list[str] | None,
    typer.Argument(
        help=say(
            "질문, 또는 질문 파일 (JSONL, KorQuAD, 한 줄에 하나), 또는 - (표준입력)",
            "Questions, or files of them (JSONL, KorQuAD, one a line), or - (standard input)",
        )
    ),
]


def given_questions(arguments: Sequence[str] | None, encoding: str | None, limit: int | None) -> list[Question]:
    """Return the questions named by a command's arguments; those of standard input when there are none."""
    if not arguments:
        if sys.stdin.isatty():
            raise UsageError(say("질문이나 질문 파일을 주세요", "give a question or a file of questions"))
        arguments = ["-"]
    return list(islice(_all(arguments, encoding), limit))


def _all(arguments: Sequence[str], encoding: str | None) -> Iterator[Question]:
    from kofid.formats.questions import is_question_file, looks_like_missing_file, read_questions
    from kofid.text import clean

    for number, argument in enumerate(arguments, 1):
        if is_question_file(argument) or looks_like_missing_file(argument):
            yield from read_questions(argument, encoding)
        else:
            yield Question(clean(argument).strip(), id=str(number))


def report_hits(results: Iterator[Example], *, output: Path | None, as_json: bool) -> None:
    """Print hits as a table for each question, or as FiD JSON lines, or write them to a file."""
    from kofid.commands import console
    from kofid.formats.fid import example_to_json, write_examples

    if output is not None:
        n = write_examples(output, results)
        console.note(say(f"{output}: 질문 {n:,}개", f"{output}: {n:,} questions"))
        return
    for example in results:
        if console.wants_json(as_json):
            console.print_json(example_to_json(example))
        elif not example.hits:
            console.note(
                say(f"{example.question.text}: 찾은 패시지가 없습니다", f"{example.question.text}: no passage found")
            )
        else:
            columns = ["#", say("점수", "score"), "id", say("제목", "title"), say("본문", "text")]
            rows = [_row(rank, hit) for rank, hit in enumerate(example.hits, 1)]
            console.print_table(example.question.text, columns, rows)


def _row(rank: int, hit: Hit) -> list[str]:
    text = " ".join(hit.passage.text.split())
    return [
        str(rank),
        f"{hit.score:.3f}",
        hit.passage.id,
        hit.passage.title,
        text[:120] + ("…" if len(text) > 120 else ""),
    ]


def evaluate_hits(results: Iterator[Example], as_json: bool) -> None:
    """Print hit@k and MRR of results with known gold passages; raise UsageError when none has any."""
    from kofid.commands import console
    from kofid.metrics import gold_rank, retrieval_metrics

    ranks = [
        gold_rank([hit.passage.id for hit in example.hits], example.question.positive_ids)
        for example in results
        if example.question.positive_ids
    ]
    if not ranks:
        raise UsageError(
            say(
                "positive_ids가 있는 질문이 하나도 없어 평가할 수 없습니다",
                "no question has positive_ids, so there is nothing to evaluate",
            )
        )
    console.print_metrics(retrieval_metrics(ranks), as_json)
