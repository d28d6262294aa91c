"""Forests of regression trees, grown by LightGBM and read by its C library, and what their scores are worth.

Reading does without LightGBM's Python package: that imports pandas and scikit-learn where they are installed, which takes
longer than reading a question. The functions called here are those of LightGBM's documented C API (``c_api.h``).
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
import math
import re
import weakref
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np

from kofid.errors import CorruptArtifactError, ResourceError
from kofid.language import say

# Files of a model: boosters whose predictions are averaged, or, in older models, one that holds all trees.
_FILE, _SINGLE_FILE = "model-{}.txt", "model.txt"
_FLOAT32, _RAW_SCORE = 0, 1  # C_API_DTYPE_FLOAT32, C_API_PREDICT_RAW_SCORE
# What of LightGBM's text is needed to predict by it: the rest is half of it. The sizes of trees it finds itself.
_HEAD = ("tree", "version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx", "objective",
    "feature_names", "feature_infos")  # fmt: skip
_INTEGERS = ("split_feature", "decision_type", "left_child", "right_child")
_TREE = ("num_leaves", "num_cat", *_INTEGERS, "threshold", "leaf_value", "is_linear", "shrinkage")
_CATEGORICAL = 1  # a bit of decision_type
_NUMBERS = re.compile(r"[-+.eE0-9 ]*")  # Python reads 1_000 as a thousand, LightGBM as one


class Forest:
    """One or more LightGBM boosters, read only; a prediction is the mean of theirs. Threads may share it.

    ``texts`` are as LightGBM writes them; they must have been checked (see ``checked_text``). The first ``n_rough`` trees of
    the first booster predict roughly. They are a booster of their own: LightGBM keeps the number of trees to predict by in the
    booster itself, where one thread would change it for another.
    """

    def __init__(self, texts: Sequence[str], n_rough: int) -> None:
        self._boosters: Final = tuple(_Booster(text) for text in texts)
        self._rough: Final = _Booster(needed_text(texts[0], n_rough))

    @classmethod
    def load(cls, directory: Path, n_features: int, n_rough: int) -> Forest:
        """Read the boosters of ``directory``; raise CorruptArtifactError for what no forest of so many features can be."""
        return cls([checked_text(path, n_features) for path in _model_files(directory)], n_rough)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the scores, (C,) float64, of candidates with ``features`` (C, F), float32."""
        return np.asarray(np.mean([booster.predict(features) for booster in self._boosters], axis=0))

    def predict_roughly(self, features: np.ndarray) -> np.ndarray:
        """Return the scores, (C,), by the first trees of the first booster alone."""
        return self._rough.predict(features)


def save_forest(texts: Sequence[str], directory: Path) -> None:
    """Write boosters, of which LightGBM gives the texts, into ``directory``: what predicting needs of them."""
    for i, text in enumerate(texts):
        (directory / _FILE.format(i)).write_text(needed_text(text), encoding="utf-8")


def _model_files(directory: Path) -> list[Path]:
    if (directory / _SINGLE_FILE).is_file():
        return [directory / _SINGLE_FILE]
    files: list[Path] = []
    while (path := directory / _FILE.format(len(files))).is_file():
        files.append(path)
    return files or [directory / _FILE.format(0)]  # for a message that names it


# --- LightGBM ------------------------------------------------------------------------------------------------------


def import_lightgbm() -> ModuleType:
    """Import LightGBM, which grows trees; raise ResourceError where it is missing."""
    _load_openmp()
    try:
        import lightgbm
    except (ImportError, OSError) as error:
        raise _no_lightgbm(error) from error
    return lightgbm


@cache
def _library() -> ctypes.CDLL:
    """Load LightGBM's C library; raise ResourceError where it is missing."""
    package = importlib.util.find_spec("lightgbm")
    folders = list(package.submodule_search_locations or []) if package else []
    paths = [str(path) for folder in folders for path in sorted(Path(folder).glob("*/lib_lightgbm.*"))]
    path = next(iter(paths), ctypes.util.find_library("_lightgbm"))
    if path is None:
        raise _no_lightgbm("lib_lightgbm")
    _load_openmp()
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        raise _no_lightgbm(error) from error
    library.LGBM_GetLastError.restype = ctypes.c_char_p
    return library


def _load_openmp() -> None:
    """Load the OpenMP library that torch brings, where the system has none."""
    if ctypes.util.find_library("gomp") is None:
        torch = importlib.util.find_spec("torch")
        for folder in (torch.submodule_search_locations or []) if torch else []:
            for library in sorted((Path(folder) / "lib").glob("libgomp*.so*")):
                ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


def _no_lightgbm(error: object) -> ResourceError:
    return ResourceError(
        say(
            f"span 리더에는 LightGBM이 필요합니다 ({error}). 이렇게 설치하세요: pip install lightgbm",
            f"the span reader needs LightGBM ({error}); install with: pip install lightgbm",
        )
    )


