"""Kept directories: switched whole, checked on opening, never in the way of the next build."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count as count_from
from pathlib import Path
from typing import Any

import pytest
from support.forgeries import sign

from kofid import __version__
from kofid.errors import CorruptArtifactError, IncompatibleArtifactError, InputError, ResourceError
from kofid.retrieval.build import build_index
from kofid.retrieval.index import Index
from kofid.storage.arrays import TOC
from kofid.storage.artifacts import FORMAT, JOURNAL, artifact_kind, is_artifact, open_artifact, write_artifact
from kofid.storage.files import link_file
from kofid.types import Passage

# What stands in for an artifact's content: a reranker is any weights and a configuration.
KIND = "reranker"


def fill(directory: Path, content: str) -> None:
    (directory / "sub").mkdir(exist_ok=True)
    (directory / "sub" / "a.txt").write_text(content)
    (directory / "b.txt").write_text(content)
    (directory / "config.json").write_text("{}")
    (directory / "model.safetensors").write_text("")


def build(path: Path, content: str, settings: dict[str, Any] | None = None) -> None:
    with write_artifact(path, KIND, settings or {}) as directory:
        fill(directory, content)


def content(path: Path) -> str:
    directory = open_artifact(path, KIND).directory
    a, b = (directory / "sub" / "a.txt").read_text(), (directory / "b.txt").read_text()
    assert a == b
    return a


def names(path: Path) -> list[str]:
    return sorted(p.name for p in path.iterdir())


# --- writing -------------------------------------------------------------------------------------------------


def test_manifest(tmp_path: Path):
    path = tmp_path / "kb"
    settings: dict[str, Any] = {"k1": 1.2}
    with write_artifact(path, KIND, settings) as directory:
        assert list(directory.iterdir()) == []
        (directory / "config.json").write_text("이순신")
        (directory / "model.safetensors").write_text("")
        settings["n_passages"] = 3
    artifact = open_artifact(path, KIND)
    assert artifact.directory == path / "gen-1"
    assert artifact.kind == KIND and artifact.settings == {"k1": 1.2, "n_passages": 3}
    manifest = json.loads((path / "gen-1" / "manifest.json").read_text())
    # echo -n 이순신 | sha256sum; three syllables of three bytes
    digest = "1c622364d7f8559f6c22913a8201933e38b627bce3264a52a045601f3882c7db"
    assert manifest["files"]["config.json"] == {"sha256": digest, "size": 9}
    assert manifest["files"].keys() == {"config.json", "model.safetensors"} == set(artifact.files)
    assert (manifest["format"], manifest["kind"], manifest["kofid"]) == (FORMAT, KIND, __version__)
    assert (path / "CURRENT").read_text().split()[0] == "gen-1"
    assert artifact_kind(path) == KIND and is_artifact(path)


def test_fingerprint_tells_contents_and_settings_apart(tmp_path: Path):
    fingerprints = []
    for name, text, settings in (("a", "x", {}), ("b", "x", {}), ("c", "y", {}), ("d", "x", {"k1": 1.0})):
        build(tmp_path / name, text, settings)
        fingerprints.append(open_artifact(tmp_path / name, KIND).fingerprint)
    assert fingerprints[0] == fingerprints[1]
    assert len(set(fingerprints)) == 3


def test_next_generation_replaces_the_one_before(tmp_path: Path):
    path = tmp_path / "kb"
    build(path, "old")
    old = open_artifact(path, KIND)
    with (old.directory / "b.txt").open() as held:
        build(path, "new")
        assert content(path) == "new"
        assert names(path) == [".lock", "CURRENT", "gen-2"]
        assert held.read() == "old"  # a process that has the old one open keeps it


def test_the_old_one_answers_until_the_end(tmp_path: Path):
    path = tmp_path / "kb"
    build(path, "old")
    with write_artifact(path, KIND, {}) as directory:
        (directory / "b.txt").write_text("new")
        assert content(path) == "old"


@pytest.mark.parametrize("error", [InputError("stop"), KeyboardInterrupt(), ValueError("stop")])
def test_error_inside_the_block_leaves_the_old_one(tmp_path: Path, error: BaseException):
    path = tmp_path / "kb"
    build(path, "old")
    before = names(path)
    with pytest.raises(type(error)), write_artifact(path, KIND, {}) as directory:
        (directory / "b.txt").write_text("new")
        raise error
    assert content(path) == "old" and names(path) == before


def test_error_in_a_first_build_leaves_nothing(tmp_path: Path):
    with pytest.raises(InputError), write_artifact(tmp_path / "kb", KIND, {}):
        raise InputError("stop")
    assert names(tmp_path) == []


def test_empty_directory_is_taken(tmp_path: Path):
    (tmp_path / "kb").mkdir()
    build(tmp_path / "kb", "new")
    assert content(tmp_path / "kb") == "new"


def test_directory_of_other_files_is_refused_and_untouched(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError), write_artifact(tmp_path, KIND, {}):
        pytest.fail("the block must not run")
    assert names(tmp_path) == ["thesis.txt"]
    with pytest.raises(InputError), write_artifact(tmp_path / "thesis.txt", KIND, {}):
        pytest.fail("the block must not run")
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_directory_of_someone_elses_generations_is_refused_and_untouched(tmp_path: Path):
    mine = tmp_path / "gen-7" / "thesis.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(InputError):
        build(tmp_path, "new")
    assert mine.read_text() == "mine"


def test_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    build(Path("kb"), "new")
    assert content(tmp_path / "kb") == "new"


# --- linked files, unfinished directories --------------------------------------------------------------------


@pytest.mark.parametrize("can_link", [True, False], ids=["links", "copies"])
def test_linked_files_keep_their_checksums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_link: bool):
    path = tmp_path / "kb"
    build(path, "old")
    entry = json.loads((path / "gen-1" / "manifest.json").read_text())["files"]["b.txt"]
    inode = (path / "gen-1" / "b.txt").stat().st_ino

    def refuse(*_: Any) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    if not can_link:
        monkeypatch.setattr(os, "link", refuse)
    with write_artifact(path, KIND, {}) as directory:
        link_file(path / "gen-1" / "b.txt", directory / "b.txt")
        (directory / "new.txt").write_text("new")
    files = json.loads((path / "gen-2" / "manifest.json").read_text())["files"]
    assert files["b.txt"] == entry and set(files) == {"b.txt", "new.txt"}
    assert (path / "gen-2" / "b.txt").read_text() == "old"
    assert ((path / "gen-2" / "b.txt").stat().st_ino == inode) == can_link


def test_damage_of_a_linked_file_is_not_given_a_new_checksum(tmp_path: Path):
    path = tmp_path / "kb"
    build(path, "old")
    (path / "gen-1" / "b.txt").write_text("odd")
    with write_artifact(path, KIND, {}) as directory:
        fill(directory, "new")
        (directory / "b.txt").unlink()
        link_file(path / "gen-1" / "b.txt", directory / "b.txt")
    with pytest.raises(CorruptArtifactError, match=r"b\.txt"):
        open_artifact(path, KIND)


def unfinished(path: Path, text: str, *, resume: bool = False) -> None:
    with pytest.raises(KeyboardInterrupt), write_artifact(path, KIND, {}, resume=resume) as directory:
        (directory / JOURNAL).write_text("{}")
        (directory / "b.txt").write_text(text)
        raise KeyboardInterrupt


def test_unfinished_directory_with_a_journal_waits_to_be_resumed(tmp_path: Path):
    path = tmp_path / "kb"
    build(path, "old")
    unfinished(path, "half")
    assert content(path) == "old"
    with write_artifact(path, KIND, {}, resume=True) as directory:
        assert (directory / "b.txt").read_text() == "half"
        fill(directory, "new")
    assert content(path) == "new" and names(path) == [".lock", "CURRENT", "gen-2"]
    assert not (path / "gen-2" / JOURNAL).exists()


def test_unfinished_first_directory_is_no_artifact(tmp_path: Path):
    path = tmp_path / "kb"
    unfinished(path, "half")
    assert not is_artifact(path)
    with pytest.raises(InputError):
        open_artifact(path, KIND)
    build(path, "new")  # without resume: begins anew
    assert content(path) == "new" and len(names(path)) == 3


def test_unfinished_directory_without_a_journal_is_not_resumed(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt), write_artifact(tmp_path / "kb", KIND, {}) as directory:
        (directory / "b.txt").write_text("half")
        raise KeyboardInterrupt
    assert names(tmp_path) == []
    with write_artifact(tmp_path / "kb", KIND, {}, resume=True) as directory:
        assert list(directory.iterdir()) == []
        (directory / "b.txt").write_text("new")


def test_files_that_are_checked_as_they_are_read_are_hashed_only_on_demand(tmp_path: Path):
    path = tmp_path / "kb"
    with write_artifact(path, KIND, {}) as directory:
        fill(directory, "new")
        (directory / "data.seg").write_text("data")
        (directory / f"data.seg{TOC}").write_text("{}")
    flip(path / "gen-1" / "data.seg")
    open_artifact(path, KIND)
    with pytest.raises(CorruptArtifactError, match=r"data\.seg"):
        open_artifact(path, KIND, thorough=True)
    flip(path / "gen-1" / f"data.seg{TOC}")
    with pytest.raises(CorruptArtifactError, match=r"data\.seg\.toc"):
        open_artifact(path, KIND)


# --- two writers ---------------------------------------------------------------------------------------------


def test_second_writer_is_refused(tmp_path: Path):
    path = tmp_path / "kb"
    with write_artifact(path, KIND, {}) as directory:
        fill(directory, "first")
        with pytest.raises(ResourceError, match="kb"):
            build(path, "second")
    assert content(path) == "first"
    build(path, "third")
    assert content(path) == "third"


def test_second_writer_that_saw_no_directory_spoils_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Both processes look before either has made the directory; the first then gets the lock."""
    path = tmp_path / "kb"
    mkdir = Path.mkdir
    with ExitStack() as first:

        def first_comes_between(self: Path, *args: Any, **options: Any) -> None:
            monkeypatch.undo()
            fill(first.enter_context(write_artifact(path, KIND, {})), "first")
            mkdir(self, *args, **options)

        monkeypatch.setattr(Path, "mkdir", first_comes_between)
        with pytest.raises(ResourceError):
            build(path, "second")
    assert content(path) == "first"


