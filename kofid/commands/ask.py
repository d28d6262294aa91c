"""kofid ask"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from kofid.commands import console
from kofid.commands.hybrid import Mode, chosen_search
from kofid.commands.options import Correct, Device, Encoding, Json, Limit, Verify
from kofid.commands.questions import Questions, given_questions
from kofid.commands.reading import Beams, DType, Int8, Temperature, TopP, writing
from kofid.errors import UsageError
from kofid.language import say

NEEDS_ARGUMENTS = True
HELP = say(
    "묻고 답을 받습니다: 답, 그 답이 있는 패시지, 얼마나 확실한지. 질문 없이 터미널에서 부르면 대화로 이어집니다.",
    "Ask and be answered: the answer, the passage it stands in, how sure it is. On a terminal without a question, a "
    "conversation begins.",
)
EXAMPLE = """kofid ask --demo "한산도 대첩은 언제 일어났나?"
kofid ask -i kb "임진왜란은 언제 일어났나?" --json
kofid ask -i kb"""


def run(
    questions: Questions = None,
    index: Annotated[
        Path | None, typer.Option("--index", "-i", metavar="INDEX", help=say("색인 디렉터리", "Index directory"))
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help=say("함께 온 보기 글에 묻습니다", "Ask the demo corpus"))
    ] = False,
    reader: Annotated[str, typer.Option(metavar="span|t5|MODEL", help=say("리더", "Reader"))] = "span",
    k: Annotated[int, typer.Option("-k", min=1, help=say("읽을 패시지 수", "Passages to read"))] = 10,
    evidence: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=say("보일 근거 패시지 수 (기본 1, JSON은 5)", "Passages to show as evidence (default 1, in JSON 5)"),
        ),
    ] = None,
    correct: Correct = True,
    mode: Mode = "auto",
    beams: Beams = 1,
    dtype: DType = "auto",
    int8: Int8 = "none",
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    encoding: Encoding = None,
    limit: Limit = None,
    device: Device = "auto",
    verify: Verify = True,
    json_output: Json = False,
) -> None:
    """Ask."""
    from kofid import chat
    from kofid.pipeline import Pipeline, demo_index, open_reader
    from kofid.retrieval.fuse import Fusion
    from kofid.retrieval.index import Index

    if demo == (index is not None):
        raise UsageError(say("-i 색인이나 --demo 가운데 하나를 주세요", "give either -i INDEX or --demo"))
    how = writing(dtype, int8, beams, temperature, top_p)
    interactive = not questions and sys.stdin.isatty()
    asked = [] if interactive else given_questions(questions, encoding, limit)
    opened = demo_index() if index is None else Index.open(index, check_hashes=verify)
    if reader != "span":
        console.calm_libraries()
    pipeline = Pipeline(
        opened,
        open_reader(reader, device=device, n_context=k, writing=how),
        chosen_search(opened, mode, Fusion(), 200, device),
        k,
        correct,
    )
    if interactive:
        chat.converse(pipeline, n_evidence=evidence or 1)
    for question in asked:
        reply = pipeline.ask(question.text)
        if console.wants_json(json_output):
            console.print_json(chat.reply_to_json(reply, n_evidence=evidence or 5))
        else:
            chat.show(pipeline, reply, n_evidence=evidence or 1)
