"""The trainer: schedules, averages, adapters, parts that wait, dev sets, several processes, kills, numbers that fail."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support import ranks
from support.examples import CPU, EXAMPLES, digest, new_reader, write_fid
from support.processes import IMPORTED, Interrupted, interrupt_at, torchrun

from kofid.errors import KofidError, ResourceError
from kofid.reader.fid.reader import FiDReader
from kofid.training import trainer as trainer_module
from kofid.training.callbacks import WeightAverage
from kofid.training.checkpoints import last_checkpoint
from kofid.training.data import reader_dataset
from kofid.training.estimate import estimate
from kofid.training.fid import adapted_reader, draw_target, fit_fid, reader_batch, starts_random
from kofid.training.options import TrainOptions


def fit(reader: FiDReader, folder: Path, options: TrainOptions, **more: Any) -> dict[str, float]:
    return fit_fid(reader, EXAMPLES, options, folder, n_context=2, **more)


def weights_of(reader: FiDReader) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in reader.model.state_dict().items()}


def furthest(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


# --- schedules and steps --------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_schedules_by_hand(tmp_path: Path, schedule: str) -> None:
    # 8 steps, a quarter of them warm-up: the rate of step n (from 0) is n / 2 of the full one, then falls with
    # p = (n - 2) / 6 as 1 - p, as (1 + cos(pi p)) / 2, or not at all.
    fall = {"linear": lambda p: 1 - p, "cosine": lambda p: (1 + math.cos(math.pi * p)) / 2, "constant": lambda p: 1.0}
    options = replace(CPU, max_steps=8, schedule=schedule, warmup=0.25, learning_rate=1e-3, batch_size=1)
    fit(new_reader(), tmp_path / "c", options, keep_checkpoints=True)
    state = json.loads((tmp_path / "c/checkpoint-8/trainer_state.json").read_text())
    rates = [entry["learning_rate"] for entry in state["log_history"] if "loss" in entry]
    expected = [0, 0.5, *(fall[schedule](n / 6) for n in range(6))]
    assert rates == pytest.approx([1e-3 * rate for rate in expected])


def test_cyclic_rates_by_hand_go_on_after_an_interruption(tmp_path: Path) -> None:
    # 8 steps, a quarter of them up: 2 up from 1e-4 to 1e-3, 2 down, and again.
    options = replace(CPU, max_steps=8, schedule="cyclic", warmup=0.25, learning_rate=1e-3, min_learning_rate=1e-4)
    whole, resumed = new_reader(), new_reader()
    fit(whole, tmp_path / "a", options, keep_checkpoints=True)
    state = json.loads((tmp_path / "a/checkpoint-8/trainer_state.json").read_text())
    rates = [entry["learning_rate"] for entry in state["log_history"] if "loss" in entry]
    assert rates == pytest.approx([1e-4, 5.5e-4, 1e-3, 5.5e-4] * 2)
    with pytest.raises(Interrupted):
        fit(new_reader(), tmp_path / "b", options, on_step=interrupt_at(5))
    fit(resumed, tmp_path / "b", options, resume=True)
    assert digest(resumed.model) == digest(whole.model)


def test_accumulated_batches_are_one_batch(tmp_path: Path) -> None:
    """Also where their answers have different numbers of tokens: each token counts alike."""
    readers = [new_reader() for _ in range(2)]
    fit(readers[0], tmp_path / "a", replace(CPU, max_steps=3, batch_size=6))
    fit(readers[1], tmp_path / "b", replace(CPU, max_steps=3, batch_size=2, accumulate=3))
    assert furthest(*map(weights_of, readers)) < 2e-4
    uneven = [sum(len(answer) for answer in e.question.answers) for e in EXAMPLES]
    assert max(uneven) > 2 * min(uneven)


def test_gradient_checkpointing_changes_nothing_but_memory(tmp_path: Path) -> None:
    options = replace(CPU, max_steps=3)
    plain, saving = new_reader(dropout=0.1), new_reader(dropout=0.1)
    fit(plain, tmp_path / "a", options)
    fit(saving, tmp_path / "b", replace(options, gradient_checkpointing=True))
    assert digest(plain.model) == digest(saving.model)
    assert not saving.model.encoder.checkpointing
    more, less = (
        estimate(new_reader(), EXAMPLES, o, 2) for o in (options, replace(options, gradient_checkpointing=True))
    )
    assert less["activations_mb"] < more["activations_mb"]


def test_bf16_learns_and_leaves_a_float32_reader(tmp_path: Path) -> None:
    plain, cast = new_reader(), new_reader()
    for reader, bf16 in ((plain, False), (cast, True)):
        fit(reader, tmp_path / "c", replace(CPU, max_steps=4, bf16=bf16))
    assert digest(plain.model) != digest(cast.model)
    batch = reader_batch(cast, [row | {"targets": row["targets"][:1]} for row in reader_dataset(EXAMPLES, 2)])
    (loss, logits), (exact, _) = cast.model(batch), plain.model(batch)
    assert logits.dtype == next(cast.model.parameters()).dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), abs=0.05)


def test_adafactor_trains(tmp_path: Path) -> None:
    losses: list[float] = []
    options = replace(CPU, max_steps=8, optimizer="adafactor", learning_rate=1e-2, batch_size=12, schedule="constant")
    fit(new_reader(), tmp_path / "c", options, on_step=lambda s, n, loss: losses.append(loss))
    assert losses[-1] < losses[0] * 0.8


# --- several answers ------------------------------------------------------------------------------------------


def test_each_answer_is_drawn_as_often_and_the_same_again() -> None:
    row = {"question": "누구?", "targets": ["가", "나", "다"]}
    drawn = [draw_target(row, 1, epoch) for epoch in range(300)]
    assert drawn == [draw_target(row, 1, epoch) for epoch in range(300)]
    assert all(70 < drawn.count(answer) < 130 for answer in row["targets"])
    assert drawn != [draw_target(row, 2, epoch) for epoch in range(300)]


# --- averages -------------------------------------------------------------------------------------------------


def test_the_average_by_hand() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    average = WeightAverage(0.3, None)
    model.weight.data.fill_(0.0)
    average.on_train_begin(None, None, None, model=model)
    for step, weight in enumerate([1.0, 2.0, 4.0]):
        model.weight.data.fill_(weight)
        average.on_optimizer_step(None, SimpleNamespace(global_step=step), None)
    # d = min(0.3, (1 + t) / (10 + t)) at t = 1, 2, 3: 2/11, 3/12, 0.3
    # 0 -> 9/11 = 0.81818;  0.25 x 0.81818 + 0.75 x 2 = 1.70455;  0.3 x 1.70455 + 0.7 x 4 = 3.31136
    assert average.weights["weight"].item() == pytest.approx(3.31136, abs=1e-5)
    with average.applied():
        assert model.weight.item() == pytest.approx(3.31136, abs=1e-5)
    assert model.weight.item() == 4.0


def test_the_reader_ends_with_the_average(tmp_path: Path) -> None:
    plain, averaged = new_reader(), new_reader()
    fit(plain, tmp_path / "a", replace(CPU, max_steps=4))
    fit(averaged, tmp_path / "b", replace(CPU, max_steps=4, ema=0.5), keep_checkpoints=True)
    kept = torch.nn.Module.state_dict(averaged.model)
    assert furthest(weights_of(plain), weights_of(averaged)) > 0
    from safetensors.torch import load_file

    last = tmp_path / "b/checkpoint-4"
    assert furthest(load_file(last / "average.safetensors"), kept) == 0
    assert furthest(load_file(last / "model.safetensors"), weights_of(plain)) == 0


# --- adapters and parts that wait -----------------------------------------------------------------------------


def test_only_the_new_parts_train_at_first(tmp_path: Path) -> None:
    options = replace(CPU, max_steps=4, warmup_cross=3, weight_decay=0.1, warmup=0.0, schedule="constant")
    reader = new_reader(skt=True)
    start = weights_of(reader)
    with pytest.raises(Interrupted):
        fit(reader, tmp_path / "c", replace(options, save_steps=3), on_step=interrupt_at(4))
    from safetensors.torch import load_file

    third = load_file(tmp_path / "c/checkpoint-3/model.safetensors")
    moved = {name for name, weight in third.items() if not torch.equal(weight, start[name])}
    new = {name for name in start if starts_random(name)}
    assert moved and moved <= new
    assert {name.split(".")[0] for name in moved} == {"bridge", "decoder"}
    assert {name for name in new - moved if not name.endswith(".k.bias")} == set()  # moves all logits alike
    now = weights_of(reader)
    assert any(not torch.equal(now[name], start[name]) for name in start if name.startswith("encoder."))


def test_the_new_parts_of_both_decoders() -> None:
    def layers(reader: FiDReader) -> set[str]:
        return {name.rpartition(".")[0] for name, _ in reader.model.named_parameters() if starts_random(name)}

    parts = ("q", "k", "v", "o")
    cross = {f"decoder.block.{i}.layer.1.EncDecAttention.{part}" for i in (0, 1) for part in parts}
    assert layers(new_reader()) == cross | {f"decoder.block.{i}.layer.1.layer_norm" for i in (0, 1)}
    cross = {f"decoder.h.{i}.crossattention.{part}" for i in (0, 1) for part in parts}
    assert layers(new_reader(skt=True)) == cross | {f"decoder.h.{i}.ln_cross_attn" for i in (0, 1)} | {"bridge"}


@pytest.mark.parametrize("skt", [False, True])
def test_adapters_train_little_and_are_merged(tmp_path: Path, skt: bool) -> None:
    pytest.importorskip("peft")
    reader = new_reader(skt=skt)
    start = weights_of(reader)
    fit(reader, tmp_path / "c", replace(CPU, max_steps=4, lora=2), dev=EXAMPLES[:2])
    end = weights_of(reader)
    assert start.keys() == end.keys()  # a plain reader again
    assert all(parameter.requires_grad for parameter in reader.model.parameters())
    whole = starts_random if skt else (lambda name: False)
    for name in start:
        change = end[name] - start[name]
        if whole(name):
            continue
        if change.any():
            assert name.split(".")[-2] in "qkvo" and torch.linalg.matrix_rank(change, rtol=1e-3) <= 2
    assert any((end[name] != start[name]).any() for name in start)
    reader.save(tmp_path / "saved")
    opened = FiDReader.load(str(tmp_path / "saved"))
    assert digest(opened.model) == digest(reader.model)


def test_adapters_merged_for_a_while_read_alike_and_leave_no_trace() -> None:
    pytest.importorskip("peft")
    reader = new_reader()
    batch = reader_batch(reader, [row | {"targets": row["targets"][:1]} for row in reader_dataset(EXAMPLES, 2)])
    plain = reader.model(batch)[0].item()
    with torch.no_grad(), adapted_reader(reader.model, replace(CPU, lora=2)) as merged:
        for name, parameter in reader.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
        before, adapted = digest(reader.model), reader.model(batch)[0].item()
        with merged():
            assert digest(reader.model) != before
            assert reader.model(batch)[0].item() == pytest.approx(adapted, abs=1e-4)
        assert digest(reader.model) == before
    assert adapted != pytest.approx(plain, abs=1e-3)
    assert reader.model(batch)[0].item() == pytest.approx(adapted, abs=1e-4)


def test_lora_without_peft_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ResourceError, match="pip install peft"):
        fit(new_reader(), tmp_path / "c", replace(CPU, max_steps=1, lora=2))


@pytest.mark.parametrize("report", ["tensorboard", "wandb"])
def test_reports_without_the_package_name_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, report: str
) -> None:
    monkeypatch.setattr(trainer_module, "find_spec", lambda name: None)
    with pytest.raises(ResourceError, match=f"pip install {report}"):
        fit(new_reader(), tmp_path / "c", replace(CPU, max_steps=1, report=report))


# --- dev sets -------------------------------------------------------------------------------------------------


class Scripted:
    """Stands for the dev set: the n-th evaluation has the n-th exact match; keeps the weights it was asked about."""

    def __init__(self, *ems: float) -> None:
        self._ems, self.seen = list(ems), []

    def __call__(self, reader: FiDReader, examples: Any, n_context: int) -> dict[str, float]:
        self.seen.append(digest(reader.model))
        return {"em": self._ems[len(self.seen) - 1], "f1": 0.5}


def test_the_best_weights_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = Scripted(0.1, 0.4, 0.3, 0.4, 0.2)
    monkeypatch.setattr("kofid.training.fid.dev_figures", script)
    reader = new_reader()
    options = replace(CPU, max_steps=9, eval_steps=2, save_steps=100, ema=0.9)
    figures = fit(reader, tmp_path / "c", options, dev=EXAMPLES)
    assert len(script.seen) == 5  # at 2, 4, 6, 8 and the end
    assert digest(reader.model) == script.seen[1]
    assert (figures["steps"], figures["best_step"], figures["dev_em"], figures["dev_f1"]) == (9, 4, 0.4, 0.5)


def test_patience_ends_a_run_and_a_kill_does_not_renew_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = replace(CPU, max_steps=20, eval_steps=1, patience=3)
    ems = (0.1, 0.4, 0.3, 0.4, 0.2, 0.9)
    script = Scripted(*ems)
    monkeypatch.setattr("kofid.training.fid.dev_figures", script)
    whole = new_reader()
    figures = fit(whole, tmp_path / "a", options, dev=EXAMPLES)
    assert (figures["steps"], figures["best_step"]) == (5, 2)
    # Killed in step 5: the evaluations at steps 3 and 4 were without a better one, so one more ends it.
    monkeypatch.setattr("kofid.training.fid.dev_figures", Scripted(*ems))
    with pytest.raises(Interrupted):
        fit(new_reader(), tmp_path / "b", options, dev=EXAMPLES, on_step=interrupt_at(5))
    monkeypatch.setattr("kofid.training.fid.dev_figures", Scripted(*ems[4:]))
    resumed = new_reader()
    assert fit(resumed, tmp_path / "b", options, dev=EXAMPLES, resume=True) == figures
    assert digest(resumed.model) == digest(whole.model)


def test_a_dev_set_is_read_as_a_user_would(tmp_path: Path) -> None:
    reader = new_reader()
    options = replace(CPU, max_steps=60, batch_size=12, learning_rate=1e-2, eval_steps=30)
    single = [replace(e, target=e.question.answers[0]) for e in EXAMPLES]
    figures = fit_fid(reader, single, options, tmp_path / "c", dev=single[:6], n_context=2)
    answers = [reader.read(e.question.text, e.hits) for e in single[:6]]
    right = sum(bool(a) and a[0].text in e.question.answers for a, e in zip(answers, single[:6], strict=True))
    assert figures["dev_em"] == pytest.approx(right / 6, abs=1e-4) and right >= 5
    assert not reader.model.training


# --- numbers that fail ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("what", "at"), [("loss", 5), ("gradient", 3)])
def test_what_is_not_finite_stops_before_it_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, english: None, what: str, at: int
) -> None:
    """A gradient of step 3 that is not finite has spoiled the weights of the checkpoint due then, loss or no loss."""
    reader = new_reader()
    plain, calls = reader.model.forward, 0

    def forward(batch: Any) -> Any:
        nonlocal calls
        calls += 1
        loss, logits = plain(batch)
        if calls == at and what == "loss":
            loss = loss * math.nan
        elif calls == at:
            loss.register_hook(lambda gradient: gradient * math.inf)
        return loss, logits

    monkeypatch.setattr(reader.model, "forward", forward)
    with pytest.raises(KofidError, match=f"the {what} is nan at step {at}") as caught:
        fit(reader, tmp_path / "c", replace(CPU, max_steps=6, save_steps=2 if at == 5 else 1))
    last = last_checkpoint(tmp_path / "c")
    assert last is not None and last.name == ("checkpoint-4" if at == 5 else "checkpoint-2")
    assert str(last) in str(caught.value)


# --- kills ----------------------------------------------------------------------------------------------------

_KILLED = """
import json, os, signal, sys, time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from support.examples import CPU, EXAMPLES, digest, new_reader
from kofid.training.fid import fit_fid