# --- killed, or refused by the disk, at every step -----------------------------------------------------------

DISK_CALLS = (
    (os, "fsync"),
    (Path, "rename"),
    (Path, "replace"),
    (Path, "mkdir"),
    (Path, "write_text"),
    (Path, "open"),
)


def strike_at(
    n: int, strike: Callable[[], None], patch: Callable[[Any, str, Any], None], calls: Any = DISK_CALLS
) -> None:
    """Run ``strike`` before the n-th of the calls that change the disk."""
    count = 0

    def counted(function: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == n:
                strike()
            return function(*args, **options)

        return call

    for owner, name in calls:
        patch(owner, name, counted(getattr(owner, name)))


def killed_writers(root: Path, *, had_old: bool) -> None:
    """Under ``root``, make a directory for each step of a build and leave it as a build killed there leaves it."""
    for n in count_from(1):
        path = root / str(n)
        if had_old:
            build(path, "old")
        child = os.fork()
        if child == 0:
            calls = (*DISK_CALLS, (shutil, "rmtree"))
            strike_at(n, lambda: os.kill(os.getpid(), signal.SIGKILL), setattr, calls)
            build(path, "new")
            os._exit(0)
        if os.waitpid(child, 0)[1] == 0:
            return


@pytest.mark.parametrize("had_old", [True, False], ids=["rebuild", "first build"])
def test_killed_at_any_step(tmp_path: Path, had_old: bool):
    """The old or the new one answers, never a mix; the next build works and leaves no orphan."""
    # A process of its own, without threads, so that it may fork.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, __file__, str(tmp_path), "old" if had_old else ""], check=True, env=environment)
    steps = sorted(int(p.name) for p in tmp_path.iterdir())
    assert len(steps) > 10
    seen = set()
    for step in steps:
        path = tmp_path / str(step)
        if had_old or is_artifact(path):
            seen.add(content(path))
        else:
            with pytest.raises(InputError):  # nothing was lost: there was nothing
                open_artifact(path, KIND)
        build(path, "next")
        assert content(path) == "next", step
        assert len(names(path)) == 3, (step, names(path))  # .lock, CURRENT, gen-N
    assert seen == ({"old", "new"} if had_old else {"new"})


@pytest.mark.parametrize("had_old", [True, False], ids=["rebuild", "first build"])
def test_disk_full_at_any_step(tmp_path: Path, had_old: bool):
    struck: list[int] = []

    def refuse() -> None:
        struck.append(1)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for n in count_from(1):
        path = tmp_path / str(n)
        struck.clear()
        if had_old:
            build(path, "old")
        with pytest.MonkeyPatch.context() as patch:
            strike_at(n, refuse, patch.setattr)
            try:
                build(path, "new")
                if not struck:  # n is past the last call
                    break
            except ResourceError as error:
                assert str(path) in str(error)
        if had_old or is_artifact(path):
            assert content(path) in ("old", "new")
        else:
            assert not list(path.glob("gen-*"))
            with pytest.raises(InputError):
                open_artifact(path, KIND)
        build(path, "next")
        assert content(path) == "next" and len(names(path)) == 3, (n, names(path))
    assert n > 10


# --- damage --------------------------------------------------------------------------------------------------


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def zero(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(b"\0" * min(4096, len(data)) + data[4096:])


def delete(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [flip, cut, empty, zero, delete])
def test_damage_of_any_file_is_found_and_named(tmp_path: Path, small_index: Path, damage: Callable[[Path], None]):
    files = [p.relative_to(small_index) for p in small_index.rglob("*") if p.is_file() and p.name != ".lock"]
    assert len(files) >= 7
    for number, file in enumerate(files):
        if damage is not delete and not (small_index / file).stat().st_size:
            continue  # an empty file has nothing to damage
        path = tmp_path / str(number)
        shutil.copytree(small_index, path)
        damage(path / file)
        with pytest.raises(CorruptArtifactError) as error:
            Index.open(path)
        assert str(path / file) in str(error.value) or file.name in ("CURRENT", "manifest.json"), file


def test_sizes_are_checked_even_without_hashes(tmp_path: Path, small_index: Path):
    path = tmp_path / "kb"
    shutil.copytree(small_index, path)
    cut(path / "gen-1" / "0000.seg")
    with pytest.raises(CorruptArtifactError, match=r"0000\.seg"):
        Index.open(path, check_hashes=False)


def test_any_flipped_bit_of_the_manifest_is_found(tmp_path: Path, small_index: Path):
    """Settings stand in the manifest alone: a changed k1 or analyzer must not pass for what was written."""
    path = tmp_path / "kb"
    shutil.copytree(small_index, path)
    manifest = path / "gen-1" / "manifest.json"
    good = manifest.read_bytes()
    missed = []
    for position in range(0, len(good), 3):
        manifest.write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
        try:
            Index.open(path)
            missed.append((position, "nothing noticed"))
        except CorruptArtifactError:
            pass
        except Exception as error:
            missed.append((position, type(error).__name__))
    assert missed == []


@pytest.mark.parametrize(
    "current", [b"gen-9\n", b"gen-\n", b"../kb\n", b"gen-1/../gen-1\n", b"\xff\xfe\n", b"gen-1\0\n", b"gen-1\ngen-1\n"]
)
def test_bad_current(tmp_path: Path, current: bytes):
    path = tmp_path / "kb"
    build(path, "old")
    (path / "CURRENT").write_bytes(current)
    with pytest.raises(CorruptArtifactError, match="kb"):
        open_artifact(path, KIND)
    build(path, "new")  # making it again is the remedy that the message names
    assert content(path) == "new" and len(names(path)) == 3


@pytest.mark.parametrize(
    "name",
    [
        "../../secret.txt",
        "/etc/hostname",
        "sub/../../../secret.txt",
        "./b.txt",
        "sub//a.txt",
        "",
        "\ud800",
        "b\0",
        "b\n",
    ],
)
def test_manifest_may_not_point_outside(tmp_path: Path, name: str):
    path = tmp_path / "kb"
    build(path, "old")
    (tmp_path / "secret.txt").write_text("secret")
    entry = {"sha256": hashlib.sha256(b"secret").hexdigest(), "size": 6}
    sign(path, lambda manifest: manifest["files"].update({name: entry}))
    with pytest.raises(CorruptArtifactError, match=r"manifest\.json"):
        open_artifact(path, KIND)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "null", "[" * 100_000, '{"format": 1, "kind": "index", "settings": {}, "files": []}', "1" * 5_000],
)
def test_manifest_that_is_none(tmp_path: Path, text: str):
    path = tmp_path / "kb"
    build(path, "old")
    (path / "gen-1" / "manifest.json").write_text(text)
    (path / "CURRENT").write_text(f"gen-1 {hashlib.sha256(text.encode()).hexdigest()}\n")
    with pytest.raises(CorruptArtifactError, match=r"manifest\.json"):
        open_artifact(path, KIND)
    build(path, "new")
    assert content(path) == "new"


