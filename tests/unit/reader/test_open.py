"""The registry of readers: kinds, the settings that each takes, and what is refused before anything is loaded."""

from __future__ import annotations

import ast
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from support.examples import EXAMPLES, tokenizer
from support.twins import lively

from kofid.cli.commands import train_reader
from kofid.errors import CorruptArtifactError, IncompatibleArtifactError, InputError, UsageError
from kofid.reader.confidence import Confidence
from kofid.reader.fid.config import Decoding, ReadingOptions, Variant
from kofid.reader.fid.init import fresh_reader_model
from kofid.reader.fid.reader import FiDReader
from kofid.reader.fid.single import SingleReader
from kofid.reader.kinds import READING_SETTINGS, TRAINING_SETTINGS, ReaderKind, kinds_with
from kofid.reader.open import _OPENERS, BUNDLED_READERS, open_reader, reader_kind
from kofid.storage.artifacts import write_artifact

ROOM = Path(train_reader.__file__).parents[2] / "reader"


def write_reader(path: Path, variant: Variant | None = None, **settings: Any) -> Path:
    """Write a tiny fusion reader with settings as kofid keeps them."""
    with write_artifact(path, "reader", settings) as directory:
        FiDReader(fresh_reader_model("tiny", len(tokenizer()), variant), tokenizer()).save(directory)
    return path


# --- kinds and settings ------------------------------------------------------------------------------------------


def test_every_kind_is_opened_and_has_its_settings() -> None:
    assert set(_OPENERS) == set(TRAINING_SETTINGS) == set(READING_SETTINGS) == set(ReaderKind)
    assert kinds_with("decoder", TRAINING_SETTINGS) == [ReaderKind.SKT]
    assert kinds_with("copying", TRAINING_SETTINGS) == [ReaderKind.T5, ReaderKind.SINGLE]
    assert kinds_with("seed", TRAINING_SETTINGS) == list(ReaderKind)
    assert kinds_with("int8", READING_SETTINGS) == [ReaderKind.T5, ReaderKind.SKT, ReaderKind.SINGLE]
    of_joint = READING_SETTINGS[ReaderKind.JOINT]
    assert {field.name for field in fields(ReadingOptions)} <= READING_SETTINGS[ReaderKind.T5] | of_joint


def test_bundled_readers_are_of_their_kinds() -> None:
    assert {name: reader_kind(name) for name in BUNDLED_READERS} == {
        "joint": ReaderKind.JOINT,
        "span": ReaderKind.SPAN,
        "t5": ReaderKind.T5,
    }


def test_options_make_a_decoding() -> None:
    stored = Decoding(n_beams=4, from_passages=True, answer_tokens=64)
    assert ReadingOptions().decoding(stored) == stored
    assert ReadingOptions(answer_tokens=200, n_beams=2, from_passages=False).decoding(stored) == Decoding(200, 2)
    sampled = ReadingOptions(temperature=0.7, top_p=0.9, seed=3).decoding(stored)
    assert (sampled.sample, sampled.n_beams, sampled.temperature, sampled.top_p, sampled.seed) == (True, 1, 0.7, 0.9, 3)
    for wrong in ({"temperature": 0.5, "n_beams": 2}, {"top_p": 0.5}):
        with pytest.raises(UsageError, match="temperature"):
            ReadingOptions(**wrong)


def test_readers_of_first_states_are_not_held_to_the_passages(tmp_path: Path) -> None:
    # The first k states are those of the question, so nothing of a passage's text could be written.
    assert Decoding.for_variant(Variant(copying=True)) == Decoding(n_beams=4, from_passages=True)
    assert Decoding.for_variant(Variant(copying=True, first_k=8), 9) == Decoding(9, n_beams=4)
    path = str(write_reader(tmp_path / "r", Variant(first_k=8, copying=True), reader="t5"))
    reader = open_reader(path, device="cpu")
    assert isinstance(reader, FiDReader) and not reader.decoding.from_passages
    with pytest.raises(UsageError, match="from_passages.*first_k=8"):
        open_reader(path, device="cpu", options=ReadingOptions(from_passages=True))
    with pytest.raises(UsageError, match="from_passages"):
        reader.with_options(decoding=Decoding(from_passages=True))
    whole = FiDReader(fresh_reader_model("tiny", len(tokenizer())), tokenizer(), decoding=Decoding(from_passages=True))
    assert whole.decoding.from_passages  # any reader that keeps all states can be


# --- what opens --------------------------------------------------------------------------------------------------


