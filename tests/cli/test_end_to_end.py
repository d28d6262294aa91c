"""The whole line of work in one go: a heap of text to answered questions, by the real command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

DEMO = Path(__file__).parents[2] / "resources/demo"
N_PASSAGES = 60


class Shell:
    """Runs ``python -m kofid`` in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("KOFID_")}
        self.environment |= {"PYTHONIOENCODING": "utf-8", "HF_HUB_OFFLINE": "1", "CI": "1"}

    def __call__(self, *arguments: object, code: int = 0) -> list[Any]:
        """Return the JSON objects that the command prints; standard error must be free of anything but notes."""
        command = [sys.executable, "-m", "kofid", *map(str, arguments)]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, encoding="utf-8", check=False
        )
        assert done.returncode == code, (command, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr and "Warning" not in done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_jsonl(path: Path, entries: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(e, ensure_ascii=False) + "\n" for e in entries), encoding="utf-8")


def prepare(folder: Path) -> list[dict[str, Any]]:
    """Write passages.jsonl, train.jsonl and test.jsonl from the demo; return the test questions."""
    passages = read_jsonl(DEMO / "passages.jsonl")[:N_PASSAGES]
    ids = {p["id"] for p in passages}
    questions = [q for q in read_jsonl(DEMO / "questions.jsonl") if set(q["positive_ids"]) <= ids]
    tested = questions[1::2][:40]
    write_jsonl(folder / "passages.jsonl", passages)
    write_jsonl(folder / "train.jsonl", questions[::2][:48])
    write_jsonl(folder / "test.jsonl", tested)
    return tested


def check_artifacts(kofid: Shell) -> None:
    """Verify everything that was made, then damage one and see it refused."""
    kinds = {"kb": "index", "kb2": "index", "encoder": "encoder", "distilled": "encoder"}
    for name, kind in (kinds | {"reader": "reader", "span-reader": "reader"}).items():
        (sound,) = kofid("verify", name)
        assert (sound["path"], sound["kind"], sound["ok"]) == (name, kind, True)
    (model,) = (kofid.folder / "reader").glob("gen-*/model.safetensors")
    content = bytearray(model.read_bytes())
    content[-100] ^= 1
    model.write_bytes(content)
    assert kofid("verify", "reader", code=4) == []


def test_from_a_heap_of_text_to_answers(tmp_path: Path) -> None:
    kofid = Shell(tmp_path)
    tested = prepare(tmp_path)

    # index, retrieve
    (made,) = kofid("index", "passages.jsonl", "-o", "kb")
    assert made["n_passages"] == N_PASSAGES
    (sparse,) = kofid("retrieve", "-i", "kb", "--eval", "test.jsonl")
    assert sparse["n"] == 40 and sparse["hit@1"] > 0.9
    assert kofid("retrieve", "-i", "kb", "test.jsonl", "-k", 4, "-o", "found.jsonl") == []
    found = read_jsonl(tmp_path / "found.jsonl")
    assert [f["id"] for f in found] == [q["id"] for q in tested]
    assert all(0 < len(f["ctxs"]) <= 4 for f in found)

    # train-retriever, index with vectors, rerank
    (trained,) = kofid(
        "train-retriever", "-i", "kb", "train.jsonl", "--model", "fresh:tiny", "--max-steps", 12, "--lr", 1e-3,
        "--batch-size", 16, "-o", "encoder",
    )  # fmt: skip
    assert trained["output"] == "encoder" and trained["steps"] == 12 and trained["loss"] > 0
    (dense,) = kofid("index", "passages.jsonl", "-o", "kb", "--dense", "encoder")
    assert dense["n_passages"] == N_PASSAGES
    (cross,) = kofid("rerank", "-i", "kb", "--mode", "cross", "--fusion", "minmax", "--eval", "test.jsonl")
    assert cross["n"] == 40 and cross["hit@100"] == 1.0 and cross["mrr"] > 0.5
    kofid("rerank", "-i", "kb", "--mode", "sequential", "--from", "found.jsonl", "-k", 4, "-o", "reranked.json")
    reranked = json.loads((tmp_path / "reranked.json").read_text(encoding="utf-8"))
    for old, new in zip(found, reranked, strict=True):
        assert {c["id"] for c in new["ctxs"]} == {c["id"] for c in old["ctxs"]}

    # train-reader, both kinds; the t5 one from the reranked passages
    (reader,) = kofid(
        "train-reader", "reranked.json", "--reader", "t5", "--model", "fresh:tiny", "--vocab-size", 1500,
        "--n-context", 3, "--max-steps", 12, "--lr", 1e-2, "--batch-size", 8, "-o", "reader",
    )  # fmt: skip
    assert reader["steps"] == 12 and 0 < reader["loss"] < 20
    (span,) = kofid("train-reader", "-i", "kb", "train.jsonl", "--reader", "span", "-o", "span-reader")
    assert span["output"] == "span-reader" and span["n_questions"] == 48

    # distill the reader back into the retriever; its vectors make the next index
    (distilled,) = kofid(
        "distill", "reranked.json", "--reader", "reader", "--retriever", "encoder", "--n-context", 3, "--limit", 24,
        "--scores", "scores.json", "--max-steps", 6, "-o", "distilled",
    )  # fmt: skip
    assert distilled["steps"] == 6 and distilled["loss"] >= 0
    scores = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert len(scores) == 24
    assert any(len({c["score"] for c in entry["ctxs"]}) > 1 for entry in scores)
    kofid("index", "passages.jsonl", "-o", "kb2", "--dense", "distilled")
    (after,) = kofid("retrieve", "-i", "kb2", "--mode", "dense", "--eval", "test.jsonl")
    assert after["n"] == 40 and after["hit@100"] == 1.0

    # ask, evaluate
    (answered,) = kofid("ask", "-i", "kb", "--reader", "span-reader", "-k", 3, tested[0]["question"])
    assert answered["question"] == tested[0]["question"]
    assert answered["answer"] in answered["ctxs"][0]["text"] and len(answered["ctxs"]) <= 3
    (generated,) = kofid("ask", "-i", "kb", "--reader", "reader", "-k", 3, tested[0]["question"])
    assert [e["id"] for e in generated["ctxs"]][:1] and 0.0 <= generated["confidence"] <= 1.0
    (figures,) = kofid("evaluate", "-i", "kb", "--reader", "span-reader", "test.jsonl", "-o", "predictions.jsonl")
    assert figures["n"] == 40 and 0.0 < figures["em"] <= figures["em_robust"]
    assert len(read_jsonl(tmp_path / "predictions.jsonl")) == 40

    check_artifacts(kofid)
    assert not [p.name for p in tmp_path.iterdir() if p.name.startswith(".")]  # no checkpoints, no part files
