"""The grid: folds that share no question, steps that are not done twice, and tables that say what was measured."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest
from support.command_line import PASSAGES, QUESTIONS, kofid

from kofid.errors import InputError, UsageError
from kofid.evaluation.comparison import System
from kofid.evaluation.rankings import read_measures
from kofid.evaluation.report import hit_curve
from kofid.experiments.grid import Grid
from kofid.storage.bundled import resource

GRID = """
index = "{folder}/kb"
questions = "{folder}/some.jsonl"
folds = 2
[grid]
model = "static:16"
epochs = [1]
mode = ["sparse", "cross"]
lambda = [0.1]
[options]
vocab-size = 500
symmetric = true
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("experiment")
    assert kofid("index", PASSAGES, "-o", folder / "kb").code == 0
    lines = Path(QUESTIONS).read_text(encoding="utf-8").splitlines(keepends=True)[:40]
    (folder / "some.jsonl").write_text("".join(lines), encoding="utf-8")
    (folder / "grid.toml").write_text(GRID.format(folder=folder), encoding="utf-8")
    return folder


def test_a_grid_runs_once_and_says_what_it_found(folder: Path) -> None:
    out = folder / "out"
    planned = kofid("experiment", folder / "grid.toml", "-o", out, "--dry-run")
    assert [line.split()[0] for line in planned.out.splitlines()] == ["measure", "train", "index", "measure"] * 2
    assert not (out / "indexes").exists()

    done = kofid("experiment", folder / "grid.toml", "-o", out, "--plot", folder / "c.svg", "--json")
    assert done.code == 0, done.err
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [(row["system"], row["n"]) for row in rows] == [("sparse", 40), ("static-16-e1-cross-max-0.1", 40)]
    parts = [read_measures(str(out / f"results/sparse.fold-{i}.jsonl")) for i in (1, 2)]
    assert not parts[0].keys() & parts[1].keys() and len(parts[0] | parts[1]) == 40
    mean = sum(m["hit@1"] for m in (parts[0] | parts[1]).values()) / 40
    assert rows[0]["hit@1"] == pytest.approx(mean, abs=1e-5)
    with (out / "table.csv").open(encoding="utf-8") as file:
        table = list(csv.reader(file))
    assert table[0][:3] == ["system", "n", "hit@1"] and table[1][2] == f"{100 * mean:.1f}"
    assert "static-16-e1-cross-max-0.1" in (folder / "c.svg").read_text(encoding="utf-8")
    for number in (1, 2):
        train, dev = (
            {json.loads(line)["question"] for line in (out / f"folds/{number}.{part}.jsonl").open(encoding="utf-8")}
            for part in ("train", "dev")
        )
        assert not train & dev and len(train | dev) == 40

    def times() -> dict[Path, int]:
        return {path: os.stat(path).st_mtime_ns for part in ("encoders", "results") for path in (out / part).rglob("*")}

    before = times()
    (out / "results/sparse.fold-2.jsonl").unlink()  # as if it had been interrupted there
    again = kofid("experiment", folder / "grid.toml", "-o", out, "--json")
    assert again.out == done.out
    after = times()
    changed = {path for path in after if before.get(path) != after[path]}
    assert changed == {out / "results/sparse.fold-2.jsonl"}
    assert kofid("verify", folder / "kb").code == 0  # the copies that share its files left it alone

    (folder / "other.toml").write_text(GRID.format(folder=folder).replace("symmetric = true", ""), encoding="utf-8")
    refused = kofid("experiment", folder / "other.toml", "-o", out)
    assert refused.code == 2 and "symmetric" in refused.err, "no old result under new settings"
    assert times() == after


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("index = 1", UsageError),
        ("index = 'kb'\nquestions = 'q'", UsageError),
        ("index = 'kb'\nquestions = 'q'\ndev = 'd'\nfolds = 3", UsageError),
        ("index = 'kb'\nquestions = 'q'\ndev = 'd'\n[grid]\nk = [3]", UsageError),
        ("index = 'kb'\nquestions = 'q'\ndev = 'd'\n[grid]\nmode = ['hybrid']", UsageError),
        ("index = 'kb'\nquestions = 'q'\nfolds = 'two'", UsageError),
        ("index = 'kb'\nquestions = 'q'\ndev = 'd'\n[grid]\nlambda = ['heavy']", UsageError),
        ("index = 'kb'\nquestions = 'q'\ndev = 'd'\ngrid = 1", UsageError),
        ("index = ", InputError),
        ("index = " + "[" * 100_000, InputError),
        ("index = 'kb'\nquestions = 'q'\ndev = 'd'", InputError),  # none of them is there
    ],
)
def test_what_is_no_grid_is_refused(text: str, error: type[Exception], tmp_path: Path) -> None:
    (tmp_path / "g.toml").write_text(text, encoding="utf-8")
    with pytest.raises(error, match="g.toml"):
        Grid.read(tmp_path / "g.toml", tmp_path)


def test_options_that_there_are_not_are_refused_before_any_work(folder: Path, tmp_path: Path) -> None:
    text = GRID.format(folder=folder) + "batch = 3\n"
    (tmp_path / "g.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="batch.*batch-size"):
        Grid.read(tmp_path / "g.toml", tmp_path)


def test_the_grid_that_ships_is_read(folder: Path, tmp_path: Path) -> None:
    text = resource("demo/grid.toml").read_text(encoding="utf-8")
    here = text.replace('"kb"', f'"{folder}/kb"').replace('"resources/demo/questions.jsonl"', f'"{QUESTIONS}"')
    (tmp_path / "g.toml").write_text(here, encoding="utf-8")
    grid = Grid.read(tmp_path / "g.toml", tmp_path)
    assert (grid.n_folds, grid.models, grid.epochs) == (2, ("default", "static:64"), (1,))
    assert (grid.contrast.n_negatives, grid.options.batch_size, grid.options.weight_decay) == (3, 16, 0.0)
    assert [fusion.method for fusion in grid.fusions] == ["max", "rrf"]


def test_hit_curve_by_hand() -> None:
    measures = {"a": {"mrr": 1.0}, "b": {"mrr": 1 / 3}, "c": {"mrr": 0.0}, "d": {"mrr": 0.05}}
    curve = hit_curve(System("s", "s", measures))
    assert curve[0] == curve[1] == 0.25 and curve[2] == curve[18] == 0.5 and curve[19] == 0.75
