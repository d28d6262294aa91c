"""Evaluation of a whole pipeline: answers against known answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kofid.devices import peak_memory
from kofid.evaluation.metrics import HIT_CUTOFFS, answer_metrics, answer_rank, rouge_l
from kofid.korean.answers import character_f1, exact_match, robust_match
from kofid.korean.questions import TYPE_CODES, question_type
from kofid.pipeline import Pipeline
from kofid.reader.confidence import SURE
from kofid.types import Question

QUESTION_TYPES = (*TYPE_CODES, "other")


@dataclass(frozen=True)
class Prediction:
    """One question's predicted answer, its confidence and passage, and how far down the passages say a right answer.

    ``answer_rank``: rank, from 1, of the first passage that says one; None where none does.
    """

    question: Question
    answer: str
    confidence: float
    passage_id: str
    title: str
    answer_rank: int | None
    reading_seconds: float = 0.0

    @property
    def correct(self) -> bool:
        """Whether the answer is right, particles, brackets and spaces aside."""
        return robust_match(self.answer, self.question.answers)

    @property
    def type(self) -> str:
        """What the question asks for, one of QUESTION_TYPES."""
        return question_type(self.question.text)

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
            "em_robust": self.correct,
            "answer_in_passages": self.answer_rank is not None,
            "answer_rank": self.answer_rank,
            "rouge_l": round(rouge_l(self.answer, answers), 4),
            "title": self.title,
            "type": self.type,
        }


def predict(pipeline: Pipeline, questions: Iterable[Question]) -> Iterator[Prediction]:
    """Yield a prediction for each question; an empty answer where the reader gives none."""
    for question in questions:
        reply = pipeline.ask(question.text)
        rank = answer_rank((hit.passage.text for hit in reply.hits), question.answers)
        best = reply.answer
        if best is None:
            yield Prediction(question, "", 0.0, "", "", rank, reply.reading_seconds)
        else:
            passage_id, title = (best.passage.id, best.passage.title) if best.passage else ("", "")
            seconds = reply.reading_seconds
            yield Prediction(question, best.text, best.confidence, passage_id, title, rank, seconds)


def summarize(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Return ``n``, ``em``, ``f1``, ``em_robust``, ``answer_recall`` (the share whose passages say an answer), ``rouge_l``."""
    metrics = answer_metrics([p.answer for p in predictions], [p.question for p in predictions])
    rouge = sum(rouge_l(p.answer, p.question.answers) for p in predictions)
    n = len(predictions) or 1
    return metrics | {"answer_recall": _recall(predictions), "rouge_l": rouge / n}


def cost(predictions: Sequence[Prediction], reader: object) -> dict[str, float]:
    """Return ``seconds`` of reading a question, the process's ``peak_mb`` (2^20 bytes), and a model's ``parameters``."""
    n = len(predictions) or 1
    found: dict[str, float] = {"seconds": sum(p.reading_seconds for p in predictions) / n, "peak_mb": peak_memory()}
    model = getattr(reader, "model", None)
    if model is not None:
        found["parameters"] = sum(weight.numel() for weight in model.parameters())
    return found


def summarize_by_type(predictions: Sequence[Prediction]) -> dict[str, dict[str, float]]:
    """Return what ``summarize`` does for each type of question there is, in the order of QUESTION_TYPES."""
    groups: dict[str, list[Prediction]] = {name: [] for name in QUESTION_TYPES}
    for prediction in predictions:
        groups[prediction.type].append(prediction)
    return {name: summarize(group) for name, group in groups.items() if group}


def recall_at(predictions: Sequence[Prediction], k: int) -> dict[str, float]:
    """Return ``answer_recall@1``, ``@5``, ``@10`` ... to ``k``: the share whose first so many passages say an answer."""
    cutoffs = [*(cutoff for cutoff in HIT_CUTOFFS if cutoff < k), k]
    return {f"answer_recall@{cutoff}": _recall(predictions, cutoff) for cutoff in cutoffs}


def risk_coverage(predictions: Sequence[Prediction]) -> list[tuple[float, float, float]]:
    """Return (coverage, accuracy, confidence) of answering only the surest questions, from one question to all.

    Accuracy is the share of right answers (robustly matched) among those answered (El-Yaniv and Wiener 2010, section 2).
    Answers that are equally sure are given together.
    """
    ordered = sorted(predictions, key=lambda p: -p.confidence)
    curve, right = [], 0
    for n, prediction in enumerate(ordered, 1):
        right += prediction.correct
        if n == len(ordered) or ordered[n].confidence < prediction.confidence:
            curve.append((n / len(ordered), right / n, prediction.confidence))
    return curve


def sureness(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Return the share of answers given as ``sure``, how many of them are right, and ``coverage@75``.

    The last is the largest share of questions that can be answered by confidence with 75 % of the answers right.
    """
    sure = [p for p in predictions if p.confidence >= SURE]
    found: dict[str, float] = {"sure": len(sure) / (len(predictions) or 1)}
    if sure:
        found["sure_right"] = sum(p.correct for p in sure) / len(sure)
    reached = [coverage for coverage, accuracy, _ in risk_coverage(predictions) if accuracy >= 0.75]
    return found | {"coverage@75": max(reached, default=0.0)}


def _recall(predictions: Sequence[Prediction], k: int | None = None) -> float:
    found = [p for p in predictions if p.answer_rank is not None and (k is None or p.answer_rank <= k)]
    return len(found) / len(predictions) if predictions else 0.0
