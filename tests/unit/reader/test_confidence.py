"""Confidence of written answers: fitted by hand-checkable cases, and from questions the reader was not trained on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from kofid.reader.confidence import Confidence, log_odds, plain_confidence
from kofid.training.calibration import calibrate, fit_logistic
from kofid.types import Answer, Example, Hit, Passage, Question

PASSAGE = Passage("p", "이순신", "이순신은 명량에서 이겼고 원균은 칠천량에서 졌다.")


def test_logistic_regression_by_hand() -> None:
    # Of those with 0, one of four is right; of those with 1, three of four: log odds of -log 3 and log 3.
    inputs = np.array([[0.0]] * 4 + [[1.0]] * 4)
    right = [True, False, False, False, True, True, True, False]
    intercept, weight = fit_logistic(inputs, right, ridge=1e-9)
    assert intercept == pytest.approx(-math.log(3), abs=1e-3)
    assert weight == pytest.approx(2 * math.log(3), abs=1e-3)
    # What would mean less confidence for more is nothing; what costs more weighs less.
    assert fit_logistic(1 - inputs, right)[1] == 0.0
    assert 0 < fit_logistic(inputs, right, ridge=10.0)[1] < fit_logistic(inputs, right, ridge=0.1)[1]
    assert fit_logistic(np.empty((0, 2)), []) == [0.0, 0.0, 0.0]


def test_confidence_by_hand() -> None:
    assert log_odds(math.log(0.8)) == pytest.approx(math.log(4))  # 0.8 / 0.2
    assert log_odds(0.0) == pytest.approx(-math.log(1e-6), abs=1e-5)
    confidence = Confidence(intercept=-math.log(4), log_odds=1.0, said=0.5)
    assert confidence(math.log(0.8), stands_in_passage=False) == pytest.approx(0.5)  # -log 4 + log 4
    assert confidence(math.log(0.8), stands_in_passage=True) == pytest.approx(1 / (1 + math.exp(-0.5)))
    assert 0 < confidence(-1e9, stands_in_passage=False) < 1e-9
    for p in (0.01, 0.25, 0.9):
        as_it_is = Confidence(intercept=0.0, log_odds=1.0, said=0.0)
        assert as_it_is(math.log(p), stands_in_passage=True) == pytest.approx(p)
        assert plain_confidence(math.log(p), stands_in_passage=False) == pytest.approx(p)


class Guesser:
    """Stands for a fusion reader that is too sure of itself: its probability p is right p squared of the time."""

    def with_options(self, **_: Any) -> Guesser:
        """Return itself: it has no options."""
        return self

    def read(self, question: str, hits: list[Hit]) -> list[Answer]:
        """Return a question's answer: the question says with which probability, and what."""
        probability, text = question.split()
        return [Answer(text, float(probability), hits[0].passage)] if hits else []


def asked(text: str) -> Question:
    return Question(text, answers=("이순신",))


def test_a_reader_too_sure_of_itself_is_set_right() -> None:
    chance = np.random.default_rng(1)
    examples = []
    for p in chance.uniform(0.3, 1.0, 2000):
        text = "이순신" if chance.random() < p * p else "원균"
        examples.append(Example(asked(f"{p} {text}"), (Hit(PASSAGE, 1.0, "bm25"),)))
    examples.append(Example(asked("0.5 무엇"), ()))  # nothing found, nothing said
    found = calibrate(Guesser(), examples, n_context=1)  # type: ignore[arg-type]
    for p in (0.4, 0.6, 0.8, 0.95):
        right = [e for e in examples[:-1] if abs(float(e.question.text.split()[0]) - p) < 0.05]
        share = sum(e.question.text.endswith("이순신") for e in right) / len(right)
        assert found(math.log(p), stands_in_passage=True) == pytest.approx(share, abs=0.06)
    assert found(math.log(0.9), stands_in_passage=True) > found(math.log(0.4), stands_in_passage=True)