def test_settings_of_a_trained_reader_are_its_own(tmp_path: Path) -> None:
    fitted = {"intercept": 0.5, "log_odds": 1.0, "said": 0.25}
    path = write_reader(tmp_path / "r", reader="t5", max_tokens=40, answer_tokens=50, confidence=fitted)
    reader = open_reader(str(path), device="cpu", n_context=3)
    assert isinstance(reader, FiDReader) and (reader.n_context, reader.max_tokens) == (3, 40)
    assert reader.decoding == Decoding(answer_tokens=50) and reader.confidence == Confidence(**fitted)
    other = open_reader(str(path), device="cpu", options=ReadingOptions(int8="all", n_beams=3, answer_tokens=5))
    assert isinstance(other, FiDReader) and other.decoding == Decoding(answer_tokens=5, n_beams=3)
    assert len(other.read(EXAMPLES[0].question.text, EXAMPLES[0].hits)) <= 3
    single = write_reader(tmp_path / "s", reader="single", retrieval_weight=0.5)
    opened = open_reader(str(single), device="cpu")
    assert isinstance(opened, SingleReader) and opened.retrieval_weight == 0.5


def test_a_longer_answer_than_32_tokens_can_be_written() -> None:
    model = lively(5, std=0.3, vocab_size=len(tokenizer()))
    with torch.no_grad():
        model.shared.weight[:3] = 0.0  # <pad>, </s>, <unk>: the end is never the likeliest
    reader = FiDReader(model, tokenizer())
    question, hits = EXAMPLES[0].question.text, EXAMPLES[0].hits
    lengths = []
    for answer_tokens in (8, 32, 100):
        answers = reader.with_options(decoding=Decoding(answer_tokens)).read(question, hits)
        lengths.append(len(answers[0].text) if answers else 0)
    assert lengths[0] < lengths[1] < lengths[2]


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"max_tokens": "many"}, {"max_tokens": 0}, {"answer_tokens": -1}, {"max_tokens": True},
        {"confidence": 3}, {"confidence": {"intercept": 1}}, {"confidence": {"intercept": "x", "log_odds": 1, "said": 1}},
        {"confidence": {"intercept": float("inf"), "log_odds": 1, "said": 1}}, {"reader": "single", "retrieval_weight": "x"},
    ],
    ids=str,
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    path = write_reader(tmp_path / "r", **{"reader": "t5"} | settings)
    with pytest.raises(CorruptArtifactError):
        open_reader(str(path), device="cpu")


def test_a_kind_of_the_future_is_refused(tmp_path: Path, english: None) -> None:
    path = write_reader(tmp_path / "r", reader="oracle")
    with pytest.raises(IncompatibleArtifactError, match="oracle.*it knows t5"):
        open_reader(str(path))


@pytest.mark.parametrize(
    "changes", [{"d_model": 10**12}, {"num_layers": 10**7}, {"fusion": {"cross_layers": [9]}}, {"d_kv": 3}]
)
def test_a_model_that_kofid_never_wrote_is_corrupt_even_with_right_checksums(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    with write_artifact(tmp_path / "r", "reader", {"reader": "t5"}) as directory:
        FiDReader(fresh_reader_model("tiny", len(tokenizer())), tokenizer()).save(directory)
        config = json.loads((directory / "config.json").read_text())
        (directory / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(CorruptArtifactError):
        open_reader(str(tmp_path / "r"), device="cpu")


def test_a_folder_of_others_stays_a_matter_of_input(tmp_path: Path) -> None:
    FiDReader(fresh_reader_model("tiny", len(tokenizer())), tokenizer()).save(tmp_path)
    assert reader_kind(str(tmp_path)) is ReaderKind.T5
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"d_model": 10**12}))
    with pytest.raises(InputError):
        open_reader(str(tmp_path), device="cpu")
    for text in ("[]", '{"architectures": 3}', '{"architectures": {}}', "{", "[" * 9999):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(InputError):
            open_reader(str(tmp_path), device="cpu")


# --- nothing changes after it is made ----------------------------------------------------------------------------


def assignments(tree: ast.AST) -> list[str]:
    """Return the assignments to attributes that are not a constructor's to its own object."""
    found = []
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
                if not isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
                    continue
                flat = [t for target in targets for t in (target.elts if isinstance(target, ast.Tuple) else [target])]
                for target in flat:
                    if isinstance(target, ast.Attribute):
                        inside = function.name == "__init__" and ast.unparse(target.value) == "self"
                        found += [] if inside else [ast.unparse(target)]
    return found


def test_nothing_is_assigned_to_an_object_that_others_have() -> None:
    allowed = {
        "int8.py": ["model.lm_head"],  # of the model that is being opened
        "reader.py": ["ending.eos_token"],  # of the copy that it makes
        "forest.py": ["library.LGBM_GetLastError.restype"],  # how ctypes is told a function's type
        "weights.py": ["config.scale_decoder_outputs"],  # of the configuration that it makes
    }
    for path in ROOM.rglob("*.py"):
        found = assignments(ast.parse(path.read_text(encoding="utf-8")))
        assert found == (allowed.get(path.name, []) if found else []), path
        assert "setattr(" not in path.read_text(encoding="utf-8").replace("object.__setattr__(", ""), path
    assert assignments(ast.parse("def f(r):\n    r.decoding = 1")) == ["r.decoding"]


def test_variants_of_a_reader_are_plain_data() -> None:
    with pytest.raises(AttributeError):
        Variant().first_k = 3  # type: ignore[misc]
