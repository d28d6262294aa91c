"""How a joint reader's scores are weighed, and its confidence, fitted on questions that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from kofid.korean.answer_match import has_answer, robust_match
from kofid.korean.korquad import character_f1, exact_match
from kofid.language import say
from kofid.reader.joint.confidence import Calibration, Settings, Weights
from kofid.reader.joint.reader import JointReader, WindowReading, distinct_answers, reordered
from kofid.training.calibration import fit_logistic
from kofid.training.data import is_positive
from kofid.training.joint import TrainedJoint
from kofid.types import Example, Progress, silent

# What is tried: how much the search counts for a passage's relevance, and relevance for an answer.
_SEARCH, _RELEVANCE = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0), (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)


@dataclass(frozen=True)
class Read:
    """A question and what each of its windows says to it."""

    example: Example
    windows: list[WindowReading]

    def without_answer(self) -> Read:
        """Return the same as if no passage said the answer: what is gold, or says it, was not found."""
        question = self.example.question
        answers = {
            number
            for number, hit in enumerate(self.example.hits)
            if is_positive(question, hit.passage) or has_answer(hit.passage.text, question.answers)
        }
        return replace(self, windows=[window for window in self.windows if window.passage not in answers])


def fit_settings(
    trained: TrainedJoint, dev: Sequence[Example], *, progress: Progress = silent
) -> tuple[Settings, dict[str, float]]:
    """Return a reader's settings by its answers to ``dev``, and what they are worth there; without ``dev`` the default ones."""
    if not dev:
        return Settings(), {}
    with TemporaryDirectory() as folder:
        trained.save(Path(folder))
        reader = JointReader.load(Path(folder), Settings())
        shown = progress(dev, say("확신 맞추는 중", "fitting confidence"), len(dev))
        reads = [
            Read(e, reader.read_windows(e.question.text, [hit.passage for hit in e.hits])) for e in shown if e.hits
        ]
    return settings_of(reads)


def settings_of(reads: Sequence[Read]) -> tuple[Settings, dict[str, float]]:
    """Return the settings that suit what was read, and exact match, F1 and hit@1 (of gold passages) with them.

    The search counts as much as is best for the mean reciprocal rank of gold passages, relevance as is best for the sum of exact
    match and F1. The confidence is fitted to each question as it was read and, for every second one, as it would have been had
    nothing answered it.
    """
    if not reads:
        return Settings(), {}
    rankings = {search: _ranking_figures(reads, Weights(search=search)) for search in _SEARCH}
    search = max(rankings, key=lambda candidate: rankings[candidate][1])
    grid = [Weights(relevance, search) for relevance in _RELEVANCE]
    weights = max(grid, key=lambda candidate: sum(_answer_figures(reads, candidate)))
    settings = Settings(weights)
    em, f1 = _answer_figures(reads, weights)
    marks, right = [], []
    for number, read in enumerate(reads):
        for version in (read, read.without_answer()) if number % 2 else (read,):
            for best in distinct_answers(version.windows, read.example.hits, settings)[:1]:
                marks.append(best.marks)
                right.append(version is read and robust_match(best.text, read.example.question.answers))
    if marks:
        settings = replace(settings, calibration=Calibration(*fit_logistic(np.array(marks), right)))
    return settings, {"dev_em": em, "dev_f1": f1, "dev_hit@1": rankings[search][0]}


def _answer_figures(reads: Sequence[Read], weights: Weights) -> tuple[float, float]:
    """Return exact match and F1, in percent."""
    em = f1 = 0.0
    for read in reads:
        best = distinct_answers(read.windows, read.example.hits, Settings(weights))[:1]
        said, answers = best[0].text if best else "", read.example.question.answers
        em += exact_match(said, answers)
        f1 += character_f1(said, answers)
    return 100 * em / len(reads), 100 * f1 / len(reads)


def _ranking_figures(reads: Sequence[Read], weights: Weights) -> tuple[float, float]:
    """Return hit@1 and the mean reciprocal rank of gold passages, in percent, where passages are reordered."""
    hit = reciprocal = 0.0
    for read in reads:
        order = reordered(read.windows, read.example.hits, weights)
        rank = next((i for i, h in enumerate(order, 1) if is_positive(read.example.question, h.passage)), None)
        hit += rank == 1
        reciprocal += 1 / rank if rank else 0.0
    return 100 * hit / len(reads), 100 * reciprocal / len(reads)
