"""Nothing that kofid did not write is removed or replaced, whatever it is called and wherever it lies."""

from __future__ import annotations

import doctest
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.forgeries import sign

import kofid
from kofid.errors import CorruptArtifactError, InputError, ResourceError
from kofid.storage import ownership
from kofid.storage.artifacts import copy_artifact, has_unfinished, open_artifact, write_artifact
from kofid.storage.files import write_bytes, write_file, write_folder
from kofid.storage.ownership import MARKER, claim_folder, is_own_name, own_name, remove_claimed

KINDS = ("encoder", "index", "reader", "reranker")
FILES = {
    "index": ("0000.seg", "0000.seg.toc", "deleted.seg", "deleted.seg.toc", "user_dictionary.tsv"),
    "encoder": ("model.safetensors", "tokenizer.json"),
    "reader": ("model.safetensors", "config.json"),
    "reranker": ("model.safetensors", "config.json"),
}


def make(path: Path, kind: str, content: str = "") -> None:
    with write_artifact(path, kind, {}) as directory:
        for name in FILES[kind]:
            (directory / name).write_text(content)


def snapshot(path: Path) -> dict[str, bytes | str]:
    """Return all that lies under a path: files with their bytes, links with their targets, all else by its type."""
    return {
        str(p.relative_to(path)): os.readlink(p) if p.is_symlink() else p.read_bytes() if p.is_file() else oct(p.lstat().st_mode)
        for p in sorted(path.rglob("*"))
        if p.name != ".lock"
    }  # fmt: skip


# Modules outside storage that remove something, all of it inside a directory that kofid builds or of a name with a digest.
REMOVERS = {"build", "journal", "distill"}


def test_only_storage_removes_things():
    """Anything else goes by ``remove_claimed``, ``write_artifact`` and the like, which ask for a proof first."""
    root = Path(kofid.__file__).parent
    modules = [path for path in root.rglob("*.py") if path.parent.name != "storage"]
    removing = re.compile(r"rmtree|copytree|os\.remove|\.rmdir\(|\.unlink\(|os\.rename|\.rename\(")
    assert len(modules) > 50
    assert {path.stem for path in modules if removing.search(path.read_text(encoding="utf-8"))} <= REMOVERS


# --- outputs that are refused --------------------------------------------------------------------------------


def thesis(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "thesis.txt").write_text("mine")


def strangers_manifest(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "manifest.json").write_text('{"name": "my web app", "icons": []}')
    (path / "thesis.txt").write_text("mine")


def copied_generation(path: Path) -> None:
    """Make a generation of kofid's in which somebody works."""
    make(path.parent.with_name("kb"), "index")
    shutil.copytree(path.parent.with_name("kb") / "gen-1", path)
    (path / "notes.txt").write_text("mine")


FOREIGN: dict[str, Callable[[Path], object]] = {
    "a file": lambda path: path.write_text("mine"),
    "a pipe": os.mkfifo,
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "files": thesis,
    "a generation without a manifest": lambda path: thesis(path / "gen-7"),
    "a generation with a manifest of something else": lambda path: strangers_manifest(path / "gen-7"),
    "a generation with more in it": lambda path: copied_generation(path / "gen-7"),
    "a generation of an encyclopaedia": lambda path: (thesis(path / "gen-7"), (path / "CURRENT").write_text("gen-7")),
    "a database": lambda path: (thesis(path), (path / "CURRENT").write_text("MANIFEST-000004\n")),
    "a pipe in place of CURRENT": lambda path: (path.mkdir(), os.mkfifo(path / "CURRENT")),
    "a folder in place of CURRENT": lambda path: thesis(path / "CURRENT"),
    "a link in place of CURRENT": lambda path: (path.mkdir(), (path / "CURRENT").symlink_to("nowhere")),
    "a file in place of CURRENT's next": lambda path: (path.mkdir(), (path / ".CURRENT.new").write_text("my notes")),
    "a lock of another program": lambda path: (path.mkdir(), (path / ".lock").write_text("process 123")),
}


