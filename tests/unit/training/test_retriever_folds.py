"""Training retrievers: cross-validation, negatives by vectors, adapters, checkpointed layers, several processes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.command_line import kofid, write_jsonl
from support.examples import CPU, EXAMPLES, PASSAGES, digest, write_fid
from support.processes import Interrupted, interrupt_at, torchrun
from support.retriever_ranks import RUNS, bert, run_all, static, t5

from kofid.cli.app import INTERRUPTED
from kofid.errors import InputError, UsageError
from kofid.retrieval.dense.base import Encoder
from kofid.retrieval.dense.encoders import load_encoder
from kofid.storage.artifacts import write_artifact
from kofid.training import retriever as retriever_module
from kofid.training.encoder_fit import dev_figures, fit_encoder
from kofid.training.folds import folds
from kofid.types import Example, Question

# --- folds --------------------------------------------------------------------------------------------------------


def asked(text: str, *gold: str) -> Example:
    return Example(Question(text, positive_ids=gold), ())


def test_folds_by_hand() -> None:
    # A, B and C hang together by b and c, though A and C share nothing; D and E are the same question; F is alone.
    # So of three parts one has three, one has two, one has one.
    a, b, c = asked("A", "a", "b"), asked("B", "b", "c"), asked("C", "c")
    d, e, f = asked("D", "d"), asked("D", "e"), asked("F")
    examples = [a, d, c, f, e, b]  # A and C are apart until B comes
    found = folds(examples, 3)
    assert sorted([sorted(map(examples.index, held)) for _, held in found]) == [[0, 2, 5], [1, 4], [3]]
    for train, held in found:
        assert sorted(map(examples.index, train + held)) == list(range(6))
    alike = [asked(name) for name in "GHIJ"]  # the largest go first; among equals the seed decides
    assert folds(examples, 3) == found and any(folds(alike, 2, seed) != folds(alike, 2) for seed in range(5))
    with pytest.raises(InputError):
        folds(examples, 4)


def hang_together(examples: Sequence[Example], start: int) -> set[int]:
    """Return the numbers of all examples that share a question or a gold passage with one, or with those that do."""
    names = [{e.question.text, *e.question.positive_ids} for e in examples]
    found, before = {start}, set()
    while found != before:
        before = found
        found = {i for i, own in enumerate(names) if any(own & names[j] for j in before)}
    return found


def test_no_held_out_question_shares_a_passage_with_those_to_train_on() -> None:
    chance = random.Random(1)
    many = refused = 0
    for seed in range(150):
        examples = [
            asked(f"Q{chance.randrange(30)}", *(f"p{chance.randrange(40)}" for _ in range(chance.randint(0, 2))))
            for _ in range(chance.randint(2, 25))
        ]
        n = chance.randint(2, 6)
        groups = {frozenset(hang_together(examples, i)) for i in range(len(examples))}
        if len(groups) < n:
            with pytest.raises(InputError):
                folds(examples, n, seed)
            refused += 1
            continue
        found = [([id(e) for e in train], [id(e) for e in held]) for train, held in folds(examples, n, seed)]
        ids = [id(e) for e in examples]
        assert sorted(i for _, held in found for i in held) == sorted(ids)  # each is held out once
        for train, held in found:
            assert held and sorted(train + held) == sorted(ids)
            own = {ids.index(i) for i in held}
            assert all(hang_together(examples, i) <= own for i in own)
        many += max(map(len, groups)) > 2
    assert many > 20 and refused > 10


# --- folds on the command line --------------------------------------------------------------------------------------


def write_base(path: Path, encoder: Encoder) -> Path:
    with write_artifact(path, "encoder", {}) as directory:
        encoder.save(directory)
    return path


# Some paraphrases, so that groups are of several questions.
ASKED = [*EXAMPLES, *(replace(e, question=replace(e.question, text=f"누가 {e.question.text}")) for e in EXAMPLES[:5])]
FAST = ("--max-steps", 4, "--batch-size", 4, "--lr", 0.003, "--save-steps", 2, "--device", "cpu")


def weights(path: Path) -> bytes:
    (file,) = path.glob("gen-*/**/model.safetensors")
    return file.read_bytes()


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "folds.json").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("make", [bert, static])
def test_each_fold_is_a_run_of_its_own_from_the_base(make: Callable[[], Encoder], tmp_path: Path) -> None:
    data = write_fid(tmp_path / "all.json", ASKED)
    made = ("--model", write_base(tmp_path / "base", make()), *FAST)
    done = kofid("train-retriever", data, *made, "--folds", 3, "-o", tmp_path / "cv")
    assert done.code == 0, done.err
    rows = rows_of(tmp_path / "cv")
    assert sorted(path.name for path in (tmp_path / "cv").iterdir()) == [
        ".kofid",
        "fold-1",
        "fold-2",
        "fold-3",
        "folds.json",
    ]
    seen = set()
    for row, (train, held) in zip(rows, folds(ASKED, 3), strict=True):
        number = row["fold"]
        part = write_fid(tmp_path / f"{number}.json", train)
        assert kofid("train-retriever", part, *made, "-o", tmp_path / f"plain-{number}").code == 0
        assert weights(tmp_path / f"cv/fold-{number}") == weights(tmp_path / f"plain-{number}")
        seen.add(weights(tmp_path / f"cv/fold-{number}"))
        assert row["held_out"] == [e.question.text for e in held] and row["steps"] == 4
        (opened,) = (tmp_path / f"cv/fold-{number}").glob("gen-*")
        figures = {f"held_out_{name}": value for name, value in dev_figures(load_encoder(str(opened)), held).items()}
        assert {name: row[name] for name in figures} == pytest.approx(figures)
        assert kofid("verify", tmp_path / f"cv/fold-{number}").code == 0
    assert len(seen) == 3
    means = {name: sum(row[name] for row in rows) / 3 for name in figures}
    assert done.object == {"output": str(tmp_path / "cv"), "folds": 3, **means}


def test_interrupted_folds_go_on_where_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_fid(tmp_path / "all.json", ASKED)
    command = ("train-retriever", data, "--model", write_base(tmp_path / "base", static()), *FAST, "--folds", 3)
    whole = kofid(*command, "-o", tmp_path / "whole").object
    runs = 0

    def stop(step: int, steps: int, loss: float) -> None:
        if step == 3:
            raise KeyboardInterrupt

    def interrupted(*arguments: Any, on_step: Any, **more: Any) -> Any:
        nonlocal runs
        runs += 1
        return fit_encoder(*arguments, on_step=stop if runs == 2 else on_step, **more)

    monkeypatch.setattr(retriever_module, "fit_encoder", interrupted)
    cv = tmp_path / "cv"
    assert kofid(*command, "-o", cv).code == INTERRUPTED
    assert sorted(path.name for path in cv.iterdir()) == [".fold-2.checkpoints", ".kofid", "fold-1"]
    before = {path: path.stat().st_mtime_ns for path in (cv / "fold-1").rglob("*")}
    again = kofid(*command, "-o", cv)
    assert again.code == 2 and "--resume" in again.err and runs == 2
    done = kofid(*command, "-o", cv, "--resume")
    assert done.code == 0 and runs == 4, done.err  # the second goes on, the third is new
    assert done.object == {**whole, "output": str(cv)}
    assert {path: path.stat().st_mtime_ns for path in (cv / "fold-1").rglob("*")} == before
    for name in ("fold-1", "fold-2", "fold-3"):
        assert weights(cv / name) == weights(tmp_path / "whole" / name)
    assert rows_of(cv) == rows_of(tmp_path / "whole")
    assert kofid(*command, "-o", cv, "--resume").object == done.object and runs == 4  # nothing is left to do
    assert rows_of(cv) == rows_of(tmp_path / "whole")


def test_folds_of_another_split_are_refused(tmp_path: Path) -> None:
    data = write_fid(tmp_path / "all.json", ASKED)
    command = ("train-retriever", data, "--model", "static:8", *FAST, "--vocab-size", 300, "-o", tmp_path / "cv")
    assert kofid(*command, "--folds", 2).code == 0
    assert kofid(*command, "--folds", 3, "--resume").code in (2, 5)


def test_folds_need_enough_questions_and_no_dev_set(tmp_path: Path) -> None:
    data = write_fid(tmp_path / "all.json", ASKED)
    command = ("train-retriever", data, "--model", "static:8", *FAST, "-o", tmp_path / "cv")
    assert kofid(*command, "--folds", 13).code == 3  # 12 passages, so 12 groups
    assert kofid(*command, "--folds", 2, "--dev", data).code == 2
    assert kofid(*command, "--folds", 2, "--pretrain").code == 2
    assert not (tmp_path / "cv").exists()


# --- negatives ------------------------------------------------------------------------------------------------------


def test_dense_negatives_are_what_the_index_s_vectors_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = bert()
    corpus = write_jsonl(tmp_path / "p.jsonl", [{"id": p.id, "title": p.title, "text": p.text} for p in PASSAGES])
    questions = [
        {"question": e.question.text, "answers": e.question.answers, "positive_ids": e.question.positive_ids}
        for e in EXAMPLES
    ]
    base, kb = write_base(tmp_path / "base", encoder), tmp_path / "kb"
    asked_in = write_jsonl(tmp_path / "q.jsonl", questions)
    command = ("train-retriever", asked_in, "-i", kb, "--model", base, *FAST, "--n-context", 4)
    assert kofid("index", corpus, "-o", kb).code == 0
    assert kofid(*command, "--mode", "dense", "-o", tmp_path / "e").code == 5  # no vectors as yet
    assert kofid("index", "-o", kb, "--dense", base).code == 0
    seen: dict[str, list[Example]] = {}
    mode = ""

    def spy(encoder: Encoder, examples: list[Example], *arguments: Any, **more: Any) -> Any:
        seen[mode] = examples
        return fit_encoder(encoder, examples, *arguments, **more)

    monkeypatch.setattr(retriever_module, "fit_encoder", spy)
    for mode in ("dense", "sparse"):
        done = kofid(*command, "--mode", mode, "-o", tmp_path / mode)
        assert done.code == 0, done.err
    scores = encoder.encode_questions([e.question.text for e in EXAMPLES]) @ encoder.encode_passages(PASSAGES).T
    for i, example in enumerate(seen["dense"]):
        best = [int(j) for j in np.argsort(-scores[i], kind="stable")[:4]]
        best = best if i in best else [*best[:3], i]  # the gold passage in the last place
        assert [hit.passage.id for hit in example.hits] == [f"p{j}" for j in best]
    hits = {name: [[h.passage.id for h in e.hits] for e in found] for name, found in seen.items()}
    assert hits["dense"] != hits["sparse"]
    assert weights(tmp_path / "dense") != weights(tmp_path / "sparse")
    assert kofid("train-retriever", asked_in, "--mode", "dense", "-o", tmp_path / "no").code == 2  # no index


# --- adapters and checkpointed layers -------------------------------------------------------------------------------


def fit(encoder: Encoder, folder: Path, **options: Any) -> Encoder:
    chosen = replace(CPU, max_steps=6, eval_steps=2, **options)
    fit_encoder(encoder, EXAMPLES, chosen, folder, dev=EXAMPLES[:4])
    return encoder


@pytest.mark.parametrize("lora", [0, 2])
def test_checkpointed_layers_give_the_same_weights(lora: int, tmp_path: Path) -> None:
    if lora:
        pytest.importorskip("peft")
    passes, found = [], []
    for checkpointing in (False, True):
        encoder = bert()
        calls: list[bool] = []
        encoder.model.encoder.layer[0].attention.register_forward_hook(lambda *_, calls=calls: calls.append(True))
        fit(encoder, tmp_path / f"c-{checkpointing}", gradient_checkpointing=checkpointing, lora=lora)
        passes.append(len(calls))
        found.append(digest(encoder.model))
        assert not encoder.model.is_gradient_checkpointing
    assert found[0] == found[1] != digest(bert().model)
    # 6 steps of questions and passages, read once more on the way back.
    assert passes[1] - passes[0] == 12


def test_adapters_are_merged_and_leave_no_trace(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    start = {name: weight.clone() for name, weight in bert().model.state_dict().items()}
    encoder = fit(bert(), tmp_path / "c", lora=2)
    end = encoder.model.state_dict()
    assert end.keys() == start.keys()
    assert all(parameter.requires_grad for parameter in encoder.model.parameters())
    moved = [name for name in start if not torch.equal(start[name], end[name])]
    assert len(moved) > 10
    for name in moved:
        assert name.endswith((".dense.weight", ".query.weight", ".key.weight", ".value.weight"))
        assert torch.linalg.matrix_rank(end[name] - start[name], rtol=1e-3) <= 2
    encoder.save(tmp_path / "saved")
    assert not [name for name in load_file(tmp_path / "saved/model.safetensors") if "lora" in name or "base" in name]
    opened = load_encoder(str(tmp_path / "saved"))
    assert digest(opened.model) == digest(encoder.model)
    assert np.array_equal(opened.encode_passages(PASSAGES), encoder.encode_passages(PASSAGES))


@pytest.mark.parametrize("make", [bert, t5])
@pytest.mark.parametrize("options", [{}, {"lora": 2}, {"gradient_checkpointing": True, "ema": 0.9}], ids=str)
def test_resumed_equals_uninterrupted(make: Callable[[], Encoder], options: dict[str, Any], tmp_path: Path) -> None:
    if "lora" in options:
        pytest.importorskip("peft")
    options = replace(CPU, max_steps=6, **options)
    whole = make()
    fit_encoder(whole, EXAMPLES, options, tmp_path / "a")
    with pytest.raises(Interrupted):
        fit_encoder(make(), EXAMPLES, options, tmp_path / "b", on_step=interrupt_at(5))
    resumed = make()
    fit_encoder(resumed, EXAMPLES, options, tmp_path / "b", resume=True)
    assert digest(resumed.model) == digest(whole.model) != digest(make().model)


def test_a_t5_s_encoder_ends_with_its_best_weights(tmp_path: Path) -> None:
    encoder = fit(t5(), tmp_path / "c")
    assert encoder.model.shared.weight is encoder.model.encoder.embed_tokens.weight


def test_static_vectors_have_no_layers(tmp_path: Path, english: None) -> None:
    for options in ({"lora": 2}, {"gradient_checkpointing": True}):
        with pytest.raises(UsageError, match="not static"):
            fit(static(), tmp_path / "c", **options)
    data = write_fid(tmp_path / "all.json", EXAMPLES)
    for more in (("--lora", 2), ("--gradient-checkpointing",)):
        assert kofid("train-retriever", data, "--model", "static:8", *FAST, *more, "-o", tmp_path / "e").code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["all.json"]


# --- several processes ----------------------------------------------------------------------------------------------


def test_two_processes_are_one_with_a_doubled_batch(tmp_path: Path) -> None:
    """Sums are in another order, so not to the bit."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    done = torchrun(2, "support.retriever_ranks", str(tmp_path / "two"), "2")
    assert done.returncode == 0, done.stderr
    run_all(tmp_path / "one", 4)
    for name, (make, *_) in RUNS.items():
        start = {n: p.detach() for n, p in make().model.named_parameters()}
        files = [tmp_path / f"{which}.safetensors" for which in (f"one/{name}-0", f"two/{name}-0", f"two/{name}-1")]
        one, first, second = map(load_file, files)
        assert all(torch.equal(first[n], second[n]) for n in first), name
        moved = max(float((one[n] - start[n]).abs().max()) for n in start)
        apart = max(float((one[n] - first[n]).abs().max()) for n in start)
        assert apart < 0.01 * moved, (name, apart, moved)
