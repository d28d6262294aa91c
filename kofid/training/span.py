"""Trains the light span reader: a LambdaRank forest (Burges 2010) over the candidates of each question.

A question has some 2,000 candidates, nearly all of them easy. So a small forest is fitted to a random sample first,
and the forest that is kept learns from the wrong candidates which that one likes best.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kofid.morphology import analyze_many
from kofid.reader.span import (
    FORMAT_VERSION,
    Calibration,
    PassageCache,
    Words,
    calibration_inputs,
    distinct_answers,
    find_candidates,
    import_lightgbm,
)
from kofid.reader.span_candidates import NAMES
from kofid.reader.span_kinds import Kinds
from kofid.reader.span_lexicon import count_lexicon
from kofid.reader.span_passage import term_key
from kofid.text import character_f1, exact_match, normalize_korquad, robust_match
from kofid.types import Answer, Example

if TYPE_CHECKING:
    import lightgbm

FOLDS = 3
N_TREES = 260
_N_MINER_TREES = 80
_N_RANDOM = 80
_N_HARDEST = 130
_N_EASY = 40
_SETTINGS: dict[str, Any] = {
    "objective": "lambdarank",
    "learning_rate": 0.09,
    "num_leaves": 31,
    "max_bin": 127,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "lambdarank_truncation_level": 20,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class _Group:
    """One question's candidates: features (C, F), texts, which are right and which wrong (C,), its fold.

    A right text in a passage that is not gold is neither: chance may have put it there.
    """

    answers: tuple[str, ...]
    features: np.ndarray
    texts: list[str]
    right: np.ndarray
    wrong: np.ndarray
    fold: int


def train_span_reader(
    examples: Sequence[Example],
    directory: Path,
    seed: int = 1,
    progress: Progress | None = None,
    words: Words | None = None,
) -> dict[str, float]:
    """Fit trees and confidence to ``examples`` and write the model's files into ``directory``.

    ``words`` holds word rarity and name kinds from elsewhere; without it rarity is counted over the passages of the
    examples and kinds are left out. ``progress`` is called with stage, steps done and steps in all.
    Returns out-of-fold exact match and F1 (percent), and what the calibrated confidence is worth: the share of
    questions answered at 0.5 and the share of those right. Folds keep passages of one title together.
    """
    words = words or Words(_count_words(examples), Kinds.load(directory))
    groups = _groups(examples, words, progress)
    scores = _out_of_fold(groups, seed, progress)
    calibration = _calibrate(groups, scores)
    trees = _fit(groups, seed)
    directory.mkdir(parents=True, exist_ok=True)
    words.save(directory)
    (directory / "model.txt").write_text(trees.model_to_string(), encoding="utf-8")
    settings = {"format_version": FORMAT_VERSION, "features": NAMES, "calibration": asdict(calibration)}
    (directory / "span.json").write_text(json.dumps(settings, ensure_ascii=False, indent=1), encoding="utf-8")
    return _figures(groups, scores, calibration)


def _count_words(examples: Sequence[Example]) -> Any:
    texts = {hit.passage.id: hit.passage.text for example in examples for hit in example.hits}
    return count_lexicon([term_key(m) for m in morphemes] for morphemes in analyze_many(texts.values()))


def _groups(examples: Sequence[Example], words: Words, progress: Progress | None) -> list[_Group]:
    cache = PassageCache(words, capacity=20_000)
    groups = []
    for done, example in enumerate(examples, start=1):
        found = find_candidates(example.question.text, example.hits, cache, words)
        if found is not None:
            groups.append(_group(example, found[0].features, found[1]))
        if progress:
            progress("candidates", done, len(examples))
    return groups


def _group(example: Example, features: np.ndarray, answers: Sequence[Answer]) -> _Group:
    gold = {normalize_korquad(a) for a in example.question.answers}
    positive = set(example.question.positive_ids)
    same = np.array([normalize_korquad(a.text) in gold for a in answers])
    in_gold = np.array([not positive or (a.passage is not None and _is_gold(a.passage.id, positive)) for a in answers])
    return _Group(
        answers=example.question.answers,
        features=features,
        texts=[a.text for a in answers],
        right=same & in_gold,
        wrong=~same,
        fold=_fold(example),
    )


def _is_gold(passage_id: str, positive: set[str]) -> bool:
    """Tell whether a passage is gold; positives may name whole articles, of which ``ARTICLE#n`` is a piece."""
    return passage_id in positive or passage_id.partition("#")[0] in positive


def _fold(example: Example) -> int:
    """Return the fold of an example: by the title of its gold passage, so that no article is in two."""
    positive = set(example.question.positive_ids)
    titles = [h.passage.title for h in example.hits if _is_gold(h.passage.id, positive)] or [
        h.passage.title for h in example.hits[:1]
    ]
    return zlib.crc32("".join(titles[:1]).encode("utf-8")) % FOLDS


def _fit(groups: Sequence[_Group], seed: int) -> lightgbm.Booster:
    """Return the forest fitted to the hardest wrong candidates of each question, some easy ones among them."""
    usable = [g for g in groups if g.right.any() and g.wrong.any()]
    rng = np.random.default_rng(seed)
    miner = _grow(usable, [_likely(g, rng) for g in usable], _N_MINER_TREES, 0.15, seed)
    return _grow(usable, [_hardest(g, miner, rng) for g in usable], N_TREES, _SETTINGS["learning_rate"], seed)