@pytest.mark.parametrize("kind", ["index", "reader"])
@pytest.mark.parametrize("what", FOREIGN)
def test_what_kofid_did_not_write_is_refused_and_untouched(tmp_path: Path, what: str, kind: str, english: None):
    path = tmp_path / "output"
    FOREIGN[what](path)
    before = snapshot(tmp_path)
    with pytest.raises(InputError, match="output.*empty or new path"), write_artifact(path, kind, {}):
        pytest.fail("the block must not run")
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("held", KINDS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_artifact_of_another_kind_is_refused_and_untouched(tmp_path: Path, held: str, kind: str, english: None):
    path = tmp_path / "output"
    make(path, held, "old")
    before = snapshot(path)
    if kind == held:
        make(path, kind, "new")
        assert snapshot(path) != before
        return
    with pytest.raises(InputError, match=f"a kofid {held}, which no {kind} replaces.*empty or new path"):
        make(path, kind, "new")
    assert snapshot(path) == before
    open_artifact(path, held)


@pytest.mark.parametrize("held", KINDS)
@pytest.mark.parametrize("damaged", ["CURRENT", "gen-1/manifest.json", "both"])
def test_a_damaged_artifact_is_made_again_in_its_place_by_its_own_kind_alone(tmp_path: Path, held: str, damaged: str):
    path = tmp_path / "output"
    for kind in KINDS:
        shutil.rmtree(path, ignore_errors=True)
        make(path, held, "old")
        for name in ("CURRENT", "gen-1/manifest.json") if damaged == "both" else (damaged,):
            (path / name).write_bytes(b"\0" * 100)
        with pytest.raises(CorruptArtifactError):
            open_artifact(path, held)
        same = {kind, held} <= {"reader", "reranker"} and damaged == "gen-1/manifest.json"  # of the same files
        if damaged != "both" and (kind == held or same):
            make(path, kind, "new")
            assert (open_artifact(path, kind).directory / FILES[kind][0]).read_text() == "new"
        else:
            before = snapshot(path)
            with pytest.raises(InputError):
                make(path, kind, "new")
            assert snapshot(path) == before


# --- what lies beside an artifact ----------------------------------------------------------------------------


def test_entries_beside_an_artifact_stay_whatever_they_are_called(tmp_path: Path):
    path = tmp_path / "kb"
    make(path, "index", "1")
    thesis(path / "gen-7")
    strangers_manifest(path / "gen-8")
    make(tmp_path / "reader", "reader")
    shutil.copytree(tmp_path / "reader" / "gen-1", path / "gen-9")  # somebody keeps a model here
    for name in (".building-x", ".building-gen-2", ".removing-gen-1-0123456789ab", ".DS_Store", "README"):
        (path / name).write_text("mine")
    thesis(path / ".building-gen-3")
    (path / own_name("removing", "gen-5")).symlink_to(tmp_path / "reader")
    ours = {"CURRENT", "gen-1"}
    before = {name: what for name, what in snapshot(path).items() if name.split("/")[0] not in ours}
    for number in range(2, 5):
        make(path, "index", str(number))
        assert (open_artifact(path, "index").directory / "0000.seg").read_text() == str(number)
        assert {name: what for name, what in snapshot(path).items() if name in before} == before
        generations = {entry.name for entry in path.glob("gen-*")}
        assert generations == {f"gen-{number}", "gen-7", "gen-8", "gen-9"}
    open_artifact(tmp_path / "reader", "reader")


def test_a_number_that_is_taken_is_passed_over(tmp_path: Path):
    path = tmp_path / "kb"
    make(path, "index")
    thesis(path / "gen-2")
    make(path, "index", "new")
    assert open_artifact(path, "index").directory.name == "gen-3" and (path / "gen-2/thesis.txt").is_file()


def test_an_old_generation_in_which_somebody_put_a_file_stays_whole(tmp_path: Path):
    path = tmp_path / "kb"
    make(path, "index")
    (path / "gen-1" / "notes.txt").write_text("mine")
    before = snapshot(path / "gen-1")
    make(path, "index", "new")
    assert snapshot(path / "gen-1") == before
    (path / "gen-1" / "notes.txt").unlink()
    make(path, "index", "new")
    assert {entry.name for entry in path.glob("gen-*")} == {"gen-3"}


def test_no_generation_goes_before_a_damaged_current_is_mended(tmp_path: Path):
    path = tmp_path / "kb"
    make(path, "index", "old")
    (path / "CURRENT").write_text("damaged")
    with pytest.raises(KeyboardInterrupt), write_artifact(path, "index", {}):
        raise KeyboardInterrupt
    assert (path / "gen-1" / "0000.seg").read_text() == "old"
    make(path, "index", "new")
    assert {entry.name for entry in path.glob("gen-*")} == {"gen-2"}


def test_strays_alone_leave_a_directory_as_good_as_empty(tmp_path: Path):
    path = tmp_path / "kb"
    thesis(path / ".building-gen-1")
    (path / ".removing-x").write_text("mine")
    (path / ".CURRENT.new").write_text("gen-1 01ab")  # a first build was killed as it wrote this
    make(path, "index")
    assert {p.name for p in path.iterdir()} == {".lock", "CURRENT", "gen-1", ".building-gen-1", ".removing-x"}
    assert (path / ".building-gen-1/thesis.txt").read_text() == "mine" and not has_unfinished(path)


@pytest.mark.parametrize("had_lock", [True, False])
def test_an_empty_directory_that_was_there_stays_after_a_failure(tmp_path: Path, had_lock: bool):
    (tmp_path / "mine").mkdir()
    if had_lock:
        (tmp_path / "mine" / ".lock").touch()
    with pytest.raises(ResourceError), write_artifact(tmp_path / "mine", "index", {}):
        raise OSError(28, "No space left on device")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == [".lock"] * had_lock


# --- copies --------------------------------------------------------------------------------------------------


def test_a_copy_shares_the_listed_files_and_their_checksums(tmp_path: Path):
    make(tmp_path / "kb", "index", "content")
    (tmp_path / "kb/gen-1/0001.seg").write_text("extra")
    copy_artifact(tmp_path / "kb", tmp_path / "copy", "index")
    one, two = open_artifact(tmp_path / "kb", "index"), open_artifact(tmp_path / "copy", "index", thorough=False)
    assert one.files == two.files and one.fingerprint == two.fingerprint
    assert not (two.directory / "0001.seg").exists()
    assert (one.directory / "0000.seg").stat().st_ino == (two.directory / "0000.seg").stat().st_ino
    thesis(tmp_path / "mine")
    with pytest.raises(InputError):
        copy_artifact(tmp_path / "kb", tmp_path / "mine", "index")


# --- folders of long work ------------------------------------------------------------------------------------


def test_a_claimed_folder_goes_and_any_other_stays(tmp_path: Path):
    claim_folder(tmp_path / "a/work")
    claim_folder(tmp_path / "a/work")  # taken up again
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "thesis.txt").write_text("mine")
    (tmp_path / "a/work/checkpoint-1").mkdir()
    (tmp_path / "a/work/checkpoint-1/weights").write_text("1")
    (tmp_path / "a/work/link").symlink_to(tmp_path / "outside")
    remove_claimed(tmp_path / "a/work")
    assert list((tmp_path / "a").iterdir()) == [] and (tmp_path / "outside/thesis.txt").is_file()
    remove_claimed(tmp_path / "outside")
    remove_claimed(tmp_path / "none")
    assert (tmp_path / "outside/thesis.txt").is_file()
    for path in (tmp_path / "outside", tmp_path / "outside/thesis.txt"):
        with pytest.raises(InputError, match="outside"):
            claim_folder(path)
    (tmp_path / "empty").mkdir()
    claim_folder(tmp_path / "empty")
    assert [p.name for p in (tmp_path / "empty").iterdir()] == [MARKER]


