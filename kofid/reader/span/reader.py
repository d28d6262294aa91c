"""The light reader: ranks the spans of the passages with gradient-boosted trees over lexical features."""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
import json
import sys
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kofid.errors import IncompatibleArtifactError, ResourceError
from kofid.korean.answers import normalize_robust
from kofid.korean.kiwi import analyze, analyze_many
from kofid.language import say
from kofid.reader.span.candidates import NAMES, Candidates, candidate_features
from kofid.reader.span.features import PreparedPassage, prepare_passage
from kofid.reader.span.lexicon import Lexicon
from kofid.reader.span.name_types import Kinds
from kofid.reader.span.passage import analyze_passage
from kofid.reader.span.question import analyze_question
from kofid.types import Answer, Hit, Passage

if TYPE_CHECKING:
    import lightgbm

FORMAT_VERSION = 1
MAX_ANSWERS = 5
# Confidence is shared among this many of the best distinct answers.
MAX_RIVALS = 20
# A passage of 900 characters takes some 160 kB with its features.
_CACHED_PASSAGES = 500
_THREADS = 1
# The first trees choose at whom all look, which takes most of the time of reading; the answers are those of all trees alone.
_FIRST_TREES, _LIKELY = 120, 200


def import_lightgbm() -> Any:
    """Import LightGBM, with the OpenMP library that torch brings where the system has none."""
    if ctypes.util.find_library("gomp") is None:
        torch = importlib.util.find_spec("torch")
        for folder in (torch.submodule_search_locations or []) if torch else []:
            for library in sorted((Path(folder) / "lib").glob("libgomp*.so*")):
                ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    try:
        with _hidden("sklearn", "pandas"):
            import lightgbm
    except (ImportError, OSError) as error:
        raise ResourceError(
            say(
                f"span 리더에는 LightGBM이 필요합니다 ({error}). 이렇게 설치하세요: pip install lightgbm",
                f"the span reader needs LightGBM ({error}); install with: pip install lightgbm",
            )
        ) from error
    return lightgbm


@contextmanager
def _hidden(*names: str) -> Iterator[None]:
    """Let an import do without packages that it takes where they are: a second of importing what is not used."""
    absent = {name: None for name in names if name not in sys.modules}
    sys.modules.update(absent)  # type: ignore[arg-type]  # None is how Python says that there is no such package
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Logistic regression from an answer's score, and its share among the answers, to the chance of being right."""

    intercept: float = 0.0
    score: float = 1.0
    share: float = 1.0

    def confidence(self, scores: np.ndarray) -> np.ndarray:
        """Return the confidences, (n,), of one question's distinct answers by their scores (n,)."""
        logits = self.intercept + np.stack(calibration_inputs(scores), axis=1) @ np.array([self.score, self.share])
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits, -30.0, 30.0))))


