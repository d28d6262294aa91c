"""The pages of the documentation: short where promised, equal in two languages, true to the files and options there are."""

from __future__ import annotations

import doctest
import re
import runpy
import shlex
import sys
from collections import Counter
from pathlib import Path

import pytest
from support.command_line import ROOT
from support.pages import DOCS, PAGES, TWINS, anchor, blocks, headings, mentioned_commands, prose

import kofid
from kofid.cli.app import COMMANDS

README_LINES = 130
_names = {page: str(page.relative_to(ROOT)) for page in PAGES}
page_by_page = pytest.mark.parametrize("page", PAGES, ids=_names.values())
pair_by_pair = pytest.mark.parametrize(("korean", "english"), TWINS.items(), ids=[_names[page] for page in TWINS])


@pytest.mark.parametrize("name", ["README.md", "README.en.md"])
def test_readme_is_read_in_a_minute(name: str) -> None:
    assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= README_LINES


# --- two languages --------------------------------------------------------------------------------------------


@pair_by_pair
def test_both_languages_have_the_same_sections(korean: Path, english: Path) -> None:
    assert [level for level, _ in headings(korean)] == [level for level, _ in headings(english)]


@pair_by_pair
def test_both_languages_have_the_same_code(korean: Path, english: Path) -> None:
    for language in ("bash", "python", "json", "text"):
        assert len(list(blocks(korean, language))) == len(list(blocks(english, language))), language


@pair_by_pair
def test_both_languages_have_the_same_figures(korean: Path, english: Path) -> None:
    def figures(page: Path) -> Counter[str]:
        rows = re.findall(r"^\|.*\|$", prose(page), re.MULTILINE)
        cells = re.sub(r"`[^`]*`|\([^()]*\)\]?\([^)]*\)", "", "\n".join(rows))
        return Counter(re.findall(r"\d+\.\d+", cells))

    assert figures(korean) == figures(english)


@pytest.mark.parametrize("name", ["README.md", "README.en.md"])
def test_figures_of_readme_are_those_of_the_docs(name: str) -> None:
    page = DOCS / ("figures.md" if name == "README.md" else "en/figures.md")
    rows = [row for row in prose(ROOT / name).splitlines() if row.startswith("|") and "figures.md#" in row]
    assert len(rows) == 6
    known = set(re.findall(r"\d+\.\d+", page.read_text(encoding="utf-8")))
    for row in rows:
        assert set(re.findall(r"\d+\.\d+", row.split("|")[2])) <= known, row


# --- links, files, options ------------------------------------------------------------------------------------


@page_by_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"!?\[[^\]]*\]\(([^)\s]+)\)", prose(page)):
        if target.startswith(("http://", "https://")):
            continue
        file, _, name = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        assert path.is_file(), target
        if name:
            assert name in [anchor(text) for _, text in headings(path)], target


@page_by_page
def test_files_that_are_named_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"(?<![\w/.-])((?:kofid|tests|resources|docs)/[A-Za-z0-9_/.-]*[A-Za-z0-9_/])", text))
    assert sorted(path for path in named if not (ROOT / path).exists()) == []


REFERENCE = (DOCS / "en/cli.md").read_text(encoding="utf-8")
# Of pip, torchrun, accelerate, the site's builder and the scripts of resources/benchmarks and docs/_tools.
OTHER_OPTIONS = {
    *("--extra-index-url", "--nproc-per-node", "--cpu", "--num_processes", "--strict", "--json"),
    *("--peers", "--warm", "--kinds", "--runs", "--passages", "--check"),
}


def options_of(command: str) -> set[str]:
    """Return every option of a command as the reference shows them, and those that go with any command."""
    section = re.search(rf"^## kofid {command}\n(.*?)(?=^## |\Z)", REFERENCE, re.MULTILINE | re.DOTALL)
    assert section, command
    options = section[1].partition("Options:")[2].partition("Example:")[0]
    return {
        *re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", options),
        "--help",
        "--lang",
        "--quiet",
        "-q",
        "--config",
        "--version",
    }


@page_by_page
def test_commands_that_are_shown_are_there(page: Path) -> None:
    for shown in mentioned_commands(page):
        words = shlex.split(shown.replace("...", "")) if shown.count('"') % 2 == 0 else shown.split()
        words = words[words.index("kofid") + 1 :]
        command = next((word for word in words if word in COMMANDS), None)
        options = {word.split("=")[0] for word in words if word.startswith("-") and len(word) > 1}
        if command:
            assert options <= options_of(command), shown


@page_by_page
def test_options_that_are_named_are_there(page: Path) -> None:
    known = OTHER_OPTIONS.union(
        *map(options_of, COMMANDS), re.findall(r"--[a-z-]+", REFERENCE.partition("## kofid ask")[0])
    )
    named = re.findall(r"(?<![\w-])--[a-z][a-z0-9_-]*[a-z0-9]", prose(page))
    assert sorted(set(named) - known) == []


# --- what is made by scripts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("script", ["write_cli_reference", "draw_rooms", "write_api_reference"])
def test_what_scripts_make_is_up_to_date(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [script, "--check"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(DOCS / f"_tools/{script}.py"), run_name="__main__")
    assert ended.value.code == 0, capsys.readouterr().out


@pytest.mark.parametrize("name", ["conversation.svg", "conversation.en.svg"])
def test_conversation_is_readable_anywhere(name: str) -> None:
    picture = (DOCS / "assets" / name).read_text(encoding="utf-8")
    assert "한산도" in picture and "1592년" in picture
    assert re.findall(r"(?:https?:)?//[^\s\"']+", picture) == ["http://www.w3.org/2000/svg"]  # nothing is fetched


def test_map_names_a_file_for_each_thing() -> None:
    rows = re.findall(r"^\| (.+?) \| (`kofid/.+) \|$", prose(DOCS / "architecture.md"), re.MULTILINE)
    assert len(rows) >= 50 and len({thing for thing, _ in rows}) == len(rows)


# --- Python ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [DOCS / "python.md", DOCS / "en/python.md"], ids=["ko", "en"])
def test_python_of_the_docs_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "resources").symlink_to(ROOT / "resources")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    code = "\n".join(block.code for block in blocks(page, "python") if block.runs)
    example = doctest.DocTestParser().get_doctest(code, {}, page.name, str(page), 0)
    assert len(example.examples) > 15
    said: list[str] = []
    results = doctest.DocTestRunner().run(example, out=said.append)
    assert results.failed == 0, "".join(said)


@pytest.mark.parametrize("name", ["README.md", "README.en.md"])
def test_python_of_readme_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    kofid.index(str(ROOT / "resources/demo/passages.jsonl"), "kb")
    (block,) = blocks(ROOT / name, "python")
    exec(compile(block.code, name, "exec"), {})
    assert capsys.readouterr().out == "1592년 4월 13일 True 임진왜란\n"


@pytest.mark.parametrize("page", [DOCS / "python.md", DOCS / "en/python.md"], ids=["ko", "en"])
def test_names_of_the_library_are_there(page: Path) -> None:
    table = page.read_text(encoding="utf-8").rpartition("## ")[2]
    rows = re.findall(r"^\| (`.+?`) \|", table, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert set(named) <= set(kofid.__all__) and 25 <= len(named) <= 35  # those to begin with; api.md has all
    everywhere = set(re.findall(r"\bkofid\.([A-Za-z_]+)\b", page.read_text(encoding="utf-8")))
    assert everywhere - {"language", *kofid.__all__} == set()