# --- plain outputs -------------------------------------------------------------------------------------------


def test_names_on_the_way_are_told_from_others():
    assert doctest.testmod(ownership).failed == 0
    assert is_own_name(own_name("building", "gen-1"), "building")
    for name in (".building-gen-1", ".building-gen-1-", ".building-gen-1-0123456789ab", own_name("removing", "gen-1")):
        assert not is_own_name(name, "building")


def test_an_output_file_takes_the_place_of_a_file_and_of_nothing_else(tmp_path: Path, english: None):
    mine = tmp_path / ".out.txt.part"
    mine.write_text("mine")
    write_file(tmp_path / "out.txt", ["a", "b"])
    write_bytes(tmp_path / "out.txt", b"new")
    (tmp_path / "link").symlink_to("out.txt")
    write_file(tmp_path / "link", ["through the link"])
    assert (tmp_path / "out.txt").read_text() == "through the link" and (tmp_path / "link").is_symlink()
    os.mkfifo(tmp_path / "pipe")
    thesis(tmp_path / "folder")
    for name in ("pipe", "folder"):
        for write in (lambda path: write_file(path, ["x"]), lambda path: write_bytes(path, b"x")):
            with pytest.raises(InputError, match=f"{name}: not a regular file"):
                write(tmp_path / name)
    with pytest.raises(InputError, match="/dev/null"):
        write_file(Path("/dev/null"), ["x"])
    names = {"out.txt", "link", "pipe", "folder", ".out.txt.part"}
    assert {p.name for p in tmp_path.iterdir()} == names and mine.read_text() == "mine"


