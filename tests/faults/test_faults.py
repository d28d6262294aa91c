"""An index through kills, full disks, damage, concurrent use and hostile text: what it was, or what it was to be.

Counts stand in the report that every test prints (``pytest -rP``). ``pytest -m faults`` runs all of what runs here in part.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support.command_line import kofid
from support.disk_faults import CHANGES, PLAIN, STRIKES
from support.fault_trials import DAMAGE, HOSTILE
from support.forgeries import sign
from support.processes import IMPORTED

from kofid.cli import app as cli
from kofid.errors import CorruptArtifactError, IncompatibleArtifactError, ResourceError
from kofid.korean import kiwi as morphology
from kofid.retrieval.build import build_index, update_index
from kofid.retrieval.index import Index
from kofid.retrieval.sparse.analyzer import Analyzer
from kofid.storage.artifacts import open_artifact
from kofid.types import Passage

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="trials fork")

TRIALS = Path(__file__).parents[1] / "support/fault_trials.py"
ENVIRONMENT = os.environ | {
    "PYTHONPATH": IMPORTED,
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONDONTWRITEBYTECODE": "1",
}
MANY_WORDS = "10 MB in one line, all words different"


def trial(root: Path, *arguments: object, prefix: tuple[str, ...] = (), seconds: float = 600) -> dict[str, Any]:
    """Run a trial, print its report, and return it; its failures are none.

    In memory where there is a disk in memory, whose fsync takes no time.
    """
    if not prefix and os.access("/dev/shm", os.W_OK):
        root = Path("/dev/shm")
    command = [*prefix, sys.executable, str(TRIALS), *map(str, arguments)]
    environment = ENVIRONMENT | {"KOFID_TRIALS": str(root)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=seconds, check=False)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    failures = report.pop("failures")
    print(*arguments, json.dumps(report, ensure_ascii=False))
    assert failures == [], "\n".join(failures[:5])
    return report


def some_and_all(some: int, all_of_them: int) -> pytest.MarkDecorator:
    """Run a test with a number of ``times`` by default and with another one under ``-m faults``."""
    return pytest.mark.parametrize("times", [some, pytest.param(all_of_them, marks=pytest.mark.faults)])


EVERY_CHANGE = [
    pytest.param(
        change, marks=pytest.mark.skipif(change == "dense_build" and not find_spec("faiss"), reason="no faiss")
    )
    for change in CHANGES
]
# By default two changes, every ninth step.
SOME_AND_ALL_STEPS = pytest.mark.parametrize(
    ("change", "every"),
    [
        *((change, 9) for change in ("first_build", "update")),
        *(pytest.param(*change.values, 1, marks=[*change.marks, pytest.mark.faults]) for change in EVERY_CHANGE),
    ],
)


# --- killed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", EVERY_CHANGE)
def test_killed_at_every_write_sync_and_rename(tmp_path: Path, change: str):
    """The old or the new index answers (after a first build: none), all of it sound, and the next build succeeds."""
    report = trial(tmp_path, "steps", change, "kill")
    assert report["steps"] == report["of"] > 50
    assert {"fsync", "replace", "rename", "mkdir", "open", "write"} <= report["kinds"].keys()
    before = "none after -9" if change == "first_build" else "old after -9"
    assert report["outcomes"].keys() == {before, "new after -9"}


@pytest.mark.parametrize("strike", ["tear", "lose_power"])
@SOME_AND_ALL_STEPS
def test_killed_within_a_write_and_with_what_was_not_synced_lost(tmp_path: Path, change: str, strike: str, every: int):
    trial(tmp_path, "steps", change, strike, every)


@pytest.mark.parametrize("change", ["first_build", "rebuild", "update"])
@some_and_all(20, 200)
def test_killed_at_random_moments(tmp_path: Path, change: str, times: int):
    assert trial(tmp_path, "moments", change, times)["moments"] == times


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor: no worker processes")
@pytest.mark.parametrize("victim", ["builder", "worker"])
def test_killed_with_worker_processes(tmp_path: Path, victim: str):
    """Workers do not outlive their builder; a builder that loses one says so and leaves the old index."""
    report = trial(tmp_path, "workers", victim)
    assert report["outcomes"] == {"old after -9" if victim == "builder" else "old after 6": 1}


# --- refused by the disk -------------------------------------------------------------------------------------


@pytest.mark.parametrize("strike", [name for name, strike in STRIKES.items() if not strike.kills])
@SOME_AND_ALL_STEPS
def test_refused_at_every_write(tmp_path: Path, change: str, strike: str, every: int):
    """No space (ENOSPC) or a broken disk (EIO), once or from then on: exit code 6 with the old index intact.

    Or success with the new one, where what was refused could be done without (a hard link, removing what is old).
    """
    report = trial(tmp_path, "steps", change, strike, every)
    intact = "none after 6" if change == "first_build" else "old after 6"
    assert intact in report["outcomes"]
    assert report["outcomes"].keys() <= {intact, "new after 0", *(["new after 6"] if "stays" in strike else [])}


def tmpfs(path: Path) -> tuple[str, ...]:
    """Return what a command begins with to have a disk of 4 MB at ``path``; skip where that is not allowed."""
    mount = f"mount -t tmpfs -o size=4m tmpfs '{path}' && exec \"$@\""
    prefix = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh")
    if (
        shutil.which("unshare") is None
        or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no disk of one's own may be mounted here")
    return prefix


@pytest.mark.parametrize("change", EVERY_CHANGE)
def test_disk_really_full(tmp_path: Path, change: str):
    """A disk with room for no page, one, two, ..., until the change succeeds."""
    report = trial(tmp_path, "full_disk", change, prefix=tmpfs(tmp_path))
    intact = "none after 6" if change == "first_build" else "old after 6"
    assert report["outcomes"] == {intact: report["sizes"] - 1, "new after 0": 1} and report["sizes"] >= 3


def test_exit_code_of_a_full_disk(tmp_path: Path):
    corpus = tmp_path / "corpus.jsonl"
    entries = [{"id": str(n), "text": f"거북선 {n * n} 척 이야기 {n}"} for n in range(100)]
    corpus.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    path = tmp_path / "kb"
    build_index(path, [Passage("old", "", "폴로늄")], analyzer=PLAIN)
    before = answer(path, "폴로늄")
    command = [sys.executable, "-m", "kofid", "index", str(corpus), "-o", str(path), "--analyzer", "bigram"]
    limit = 2_000

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, preexec_fn=small_files, check=False)
    assert done.returncode == ResourceError.exit_code, done.stderr
    assert str(path) in done.stderr and "Traceback" not in done.stderr
    assert answer(path, "폴로늄") == before


def test_what_cannot_be_read_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A builder that cannot read which generation is current takes none for an old one."""
    path = tmp_path / "kb"
    build_index(path, [Passage("old", "", "폴로늄")], analyzer=PLAIN)
    before = answer(path, "폴로늄")
    really_open = os.open

    def refuse(file: str | Path, *options: int) -> int:
        if Path(file).name == "CURRENT":
            raise OSError(5, "Input/output error")
        return really_open(file, *options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(ResourceError, match="kb"):
            build_index(path, [Passage("new", "", "라듐")], analyzer=PLAIN)
    assert answer(path, "폴로늄") == before


# --- two writers, readers beside a writer --------------------------------------------------------------------


@some_and_all(9, 99)
def test_two_builders_at_once(tmp_path: Path, times: int):
    """One stops with a ResourceError, the other completes."""
    assert trial(tmp_path, "two_builders", times)["outcomes"] == {"exit codes [0, 6]": times}


@some_and_all(400, 1000)
def test_rebuilt_while_it_is_asked(tmp_path: Path, times: int):
    """Every answer is of one of the generations; an index kept open answers by the same one throughout."""
    report = trial(tmp_path, "live", times)
    assert report["answers"] == times and report["changes"] > times / 50
    assert not any(what.endswith("wrong") for what in report["outcomes"])


# --- damage --------------------------------------------------------------------------------------------------


@some_and_all(150, 1000)
def test_damage_is_found_and_never_answers(tmp_path: Path, times: int):
    """``kofid verify`` names every damaged file; use of the index refuses, or answers as if nothing had happened."""
    report = trial(tmp_path, "mutations", times)
    outcomes = report["outcomes"]
    assert outcomes["verify: 4"] == outcomes["made again: 0"] == times
    assert outcomes["use: refused"] + outcomes["use: right"] == times
    suffixes = {Path(name).suffix for name in report["files"]}
    assert suffixes == {"", ".seg", ".toc", ".json", ".tsv"} and min(report["files"].values()) >= len(DAMAGE)


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x10
    file.write_bytes(content)


def empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("CURRENT", flip),
        ("*/manifest.json", flip),
        ("*/0000.seg", flip),
        ("*/0000.seg.toc", empty),
        ("*/deleted.seg.toc", Path.unlink),
    ],
    ids=lambda value: value.__name__ if callable(value) else value,
)
def test_exit_code_of_damage(tmp_path: Path, name: str, damage: Callable[[Path], None]):
    path = tmp_path / "kb"
    build_index(path, [Passage("a", "", "폴로늄")], analyzer=PLAIN)
    (file,) = path.glob(name)
    damage(file)
    done = kofid("verify", path)
    assert done.code == CorruptArtifactError.exit_code and file.name in done.err


