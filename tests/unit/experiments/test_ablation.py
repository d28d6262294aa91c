"""The ablation table: what each variant is told, what is not done again, and no old row under new settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.command_line import SMALL, Result, kofid, write_jsonl

from kofid.errors import UsageError
from kofid.experiments.ablation import VARIANTS, Ablation
from kofid.reader.fid.config import Variant
from kofid.reader.kinds import ReaderKind

QUESTIONS = [
    {"id": "1", "question": "거북선을 이끈 사람은 누구인가?", "answers": ["이순신"], "positive_ids": ["a"]},
    {"id": "2", "question": "세종은 무엇을 만들었나?", "answers": ["훈민정음"], "positive_ids": ["b"]},
]


def test_variants_change_what_they_are_named_for():
    base = Variant(match=True, first_k=3, cross_layers=(1, 2))
    assert VARIANTS["Original"].variant(base) == Variant(match=True)
    assert VARIANTS["K8+LSA6+GQA4"].variant(base) == Variant(match=True, first_k=8, n_cross_layer=6, n_kv_heads=4)
    assert {name for name, change in VARIANTS.items() if change.kind is ReaderKind.SKT} == {"FiDSKT", "FiDSKT LSA6"}


def test_which_variants_run(tmp_path: Path):
    t5 = Ablation(tmp_path, ["q.jsonl"], tmp_path / "kb", model="some-t5")
    assert not any("SKT" in name for name in t5.names())
    fresh = Ablation(tmp_path, ["q.jsonl"], tmp_path / "kb")
    assert fresh.names() == list(VARIANTS) and fresh.names(["K8", "Original"]) == ["Original", "K8"]
    with pytest.raises(UsageError, match="K9.*K8"):
        fresh.names(["K9"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ablation")
    assert kofid("index", write_jsonl(folder / "small.jsonl", SMALL), "-o", folder / "kb").code == 0
    write_jsonl(folder / "q.jsonl", QUESTIONS)
    return folder


def ablate(folder: Path, *more: object, model: str = "fresh:tiny", steps: int = 1, language: str = "ko") -> Result:
    common = ("-i", folder / "kb", "--model", model, "--option", "vocab-size=400", "--n-context", 2)
    return kofid(
        "--lang", language, "ablate", folder / "q.jsonl", *common, "--max-steps", steps, *more, "-o", folder / "out"
    )  # fmt: skip


def test_a_variant_is_trained_and_measured_once(folder: Path):
    # The GPT-2 is not there, and K8 has no use for it.
    command = ("--only", "K8", "--decoder", folder / "no-gpt2", "--plot", folder / "p.svg")
    done = ablate(folder, *command)
    assert done.code == 0, done.err
    row = done.object
    assert row["name"] == "K8" and row["parameters"] > 0 and row["peak_mb"] > 50 and row["seconds"] > 0
    assert row["loss"] > 0 and 0 <= row["em"] <= row["em_robust"] <= 1
    assert "K8" in (folder / "out/table.md").read_text(encoding="utf-8") and (folder / "p.svg").exists()
    (stored,) = (json.loads(line) for line in (folder / "out/k8.json").open(encoding="utf-8"))
    assert len(stored["settings"]) == 16

    times = {path: path.stat().st_mtime_ns for path in (folder / "out").rglob("*") if path.name != "table.md"}
    assert ablate(folder, *command).object == row
    assert times == {path: path.stat().st_mtime_ns for path in (folder / "out").rglob("*") if path.name != "table.md"}

    # The same folder with other settings: nothing old is shown as new, nothing is overwritten.
    other = ablate(folder, *command, steps=2, language="en")
    assert (other.code, other.out) == (2, "") and "other settings" in other.err and "1 -> 2" in other.err
    (folder / "out/k8.settings.json").unlink()  # as an older version left it
    assert ablate(folder, *command).code == 2


def test_what_fails_says_so_in_the_language_asked_for(folder: Path):
    failed = ablate(folder, "--only", "LSA6", model=str(folder / "no-t5"), language="en")
    assert failed.code == 3 and "no-t5" in failed.err
    assert not [letter for letter in failed.err.replace(str(folder), "") if "가" <= letter <= "힣"]
    unknown = ablate(folder, "--only", "K8", "--option", "colour=red")
    assert unknown.code == 2 and "colour" in unknown.err and "batch-size" in unknown.err


def test_a_gpt2_beside_a_fresh_model_is_refused_before_any_variant(folder: Path):
    """A fresh FiDSKT makes its own decoder; the GPT-2 would be named in the settings and not be used."""
    done = ablate(folder, "--only", "K8", "--only", "FiDSKT", "--decoder", folder / "gpt2")
    assert (done.code, done.out) == (2, "") and "--decoder" in done.err and "fresh:tiny" in done.err