def test_an_output_folder_is_new_or_empty(tmp_path: Path):
    mine = tmp_path / ".out.part" / "thesis.txt"
    thesis(mine.parent)
    (tmp_path / "out").mkdir()
    write_folder(tmp_path / "out", {"a/b.txt": ["1"]})
    assert (tmp_path / "out/a/b.txt").read_text() == "1" and mine.read_text() == "mine"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("out", "pipe", "link", ".out.part"):
        with pytest.raises(InputError):
            write_folder(tmp_path / name, {"a.txt": ["2"]})
    assert {p.name for p in tmp_path.iterdir()} == {"out", "pipe", "link", ".out.part"}


# --- what is opened ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_manifest_lists_what_its_kind_needs(tmp_path: Path, kind: str):
    make(tmp_path, kind)
    sign(tmp_path, lambda manifest: manifest.update(files={}))
    with pytest.raises(CorruptArtifactError, match=r"manifest\.json"):
        open_artifact(tmp_path, kind)
    for name in FILES[kind]:
        make(tmp_path / name, kind)
        sign(tmp_path / name, lambda manifest, name=name: manifest["files"].pop(name))  # type: ignore[misc]
        with pytest.raises(CorruptArtifactError, match=r"manifest\.json"):
            open_artifact(tmp_path / name, kind, thorough=True)


def test_an_index_with_vectors_lists_them(tmp_path: Path):
    make(tmp_path, "index")
    sign(tmp_path, lambda manifest: manifest["settings"].update(dense={"encoder": "e"}))
    with pytest.raises(CorruptArtifactError, match=r"dense\.faiss"):
        open_artifact(tmp_path, "index")


@pytest.mark.parametrize("name", ["config.json", "manifest.json", "sub", "."])
def test_links_are_refused(tmp_path: Path, name: str):
    path = tmp_path / "model"
    with write_artifact(path, "reader", {}) as directory:
        (directory / "config.json").write_text("")
        (directory / "sub").mkdir()
        (directory / "sub" / "model.safetensors").write_text("")
    entry = path / "gen-1" / name
    target = tmp_path / "elsewhere"
    entry.rename(target)
    entry.symlink_to(target)
    for thorough in (False, True):
        with pytest.raises(CorruptArtifactError, match="gen-1|CURRENT"):
            open_artifact(path, "reader", thorough=thorough)


@pytest.mark.parametrize("name", ["CURRENT", "gen-1/manifest.json", "gen-1/config.json"])
@pytest.mark.parametrize("special", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "device"])
def test_nothing_that_is_no_file_hangs(tmp_path: Path, name: str, special: Callable[[Path], object]):
    path = tmp_path / "model"
    make(path, "reader")
    (path / name).unlink()
    special(path / name)
    with pytest.raises(CorruptArtifactError, match=name.rpartition("/")[2]):
        open_artifact(path, "reader")


def test_endless_files_are_not_read_whole(tmp_path: Path):
    make(tmp_path, "reader")
    with (tmp_path / "CURRENT").open("r+b") as file:
        file.truncate(1 << 40)  # sparse: a terabyte of nothing
    with pytest.raises(CorruptArtifactError, match="CURRENT"):
        open_artifact(tmp_path, "reader")
    make(tmp_path, "reader", "new")
    manifest = tmp_path / (tmp_path / "CURRENT").read_text().split()[0] / "manifest.json"
    with manifest.open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(CorruptArtifactError, match=r"manifest\.json"):
        open_artifact(tmp_path, "reader")


def test_what_is_not_listed_does_not_matter(tmp_path: Path):
    make(tmp_path, "reader")
    (tmp_path / "gen-1" / "0001.seg").write_text("rubbish")
    artifact = open_artifact(tmp_path, "reader", thorough=True)
    assert sorted(artifact.files) == sorted(FILES["reader"])
    assert json.loads((artifact.directory / "manifest.json").read_text())["files"].keys() == set(artifact.files)
