"""Answers as people read them, one at a time or in conversation."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from kofid.language import say
from kofid.pipeline import Pipeline, Reply
from kofid.types import Hit


def reply_to_json(reply: Reply, *, n_evidence: int = 5) -> dict[str, Any]:
    """Return a reply for scripts: ``question``, ``answer``, ``score`` in [0, 1], ``sure``, ``evidence``.

    ``corrected`` is there when the question was misspelled.
    """
    best = reply.answer
    return {
        "question": reply.question,
        **({} if reply.corrected is None else {"corrected": reply.corrected}),
        "answer": best.text if best else "",
        "score": round(best.confidence, 4) if best else 0.0,
        "sure": reply.sure,
        "evidence": [
            {"id": h.passage.id, "title": h.passage.title, "text": h.passage.text, "score": round(h.score, 4)}
            for h in reply.evidence[:n_evidence]
        ],
    }


def show(pipeline: Pipeline, reply: Reply, *, n_evidence: int = 1, console: Console | None = None) -> None:
    """Print the answer, how sure it is, and its evidence with the answer marked.

    An answer below the threshold is not given as one: the best passage is shown with its likely sentence marked.
    """
    console = console or Console(highlight=False, soft_wrap=False)
    best = reply.answer
    if reply.corrected is not None:
        console.print(Text(say(f"이렇게 고쳐 물었습니다: {reply.corrected}", f"asked as: {reply.corrected}"), "dim"))
    if not reply.hits:
        console.print(say("찾은 패시지가 없습니다. 다른 말로 물어보세요.", "No passage found. Try other words."))
        return
    if best is not None and reply.sure:
        console.print(Text.assemble((best.text, "bold green"), f"  ({_sureness(best.confidence)})"))
    else:
        guess = (
            say(
                f" 짐작하는 답: {best.text} ({_sureness(best.confidence)})",
                f" A guess: {best.text} ({_sureness(best.confidence)})",
            )
            if best
            else ""
        )
        console.print(
            Text(
                say("확실하지 않습니다. 가장 가까운 글을 보입니다.", "Not sure. This is the closest passage.") + guess,
                "yellow",
            )
        )
    for hit in reply.evidence[:n_evidence]:
        _show_evidence(pipeline, reply, hit, console)


def _sureness(confidence: float) -> str:
    return say(f"확신 {confidence:.0%}", f"{confidence:.0%} sure")


def _show_evidence(pipeline: Pipeline, reply: Reply, hit: Hit, console: Console) -> None:
    passage = hit.passage
    best = reply.answer
    text = Text(passage.text)
    start, end = pipeline.likely_sentence(reply.corrected or reply.question, passage)
    if best is not None and best.passage == passage and best.start is not None and best.end is not None:
        text.stylize("bold reverse", best.start, best.end)
        start, end = pipeline.sentence_at(passage, best.start)
    text.stylize("underline", start, end)
    if console.color_system is None:  # a terminal without styles: mark the sentence by signs
        text = Text(passage.text[:start] + "»" + passage.text[start:end] + "«" + passage.text[end:])
    console.print()
    console.print(Text.assemble((passage.title, "bold"), (f"  [{passage.id}]", "dim")))
    console.print(Padding(text, (0, 2)))


def converse(pipeline: Pipeline, *, n_evidence: int = 1) -> None:
    """Ask for questions until the end of input or /quit, and answer them. Ctrl-C drops the line, not the program."""
    import contextlib

    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  # gives input() history and line editing

    console = Console(highlight=False)
    hint = say("질문을 쓰세요. /근거 N, /끝 (Ctrl-D)", "Ask. /evidence N, /quit (Ctrl-D)")
    console.print(say(f"패시지 {len(pipeline.index):,}개. ", f"{len(pipeline.index):,} passages. ") + hint)
    while True:
        try:
            line = input(say("질문> ", "ask> ")).strip()
            if not line:
                continue
            if line.startswith("/"):
                command, _, argument = line[1:].partition(" ")
                if command in ("q", "quit", "exit", "끝", "나가기"):
                    return
                if command in ("evidence", "근거") and argument.isdigit() and int(argument) > 0:
                    n_evidence = int(argument)
                else:
                    console.print(hint)
                continue
            show(pipeline, pipeline.ask(line), n_evidence=n_evidence, console=console)
        except EOFError:
            console.print()
            return
        except KeyboardInterrupt:
            console.print()