def test_manifest_entry_without_hash(tmp_path: Path):
    path = tmp_path / "kb"
    build(path, "old")
    for entry in ({}, {"size": 3}, {"sha256": "x"}, None, 5):
        sign(path, lambda manifest, entry=entry: manifest["files"].update({"b.txt": entry}))  # type: ignore[misc]
        with pytest.raises(CorruptArtifactError):
            open_artifact(path, KIND)
        build(path, "old")


# --- opening what it is not ----------------------------------------------------------------------------------


def test_wrong_kind(tmp_path: Path, small_index: Path):
    with pytest.raises(IncompatibleArtifactError, match="reader.*index|index.*reader"):
        open_artifact(small_index, "reader")
    with write_artifact(tmp_path / "model", "reader", {}) as directory:
        fill(directory, "x")
    with pytest.raises(IncompatibleArtifactError):
        Index.open(tmp_path / "model")
    assert artifact_kind(tmp_path / "model") == "reader"


def test_another_format_is_refused_with_the_command_that_renews_it(tmp_path: Path):
    build(tmp_path / "kb", "new")
    sign(tmp_path / "kb", lambda manifest: manifest.update(format=FORMAT + 1))
    with pytest.raises(IncompatibleArtifactError, match=rf"{FORMAT + 1}.*kofid train-reranker .*kb"):
        open_artifact(tmp_path / "kb", KIND)
    build(tmp_path / "kb", "renewed")
    assert content(tmp_path / "kb") == "renewed"


