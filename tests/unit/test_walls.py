"""The walls of the house: imports go down, nothing heavy is imported early, only the command line prints and knows flags."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from support.loaded import loaded_after

import kofid
from kofid.storage.bundled import resource

ROOT = Path(kofid.__file__).parent
# From the ground up; imports go to the same room or down. Rooms of one floor may meet, but for retrieval and reader.
FLOORS = (
    ("types", "errors", "language", "devices"),
    ("storage",),
    ("korean",),
    ("formats", "encoder"),
    ("retrieval", "reader"),
    ("training",),
    ("pipeline", "corpora", "operations"),
    ("evaluation",),
    ("experiments",),
    ("cli", "__main__"),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
HEAVY = ("torch", "transformers", "datasets", "faiss")
LIGHT = (
    "types",
    "errors",
    "language",
    "storage",
    "korean",
    "formats",
    "encoder",
    "pipeline",
    "corpora",
    "operations",
    "evaluation",
    "experiments",
    "cli",
)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imported(name: str, tree: ast.AST) -> Iterator[str]:
    """Yield kofid's own modules that a tree imports, anywhere in it, annotations' imports as well."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            found = [f"{node.module}.{alias.name}" for alias in node.names] if node.module else []
        else:
            continue
        for target in found:
            module = target if target in SOURCES else target.rpartition(".")[0]  # a name inside a module
            if module in SOURCES and module != name:
                yield module


def at_load(tree: ast.Module) -> ast.Module:
    """Return the tree without function bodies and without what only type checkers read."""

    class Loaded(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

        def visit_If(self, node: ast.If) -> ast.AST | None:
            return None if "TYPE_CHECKING" in ast.unparse(node.test) else self.generic_visit(node)

    return Loaded().visit(ast.parse(ast.unparse(tree)))


IMPORTS = {name: set(imported(name, tree)) for name, tree in TREES.items()}
IMPORTS["kofid"] = set(imported("kofid", at_load(TREES["kofid"])))  # the library's names are imported when first used


def test_every_room_has_a_floor():
    assert {room(name) for name in SOURCES} - {""} == set(FLOOR)


@pytest.mark.parametrize("name", [name for name in SOURCES if room(name)])
def test_imports_go_down(name: str):
    floor = FLOOR[room(name)]
    up = {target for target in IMPORTS[name] if room(target) and FLOOR[room(target)] > floor}
    assert up == set(), f"{name} is on floor {floor}"


def test_no_circle():
    try:
        TopologicalSorter(IMPORTS).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_rooms_of_one_floor_make_no_circle():
    rooms: dict[str, set[str]] = {}
    for name, targets in IMPORTS.items():
        rooms.setdefault(room(name), set()).update(room(t) for t in targets if room(t) and room(t) != room(name))
    rooms.pop("", None)
    TopologicalSorter(rooms).prepare()


def test_the_rooms_do_without_the_library_s_names():
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module == "kofid" and room(name) not in ("cli", "__main__"):
                names = {alias.name for alias in node.names}
                assert names <= {"__version__"} | {r for floor in FLOORS for r in floor}, f"{name}: {names}"


def test_retrieval_and_reader_never_meet():
    for name, targets in IMPORTS.items():
        if room(name) in ("retrieval", "reader"):
            other = "reader" if room(name) == "retrieval" else "retrieval"
            assert not [t for t in targets if room(t) == other], name


def test_nothing_heavy_is_imported_on_loading_the_lower_floors():
    for name, tree in TREES.items():
        loaded = {
            alias.name.split(".")[0] if isinstance(node, ast.Import) else (node.module or "").split(".")[0]
            for node in ast.walk(at_load(tree))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        if room(name) in ("", *LIGHT):
            assert not loaded & set(HEAVY), name


def prints(tree: ast.AST) -> Iterator[int]:
    """Yield line numbers of what writes to the terminal."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = ast.unparse(node.func)
            if function in ("print", "typer.echo", "typer.secho", "click.echo", "Console", "rich.print", "input") or (
                function.startswith(("sys.stdout.", "sys.stderr.")) and function != "sys.stdout.isatty"
            ):
                yield node.lineno
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("rich", "typer", "tqdm", "logging")):
            yield node.lineno
        elif isinstance(node, ast.Import):
            yield from (node.lineno for a in node.names if a.name.split(".")[0] in ("rich", "typer", "tqdm", "logging"))


@pytest.mark.parametrize("name", [name for name in SOURCES if room(name) not in ("cli", "__main__")])
def test_only_the_command_line_prints(name: str):
    assert list(prints(TREES[name])) == []


def test_what_prints_is_seen():
    for line in (
        "print(1)",
        "typer.echo('x')",
        "from rich.console import Console",
        "sys.stdout.write('x')",
        "Console()",
    ):
        assert list(prints(ast.parse(line))), line


# --- what only the command line does -----------------------------------------------------------------------------


def flags(tree: ast.AST) -> Iterator[str]:
    """Yield the strings that name a flag."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"(?<![\\w-])--[a-z][a-z-]+", node.value)


@pytest.mark.parametrize("name", [name for name in SOURCES if room(name) not in ("cli", "__main__")])
def test_only_the_command_line_knows_flags(name: str):
    assert list(flags(TREES[name])) == [], "an error speaks of settings: kofid.language.setting"


@pytest.mark.parametrize("name", [name for name in SOURCES if room(name) not in ("cli", "__main__")])
def test_nothing_below_starts_the_command_line(name: str):
    source = SOURCES[name].read_text(encoding="utf-8")
    assert "sys.executable" not in source and "kofid.cli" not in source


@pytest.mark.parametrize("name", SOURCES)
def test_no_module_of_python_is_written_to(name: str):
    assert "sys.modules" not in SOURCES[name].read_text(encoding="utf-8").replace("in sys.modules", "").replace(
        "sys.modules.get", ""
    )


# What the command line may import besides the public names of ``kofid`` itself.
LIGHT_MODULES = {
    "kofid.language",
    "kofid.errors",
    "kofid.retrieval.modes",
    "kofid.reader.kinds",
    "kofid.reader.fid.config",
    "kofid.training.options",
}


@pytest.mark.parametrize("name", [name for name in SOURCES if room(name) == "cli"])
def test_the_command_line_uses_only_the_library(name: str):
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "kofid":
            if node.module == "kofid":
                assert {alias.name for alias in node.names} <= set(kofid.__all__)
            else:
                assert node.module in LIGHT_MODULES or node.module.startswith("kofid.cli"), node.module
        elif isinstance(node, ast.Import):
            assert not [alias.name for alias in node.names if alias.name.startswith("kofid.")]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "kofid":
            assert node.attr in kofid.__all__, node.attr


# --- what is loaded when -------------------------------------------------------------------------------------


def test_help_loads_nothing_heavy():
    assert (
        loaded_after(["--help"], ["--version"], ["index", "--help"], ["retrieve", "--help"], ["ask", "--help"])
        == [[]] * 5
    )


def test_sparse_index_retrieve_and_ask_load_nothing_heavy(tmp_path: Path):
    corpus, index = str(resource("demo/passages.jsonl")), str(tmp_path / "kb")
    loaded = loaded_after(
        ["index", corpus, "-o", index, "--limit", "20"],
        ["retrieve", "-i", index, "훈민정음은 언제 만들었나?", "-k", "3"],
        ["ask", "-i", index, "훈민정음은 언제 만들었나?", "-k", "3"],
    )
    assert loaded == [["kiwipiepy"]] * 3