def calibration_inputs(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each answer's score and the logarithm of its share in the softmax over all of them, (n,) each."""
    top = scores.max()
    return scores, scores - (top + np.log(np.exp(scores - top).sum()))


def distinct_answers(texts: Sequence[str], scores: np.ndarray, limit: int) -> list[int]:
    """Return the number of the best candidate of each distinct answer, best first, at most ``limit``.

    ``texts`` and ``scores``, (C,), are those of all candidates. Two texts are one answer if normalize_robust says so.
    """
    chosen: dict[str, int] = {}
    for i in np.argsort(-scores, kind="stable").tolist():
        key = normalize_robust(texts[i])
        if key and key not in chosen:
            chosen[key] = i
            if len(chosen) == limit:
                break
    return list(chosen.values())


@dataclass(frozen=True, slots=True)
class Words:
    """What the reader knows of words before any training on questions."""

    lexicon: Lexicon
    kinds: Kinds

    @classmethod
    def load(cls, directory: Path) -> Words:
        """Read lexicon and kinds from ``directory``."""
        return cls(Lexicon.load(directory), Kinds.load(directory))

    def save(self, directory: Path) -> None:
        """Write lexicon and kinds into ``directory``."""
        self.lexicon.save(directory)
        self.kinds.save(directory)


class PassageCache:
    """Passages analysed lately, by id and text, so that a passage met again costs nothing."""

    def __init__(self, words: Words, capacity: int = _CACHED_PASSAGES) -> None:
        self._words, self._capacity = words, capacity
        self._kept: OrderedDict[tuple[str, str, str], PreparedPassage] = OrderedDict()

    def prepare(self, passages: Sequence[Passage]) -> list[PreparedPassage]:
        """Return the passages analysed, in order; those not kept are analysed in one batch."""
        keys = [(p.id, p.title, p.text) for p in passages]
        found = {key: self._kept.pop(key) for key in dict.fromkeys(keys) if key in self._kept}
        new = {key: p for key, p in zip(keys, passages, strict=True) if key not in found}
        for (key, passage), morphemes in zip(new.items(), analyze_many([p.text for p in new.values()]), strict=True):
            found[key] = prepare_passage(analyze_passage(passage, morphemes), self._words.lexicon, self._words.kinds)
        self._kept.update(found)
        while len(self._kept) > self._capacity:
            self._kept.popitem(last=False)
        return [found[key] for key in keys]


def find_candidates(
    question: str, hits: Sequence[Hit], cache: PassageCache, words: Words
) -> tuple[Candidates, list[Answer]] | None:
    """Return the candidates with their features, and each as an Answer without confidence; None if there are none."""
    prepared = cache.prepare([hit.passage for hit in hits])
    readable = [i for i, p in enumerate(prepared) if len(p.view.first)]
    if not readable:
        return None
    hits, prepared = [hits[i] for i in readable], [prepared[i] for i in readable]
    candidates = candidate_features(
        analyze_question(question, analyze(question)), hits, prepared, words.lexicon, words.kinds
    )
    answers = []
    for h, s in zip(candidates.hit.tolist(), candidates.span.tolist(), strict=True):
        view = prepared[h].view
        start, end = int(view.start[s]), int(view.end[s])
        answers.append(Answer(view.passage.text[start:end], 0.0, view.passage, start, end))
    return candidates, answers


class SpanReader:
    """Answers with spans of the passages, from a directory written by ``kofid.training.span``."""

    def __init__(self, trees: lightgbm.Booster, words: Words, calibration: Calibration) -> None:
        self._trees, self._words, self._calibration = trees, words, calibration
        self._cache = PassageCache(words)

    @classmethod
    def load(cls, directory: Path) -> SpanReader:
        """Read the model of ``directory``; raise IncompatibleArtifactError if another version of kofid wrote it."""
        settings = json.loads((directory / "span.json").read_text(encoding="utf-8"))
        version, names = settings.get("format_version"), tuple(settings.get("features", ()))
        if version != FORMAT_VERSION or names != NAMES:
            raise IncompatibleArtifactError(
                say(
                    f"{directory}의 span 리더는 형식 {version}, 특징 {len(names)}개인데 이 kofid는 형식 {FORMAT_VERSION}, "
                    f"특징 {len(NAMES)}개를 읽습니다. 다시 훈련하세요: kofid train-reader --reader span",
                    f"span reader at {directory} has format {version} with {len(names)} features, this kofid reads "
                    f"format {FORMAT_VERSION} with {len(NAMES)}; train it anew with: kofid train-reader --reader span",
                )
            )
        trees = import_lightgbm().Booster(model_str=(directory / "model.txt").read_text(encoding="utf-8"))
        return cls(trees, Words.load(directory), Calibration(**settings["calibration"]))

    def read(self, question: str, hits: Sequence[Hit]) -> list[Answer]:
        """Return at most 5 distinct answers, best first, with their places in the passages."""
        found = find_candidates(question, hits, self._cache, self._words) if hits else None
        if found is None:
            return []
        candidates, answers = found
        features = candidates.features
        first = np.asarray(self._trees.predict(features, num_threads=_THREADS, num_iteration=_FIRST_TREES))
        likely = np.argsort(-first, kind="stable")[:_LIKELY]
        answers = [answers[i] for i in likely.tolist()]
        scores = np.asarray(self._trees.predict(features[likely], num_threads=_THREADS))
        best = distinct_answers([a.text for a in answers], scores, limit=MAX_RIVALS)
        confidences = self._calibration.confidence(scores[best]).tolist()
        return [
            Answer(answers[i].text, confidence, answers[i].passage, answers[i].start, answers[i].end)
            for i, confidence in zip(best[:MAX_ANSWERS], confidences, strict=False)
        ]
