"""Options that several commands take; the same flag means the same everywhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import kofid
from kofid.errors import UsageError
from kofid.language import say

if TYPE_CHECKING:
    from kofid import Question


def writable(path: Path | None) -> Path | None:
    """Return an output file as it is; refuse it before the work when it could not be written after it."""
    if path is not None:
        kofid.refuse_unwritable(path)
    return path


Questions = Annotated[
    list[str] | None,
    typer.Argument(
        help=say(
            "질문, 또는 질문 파일 (JSONL, KorQuAD, CSV, 한 줄에 하나), 또는 - (표준입력)",
            "Questions, or files of them (JSONL, KorQuAD, CSV, one a line), or - (standard input)",
        )
    ),
]

IndexPath = Annotated[
    Path, typer.Option("--index", "-i", metavar="INDEX", help=say("색인 디렉터리", "Index directory"))
]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help=say("만들 디렉터리", "Directory to make"))]
OutputFile = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        callback=writable,
        help=say(
            "결과를 이 파일에 (FiD JSON; .jsonl이면 JSON Lines, .trec이면 TREC run)",
            "Write FiD JSON here (JSON lines for .jsonl, a TREC run for .trec)",
        ),
    ),
]
PerQuestion = Annotated[
    Path | None,
    typer.Option(
        "--per-question",
        metavar="FILE.jsonl",
        callback=writable,
        help=say(
            "--eval에서 질문마다의 척도와 순위를 이 파일에 (kofid compare가 읽습니다)",
            "With --eval, write each question's measures and ranks here (for kofid compare)",
        ),
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help=say("JSON으로 출력 (파이프에서는 늘 그렇습니다)", "Print JSON (always in a pipe)")),
]
OptionalIndex = Annotated[
    Path | None,
    typer.Option("--index", "-i", metavar="INDEX", help=say("패시지를 찾을 색인", "Index to find passages in")),
]
Evaluate = Annotated[bool, typer.Option("--eval", help=say("hit@k와 MRR을 잽니다", "Measure hit@k and MRR"))]
Full = Annotated[bool, typer.Option("--full", help=say("긴 패시지도 자르지 않고 보입니다", "Show long passages whole"))]
K = Annotated[int, typer.Option("-k", min=1, help=say("찾을 패시지 수", "Passages to find"))]
Encoding = Annotated[
    str | None, typer.Option(metavar="NAME", help=say("글자 인코딩 (기본 UTF-8; cp949, utf-16 ...)", "Text encoding"))
]
Device = Annotated[str, typer.Option(metavar="auto|cpu|cuda", help=say("계산 장치", "Where to compute"))]
Limit = Annotated[int | None, typer.Option(min=1, metavar="N", help=say("처음 N개만", "Only the first N"))]
Verify = Annotated[
    bool, typer.Option("--verify/--no-verify", help=say("열 때 SHA-256도 확인", "Also check SHA-256 on opening"))
]
Correct = Annotated[
    bool,
    typer.Option(
        "--correct/--no-correct",
        help=say("오타와 띄어쓰기를 고쳐 찾습니다", "Set misspelled and wrongly spaced questions right"),
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help=say("멈춘 훈련을 이어서 합니다", "Go on with an interrupted run"))
]
Epochs = Annotated[float, typer.Option(min=0.0, help=say("훈련 자료를 도는 횟수", "Passes over the data"))]
MaxSteps = Annotated[
    int, typer.Option(metavar="N", help=say("걸음 수 (-1: --epochs를 따름)", "Steps (-1: by --epochs)"))
]
BatchSize = Annotated[int, typer.Option(min=1, help=say("한 걸음에 배우는 질문 수", "Questions a step"))]
LearningRate = Annotated[float, typer.Option("--lr", min=0.0, help=say("학습률", "Learning rate"))]
SaveSteps = Annotated[int, typer.Option(min=1, help=say("검사점을 남기는 간격(걸음)", "Steps between checkpoints"))]
Seed = Annotated[int, typer.Option(help=say("난수 씨앗", "Random seed"))]
Bf16 = Annotated[bool, typer.Option("--bf16", help=say("bfloat16으로 계산", "Compute in bfloat16"))]
NContext = Annotated[
    int, typer.Option("--n-context", min=1, help=say("리더가 읽는 패시지 수", "Passages that a reader reads"))
]


def questions_of(arguments: Sequence[str] | None, encoding: str | None, limit: int | None) -> Iterable[Question]:
    """Return the questions that a command's arguments name; those of standard input when there are none.

    Standard input is read as it comes; everything else is read first, so that a bad line is said before any answer.
    """
    if not arguments and sys.stdin.isatty():
        raise UsageError(say("질문이나 질문 파일을 주세요", "give a question or a file of questions"))
    arguments = arguments or ["-"]
    parts = [_questions(number, argument, encoding) for number, argument in enumerate(arguments, 1)]
    questions = islice(chain.from_iterable(parts), limit)
    return questions if "-" in arguments else list(questions)


def _questions(number: int, argument: str, encoding: str | None) -> Iterable[Question]:
    if argument == "-":
        return kofid.read_questions(argument, encoding)
    if kofid.is_question_file(argument) or kofid.looks_like_missing_file(argument):
        return list(kofid.read_questions(argument, encoding))
    return [kofid.typed_question(argument, number)]
