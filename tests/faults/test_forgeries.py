"""Indexes with good checksums and bad contents: refused as damaged (exit code 4), or read without harm; never a crash.

Who can write to a directory can make all checksums fit, so what is read is checked against bounds and types as well.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.forgeries import rewrite_arrays, sign
from support.indexes import score_all

from kofid.cli import app as cli
from kofid.errors import CorruptArtifactError, IncompatibleArtifactError
from kofid.retrieval.build import add_vectors, build_index, update_index
from kofid.retrieval.correct import forgiving_search
from kofid.retrieval.dense.base import NamedEncoder
from kofid.retrieval.index import Index
from kofid.storage.arrays import TOC, ArrayFile
from kofid.storage.artifacts import open_artifact
from kofid.types import Passage

QUESTIONS = ("거북선을 이끈 장군은?", "제목 3", "글 7 이야기", "없는낱말")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of several frames, articles of two passages, kept analyses and a deleted passage."""
    path = tmp_path_factory.mktemp("sound") / "kb"
    build_index(
        path,
        [Passage(f"글{i // 2}#{i % 2}", f"제목 {i // 2}", f"글 {i} 이야기: 거북선 {i * i} 척을 이끈 장군 장군") for i in range(40)],
    )  # fmt: skip
    update_index(path, delete=["글7#0"])
    return path


def copy(sound: Path, path: Path) -> Path:
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(sound, path)
    return path


def use(path: Path) -> None:
    """Read all of an index in every way that there is."""
    index = Index.open(path)
    for question in QUESTIONS:
        index.search(question, 5)
        score_all(index, question)
    forgiving_search(index, index.search, "거북선을 이끈 장근은?", 5)
    index.knows(["거북선", "장군", "없는낱말"])
    passages = list(index.passages)
    for passage in passages:
        index.passages.find(passage.id)
        list(index.passages.of_article(passage.id.partition("#")[0]))
    for segment in index.segments:
        for field in [*segment.text, *segment.titles]:
            field.postings(field._terms)


def outcome(path: Path) -> str:
    """Return ``fine`` or ``refused``; any other error is the test's failure."""
    try:
        use(path)
    except CorruptArtifactError:
        return "refused"
    return "fine"


def of(values: Any, number: int) -> Any:
    return np.full_like(values, number) if len(values) else np.full(3, number, values.dtype)