class _Booster:
    """A booster in LightGBM's memory."""

    def __init__(self, text: str) -> None:
        self._library: Final = _library()
        self._handle: Final = ctypes.c_void_p()
        n_trees = ctypes.c_int()
        content = ctypes.c_char_p(text.encode("utf-8"))
        self._call("LGBM_BoosterLoadModelFromString", content, ctypes.byref(n_trees), ctypes.byref(self._handle))
        weakref.finalize(self, self._library.LGBM_BoosterFree, self._handle)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the scores (C,) of ``features`` (C, F)."""
        table = np.ascontiguousarray(features, dtype=np.float32)
        scores = np.empty(len(table))
        length = ctypes.c_int64()
        self._call(
            "LGBM_BoosterPredictForMat",
            self._handle,
            table.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_int(_FLOAT32),
            ctypes.c_int32(table.shape[0]),
            ctypes.c_int32(table.shape[1]),
            ctypes.c_int(1),  # row by row
            ctypes.c_int(_RAW_SCORE),
            ctypes.c_int(0),  # from the first tree
            ctypes.c_int(-1),  # to the last
            ctypes.c_char_p(b"num_threads=1 verbosity=-1"),
            ctypes.byref(length),
            scores.ctypes.data_as(ctypes.c_void_p),
        )
        return scores

    def _call(self, name: str, *arguments: Any) -> None:
        if getattr(self._library, name)(*arguments):
            message = self._library.LGBM_GetLastError().decode("utf-8", "replace")
            raise CorruptArtifactError(
                say(f"LightGBM이 결정나무를 못 읽습니다: {message}", f"LightGBM cannot read the trees: {message}")
            )


# --- the text of a booster -------------------------------------------------------------------------------------------


def needed_text(text: str, n_trees: int | None = None) -> str:
    """Return the part of a booster's text that predicting by the first trees (None: all) needs."""
    head, *trees = _sections(text)
    parts = ["\n".join(line for line in head.splitlines() if line.partition("=")[0] in _HEAD)]
    for number, tree in enumerate(trees[:n_trees]):
        lines = (line for line in tree.splitlines()[1:] if line.partition("=")[0] in _TREE)
        parts.append("\n".join((f"Tree={number}", *lines)))
    return "\n\n".join([*parts, "end of trees", ""])


def _sections(text: str) -> list[str]:
    return text.partition("\nend of trees")[0].split("\nTree=")


def checked_text(path: Path, n_features: int) -> str:
    """Return what predicting needs of a booster's file.

    LightGBM believes what it reads: a child or a feature that is not there is a read outside its memory. So the trees are
    checked first. Raises CorruptArtifactError for anything that is no forest over ``n_features`` features.
    """
    try:
        text = path.read_text(encoding="ascii")
        head, *trees = _sections(text)
        if "\nend of trees" not in text or not trees:
            raise ValueError("no forest")
        _check_head(dict(_fields(head)), n_features)
        for tree in trees:
            _check_tree(dict(_fields(tree)), n_features)
    except (OSError, ValueError, KeyError) as error:
        raise CorruptArtifactError(
            say(
                f"{path}: 결정나무가 아닙니다 ({error}). 리더를 다시 훈련하세요.",
                f"{path}: holds no decision trees ({error}); train the reader anew",
            )
        ) from error
    return needed_text(text)


def _fields(section: str) -> Iterator[tuple[str, str]]:
    for line in section.splitlines():
        name, _, value = line.partition("=")
        yield name, value


def _check_head(head: dict[str, str], n_features: int) -> None:
    """Raise ValueError or KeyError for a head of another kind of model, or of another number of features."""
    if (head["num_class"], head["num_tree_per_iteration"], head["max_feature_idx"]) != ("1", "1", str(n_features - 1)):
        raise ValueError(f"num_class {head['num_class']}, max_feature_idx {head['max_feature_idx']}")
    if any(len(head[name].split(" ")) != n_features for name in ("feature_names", "feature_infos")):
        raise ValueError("feature_names")
    if head["version"] not in ("v3", "v4") or "tree" not in head:
        raise ValueError(f"version {head['version']}")


def _check_tree(tree: dict[str, str], n_features: int) -> None:
    """Raise ValueError or KeyError where the numbers of a tree do not make one."""
    n_leaves = int(tree["num_leaves"])
    n_nodes = n_leaves - 1
    lines = {name: tree.get(name, "") for name in (*_INTEGERS, "threshold", "leaf_value")}
    if not all(map(_NUMBERS.fullmatch, lines.values())):
        raise ValueError("not numbers")
    integers = {name: list(map(int, lines[name].split())) for name in _INTEGERS}
    numbers = {name: list(map(float, lines[name].split())) for name in ("threshold", "leaf_value")}
    counts = [len(values) for name, values in (integers | numbers).items() if name != "leaf_value"]
    if n_leaves < 1 or counts != [n_nodes] * 5 or len(numbers["leaf_value"]) != n_leaves:
        raise ValueError(f"num_leaves {n_leaves}")
    if tree.get("num_cat", "0") != "0" or tree.get("is_linear", "0") != "0":
        raise ValueError("not a plain tree")
    if not all(map(math.isfinite, [*numbers["threshold"], *numbers["leaf_value"], float(tree.get("shrinkage", "1"))])):
        raise ValueError("not a finite number")
    if not all(0 <= feature < n_features for feature in integers["split_feature"]):
        raise ValueError("split_feature")
    if any(kind & _CATEGORICAL or not 0 <= kind < 16 for kind in integers["decision_type"]):
        raise ValueError("decision_type")
    children = [*integers["left_child"], *integers["right_child"]]
    parents = [*range(n_nodes), *range(n_nodes)]
    # Nodes come after their parents, and all nodes and leaves are the child of one: so there is no circle.
    expected = {*range(1, n_nodes), *(~leaf for leaf in range(n_leaves))} if n_nodes else set()
    if set(children) != expected or any(0 <= child <= p for child, p in zip(children, parents, strict=True)):
        raise ValueError("left_child, right_child")
