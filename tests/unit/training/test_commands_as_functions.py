"""Training as the library has it: from files to artifacts by plain calls, several in one process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load
from support.command_line import kofid
from support.examples import EXAMPLES, write_fid
from support.processes import Interrupted, interrupt_at
from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel

from kofid.errors import InputError, UsageError
from kofid.formats import read_examples
from kofid.reader.fid.config import ScoreMethod, Variant
from kofid.reader.kinds import ReaderKind
from kofid.storage.artifacts import open_artifact
from kofid.training.distill import distill
from kofid.training.options import Contrast, Distillation, FreshModel, ReadingLengths, Stage, TrainOptions
from kofid.training.reader import train_reader
from kofid.training.reranker import train_reranker
from kofid.training.retriever import train_retriever
from kofid.types import Example, Passage

FAST = TrainOptions(max_steps=3, batch_size=4, learning_rate=3e-3, save_steps=2, device="cpu")
SHORT = ReadingLengths(n_context=2, max_tokens=48)
FRESH = FreshModel(vocab_size=300)
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 50}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fid(tmp_path_factory.mktemp("data") / "fid.json", EXAMPLES)


@pytest.fixture(scope="module")
def reader(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("reader") / "reader"
    train_reader(data, output, model="fresh:tiny", fresh=FRESH, lengths=SHORT, options=FAST)
    return output


def settings_of(path: Path, kind: str = "reader") -> dict[str, Any]:
    return open_artifact(path, kind).settings


def weights_of(path: Path, kind: str = "reader") -> bytes:
    return (open_artifact(path, kind).directory / "model.safetensors").read_bytes()


# --- readers ----------------------------------------------------------------------------------------------------


def test_a_run_is_the_same_after_others_in_one_process(data: Path, reader: Path, tmp_path: Path) -> None:
    """Also after one in bfloat16, and one that was interrupted; nothing of a run is left for the next."""
    made = {"model": "fresh:tiny", "fresh": FRESH, "lengths": SHORT}
    train_reader(data, tmp_path / "half", **made, options=replace(FAST, bf16=True, seed=9))
    with pytest.raises(Interrupted):
        train_reader(data, tmp_path / "again", **made, options=FAST, on_step=interrupt_at(3))
    assert not (tmp_path / "again").exists()
    figures = train_reader(data, tmp_path / "again", **made, options=FAST, resume=True)
    assert figures["steps"] == 3 and sorted(p.name for p in tmp_path.iterdir()) == ["again", "half"]
    assert weights_of(tmp_path / "again") == weights_of(reader) != weights_of(tmp_path / "half")
    settings = settings_of(reader)
    assert settings["figures"] == figures and settings["reader"] == "t5" and settings["data"] == [str(data)]
    assert (settings["max_tokens"], settings["answer_tokens"], settings["training"]["seed"]) == (48, 32, 1)


def test_what_is_cut_and_what_is_left_out_is_said_once(data: Path, tmp_path: Path, english: None) -> None:
    long = Passage("long", "긴 글", "가온이 다리를 만들었다. " * 40)
    odd = [
        replace(EXAMPLES[0], target="가온 나래 다솜 라온 마루 바다 새봄 아람 자두 차돌"),
        replace(EXAMPLES[1], hits=(*EXAMPLES[1].hits[:1], replace(EXAMPLES[1].hits[1], passage=long))),
        replace(EXAMPLES[2], hits=()),
    ]
    file = write_fid(tmp_path / "odd.json", [*EXAMPLES[3:], *odd[1:]])
    rows = json.loads(file.read_text(encoding="utf-8"))
    rows.append({**rows[0], "question": "긴 답은?", "answers": [odd[0].target]})
    file.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    notes: list[str] = []
    lengths = replace(SHORT, answer_tokens=9, max_tokens=150)
    made = {"model": "fresh:tiny", "fresh": FRESH, "options": replace(FAST, max_steps=1)}
    train_reader(file, tmp_path / "r", **made, lengths=lengths, notes=notes.append)
    assert len(notes) == 3
    assert notes[0] == "1 of 12 questions are left out: they need both an answer and passages"
    assert notes[1].startswith("the answers of ") and notes[1].endswith(" questions are cut at answer_tokens=9")
    assert notes[2] == "4.5 % of the passages are cut at max_tokens=150"  # one of 22
    notes.clear()
    train_reader(data, tmp_path / "r2", **made, lengths=replace(lengths, answer_tokens=32), notes=notes.append)
    assert notes == []
    done = kofid("train-reader", file, "--model", "fresh:tiny", "--vocab-size", 300, "--max-tokens", 150, "--n-context", 2,
                 "--max-steps", 1, "--device", "cpu", "-o", tmp_path / "c")  # fmt: skip
    assert done.code == 0 and done.err.count("max_tokens") + done.err.count("--max-tokens") == 1


def test_an_skt_that_was_trained_goes_on_without_a_decoder(data: Path, reader: Path, tmp_path: Path) -> None:
    skt = {"kind": ReaderKind.SKT, "lengths": SHORT, "options": FAST}
    train_reader(data, tmp_path / "skt", **skt, model="fresh:tiny", fresh=FRESH)
    figures = train_reader(data, tmp_path / "more", **skt, model=str(tmp_path / "skt"))
    assert figures["steps"] == 3 and settings_of(tmp_path / "more")["reader"] == "skt"
    assert weights_of(tmp_path / "more") != weights_of(tmp_path / "skt")
    with pytest.raises(UsageError, match="decoder"):  # a T5 has none of its own
        train_reader(data, tmp_path / "no", **skt, model=str(reader))
    for folder in (open_artifact(reader, "reader").directory, tmp_path / "bert"):  # what is no GPT-2
        if folder.name == "bert":
            BertModel(BertConfig(**SMALL)).save_pretrained(folder)
        with pytest.raises(InputError, match=folder.name):
            train_reader(data, tmp_path / "no", **skt, model=str(reader), decoder=str(folder))
    GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=16, vocab_size=50)).save_pretrained(tmp_path / "gpt2")
    with pytest.raises(UsageError, match="decoder="):  # two decoders
        train_reader(data, tmp_path / "no", **skt, model=str(tmp_path / "skt"), decoder=str(tmp_path / "gpt2"))
    with pytest.raises(UsageError, match="kind=skt"):  # it would be written down as a t5
        train_reader(data, tmp_path / "no", kind="t5", index=skt.get("index"), model=str(tmp_path / "skt"))
    with pytest.raises(UsageError, match="decoder="):  # what is trained from nothing makes its own
        train_reader(data, tmp_path / "no", **skt, model="fresh:tiny", decoder=str(tmp_path / "gpt2"))
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("kind", "more", "message"),
    [
        ("span", {"options": replace(FAST, learning_rate=0.1)}, "kind=span"),
        ("extractive", {"variant": Variant(first_k=4)}, "first_k"),
        ("extractive", {"lengths": replace(SHORT, answer_tokens=9)}, "answer_tokens"),
        ("single", {"dev": "dev.json"}, "dev"),
        ("single", {"lengths": replace(SHORT, stride=3)}, "stride"),
        ("t5", {"decoder": "gpt2"}, "decoder"),
        ("t5", {"options": replace(FAST, patience=3)}, "patience=3"),
        ("t5", {"options": replace(FAST, min_learning_rate=1e-4)}, "schedule=cyclic"),
        ("t5", {"options": replace(FAST, schedule="cyclic", min_learning_rate=1.0)}, "min_learning_rate=1.0"),
        ("skt", {"words": Path("words")}, "words"),
    ],
)
def test_settings_that_a_kind_does_not_take_are_refused(
    data: Path, tmp_path: Path, kind: str, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        train_reader(data, tmp_path / "r", kind=ReaderKind(kind), **more)
    assert not (tmp_path / "r").exists()


# --- retrievers and rerankers -------------------------------------------------------------------------------------


def test_retrievers_and_rerankers_are_trained_by_plain_calls(data: Path, tmp_path: Path) -> None:
    options = replace(FAST, learning_rate=0.0)
    figures = train_retriever(
        str(data), tmp_path / "e", model="static:8", vocab_size=300, options=options, contrast=Contrast(0.0, 2), bits=8
    )
    settings = settings_of(tmp_path / "e", "encoder")
    assert figures["steps"] == 3 and settings["training"]["learning_rate"] == 0.01  # what suits static vectors
    assert settings["contrast"] == {"temperature": 0.03, "n_negatives": 2, "symmetric": False, "at_a_time": 0}
    preview = train_reranker([data], tmp_path / "r", model="fresh:tiny", options=FAST, dry_run=True)
    assert preview["n_examples"] == 12 and not (tmp_path / "r").exists()
    figures = train_reranker([data], tmp_path / "r", model="fresh:tiny", vocab_size=300, options=FAST)
    assert figures == settings_of(tmp_path / "r", "reranker")["figures"]


# --- distillation -------------------------------------------------------------------------------------------------


def wider(example: Example) -> Example:
    return replace(example, hits=(*example.hits, *(hit for e in EXAMPLES[5:9] for hit in e.hits[:1])))


def test_only_the_first_passages_are_scored_and_learned_from(reader: Path, tmp_path: Path) -> None:
    narrow = write_fid(tmp_path / "narrow.json", EXAMPLES)
    wide = write_fid(tmp_path / "wide.json", [wider(e) for e in EXAMPLES])
    teach = {"reader": str(reader), "stage": Stage.SCORE, "n_context": 2}
    for file in (narrow, wide):
        distill(file, file.with_suffix(".jsonl"), **teach)
    scored = list(read_examples(str(wide.with_suffix(".jsonl"))))
    assert scored == list(read_examples(str(narrow.with_suffix(".jsonl"))))
    assert {len(example.hits) for example in scored} == {2}


def test_the_stages_are_one_run_in_parts(data: Path, reader: Path, tmp_path: Path) -> None:
    learn: dict[str, Any] = {"retriever": "static:8", "options": replace(FAST, learning_rate=0.01), "n_context": 2}
    learn["distillation"] = Distillation(temperature=0.5, contrast=1.0)
    teach: dict[str, Any] = {"reader": str(reader), "score": ScoreMethod.MAX}
    whole = distill(data, tmp_path / "whole", **teach, **learn, scores=tmp_path / "kept.jsonl")
    distill(data, tmp_path / "scores.jsonl", **teach, n_context=2, stage=Stage.SCORE)
    assert (tmp_path / "kept.jsonl").read_bytes() == (tmp_path / "scores.jsonl").read_bytes()
    parts = distill(tmp_path / "scores.jsonl", tmp_path / "parts", **learn, stage=Stage.TRAIN)
    assert whole == parts  # but for the last bits of the scores, which a file does not have
    one, two = (load(weights_of(tmp_path / name, "encoder")) for name in ("whole", "parts"))
    assert all(torch.allclose(one[name], two[name], atol=1e-5) for name in one)
    first = distill(data, tmp_path / "first.jsonl", reader=str(reader), n_context=2, stage=Stage.SCORE)
    assert first == {"n_questions": 12}
    assert (tmp_path / "first.jsonl").read_bytes() != (tmp_path / "scores.jsonl").read_bytes()
    distill(data, tmp_path / "bf16.jsonl", **teach, n_context=2, stage=Stage.SCORE, dtype="bfloat16")
    assert (tmp_path / "bf16.jsonl").read_bytes() != (tmp_path / "scores.jsonl").read_bytes()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_distillation_stopped_in_training_scores_nothing_anew(
    data: Path, reader: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = {"reader": str(reader), "retriever": "static:8", "options": replace(FAST, learning_rate=0.01)}
    whole = distill(data, tmp_path / "whole", **learn)
    with pytest.raises(Interrupted):
        distill(data, tmp_path / "parted", **learn, on_step=interrupt_at(3))
    from kofid.reader.fid.reader import FiDReader

    scored: list[int] = []
    score = FiDReader.score
    monkeypatch.setattr(
        FiDReader, "score", lambda self, pairs, *more: scored.append(len(pairs)) or score(self, pairs, *more)
    )
    assert distill(data, tmp_path / "parted", **learn, resume=True) == whole
    assert scored == [0] and weights_of(tmp_path / "parted", "encoder") == weights_of(tmp_path / "whole", "encoder")


# --- the same on the command line -----------------------------------------------------------------------------------


@pytest.fixture
def preview(data: Path, tmp_path: Path) -> Callable[..., Any]:
    def run(*before: object, **variables: str) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            done = kofid(*before, "train-reader", data, "--model", "fresh:tiny", "--vocab-size", 300, "--n-context", 2,
                         "--device", "cpu", "--dry-run", "-o", tmp_path / "r")  # fmt: skip
        assert done.code == 0, done.err
        return done.object["estimate"]

    return run


def test_options_of_groups_come_from_flags_variables_and_files(preview: Callable[..., Any], tmp_path: Path) -> None:
    assert preview()["steps"] == 6  # 12 examples, 8 a step, 3 epochs
    assert preview(KOFID_TRAIN_READER_MAX_STEPS="7")["steps"] == 7
    (tmp_path / "kofid.toml").write_text("[train-reader]\nbatch-size = 4\nkv-heads = 1\n", encoding="utf-8")
    found = preview("--config", tmp_path / "kofid.toml")
    assert found["steps"] == 9 and found["n_parameters"] < preview()["n_parameters"]
