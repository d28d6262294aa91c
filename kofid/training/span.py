"""Train the light span reader: LambdaRank forests (Burges 2010) over the candidates of each question.

A question has some 2,000 candidates, nearly all of them easy. So a small forest is fitted to a random sample first,
and the forests of the reader learn from the wrong candidates which that one likes best. They differ by their seeds; an
answer's score is the mean of theirs.

All candidates of all questions are kept in memory, features compressed: some 0.2 MB a question.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kofid.errors import InputError
from kofid.formats.passage_split import article_id
from kofid.korean.answer_match import robust_match
from kofid.korean.kiwi import analyze_many
from kofid.korean.korquad import character_f1, exact_match, normalize_korquad
from kofid.language import say
from kofid.reader.confidence import SURE
from kofid.reader.span.candidates import NAMES, Candidates
from kofid.reader.span.confidence import Calibration, calibration_inputs
from kofid.reader.span.forest import import_lightgbm, save_forest
from kofid.reader.span.lexicon import Lexicon, count_lexicon
from kofid.reader.span.name_types import NameTypes
from kofid.reader.span.passage import term_key
from kofid.reader.span.reader import (
    FORMAT_VERSION,
    MAX_ANSWERS,
    MAX_RIVALS,
    PassageCache,
    Words,
    distinct_answers,
    find_candidates,
)
from kofid.training.calibration import fit_logistic
from kofid.types import Answer, Example, Passage, Progress, silent

if TYPE_CHECKING:
    import lightgbm

N_FOLDS = 3
N_FORESTS = 3
N_TREES = 480
_N_MINER_TREES = 80
_MINER_LEARNING_RATE = 0.15
# Wrong candidates of each question: for the miner, and for the forest that is kept.
_N_RANDOM = 80
_N_HARDEST = 130
_N_EASY = 40
# Questions on one article are read one after the other, so few passages need to be kept.
_CACHED_PASSAGES = 1_000
_SETTINGS: dict[str, Any] = {
    "objective": "lambdarank",
    "learning_rate": 0.05,
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


@dataclass(frozen=True, slots=True)
class _Group:
    """One question's C candidates: which are right and which wrong, bool (C,); its fold.

    ``places``, (C, 3): which passage, start and end character. ``packed``: the features, compressed. A right text in
    a passage that is not gold is neither right nor wrong: chance may have put it there.
    """

    answers: tuple[str, ...]
    passages: tuple[Passage, ...]
    places: np.ndarray
    packed: bytes
    right: np.ndarray
    wrong: np.ndarray
    fold: int

    def texts(self) -> list[str]:
        """Return the texts of the candidates: made when needed, for they take much memory."""
        return [self.passages[p].text[start:end] for p, start, end in self.places.tolist()]

    def features(self) -> np.ndarray:
        """Return the features (C, F), float32."""
        return np.frombuffer(zlib.decompress(self.packed), dtype=np.float32).reshape(len(NAMES), -1).T


def fit_span(
    examples: Sequence[Example],
    directory: Path,
    seed: int = 1,
    progress: Progress = silent,
    words: Words | None = None,
) -> dict[str, float]:
    """Fit trees and confidence to ``examples`` and write the model's files into ``directory``.

    ``words`` holds word rarity and name kinds from elsewhere; without it rarity is counted over the passages of the
    examples and kinds are left out. ``progress`` is given each long loop to show.
    Returns out-of-fold exact match and F1 (percent), and what the calibrated confidence is worth: the share of
    questions answered surely and the share of those right. Folds keep passages of one title together.
    Raises InputError when no question has its answer in a gold passage.
    """
    words = words or Words(_count_words(examples), NameTypes.load(directory))
    groups = _groups(examples, words, progress)
    if not any(g.right.any() and g.wrong.any() for g in groups):
        raise InputError(
            say(
                f"질문 {len(examples)}개 가운데 정답이 패시지에 있는 것이 없습니다. 정답과 정답 패시지가 있는 자료를 주세요.",
                f"none of {len(examples)} questions has its answer in a gold passage; give data with both",
            )
        )
    scores, boosters = _cross_fit(groups, seed, progress)
    calibration = _calibrate(groups, scores)
    directory.mkdir(parents=True, exist_ok=True)
    words.save(directory)
    save_forest([booster.model_to_string() for booster in boosters], directory)
    settings = {"format_version": FORMAT_VERSION, "features": NAMES, "calibration": asdict(calibration)}
    (directory / "span.json").write_text(json.dumps(settings, ensure_ascii=False, indent=1), encoding="utf-8")
    return _figures(groups, scores, calibration)


def _count_words(examples: Sequence[Example]) -> Lexicon:
    texts = {hit.passage.id: hit.passage.text for example in examples for hit in example.hits}
    return count_lexicon([term_key(m) for m in morphemes] for morphemes in analyze_many(texts.values()))


def _groups(examples: Sequence[Example], words: Words, progress: Progress) -> list[_Group]:
    """Return the groups of the examples that have any candidates, in order."""
    cache = PassageCache(words, _CACHED_PASSAGES)
    groups: dict[int, _Group] = {}
    order = sorted(range(len(examples)), key=lambda i: _title(examples[i]))
    for i in progress(order, say("답 후보 찾기", "finding candidates"), len(order)):
        candidates = find_candidates(examples[i].question.text, examples[i].hits, cache, words)
        if candidates is not None:
            groups[i] = _group(examples[i], *candidates)
    return [groups[i] for i in sorted(groups)]


def _group(example: Example, candidates: Candidates, answers: Sequence[Answer]) -> _Group:
    gold = {normalize_korquad(a) for a in example.question.answers}
    positive = set(example.question.positive_ids)
    passages = tuple(dict.fromkeys(a.passage for a in answers if a.passage))
    number = {passage: n for n, passage in enumerate(passages)}
    places = np.array([(number[a.passage], a.start, a.end) for a in answers if a.passage], dtype=np.int32)
    same = np.array([normalize_korquad(a.text) in gold for a in answers])
    in_gold = np.array([not positive or _is_gold(p.id, positive) for p in passages])[places[:, 0]]
    return _Group(
        answers=example.question.answers,
        passages=passages,
        places=places,
        # Column by column, as most columns hold few different values: a sixth of the memory for some 10 % of the time.
        packed=zlib.compress(candidates.features.T.tobytes(), level=1),
        right=same & in_gold,
        wrong=~same,
        fold=zlib.crc32(_title(example).encode("utf-8")) % N_FOLDS,
    )


def _is_gold(passage_id: str, positive: set[str]) -> bool:
    """Tell whether a passage is gold; positives may name whole articles, of which ``ARTICLE#n`` is a piece."""
    return passage_id in positive or article_id(passage_id) in positive


