"""Retrievers on the command line: trained from raw text and questions, vectors added to an index, hybrid search."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.command_line import PASSAGES, QUESTIONS, kofid

ASKED = "한산도 대첩은 언제 일어났나?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A static encoder trained on the demo's texts, then on its questions, and an index without vectors."""
    folder = tmp_path_factory.mktemp("retrievers")
    assert kofid("index", PASSAGES, "-o", folder / "kb").code == 0
    made = ("--model", "static:48", "--vocab-size", 3000, "--batch-size", 64, "--max-steps", 40, "--symmetric")
    raw = kofid("train-retriever", PASSAGES, "--pretrain", *made, "-o", folder / "raw")
    assert raw.code == 0 and raw.object["steps"] == 40, raw.err
    more = ("--model", folder / "raw", "--negatives", 3, "--max-steps", 5, "--limit", 60, "--bits", 8)
    dev = ("--dev", QUESTIONS, "--eval-steps", 5)
    done = kofid("train-retriever", "-i", folder / "kb", QUESTIONS, *more, *dev, "-o", folder / "encoder")
    assert done.code == 0 and done.object["dev_hit1"] > 0.3, done.err
    return folder


@pytest.fixture(scope="module")
def kb(folder: Path) -> Path:
    """The index with vectors."""
    found = kofid("index", "-o", folder / "kb", "--dense", folder / "encoder")
    assert found.code == 0, found.err
    assert found.object["dense"]["dimension"] == 48 and found.object["dense"]["faiss"] == "Flat"
    assert kofid("verify", folder / "kb").code == 0
    return folder / "kb"


def test_the_encoder_is_kept_with_how_it_was_made(folder: Path) -> None:
    (manifest,) = (folder / "encoder").glob("gen-*/manifest.json")
    settings = json.loads(manifest.read_text(encoding="utf-8"))["settings"]
    assert settings["pooling"] == "static" and settings["contrast"]["n_negatives"] == 3
    assert settings["contrast"]["temperature"] == 0.03 and settings["training"]["learning_rate"] == 0.01


def ids(*arguments: object) -> list[str]:
    found = kofid(*arguments)
    assert found.code == 0, found.err
    return [c["id"] for c in found.object["ctxs"]]


def test_hybrid_is_what_an_index_with_vectors_does(kb: Path) -> None:
    asked = ("retrieve", "-i", kb, ASKED, "-k", 5)
    assert ids(*asked) == ids(*asked, "--mode", "cross") == ids("rerank", "-i", kb, ASKED, "-k", 5)
    assert ids(*asked, "--mode", "cross", "--lambda", 0) == ids(*asked, "--mode", "sparse")
    assert ids(*asked, "--mode", "dense") != ids(*asked, "--mode", "sparse")
    for method in ("minmax", "raw", "rrf"):
        assert len(ids(*asked, "--fusion", method)) == 5
    first = kofid("ask", "-i", kb, ASKED, "--json").object["ctxs"][0]
    assert first["id"] == ids(*asked)[0]
    assert kofid("ask", "-i", kb, "qzxv").object["ctxs"] == []


def test_hybrid_is_no_worse_on_the_demo(kb: Path) -> None:
    found = {
        mode: kofid("retrieve", "-i", kb, "--mode", mode, "--eval", QUESTIONS, "--limit", 200).object
        for mode in ("sparse", "cross", "sequential", "dense")
    }
    assert found["cross"]["mrr"] >= found["sparse"]["mrr"] - 0.005
    assert found["cross"]["mrr"] > found["dense"]["mrr"] > 0.4
    assert found["sequential"]["hit@100"] >= found["dense"]["hit@100"] - 0.02


def test_an_estimate_of_vectors_writes_nothing(kb: Path, folder: Path) -> None:
    before = sorted(p.name for p in kb.rglob("*"))
    found = kofid("index", "-o", kb, "--dense", folder / "encoder", "--dry-run", "--faiss", "SQ8").object
    assert found["n_passages"] == 328 and found["faiss"] == "SQ8" and found["estimated_bytes"] == 328 * 48
    assert sorted(p.name for p in kb.rglob("*")) == before


def test_a_dry_run_on_raw_text_shows_a_pair_and_writes_nothing(tmp_path: Path) -> None:
    made = ("--pretrain", "--model", "static:8", "--vocab-size", 3000, "--dry-run")
    found = kofid("train-retriever", PASSAGES, *made, "-o", tmp_path / "new")
    assert found.code == 0 and found.object["n_passages"] == 328, found.err
    words = set(found.object["question"].split())
    assert words and len(found.object["passage"]) > 50
    assert list(tmp_path.iterdir()) == []


def test_shares_are_finished_by_who_finds_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kofid.retrieval.dense import shards

    monkeypatch.setattr(shards, "SHARD", 100)
    assert kofid("index", PASSAGES, "-o", folder / "parts").code == 0
    shared = ("index", "-o", folder / "parts", "--dense", folder / "encoder")
    first = kofid(*shared, "--shard", "2/3")
    assert (first.code, first.out) == (0, "") and "2/3" in first.err
    monkeypatch.setenv("RANK", "0")  # as torchrun does
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert kofid(*shared).out == ""
    monkeypatch.setenv("RANK", "2")
    assert kofid(*shared).object["dense"]["n_vectors"] == 328


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["index", "-o", "KB", "--dense", "ENCODER", "--shard", "0/3"], "0/3"),
        (["index", "-o", "KB", "--dense", "ENCODER", "--shard", "two"], "two"),
        (["index", "PASSAGES", "-o", "NEW", "--dense", "ENCODER", "--shard", "1/2"], "--shard"),
        (["index", "-o", "KB", "--dense", "ENCODER", "--faiss", "Nothing"], "Nothing"),
        (["train-retriever", "PASSAGES", "--pretrain", "-i", "KB", "-o", "NEW"], "--pretrain"),
        (["train-retriever", "QUESTIONS", "-i", "KB", "--patience", "2", "-o", "NEW"], "--patience"),
        (["train-retriever", "QUESTIONS", "-i", "KB", "--model", "static:no", "-o", "NEW"], "static:no"),
        (["train-retriever", "QUESTIONS", "-i", "KB", "--model", "fresh:tiny", "--bits", "8", "-o", "NEW"], "--bits"),
        (
            ["train-retriever", "QUESTIONS", "-i", "KB", "--model", "ENCODER", "--pooling", "cls", "-o", "NEW"],
            "--pooling",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_does_not_go_together(kb: Path, folder: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    names = {
        "KB": kb,
        "ENCODER": folder / "encoder",
        "NEW": tmp_path / "new",
        "PASSAGES": PASSAGES,
        "QUESTIONS": QUESTIONS,
    }
    found = kofid(*(names.get(a, a) for a in arguments))
    assert (found.code, found.out) == (2, "") and message in found.err
    assert not (tmp_path / "new").exists()
