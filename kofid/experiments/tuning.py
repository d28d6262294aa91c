"""A ranking fitted to development questions: one setting after another, while that helps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kofid.errors import UsageError
from kofid.evaluation.rankings import ANSWER, judge
from kofid.evaluation.significance import randomization_test
from kofid.language import say
from kofid.retrieval.index import Index
from kofid.types import Example, Progress, Question

OBJECTIVE = "mrr@10"
_DEPTH = 10
_GRID: dict[str, tuple[float, ...]] = {
    "k1": (0.4, 0.6, 0.8, 1.0, 1.2, 1.6, 2.0),
    "b": (0.0, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0),
    "title_weight": (0.0, 0.5, 1.0, 1.5, 2.0),
    "ending_weight": (0.0, 0.3, 0.6, 1.0),
    "sentence_weight": (0.0, 0.1, 0.2, 0.3, 0.5),
    "article_penalty": (0.0, 0.01, 0.02, 0.05),
}
_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
_ROUNDS = 2
# Less is chance, and not worth another setting.
_LEAST_GAIN = 1e-4


@dataclass(frozen=True)
class Trial:
    """One setting tried, and the objective with it."""

    name: str
    value: float
    measure: float


@dataclass(frozen=True)
class Tuned:
    """What tuning found: the index with the best ranking, what that changes, and the objective before and after.

    ``p`` is the paired randomisation test's; it says nothing of other questions, since these chose the settings.
    """

    index: Index
    changes: dict[str, Any]
    before: float
    after: float
    n: int
    p: float
    trials: list[Trial]

    @property
    def objective(self) -> str:
        """The measure that was tuned for."""
        return OBJECTIVE

    def to_json(self) -> dict[str, Any]:
        """Return it without the index."""
        figures = {"before": self.before, "after": self.after, "p": self.p}
        return (
            {"objective": OBJECTIVE, "n": self.n, "changes": self.changes}
            | {name: round(value, 5) for name, value in figures.items()}
            | {"trials": [[t.name, t.value, round(t.measure, 5)] for t in self.trials]}
        )


def tune(index: Index, questions: Sequence[Question], *, progress: Progress) -> Tuned:
    """Search k1, b and weights one at a time, twice over, for the best mean reciprocal rank at 10.

    Raises UsageError when no question has gold ids or answers.
    """
    before = best = _reciprocal_ranks(index, questions)
    changes: dict[str, Any] = {}
    trials: list[Trial] = []
    # The weights of components are relative, so the first one's stays.
    weights = [f"weight of {component.name}" for component in index.analyzer.components][1:]
    names = [*_GRID, *weights] * _ROUNDS
    for name in progress(names, say("맞추는 중", "tuning"), len(names)):
        for value in _GRID.get(name, _WEIGHTS):
            setting = _setting(index.ranked(**changes), name, value)
            if setting is None:
                continue
            ranks = _reciprocal_ranks(index.ranked(**(changes | setting)), questions)
            trials.append(Trial(name, value, _mean(ranks)))
            if _mean(ranks) > _mean(best) + _LEAST_GAIN:
                best, changes = ranks, changes | setting
    differences = [new - old for old, new in zip(before, best, strict=True)]
    p = randomization_test(differences)
    return Tuned(index.ranked(**changes), changes, _mean(before), _mean(best), len(before), p, trials)


def _setting(index: Index, name: str, value: float) -> dict[str, Any] | None:
    """Return the change that gives a setting this value; None when it has it."""
    if name in _GRID:
        return {name: value} if index.ranking.settings()[name] != value else None
    components = [f"weight of {component.name}" for component in index.analyzer.components]
    weights = list(index.weights)
    weights[components.index(name)] = value
    return {"weights": weights} if weights != list(index.weights) else None


def _reciprocal_ranks(index: Index, questions: Sequence[Question]) -> list[float]:
    """Return each question's reciprocal rank, by gold ids where it has them, else by answers."""
    examples = (Example(question, tuple(index.search(question.text, _DEPTH))) for question in questions)
    ranks = [r.measures[OBJECTIVE if OBJECTIVE in r.measures else ANSWER + OBJECTIVE] for r in judge(examples)]
    if not ranks:
        raise UsageError(
            say(
                "positive_ids나 answers가 있는 질문이 하나도 없어 맞출 수 없습니다",
                "no question has positive_ids or answers, so there is nothing to fit to",
            )
        )
    return ranks


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
