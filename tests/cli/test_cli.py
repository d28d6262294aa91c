"""The command line as a user meets it: help, worked examples, output, exit codes, settings."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from support.command_line import ASKED, PASSAGES, QUESTIONS, ROOT, SMALL, Result, files_of, kofid, refuse, write_jsonl

from kofid import __version__
from kofid.cli.app import COMMANDS


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("KOFID_") and name != "KOFID_DATA":
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def kb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of the demo corpus, without vectors."""
    path = tmp_path_factory.mktemp("cli") / "kb"
    assert kofid("index", PASSAGES, "-o", path).code == 0
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """An index of three passages of its own, to be damaged."""
    assert kofid("index", write_jsonl(tmp_path / "small.jsonl", SMALL), "-o", tmp_path / "small").code == 0
    return tmp_path / "small"


# --- help -----------------------------------------------------------------------------------------------------

_COLLECT_HELP = """
import contextlib, io, json, sys
from kofid.cli import app as cli
pages = {}
for command in ["", *cli.COMMANDS]:
    out = io.StringIO()
    sys.argv = ["kofid", *command.split(), "--help"]
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        cli.main()
    pages[command] = out.getvalue()
heavy = [name for name in ("torch", "transformers", "datasets", "faiss", "kiwipiepy") if name in sys.modules]
print(json.dumps({"pages": pages, "heavy": heavy}))
"""

# Command, its arguments on the usage line, the beginning of its help in Korean and in English.
HELP = [
    ("ask", "[questions]...", "묻고 답을 받습니다", "Ask and be answered"),
    ("index", "[corpus]...", "글더미를 패시지로 나누어 색인합니다", "Index a heap of text as passages"),
    ("retrieve", "[questions]...", "질문에 맞는 패시지를 찾습니다", "Find passages for questions"),
    ("rerank", "[questions]...", "순위를 다시 매깁니다", "Rank anew"),
    ("evaluate", "[questions]...", "답을 채점합니다", "Score answers"),
    ("compare", "{systems}...", "찾기 체계들을 같은 질문으로", "Compare retrieval systems"),
    ("convert", "{sources}...", "TREC, BEIR, FiD JSON, JSONL 사이를", "Convert between TREC, BEIR"),
    ("analyze", "{text}...", "글이 어떻게 나뉘는지", "Show how text is taken apart"),
    ("train-retriever", "{data}...", "질문과 패시지가 무게를 함께 쓰는", "Train a shared-weight dense retriever"),
    ("train-reranker", "{data}...", "질문과 패시지를 함께 읽어", "Train a reranker that reads"),
    ("train-reader", "{data}...", "리더를 훈련합니다", "Train a reader"),
    ("distill", "{data}...", "리더를 검색기로 증류합니다", "Distil a reader into a retriever"),
    ("ablate", "{questions}...", "FiD의 변형들을 똑같이", "Train and measure the variants of FiD"),
    ("experiment", "{GRID.toml}", "검색기의 격자를", "Train and measure a grid of retrievers"),
    ("verify", "{path}", "색인이나 모델의 모든 파일을", "Check every file of an index or model"),
    ("doctor", "", "설치를 살핍니다", "Look over the installation"),
]


@pytest.fixture(scope="module")
def help_pages() -> dict[str, dict[str, str]]:
    """Every help page in both languages, each language from a process of its own."""
    pages = {}
    for language in ("ko", "en"):
        environment = os.environ | {"KOFID_LANG": language, "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"}
        done = subprocess.run(
            [sys.executable, "-c", _COLLECT_HELP], env=environment, capture_output=True, text=True, check=True
        )
        made = json.loads(done.stdout)
        assert made["heavy"] == [], "help must not load the libraries that take seconds"
        pages[language] = made["pages"]
    return pages


def test_every_command_is_tested_here() -> None:
    assert [name for name, *_ in HELP] == list(COMMANDS)


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize(("command", "usage", "korean", "english"), HELP, ids=[name for name, *_ in HELP])
def test_help(
    help_pages: dict[str, dict[str, str]], language: str, command: str, usage: str, korean: str, english: str
) -> None:
    page = help_pages[language][command]
    lines = page.splitlines()
    assert lines[0].casefold() == f"Usage: kofid {command} [OPTIONS] {usage}".rstrip().casefold()
    assert lines[2].startswith("  " + (korean if language == "ko" else english))
    heading = "  보기:" if language == "ko" else "  Example:"
    example = import_module(f"kofid.cli.commands.{command.replace('-', '_')}").EXAMPLE
    assert lines[lines.index(heading) + 1 :] == ["    " + line for line in example.splitlines()]
    assert all(
        line.startswith(f"kofid {command} ")
        or command in ("rerank", "evaluate", "train-reranker", "compare", "convert", "doctor")
        for line in example.splitlines()
    )


@pytest.mark.parametrize("language", ["ko", "en"])
def test_overview_lists_every_command(help_pages: dict[str, dict[str, str]], language: str) -> None:
    lines = help_pages[language][""].splitlines()
    assert lines[0] == "Usage: kofid [OPTIONS] COMMAND [ARGS]..."
    start = next(i for i, line in enumerate(lines) if line.startswith("Commands:"))
    assert [line.split()[0] for line in lines[start + 1 : start + 1 + len(COMMANDS)]] == list(COMMANDS)
    assert '    kofid ask --demo "한산도 대첩은 언제 일어났나?"' in lines


@pytest.mark.parametrize("language", ["ko", "en"])
def test_help_is_in_one_language(help_pages: dict[str, dict[str, str]], language: str) -> None:
    for command, page in help_pages[language].items():
        body = "".join(line for line in page.splitlines() if "kofid " not in line)  # examples ask in Korean
        hangul = sum("가" <= c <= "힣" for c in body)
        assert hangul == 0 if language == "en" else hangul > 15, command


def test_version_and_module() -> None:
    done = subprocess.run([sys.executable, "-m", "kofid", "--version"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"kofid {__version__}\n", "")


def test_lang_option_comes_before_help() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kofid", "--lang", "en", "verify", "--help"], capture_output=True, text=True, check=True
    )
    assert "Check every file of an index or model by SHA-256" in " ".join(done.stdout.split())


# --- worked examples ------------------------------------------------------------------------------------------

# In an order in which each finds what it needs. Training is cut short by options put after the example's own.
ORDER = (
    "index",
    "analyze",
    "retrieve",
    "compare",
    "convert",
    "train-retriever",
    "rerank",
    "train-reranker",
    "train-reader",
    "distill",
    "evaluate",
    "verify",
    "ask",
)
CUT_SHORT = {
    "retrieve": ["--limit", "100"],
    "train-retriever": ["--max-steps", "3", "--batch-size", "8", "--limit", "100"],
    "rerank": ["--limit", "100"],
    "train-reranker": ["--limit", "40"],
    "train-reader": ["--limit", "60", "--n-context", "5"],
    "distill": ["--max-steps", "2", "--limit", "16", "--n-context", "5"],
}


