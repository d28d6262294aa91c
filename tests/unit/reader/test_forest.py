"""Forests read through LightGBM's C library against its Python package; contents that are no forest are refused."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lightgbm
import numpy as np
import pytest

from kofid.errors import CorruptArtifactError
from kofid.reader.span.candidates import NAMES
from kofid.reader.span.confidence import Calibration
from kofid.reader.span.forest import Forest, checked_text, needed_text, save_forest
from kofid.reader.span.lexicon import FILE as LEXICON
from kofid.reader.span.lexicon import Lexicon
from kofid.reader.span.name_types import BUCKETS, NameTypes
from kofid.reader.span.name_types import FILE as NAME_TYPES
from kofid.reader.span.reader import SpanReader

N = len(NAMES)


def grown(seed: int, n_trees: int = 12) -> lightgbm.Booster:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(400, N)).astype(np.float32)
    labels = (features[:, 3] + features[:, 90] > 0).astype(int)
    data = lightgbm.Dataset(features, labels, group=[20] * 20, feature_name=list(NAMES))
    settings = {"objective": "lambdarank", "num_leaves": 7, "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5}
    return lightgbm.train(settings, data, n_trees)


@pytest.fixture(scope="module")
def boosters() -> list[lightgbm.Booster]:
    return [grown(seed) for seed in range(3)]


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    return np.random.default_rng(9).normal(size=(60, N)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path, boosters: list[lightgbm.Booster]) -> Path:
    """Return a span reader's folder with three boosters, a small lexicon and name types."""
    save_forest([booster.model_to_string() for booster in boosters], tmp_path)
    (tmp_path / "span.json").write_text(
        json.dumps({"format_version": 1, "features": NAMES, "calibration": {"intercept": 0.5, "score": 1, "share": 1}})
    )
    Lexicon(10, {"가": 5}).save(tmp_path)
    buckets = np.random.default_rng(1).normal(size=(2 * BUCKETS, 2)).astype(np.float32)
    NameTypes(buckets, np.ones((2, 2), np.float32), ("도시", "나라"), np.array([3, 9]), np.array([1, 0])).save(tmp_path)
    SpanReader.load(tmp_path)
    return tmp_path


# --- the same scores --------------------------------------------------------------------------------------------


def test_scores_are_the_mean_of_lightgbm_s_own(
    folder: Path, boosters: list[lightgbm.Booster], features: np.ndarray
) -> None:
    forest = Forest.load(folder, N, n_rough=4)
    rows = [booster.predict(features, num_threads=1) for booster in boosters]
    np.testing.assert_array_equal(forest.predict(features), np.mean(rows, axis=0))
    np.testing.assert_array_equal(forest.predict_roughly(features), boosters[0].predict(features, num_iteration=4))
    assert np.std(rows[0]) > 0.1 and not np.array_equal(rows[0], rows[1])
    # A table that is no row-major float32 block gives the same.
    np.testing.assert_array_equal(forest.predict(np.asfortranarray(features)[::2]), forest.predict(features)[::2])


def test_threads_do_not_change_each_other_s_number_of_trees(folder: Path, features: np.ndarray) -> None:
    forest = Forest.load(folder, N, n_rough=4)
    whole, rough = forest.predict(features), forest.predict_roughly(features)
    calls = [(forest.predict, whole), (forest.predict_roughly, rough)] * 500
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda call: np.array_equal(call[0](features), call[1]), calls))


def test_an_old_model_of_one_file_is_one_booster(
    tmp_path: Path, boosters: list[lightgbm.Booster], features: np.ndarray
) -> None:
    (tmp_path / "model.txt").write_text(boosters[1].model_to_string())  # with all that LightGBM writes
    expected = boosters[1].predict(features, num_threads=1)
    np.testing.assert_array_equal(Forest.load(tmp_path, N, n_rough=4).predict(features), expected)


