"""Answers as people read them, one at a time or in conversation."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

import kofid
from kofid import Hit, Pipeline, Question, Reply
from kofid.cli.console import visible, visible_line
from kofid.errors import InputError, KofidError, UsageError
from kofid.language import say

# Characters of a passage that are shown, around the sentence that matters.
_SHOWN = 600


def reply_to_json(
    pipeline: Pipeline, question: Question, reply: Reply, *, n_evidence: int = 5, n_answers: int = 1
) -> dict[str, Any]:
    """Return a reply as scripts get it; without an answer where the pipeline has no reader."""
    hits = reply.evidence[:n_evidence]
    if not pipeline.has_reader:
        return kofid.example_to_json(kofid.Example(question, tuple(hits), corrected=reply.corrected))
    return kofid.reply_to_json(
        question, reply.answers, hits, sure=reply.sure, corrected=reply.corrected, n_best=n_answers
    )


# --- one answer ----------------------------------------------------------------------------------------------


def show(
    pipeline: Pipeline,
    reply: Reply,
    *,
    n_evidence: int = 1,
    n_answers: int = 1,
    full: bool = False,
    console: Console | None = None,
) -> None:
    """Print the answer, how sure it is, and its evidence with the answer marked; then other answers and the time taken.

    An answer below the threshold is not given as one: the best passage is shown with its likely sentence marked. A long
    passage is cut around it, unless it is to be shown in ``full``.
    """
    console = console or Console(highlight=False, soft_wrap=False)
    if reply.corrected is not None:
        corrected = visible_line(reply.corrected)
        console.print(Text(say(f"이렇게 고쳐 물었습니다: {corrected}", f"asked as: {corrected}"), "dim"))
    if not reply.hits:
        console.print(Text(say("찾은 패시지가 없습니다. 다른 말로 물어보세요.", "No passage found. Try other words.")))
        return
    if pipeline.has_reader:
        _show_answers(reply, n_answers, console)
    for hit in reply.evidence[:n_evidence]:
        _show_evidence(pipeline, reply, hit, full, console)
    console.print(Text(say(f"{reply.seconds:.2f}초", f"{reply.seconds:.2f} s"), "dim"))


def _show_answers(reply: Reply, n_answers: int, console: Console) -> None:
    best = reply.answer
    if best is not None and reply.sure:
        console.print(Text.assemble((visible_line(best.text), "bold green"), f"  ({_sureness(best.confidence)})"))
    else:
        message = say("확실하지 않습니다. 가장 가까운 글을 보입니다.", "Not sure. This is the closest passage.")
        if best is not None:
            guess = f"{visible_line(best.text)} ({_sureness(best.confidence)})"
            message += say(f" 짐작하는 답: {guess}", f" A guess: {guess}")
        console.print(Text(message, "yellow"))
    for other in reply.answers[1:n_answers]:
        console.print(Text(f"  {visible_line(other.text)}  ({_sureness(other.confidence)})"))


def _sureness(confidence: float) -> str:
    return say(f"확신 {confidence:.0%}", f"{confidence:.0%} sure")


def _show_evidence(pipeline: Pipeline, reply: Reply, hit: Hit, full: bool, console: Console) -> None:
    passage, best = hit.passage, reply.answer
    sentence = pipeline.likely_sentence(reply.corrected or reply.question, passage)
    answer: tuple[int, int] | None = None
    if best is not None and best.passage == passage and best.start is not None and best.end is not None:
        answer = best.start, best.end
        sentence = pipeline.sentence_at(passage, best.start)
    styled = console.color_system is not None
    console.print()
    console.print(
        Text.assemble((visible_line(passage.title), "bold"), (f"  [{visible_line(passage.id)}] {hit.score:.2f}", "dim"))
    )
    console.print(Padding(_marked(passage.text, sentence, answer, full, styled), (0, 2)))


def _marked(text: str, sentence: tuple[int, int], answer: tuple[int, int] | None, full: bool, styled: bool) -> Text:
    """Return a passage with its sentence and answer marked: by styles, or the sentence by signs where there are none."""
    first, last = (0, len(text)) if full else _excerpt(len(text), sentence)
    borders = sorted({first, last, *sentence, *(answer or ())})
    marked = Text("… " if first else "")
    for start, end in zip(borders, borders[1:], strict=False):
        if not first <= start < end <= last:
            continue
        within = sentence[0] <= start < sentence[1]
        styles = ["underline"] * within + ["bold reverse"] * (answer is not None and answer[0] <= start < answer[1])
        signs = ("»" * (start == sentence[0]), "«" * (end == sentence[1])) if within and not styled else ("", "")
        marked.append(signs[0] + visible(text[start:end]) + signs[1], " ".join(styles) if styled else None)
    return marked.append(" …") if last < len(text) else marked


def _excerpt(length: int, sentence: tuple[int, int]) -> tuple[int, int]:
    """Return the part of a passage to show: the whole of a short one, else what is around a sentence."""
    if length <= _SHOWN:
        return 0, length
    spare = max(0, _SHOWN - (sentence[1] - sentence[0]))
    start = max(0, min(sentence[0] - spare // 2, length - _SHOWN))
    return start, min(length, max(start + _SHOWN, sentence[1]))


# --- conversation --------------------------------------------------------------------------------------------


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
    full: bool = False
    last: Reply | None = None

    def hear(self, line: str) -> bool:
        """Answer a question or do what a command says; return False when it is to end."""
        line = line.strip()
        if not line:
            return True
        if not line.startswith("/"):
            self.last = self.pipeline.ask(line)
            self._show(self.last)
            return True
        word, _, argument = line[1:].partition(" ")
        command = next((name for name, spellings in COMMANDS.items() if word in spellings), None)
        if command == "quit":
            return False
        try:
            if command is None:
                raise _unknown(word)
            getattr(self, f"_{command}")(argument.strip())
        except KofidError as error:
            self._say(str(error), "red")
        return True

    def _say(self, message: str, style: str = "") -> None:
        self.console.print(Text(visible(message), style))

    def _show(self, reply: Reply) -> None:
        show(self.pipeline, reply, n_evidence=self.n_evidence, full=self.full, console=self.console)

    def _help(self, _: str) -> None:
        for name, spellings in COMMANDS.items():
            self.console.print(Text.assemble(("/" + " /".join(spellings), "bold"), f"  {_explained(name)}"))

    def _k(self, argument: str) -> None:
        self.pipeline = replace(self.pipeline, k=_number(argument))
        self._say(say(f"패시지 {self.pipeline.k}개를 읽습니다", f"reading {self.pipeline.k} passages"))

    def _evidence(self, argument: str) -> None:
        self.n_evidence = _number(argument)
        if self.last is not None:
            self._show(self.last)

    def _mode(self, argument: str) -> None:
        self.pipeline = self.remade(self.pipeline, "mode", argument)
        self._say(say(f"찾는 방법: {argument}", f"mode: {argument}"))

    def _reader(self, argument: str) -> None:
        self.pipeline = self.remade(self.pipeline, "reader", argument)
        self._say(say(f"리더: {argument}", f"reader: {argument}"))

    def _why(self, _: str) -> None:
        """Show which terms of the last question found the passages, and how much each scored."""
        reply = self._replied()
        question = reply.corrected or reply.question
        hits = self.pipeline.index.search(question, max(self.n_evidence, 3))
        explanation = self.pipeline.explain(question, hits)
        for word, reason in explanation.dropped:
            self._say(say(f"뺌: {word} ({reason})", f"dropped: {word} ({reason})"), "dim")
        for hit, shares in zip(hits, explanation.hits, strict=True):
            terms = " + ".join(f"{explanation.name(share)} {share.score:.2f}" for share in shares)
            place = visible_line(f"{hit.passage.title} [{hit.passage.id}]")
            self.console.print(Text.assemble((f"{place} ", "bold"), f"{hit.score:.2f}"))
            self.console.print(Padding(Text(visible(terms)), (0, 2)))

    def _explain(self, _: str) -> None:
        """Show the answers considered, and how sure each is."""
        reply = self._replied()
        for rank, answer in enumerate(reply.answers, 1):
            where = f"  {answer.passage.title} [{answer.passage.id}]" if answer.passage else ""
            self._say(visible_line(f"{rank}. {answer.text}  ({_sureness(answer.confidence)}){where}"))

    def _save(self, argument: str) -> None:
        """Write the last answer with its evidence as a JSON line at the end of a file."""
        if not argument:
            raise UsageError(say("/저장 파일이름", "/save FILE"))
        reply = self._replied()
        row = reply_to_json(self.pipeline, Question(reply.question), reply)
        try:
            kofid.refuse_unwritable(Path(argument))
            with Path(argument).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        except OSError as error:
            raise InputError(f"{argument}: {error.strerror}") from error
        self._say(say(f"{argument}에 적었습니다", f"written to {argument}"))

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
        "reader": say("joint|span|t5|디렉터리: 리더", "joint|span|t5|DIRECTORY: the reader"),
        "evidence": say("N: 근거 패시지 N개를 보입니다", "N: show N passages as evidence"),
        "why": say("어느 말이 그 패시지를 찾았는지", "which terms found the passages"),
        "explain": say("견준 답들과 확신", "the answers weighed, and how sure each is"),
        "save": say("파일: 마지막 답을 JSON 한 줄로 적습니다", "FILE: add the last answer as a JSON line"),
        "help": say("이 도움말", "this help"),
        "quit": say("끝냅니다 (Ctrl-D)", "end (Ctrl-D)"),
    }[name]


def _unknown(word: str) -> UsageError:
    """Return what to say of a word that is no command, with the one that is nearest, jamo by jamo."""
    spellings = {unicodedata.normalize("NFD", s): s for known in COMMANDS.values() for s in known}
    nearest = get_close_matches(unicodedata.normalize("NFD", word), spellings, n=1)
    names = [f"/{spellings[nearest[0]]}"] if nearest else []
    names.append(say("/도움", "/help"))
    offered = say("나 ", " or ").join(dict.fromkeys(names))
    return UsageError(say(f"/{word}: 모르는 명령입니다. {offered}?", f"/{word}: no such command; {offered}?"))


def _number(argument: str) -> int:
    if not argument.isdecimal() or not int(argument):
        raise UsageError(say(f"'{argument}': 1 이상의 수를 쓰세요", f"'{argument}': give a number of 1 or more"))
    return int(argument)


def converse(conversation: Conversation, lines: Callable[[], str]) -> None:
    """Hear lines until their end or /quit. Ctrl-C drops the line or the answer, not the program."""
    console = conversation.console
    n = len(conversation.pipeline.index)
    console.print(Text(say(f"패시지 {n:,}개. 질문을 쓰세요. /도움, /끝", f"{n:,} passages. Ask. /help, /quit")))
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