def train(folder, on_step):
    reader = new_reader(dropout=0.1)
    options = replace(CPU, max_steps=14, ema=0.9, accumulate=2, batch_size=2, eval_steps=4)
    more = {"dev": EXAMPLES[:3], "n_context": 2, "resume": True, "keep_checkpoints": True, "on_step": on_step}
    fit_fid(reader, EXAMPLES, options, folder, **more)
    last = folder / "checkpoint-14"
    files = [sha256((last / f"{name}.safetensors").read_bytes()).hexdigest() for name in ("model", "average")]
    return " ".join([digest(reader.model), *files])

for folder, step, seconds in json.loads(sys.argv[1]):  # each run in a fork of this process, which has no threads
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        line = train(Path(folder), lambda now, steps, loss: os.write(writing, f"{now}\\n".encode()))
        os.write(writing, f"{line}\\n".encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as lines:
        for line in lines:
            if line.strip() == str(step):
                time.sleep(seconds)
                os.kill(child, signal.SIGKILL)
                break
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print("killed" if code == -signal.SIGKILL else line.strip(), flush=True)
"""


def train_in_turn(*runs: tuple[Path, int, float]) -> list[str]:
    """Train again and again in other processes: in a folder, killed so many seconds after a step. Return their last lines."""
    plan = json.dumps([(str(folder), step, seconds) for folder, step, seconds in runs])
    environment = {**os.environ, "PYTHONPATH": IMPORTED, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-W", "ignore", "-c", _KILLED, plan]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.splitlines()


def test_a_run_killed_twice_ends_with_the_same_bits(tmp_path: Path) -> None:
    """Best weights, last weights and their average; with dropout, several answers, accumulation and a dev set.

    When the kills come, at which step and how long after it, is drawn anew each time.
    """
    seed = random.randrange(10**6)
    rng = random.Random(seed)
    kills = [(step, rng.random() * 0.1) for step in (rng.randint(2, 6), rng.randint(9, 13))]
    folder = tmp_path / "killed"
    whole, *killed, resumed = train_in_turn(
        (tmp_path / "whole", -1, 0.0), *((folder, *kill) for kill in kills), (folder, -1, 0.0)
    )
    assert resumed == whole, f"seed {seed}"
    assert killed[0] == "killed" and set(killed) <= {"killed", whole}, f"seed {seed}"
    assert [len(part) for part in whole.split()] == [64] * 3


def test_a_run_killed_when_all_was_done_but_written(tmp_path: Path) -> None:
    for ema in (0.0, 0.9):
        options = replace(CPU, max_steps=5, ema=ema)
        whole, again = new_reader(), new_reader()
        folder = tmp_path / str(ema)
        figures = fit(whole, folder, options, keep_checkpoints=True)
        assert folder.exists()
        assert fit(again, folder, options, resume=True) == figures
        assert digest(again.model) == digest(whole.model)
        assert not folder.exists()


# --- several processes ----------------------------------------------------------------------------------------


def test_two_processes_are_one_with_a_doubled_batch(tmp_path: Path) -> None:
    """Parts that wait, averages, a dev set; 6 steps of 3 an epoch. Sums are in another order, so not to the bit."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    done = torchrun(2, "support.ranks", str(tmp_path / "two"), "2")
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"two/{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    ranks.main(tmp_path / "one", 4)
    alone = json.loads((tmp_path / "one/0.json").read_text())
    assert alone["figures"] == pytest.approx(first["figures"], abs=2e-4)
    one, two = (FiDReader.load(str(tmp_path / name / "reader")) for name in ("one", "two"))
    start = new_reader(skt=True)
    moved = furthest(weights_of(start), weights_of(one))
    assert furthest(weights_of(one), weights_of(two)) < 0.05 * moved


def test_two_processes_write_and_print_once(tmp_path: Path) -> None:
    write_fid(tmp_path / "fid.json", EXAMPLES)
    options = "--model fresh:tiny --vocab-size 300 --max-tokens 48 --max-steps 2 --device cpu --dev fid.json -o reader"
    done = torchrun(2, "kofid", "train-reader", "fid.json", *options.split(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["steps"] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fid.json", "reader"]
    assert (tmp_path / "reader/CURRENT").read_text().startswith("gen-1 ")


# --- estimates ------------------------------------------------------------------------------------------------


def test_an_estimate_counts_and_leaves_the_reader_alone() -> None:
    reader = new_reader()
    before = digest(reader.model)
    found = estimate(reader, EXAMPLES, replace(CPU, epochs=2.0, accumulate=2, batch_size=2), 2)
    n = sum(p.numel() for p in reader.model.parameters())
    assert found["n_parameters"] == found["n_trainable"] == n
    assert found["n_rows"] == 12 and found["steps"] == 6  # 6 batches, 3 steps an epoch
    fixed = (4 + 4 + 8) * n / 2**20  # weights, gradients, AdamW's two moments
    assert found["memory_mb"] == pytest.approx(fixed + found["activations_mb"], abs=0.2)
    assert found["seconds_per_step"] > 0
    assert digest(reader.model) == before and not reader.model.training
    assert all(parameter.grad is None for parameter in reader.model.parameters())


def test_an_estimate_with_adapters_counts_them_only() -> None:
    pytest.importorskip("peft")
    reader = new_reader()
    before = digest(reader.model)
    found = estimate(reader, EXAMPLES, replace(CPU, lora=2), 2)
    # Of 6 attentions, 4 projections each, from 64 to 64 numbers: 2 x (64 + 64) in two factors of rank 2.
    assert found["n_trainable"] == 6 * 4 * 2 * 128
    assert digest(reader.model) == before
