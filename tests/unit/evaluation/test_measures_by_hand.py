"""Answer measures against numbers worked by hand."""

from __future__ import annotations

import pytest

from kofid.evaluation.metrics import answer_metrics
from kofid.types import Question


def test_answer_metrics_by_hand():
    questions = [
        Question("q", answers=("이순신",)),
        Question("q", answers=("1592년",)),
        Question("q", answers=("세종", "세종대왕")),
    ]
    # EM 0, 0, 1; F1 6/7, 1, 1 (see test_text.py); robust EM 1, 1, 1
    found = answer_metrics(["이순신이", "1592 년", "세종대왕"], questions)
    assert found == pytest.approx({"n": 3, "em": 1 / 3, "f1": (6 / 7 + 2) / 3, "em_robust": 1.0})
    assert answer_metrics([], []) == {"n": 0, "em": 0.0, "f1": 0.0, "em_robust": 0.0}
    with pytest.raises(ValueError, match="argument"):
        answer_metrics(["하나"], [])