def _title(example: Example) -> str:
    """Return the title of the first gold passage, of the first passage if none is gold: folds keep articles whole."""
    positive = set(example.question.positive_ids)
    titles = [h.passage.title for h in example.hits if _is_gold(h.passage.id, positive)]
    return (titles or [h.passage.title for h in example.hits[:1]] or [""])[0]


def _fit(groups: Sequence[_Group], seed: int, n_forests: int) -> list[lightgbm.Booster]:
    """Return forests fitted to the hardest wrong candidates of each question and some easy ones."""
    usable = [g for g in groups if g.right.any() and g.wrong.any()]
    rng = np.random.default_rng(seed)
    miner = _grow(usable, lambda g, f: _likely(g, f, rng), _N_MINER_TREES, _MINER_LEARNING_RATE, seed)
    return [
        _grow(usable, lambda g, f: _hardest(g, f, miner, rng), N_TREES, _SETTINGS["learning_rate"], seed + i)
        for i in range(n_forests)
    ]


def _likely(group: _Group, features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return wrong candidates at random, more from promising sentences."""
    wrong = np.nonzero(group.wrong)[0]
    weight = 1.0 / (1.0 + features[wrong, NAMES.index("sentence_rank")])
    return np.asarray(rng.choice(wrong, min(_N_RANDOM, len(wrong)), replace=False, p=weight / weight.sum()))


def _hardest(group: _Group, features: np.ndarray, miner: lightgbm.Booster, rng: np.random.Generator) -> np.ndarray:
    """Return the wrong candidates that ``miner`` scores highest, and some of the rest."""
    wrong = np.nonzero(group.wrong)[0]
    scores = np.asarray(miner.predict(features[wrong], num_threads=1))
    ordered = wrong[np.argsort(-scores, kind="stable")]
    rest = ordered[_N_HARDEST:]
    return np.concatenate([ordered[:_N_HARDEST], rng.choice(rest, min(_N_EASY, len(rest)), replace=False)])


def _grow(
    groups: Sequence[_Group],
    choose: Callable[[_Group, np.ndarray], np.ndarray],
    n_trees: int,
    learning_rate: float,
    seed: int,
) -> lightgbm.Booster:
    """Return a forest fitted to all right candidates and, for each group and its features, the wrong ones chosen."""
    engine = import_lightgbm()
    tables, labels = [], []
    for group in groups:
        features = group.features()
        rows = np.concatenate([np.nonzero(group.right)[0], choose(group, features)])
        tables.append(features[rows])
        labels.append(group.right[rows].astype(np.int8))
    sizes = [len(table) for table in tables]
    least = min(40, max(sum(sizes) // 200, 2))
    settings = {**_SETTINGS, "seed": seed, "learning_rate": learning_rate, "min_data_in_leaf": least}
    data = engine.Dataset(np.concatenate(tables), np.concatenate(labels), group=sizes, feature_name=list(NAMES))
    trees: lightgbm.Booster = engine.train(settings, data, n_trees)
    return trees


def _cross_fit(
    groups: Sequence[_Group], seed: int, progress: Progress
) -> tuple[list[np.ndarray], list[lightgbm.Booster]]:
    """Return each question's scores (C,) by a forest that saw no question on its article, and the forests that saw all."""
    scores: list[np.ndarray] = [np.zeros(0)] * len(groups)
    for fold in progress(range(N_FOLDS), say("교차 검증", "cross-validating"), N_FOLDS):
        kept_out = [i for i, g in enumerate(groups) if g.fold == fold]
        others = [g for g in groups if g.fold != fold]
        if kept_out and any(g.right.any() and g.wrong.any() for g in others):
            (forest,) = _fit(others, seed, 1)
            for i in kept_out:
                scores[i] = np.asarray(forest.predict(groups[i].features(), num_threads=1))
    return scores, _fit(groups, seed, N_FORESTS)


def _calibrate(groups: Sequence[_Group], scores: Sequence[np.ndarray]) -> Calibration:
    """Fit the confidence on the five best out-of-fold answers of each question."""
    inputs: list[np.ndarray] = []
    right: list[bool] = []
    for group, score in zip(groups, scores, strict=True):
        if len(score):
            texts = group.texts()
            best = distinct_answers(texts, score, limit=MAX_RIVALS)
            inputs.append(np.stack(calibration_inputs(score[best]), axis=1)[:MAX_ANSWERS])
            right.extend(robust_match(texts[i], group.answers) for i in best[:MAX_ANSWERS])
    if not inputs:
        return Calibration()
    return Calibration(*fit_logistic(np.concatenate(inputs), right))


def _figures(groups: Sequence[_Group], scores: Sequence[np.ndarray], calibration: Calibration) -> dict[str, float]:
    """Return what fit_span reports, from the out-of-fold scores (C,) of each group."""
    exact: list[float] = []
    f1: list[float] = []
    confident: list[float] = []
    confident_right: list[float] = []
    for group, score in zip(groups, scores, strict=True):
        if not len(score):
            continue
        texts = group.texts()
        best = distinct_answers(texts, score, limit=MAX_RIVALS)
        text = texts[best[0]] if best else ""
        exact.append(exact_match(text, group.answers))
        f1.append(character_f1(text, group.answers))
        sure = bool(best) and calibration.confidence(score[best])[0] >= SURE
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