def example_lines() -> list[str]:
    return [
        line
        for command in (*ORDER, "doctor")
        for line in import_module(f"kofid.cli.commands.{command.replace('-', '_')}").EXAMPLE.splitlines()
    ]


def cut_short(command: str, options: list[str]) -> list[str]:
    """Return options that make an example's work short; an example that has a limit keeps it."""
    more = ["--limit", "20"] if "--tune" in options else CUT_SHORT.get(command, [])
    return [] if more[:1] == ["--limit"] and "--limit" in options else more


class Workshop(NamedTuple):
    """A folder in which every worked example was run, and what each left."""

    folder: Path
    results: dict[str, Result]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    folder = tmp_path_factory.mktemp("workshop")
    (folder / "resources").symlink_to(ROOT / "resources")
    results = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        for line in example_lines():
            _, command, *rest = shlex.split(line)
            results[line] = kofid(command, *rest, *cut_short(command, rest), stdin="세종은 무엇을 만들었나?\n")
    return Workshop(folder, results)


@pytest.mark.parametrize("line", example_lines())
def test_worked_example_runs(workshop: Workshop, line: str) -> None:
    result = workshop.results[line]
    assert result.code == 0, result.err
    if line.startswith("kofid retrieve") and " -o " in line:
        assert result.out == "" and line.rsplit(maxsplit=1)[-1] in result.err
    else:
        assert all(isinstance(value, dict) for value in result.objects) and result.objects


def test_worked_examples_leave_what_they_say(workshop: Workshop) -> None:
    kinds = {
        name: kofid("verify", workshop.folder / name).object["kind"]
        for name in ("kb", "encoder", "reader", "span-reader", "distilled")
    }
    assert kinds == {
        "kb": "index",
        "encoder": "encoder",
        "reader": "reader",
        "span-reader": "reader",
        "distilled": "encoder",
    }
    retrieved = json.loads((workshop.folder / "retrieved.json").read_text(encoding="utf-8"))
    assert len(retrieved) == 50 and all(len(entry["ctxs"]) <= 20 for entry in retrieved)


# --- output ---------------------------------------------------------------------------------------------------


def test_index_output(tmp_path: Path) -> None:
    corpus = write_jsonl(tmp_path / "c.jsonl", SMALL)
    found = kofid("index", corpus, "-o", tmp_path / "kb")
    assert found.code == 0 and found.err == ""
    seconds = found.object["seconds"]
    assert found.object == {"index": str(tmp_path / "kb"), "n_passages": 3, "n_skipped": 0, "seconds": seconds}
    person = kofid("index", corpus, "-o", tmp_path / "kb", terminal=True)
    assert person.out == "" and person.err.startswith(f"{tmp_path / 'kb'}: 패시지 3개의 색인입니다")
    assert kofid("--quiet", "index", corpus, "-o", tmp_path / "kb", terminal=True).err == ""


def test_index_estimate_writes_nothing(tmp_path: Path) -> None:
    corpus = write_jsonl(tmp_path / "c.jsonl", SMALL)
    found = kofid("index", corpus, "-o", tmp_path / "kb", "--dry-run")
    assert found.object["n_passages"] == 3
    assert found.object["characters"] == sum(len(p["text"]) for p in SMALL)
    assert not (tmp_path / "kb").exists()
    assert kofid("index", corpus, "-o", tmp_path / "kb").code == 0
    before = files_of(tmp_path / "kb")
    assert kofid("index", "-o", tmp_path / "kb", "--delete", "a", "--dry-run").object["n_passages"] == 0
    assert files_of(tmp_path / "kb") == before


def test_index_reads_standard_input_and_several_files(tmp_path: Path) -> None:
    first = write_jsonl(tmp_path / "1.jsonl", SMALL[:1])
    found = kofid("index", first, "-", "-o", tmp_path / "kb", stdin=json.dumps(SMALL[1]) + "\n")
    assert found.object["n_passages"] == 2
    assert [c["id"] for c in kofid("retrieve", "-i", tmp_path / "kb", "훈민정음").object["ctxs"]] == ["b"]


def test_retrieve_output(small: Path) -> None:
    found = kofid("retrieve", "-i", small, "훈민정음은 누가 만들었나?").object
    (context,) = found.pop("ctxs")
    assert found == {"id": "1", "question": "훈민정음은 누가 만들었나?", "answers": []}
    assert context.pop("score") > 0
    assert context == SMALL[1]


