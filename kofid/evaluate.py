"""Evaluation of a whole pipeline: answers against known answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kofid.metrics import answer_metrics
from kofid.pipeline import Pipeline
from kofid.text import character_f1, exact_match, has_answer, robust_match
from kofid.types import Question


@dataclass(frozen=True)
class Prediction:
    """One question's predicted answer, its confidence, and whether the passages read say a right answer."""

    question: Question
    answer: str
    confidence: float
    passage_id: str
    answer_in_passages: bool

    def to_json(self) -> dict[str, Any]:
        """Return the prediction with its own scores, for reading the wrong ones."""
        answers = self.question.answers
        return {
            "id": self.question.id,
            "question": self.question.text,
            "answers": list(answers),
            "prediction": self.answer,
            "confidence": round(self.confidence, 4),
            "passage_id": self.passage_id,
            "em": exact_match(self.answer, answers),
            "f1": round(character_f1(self.answer, answers), 4),
            "em_robust": robust_match(self.answer, answers),
            "answer_in_passages": self.answer_in_passages,
        }


def predict(pipeline: Pipeline, questions: Iterable[Question]) -> Iterator[Prediction]:
    """Yield a prediction for each question; an empty answer where the reader gives none."""
    for question in questions:
        reply = pipeline.ask(question.text)
        best = reply.answer
        found = any(has_answer(hit.passage.text, question.answers) for hit in reply.hits)
        passage_id = best.passage.id if best and best.passage else ""
        yield Prediction(question, best.text if best else "", best.confidence if best else 0.0, passage_id, found)


def summarize(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Return ``n``, ``em``, ``f1``, ``em_robust``, and ``answer_recall``: the share whose passages say an answer."""
    metrics = answer_metrics([p.answer for p in predictions], [p.question for p in predictions])
    found = sum(p.answer_in_passages for p in predictions)
    return metrics | {"answer_recall": found / len(predictions) if predictions else 0.0}