ARRAYS: dict[str, Callable[[Any], Any]] = {
    "cut": lambda values: values[: len(values) // 2],
    "emptied": lambda values: values[:0],
    "doubled": lambda values: np.concatenate([values, values, values[:0]]),
    "one more": lambda values: np.concatenate([values, of(values, 1)[:1]]),
    "reversed": lambda values: values[::-1],
    "all zero": lambda values: of(values, 0),
    "all the greatest": lambda values: of(values, np.iinfo(values.dtype).max),
    "one the greatest": lambda values: np.concatenate([values[:-1], of(values[:1], np.iinfo(values.dtype).max)[:1]]),
    "of another type": lambda values: values.astype(np.uint64 if values.dtype.itemsize < 8 else np.uint8),
    "of fractions": lambda values: values.astype(np.float32),
}


@pytest.mark.parametrize("what", ARRAYS)
def test_arrays_that_do_not_belong_together(tmp_path: Path, sound: Path, what: str):
    (generation,) = sound.glob("gen-*")
    counts: Counter[str] = Counter()
    for file in ("0000.seg", "deleted.seg"):
        for name in ArrayFile(generation / file).names:
            path = copy(sound, tmp_path / "kb")
            rewrite_arrays(
                path / generation.name / file, lambda arrays, name=name: arrays.update({name: ARRAYS[what](arrays[name])})
            )  # fmt: skip
            sign(path)
            open_artifact(path, "index", thorough=True)  # its checksums are good
            counts[outcome(path)] += 1
    assert counts.total() > 20 and counts["refused"] >= 5, counts


def test_a_missing_array(tmp_path: Path, sound: Path):
    (generation,) = sound.glob("gen-*")
    for name in ArrayFile(generation / "0000.seg").names:
        path = copy(sound, tmp_path / "kb")
        rewrite_arrays(path / generation.name / "0000.seg", lambda arrays, name=name: arrays.pop(name))  # type: ignore[misc]
        sign(path)
        assert outcome(path) == "refused", name


@pytest.mark.parametrize(
    "line",
    [b"1", b"[]", b"null", b'["a", "b"]', b'["a", 1, "c"]', b"[" * 5_000, b"\xff", b'{"id": 1}', b"", b'["a", "b", ["c"]]'],
)  # fmt: skip
def test_passages_that_are_none(tmp_path: Path, sound: Path, line: bytes):
    from backports import zstd

    def change(arrays: dict[str, Any]) -> None:
        frame = zstd.compress(b"\n".join([line] * 16))
        arrays["passages"] = np.frombuffer(frame * 3, np.uint8)
        arrays["passages.starts"] = (np.arange(4) * len(frame)).astype(np.uint64)

    path = copy(sound, tmp_path / "kb")
    rewrite_arrays(next(path.glob("gen-*/0000.seg")), change)
    sign(path)
    assert outcome(path) == "refused"


TABLES: dict[str, Callable[[dict[str, Any]], object]] = {
    "no arrays": lambda toc: toc.pop("arrays"),
    "a list of arrays": lambda toc: toc.update(arrays=[]),
    "an unknown type": lambda toc: toc["arrays"]["ids"].__setitem__(0, "|O8"),
    "a type that is none": lambda toc: toc["arrays"]["ids"].__setitem__(0, {}),
    "a negative start": lambda toc: toc["arrays"]["ids"].__setitem__(1, -64),
    "a start beyond": lambda toc: toc["arrays"]["ids"].__setitem__(1, 1 << 40),
    "a crooked start": lambda toc: toc["arrays"]["ids"].__setitem__(1, 3),
    "a fraction of a start": lambda toc: toc["arrays"]["ids"].__setitem__(1, 64.0),
    "a negative size": lambda toc: toc["arrays"]["ids"].__setitem__(2, -8),
    "a size beyond": lambda toc: toc["arrays"]["ids"].__setitem__(2, 1 << 40),
    "a crooked size": lambda toc: toc["arrays"]["ids"].__setitem__(2, 7),
    "two numbers": lambda toc: toc["arrays"]["ids"].pop(),
    "too few sums": lambda toc: toc["sums"].pop(),
    "sums of text": lambda toc: toc.update(sums="x" * len(toc["sums"])),
    "negative sums": lambda toc: toc.update(sums=[-1] * len(toc["sums"])),
    "huge sums": lambda toc: toc.update(sums=[1 << 80] * len(toc["sums"])),
    "no size": lambda toc: toc.pop("size"),
    "a size that is none": lambda toc: toc.update(size="12"),
    "a negative size of all": lambda toc: toc.update(size=-1),
}


@pytest.mark.parametrize("what", TABLES)
def test_tables_that_cannot_be_true(tmp_path: Path, sound: Path, what: str):
    path = copy(sound, tmp_path / "kb")
    file = next(path.glob(f"gen-*/0000.seg{TOC}"))
    toc = json.loads(file.read_text())
    TABLES[what](toc)
    file.write_text(json.dumps(toc))
    sign(path)
    assert outcome(path) == "refused"
    with pytest.raises(CorruptArtifactError, match=r"0000\.seg"):
        open_artifact(path, "index", thorough=True)


JUNK = (None, "", "x", -1, 1 << 70, 1.5, 1e400, float("nan"), True, [], [None], ["x"], [[]], {}, {"x": 1})


def places(settings: dict[str, Any]) -> list[tuple[str, ...]]:
    return [(key,) for key in settings] + [
        (key, inner) for key, value in settings.items() if isinstance(value, dict) for inner in value
    ]


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")  # of formulas with such numbers
def test_settings_of_wrong_types_and_sizes(tmp_path: Path, sound: Path):
    settings = open_artifact(sound, "index").settings
    outcomes: Counter[str] = Counter()
    path = copy(sound, tmp_path / "kb")
    manifest = next(path.glob("gen-*/manifest.json"))
    good = manifest.read_bytes()
    for place in places(settings):
        for junk in JUNK:

            def change(content: dict[str, Any], place: tuple[str, ...] = place, junk: Any = junk) -> None:
                section = content["settings"]
                for key in place[:-1]:
                    section = section[key]
                section[place[-1]] = junk

            manifest.write_bytes(good)
            sign(path, change)
            try:
                use(path)
                outcomes["fine"] += 1
            except (CorruptArtifactError, IncompatibleArtifactError) as error:
                outcomes[type(error).__name__] += 1
    assert outcomes["CorruptArtifactError"] > 100 and outcomes["IncompatibleArtifactError"] > 3, outcomes


class Letters:
    """Stands in for an encoder of texts: as many numbers as it is told, which depend on the letters."""

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension

    def encode_passages(self, passages: Sequence[Passage]) -> Any:
        return np.array(
            [[ord(p.text[i % len(p.text)]) / 1000 for i in range(self.dimension)] for p in passages], np.float32
        )


def test_vectors_that_are_none(tmp_path: Path, sound: Path):
    pytest.importorskip("faiss")
    encoder: Any = Letters(8)
    path, other = copy(sound, tmp_path / "kb"), copy(sound, tmp_path / "other")
    add_vectors(path, NamedEncoder(encoder, "letters", "0" * 64))
    encoder.dimension = 4
    add_vectors(other, NamedEncoder(encoder, "letters", "0" * 64))
    file = next(path.glob("gen-*/dense.faiss"))
    whole = file.read_bytes()
    for content in (
        b"rubbish",
        whole[: len(whole) // 2],
        whole[:60],
        next(other.glob("gen-*/dense.faiss")).read_bytes(),
    ):
        file.write_bytes(content)
        sign(path)
        index = Index.open(path)
        with pytest.raises(CorruptArtifactError, match=r"dense\.faiss"):
            index.open_vectors()
    file.write_bytes(whole)
    sign(path)
    assert len(Index.open(path).open_vectors()) == 39


def test_vectors_that_are_not_listed_or_not_described(tmp_path: Path, sound: Path):
    for dense in ({"encoder": "e"}, "x", [], {"encoder": 1, "fingerprint": "f", "faiss": "Flat", "n_vectors": 3}):
        path = copy(sound, tmp_path / "kb")
        sign(path, lambda manifest, dense=dense: manifest["settings"].update(dense=dense))  # type: ignore[misc]
        with pytest.raises(CorruptArtifactError):
            use(path)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a\tNNP\tx", b"a\tnone\t0", b"\tNNP\t0", b"a\tNNP\tinf"])
def test_a_user_dictionary_that_is_none(tmp_path: Path, sound: Path, content: bytes):
    path = copy(sound, tmp_path / "kb")
    next(path.glob("gen-*/user_dictionary.tsv")).write_bytes(content)
    fingerprint = hashlib.sha256(content).hexdigest()
    sign(path, lambda manifest: manifest["settings"]["analyzer"].update(user_dictionary=fingerprint))
    assert outcome(path) == "refused"


def test_a_segment_that_is_not_listed_is_not_opened(
    tmp_path: Path, sound: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    path = copy(sound, tmp_path / "kb")
    (generation,) = path.glob("gen-*")
    (generation / "0001.seg").write_bytes(b"rubbish")
    for command in (["retrieve", "-i", str(path), "거북선"], ["verify", str(path)]):
        monkeypatch.setattr(sys, "argv", ["kofid", *command])
        assert cli._run() == 0
    assert use(path) is None
    update_index(path, add=[Passage("새글", "", "새로 온 글")])  # nor is it taken into the next generation
    assert len(Index.open(path)) == 40


def test_a_segment_that_is_missing_in_the_row(tmp_path: Path, sound: Path):
    path = copy(sound, tmp_path / "kb")
    (generation,) = path.glob("gen-*")
    for suffix in ("", TOC):
        shutil.copy(generation / f"0000.seg{suffix}", generation / f"0002.seg{suffix}")
    sign(path, lambda m: m["files"].update({f"0002.seg{s}": m["files"][f"0000.seg{s}"] for s in ("", TOC)}))
    open_artifact(path, "index")
    assert outcome(path) == "refused"
