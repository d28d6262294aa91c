"""The questions that a command was given: words, files or standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kofid.errors import UsageError
from kofid.language import say
from kofid.types import Example, Hit, Question

if TYPE_CHECKING:
    from kofid.retrieval.index import Index

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
    from kofid.formats.question_files import is_question_file, looks_like_missing_file, read_questions
    from kofid.korean.text import clean

    for number, argument in enumerate(arguments, 1):
        if is_question_file(argument) or looks_like_missing_file(argument):
            yield from read_questions(argument, encoding)
        else:
            yield Question(clean(argument).strip(), id=str(number))


def report_hits(results: Iterator[Example], *, output: Path | None, as_json: bool) -> None:
    """Print hits as a table for each question, or as FiD JSON lines, or write them to a file."""
    from kofid.cli import console
    from kofid.formats.fid_json import example_to_json

    if output is not None:
        n = _write_hits(output, results)
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
            console.print_table(_title(example), columns, rows)


def report_explained(index: Index, results: Iterator[Example], *, as_json: bool) -> None:
    """Print hits with what each term of the question gave to them."""
    from kofid.cli import console
    from kofid.formats.fid_json import example_to_json
    from kofid.retrieval.explain import explain

    for example in results:
        found = explain(index, example.corrected or example.question.text, example.hits)
        if console.wants_json(as_json):
            entry = example_to_json(example)
            entry["query"] = found.to_json()
            for number, context in enumerate(entry["ctxs"]):
                context["terms"] = found.shares_to_json(number)
            console.print_json(entry)
            continue
        rows = [[t.text, found.components[t.component], f"{t.weight:g}", f"{df:,}"] for t, df in found.terms]
        columns = [say("말", "term"), say("성분", "component"), say("무게", "weight"), say("패시지", "passages")]
        console.print_table(_title(example), columns, rows)
        for word, reason in found.dropped:
            console.note(say(f"뺌: {word} ({reason})", f"dropped: {word} ({reason})"))
        rows = [
            [
                str(rank),
                f"{hit.score:.2f}",
                hit.passage.id,
                " + ".join(f"{found.name(s)} {s.score:.2f}" for s in shares),
            ]
            for rank, (hit, shares) in enumerate(zip(example.hits, found.hits, strict=True), 1)
        ]
        console.print_table("", ["#", say("점수", "score"), "id", say("어디서 왔나", "where from")], rows)


def _title(example: Example) -> str:
    return f"{example.question.text} → {example.corrected}" if example.corrected else example.question.text


def _write_hits(path: Path, results: Iterator[Example]) -> int:
    """Write a TREC run where the name ends in ``.trec``, else FiD JSON; return the number of questions."""
    from kofid.formats.fid_json import write_examples
    from kofid.formats.trec import run_lines
    from kofid.storage.files import write_file

    if path.suffix != ".trec":
        return write_examples(path, results)
    examples = list(results)
    write_file(path, run_lines(examples))
    return len(examples)


def _row(rank: int, hit: Hit) -> list[str]:
    text = " ".join(hit.passage.text.split())
    return [
        str(rank),
        f"{hit.score:.3f}",
        hit.passage.id,
        hit.passage.title,
        text[:120] + ("…" if len(text) > 120 else ""),
    ]


def evaluate_hits(results: Iterator[Example], as_json: bool, per_question: Path | None = None) -> None:
    """Print the measures of results by gold ids and by answers; raise UsageError when no question has either."""
    from kofid.cli import console
    from kofid.evaluation.metrics import GOLD_MEASURES
    from kofid.evaluation.rankings import ANSWER, judge, mean_measures, write_rankings

    rankings = judge(results)
    if not rankings:
        raise UsageError(
            say(
                "positive_ids나 answers가 있는 질문이 하나도 없어 평가할 수 없습니다",
                "no question has positive_ids or answers, so there is nothing to evaluate",
            )
        )
    if per_question is not None:
        write_rankings(per_question, rankings)
    means = mean_measures(rankings)
    if console.wants_json(as_json):
        console.print_metrics(means, as_json)
        return
    columns = [say("척도 (%)", "measure (%)"), say("정답 패시지로", "by gold passage"), say("답으로", "by answer")]
    rows = [[name, _cell(means.get(name)), _cell(means.get(ANSWER + name))] for name in ("n", *GOLD_MEASURES)]
    console.print_table("", columns, rows)


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{100 * value:.1f}"