def test_a_tree_of_one_leaf_is_read(tmp_path: Path, features: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    data = lightgbm.Dataset(rng.normal(size=(30, N)), np.zeros(30), group=[30])  # nothing to tell apart
    booster = lightgbm.train({"objective": "lambdarank", "verbosity": -1}, data, 1)
    save_forest([booster.model_to_string()], tmp_path)
    assert "num_leaves=1\n" in (tmp_path / "model-0.txt").read_text()
    np.testing.assert_array_equal(Forest.load(tmp_path, N, n_rough=4).predict(features), booster.predict(features))


def test_what_is_written_is_what_predicting_needs(folder: Path, boosters: list[lightgbm.Booster]) -> None:
    whole, written = boosters[0].model_to_string(), (folder / "model-0.txt").read_text()
    assert len(written) < 0.7 * len(whole) and "leaf_count" in whole and "leaf_count" not in written
    assert needed_text(written) == written == checked_text(folder / "model-0.txt", N)


def test_reading_does_not_import_lightgbm(folder: Path) -> None:
    program = f"import sys; from pathlib import Path; from kofid.reader.span.reader import SpanReader; SpanReader.load(Path({str(folder)!r}))"
    program += "; print([name for name in ('lightgbm', 'pandas', 'sklearn') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- what is no forest --------------------------------------------------------------------------------------------


def first(pattern: str, replacement: str) -> Callable[[str], str]:
    return lambda text: re.sub(pattern, replacement, text, count=1, flags=re.MULTILINE)


DAMAGES = {
    "a child that is not there": first(r"^left_child=-?\d+", "left_child=999999"),
    "a leaf that is not there": first(r"^right_child=-?\d+", "right_child=-2000000000"),
    "a circle": first(r"^left_child=-?\d+", "left_child=0"),
    "a node with two parents": first(r"^(left_child=)(-?\d+) (-?\d+)", r"\1\3 \3"),
    "a feature that is not there": first(r"^split_feature=\d+", f"split_feature={N}"),
    "a feature below zero": first(r"^split_feature=\d+", "split_feature=-1"),
    "more leaves than there are": first(r"^num_leaves=\d+", "num_leaves=1000000"),
    "fewer leaves than there are": first(r"^num_leaves=\d+", "num_leaves=2"),
    "no leaves": first(r"^num_leaves=\d+", "num_leaves=0"),
    "a number missing": first(r"^threshold=\S+ ", "threshold="),
    "not a number": first(r"^leaf_value=\S+", "leaf_value=nan"),
    "not finite": first(r"^leaf_value=\S+", "leaf_value=1e999"),
    "a number that only Python reads": first(r"^leaf_value=\S+", "leaf_value=1_0"),
    "categories": first(r"^decision_type=\d+", "decision_type=1"),
    "categories without a table": first(r"^num_cat=0", "num_cat=3"),
    "linear leaves": first(r"^is_linear=0", "is_linear=1"),
    "more features": first(r"^max_feature_idx=\d+", "max_feature_idx=100000000"),
    "fewer features": first(r"^max_feature_idx=\d+", "max_feature_idx=3"),
    "several classes": first(r"^num_class=1", "num_class=40"),
    "no names": first(r"^feature_names=.*$", "feature_names="),
    "another version": first(r"^version=v4", "version=v9"),
    "no end": lambda text: text[: len(text) // 2],
    "no trees": lambda text: text.partition("\nTree=")[0] + "\nend of trees\n",
    "nothing": lambda text: "",
    "Korean": lambda text: text.replace("Tree=0", "나무=0"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_trees_that_are_none_are_refused(folder: Path, damage: Callable[[str], str]) -> None:
    path = folder / "model-1.txt"
    text = path.read_text()
    assert damage(text) != text
    path.write_text(damage(text))
    with pytest.raises(CorruptArtifactError, match=r"model-1\.txt"):
        SpanReader.load(folder)


def test_wrong_sizes_of_trees_are_not_believed(tmp_path: Path, boosters: list[lightgbm.Booster]) -> None:
    text = boosters[0].model_to_string()
    wrong = re.sub(r"^tree_sizes=.*$", "tree_sizes=" + " ".join(["99999999"] * 12), text, flags=re.MULTILINE)
    assert wrong != text
    (tmp_path / "model.txt").write_text(wrong)
    assert checked_text(tmp_path / "model.txt", N) == needed_text(text)


def test_a_missing_forest_is_named(folder: Path) -> None:
    for path in folder.glob("model-*.txt"):
        path.unlink()
    with pytest.raises(CorruptArtifactError, match=r"model-0\.txt"):
        SpanReader.load(folder)


@pytest.mark.parametrize(
    "content",
    [
        "", "[]", "{", "[" * 5000, '{"format_version": 1, "features": F}',
        '{"format_version": 1, "features": F, "calibration": 3}',
        '{"format_version": 1, "features": F, "calibration": {"intercept": "x"}}',
        '{"format_version": 1, "features": F, "calibration": {"slope": 1}}',
        '{"format_version": 1, "features": F, "calibration": {"intercept": NaN}}',
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(folder: Path, content: str) -> None:
    (folder / "span.json").write_text(content.replace("F", json.dumps(NAMES)))
    with pytest.raises(CorruptArtifactError, match=r"span\.json"):
        SpanReader.load(folder)


@pytest.mark.parametrize(
    "content", ["가\t0\n", "가\t-1\n", "가\t²\n", "가\t1_0\n", "가\t99999999999999999\n", "가\t11\n", "가 5\n"]
)
def test_words_that_are_none_are_refused(folder: Path, content: str) -> None:
    (folder / LEXICON).write_text("\t10\n" + content, encoding="utf-8")
    with pytest.raises(CorruptArtifactError, match=LEXICON):
        SpanReader.load(folder)
    (folder / LEXICON).write_bytes(b"\xff\xfe\n")
    with pytest.raises(CorruptArtifactError, match=LEXICON):
        SpanReader.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"buckets": np.zeros((3, 2), np.int8)},
        {"buckets": np.zeros(5, np.int8)},
        {"kinds": np.zeros((2, 3), np.int8)},
        {"kinds": np.zeros((5, 2), np.int8)},
        {"rows": np.array([60_000, 1], np.uint16)},
        {"rows": np.array([1], np.uint16)},
        {"names": np.array([9, 3], np.uint32)},
        {"words": np.frombuffer(b"\xff\xff", np.uint8)},
        {"kind_scale": np.float32("nan")},
        {"bucket_scale": np.array(["x"])},
    ],
    ids=lambda change: next(iter(change)),
)
def test_name_types_that_are_none_are_refused(folder: Path, change: dict[str, np.ndarray]) -> None:
    with np.load(folder / NAME_TYPES) as arrays:
        stored = dict(arrays)
    np.savez(folder / NAME_TYPES, **stored | change)
    with pytest.raises(CorruptArtifactError, match=NAME_TYPES):
        SpanReader.load(folder)


def test_name_types_cut_off_or_pickled_are_refused(folder: Path) -> None:
    whole = (folder / NAME_TYPES).read_bytes()
    for content in (b"", whole[:-50], whole[:200], b"PK\x03\x04"):
        (folder / NAME_TYPES).write_bytes(content)
        with pytest.raises(CorruptArtifactError, match=NAME_TYPES):
            SpanReader.load(folder)
    np.savez(folder / NAME_TYPES, buckets=np.array([{}], dtype=object))
    with pytest.raises(CorruptArtifactError, match=NAME_TYPES):
        SpanReader.load(folder)
    shutil.rmtree(folder)


def test_a_calibration_by_hand() -> None:
    # Shares of scores 0 and 0 are 1/2 each: 1 / (1 + exp(-(1 + 2 * log 1/2))) = 1 / (1 + exp(0.386)) = 0.4046.
    np.testing.assert_allclose(Calibration(1.0, 0.5, 2.0).confidence(np.zeros(2)), [0.4046, 0.4046], atol=1e-4)