def test_retrieve_for_a_person(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")  # no styles
    table = kofid("retrieve", "-i", small, "훈민정음은 누가 만들었나?", terminal=True).out
    assert table.splitlines()[0].strip() == "훈민정음은 누가 만들었나?"
    for word in ("점수", "제목", "본문", "세종은 훈민정음을 만들었다."):
        assert word in table
    nothing = kofid("retrieve", "-i", small, "qzxv", terminal=True)
    assert (nothing.code, nothing.out, nothing.err) == (0, "", "qzxv: 찾은 패시지가 없습니다\n")
    assert '"question"' in kofid("retrieve", "-i", small, "훈민정음", "--json", terminal=True).out


def test_questions_from_arguments_files_and_standard_input(small: Path, tmp_path: Path) -> None:
    asked = ["훈민정음", "거북선", "서해"]
    found = [["b"], ["a"], ["c"]]

    def ids(*arguments: object, stdin: str = "") -> list[list[str]]:
        results = kofid("retrieve", "-i", small, *arguments, stdin=stdin).objects
        assert [r["question"] for r in results] == asked
        return [[c["id"] for c in r["ctxs"]] for r in results]

    lines = tmp_path / "q.txt"
    lines.write_text("\n".join(asked) + "\n", encoding="utf-8")
    objects = write_jsonl(tmp_path / "q.jsonl", [{"id": f"q{i}", "question": q} for i, q in enumerate(asked)])
    assert ids(*asked) == found
    assert ids(lines) == found
    assert ids(objects) == found
    assert ids("-", stdin="\n".join(asked)) == found
    assert ids(stdin="\n".join(asked)) == found  # a pipe without an argument
    assert ids("-", stdin=objects.read_text(encoding="utf-8")) == found
    assert ids(asked[0], "-", stdin="\n".join(asked[1:])) == found
    assert [r["id"] for r in kofid("retrieve", "-i", small, objects, "--limit", 2).objects] == ["q0", "q1"]


def test_retrieve_eval_json(kb: Path) -> None:
    found = kofid("retrieve", "-i", kb, "--eval", QUESTIONS, "--limit", 200, "--json").object
    by_rank = ["hit@1", "hit@5", "hit@10", "hit@20", "hit@30", "hit@100", "mrr", "mrr@10"]
    by_answer = [f"answer_{name}" for name in ("n", *by_rank)]
    assert list(found) == ["n", *by_rank, "ndcg@10", "recall@100", *by_answer]
    assert found["n"] == found["answer_n"] == 200
    hits = [found[name] for name in found if name.startswith("hit@")]
    assert hits == sorted(hits) and 0.9 < hits[0] <= found["mrr"] <= hits[-1] <= 1.0


def test_retrieve_eval_for_a_person_is_in_percent(kb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    table = kofid("retrieve", "-i", kb, "--eval", QUESTIONS, "--limit", 20, terminal=True).out
    assert "hit@100" in table and "100.0" in table and " 20 " in table


@pytest.mark.parametrize("engine", ["bm25s", "rank-bm25"])
def test_other_engines_find_it_too(kb: Path, engine: str) -> None:
    found = kofid("retrieve", "-i", kb, QUESTIONS, "--limit", 100, "--engine", engine, "--eval").object
    assert found["hit@5"] > 0.9


def test_ranker_options_change_the_scores(kb: Path) -> None:
    def scores(*more: object) -> list[float]:
        found = kofid("retrieve", "-i", kb, "훈민정음을 만든 왕", "-k", 3, *more).object
        return [c["score"] for c in found["ctxs"]]

    plain = scores()
    for more in (["--ranker", "bm25+"], ["--k1", 2], ["--b", 0], ["--weights", "bigram=0"], ["--weights", "title=0"]):
        assert scores(*more) != plain, more
    assert scores("--ranker", "lucene", "--weights", "kiwi=1,bigram=1,title=1") == plain


def test_stored_ranking_is_used(tmp_path: Path) -> None:
    corpus = write_jsonl(tmp_path / "c.jsonl", SMALL)
    asked = ("훈민정음을 만든 왕", "-k", 1)
    assert kofid("index", corpus, "-o", tmp_path / "kb", "--k1", 2, "--weights", "bigram=0.5").code == 0
    assert kofid("index", corpus, "-o", tmp_path / "plain").code == 0
    stored = kofid("retrieve", "-i", tmp_path / "kb", *asked).object["ctxs"][0]["score"]
    given = kofid("retrieve", "-i", tmp_path / "plain", *asked, "--k1", 2, "--weights", "bigram=0.5").object
    assert stored == given["ctxs"][0]["score"]


def test_misspelled_questions_are_set_right(kb: Path) -> None:
    asked = "임짅왜란은언제 일어났나"
    found = kofid("retrieve", "-i", kb, asked, "-k", 1).object
    assert found["question"] == asked and found["corrected"] == "임진왜란은 언제 일어났나"
    assert found["ctxs"][0]["title"] == "임진왜란"
    assert "corrected" not in kofid("retrieve", "-i", kb, asked, "-k", 1, "--no-correct").object
    assert "corrected" not in kofid("retrieve", "-i", kb, "임진왜란은 언제 일어났나", "-k", 1).object
    shown = kofid("retrieve", "-i", kb, asked, "-k", 1, terminal=True).out
    assert "→" in shown


def test_explanation_adds_up(kb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = kofid("retrieve", "-i", kb, "훈민정음은 언제 반포되었나", "-k", 5, "--explain").object
    for context in found["ctxs"]:
        assert sum(term["score"] for term in context["terms"]) == pytest.approx(context["score"], abs=0.01)
    assert {"word": "언제", "reason": "묻는 말"} in found["query"]["dropped"]
    assert {(t["term"], t["component"]) for t in found["query"]["terms"]} >= {("훈민정음", "kiwi"), ("반포", "bigram")}
    monkeypatch.setenv("COLUMNS", "160")
    shown = kofid("retrieve", "-i", kb, "훈민정음은 언제 반포되었나", "-k", 1, "--explain", terminal=True)
    assert "훈민정음 (title)" in shown.out and "뺌: 언제" in shown.err


def test_tune_records_what_is_better(tmp_path: Path) -> None:
    assert kofid("index", PASSAGES, "-o", tmp_path / "kb", "--weights", "title=0,bigram=0").code == 0
    found = kofid("retrieve", "-i", tmp_path / "kb", "--tune", QUESTIONS, "--limit", 40).object
    assert found["after"] >= found["before"] and found["changes"] and found["n"] == 40
    settings = kofid("verify", tmp_path / "kb").object["settings"]["ranking"]
    assert all(settings[name] == value for name, value in found["changes"].items())
    measured = kofid("retrieve", "-i", tmp_path / "kb", "--eval", QUESTIONS, "--limit", 40, "--no-correct").object
    assert measured["mrr@10"] == pytest.approx(found["after"], abs=1e-4)


def test_add_and_delete(tmp_path: Path) -> None:
    kb = tmp_path / "kb"
    assert kofid("index", write_jsonl(tmp_path / "c.jsonl", SMALL), "-o", kb).code == 0
    more = [
        {"id": "d", "title": "경복궁", "text": "경복궁은 1395년에 지었다."},
        SMALL[1] | {"text": "세종은 측우기도 만들었다."},
    ]
    assert kofid("index", write_jsonl(tmp_path / "d.jsonl", more), "-o", kb, "--add").object["n_passages"] == 4
    assert [c["id"] for c in kofid("retrieve", "-i", kb, "경복궁").object["ctxs"]] == ["d"]
    assert kofid("retrieve", "-i", kb, "측우기").object["ctxs"][0]["id"] == "b"
    assert kofid("retrieve", "-i", kb, "훈민정음").object["ctxs"] == []
    (tmp_path / "ids.txt").write_text("d\nb\n", encoding="utf-8")
    assert kofid("index", "-o", kb, "--delete", tmp_path / "ids.txt").object["n_passages"] == 2
    assert kofid("retrieve", "-i", kb, "경복궁").object["ctxs"] == []
    before = files_of(kb)
    assert "zzz" in refuse(3, "index", "-o", kb, "--delete", "zzz")
    assert files_of(kb) == before


def test_user_dictionary(tmp_path: Path) -> None:
    corpus = write_jsonl(tmp_path / "c.jsonl", [{"id": "a", "title": "", "text": "한산도대첩은 크게 이긴 싸움이다."}])
    words = tmp_path / "words.tsv"
    words.write_text("# 낱말\n한산도대첩\tNNP\n", encoding="utf-8")
    kb = tmp_path / "kb"
    assert kofid("index", corpus, "-o", kb, "--user-dict", words).code == 0
    assert kofid("analyze", "-i", kb, "한산도대첩에서").object["terms"]["kiwi"] == ["한산도대첩"]
    assert kofid("analyze", "--user-dict", words, "한산도대첩에서").object["morphemes"][0] == "한산도대첩/NNP"
    assert kofid("verify", kb).object["settings"]["analyzer"]["user_dictionary"]
    for bad in ("두 낱말", "한산도\tXYZ", "한산도\tNNP\tx", "한산도\tNNP\t0\tmore"):
        words.write_text(f"좋다\tVA\n{bad}\n", encoding="utf-8")
        assert f"{words}:2" in refuse(3, "index", corpus, "-o", tmp_path / "x", "--user-dict", words), bad


def test_interrupted_index_goes_on_with_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kofid.retrieval.sparse import builder as build

    monkeypatch.setattr(build, "MAX_PASSAGES", 20)
    monkeypatch.setattr(build, "_SLACK", 0)
    monkeypatch.setattr(sys, "argv", [])
    written = build.SegmentWriter.write
    n = iter(range(1000))

    def interrupted(segment: Any) -> Any:
        if next(n) == 3:
            raise KeyboardInterrupt
        return written(segment)

    command = ("index", PASSAGES, "-o", tmp_path / "kb")
    with monkeypatch.context() as patch:
        patch.setattr(build.SegmentWriter, "write", interrupted)
        stopped = kofid(*command)
    assert stopped.code == 130 and f"kofid index {PASSAGES} -o {tmp_path / 'kb'} --resume" in stopped.err
    assert kofid(*command, "--resume").object["n_passages"] == 328
    assert kofid("index", PASSAGES, "-o", tmp_path / "whole").code == 0
    asked = ("retrieve", QUESTIONS, "--limit", 20, "-k", 5)
    assert kofid(*asked, "-i", tmp_path / "kb") == kofid(*asked, "-i", tmp_path / "whole")
    assert files_of(next((tmp_path / "kb").glob("gen-*"))) == files_of(next((tmp_path / "whole").glob("gen-*")))


def test_analyze(tmp_path: Path) -> None:
    entries = kofid("analyze", "李舜臣은", "T5모델은").objects
    assert [e["word"] for e in entries] == ["李舜臣은", "t5모델은"]
    assert entries[0]["terms"]["kiwi"] == ["李舜臣", "이순신"] and "모델/NNG" in entries[1]["morphemes"]
    assert "compound" in kofid("analyze", "--analyzer", "compound", "질의응답").object["terms"]


def test_more_passages_asked_for_than_there_are(small: Path) -> None:
    found = kofid("retrieve", "-i", small, "이순신 세종 한강", "-k", 1000).object
    assert sorted(c["id"] for c in found["ctxs"]) == ["a", "b", "c"]
    assert all(c["score"] > 0 for c in found["ctxs"])


@pytest.mark.parametrize("question", ["", "   ", "qzxv", "?!", "\u200b"])
def test_questions_that_find_nothing(small: Path, question: str) -> None:
    found = kofid("retrieve", "-i", small, question)
    assert found.code == 0 and found.object["ctxs"] == []


def test_decomposed_questions_and_corpora_give_the_same(small: Path, tmp_path: Path) -> None:
    def apart(text: str) -> str:
        return unicodedata.normalize("NFD", text)

    entries = [{name: apart(value) for name, value in entry.items()} for entry in SMALL]
    other = tmp_path / "apart"
    assert kofid("index", write_jsonl(tmp_path / "apart.jsonl", entries), "-o", other).code == 0
    question = "훈민정음은 누가 만들었나?"
    assert apart(question) != question
    (first, *others) = [
        kofid("retrieve", "-i", index, asked).object
        for index in (small, other)
        for asked in (question, apart(question))
    ]
    assert first["ctxs"] and all(found == first for found in others)


def test_retrieved_json_feeds_rerank_and_train_reader(workshop: Workshop, tmp_path: Path) -> None:
    kb, kept = workshop.folder / "kb", tmp_path / "found.jsonl"
    done = kofid("retrieve", "-i", kb, QUESTIONS, "--limit", 12, "-k", 5, "-o", kept)
    assert (done.code, done.out) == (0, "") and str(kept) in done.err
    before = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]

    again = tmp_path / "again.json"
    assert kofid("rerank", "-i", kb, "--from", kept, "--mode", "sequential", "-k", 5, "-o", again).code == 0
    after = json.loads(again.read_text(encoding="utf-8"))
    for old, new in zip(before, after, strict=True):
        assert {c["id"] for c in new["ctxs"]} == {c["id"] for c in old["ctxs"]}
        scores = [c["score"] for c in new["ctxs"]]
        assert scores == sorted(scores, reverse=True)
        assert {k: v for k, v in new.items() if k != "ctxs"} == {k: v for k, v in old.items() if k != "ctxs"}

    trained = kofid(
        "train-reader", again, "--model", "fresh:tiny", "--vocab-size", 1000, "--max-steps", 1, "-o", tmp_path / "r"
    )
    assert trained.code == 0, trained.err
    assert trained.object["output"] == str(tmp_path / "r") and trained.object["steps"] == 1


def test_rerank_by_weights(workshop: Workshop) -> None:
    # With no weight on vectors cross is BM25; with none on BM25 the dense ranking.
    kb = workshop.folder / "kb"

    def ids(command: str, *arguments: object) -> list[str]:
        return [c["id"] for c in kofid(command, "-i", kb, ASKED, "-k", 5, *arguments).object["ctxs"]]

    assert ids("rerank", "--dense-weight", 0) == ids("retrieve", "--mode", "sparse")
    assert ids("rerank", "--sparse-weight", 0) == ids("retrieve", "--mode", "dense")
    sparse = [c["id"] for c in kofid("retrieve", "-i", kb, ASKED, "-k", 3).object["ctxs"]]
    assert sorted(ids("rerank", "--mode", "sequential", "--depth", 3, "-k", 3)) == sorted(sparse)


def test_ask_json(workshop: Workshop) -> None:
    reader = ("--reader", workshop.folder / "span-reader")
    found = kofid("ask", "-i", workshop.folder / "kb", ASKED, "-k", 4, "--json", *reader).object
    answer = ["answer", "confidence", "passage_id", "start", "end"]
    assert list(found) == ["id", "question", "answers", *answer, "sure", "ctxs"]
    assert (found["id"], found["question"], found["answers"]) == ("1", ASKED, [])
    assert found["answer"] and 0.0 <= found["confidence"] <= 1.0
    assert len(found["ctxs"]) == 4
    assert all(list(entry) == ["id", "title", "text", "score"] for entry in found["ctxs"])
    assert found["ctxs"][0]["text"][found["start"] : found["end"]] == found["answer"]
    assert found["ctxs"][0]["id"] == found["passage_id"]


def test_ask_keeps_ids_and_gives_several_answers(workshop: Workshop, tmp_path: Path) -> None:
    entries = [
        {"id": "q7", "question": ASKED, "answers": ["1592년"]},
        {"id": "q9", "question": "거북선은 누가 만들었나?"},
    ]
    questions = write_jsonl(tmp_path / "q.jsonl", entries)
    reader = ("--reader", workshop.folder / "span-reader")
    rows = kofid("ask", "-i", workshop.folder / "kb", questions, "--top", 3, *reader).objects
    assert [(row["id"], row["answers"]) for row in rows] == [("q7", ["1592년"]), ("q9", [])]
    for row in rows:
        assert 1 < len(row["nbest"]) <= 3 and row["nbest"][0] == {name: row[name] for name in row["nbest"][0]}
        assert [a["confidence"] for a in row["nbest"]] == sorted((a["confidence"] for a in row["nbest"]), reverse=True)


def test_passages_alone_have_no_answer(workshop: Workshop) -> None:
    row = kofid("ask", "-i", workshop.folder / "kb", ASKED, "--context-only", "-k", 2).object
    assert list(row) == ["id", "question", "answers", "ctxs"] and len(row["ctxs"]) == 2


def test_standard_input_is_answered_line_by_line(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    import kofid as library
    from kofid.cli.options.common import questions_of

    seen: list[str] = []

    class Line(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            seen.append("read")
            return super().readline(size)

        def peek(self, n: int) -> bytes:
            return b""

    stream = Line("훈민정음\n거북선\n".encode())
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stream, isatty=lambda: False))
    questions = iter(questions_of(["-"], None, None))
    assert next(questions) == library.Question("훈민정음", "1") and seen == ["read"]
    assert next(questions).text == "거북선" and seen == ["read"] * 2


def test_questions_of_a_csv_file_are_in_its_column(small: Path, tmp_path: Path) -> None:
    table = tmp_path / "q.csv"
    table.write_text('id,question,answer\nq1,"훈민정음은, 누가 만들었나?",세종\n,거북선,\n', encoding="utf-8-sig")
    rows = kofid("retrieve", "-i", small, table).objects
    assert [(r["id"], r["question"], r["answers"]) for r in rows] == [
        ("q1", "훈민정음은, 누가 만들었나?", ["세종"]),
        ("2", "거북선", []),
    ]
    table.write_text("번호,글\n1,가나\n", encoding="utf-8")
    assert f"{table}:1" in refuse(3, "retrieve", "-i", small, table)


def test_ask_shows_what_it_corrected(workshop: Workshop) -> None:
    asked = (
        "ask",
        "-i",
        workshop.folder / "kb",
        "한산도대첩은 언재 일어났나?",
        "--reader",
        workshop.folder / "span-reader",
    )
    found = kofid(*asked).object
    assert found["corrected"] == "한산도 대첩은 언제 일어났나?"
    assert f"이렇게 고쳐 물었습니다: {found['corrected']}" in kofid(*asked, terminal=True).out
    assert "corrected" not in kofid(*asked, "--no-correct").object


def test_ask_nothing_known(workshop: Workshop) -> None:
    reader = ("--reader", workshop.folder / "span-reader")
    for question in ("", "qzxv"):
        found = kofid("ask", "-i", workshop.folder / "kb", question, *reader)
        assert found.code == 0
        assert found.object["answer"] == "" and found.object["confidence"] == 0.0
        assert (found.object["sure"], found.object["passage_id"], found.object["ctxs"]) == (False, None, [])
    person = kofid("ask", "-i", workshop.folder / "kb", "qzxv", *reader, terminal=True)
    assert (person.code, person.out) == (0, "찾은 패시지가 없습니다. 다른 말로 물어보세요.\n")


def test_ask_for_a_person_marks_the_sentence(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")  # no styles: signs stand for them
    asked = ("ask", "-i", workshop.folder / "kb", ASKED, "--reader", workshop.folder / "span-reader")
    best = kofid(*asked).object
    title = f"{best['ctxs'][0]['title']}  [{best['ctxs'][0]['id']}]"
    head, _, shown = (" ".join(part.split()) for part in kofid(*asked, terminal=True).out.partition(title))
    assert best["answer"] in head and f"{best['confidence']:.0%}" in head
    marked = shown[shown.index("»") + 1 : shown.index("«")]
    assert best["answer"] in marked and marked in best["ctxs"][0]["text"]
    assert kofid(*asked, "--evidence", 3, terminal=True).out.count("[demo-") == 3


def test_ask_takes_several_questions(workshop: Workshop) -> None:
    asked = [ASKED, "훈민정음은 누가 만들었나?"]
    reader = ("--reader", workshop.folder / "span-reader")
    found = kofid("ask", "-i", workshop.folder / "kb", *asked, *reader).objects
    piped = kofid("ask", "-i", workshop.folder / "kb", *reader, stdin="\n".join(asked)).objects
    assert [f["id"] for f in found] == ["1", "2"]
    assert [f["question"] for f in found] == asked
    assert piped == found


def test_ask_with_a_t5_reader(workshop: Workshop) -> None:
    found = kofid("ask", "-i", workshop.folder / "kb", ASKED, "-k", 2, "--reader", workshop.folder / "reader")
    assert found.code == 0 and len(found.object["ctxs"]) == 2
    assert isinstance(found.object["answer"], str)


def test_ask_gives_the_n_best_of_a_reader_with_beams(kb: Path) -> None:
    row = kofid("ask", "-i", kb, ASKED, "-k", 2, "--reader", "t5", "--top", 3, "--beams", 4).object
    assert 1 < len(row["nbest"]) <= 3 and row["nbest"][0]["answer"] == row["answer"]
    assert len({answer["answer"] for answer in row["nbest"]}) == len(row["nbest"])


def test_a_reader_reranks_in_16_bits_as_well(workshop: Workshop) -> None:
    asked = (
        "rerank",
        "-i",
        workshop.folder / "kb",
        ASKED,
        "--reader",
        workshop.folder / "reader",
        "--depth",
        3,
        "-k",
        3,
    )
    whole, half = (kofid(*asked, "--dtype", dtype).object["ctxs"] for dtype in ("float32", "bfloat16"))
    assert sorted(c["id"] for c in whole) == sorted(c["id"] for c in half)
    assert {c["id"]: c["score"] for c in whole} != {c["id"]: c["score"] for c in half}


def test_evaluate_json(workshop: Workshop, tmp_path: Path) -> None:
    found = kofid(
        "evaluate", "-i", workshop.folder / "kb", "--reader", workshop.folder / "span-reader", QUESTIONS,
        "--limit", 20, "--json", "-o", tmp_path / "p.jsonl",
    ).object  # fmt: skip
    assert list(found)[:4] == ["n", "em", "f1", "em_robust"]
    assert found["n"] == 20
    assert 0.0 < found["em"] <= found["em_robust"] <= 1.0 and found["em"] <= found["f1"] <= 1.0
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 20
    assert sum(line["em"] for line in lines) / 20 == found["em"]
    assert sum(line["f1"] for line in lines) / 20 == pytest.approx(found["f1"], abs=1e-4)


def test_demo_answers_from_a_cached_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = kofid("ask", "--demo", "훈민정음은 누가 만들었나?")
    assert found.code == 0, found.err
    assert found.object["answer"] in found.object["ctxs"][0]["text"]
    assert "훈민정음" in found.object["ctxs"][0]["text"]
    before = files_of(tmp_path / "kofid" / "demo")
    assert kofid("ask", "--demo", "훈민정음은 누가 만들었나?") == found
    assert files_of(tmp_path / "kofid" / "demo") == before


def test_a_damaged_demo_cache_is_made_again(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked = ("ask", "--demo", "훈민정음은 누가 만들었나?", "--reader", workshop.folder / "span-reader")
    first = kofid(*asked)
    assert first.code == 0, first.err
    passages = next((tmp_path / "kofid/demo").glob("gen-*/0000.seg"))
    passages.write_bytes(passages.read_bytes()[:-40])
    assert kofid(*asked) == first


def test_doctor_names_what_is_installed() -> None:
    found = kofid("doctor")
    assert found.code == 0, found.err
    assert found.object["kofid"] == __version__
    assert found.object["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"torch", "transformers", "kiwipiepy", "faiss-cpu", "gpu", "bundled readers"} <= set(found.object)


def test_verify_output(small: Path) -> None:
    found = kofid("verify", small).object
    assert (found["path"], found["kind"], found["ok"]) == (str(small), "index", True)
    assert found["settings"]["n_passages"] == 3
    person = kofid("verify", small, terminal=True)
    assert person.out == "" and person.err.startswith(f"{small}: 이상 없음 (index)\n")


# --- exit codes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no-such-command"], "no-such-command"),
        (["retrieve", "-i", "KB", "-k", "0", "가"], "'-k'"),
        (["retrieve", "-i", "KB", "--bogus", "가"], "--bogus"),
        (["retrieve", "가"], "--index"),
        (["retrieve", "-i", "KB", "--mode", "hybrid", "가"], "'sparse'"),
        (["retrieve", "-i", "KB", "--engine", "lucene", "가"], "lucene"),
        (["retrieve", "-i", "KB", "--eval", "가"], "positive_ids"),
        (["rerank", "-i", "KB", "--mode", "sparse", "가"], "sequential"),
        (["ask", "가"], "--demo"),
        (["ask", "-i", "KB", "--demo", "가"], "--demo"),
        (["evaluate", "-i", "KB", "가"], "answers"),
        (["index", "PASSAGES"], "--output"),
        (["index", "PASSAGES", "-o", "X", "--on-error", "banana"], "banana"),
        (["train-reader", "QUESTIONS", "-i", "KB", "-o", "X", "--reader", "bert"], "bert"),
        (["train-reader", "QUESTIONS", "-i", "KB", "-o", "X", "--limit", "3", "--model", "fresh:huge"], "tiny"),
        (["train-retriever", "QUESTIONS", "-i", "KB", "-o", "X", "--limit", "3", "--model", "fresh:huge"], "tiny"),
        (["--lang", "fr", "retrieve", "-i", "KB", "가"], "fr"),
    ],
    ids=lambda value: " ".join(value[:-1]) if isinstance(value, list) else "",
)
def test_exit_2_for_usage(kb: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    places = {"KB": kb, "X": tmp_path / "x", "PASSAGES": PASSAGES, "QUESTIONS": QUESTIONS}
    assert message in refuse(2, *[places.get(a, a) for a in arguments])
    assert not (tmp_path / "x").exists()


GOOD = json.dumps(SMALL[0], ensure_ascii=False)
BAD_CORPORA = {
    "broken.jsonl": (f'{GOOD}\n{{"id": "2", "text"\n', "broken.jsonl:2"),
    "cut.jsonl": (f'{GOOD}\n{{"id": "2", "text": "가나', "cut.jsonl:2"),
    "twice.jsonl": (f"{GOOD}\n{GOOD}\n", "twice.jsonl:2"),
    "textless.jsonl": (f'{GOOD}\n\n{{"id": "2", "title": "나"}}\n', "textless.jsonl:3"),
    "idless.jsonl": (f'{GOOD}\n{{"text": "나라"}}\n', "idless.jsonl:2"),
    "listed.jsonl": (f"{GOOD}\n[1, 2]\n", "listed.jsonl:2"),
    "blank.jsonl": (f'{GOOD}\n{{"id": "2", "text": "  "}}\n', "blank.jsonl:2"),
    "deep.jsonl": (f"{GOOD}\n{'[' * 100_000}\n", "deep.jsonl:2"),
    "empty.jsonl": ("", "empty.jsonl"),
    "columns.tsv": ("id\ttext\ttitle\n1\t가나\t다\n2\t라마\n", "columns.tsv:3"),
    "korean.jsonl": ((GOOD + "\n").encode("cp949"), "korean.jsonl:1"),
    "wide.jsonl": ((GOOD + "\n").encode("utf-16"), "wide.jsonl:1"),
    "packed.jsonl.gz": (b"\x1f\x8b\x08\x00broken", "packed.jsonl.gz"),
}


@pytest.mark.parametrize("name", BAD_CORPORA)
def test_exit_3_names_file_and_line_and_leaves_the_index_alone(small: Path, tmp_path: Path, name: str) -> None:
    content, place = BAD_CORPORA[name]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    before = files_of(small)
    assert str(tmp_path / place) in refuse(3, "index", tmp_path / name, "-o", small)
    assert files_of(small) == before
    assert kofid("retrieve", "-i", small, "훈민정음").object["ctxs"][0]["id"] == "b"


@pytest.mark.parametrize(("name", "encoding"), [("korean.jsonl", "cp949"), ("wide.jsonl", "utf-16")])
def test_encodings_are_named_in_the_error_and_read_when_told(tmp_path: Path, name: str, encoding: str) -> None:
    (tmp_path / name).write_bytes((GOOD + "\n").encode(encoding))
    assert f"--encoding {encoding}" in refuse(3, "index", tmp_path / name, "-o", tmp_path / "kb")
    assert kofid("index", tmp_path / name, "-o", tmp_path / "kb", "--encoding", encoding).code == 0
    assert kofid("retrieve", "-i", tmp_path / "kb", "거북선").object["ctxs"][0]["text"] == SMALL[0]["text"]


def test_bad_records_are_skipped_and_counted_when_told(tmp_path: Path) -> None:
    corpus = tmp_path / "mixed.jsonl"
    corpus.write_text(f'{GOOD}\n{{"id": "2"}}\nnonsense\n{GOOD}\n{json.dumps(SMALL[1])}\n', encoding="utf-8")
    found = kofid("index", corpus, "-o", tmp_path / "kb", "--on-error", "skip")
    assert found.code == 0
    assert (found.object["n_passages"], found.object["n_skipped"]) == (2, 3)
    lines = found.err.splitlines()
    assert [f"{corpus}:{n}" in line for n, line in zip((2, 3, 4), lines, strict=True)] == [True] * 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["retrieve", "-i", "MISSING", "가"],
        ["retrieve", "-i", "KB", "MISSING.jsonl"],
        ["retrieve", "-i", "KB", "BROKEN"],
        ["index", "MISSING", "-o", "X"],
        ["index", "FOLDER", "-o", "X"],
        ["index", "PASSAGES", "-o", "X", "--dense", "MISSING"],
        ["index", "PASSAGES", "-o", "X", "--dense", "FOLDER"],
        ["verify", "MISSING"],
        ["verify", "FOLDER"],
        ["train-reader", "QUESTIONS", "-o", "X"],
        ["train-reader", "MISSING.json", "-o", "X"],
        ["ask", "-i", "KB", "--reader", "MISSING", "가"],
        ["ask", "-i", "KB", "--reader", "FOLDER", "가"],
        ["evaluate", "-i", "KB", "MISSING.jsonl"],
        ["--config", "MISSING.toml", "retrieve", "-i", "KB", "가"],
    ],
    ids=" ".join,
)
def test_exit_3_names_what_cannot_be_read(kb: Path, tmp_path: Path, arguments: list[str]) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "notes.png").write_text("nothing of kofid's")
    (tmp_path / "broken.jsonl").write_text('{"question": "가"}\n{"question": \n', encoding="utf-8")
    places: dict[str, object] = {"KB": kb, "X": tmp_path / "x", "PASSAGES": PASSAGES, "QUESTIONS": QUESTIONS}
    places |= {"FOLDER": folder, "BROKEN": tmp_path / "broken.jsonl"}
    places |= {a: tmp_path / a.lower() for a in arguments if a.startswith("MISSING")}
    message = refuse(3, *[places.get(a, a) for a in arguments])
    wrong = [a for a in arguments if a.startswith(("MISSING", "FOLDER", "BROKEN"))] or ["QUESTIONS"]
    assert str(places[wrong[0]]) in message
    assert "Repo id" not in message  # a path is no name on a hub
    assert not (tmp_path / "x").exists()


def test_exit_3_names_missing_hits(workshop: Workshop, tmp_path: Path) -> None:
    missing = tmp_path / "missing.json"
    assert str(missing) in refuse(3, "rerank", "-i", workshop.folder / "kb", "--from", missing)
    questions = write_jsonl(tmp_path / "q.jsonl", [{"question": ASKED}])
    message = refuse(3, "rerank", "-i", workshop.folder / "kb", "--from", questions, "-o", tmp_path / "out.json")
    assert f"{questions}:1" in message and "kofid retrieve" in message
    assert not (tmp_path / "out.json").exists()


def test_an_index_is_not_made_over_other_files(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("keep me")
    assert str(tmp_path) in refuse(3, "index", PASSAGES, "-o", tmp_path)
    assert files_of(tmp_path) == {"notes.txt": b"keep me"}
    assert str(tmp_path / "notes.txt") in refuse(3, "index", PASSAGES, "-o", tmp_path / "notes.txt")
    assert files_of(tmp_path) == {"notes.txt": b"keep me"}


@pytest.mark.parametrize("pattern", ["0000.seg", "0000.seg.toc", "deleted.seg.toc"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_exit_4_names_the_damaged_file(small: Path, pattern: str, damage: str) -> None:
    path = next(small.glob(f"gen-*/{pattern}"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x20
    if damage == "flip":
        path.write_bytes(content)
    elif damage == "cut":
        path.write_bytes(content[:-3])
    else:
        path.unlink()
    assert str(path) in refuse(4, "verify", small)
    assert str(path) in refuse(4, "retrieve", "-i", small, "훈민정음")
    if damage != "flip":  # sizes are looked at even when hashes are not
        assert str(path) in refuse(4, "retrieve", "-i", small, "훈민정음", "--no-verify")


def test_exit_4_for_a_damaged_manifest(small: Path) -> None:
    path = next(small.glob("gen-*/manifest.json"))
    path.write_text(path.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    assert str(path) in refuse(4, "verify", small)


def test_exit_5_for_another_analyzer_shows_both(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kofid.korean import kiwi as morphology

    here = morphology.kiwi_version()
    monkeypatch.setattr(morphology, "kiwi_version", lambda: "kiwipiepy 9.9.9, model 9.9.9")
    message = refuse(5, "retrieve", "-i", small, "훈민정음")
    assert here in message and "kiwipiepy 9.9.9" in message


def test_exit_5_for_vectors_that_are_not_there(small: Path) -> None:
    for command in (["rerank"], ["retrieve", "--mode", "dense"]):
        assert f"kofid index -o {small} --dense default" in refuse(5, *command, "-i", small, "훈민정음")


def test_exit_5_for_another_encoder_shows_both(workshop: Workshop, tmp_path: Path) -> None:
    # The index remembers its encoder by path and fingerprint: a new one at the same path is not the same.
    encoder, kb = tmp_path / "encoder", tmp_path / "kb"
    shutil.copytree(workshop.folder / "encoder", encoder)
    corpus = write_jsonl(tmp_path / "small.jsonl", SMALL)
    assert kofid("index", corpus, "-o", kb, "--dense", encoder).code == 0
    assert kofid("retrieve", "-i", kb, "--mode", "dense", "훈민정음").code == 0
    shutil.rmtree(encoder)
    shutil.copytree(workshop.folder / "distilled", encoder)
    message = refuse(5, "retrieve", "-i", kb, "--mode", "dense", "훈민정음")
    settings = kofid("verify", kb).object["settings"]
    assert settings["dense"]["fingerprint"] in message


def test_exit_5_for_another_kind(workshop: Workshop) -> None:
    assert "encoder/1" in refuse(5, "retrieve", "-i", workshop.folder / "encoder", "가")
    assert "encoder/1" in refuse(5, "ask", "-i", workshop.folder / "kb", "--reader", workshop.folder / "encoder", "가")


def test_exit_6_while_another_builder_writes(small: Path) -> None:
    from filelock import FileLock

    with FileLock(small / ".lock"):
        assert str(small) in refuse(6, "index", PASSAGES, "-o", small)
    assert kofid("retrieve", "-i", small, "훈민정음").object["ctxs"][0]["id"] == "b"


def test_exit_6_for_a_device_that_is_not_there(workshop: Workshop) -> None:
    assert "--device cpu" in refuse(
        6, "retrieve", "-i", workshop.folder / "kb", "--mode", "dense", "--device", "warp", "가"
    )


def fail_with(error: BaseException) -> Callable[..., Any]:
    def failing(*_: Any, **__: Any) -> Any:
        raise error

    return failing


def test_exit_1_for_our_own_faults_says_so(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kofid.retrieval.index.Index.open", fail_with(RuntimeError("oh")))
    found = kofid("retrieve", "-i", small, "가")
    assert (found.code, found.out) == (1, "")
    assert found.err.startswith("오류: RuntimeError: oh") and "KOFID_DEBUG=1" in found.err


def test_interrupting_is_said_in_one_line(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kofid.retrieval.index.Index.open", fail_with(KeyboardInterrupt()))
    found = kofid("retrieve", "-i", small, "가")
    assert (found.code, found.out, found.err) == (130, "", "오류: 멈추었습니다.\n")


def test_interrupted_training_goes_on_with_resume(kb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kofid.cli import console

    @contextlib.contextmanager
    def interrupted(_what: str) -> Iterator[Callable[[int, int, float], None]]:
        def on_step(step: int, _steps: int, _loss: float) -> None:
            if step == 3:
                raise KeyboardInterrupt

        yield on_step

    def train(output: str, *more: str) -> Result:
        return kofid(
            "train-reader", "-i", kb, QUESTIONS, "--limit", 12, "--n-context", 2, "--model", "fresh:tiny",
            "--vocab-size", 500, "--max-steps", 5, "--save-steps", 2, "--lr", 1e-2, "--device", "cpu", "-o", tmp_path / output, *more,
        )  # fmt: skip

    assert train("whole").code == 0
    with monkeypatch.context() as patch:
        patch.setattr(console, "training_progress", interrupted)
        assert train("part").code == 130
    assert not (tmp_path / "part").exists()
    assert {p.name for p in (tmp_path / ".part.checkpoints").iterdir()} == {".kofid", "checkpoint-2"}
    again = train("part")
    assert (again.code, again.out) == (2, "") and "--resume" in again.err
    assert train("part", "--resume").code == 0
    assert not (tmp_path / ".part.checkpoints").exists()
    whole, part = (next((tmp_path / name).glob("gen-*/model.safetensors")) for name in ("whole", "part"))
    assert part.read_bytes() == whole.read_bytes()
    whole, part = (path.with_name("tokenizer.json") for path in (whole, part))
    assert part.read_bytes() == whole.read_bytes()


def test_a_reader_of_our_output_may_leave_early(kb: Path) -> None:
    command = [sys.executable, "-m", "kofid", "retrieve", "-i", str(kb), QUESTIONS, "-k", "20"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().startswith(b"{")
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


def test_messages_in_english(tmp_path: Path) -> None:
    found = kofid("--lang", "en", "retrieve", "-i", tmp_path / "none", "가")
    assert found.code == 3
    assert found.err == (
        f"error: {tmp_path / 'none'}: no such directory; to make one: kofid index CORPUS -o {tmp_path / 'none'}\n"
    )
    assert kofid("--lang=en", "retrieve", "-i", tmp_path / "none", "가") == found


# --- settings -------------------------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    def write(text: str) -> Path:
        path = tmp_path / "kofid.toml"
        path.write_text(text, encoding="utf-8")
        return path

    yield write


def test_flag_before_environment_before_file_before_default(
    kb: Path, settings: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("retrieve", "-i", kb, "조선의 임금은 누구인가?")
    file = ("--config", settings("[retrieve]\nk = 3\n"))

    def count(*arguments: object) -> int:
        return len(kofid(*arguments).object["ctxs"])

    assert count(*asked) == 10
    assert count(*file, *asked) == 3
    monkeypatch.setenv("KOFID_RETRIEVE_K", "2")
    assert count(*asked) == 2
    assert count(*file, *asked) == 2
    assert count(*file, *asked, "-k", 1) == 1
    monkeypatch.setenv("KOFID_CONFIG", str(file[1]))
    monkeypatch.delenv("KOFID_RETRIEVE_K")
    assert count(*asked) == 3


def test_settings_of_a_command_with_a_hyphen(kb: Path, settings: Callable[[str], Path], tmp_path: Path) -> None:
    file = settings('[train-reader]\nn-context = 1\ndry-run = true\noutput = "nowhere"\n')
    found = kofid("--config", file, "train-reader", "-i", kb, QUESTIONS, "--limit", 1)
    assert found.code == 0 and len(found.object["inputs"]) == 1


@pytest.mark.parametrize("option", ["eval", "json"])
def test_settings_go_by_the_option_s_name(
    kb: Path, settings: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    def says(*arguments: object) -> bool:
        """Tell whether the option was on: figures instead of hits, or JSON for a person."""
        out = kofid(*arguments, "retrieve", "-i", kb, QUESTIONS, "--limit", 1, terminal=option == "json").out
        return "mrr" in out if option == "eval" else out.startswith("{")

    assert not says()
    assert says("--config", settings(f"[retrieve]\n{option} = true\n"))
    monkeypatch.setenv(f"KOFID_RETRIEVE_{option.upper()}", "1")
    assert says()


@pytest.mark.parametrize(
    "text",
    ["k = 3\n", "[retrieve\n", "[retrieve]\nno-such-option = 1\n", "[no-such-command]\nk = 3\n"],
    ids=["no table", "no TOML", "unknown option", "unknown command"],
)
def test_bad_settings_are_refused(kb: Path, settings: Callable[[str], Path], text: str) -> None:
    file = settings(text)
    found = kofid("--config", file, "retrieve", "-i", kb, "가")
    assert found.code in (2, 3) and str(file) in found.err


def test_bad_values_in_the_environment_are_refused(kb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOFID_RETRIEVE_K", "many")
    assert "-k" in refuse(2, "retrieve", "-i", kb, "가")