def test_damage_is_not_copied_into_the_next_generation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Where files cannot be linked they are copied; the copy of a damaged one must not get a good checksum."""
    path = tmp_path / "kb"
    n = 5_000  # more than a last segment that an addition writes anew
    texts = [hashlib.sha256(b"%d" % i).hexdigest() for i in range(n)]
    build_index(path, [Passage(f"{i}", "", text) for i, text in enumerate(texts)], analyzer=PLAIN)
    (file,) = path.glob("*/0000.seg")
    content = bytearray(file.read_bytes())
    content[10] ^= 1  # among the texts, which nothing reads here
    file.write_bytes(content)

    def refuse(*args: object) -> None:
        raise OSError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", refuse)
        update_index(path, add=[Passage("new", "", "새 글")])
    with pytest.raises(CorruptArtifactError, match=r"0000\.seg"):
        open_artifact(path, "index", thorough=True)


# --- made with another analyzer ------------------------------------------------------------------------------


def answer(path: Path, question: str) -> list[tuple[str, float]]:
    return [(hit.passage.id, hit.score) for hit in Index.open(path).search(question, 5)]


def refused(path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the message with which opening ``path`` is refused, the same by ``kofid retrieve``, with exit code 5."""
    with pytest.raises(IncompatibleArtifactError) as error:
        Index.open(path)
    monkeypatch.setattr(sys, "argv", ["kofid", "retrieve", "-i", str(path), "질문"])
    assert cli._run() == IncompatibleArtifactError.exit_code == 5
    assert str(error.value) in capsys.readouterr().err
    return str(error.value)


