"""The light reader: ranks the spans of the passages with gradient-boosted trees over lexical features."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Final

import numpy as np

from kofid.errors import CorruptArtifactError, IncompatibleArtifactError
from kofid.korean.answer_match import normalize_robust
from kofid.korean.kiwi import analyze, analyze_many
from kofid.language import say, setting
from kofid.reader.span.candidates import NAMES, Candidates, candidate_features
from kofid.reader.span.confidence import Calibration
from kofid.reader.span.features import PreparedPassage, prepare_passage
from kofid.reader.span.forest import Forest
from kofid.reader.span.lexicon import Lexicon
from kofid.reader.span.name_types import NameTypes
from kofid.reader.span.passage import analyze_passage
from kofid.reader.span.question import analyze_question
from kofid.types import Answer, Hit, Passage

FORMAT_VERSION = 1
MAX_ANSWERS = 5
# Confidence is shared among this many of the best distinct answers.
MAX_RIVALS = 20
# A passage of 900 characters takes some 160 kB with its features.
_CACHED_PASSAGES = 500
# The first trees choose at whom all look, which takes most of the time of reading; the answers are those of all trees alone.
_FIRST_TREES, _LIKELY = 120, 200


def distinct_answers(texts: Sequence[str], scores: np.ndarray, limit: int) -> list[int]:
    """Return the number of the best candidate of each distinct answer, best first, at most ``limit``.

    ``texts`` and ``scores``, (C,), are those of all candidates. Two texts are one answer if normalize_robust says so.

    >>> distinct_answers(["《무정》", "유정", "무정"], np.array([1.0, 2.0, 3.0]), limit=5)
    [2, 1]
    """
    best: dict[str, int] = {}
    for i in np.argsort(-scores, kind="stable").tolist():
        key = normalize_robust(texts[i])
        if key and key not in best:
            best[key] = i
            if len(best) == limit:
                break
    return list(best.values())


@dataclass(frozen=True, slots=True)
class Words:
    """What the reader knows of words before any training on questions: their rarity, and what kind of thing names are."""

    lexicon: Lexicon
    name_types: NameTypes

    @classmethod
    def load(cls, directory: Path) -> Words:
        """Read lexicon and name types from ``directory``."""
        return cls(Lexicon.load(directory), NameTypes.load(directory))

    def save(self, directory: Path) -> None:
        """Write lexicon and name types into ``directory``."""
        self.lexicon.save(directory)
        self.name_types.save(directory)


class PassageCache:
    """Passages analysed lately, by id and text, so that a passage met again costs nothing. Threads may share it."""

    def __init__(self, words: Words, capacity: int = _CACHED_PASSAGES) -> None:
        self._words: Final = words
        self._capacity: Final = capacity
        self._lock: Final = Lock()
        self._prepared: Final[OrderedDict[tuple[str, str, str], PreparedPassage]] = OrderedDict()

    def prepare(self, passages: Sequence[Passage]) -> list[PreparedPassage]:
        """Return the passages analysed, in order; those not in the cache are analysed in one batch."""
        by_key = {(p.id, p.title, p.text): p for p in passages}
        with self._lock:
            prepared = {key: self._prepared[key] for key in by_key if key in self._prepared}
        new = {key: p for key, p in by_key.items() if key not in prepared}
        lexicon, name_types = self._words.lexicon, self._words.name_types
        for (key, passage), morphemes in zip(new.items(), analyze_many([p.text for p in new.values()]), strict=True):
            prepared[key] = prepare_passage(analyze_passage(passage, morphemes), lexicon, name_types)
        with self._lock:
            self._prepared.update(prepared)
            for key in prepared:
                self._prepared.move_to_end(key)  # the oldest go first
            while len(self._prepared) > self._capacity:
                self._prepared.popitem(last=False)
        return [prepared[p.id, p.title, p.text] for p in passages]


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
        analyze_question(question, analyze(question)), hits, prepared, words.lexicon, words.name_types
    )
    answers = []
    for h, s in zip(candidates.hit.tolist(), candidates.span.tolist(), strict=True):
        view = prepared[h].view
        start, end = int(view.start[s]), int(view.end[s])
        answers.append(Answer(view.passage.text[start:end], 0.0, view.passage, start, end))
    return candidates, answers


class SpanReader:
    """Answers with spans of the passages, from a directory written by ``kofid.training.span``.

    Of all candidates, the first trees choose the ``n_likely`` that all trees then rank. A reader never
    changes; several threads may ask it at once.
    """

    def __init__(self, forest: Forest, words: Words, calibration: Calibration, *, n_likely: int = _LIKELY) -> None:
        self._forest: Final = forest
        self._words: Final = words
        self._calibration: Final = calibration
        self._n_likely: Final = n_likely
        self._cache: Final = PassageCache(words)

    @classmethod
    def load(cls, directory: Path, *, n_likely: int = _LIKELY) -> SpanReader:
        """Read the model of ``directory``.

        Raises IncompatibleArtifactError if another version of kofid wrote it, CorruptArtifactError for bad contents.
        """
        settings = _read_settings(directory / "span.json")
        version, names = settings.get("format_version"), settings.get("features", [])
        if version != FORMAT_VERSION or names != list(NAMES):
            train = f"kofid train-reader {setting('reader', 'span')}"
            n_names = len(names) if isinstance(names, list) else names
            raise IncompatibleArtifactError(
                say(
                    f"{directory}의 span 리더는 형식 {version}, 특징 {n_names}개인데 이 kofid는 형식 {FORMAT_VERSION}, "
                    f"특징 {len(NAMES)}개를 읽습니다. 다시 훈련하세요: {train}",
                    f"span reader at {directory} has format {version} with {n_names} features, this kofid reads "
                    f"format {FORMAT_VERSION} with {len(NAMES)}; train it anew with: {train}",
                )
            )
        try:
            calibration = Calibration.parse(settings["calibration"])
        except (KeyError, TypeError, ValueError) as error:
            raise _corrupt(directory / "span.json") from error
        forest = Forest.load(directory, len(NAMES), n_rough=_FIRST_TREES)
        return cls(forest, Words.load(directory), calibration, n_likely=n_likely)

    def read(self, question: str, hits: Sequence[Hit]) -> list[Answer]:
        """Return at most 5 distinct answers, best first, with their places in the passages."""
        readable = find_candidates(question, hits, self._cache, self._words) if hits else None
        if readable is None:
            return []
        candidates, answers = readable
        rough = self._forest.predict_roughly(candidates.features)
        likely = np.argsort(-rough, kind="stable")[: self._n_likely]
        answers = [answers[i] for i in likely.tolist()]
        scores = self._forest.predict(candidates.features[likely])
        best = distinct_answers([answer.text for answer in answers], scores, limit=MAX_RIVALS)
        confidences = self._calibration.confidence(scores[best]).tolist()
        return [
            Answer(answers[i].text, confidence, answers[i].passage, answers[i].start, answers[i].end)
            for i, confidence in zip(best[:MAX_ANSWERS], confidences, strict=False)
        ]


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _corrupt(path) from error
    if not isinstance(settings, dict):
        raise _corrupt(path)
    return settings


def _corrupt(path: Path) -> CorruptArtifactError:
    return CorruptArtifactError(
        say(
            f"{path}: 읽을 수 없는 설정입니다. 리더를 다시 훈련하세요.",
            f"{path}: makes no sense; train the reader anew",
        )
    )
