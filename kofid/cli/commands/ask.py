"""kofid ask"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import kofid
from kofid.cli import console
from kofid.cli.options.common import Correct, Device, Encoding, Full, Json, Limit, Questions, Verify, questions_of
from kofid.cli.options.groups import takes_groups
from kofid.cli.options.reading import FAST_WINDOWS, READING, SUITED, Fast
from kofid.cli.options.search import Mode
from kofid.errors import UsageError
from kofid.language import say
from kofid.retrieval.modes import SearchMode

if TYPE_CHECKING:
    from kofid import Pipeline

NEEDS_ARGUMENTS = True
HELP = say(
    "묻고 답을 받습니다: 답, 그 답이 있는 패시지, 얼마나 확실한지. 질문 없이 터미널에서 부르면 대화로 이어집니다. --corpus는 색인 없이 파일과 폴더"
    "(txt, md, html, pdf, docx, hwpx, jsonl)에 바로 묻습니다: 색인은 캐시에 두고 바뀐 것만 다시 읽습니다.",
    "Ask and be answered: the answer, the passage it stands in, how sure it is. On a terminal without a question, a "
    "conversation begins. --corpus asks files and folders (txt, md, html, pdf, docx, hwpx, jsonl) with no index step: the "
    "index is kept in the cache, and only what changed is read again.",
)
EXAMPLE = """kofid ask --demo "한산도 대첩은 언제 일어났나?"
kofid ask --corpus resources/demo/passages.jsonl "임진왜란은 언제 일어났나?" --top 3
kofid ask -i kb "임진왜란은 언제 일어났나?" --json
kofid ask -i kb resources/demo/questions.jsonl --limit 3 --top 2
kofid ask -i kb"""


@takes_groups
def run(
    questions: Questions = None,
    index: Annotated[
        Path | None, typer.Option("--index", "-i", metavar="INDEX", help=say("색인 디렉터리", "Index directory"))
    ] = None,
    corpus: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help=say("물을 파일이나 폴더, 여러 번", "Files or folders to ask; repeatable")),
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help=say("함께 온 보기 글에 묻습니다", "Ask the demo corpus"))
    ] = False,
    reader: Annotated[str, typer.Option(metavar="joint|span|t5|MODEL", help=say("리더", "Reader"))] = "joint",
    k: Annotated[
        int | None,
        typer.Option(
            "-k",
            min=1,
            help=say("읽을 패시지 수 (기본 joint 20, 다른 리더 10)", "Passages to read (joint 20, others 10)"),
        ),
    ] = None,
    evidence: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=say("보일 근거 패시지 수 (기본 1, JSON은 5)", "Passages to show as evidence (default 1, in JSON 5)"),
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help=say("보일 답의 수", "Answers to show"))] = 1,
    full: Full = False,
    context_only: Annotated[
        bool,
        typer.Option("--context-only", help=say("답하지 않고 패시지만 보입니다", "Passages only, no answer")),
    ] = False,
    correct: Correct = True,
    mode: Mode = SearchMode.AUTO,
    reading: Annotated[kofid.ReadingOptions, READING] = SUITED,
    fast: Fast = False,
    encoding: Encoding = None,
    limit: Limit = None,
    device: Device = "auto",
    verify: Verify = True,
    json_output: Json = False,
) -> None:
    """Ask."""
    from kofid.cli import chat

    interactive = not questions and sys.stdin.isatty()
    inputs = [] if interactive else questions_of(questions, encoding, limit)
    reading = replace(reading, n_windows=FAST_WINDOWS) if fast else reading
    options = kofid.PipelineOptions(
        reader=None if context_only else reader, mode=mode, k=k, correct=correct, device=device, reading=reading
    )
    pipeline = _open(index, corpus, demo, verify, options)
    as_json = console.wants_json(json_output)
    n_evidence = evidence or (pipeline.k if context_only else 5 if as_json else 1)
    if interactive:
        _converse(pipeline, options, n_evidence, full)
    for question in inputs:
        reply = pipeline.ask(question.text)
        if as_json:
            console.print_json(chat.reply_to_json(pipeline, question, reply, n_evidence=n_evidence, n_answers=top))
        else:
            chat.show(pipeline, reply, n_evidence=n_evidence, n_answers=top, full=full)


def _open(
    index: Path | None, corpus: list[str] | None, demo: bool, verify: bool, options: kofid.PipelineOptions
) -> Pipeline:
    """Open what is to be asked; the index of a corpus is made or brought up to date first."""
    if (index is not None) + bool(corpus) + demo != 1:
        raise UsageError(
            say("-i 색인, --corpus 파일, --demo 가운데 하나를 주세요", "give one of -i INDEX, --corpus PATH and --demo")
        )
    if index is not None:
        return kofid.open(index, verify=verify, **options)
    if demo:
        return kofid.open_demo(on_wait=console.note, **options)
    skipped: list[str] = []
    pipeline = kofid.open_corpus(
        corpus or [], progress=console.progress, skipped=skipped, on_wait=console.note, **options
    )
    for message in skipped:
        console.note(message)
    return pipeline


def _converse(pipeline: Pipeline, options: kofid.PipelineOptions, n_evidence: int, full: bool) -> None:
    from platformdirs import user_cache_path
    from rich.console import Console

    from kofid.cli import chat

    def remade(now: Pipeline, setting: str, value: str) -> Pipeline:
        if setting == "reader":
            reader = kofid.open_reader(value, device=options["device"], n_context=now.k, options=options["reading"])
            return replace(now, reader=reader)
        modes = tuple(SearchMode)
        if value not in modes:
            raise UsageError(say(f"'{value}': {', '.join(modes)} 가운데 하나", f"'{value}': one of {', '.join(modes)}"))
        return replace(now, search=kofid.open_search(now.index, SearchMode(value), device=options["device"]))

    conversation = chat.Conversation(pipeline, remade, Console(highlight=False), n_evidence, full)
    chat.converse(conversation, chat.terminal_lines(user_cache_path("kofid") / "history"))
