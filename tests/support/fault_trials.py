"""Trials of an index under faults: ``python tests/support/fault_trials.py TRIAL ARGUMENTS`` prints one JSON object.

It holds the trial's counts and, under ``failures``, all that went wrong. Trials run in a process of their own, without
threads, so that they may fork, and so that whatever they break is not the test run.
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any

from kofid.errors import CorruptArtifactError, ResourceError
from kofid.formats import read_corpus
from kofid.korean.text import clean
from kofid.retrieval.build import build_index, update_index
from kofid.retrieval.correct import forgiving_search
from kofid.retrieval.index import Index
from kofid.retrieval.sparse import analysis_pool
from kofid.retrieval.sparse import builder as segments
from kofid.retrieval.sparse.analyzer import Analyzer
from kofid.storage import bundled
from kofid.storage.artifacts import artifact_kind, open_artifact
from kofid.types import Passage
from support.disk_faults import CHANGES, PLAIN, QUESTIONS, STRIKES, Disk, Trial, answers, attempt, build, forked, update

# --- a fault at every step, or at any moment -----------------------------------------------------------------


def steps(root: Path, change: str, strike: str, every: str = "1") -> dict[str, Any]:
    """Strike at every step of a change; with ``every`` at every so many one, and at each of the last 12."""
    trial = Trial(root, change)
    kinds = trial.steps()
    fault = STRIKES[strike]
    points = [n for n, kind in enumerate(kinds, 1) if strike != "tear" or kind == "write"]
    points = sorted({*points[:: int(every)], *points[-12:]})
    for n in points:
        place = f"{change}/{strike}/{n}:{kinds[n - 1]}"
        path = trial.begin(n)

        def act(n: int = n, path: Path = path) -> None:
            Disk(n, fault.do, fault.lasting).install()
            trial.change.act(path)

        code, message = forked(act)
        state = trial.state(path, place)
        trial.outcomes[f"{state} after {code}"] += 1
        if fault.kills:
            if code != -signal.SIGKILL:
                trial.fail(place, f"not killed: {code} {message}")
        elif code == ResourceError.exit_code:
            # A disk that refuses everything from the last step on does not let the switch be taken back either.
            if state not in ("old", "none") and not fault.lasting:
                trial.fail(place, f"{state} after a ResourceError")
        elif code != 0:
            trial.fail(place, f"exit {code}: {message}")
        elif state != "new":
            trial.fail(place, f"{state} after a success")
        trial.follow(path, place, resume=n % 2 == 0)
        shutil.rmtree(path.parent)
    return {"steps": len(points), "of": len(kinds), "kinds": Counter(kinds)} | trial.report()


def moments(root: Path, change: str, n: str, seed: str = "1") -> dict[str, Any]:
    """Kill a change at random moments."""
    trial = Trial(root, change)
    rng = random.Random(int(seed))
    path = trial.begin("timed")
    start = time.perf_counter()
    forked(lambda: trial.change.act(path))
    whole = time.perf_counter() - start
    for number in range(int(n)):
        path = trial.begin(number)
        child = os.fork()
        if child == 0:
            attempt(lambda path=path: trial.change.act(path))  # type: ignore[misc]
            os._exit(0)
        time.sleep(rng.uniform(0, 1.2 * whole))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        trial.outcomes[trial.state(path, number)] += 1
        trial.follow(path, number, resume=number % 2 == 0)
        shutil.rmtree(path.parent)
    return {"moments": int(n)} | trial.report()


def full_disk(root: Path, change: str) -> dict[str, Any]:
    """Make a change on a real small disk (``root``, a tmpfs) with no room, one page of room, two, ... until it succeeds."""
    trial = Trial(root, change)
    page = os.sysconf("SC_PAGE_SIZE")
    for pages in count():
        path = trial.begin(pages)
        disk = os.statvfs(root)
        (root / "ballast").write_bytes(bytes(disk.f_bavail * disk.f_frsize - pages * page))
        code, message = forked(lambda path=path: trial.change.act(path))  # type: ignore[misc]
        (root / "ballast").unlink()
        state = trial.state(path, pages)
        trial.outcomes[f"{state} after {code}"] += 1
        if code not in (0, ResourceError.exit_code):
            trial.fail(pages, f"exit {code}: {message}")
        if (state == "new") != (code == 0):
            trial.fail(pages, f"{state} after {code}")
        trial.follow(path, pages, resume=False)
        shutil.rmtree(path.parent)
        if code == 0:
            return {"sizes": pages + 1} | trial.report()
    raise AssertionError


# --- two writers ---------------------------------------------------------------------------------------------


def two_builders(root: Path, rounds: str) -> dict[str, Any]:
    """Start two changes of one index at the same moment: two first builds, two rebuilds, a rebuild and an update."""
    trial = Trial(root, "rebuild")
    copy = trial.begin("updated")
    update(copy)
    updated = answers(copy)
    for number in range(int(rounds)):
        kind = number % 3
        path = trial.begin(number) if kind else root / str(number) / "kb"
        path.parent.mkdir(exist_ok=True)
        codes = _at_once(path, [_build_new, update if kind == 2 else _build_new])
        trial.outcomes[f"exit codes {sorted(codes)}"] += 1
        if sorted(codes) != [0, ResourceError.exit_code]:
            trial.fail(number, f"exit codes {codes}")
        elif answers(path) != (updated if kind == 2 and codes[1] == 0 else trial.new):
            trial.fail(number, "the index is not what the one that completed makes")
        trial.follow(path, number, resume=False)
    return {"rounds": int(rounds)} | trial.report()


Slowly = Callable[[list[Passage]], Iterable[Passage]]


def _build_new(path: Path, slowly: Slowly) -> None:
    build(path, 2, slowly)


def _at_once(path: Path, changes: list[Callable[[Path, Slowly], None]]) -> list[int]:
    """Start two changes at the same moment, each of which goes on until the other has ended; return exit codes."""
    gate, opener = os.pipe()
    children = []
    for number, change in enumerate(changes):

        def until_the_other_has_ended(content: list[Passage], other: int = 1 - number) -> Iterator[Passage]:
            patience = time.monotonic() + 10
            while not path.with_name(f"ended{other}").exists() and time.monotonic() < patience:
                time.sleep(0.001)
            yield from content

        child = os.fork()
        if child == 0:
            os.close(opener)
            os.read(gate, 1)  # until the parent opens it
            code, _ = attempt(lambda c=change, s=until_the_other_has_ended: c(path, s))  # type: ignore[misc]
            path.with_name(f"ended{number}").touch()
            os._exit(code)
        children.append(child)
    os.close(gate)
    os.close(opener)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


# --- readers beside a writer ---------------------------------------------------------------------------------


def live(root: Path, n: str) -> dict[str, Any]:
    """Rebuild, update and rank anew in a loop while other processes ask ``n`` questions in all, and one verifies."""
    trial = Trial(root, "update")
    path, copy = trial.begin("live"), trial.begin("copy")
    turns = [update, CHANGES["ranking"].act, lambda path: build(path, 3), trial.change.prepare]
    known: list[list[Any]] = []  # what each generation answers to each question
    for turn in turns:
        turn(copy)
        known.append([_ask(Index.open(copy), question) for question in QUESTIONS])
    readers = {
        "opens anew": lambda r: _open_anew(r, path, int(n) // 4),
        "opens anew, two threads": lambda r: _in_threads(r, path, int(n) // 4),
        "keeps open": lambda r: _keep_open(r, path, int(n) // 4),
        "verifies": lambda r: _verify(r, path, int(n) // 10),
    }
    running = {_fork_reader(root / name, known, act): name for name, act in readers.items()}
    changes = 0
    while running:
        turns[changes % len(turns)](path)
        changes += 1
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended:
            name = running.pop(ended)
            seen = json.loads((root / name).read_text()) if status == 0 else {"answers": {}, "failures": [f"{status}"]}
            trial.outcomes.update({f"{name}: {what}": times for what, times in seen["answers"].items()})
            trial.failures += [f"{name}: {failure}" for failure in seen["failures"]]
    n_answers = sum(times for what, times in trial.outcomes.items() if "verif" not in what)
    return {"answers": n_answers, "changes": changes} | trial.report()


class Reader:
    """What a reading process saw."""

    def __init__(self, known: list[list[Any]]) -> None:
        self.known = known
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []

    def ask(self, index: Index, number: int, generations: set[int] | None = None) -> set[int]:
        """Ask a question and return the generations (of those given) that answer it so; there must be one."""
        hits = _ask(index, QUESTIONS[number])
        fitting = {g for g in generations or range(len(self.known)) if self.known[g][number] == hits}
        self.answers["right" if fitting else "wrong"] += 1
        if not fitting:
            self.failures.append(f"{QUESTIONS[number]}: of no generation, or of another than before: {hits}")
        return fitting


def _ask(index: Index, question: str) -> list[tuple[str, str, float]]:
    return [(hit.passage.id, hit.passage.text, hit.score) for hit in index.search(question, 5)]


def _fork_reader(report: Path, known: list[list[Any]], act: Callable[[Reader], None]) -> int:
    child = os.fork()
    if child == 0:
        reader = Reader(known)
        with _noting(reader):
            act(reader)
        report.write_text(json.dumps({"answers": reader.answers, "failures": reader.failures[:5]}))
        os._exit(0)
    return child


class _noting(suppress):  # noqa: N801
    """Note an error as a failure of the reader, and go on."""

    def __init__(self, reader: Reader) -> None:
        super().__init__(Exception)
        self._reader = reader

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        if error is not None:
            self._reader.failures.append("".join(traceback.format_exception(error)))
        return bool(super().__exit__(kind, error, trace))


def _open_anew(reader: Reader, path: Path, n: int) -> None:
    for number in range(n):
        with _noting(reader):
            reader.ask(Index.open(path), number % len(QUESTIONS))


def _in_threads(reader: Reader, path: Path, n: int) -> None:
    threads = [Thread(target=_open_anew, args=(reader, path, n)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _keep_open(reader: Reader, path: Path, n: int) -> None:
    for number in range(n):
        if number % 25 == 0:
            index, generations = Index.open(path), None
        time.sleep(0.004)
        generations = reader.ask(index, number % len(QUESTIONS), generations)


def _verify(reader: Reader, path: Path, n: int) -> None:
    for _ in range(n):
        with _noting(reader):
            open_artifact(path, artifact_kind(path), thorough=True)
            reader.answers["verified"] += 1


# --- worker processes ----------------------------------------------------------------------------------------


def workers(root: Path, victim: str) -> dict[str, Any]:
    """Kill a build (``builder``) that has worker processes, or one of these (``worker``)."""
    trial = Trial(root, "rebuild")
    path = trial.begin("workers")
    analysis_pool._WORTH_A_POOL, analysis_pool._BATCH = 0, 32

    def endless() -> Iterator[Passage]:
        for number in count():
            time.sleep(0.002)
            yield Passage(f"글{number}", "", f"낱말{number} 이야기{number}")

    builder = os.fork()
    if builder == 0:
        code, message = attempt(lambda: build_index(path, endless(), analyzer=PLAIN))
        (root / "message").write_text(message)
        os._exit(code)
    _wait_for(lambda: len(_workers_of(builder)) == len(os.sched_getaffinity(0)))
    pool = _workers_of(builder)
    time.sleep(0.5)
    os.kill(builder if victim == "builder" else pool[0], signal.SIGKILL)
    ended = _wait_for(lambda: os.waitid(os.P_PID, builder, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None)
    if not ended:
        trial.fail(victim, "the build does not end")
        os.kill(builder, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(builder, 0)[1])
    if victim == "worker" and code != ResourceError.exit_code:
        trial.fail(victim, f"exit {code}: {(root / 'message').read_text()}")
    trial.outcomes[f"{trial.state(path, victim)} after {code}"] += 1
    if not _wait_for(lambda: not any(map(_is_alive, pool))):
        left = [worker for worker in pool if _is_alive(worker)]
        trial.fail(victim, f"{len(left)} worker processes stay behind")
        for worker in left:
            os.kill(worker, signal.SIGKILL)
    return {"workers": len(pool)} | trial.report()


def _wait_for(condition: Callable[[], bool], seconds: float = 15) -> bool:
    patience = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > patience:
            return False
        time.sleep(0.05)
    return True


def _workers_of(parent: int) -> list[int]:
    """Return the children of a process that work in its pool."""
    workers = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            before_parent, _, after = (entry / "stat").read_text().rpartition(") ")
            if int(after.split()[1]) == parent and b"spawn_main" in (entry / "cmdline").read_bytes():
                workers.append(int(entry.name))
    return workers


def _is_alive(process: int) -> bool:
    try:
        return b"spawn_main" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


# --- damage --------------------------------------------------------------------------------------------------

DAMAGE = ("flipped bit", "cut", "zeroed", "deleted", "appended")
WORDS = ("훈민정음", "한산도 대첩", "없는낱말")


def mutations(root: Path, n: str, seed: str = "1") -> dict[str, Any]:
    """Damage an index in ``n`` ways, spread over its files: what is noticed, and are answers ever wrong?"""
    segments.MAX_PASSAGES, segments._SLACK = 2_000, 100
    rng = random.Random(int(seed))
    index = _index_to_damage(root / "sound" / "kb")
    right = _everyday(index)
    files = sorted(p.relative_to(index) for p in index.rglob("*") if p.is_file() and p.name != ".lock")
    outcomes: Counter[str] = Counter()
    by_file: Counter[str] = Counter()
    failures: list[str] = []
    for number in range(int(n)):
        file = files[number % len(files)]
        path = root / str(number) / "kb"
        shutil.copytree(index, path, copy_function=os.link, ignore=shutil.ignore_patterns(".lock"))
        damage = _damage(path / file, DAMAGE[number // len(files) % len(DAMAGE)], rng)
        place = f"{number}: {file}: {damage}"
        by_file[file.name] += 1
        verified = _verified(path)
        outcomes[f"verify: {verified[0]}"] += 1
        if verified[0] != CorruptArtifactError.exit_code or file.name not in verified[1]:
            failures.append(f"{place}: verify: {verified}")
        try:
            use = _everyday(path)
            outcomes["use: right" if use == right else "use: wrong"] += 1
            if use != right:
                failures.append(f"{place}: another answer")
        except CorruptArtifactError:
            outcomes["use: refused"] += 1
        except Exception:
            outcomes["use: other error"] += 1
            failures.append(f"{place}: {traceback.format_exc()}")
        code, message = attempt(lambda path=path: build(path, 1))  # type: ignore[misc]
        outcomes[f"made again: {code}"] += 1
        if code or _verified(path)[0]:
            failures.append(f"{place}: cannot be made again: {message}")
        shutil.rmtree(path.parent)
    return {"mutations": int(n), "files": by_file, "outcomes": outcomes, "failures": failures}


def _index_to_damage(path: Path) -> Path:
    """Return an index of all sorts of files: several segments, of several blocks, deleted passages, a user dictionary."""
    passages = list(read_corpus([str(bundled.resource("demo/passages.jsonl"))]))
    words = [word for passage in passages for word in passage.text.split()]
    rng = random.Random(1)
    passages += [Passage(f"섞은글{n}", f"제목 {n}", " ".join(rng.choices(words, k=40))) for n in range(5_000)]
    analyzer = Analyzer(user_words=("한산도대첩\tNNP\t0", "거북선\tNNP\t0"))
    build_index(path, passages, analyzer=analyzer)
    update_index(path, delete=[passages[5].id, passages[-1].id])
    return path


def _everyday(path: Path) -> Any:
    """Open an index as every command does, ask, and fetch passages by their ids."""
    index = Index.open(path)
    hits = [[(h.passage.id, h.passage.title, h.passage.text, h.score) for h in index.search(q, 5)] for q in WORDS]
    fetched = [index.passages.find(row[0][0]) for row in hits if row]
    return hits, [index.passages[place].text for place in fetched if place is not None], len(index)


def _verified(path: Path) -> tuple[int, str]:
    """Run ``kofid verify`` in this process; return exit code and message."""
    from kofid.cli.commands import verify

    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return attempt(lambda: verify.run(path))


def _damage(file: Path, kind: str, rng: random.Random) -> str:
    """Damage a file in this way, or where it cannot be (an empty file), by adding to it; return what was done."""
    before = file.read_bytes()
    after, what = _damaged(before, kind, rng)
    if after == before:
        after, what = _damaged(before, "appended", rng)
    file.unlink()  # it may have other names, in sound indexes
    if after is not None:
        file.write_bytes(after)
    return what


def _damaged(content: bytes, kind: str, rng: random.Random) -> tuple[bytes | None, str]:
    place = rng.randrange(len(content)) if content else 0
    if kind == "deleted":
        return None, kind
    if kind == "cut" and content:
        return content[:place], f"cut at {place} of {len(content)}"
    if kind == "flipped bit" and content:
        bit = rng.randrange(8)
        flipped = bytes([content[place] ^ (1 << bit)])
        return content[:place] + flipped + content[place + 1 :], f"bit {bit} of byte {place} of {len(content)} flipped"
    if kind == "zeroed":
        start = place // 4096 * 4096
        zeros = bytes(min(4096, len(content) - start))
        return content[:start] + zeros + content[start + len(zeros) :], f"4 KB from {start} zeroed"
    added = bytes(rng.choices(b"\0\n x7", k=rng.choice((1, 1, 100, 5000))))
    return content + added, f"{len(added)} bytes added, {added[:10]!r}"


# --- hostile text --------------------------------------------------------------------------------------------

# Made when they are asked for: every trial starts by reading this module.
HOSTILE: dict[str, Callable[[], str]] = {
    "lone surrogates": lambda: "이순신\ud800장군 \udfff 거북선\udc80" * 20,
    "NUL": lambda: "이순신\0장군 \0\0 거북선\0" * 20,
    "zero-width": lambda: "이\u200b순\u200d신\ufeff 장\u2060군\u00ad 거북선\u200e" * 20,
    "old Hangul": lambda: (
        "\u1112\u119e\u11ab\u1100\u1173\u11af \u1102\u1161\u11f0\u1109\u1161\u1105\u1161 나랏말\u110a\u119e미 " * 20
    ),
    "lone jamo": lambda: "\u1100\u1100\u1100 \u11a8\u11a8 ㅋㅋㅋㅋ ㅠㅠ \u1161" * 20,
    "emoji": lambda: "👨\u200d👩\u200d👧\u200d👦 🇰🇷 👍🏽 이순신🐢거북선 " * 20,
    "10 MB in one line": lambda: "이순신은 조선의 장군이다 " * 290_000,
    "10 MB in one line, all words different": lambda: " ".join(f"낱말{n}은" for n in range(700_000)),
    "a million a": lambda: "a" * 1_000_000,
    "100,000 combining marks": lambda: "가" + "\u0301\u0323" * 50_000,
    "a million syllables without spaces": lambda: "".join(chr(0xAC00 + n * 7919 % 11_172) for n in range(1_000_000)),
    "1 MB of hanja": lambda: "".join(chr(0x4E00 + n * 7919 % 20_000) for n in range(350_000)),
}


def hostile(root: Path, *names: str) -> dict[str, Any]:
    """Index each of the hostile texts, and ask for it; memory is that of all so far."""
    start = time.perf_counter()
    build_index(root / "warm", [Passage("a", "", "이순신")])
    report: dict[str, Any] = {"warm_up": round(time.perf_counter() - start, 1), "failures": []}
    for number, name in enumerate(names):
        (root / str(number)).mkdir()
        report[name] = _hostile(root / str(number), name, report["failures"])
    return report | {"peak_mb": _peak()}


def _hostile(root: Path, name: str, failures: list[str]) -> dict[str, Any]:
    """Index a text, in its title, its text and its id, beside a harmless one; ask for it, and for the other."""
    text = HOSTILE[name]()
    corpus = root / "corpus.jsonl"
    entries = [
        {"id": "harmless", "title": "세종", "text": "세종은 훈민정음을 만들었다."},
        {"id": "hostile", "title": name, "text": text},
    ]
    if len(text) < 10_000:
        entries.append({"id": text[:50], "title": text, "text": f"제목이 이상한 글 {text[:20]}"})
    corpus.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    start = time.perf_counter()
    settings = build_index(root / "kb", read_corpus([str(corpus)]))
    indexed, index_memory = time.perf_counter(), _peak()
    index = Index.open(root / "kb")
    hits = index.search(text, 5)
    searched = time.perf_counter()
    forgiving_search(index, index.search, clean(text), 5)  # as commands ask
    forgiven = time.perf_counter()
    harmless = [hit.passage.title for hit in index.search("훈민정음을 만든 왕은?", 1)]
    if harmless != ["세종"]:
        failures.append(f"{name}: the harmless passage is not found, but {harmless}")
    if not hits:
        failures.append(f"{name}: the text does not find itself")
    return {
        "passages": settings.n_passages,
        "hits": len(hits),
        "index_seconds": round(indexed - start, 1),
        "query_seconds": round(searched - indexed, 1),
        "forgiving_seconds": round(forgiven - searched, 1),
        "index_mb": index_memory,
        "peak_mb": _peak(),
    }


def _peak() -> int:
    """Return the most memory that this process has used, in 2^20 bytes."""
    status = Path("/proc/self/status")
    if status.is_file():  # ru_maxrss would count the process that started this one, as it was before exec
        return int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) >> 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def main() -> None:
    trial, *arguments = sys.argv[1:]
    with tempfile.TemporaryDirectory(dir=os.environ.get("KOFID_TRIALS")) as root:
        report = globals()[trial](Path(root), *arguments)
    print(json.dumps(report, ensure_ascii=False))


if __name__ == "__main__":
    main()
