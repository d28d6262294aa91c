"""The conversation: answers, commands in both languages, and interruptions."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from kofid.cli.chat import COMMANDS, Conversation, converse, show
from kofid.errors import UsageError
from kofid.pipeline import Pipeline
from kofid.retrieval.build import build_index
from kofid.retrieval.index import Index
from kofid.types import Answer, Hit, Passage

PASSAGES = [
    Passage("1", "등대", "울릉도 등대는 1954년에 처음 불을 밝혔다."),
    Passage("2", "창고", "대전 창고는 2024년에 지었다."),
    Passage("3", "소풍", "봄 소풍은 4월 12일에 여주로 간다."),
]


class FirstNumber:
    """Answers with the first number of each passage, the surer the better its hit."""

    def read(self, question: str, hits: list[Hit]) -> list[Answer]:
        found = []
        for rank, hit in enumerate(hits):
            start = next((i for i, c in enumerate(hit.passage.text) if c.isdigit()), None)
            if start is not None:
                end = next(i for i in range(start, len(hit.passage.text)) if not hit.passage.text[i].isdigit())
                found.append(Answer(hit.passage.text[start:end], 0.9 / (rank + 1), hit.passage, start, end))
        return found


@pytest.fixture
def talk(tmp_path: Path) -> Callable[..., str]:
    build_index(tmp_path / "kb", PASSAGES)
    index = Index.open(tmp_path / "kb")
    remade: list[tuple[str, str]] = []

    def remake(now: Pipeline, setting: str, value: str) -> Pipeline:
        remade.append((setting, value))
        if value == "모름":
            raise UsageError("그런 것은 없습니다")
        return replace(now)

    out = io.StringIO()
    pipeline = Pipeline(index, FirstNumber(), index.search, 3)
    conversation = Conversation(pipeline, remake, Console(file=out, width=200, highlight=False))

    def say(*lines: str | BaseException) -> str:
        """Return what is printed for some lines; exceptions are raised where a line is waited for."""
        given: Iterator[str | BaseException] = iter(lines)

        def next_line() -> str:
            line = next(given, EOFError())
            if isinstance(line, BaseException):
                raise line
            return line

        start = len(out.getvalue())
        converse(conversation, next_line)
        return out.getvalue()[start:]

    say.conversation, say.remade = conversation, remade  # type: ignore[attr-defined]
    return say


def test_an_answer_comes_first_then_its_evidence(talk: Callable[..., str]) -> None:
    lines = [line for line in talk("울릉도 등대는 언제 불을 밝혔나?").splitlines() if line.strip()]
    assert lines[1].startswith("1954") and "90%" in lines[1]
    assert lines[2].startswith("등대  [1]") and "1954년에" in lines[3] and lines[-1].endswith("초")


def test_commands_in_both_languages(talk: Callable[..., str], tmp_path: Path) -> None:
    file = tmp_path / "답.jsonl"
    said = talk(
        "/왜",
        "울릉도 등대?",
        "/근거 2",
        "/설명",
        "/why",
        f"/저장 {file}",
        "/k 2",
        "/mode sparse",
        "/리더 t5",
        "/끝",
        "남음?",
    )
    assert "아직" in said and "남음" not in said
    conversation, remade = talk.conversation, talk.remade  # type: ignore[attr-defined]
    assert conversation.n_evidence == 2 and conversation.pipeline.k == 2
    assert remade == [("mode", "sparse"), ("reader", "t5")]
    assert "울릉도" in said and "1. 1954" in said
    (saved,) = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert saved["answer"] == "1954" and saved["ctxs"][0]["id"] == "1"


@pytest.mark.parametrize("line", ["/k", "/개수 0", "/근거 여럿", "/reader 모름", "/저장", "/save /없는/곳/파일", "/왜"])
def test_a_mistake_is_said_and_the_conversation_goes_on(talk: Callable[..., str], line: str) -> None:
    said = talk(line, "울릉도 등대?")
    assert "1954" in said and len(said.splitlines()) > 4


def test_ctrl_c_drops_the_line_and_help_names_every_command(talk: Callable[..., str]) -> None:
    said = talk(KeyboardInterrupt(), "", "   ", "/도움", "울릉도 등대?")
    assert "1954" in said
    for spellings in COMMANDS.values():
        assert all(f"/{spelling}" in said for spelling in spellings)


def test_ctrl_c_stops_an_answer_not_the_program(talk: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    read = FirstNumber.read

    def interrupted(self: FirstNumber, question: str, hits: list[Hit]) -> list[Answer]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise KeyboardInterrupt
        return read(self, question, hits)

    monkeypatch.setattr(FirstNumber, "read", interrupted)
    assert talk("울릉도 등대?", "울릉도 등대?").count("1954") == 2  # the answer and its evidence, once


def test_wide_letters_are_not_cut(talk: Callable[..., str]) -> None:
    talk.conversation.console = Console(file=(out := io.StringIO()), width=24, highlight=False)  # type: ignore[attr-defined]
    talk("울릉도 등대?")
    from rich.cells import cell_len

    assert all(cell_len(line) <= 24 for line in out.getvalue().splitlines())
    assert "울릉도" in out.getvalue()


def test_an_unknown_word_is_said_in_one_line_with_the_nearest(talk: Callable[..., str]) -> None:
    greeting = len(talk().splitlines())
    for word, nearest in (("근커", "/근거"), ("evidense", "/evidence"), ("설멍", "/설명"), ("zzzz", "/도움")):
        lines = talk(f"/{word}").splitlines()[greeting:]
        assert len(lines) == 1 and f"/{word}: 모르는 명령입니다. {nearest}" in lines[0]


def test_long_passages_are_cut_around_what_matters(talk: Callable[..., str]) -> None:
    from kofid.cli.chat import _excerpt, _marked

    text = "가나다라. " * 300 + "답은 여기. " + "마바사아. " * 300
    sentence = (text.index("답은"), text.index("답은") + 6)
    shown = _marked(text, sentence, (sentence[0], sentence[0] + 1), full=False, styled=False).plain
    assert shown.startswith("… ") and shown.endswith(" …") and "»답은 여기.«" in shown and len(shown) < 620
    assert _marked(text, sentence, None, full=True, styled=True).plain == text
    assert _excerpt(600, (0, 5)) == (0, 600) and _excerpt(2_000, (1_990, 2_000)) == (1_400, 2_000)
    assert _excerpt(2_000, (100, 1_900)) == (100, 1_900)  # a long sentence stays whole


def test_nothing_in_a_passage_is_obeyed(tmp_path: Path) -> None:
    passage = Passage(
        "1", "[red]제목[/home]\x1b[31m", "답은 [conceal]1954[/conceal]\u202e년\x9b1m이다. [link=x]여기[/link]"
    )
    hits = [Hit(passage, 1.0)]
    build_index(tmp_path / "kb", [Passage("1", "제목", "답은 1954년이다.")])
    pipeline = Pipeline(Index.open(tmp_path / "kb"), FirstNumber(), lambda _question, _k: hits, correct=False)
    out = io.StringIO()
    console = Console(file=out, width=200, highlight=False)
    show(pipeline, pipeline.ask("답은 [bold]?"), console=console)
    shown = out.getvalue()
    for written in ("[red]제목[/home]\\x1b[31m", "[conceal]1954[/conceal]\\u202e", "\\x9b1m", "[link=x]여기[/link]"):
        assert written in shown.replace("»", "").replace("«", ""), written
    assert not set(shown) & set("\x1b\x9b\u202e")
