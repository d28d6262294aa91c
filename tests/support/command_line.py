"""Commands run in this process, as a user types them, and the demo corpus."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from kofid.cli import app as cli
from kofid.language import set_language

ROOT = Path(__file__).parents[2]


DEMO = ROOT / "resources/demo"


PASSAGES, QUESTIONS = str(DEMO / "passages.jsonl"), str(DEMO / "questions.jsonl")


ASKED = "임진왜란은 언제 일어났나?"


SMALL = [
    {"id": "a", "title": "이순신", "text": "이순신은 1592년에 거북선을 이끌고 싸웠다."},
    {"id": "b", "title": "세종", "text": "세종은 훈민정음을 만들었다."},
    {"id": "c", "title": "한강", "text": "한강은 서울을 지나 서해로 흐른다."},
]


class Result(NamedTuple):
    """What a command left: exit code, standard output and standard error."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def object(self) -> Any:
        (only,) = self.objects
        return only


class Terminal(io.StringIO):
    """Standard output as a person has it."""

    def isatty(self) -> bool:
        return True


def kofid(*arguments: object, stdin: str | bytes = "", terminal: bool = False) -> Result:
    """Run a command in this process, as ``kofid`` does, standard input and output in pipes unless told otherwise."""
    out, err = Terminal() if terminal else io.StringIO(), io.StringIO()
    given = stdin if isinstance(stdin, bytes) else stdin.encode()
    kept = sys.argv, sys.stdin
    sys.argv = ["kofid", *map(str, arguments)]
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(given)), encoding="utf-8")  # type: ignore[type-var]
    set_language("ko")
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
            cli.main()
    finally:
        sys.argv, sys.stdin = kept
        set_language("ko")
    assert "Traceback" not in err.getvalue()
    return Result(int(ended.value.code or 0), out.getvalue(), err.getvalue())


def files_of(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def write_jsonl(path: Path, entries: list[Any]) -> Path:
    path.write_text("".join(json.dumps(e, ensure_ascii=False) + "\n" for e in entries), encoding="utf-8")
    return path


def refuse(code: int, *arguments: object, stdin: str | bytes = "") -> str:
    """Run a command that must end with ``code`` and print nothing to standard output; return its message."""
    found = kofid(*arguments, stdin=stdin)
    assert (found.code, found.out) == (code, ""), found
    assert found.err
    if code != 2:
        assert found.err.startswith("오류: ") and "kofid의 잘못" not in found.err
    return found.err
