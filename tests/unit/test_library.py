"""The library: what ``import kofid`` gives, how light and how typed it is, and that threads may share a pipeline."""

from __future__ import annotations

import ast
import doctest
import inspect
import subprocess
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import pytest
from support.command_line import QUESTIONS

import kofid
from kofid.language import set_language

ROOT = Path(kofid.__file__).parent
# Functions whose work takes too long for an example, or that only put figures into tables and plots.
WITHOUT_EXAMPLE = set(
    [
        "ablation_cells",
        "ablation_columns",
        "check_plot",
        "choose_measures",
        "comparison_columns",
        "comparison_row",
        "distill",
        "estimate_vectors",
        "has_interrupted_build",
        "markdown",
        "open_engine",
        "open_search",
        "plot_ablation",
        "read_systems",
        "record_ranking",
        "refuse_unwritable",
        "train_reader",
        "train_reranker",
        "train_retriever",
        "tune",
        "write_ablation",
        "write_curves",
        "write_file",
        "write_plot",
        "write_rankings",
        "write_risk_plot",
    ]
)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    """Keep the demo's index in a folder of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        set_language("ko")
        yield


def test_every_public_name_is_there_and_known_to_type_checkers():
    names = {name: getattr(kofid, name) for name in kofid.__all__}
    assert set(names) <= set(dir(kofid)) and not [name for name in names if name.startswith("_") and name[:2] != "__"]
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
    typed = {f"{node.module}.{alias.name}": alias.asname for node in block.body for alias in node.names}
    assert typed == {f"{kofid._MODULES[name]}.{name}": name for name in kofid._MODULES}
    assert (ROOT / "py.typed").is_file()
    with pytest.raises(AttributeError, match="no_such_name"):
        getattr(kofid, "no_such_name")  # noqa: B009


def test_importing_it_loads_nothing():
    code = (
        "import sys; before = set(sys.modules); import kofid; new = set(sys.modules) - before; print(*new);"
        " kofid.SearchMode, kofid.KofidError, kofid.Passage; print(*(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, light = (set(line.split()) for line in done.stdout.splitlines())
    assert {name for name in first if name.startswith("kofid")} == {"kofid"}
    assert not light & {"numpy", "torch", "transformers", "kiwipiepy", "typer", "rich"}


def examples() -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [*finder.find(kofid, "kofid", module=types.ModuleType("none"), globs={})]
    for name in kofid.__all__:
        value = getattr(kofid, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            module = import_module(value.__module__)
            found += finder.find(value, name, module=module, globs=vars(module) | {"kofid": kofid})
    return [test for test in found if test.examples]


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_examples_of_the_docstrings(example: doctest.DocTest):
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    said: list[str] = []
    assert runner.run(example, out=said.append).failed == 0, "".join(said)


def test_functions_have_an_example():
    shown = {example.name.split(".")[0] for example in examples()}
    functions = {name for name in kofid.__all__ if inspect.isfunction(getattr(kofid, name))} - {"silent"}
    assert functions - shown == WITHOUT_EXAMPLE


def test_it_prints_nothing_and_says_settings_as_arguments(capfd: pytest.CaptureFixture[str], tmp_path: Path):
    kofid.open_demo().ask("임진왜란은 언제 일어났나?")
    with pytest.raises(kofid.UsageError, match=r"shard.* dense"):
        kofid.index([], tmp_path, delete=["a"], shard=(0, 2))
    with pytest.raises(kofid.UsageError, match="weights=bigram"):
        kofid.open_demo(ranking=kofid.RankingOptions(weights="bigram"))
    assert capfd.readouterr() == ("", "")


def test_a_pipeline_by_hand(tmp_path: Path):
    report = kofid.index(str(ROOT.parent / "resources/demo/passages.jsonl"), tmp_path / "kb", limit=40)
    assert (report.n_passages, report.complete, report.dense, report.skipped) == (40, True, None, ())
    pipeline = kofid.open(tmp_path / "kb", reader=None, k=3)
    hits = pipeline.retrieve("임진왜란은 언제 일어났나?")
    assert len(hits) == 3 and hits == pipeline.retrieve("임진왜란은 언제 일어났나?", 20)[:3]
    assert not pipeline.has_reader and pipeline.ask("임진왜란은 언제 일어났나?").answers == []
    backwards = kofid.open(tmp_path / "kb", reader="span", k=2, reranker=lambda example: list(reversed(example.hits)))
    reply = backwards.ask("임진왜란은 언제 일어났나?")
    deep = pipeline.retrieve("임진왜란은 언제 일어났나?", 50)
    assert reply.hits == list(reversed(deep))[:2]
    assert backwards.read("임진왜란은 언제 일어났나?", reply.hits) == kofid.Reading(reply.answers, reply.hits)
    misspelled = pipeline.find(kofid.Question("임짅왜란은언제 일어났나", "q"))
    assert misspelled.corrected == "임진왜란은 언제 일어났나" and misspelled.question.id == "q"
    assert kofid.index([], tmp_path / "kb", delete=[hits[0].passage.id]).n_passages == 39


def test_eight_threads_get_what_one_gets():
    pipeline = kofid.open_demo()
    questions = [question.text for question in kofid.read_questions(QUESTIONS)][:48]
    alone = [pipeline.ask(question) for question in questions]
    for shared in (pipeline, kofid.open_demo()):  # all in its caches, and nothing in them
        with ThreadPoolExecutor(8) as threads:
            together = list(threads.map(shared.ask, questions))
        assert [(r.answers, r.hits, r.corrected) for r in together] == [(r.answers, r.hits, r.corrected) for r in alone]


def test_a_missing_faiss_is_said_before_any_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def lacking() -> None:
        raise kofid.ResourceError("faiss")

    def read(*_: object, **__: object) -> None:
        raise AssertionError("work has begun")

    monkeypatch.setattr("kofid.retrieval.dense.faiss_index.import_faiss", lacking)
    monkeypatch.setattr("kofid.operations.indexing.build_index", read)
    corpus = str(ROOT.parent / "resources/demo/passages.jsonl")
    with pytest.raises(kofid.ResourceError):
        kofid.index(corpus, tmp_path / "kb", dense="default")
