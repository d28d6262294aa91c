"""Faults on purpose: disks that refuse, and processes that die, at the n-th thing that is written."""

from __future__ import annotations

import builtins
import errno
import io
import json
import os
import shutil
import signal
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kofid.errors import InputError, KofidError
from kofid.retrieval.build import build_index, record_ranking, update_index
from kofid.retrieval.dense.base import NamedEncoder
from kofid.retrieval.hybrid import VectorSearch
from kofid.retrieval.index import Index
from kofid.retrieval.sparse import builder as segments
from kofid.retrieval.sparse.analyzer import Analyzer, parse_components
from kofid.retrieval.sparse.ranking import Ranking
from kofid.storage.artifacts import JOURNAL, open_artifact
from kofid.types import Passage

PLAIN = Analyzer(parse_components("whitespace+bigram"))  # neither needs Kiwi, whose threads would not survive a fork
QUESTIONS = ("거북선을 이끈 조선의 장군", "글 7의 셋째 이야기", "제목 3", "없는말", "새로 온 글")


# --- a disk that strikes -------------------------------------------------------------------------------------


@dataclass
class Disk:
    """Counts what a process writes; before the thing numbered ``at`` (from 1), and with ``lasting`` every later one, ``strike``.

    ``strike`` gets the disk and, for a write, a function that writes only half of it.
    """

    at: int = 0
    strike: Callable[[Disk, Callable[[], object] | None], None] = lambda disk, half: None
    lasting: bool = False
    kinds: list[str] = field(default_factory=list)
    unsynced: dict[tuple[int, int], int] = field(default_factory=dict)  # inode: descriptor

    def step(self, kind: str, half: Callable[[], object] | None = None) -> None:
        """Note that something is about to be written."""
        self.kinds.append(kind)
        if self.at and (len(self.kinds) == self.at or (self.lasting and len(self.kinds) > self.at)):
            self.strike(self, half)

    def wrote(self, descriptor: int) -> None:
        """Note that a file has content that only the page cache holds."""
        status = os.fstat(descriptor)
        inode = status.st_dev, status.st_ino
        if inode not in self.unsynced:
            self.unsynced[inode] = os.dup(descriptor)

    def synced(self, descriptor: int) -> None:
        """Note that a file's content is on disk."""
        status = os.fstat(descriptor)
        duplicate = self.unsynced.pop((status.st_dev, status.st_ino), None)
        if duplicate is not None:
            os.close(duplicate)

    def install(self) -> None:
        """Watch this process from now on."""
        really_open = io.open

        def opened(file: Any, mode: str = "r", buffering: int = -1, *args: Any, **options: Any) -> Any:
            if isinstance(file, int) or not set(mode) & set("wxa+"):
                return really_open(file, mode, buffering, *args, **options)
            self.step("open")
            raw = WatchedFile(file, mode.replace("b", "").replace("t", ""))
            raw.disk = self
            if "b" in mode:
                return raw if buffering == 0 else io.BufferedWriter(raw, 1024)
            names = ("encoding", "errors", "newline")
            return io.TextIOWrapper(io.BufferedWriter(raw, 1024), **dict(zip(names, args, strict=False)), **options)

        io.open = builtins.open = opened  # type: ignore[assignment]
        for name in ("rename", "replace", "link", "mkdir", "rmdir", "unlink", "remove", "truncate", "symlink"):
            setattr(os, name, self._watched(name, getattr(os, name)))
        os_open, fsync, sendfile = os.open, os.fsync, os.sendfile

        def open_descriptor(path: Any, flags: int, *args: Any, **options: Any) -> int:
            if flags & os.O_CREAT:
                self.step("open")
            return os_open(path, flags, *args, **options)

        def sync(descriptor: int) -> None:
            self.step("fsync")
            fsync(descriptor)
            self.synced(descriptor)

        def send(target: int, *args: Any) -> int:
            self.step("write")
            self.wrote(target)
            return sendfile(target, *args)

        os.open, os.fsync, os.sendfile = open_descriptor, sync, send  # type: ignore[assignment]

    def _watched(self, name: str, function: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            self.step(name)
            return function(*args, **options)

        return call


class WatchedFile(io.FileIO):
    """A file each of whose real writes is counted."""

    disk: Disk

    def write(self, content: Any) -> int:
        content = memoryview(content).cast("B")
        self.disk.step("write", lambda: super(WatchedFile, self).write(content[: len(content) // 2]))
        self.disk.wrote(self.fileno())
        return super().write(content)

    def truncate(self, size: int | None = None) -> int:
        self.disk.step("truncate")
        return super().truncate(size)


def kill(disk: Disk, half: Callable[[], object] | None) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def tear(disk: Disk, half: Callable[[], object] | None) -> None:
    """Be killed in the midst of a write."""
    if half is not None:
        half()
    os.kill(os.getpid(), signal.SIGKILL)


def lose_power(disk: Disk, half: Callable[[], object] | None) -> None:
    """Be killed, and lose the content of every file that was not synced."""
    for descriptor in disk.unsynced.values():
        os.ftruncate(descriptor, 0)
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(number: int) -> Callable[[Disk, Callable[[], object] | None], None]:
    """Return a strike that fails as the system does, a write after half of it."""

    def strike(disk: Disk, half: Callable[[], object] | None) -> None:
        if half is not None:
            half()
        raise OSError(number, os.strerror(number))

    return strike


class Strike(NamedTuple):
    """How a disk strikes, and whether the process dies of it."""

    do: Callable[[Disk, Callable[[], object] | None], None]
    kills: bool
    lasting: bool = False


STRIKES = {
    "kill": Strike(kill, True),
    "tear": Strike(tear, True),
    "lose_power": Strike(lose_power, True),
    "full": Strike(refuse(errno.ENOSPC), False),
    "stays_full": Strike(refuse(errno.ENOSPC), False, lasting=True),
    "broken": Strike(refuse(errno.EIO), False),
    "stays_broken": Strike(refuse(errno.EIO), False, lasting=True),
}


def attempt(act: Callable[[], object]) -> tuple[int, str]:
    """Run ``act``; return its exit code (0, of a KofidError its own, 99 for another error) and message."""
    try:
        act()
    except KofidError as error:
        return error.exit_code, str(error)
    except BaseException:
        return 99, traceback.format_exc()
    return 0, ""


def forked(act: Callable[[], object]) -> tuple[int, str]:
    """Run ``act`` in a child, of a process without threads; return exit code and message (-9: killed)."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code, message = attempt(act)
        os.write(writer, message.encode("utf-8", "replace")[-4_000:])
        os._exit(code)
    os.close(writer)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with open(reader, "rb") as pipe:
        return status, pipe.read().decode("utf-8", "replace")


# --- what an index says --------------------------------------------------------------------------------------


def passages(generation: int, n: int = 40) -> list[Passage]:
    """Return passages of two an article; each generation says something else."""
    return [
        Passage(
            f"글{i // 2}#{i % 2}", f"제목 {i // 2}", f"글 {i}의 {generation}째 이야기: 거북선 {i * i} 척을 이끈 장군"
        )
        for i in range(n + generation)
    ]


def build(
    path: Path,
    generation: int,
    slowly: Callable[[list[Passage]], Iterable[Passage]] = list,
    *,
    resume: bool = False,
) -> None:
    build_index(path, slowly(passages(generation)), analyzer=PLAIN, resume=resume)


class Letters:
    """Stands in for an encoder of texts: 50 numbers that depend on the letters."""

    dimension = 50

    def encode_passages(self, passages: Sequence[Passage]) -> Any:
        return self.encode_questions([passage.text for passage in passages])

    def encode_questions(self, texts: Sequence[str]) -> Any:
        return np.array([[ord(text[i % len(text)]) / 1000 for i in range(50)] for text in texts], np.float32)


def answers(path: Path) -> Any:
    """Return all that an index, opened now, says: answers, passages, settings."""
    index = Index.open(path)
    encoder: Any = Letters()
    searches = [index.search]
    if index.has_vectors:
        searches.append(VectorSearch(index, encoder, index.open_vectors()).dense)
    hits = [
        [(hit.passage.id, hit.passage.text, hit.score) for hit in search(q, 5)]
        for search in searches
        for q in QUESTIONS
    ]
    return hits, [(p.id, p.title, p.text) for p in index.passages], len(index), index.artifact.settings


def files(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


# --- faults at every step of a change ------------------------------------------------------------------------


class Change(NamedTuple):
    """A change to an index: what is there before, and what is done to it."""

    prepare: Callable[[Path], None]
    act: Callable[[Path], None]


def _nothing(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)


def _interrupted(path: Path) -> None:
    """Leave what a build leaves that was killed when its second segment was finished."""
    build(path, 1)
    noted = 0

    def strike(disk: Disk, half: Callable[[], object] | None) -> None:
        nonlocal noted
        noted += disk.kinds[-1] == "replace"
        if noted == 3:
            kill(disk, half)

    def act() -> None:
        Disk(1, strike, lasting=True).install()
        build(path, 2)

    assert forked(act)[0] == -signal.SIGKILL
    assert list(path.glob(f".building-*/{JOURNAL}"))


def update(path: Path, slowly: Callable[[list[Passage]], Iterable[Passage]] = list) -> None:
    add = [Passage("새글", "새 글", "새로 온 글에는 거북선이 없다"), passages(3)[4]]
    update_index(path, add=slowly(add), delete=["글7#0", "글0#1"])


def build_dense(path: Path) -> None:
    encoder: Any = Letters()
    build_index(path, passages(2), analyzer=PLAIN, encoder=NamedEncoder(encoder, "letters", "0"))


CHANGES = {
    "first_build": Change(_nothing, lambda path: build(path, 2)),
    "rebuild": Change(lambda path: build(path, 1), lambda path: build(path, 2)),
    "resumed_build": Change(_interrupted, lambda path: build(path, 2, resume=True)),
    "dense_build": Change(lambda path: build(path, 1), build_dense),
    "update": Change(lambda path: build(path, 1), update),
    "ranking": Change(
        lambda path: build(path, 1), lambda path: record_ranking(path, Ranking(title_weight=9.0), [3.0, 1.0])
    ),
}


class Trial:
    """A change to be made over and over, each time from the same beginning and with another fault."""

    def __init__(self, root: Path, change: str) -> None:
        segments.MAX_PASSAGES, segments._SLACK = 16, 4  # several segments of a few passages
        self.root = root
        self.change = CHANGES[change]
        self.template = root / "template" / "kb"
        self.change.prepare(self.template)
        self.old = answers(self.template) if self.template.is_dir() else None
        complete = self.begin("complete")
        self.change.act(complete)
        self.new = answers(complete)
        build(complete, 4)
        self.next = answers(complete)
        build(complete, 2)
        self.resumed = answers(complete)
        self.outcomes: Counter[str] = Counter()
        self.failures: list[str] = []

    def begin(self, name: object) -> Path:
        """Return a directory in the state before the change."""
        path = self.root / str(name) / "kb"
        path.parent.mkdir()
        if self.template.is_dir():
            shutil.copytree(self.template, path, copy_function=os.link, ignore=shutil.ignore_patterns(".lock"))
        return path

    def steps(self) -> list[str]:
        """Return the kinds of all steps of the change."""
        path, report = self.begin("counted"), self.root / "kinds"

        def act() -> None:
            disk = Disk()
            disk.install()
            self.change.act(path)
            kinds = json.dumps(disk.kinds)
            report.write_text(kinds)

        assert forked(act) == (0, "")
        return list(json.loads(report.read_text()))

    def report(self) -> dict[str, Any]:
        return {"outcomes": self.outcomes, "failures": self.failures}

    def fail(self, place: object, what: str) -> None:
        self.failures.append(f"{place}: {what}")

    def state(self, path: Path, place: object) -> str:
        """Return ``old``, ``new`` or ``none``; note it as a failure when it is anything else."""
        try:
            state = answers(path)
            open_artifact(path, "index", thorough=True)
        except InputError:
            state = None
        except Exception as error:
            self.fail(place, f"{type(error).__name__}: {error}")
            return "failure"
        if state == self.new:
            return "new"
        if state != self.old:
            self.fail(place, "neither the old nor the new index" if state else "no index")
            return "failure"
        return "old" if self.old else "none"

    def follow(self, path: Path, place: object, *, resume: bool) -> None:
        """Build again, something else or, with ``resume``, what the change may have begun; the result must be right."""
        generation = 2 if resume else 4
        try:
            build(path, generation, resume=resume)
            if answers(path) != (self.resumed if resume else self.next):
                self.fail(place, "another build after it gives something else")
            if [name.rstrip("0123456789") for name in files(path)] != [".lock", "CURRENT", "gen-"]:
                self.fail(place, f"another build after it leaves {files(path)}")
        except Exception as error:
            self.fail(place, f"another build after it: {type(error).__name__}: {error}")
