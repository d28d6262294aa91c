"""Every command of README and the docs, run on the demo corpus in one folder; those of ``--help`` are run by test_cli.py."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator
from importlib import import_module
from itertools import islice
from pathlib import Path

import pytest
from support.command_line import PASSAGES, QUESTIONS, ROOT, Result, kofid
from support.pages import DOCS, PAGES, TWINS, blocks

from kofid.cli.app import COMMANDS

# What the pages call a reader's own files, in both languages, and the names that they have here.
OWN_NAMES = {
    "문서.jsonl": "articles.jsonl",
    "새글.jsonl": "more.jsonl",
    "패시지.jsonl": "passages.jsonl",
    "질문.jsonl": "questions.jsonl",
    "개발질문.jsonl": "dev.jsonl",
    "내글폴더": "notes",
    "찾은것.json": "retrieved.json",
    "훈련.json": "training.json",
    "예측.jsonl": "predictions.jsonl",
    "정답.qrels": "gold.qrels",
    "곡선.csv": "curve.csv",
    "표.md": "table.md",
    "그림.svg": "plot.svg",
    "격자": "grid",
    "변형표": "ablation",
    "폴더": "folder",
}
# Put behind a command's own options, so that it is soon over.
CUT_SHORT = {
    "ask": ["--limit", "3"],
    "evaluate": ["--limit", "3"],
    "train-retriever": ["--max-steps", "1", "--batch-size", "4", "--limit", "24"],
    "train-reranker": ["--max-steps", "1", "--limit", "12"],
    "train-reader": ["--max-steps", "1", "--limit", "30", "--n-context", "2"],
    "distill": ["--max-steps", "1", "--limit", "6", "--n-context", "2"],
    "ablate": ["--max-steps", "1", "--limit", "6", "--n-context", "2"],
}
# Made by worked examples, and needed by commands that are not.
NEEDED = ("kb", "encoder", "reader", "pretrained", "bm25.jsonl", "beir")
OTHER_PROGRAMS = ("python", "python3", "pip", "bash", "torchrun", "ruff", "mypy", "zensical", ".")


def under_own_names(command: str) -> tuple[str, ...]:
    return tuple(OWN_NAMES.get(word, word) for word in shlex.split(command))


def without_names(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return a command with a sign in place of what it reads or writes under a name of the user's choice."""
    own = {*OWN_NAMES.values(), "resources/demo/questions.jsonl", "resources/demo/passages.jsonl"}
    return tuple(
        "*" if word in own or before in ("-o", "--output") else word
        for before, word in zip(("", *words), words, strict=False)
    )


def worked_examples() -> set[tuple[str, ...]]:
    modules = (import_module(f"kofid.cli.commands.{command.replace('-', '_')}") for command in COMMANDS)
    lines = [line for module in modules for line in module.EXAMPLE.splitlines()]
    return {without_names(tuple(shlex.split(line))) for line in lines}


def commands_of_the_docs() -> list[tuple[str, ...]]:
    """Return the commands to run: each once, in the order of the pages."""
    examples, seen = worked_examples(), dict[tuple[str, ...], None]()
    for page in PAGES:
        for block in blocks(page, "bash"):
            if block.runs:
                seen |= dict.fromkeys(map(under_own_names, block.commands))
    return [words for words in seen if without_names(words) not in examples or words[-1] in NEEDED]


def lines_of(file: str, n: int, start: int = 0) -> str:
    with open(file, encoding="utf-8") as lines:
        return "".join(islice(lines, start, start + n))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, ...], Result]]:
    """What every command gave, run one after another in a folder with the files that the pages speak of."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "resources").symlink_to(ROOT / "resources")
    shutil.copy(PASSAGES, folder / "passages.jsonl")
    for name, file, n, start in (
        ("articles.jsonl", PASSAGES, 328, 0),
        ("more.jsonl", PASSAGES, 5, 20),
        ("questions.jsonl", QUESTIONS, 30, 0),
        ("dev.jsonl", QUESTIONS, 6, 30),
    ):
        (folder / name).write_text(lines_of(file, n, start), encoding="utf-8")
    (folder / "notes").mkdir()
    (folder / "notes/등대.txt").write_text("울릉도 등대는 1954년 12월에 처음 불을 켰다.", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setenv("KOFID_CACHE", str(folder / "cache"))
        results = {}
        for words in commands_of_the_docs():
            _, command, *rest = words
            more = ["--limit", "10"] if "--tune" in rest else CUT_SHORT.get(command, [])
            results[words] = kofid(command, *rest, *more)
        yield results


@pytest.mark.parametrize("words", commands_of_the_docs(), ids=shlex.join)
def test_command_runs(ran: dict[tuple[str, ...], Result], words: tuple[str, ...]) -> None:
    assert ran[words].code == 0, ran[words].err
    for line in ran[words].out.splitlines():
        json.loads(line)


def test_row_that_is_shown_is_the_row_that_comes(tmp_path: Path) -> None:
    shown, in_english = (
        json.loads(block.code) for name in ("formats.md", "en/formats.md") for block in blocks(DOCS / name, "json")
    )
    assert in_english == shown
    assert kofid("index", PASSAGES, "-o", tmp_path / "kb").code == 0
    row = kofid("ask", "-i", tmp_path / "kb", shown["question"], "--json").object
    assert list(row) == list(shown) and list(row["ctxs"][0]) == list(shown["ctxs"][0])
    assert {name: row[name] for name in row if name != "ctxs"} == {n: shown[n] for n in shown if n != "ctxs"}


def test_only_kofid_is_run() -> None:
    """Commands of other programs stand in blocks that say why they are not run."""
    assert {words[0] for words in commands_of_the_docs()} == {"kofid"}
    for page in PAGES:
        for block in blocks(page, "bash"):
            assert all(
                command.startswith(("kofid ", *OTHER_PROGRAMS, "KOFID_", "OMP_", "ENGINES="))
                for command in block.commands
            )


@pytest.mark.parametrize("korean", TWINS, ids=lambda page: str(page.relative_to(ROOT)))
def test_both_languages_show_the_same_commands(korean: Path) -> None:
    def shown(page: Path) -> list[list[tuple[str, ...]]]:
        return [
            [
                tuple(word for word in under_own_names(command) if word not in ("--lang", "en"))
                for command in block.commands
            ]
            for block in blocks(page, "bash")
        ]

    known = {"FiD폴더": "FID_FOLDER", "KOFID_DATA=폴더": "KOFID_DATA=folder"}
    ours = [[tuple(known.get(word, word) for word in words) for words in block] for block in shown(korean)]
    assert ours == shown(TWINS[korean])