def test_other_kiwi(
    tmp_path: Path, small_index: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    here = morphology.kiwi_version()
    monkeypatch.setattr(morphology, "kiwi_version", lambda: "kiwipiepy 9.9.9, model 8.8.8")
    message = refused(small_index, monkeypatch, capsys)
    assert here in message and "kiwipiepy 9.9.9, model 8.8.8" in message


def test_other_user_dictionary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "kb"
    lines = ("거북선\tNNP\t0",), ("판옥선\tNNP\t0",)
    theirs, ours = (hashlib.sha256("\n".join(words).encode()).hexdigest() for words in lines)
    build_index(path, [Passage("a", "", "폴로늄")], analyzer=Analyzer(PLAIN.components, user_words=lines[0]))
    (words,) = path.glob("gen-*/user_dictionary.tsv")
    words.write_text(f"{lines[1][0]}\n", encoding="utf-8")
    sign(path)
    message = refused(path, monkeypatch, capsys)
    assert theirs in message and ours in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("components", ["whitespace", "of the future"]),
        ("context", "paragraph"),
        ("kiwi", "kiwipiepy 0.1"),
    ],
)
def test_other_analyzer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: object
):
    path = tmp_path / "kb"
    build_index(path, [Passage("a", "", "폴로늄")], analyzer=PLAIN)
    sign(path, lambda manifest: manifest["settings"]["analyzer"].update({name: value}))
    message = refused(path, monkeypatch, capsys)
    _, theirs, ours, _ = message.splitlines()
    assert repr(value) in theirs and "whitespace" in ours and repr(value) not in ours


def test_analyzer_with_settings_that_are_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "kb"
    build_index(path, [Passage("a", "", "폴로늄")], analyzer=PLAIN)
    sign(path, lambda manifest: manifest["settings"]["analyzer"].update(version=2))
    assert "version" in refused(path, monkeypatch, capsys)


def test_index_of_an_earlier_kofid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    build_index(tmp_path / "kb", [Passage("a", "", "폴로늄")], analyzer=PLAIN)
    sign(tmp_path / "kb", lambda manifest: manifest.update(settings={"analyzer": "kiwi+bigram/1"}))
    assert str(tmp_path / "kb") in refused(tmp_path / "kb", monkeypatch, capsys)


# --- hostile text --------------------------------------------------------------------------------------------

# Measured on two processors: to index, 10 MB in one line 3.1 s, a million syllables 0.4 s, the others 0.1 s at most; to
# ask, 0.2 s at most. 680 MB, of which Kiwi 560.
LIMIT_SECONDS, LIMIT_MB = 10, 1024


def test_hostile_text(tmp_path: Path):
    """All in one process, which must not crash, hang, or take more than 1 GB."""
    report = trial(tmp_path, "hostile", *(name for name in HOSTILE if name != MANY_WORDS), seconds=120)
    assert report["peak_mb"] <= LIMIT_MB


@pytest.mark.faults
@pytest.mark.parametrize("name", [name for name in HOSTILE if name != MANY_WORDS])
def test_each_hostile_text(tmp_path: Path, name: str):
    report = trial(tmp_path, "hostile", name)
    assert max(report[name][what] for what in ("index_seconds", "query_seconds", "forgiving_seconds")) <= LIMIT_SECONDS
    assert report["peak_mb"] <= LIMIT_MB


@pytest.mark.faults
def test_long_text_of_many_words(tmp_path: Path):
    """No hostile text but a corpus in one line, of 700,000 different words: it takes its time (24 s), but not to ask."""
    report = trial(tmp_path, "hostile", MANY_WORDS)
    assert report[MANY_WORDS]["query_seconds"] <= LIMIT_SECONDS