def test_a_kind_that_is_not_known(tmp_path: Path):
    build(tmp_path / "kb", "new")
    sign(tmp_path / "kb", lambda manifest: manifest.update(kind="oracle\x1b"))
    with pytest.raises(IncompatibleArtifactError, match=r"reranker/1.*oracle\\x1b/1"):
        open_artifact(tmp_path / "kb", KIND)
    with pytest.raises(IncompatibleArtifactError, match=r"index, encoder, reader, reranker.*oracle"):
        open_artifact(tmp_path / "kb", artifact_kind(tmp_path / "kb"))
    with pytest.raises(InputError):
        build(tmp_path / "kb", "mine")


@pytest.mark.parametrize("kind", ["index", "encoder", "reader", "reranker"])
def test_no_artifact(tmp_path: Path, kind: str):
    (tmp_path / "thesis.txt").write_text("mine")
    for path in (tmp_path, tmp_path / "none", tmp_path / "thesis.txt"):
        with pytest.raises(InputError) as error:
            open_artifact(path, kind)
        assert str(path) in str(error.value) and "kofid " in str(error.value)
    assert names(tmp_path) == ["thesis.txt"]


def test_opening_writes_nothing(tmp_path: Path, small_index: Path):
    path = tmp_path / "kb"
    shutil.copytree(small_index, path)
    before = sorted((p, p.stat().st_mtime_ns) for p in path.rglob("*"))
    assert Index.open(path).search("이순신", 1)
    assert sorted((p, p.stat().st_mtime_ns) for p in path.rglob("*")) == before


def test_opened_index_answers_while_it_is_rebuilt(tmp_path: Path, small_passages: list[Passage]):
    path = tmp_path / "kb"
    build_index(path, small_passages)
    index = Index.open(path)
    before = index.search("폴로늄", 1)
    build_index(path, [Passage("new", "", "폴로늄은 원소이다.")])
    assert index.search("폴로늄", 1) == before
    assert [hit.passage.id for hit in Index.open(path).search("폴로늄", 1)] == ["new"]


def test_index_opened_before_a_rebuild_and_first_asked_after_it(tmp_path: Path, small_passages: list[Passage]):
    path = tmp_path / "kb"
    build_index(path, small_passages)
    index = Index.open(path)
    build_index(path, [Passage("new", "", "폴로늄은 원소이다.")])
    assert [hit.passage.id for hit in index.search("폴로늄", 1)] == ["퀴리"]


if __name__ == "__main__":
    killed_writers(Path(sys.argv[1]), had_old=bool(sys.argv[2]))
