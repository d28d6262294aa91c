"""The loop of distillation: its rounds, what an interruption leaves, its losses."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.command_line import PASSAGES, QUESTIONS, kofid
from support.examples import CPU, EXAMPLES, digest, new_reader
from support.processes import torchrun

from kofid.errors import InputError
from kofid.formats import write_examples
from kofid.reader.fid.config import ScoreMethod
from kofid.training.distill_fit import best_positive_loss, fit_distilled, kl_loss, suited_distillation
from kofid.training.encoder import fresh_encoder, fresh_static
from kofid.training.options import Distillation
from kofid.training.teacher import score_examples
from kofid.types import Hit

TEXTS = [h.passage.text for e in EXAMPLES for h in e.hits] + [e.question.text for e in EXAMPLES]


def test_kl_by_hand() -> None:
    question, passages = torch.tensor([[1.0, 0.0]]), torch.tensor([[[2.0, 1.0], [0.0, 5.0], [9.0, 9.0]]])
    scores = torch.tensor([[0.0, math.log(3.0), -torch.inf]])  # the reader: 1/4, 3/4; the third passage is not there
    # the retriever, divided by 2: softmax of 1 and 0: e / (e + 1) = 0.7311, 0.2689
    expected = 0.25 * math.log(0.25 / 0.7311) + 0.75 * math.log(0.75 / 0.2689)
    assert kl_loss(question, passages, scores, 1.0, 2.0).item() == pytest.approx(expected, abs=3e-4)
    assert kl_loss(question, passages, scores, 1.0, 2.0, "mean").item() == pytest.approx(expected / 3, abs=3e-4)
    # temperature 2 makes of ln 3 its half: 1 / (1 + sqrt 3) = 0.3660
    warm = 0.3660 * math.log(0.3660 / 0.7311) + 0.6340 * math.log(0.6340 / 0.2689)
    assert kl_loss(question, passages, scores, 2.0, 2.0).item() == pytest.approx(warm, abs=3e-4)
    assert kl_loss(question, passages, scores).item() == kl_loss(question, passages, scores, 1.0, 2**0.5).item()


def test_each_kind_of_encoder_has_its_temperature() -> None:
    static, bert = fresh_static(TEXTS, 16, vocab_size=300), fresh_encoder("tiny", TEXTS, vocab_size=300)
    assert suited_distillation(Distillation(), static).retriever_temperature == 0.05
    assert suited_distillation(Distillation(), bert).retriever_temperature == 8  # the square root of 64
    assert suited_distillation(Distillation(retriever_temperature=3.0), static).retriever_temperature == 3.0


@pytest.mark.parametrize("contrast", [0.0, 1.0])
def test_unit_vectors_learn_the_reader_s_order(contrast: float, tmp_path: Path) -> None:
    examples = [  # the second hit is liked best; which is gold is not known
        replace(
            e,
            question=replace(e.question, answers=(), positive_ids=()),
            hits=tuple(replace(h, score=3.0 * (i == 1)) for i, h in enumerate(e.hits)),
        )
        for e in EXAMPLES
    ]
    encoder = fresh_static(TEXTS, 32, vocab_size=300)

    def liked() -> float:
        found = 0
        for e in examples:
            near = encoder.encode_passages([h.passage for h in e.hits]) @ encoder.encode_questions([e.question.text])[0]
            found += int(near.argmax()) == 1
        return found / len(examples)

    before = liked()
    options = replace(CPU, max_steps=60, batch_size=6, learning_rate=0.05)
    fit_distilled(encoder, examples, options, tmp_path / "c", distillation=Distillation(contrast=contrast))
    assert liked() >= max(0.75, before + 0.2)


def test_contrast_takes_the_best_scored_of_the_positives() -> None:
    question, passages = torch.tensor([[1.0, 0.0]]), torch.tensor([[[0.0, 1.0], [1.0, 0.0], [0.5, 0.0], [2.0, 0.0]]])
    scores, keys = torch.tensor([[3.0, 2.0, 1.0, -torch.inf]]), torch.arange(4)[None]

    def loss(*positive: int) -> float:
        mask = torch.tensor([[i in positive for i in range(4)]])
        return best_positive_loss(question, passages, scores, mask, keys, 1.0).item()

    def expected(own: float, *others: float) -> float:
        return -own + math.log(sum(map(math.exp, (own, *others))))

    assert loss() == pytest.approx(expected(0, 1, 0.5))  # the best-scored of all; the fourth is not there
    assert loss(2) == pytest.approx(expected(0.5, 0, 1))
    assert loss(1, 2) == pytest.approx(expected(1, 0))  # another positive is no candidate


def test_scores_of_a_run_that_stopped_are_not_made_again(tmp_path: Path) -> None:
    examples, journal = EXAMPLES[:11], tmp_path / "journal"
    whole = list(score_examples(new_reader(), examples))
    stopped = score_examples(new_reader(), examples, journal=journal)
    assert [next(stopped) for _ in range(7)] == whole[:7]
    stopped.close()
    text = journal.read_text(encoding="utf-8")
    journal.write_text(text[:-3], encoding="utf-8")  # the last line is half written
    reader, asked = new_reader(), []
    score = reader.score
    reader.score = lambda pairs, *more: asked.append(len(pairs)) or score(pairs, *more)  # type: ignore[method-assign, func-returns-value]
    assert list(score_examples(reader, examples, journal=journal)) == whole
    assert asked == [11 - 4]  # six were whole; as many are kept as were scored together
    assert list(score_examples(reader, examples, journal=journal)) == whole and asked[1] == 11 - 8


def test_scores_by_answers_need_answers() -> None:
    reader = new_reader()
    by_answer = list(score_examples(reader, EXAMPLES[:3], method=ScoreMethod.ANSWER))
    by_first = list(score_examples(reader, EXAMPLES[:3]))
    assert [h.score for h in by_answer[0].hits] != [h.score for h in by_first[0].hits]
    bare = [replace(e, target=None, question=replace(e.question, answers=())) for e in EXAMPLES[:3]]
    assert [h.score for h in next(score_examples(reader, bare, method=ScoreMethod.MAX)).hits]
    with pytest.raises(InputError, match="answers"):
        next(score_examples(reader, bare, method=ScoreMethod.ANSWER))


def digest_of(folder: Path) -> str:
    (weights,) = folder.glob("gen-*/model.safetensors")
    return hashlib.sha256(weights.read_bytes()).hexdigest()


def test_rounds_go_on_where_they_stopped(tmp_path: Path) -> None:
    lines = Path(QUESTIONS).read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "train.jsonl").write_text("".join(lines[:24]), encoding="utf-8")
    (tmp_path / "dev.jsonl").write_text("".join(lines[24:40]), encoding="utf-8")
    assert kofid("index", PASSAGES, "-o", tmp_path / "kb").code == 0
    made = ("--model", "fresh:tiny", "--vocab-size", 400, "--max-steps", 1, "--limit", 8, "--n-context", 2)
    assert kofid("train-reader", "-i", tmp_path / "kb", QUESTIONS, *made, "-o", tmp_path / "reader").code == 0
    loop = ("distill", tmp_path / "train.jsonl", "-i", tmp_path / "kb", "--reader", tmp_path / "reader")
    loop += ("--retriever", "static:16", "--rounds", 2, "--n-context", 4, "--max-steps", 3, "--lr", 0.01)
    loop += ("--dev", tmp_path / "dev.jsonl", "--json")
    done = kofid(*loop, "-o", tmp_path / "out")
    assert done.code == 0, done.err
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [(row["round"], row["mode"], row["n"]) for row in rows] == [
        (number, mode, 16) for number in (1, 2) for mode in ("dense", "cross")
    ]
    scored = json.loads((tmp_path / "out/round-2/scores.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert len(scored["ctxs"]) == 4 and {"id", "title", "text", "score"} <= scored["ctxs"][0].keys()
    assert "hit@5" in (tmp_path / "out/report.md").read_text(encoding="utf-8")

    def kept() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*") if p.is_file() and p.name != "report.md"}

    before, first = kept(), digest_of(tmp_path / "out/round-2/encoder")
    assert kofid(*loop, "-o", tmp_path / "out").out == done.out and kept() == before
    for lost in ("round-2/encoder", "round-2/index", "round-2/index.done", "round-2/dense.jsonl"):  # it stopped there
        path = tmp_path / "out" / lost
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert kofid(*loop, "-o", tmp_path / "out").out == done.out
    assert digest_of(tmp_path / "out/round-2/encoder") == first
    assert {p: t for p, t in kept().items() if "round-1" in str(p)} == {
        p: t for p, t in before.items() if "round-1" in str(p)
    }


def test_a_distilled_run_is_the_same_after_an_interruption(tmp_path: Path) -> None:
    examples = [replace(e, hits=tuple(Hit(h.passage, float(i)) for i, h in enumerate(e.hits))) for e in EXAMPLES]
    options = replace(CPU, max_steps=12, batch_size=4, save_steps=4)

    class Stop(Exception):
        """The process ends here."""

    def stop(step: int, *_: object) -> None:
        if step == 6:
            raise Stop

    parted, whole = (fresh_encoder("tiny", TEXTS, vocab_size=300) for _ in range(2))
    with pytest.raises(Stop):
        fit_distilled(parted, examples, options, tmp_path / "a", on_step=stop)
    again = fresh_encoder("tiny", TEXTS, vocab_size=300)
    fit_distilled(again, examples, options, tmp_path / "a", resume=True)
    fit_distilled(whole, examples, options, tmp_path / "b")
    assert digest(again.model) == digest(whole.model) != digest(parted.model)


def test_two_processes_learn_as_one_with_a_doubled_batch(tmp_path: Path) -> None:
    """The same encoder but for the order of sums; the passages of both processes are candidates of the contrast."""
    examples = [replace(e, hits=tuple(Hit(h.passage, float(i)) for i, h in enumerate(e.hits))) for e in EXAMPLES]
    write_examples(tmp_path / "scores.jsonl", examples)
    common = (
        "distill scores.jsonl --stage train --retriever static:16 --max-steps 6 --lr 0.01 --contrast 1 --device cpu"
    )
    done = torchrun(2, "kofid", *common.split(), "--batch-size", "3", "-o", "two", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["steps"] == 6
    alone = kofid(
        *common.replace("scores.jsonl", str(tmp_path / "scores.jsonl")).split(),
        "--batch-size",
        6,
        "-o",
        tmp_path / "one",
    )
    assert alone.code == 0, alone.err
    one, two = (load_file(next((tmp_path / name).glob("gen-*/model.safetensors"))) for name in ("one", "two"))
    for name, weights in one.items():
        assert torch.allclose(weights, two[name], atol=2e-4)


def test_several_processes_do_not_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_examples(tmp_path / "scores.jsonl", EXAMPLES)
    monkeypatch.setenv("WORLD_SIZE", "2")  # as torchrun does
    done = kofid("distill", tmp_path / "scores.jsonl", "--stage", "score", "--reader", "t5", "-o", tmp_path / "x")
    assert done.code == 2 and "--stage train" in done.err and not (tmp_path / "x").exists()


def test_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    for arguments in (
        ["--retriever", "static:8"],
        ["--reader", "t5"],
        ["--reader", "t5", "--retriever", "static:8", "--rounds", 1],
        ["--reader", "t5", "--retriever", "static:8", "--rounds", 1, "--stage", "score", "-i", "kb"],
    ):
        assert kofid("distill", QUESTIONS, *arguments, "-o", tmp_path / "x").code == 2
