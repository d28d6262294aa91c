"""Rounds of distillation: what their steps are told; how they go on where they stopped is in test_distillation.py."""

from __future__ import annotations

import json
from pathlib import Path

from support.command_line import SMALL, kofid, write_jsonl

from kofid.experiments.rounds import RoundFigures, Rounds
from kofid.retrieval.modes import SearchMode


def test_the_steps_in_their_order(tmp_path: Path):
    def names(retriever: str, dev: str | None) -> list[str]:
        rounds = Rounds(tmp_path / "loop", tmp_path / "kb", ["q.jsonl"], "t5", retriever, 2, dev)
        return [step.name for step in rounds.steps()]

    measured = ["measure dense", "measure cross"]
    once = ["retrieve", "score", "train", "index"]
    assert names("static:8", None) == [f"{n}: {step}" for n in (1, 2) for step in once]
    # What is trained already is measured before the first round.
    start = ["0: index", *(f"0: {step}" for step in measured)]
    assert names("encoder", "d.jsonl") == start + [f"{n}: {step}" for n in (1, 2) for step in (*once, *measured)]


def test_questions_are_read_in_their_encoding_and_only_as_many_as_asked_for(tmp_path: Path):
    assert kofid("index", write_jsonl(tmp_path / "small.jsonl", SMALL), "-o", tmp_path / "kb").code == 0
    rows = [
        {"id": str(n), "question": text} for n, text in enumerate(("거북선은 누가 이끌었나?", "한강은?", "세종은?"))
    ]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (tmp_path / "q.jsonl").write_text(text, encoding="cp949")
    rounds = Rounds(
        tmp_path / "loop",
        tmp_path / "kb",
        [str(tmp_path / "q.jsonl")],
        "t5",
        "static:8",
        1,
        n_context=2,
        encoding="cp949",
        limit=2,
    )
    first = next(rounds.steps())
    assert not first.is_done
    first.run()
    assert first.is_done
    entries = [json.loads(line) for line in first.done.open(encoding="utf-8")]
    assert [entry["question"] for entry in entries] == ["거북선은 누가 이끌었나?", "한강은?"]
    assert entries[0]["ctxs"][0]["id"] == "a" and all(len(entry["ctxs"]) <= 2 for entry in entries)


def test_figures_by_hand(tmp_path: Path):
    names = ("hit@1", "hit@5", "hit@20", "mrr@10")
    measures = [dict.fromkeys(names, 1.0), dict.fromkeys(names, 0.0) | {"mrr@10": 0.5}]
    (tmp_path / "round-1").mkdir()
    rows = [{"id": str(i), "question": "?", "measures": m} for i, m in enumerate(measures)]
    write_jsonl(tmp_path / "round-1/dense.jsonl", rows)
    (figures,) = Rounds(tmp_path, tmp_path / "kb", [], "t5", "static:8", 3).figures()
    assert figures == RoundFigures(1, SearchMode.DENSE, 2, {"hit@1": 0.5, "hit@5": 0.5, "hit@20": 0.5, "mrr@10": 0.75})
    assert figures.to_json() == {"round": 1, "mode": "dense", "n": 2, **figures.measures}
