"""Arrays in one file: what was written is read, and no changed byte passes for what was written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash

from kofid.errors import CorruptArtifactError
from kofid.storage.arrays import BLOCK, TOC, ArrayFile, ArrayWriter


def write(path: Path, arrays: dict[str, Any]) -> Path:
    writer = ArrayWriter(path)
    for name, values in arrays.items():
        writer.add(name, values)
    writer.close()
    return path


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 0x10
    path.write_bytes(content)


# --- round trip ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["u1", "u2", "u4", "u8", "f4", ">u2", ">u8", ">f4"])
def test_every_type_comes_back(tmp_path: Path, kind: str):
    values = np.array([0, 1, 2, 200, 255], kind)
    other = np.array([7, 8, 9], "u1")
    file = ArrayFile(write(tmp_path / "a", {"other": other, "values": values}))
    assert file.names == ["other", "values"]
    read = file["values"].all()
    assert read.tolist() == [0, 1, 2, 200, 255] and read.dtype == np.dtype(kind).newbyteorder("<")
    assert file["other"].all().tolist() == [7, 8, 9]


def test_largest_numbers_come_back(tmp_path: Path):
    arrays = {kind: np.array([np.iinfo(kind).max, 0], kind) for kind in ("u1", "u2", "u4", "u8")}
    file = ArrayFile(write(tmp_path / "a", arrays))
    assert {name: int(file[name].all()[0]) for name in file.names} == {
        "u1": 255,
        "u2": 65_535,
        "u4": 4_294_967_295,
        "u8": 18_446_744_073_709_551_615,
    }


def test_empty_arrays_and_empty_files_come_back(tmp_path: Path):
    none = np.empty(0, np.uint64)
    assert ArrayFile(write(tmp_path / "none", {})).names == []
    assert ArrayFile(write(tmp_path / "empty", {"a": none}))["a"].all().tolist() == []
    file = ArrayFile(write(tmp_path / "last", {"a": np.array([1], np.uint16), "b": none}))
    assert (file["a"].all().tolist(), file["b"].all().tolist(), len(file["b"])) == ([1], [], 0)


def test_a_part_is_read(tmp_path: Path):
    file = ArrayFile(write(tmp_path / "a", {"pad": np.ones(3, np.uint8), "a": np.arange(100_000, dtype=np.uint32)}))
    assert file["a"].read(70_000, 70_003).tolist() == [70_000, 70_001, 70_002]
    assert file["a"].read(5, 5).tolist() == [] and len(file["a"]) == 100_000


def test_an_array_is_written_in_pieces(tmp_path: Path):
    writer = ArrayWriter(tmp_path / "a")
    writer.add("first", np.array([9], np.uint8))
    writer.begin("pieces")
    assert [writer.extend(b"abc"), writer.extend(b""), writer.extend(b"d" * BLOCK)] == [3, 3, 3 + BLOCK]
    writer.add("last", np.array([9], np.uint8))
    writer.close()
    file = ArrayFile(tmp_path / "a")
    assert file["pieces"].all().tobytes() == b"abc" + b"d" * BLOCK
    assert file["first"].all().tolist() == file["last"].all().tolist() == [9]


def test_arrays_cannot_be_changed_by_their_readers(tmp_path: Path):
    values = ArrayFile(write(tmp_path / "a", {"a": np.arange(3, dtype=np.uint32)}))["a"].all()
    with pytest.raises(ValueError, match="read-only"):
        values[0] = 1


def test_table_says_place_and_checksum_of_everything(tmp_path: Path):
    """Worked by hand: three bytes, 61 of padding, then two numbers of two bytes, low byte first."""
    path = write(tmp_path / "a", {"x": np.array([1, 2, 3], np.uint8), "y": np.array([4, 256], np.uint16)})
    content = b"\1\2\3" + b"\0" * 61 + b"\4\0\0\1"
    assert path.read_bytes() == content
    assert json.loads((tmp_path / f"a{TOC}").read_text()) == {
        "arrays": {"x": ["<u1", 0, 3], "y": ["<u2", 64, 4]},
        "size": 68,
        "sums": [xxhash.xxh3_64_intdigest(content)],
    }


def test_types_that_the_format_does_not_have_are_refused(tmp_path: Path):
    for values in (np.zeros(1, np.int64), np.zeros(1, np.float64), np.array(["x"]), np.array([{}])):
        with pytest.raises((KeyError, ValueError)):
            ArrayWriter(tmp_path / "a").add("a", values)


# --- damage --------------------------------------------------------------------------------------------------


def test_a_flipped_byte_is_found_upon_reading_its_block_and_not_before(tmp_path: Path):
    path = write(tmp_path / "a", {"a": np.zeros(4 * BLOCK + 100, np.uint8)})
    content = path.read_bytes()
    blocks = [(n * BLOCK, min((n + 1) * BLOCK, len(content))) for n in range(5)]
    for damaged, (first, stop) in enumerate(blocks):
        for position in (first, (first + stop) // 2, stop - 1):
            path.write_bytes(content)
            flip(path, position)
            array = ArrayFile(path)["a"]
            for number, (start, end) in enumerate(blocks):
                if number != damaged:
                    assert not array.read(start, end).any()
            with pytest.raises(CorruptArtifactError) as error:
                array.read(first, first + 1)
            assert str(path) in str(error.value)
            with pytest.raises(CorruptArtifactError):  # and again, not only the first time
                array.read(stop - 1, stop)
            with pytest.raises(CorruptArtifactError):
                array.all()


def test_reading_over_the_edge_of_a_block_checks_both(tmp_path: Path):
    path = write(tmp_path / "a", {"a": np.zeros(BLOCK, np.uint16)})
    flip(path, 2 * BLOCK - 1)
    array = ArrayFile(path)["a"]
    assert not array.read(0, BLOCK // 2).any()
    with pytest.raises(CorruptArtifactError):
        array.read(BLOCK // 2 - 1, BLOCK // 2 + 1)


def test_damage_of_the_padding_between_arrays_is_found(tmp_path: Path):
    path = write(tmp_path / "a", {"x": np.array([1], np.uint8), "y": np.array([1], np.uint8)})
    flip(path, 30)
    with pytest.raises(CorruptArtifactError, match="a: "):
        ArrayFile(path)["x"].all()


@pytest.mark.parametrize("size", [-1, -BLOCK, BLOCK, 1], ids=["a byte less", "a block less", "one block", "one byte"])
def test_a_cut_file_is_refused(tmp_path: Path, size: int):
    path = write(tmp_path / "a", {"a": np.zeros(3 * BLOCK, np.uint8)})
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CorruptArtifactError) as error:
        ArrayFile(path)
    assert str(path) in str(error.value)


def test_an_emptied_file_is_refused(tmp_path: Path):
    path = write(tmp_path / "a", {"a": np.zeros(10, np.uint8)})
    path.write_bytes(b"")
    with pytest.raises(CorruptArtifactError, match="a: "):
        ArrayFile(path)


def test_a_longer_file_is_refused(tmp_path: Path):
    path = write(tmp_path / "a", {"a": np.zeros(10, np.uint8)})
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(CorruptArtifactError):
        ArrayFile(path)