def _likely(group: _Group, rng: np.random.Generator) -> np.ndarray:
    """Return wrong candidates at random, more from promising sentences."""
    wrong = np.nonzero(group.wrong)[0]
    weight = 1.0 / (1.0 + group.features[wrong, NAMES.index("sentence_rank")])
    return np.asarray(rng.choice(wrong, min(_N_RANDOM, len(wrong)), replace=False, p=weight / weight.sum()))


def _hardest(group: _Group, miner: lightgbm.Booster, rng: np.random.Generator) -> np.ndarray:
    """Return the wrong candidates that ``miner`` scores highest, and some of the rest."""
    wrong = np.nonzero(group.wrong)[0]
    scores = np.asarray(miner.predict(group.features[wrong], num_threads=1))
    ordered = wrong[np.argsort(-scores, kind="stable")]
    rest = ordered[_N_HARDEST:]
    return np.concatenate([ordered[:_N_HARDEST], rng.choice(rest, min(_N_EASY, len(rest)), replace=False)])


def _grow(
    groups: Sequence[_Group], wrong: Sequence[np.ndarray], n_trees: int, learning_rate: float, seed: int
) -> lightgbm.Booster:
    """Return a forest fitted to all right candidates and the ``wrong`` ones given for each question."""
    engine = import_lightgbm()
    rows = [np.concatenate([np.nonzero(g.right)[0], w]) for g, w in zip(groups, wrong, strict=True)]
    features = np.concatenate([g.features[r] for g, r in zip(groups, rows, strict=True)])
    labels = np.concatenate([g.right[r] for g, r in zip(groups, rows, strict=True)]).astype(np.int8)
    least = min(40, max(len(labels) // 200, 2))
    settings = {**_SETTINGS, "seed": seed, "learning_rate": learning_rate, "min_data_in_leaf": least}
    data = engine.Dataset(features, labels, group=[len(r) for r in rows], feature_name=list(NAMES))
    trees: lightgbm.Booster = engine.train(settings, data, n_trees)
    return trees


def _out_of_fold(groups: Sequence[_Group], seed: int, progress: Progress | None) -> list[np.ndarray]:
    """Return each question's scores (C,) by trees that saw no question on the same article."""
    scores: list[np.ndarray] = [np.zeros(0)] * len(groups)
    for fold in range(FOLDS):
        kept_out = [i for i, g in enumerate(groups) if g.fold == fold]
        others = [g for g in groups if g.fold != fold]
        if kept_out and any(g.right.any() for g in others):
            trees = _fit(others, seed)
            for i in kept_out:
                scores[i] = np.asarray(trees.predict(groups[i].features, num_threads=1))
        if progress:
            progress("folds", fold + 1, FOLDS)
    return scores


def _calibrate(groups: Sequence[_Group], scores: Sequence[np.ndarray]) -> Calibration:
    """Fit the confidence by Newton's method on the five best out-of-fold answers of each question."""
    inputs: list[np.ndarray] = []
    right: list[bool] = []
    for group, score in zip(groups, scores, strict=True):
        if len(score):
            best = distinct_answers(group.texts, score, limit=20)
            inputs.append(np.stack(calibration_inputs(score[best]), axis=1)[:5])
            right.extend(robust_match(group.texts[i], group.answers) for i in best[:5])
    if not inputs:
        return Calibration()
    table = np.concatenate([np.ones((len(right), 1)), np.concatenate(inputs)], axis=1)
    target = np.array(right, dtype=np.float64)
    weights = np.zeros(3)
    ridge = np.diag([1e-6, 1.0, 1.0])
    for _ in range(50):
        chance = 1.0 / (1.0 + np.exp(-np.clip(table @ weights, -30.0, 30.0)))
        slope = table.T @ (target - chance) - ridge @ weights
        bend = (table * (chance * (1.0 - chance))[:, None]).T @ table + ridge
        weights = weights + np.linalg.solve(bend, slope)
    # A better score must never mean a lower confidence.
    return Calibration(float(weights[0]), max(float(weights[1]), 0.0), max(float(weights[2]), 0.0))


def _figures(groups: Sequence[_Group], scores: Sequence[np.ndarray], calibration: Calibration) -> dict[str, float]:
    exact: list[float] = []
    f1: list[float] = []
    confident: list[float] = []
    confident_right: list[float] = []
    for group, score in zip(groups, scores, strict=True):
        if not len(score):
            continue
        best = distinct_answers(group.texts, score, limit=20)
        text = group.texts[best[0]] if best else ""
        exact.append(exact_match(text, group.answers))
        f1.append(character_f1(text, group.answers))
        sure = bool(best) and calibration.confidence(score[best])[0] >= 0.5
        confident.append(sure)
        if sure:
            confident_right.append(robust_match(text, group.answers))
    covered = [bool(g.right.any()) for g in groups]
    return {
        "n_questions": float(len(groups)),
        "covered": _percent(covered),
        "out_of_fold_em": _percent(exact),
        "out_of_fold_f1": _percent(f1),
        "confident": _percent(confident),
        "confident_right": _percent(confident_right),
    }


def _percent(values: Sequence[float]) -> float:
    return round(100.0 * float(np.mean(values)), 2) if values else 0.0
