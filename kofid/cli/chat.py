"""Answers as people read them, one at a time or in conversation."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from kofid.errors import InputError, KofidError, UsageError
from kofid.language import say
from kofid.pipeline import NoReader, Pipeline, Reply
from kofid.storage.files import refuse_unwritable
from kofid.types import Answer, Hit


def reply_to_json(reply: Reply, *, n_evidence: int = 5, n_answers: int = 1) -> dict[str, Any]:
    """Return a reply for scripts: ``question``, ``answer``, ``score`` in [0, 1], ``sure``, ``evidence``.

    ``corrected`` is there when the question was misspelled, ``answers`` when more than one is asked for.
    """
    best = reply.answer
    return {
        "question": reply.question,
        **({} if reply.corrected is None else {"corrected": reply.corrected}),
        "answer": best.text if best else "",
        "score": round(best.confidence, 4) if best else 0.0,
        "sure": reply.sure,
        **({"answers": [_answer_to_json(a) for a in reply.answers[:n_answers]]} if n_answers > 1 else {}),
        "evidence": [
            {"id": h.passage.id, "title": h.passage.title, "text": h.passage.text, "score": round(h.score, 4)}
            for h in reply.evidence[:n_evidence]
        ],
    }


def _answer_to_json(answer: Answer) -> dict[str, Any]:
    passage_id = answer.passage.id if answer.passage else None
    return {"answer": answer.text, "score": round(answer.confidence, 4), "passage": passage_id}


def show(
    pipeline: Pipeline, reply: Reply, *, n_evidence: int = 1, n_answers: int = 1, console: Console | None = None
) -> None:
    """Print the answer, how sure it is, and its evidence with the answer marked; then other answers and the time taken.

    An answer below the threshold is not given as one: the best passage is shown with its likely sentence marked.
    """
    console = console or Console(highlight=False, soft_wrap=False)
    best = reply.answer
    if reply.corrected is not None:
        console.print(Text(say(f"이렇게 고쳐 물었습니다: {reply.corrected}", f"asked as: {reply.corrected}"), "dim"))
    if not reply.hits:
        console.print(say("찾은 패시지가 없습니다. 다른 말로 물어보세요.", "No passage found. Try other words."))
        return
    if isinstance(pipeline.reader, NoReader):
        pass
    elif best is not None and reply.sure:
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
    for other in reply.answers[1:n_answers]:
        console.print(Text(f"  {other.text}  ({_sureness(other.confidence)})"))
    for hit in reply.evidence[:n_evidence]:
        _show_evidence(pipeline, reply, hit, console)
    console.print(Text(say(f"{reply.seconds:.2f}초", f"{reply.seconds:.2f} s"), "dim"))


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
    console.print(Text.assemble((passage.title, "bold"), (f"  [{passage.id}] {hit.score:.2f}", "dim")))
    console.print(Padding(text, (0, 2)))


@dataclass
class Conversation:
    """Questions and commands, line by line; each line's outcome is printed.

    ``remade`` returns the pipeline with another mode or reader, by the name of the setting and its value; what it raises
    (KofidError) is said, and the conversation goes on.
    """

    pipeline: Pipeline
    remade: Callable[[Pipeline, str, str], Pipeline]
    console: Console
    n_evidence: int = 1
    last: Reply | None = None

    def hear(self, line: str) -> bool:
        """Answer a question or do what a command says; return False when it is to end."""
        line = line.strip()
        if not line:
            return True
        if not line.startswith("/"):
            self.last = self.pipeline.ask(line)
            show(self.pipeline, self.last, n_evidence=self.n_evidence, console=self.console)
            return True
        word, _, argument = line[1:].partition(" ")
        command = next((name for name, spellings in COMMANDS.items() if word in spellings), "help")
        if command == "quit":
            return False
        try:
            getattr(self, f"_{command}")(argument.strip())
        except KofidError as error:
            self.console.print(Text(str(error), "red"))
        return True

    def _help(self, _: str) -> None:
        for name, spellings in COMMANDS.items():
            self.console.print(Text.assemble(("/" + " /".join(spellings), "bold"), f"  {_explained(name)}"))

    def _k(self, argument: str) -> None:
        self.pipeline = replace(self.pipeline, k=_number(argument))
        self.console.print(say(f"패시지 {self.pipeline.k}개를 읽습니다", f"reading {self.pipeline.k} passages"))

    def _evidence(self, argument: str) -> None:
        self.n_evidence = _number(argument)
        if self.last is not None:
            show(self.pipeline, self.last, n_evidence=self.n_evidence, console=self.console)

    def _mode(self, argument: str) -> None:
        self.pipeline = self.remade(self.pipeline, "mode", argument)
        self.console.print(say(f"찾는 방법: {argument}", f"mode: {argument}"))

    def _reader(self, argument: str) -> None:
        self.pipeline = self.remade(self.pipeline, "reader", argument)
        self.console.print(say(f"리더: {argument}", f"reader: {argument}"))

    def _why(self, _: str) -> None:
        """Show which terms of the last question found the passages, and how much each scored."""
        from kofid.retrieval.explain import explain

        reply = self._replied()
        hits = self.pipeline.index.search(reply.corrected or reply.question, max(self.n_evidence, 3))
        found = explain(self.pipeline.index, reply.corrected or reply.question, hits)
        for word, reason in found.dropped:
            self.console.print(say(f"뺌: {word} ({reason})", f"dropped: {word} ({reason})"), style="dim")
        for hit, shares in zip(hits, found.hits, strict=True):
            terms = " + ".join(f"{found.name(share)} {share.score:.2f}" for share in shares)
            self.console.print(Text.assemble((f"{hit.passage.title} [{hit.passage.id}] ", "bold"), f"{hit.score:.2f}"))
            self.console.print(Padding(terms, (0, 2)))

    def _explain(self, _: str) -> None:
        """Show the answers considered, and how sure each is."""
        reply = self._replied()
        for rank, answer in enumerate(reply.answers, 1):
            where = f"  {answer.passage.title} [{answer.passage.id}]" if answer.passage else ""
            self.console.print(f"{rank}. {answer.text}  ({_sureness(answer.confidence)}){where}", markup=False)

    def _save(self, argument: str) -> None:
        """Write the last answer with its evidence as a JSON line at the end of a file."""
        if not argument:
            raise UsageError(say("/저장 파일이름", "/save FILE"))
        try:
            refuse_unwritable(Path(argument))
            with Path(argument).open("a", encoding="utf-8") as file:
                file.write(json.dumps(reply_to_json(self._replied()), ensure_ascii=False) + "\n")
        except OSError as error:
            raise InputError(f"{argument}: {error.strerror}") from error
        self.console.print(say(f"{argument}에 적었습니다", f"written to {argument}"))

    def _replied(self) -> Reply:
        if self.last is None:
            raise UsageError(say("아직 물은 것이 없습니다", "nothing was asked yet"))
        return self.last


# By each command's name the words that call it.
COMMANDS = {
    "k": ("k", "개수"),
    "mode": ("mode", "방법"),
    "reader": ("reader", "리더"),
    "evidence": ("evidence", "근거"),
    "why": ("why", "왜"),
    "explain": ("explain", "설명"),
    "save": ("save", "저장"),
    "help": ("help", "도움"),
    "quit": ("quit", "q", "exit", "끝", "나가기"),
}


def _explained(name: str) -> str:
    return {
        "k": say("N: 읽을 패시지 수", "N: passages to read"),
        "mode": say("sparse|dense|sequential|cross: 찾는 방법", "sparse|dense|sequential|cross: how to search"),
        "reader": say("span|t5|디렉터리: 리더", "span|t5|DIRECTORY: the reader"),
        "evidence": say("N: 근거 패시지 N개를 보입니다", "N: show N passages as evidence"),
        "why": say("어느 말이 그 패시지를 찾았는지", "which terms found the passages"),
        "explain": say("견준 답들과 확신", "the answers weighed, and how sure each is"),
        "save": say("파일: 마지막 답을 JSON 한 줄로 적습니다", "FILE: add the last answer as a JSON line"),
        "help": say("이 도움말", "this help"),
        "quit": say("끝냅니다 (Ctrl-D)", "end (Ctrl-D)"),
    }[name]


def _number(argument: str) -> int:
    if not argument.isdecimal() or not int(argument):
        raise UsageError(say(f"'{argument}': 1 이상의 수를 쓰세요", f"'{argument}': give a number of 1 or more"))
    return int(argument)


def converse(conversation: Conversation, lines: Callable[[], str]) -> None:
    """Hear lines until their end or /quit. Ctrl-C drops the line or the answer, not the program."""
    console = conversation.console
    n = len(conversation.pipeline.index)
    console.print(say(f"패시지 {n:,}개. 질문을 쓰세요. /도움, /끝", f"{n:,} passages. Ask. /help, /quit"))
    while True:
        try:
            if not conversation.hear(lines()):
                return
        except EOFError:
            return
        except KeyboardInterrupt:
            console.print()


def terminal_lines(history: Path) -> Callable[[], str]:
    """Return a function that asks for a line on the terminal, with history kept in a file and commands completed."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import WordCompleter
    from prompt_toolkit.history import FileHistory

    history.parent.mkdir(parents=True, exist_ok=True)
    words = [f"/{spelling}" for spellings in COMMANDS.values() for spelling in spellings]
    completer = WordCompleter(words, sentence=True)
    session: PromptSession[str] = PromptSession(history=FileHistory(str(history)), completer=completer)
    return lambda: session.prompt(say("질문> ", "ask> "))
