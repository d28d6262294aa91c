"""The joint reader on the command line: trained, asked, reranked with, evaluated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.command_line import kofid, refuse, write_jsonl
from support.loaded import loaded_after
from support.tiny_encoder import EXAMPLES, PASSAGES

QUESTION = EXAMPLES[0].question.text


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index, and questions for it."""
    folder = tmp_path_factory.mktemp("files")
    passages = [{"id": p.id, "title": p.title, "text": p.text} for p in PASSAGES]
    assert kofid("index", write_jsonl(folder / "p.jsonl", passages), "-o", folder / "kb").code == 0
    questions = [(example.question, f"q{i}") for i, example in enumerate(EXAMPLES)]
    entries = [
        {"id": name, "question": q.text, "answers": q.answers, "positive_ids": q.positive_ids} for q, name in questions
    ]
    write_jsonl(folder / "q.jsonl", entries)
    return folder


@pytest.fixture(scope="module")
def reader(files: Path, tiny_encoder: Path) -> Path:
    done = kofid(
        "train-reader", "--reader", "joint", "--model", tiny_encoder, "-i", files / "kb", files / "q.jsonl", "--max-steps", 2,
        "--batch-size", 4, "--n-context", 3, "--negatives", 2, "--dev", files / "q.jsonl", "--device", "cpu",
        "-o", files / "reader",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert done.object["steps"] == 2 and {"dev_em", "dev_f1", "dev_hit@1"} <= done.object.keys()
    return files / "reader"


def test_what_was_trained_is_sound_and_answers(files: Path, reader: Path) -> None:
    assert kofid("verify", reader).object["kind"] == "reader"
    asked = kofid("ask", "-i", files / "kb", "--reader", reader, QUESTION)
    assert asked.code == 0, asked.err
    reply = asked.object
    texts = {passage.id: passage.text for passage in PASSAGES}
    assert texts[reply["passage_id"]][reply["start"] : reply["end"]] == reply["answer"]
    assert 0 <= reply["confidence"] <= 1 and reply["ctxs"][0]["id"] == reply["passage_id"]


def test_rerank_by_it(files: Path, reader: Path) -> None:
    plain = kofid("retrieve", "-i", files / "kb", QUESTION, "-k", 4).object["ctxs"]
    reranked = kofid("rerank", "-i", files / "kb", "--reader", reader, QUESTION, "-k", 4, "--depth", 3)
    assert reranked.code == 0, reranked.err
    hits = reranked.object["ctxs"]
    assert sorted(hit["id"] for hit in hits) == sorted(hit["id"] for hit in plain)
    assert hits[3] == plain[3] and {hit["score"] for hit in hits} != {hit["score"] for hit in plain}
    scores = [hit["score"] for hit in hits[:3]]
    assert scores == sorted(scores, reverse=True)


def test_evaluate_it(files: Path, reader: Path, tmp_path: Path) -> None:
    done = kofid("evaluate", "-i", files / "kb", "--reader", reader, files / "q.jsonl", "-o", tmp_path / "p.jsonl")
    assert done.code == 0, done.err
    assert done.object["n"] == len(EXAMPLES) and done.object["answer_recall@10"] == 1.0
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == len(EXAMPLES) and all(line["answer"] for line in lines)


def test_reading_and_reranking_load_no_torch(files: Path, reader: Path) -> None:
    options = ["-i", str(files / "kb"), "--reader", str(reader), QUESTION]
    for loaded in loaded_after(["ask", *options], ["rerank", *options]):
        assert set(loaded) <= {"kiwipiepy"}


def test_what_does_not_go_together_is_refused(files: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    command = ("train-reader", "--reader", "joint", files / "q.jsonl", "-i", files / "kb", "-o", tmp_path / "r")
    assert "--first-k" in refuse(2, *command, "--model", tiny_encoder, "--first-k", 3)
    assert "--max-tokens" in refuse(2, *command, "--model", tiny_encoder, "--max-tokens", 100)
    assert str(tmp_path) in refuse(3, *command, "--model", tmp_path)
    assert not (tmp_path / "r").exists()
