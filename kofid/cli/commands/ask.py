"""kofid ask"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kofid.cli import console
from kofid.cli.options.common import Correct, Device, Encoding, Json, Limit, Verify
from kofid.cli.options.reading import Beams, DType, FromPassages, Int8, Temperature, TopP, writing
from kofid.cli.options.search import Mode, chosen_search
from kofid.cli.questions import Questions, given_questions
from kofid.errors import UsageError
from kofid.language import say
from kofid.retrieval.modes import SearchMode

if TYPE_CHECKING:
    from kofid.pipeline import Pipeline
    from kofid.retrieval.index import Index
    from kofid.types import Reader, Search

NEEDS_ARGUMENTS = True
MODES = tuple(SearchMode)
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
kofid ask -i kb"""


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
    reader: Annotated[str, typer.Option(metavar="span|t5|MODEL", help=say("리더", "Reader"))] = "span",
    k: Annotated[int, typer.Option("-k", min=1, help=say("읽을 패시지 수", "Passages to read"))] = 10,
    evidence: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=say("보일 근거 패시지 수 (기본 1, JSON은 5)", "Passages to show as evidence (default 1, in JSON 5)"),
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help=say("보일 답의 수", "Answers to show"))] = 1,
    context_only: Annotated[
        bool,
        typer.Option("--context-only", help=say("답하지 않고 패시지만 보입니다", "Passages only, no answer")),
    ] = False,
    correct: Correct = True,
    mode: Mode = SearchMode.AUTO,
    beams: Beams = 0,
    from_passages: FromPassages = None,
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
    from kofid.cli import chat
    from kofid.pipeline import NoReader, Pipeline
    from kofid.reader.open import open_reader
    from kofid.retrieval.fusion import Fusion

    how = writing(dtype, int8, beams, temperature, top_p, from_passages)
    interactive = not questions and sys.stdin.isatty()
    asked = [] if interactive else given_questions(questions, encoding, limit)
    opened = _opened(index, corpus, demo, verify)

    def reading(name: str) -> Reader:
        if name != "span":
            console.calm_libraries()
        return open_reader(name, device=device, n_context=k, options=how)

    def searching(name: str) -> Search:
        return chosen_search(opened, SearchMode(name), Fusion(), 200, device)

    pipeline = Pipeline(opened, NoReader() if context_only else reading(reader), searching(mode), k, correct)
    if interactive:
        _converse(pipeline, searching, reading, evidence or 1)
    for question in asked:
        reply = pipeline.ask(question.text)
        if console.wants_json(json_output):
            console.print_json(
                chat.reply_to_json(reply, n_evidence=evidence or (k if context_only else 5), n_answers=top)
            )
        else:
            chat.show(pipeline, reply, n_evidence=evidence or (k if context_only else 1), n_answers=top)


def _opened(index: Path | None, corpus: list[str] | None, demo: bool, verify: bool) -> Index:
    """Return the index to ask; that of a corpus is made or brought up to date first."""
    from kofid.corpora import demo_index
    from kofid.retrieval.index import Index

    if (index is not None) + bool(corpus) + demo != 1:
        raise UsageError(
            say("-i 색인, --corpus 파일, --demo 가운데 하나를 주세요", "give one of -i INDEX, --corpus PATH and --demo")
        )
    if corpus:
        from kofid.corpora import corpus_index

        skipped: list[str] = []
        opened = corpus_index(corpus, progress=console.progress, skipped=skipped, on_wait=console.note)
        for message in skipped:
            console.note(message)
        return opened
    return demo_index(on_wait=console.note) if index is None else Index.open(index, check_hashes=verify)


def _converse(
    pipeline: Pipeline, searching: Callable[[str], Search], reading: Callable[[str], Reader], n_evidence: int
) -> None:
    from platformdirs import user_cache_path
    from rich.console import Console

    from kofid.cli import chat

    def remade(now: Pipeline, setting: str, value: str) -> Pipeline:
        if setting == "reader":
            return replace(now, reader=reading(value))
        if value not in MODES:
            raise UsageError(say(f"'{value}': {', '.join(MODES)} 가운데 하나", f"'{value}': one of {', '.join(MODES)}"))
        return replace(now, search=searching(value))

    conversation = chat.Conversation(pipeline, remade, Console(highlight=False), n_evidence)
    chat.converse(conversation, chat.terminal_lines(user_cache_path("kofid") / "history"))
