"""Answers against known answers: of a whole pipeline, or of a reader alone on passages that a file brings."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kofid.devices import peak_memory
from kofid.errors import UsageError
from kofid.evaluation.metrics import HIT_CUTOFFS, answer_metrics, answer_rank, risk_coverage, rouge_l
from kofid.formats.json_shapes import evaluation_to_json
from kofid.korean.answer_match import robust_match
from kofid.korean.korquad import character_f1, exact_match
from kofid.korean.questions import TYPE_CODES, question_type
from kofid.language import say
from kofid.pipeline import Pipeline
from kofid.reader.confidence import SURE
from kofid.types import Answer, Example, Hit, Progress, Question, Reader, silent

QUESTION_TYPES = (*TYPE_CODES, "other")
_TARGET_ACCURACY = 0.75


@dataclass(frozen=True)
class Prediction:
    """One question's predicted answer, and how far down the passages say a right one.

    ``best`` is the reader's best answer, None where it gives none. ``answer_rank`` is the rank, from 1, of the first
    passage that says a known answer; None where none does. ``ranking`` has the passages' (id, score), best first.
    ``corrected`` is the question as it was read, where it was spelled wrongly.
    """

    question: Question
    best: Answer | None = None
    answer_rank: int | None = None
    ranking: tuple[tuple[str, float], ...] = ()
    corrected: str | None = None
    reading_seconds: float = 0.0

    @classmethod
    def of(
        cls, question: Question, answers: Sequence[Answer], hits: Sequence[Hit], corrected: str | None, seconds: float
    ) -> Prediction:
        """Return the prediction of a reader's ``answers`` from ``hits``, both best first."""
        return cls(
            question,
            answers[0] if answers else None,
            answer_rank((hit.passage.text for hit in hits), question.answers),
            tuple((hit.passage.id, hit.score) for hit in hits),
            corrected,
            seconds,
        )

    @property
    def answer(self) -> str:
        """The predicted answer, empty where there is none."""
        return self.best.text if self.best else ""

    @property
    def confidence(self) -> float:
        """How sure the reader is, in [0, 1]."""
        return self.best.confidence if self.best else 0.0

    @property
    def sure(self) -> bool:
        """Whether the confidence reaches the threshold."""
        return self.best is not None and self.confidence >= SURE

    @property
    def title(self) -> str:
        """The title of the passage that the answer stands in."""
        return self.best.passage.title if self.best and self.best.passage else ""

    @property
    def em(self) -> bool:
        """KorQuAD's official exact match."""
        return exact_match(self.answer, self.question.answers)

    @property
    def f1(self) -> float:
        """KorQuAD's official character F1."""
        return character_f1(self.answer, self.question.answers)

    @property
    def em_robust(self) -> bool:
        """Whether the answer is right, particles, brackets and spaces aside."""
        return robust_match(self.answer, self.question.answers)

    @property
    def rouge_l(self) -> float:
        """ROUGE-L over characters, for long answers."""
        return rouge_l(self.answer, self.question.answers)

    @property
    def type(self) -> str:
        """What the question asks for, one of QUESTION_TYPES."""
        return question_type(self.question.text)

    def to_json(self) -> dict[str, Any]:
        """Return the prediction with its own scores, for reading the wrong ones."""
        measures = {
            "em": self.em,
            "f1": round(self.f1, 4),
            "em_robust": self.em_robust,
            "answer_rank": self.answer_rank,
            "rouge_l": round(self.rouge_l, 4),
            "type": self.type,
        }
        return evaluation_to_json(
            self.question, self.best, self.ranking, sure=self.sure, corrected=self.corrected, measures=measures
        )


@dataclass(frozen=True)
class Evaluation:
    """Predictions, and what they are worth together.

    ``parameters`` counts a model's weights, None for a reader without any; ``peak_mb`` is the process's peak memory in
    2^20 bytes.
    """

    predictions: tuple[Prediction, ...]
    parameters: int | None = None
    peak_mb: int = 0

    def summary(self) -> dict[str, float]:
        """Return ``n``, ``em``, ``f1``, ``em_robust``, ``answer_recall`` (the share whose passages say an answer), ``rouge_l``."""
        metrics = answer_metrics([p.answer for p in self.predictions], [p.question for p in self.predictions])
        rouge = sum(p.rouge_l for p in self.predictions)
        return metrics | {"answer_recall": self._recall(), "rouge_l": rouge / self._n}

    def by_type(self) -> dict[str, dict[str, float]]:
        """Return the summary of each type of question there is, in the order of QUESTION_TYPES."""
        groups: dict[str, list[Prediction]] = {name: [] for name in QUESTION_TYPES}
        for prediction in self.predictions:
            groups[prediction.type].append(prediction)
        return {name: replace(self, predictions=tuple(group)).summary() for name, group in groups.items() if group}

    def recall(self, k: int) -> dict[str, float]:
        """Return ``answer_recall@1``, ``@5``, ``@10`` ... to ``k``: the share whose first so many passages say an answer."""
        cutoffs = [*(cutoff for cutoff in HIT_CUTOFFS if cutoff < k), k]
        return {f"answer_recall@{cutoff}": self._recall(cutoff) for cutoff in cutoffs}

    def risk_coverage(self) -> list[tuple[float, float, float]]:
        """Return (coverage, accuracy, confidence) of answering only the surest questions, from one question to all.

        Right are answers that match robustly.
        """
        return risk_coverage([p.confidence for p in self.predictions], [p.em_robust for p in self.predictions])

    def sureness(self) -> dict[str, float]:
        """Return the share of answers given as ``sure``, how many of them are right, and ``coverage@75``.

        The last is the largest share of questions that can be answered by confidence with 75 % of the answers right.
        """
        sure = [p for p in self.predictions if p.sure]
        shares = {"sure": len(sure) / self._n}
        if sure:
            shares["sure_right"] = sum(p.em_robust for p in sure) / len(sure)
        reached = [coverage for coverage, accuracy, _ in self.risk_coverage() if accuracy >= _TARGET_ACCURACY]
        return shares | {"coverage@75": max(reached, default=0.0)}

    def cost(self) -> dict[str, float]:
        """Return ``seconds`` of reading a question, ``peak_mb``, and a model's ``parameters``."""
        seconds = sum(p.reading_seconds for p in self.predictions) / self._n
        weights = {} if self.parameters is None else {"parameters": self.parameters}
        return {"seconds": seconds, "peak_mb": self.peak_mb, **weights}

    @property
    def _n(self) -> int:
        return len(self.predictions) or 1

    def _recall(self, k: int | None = None) -> float:
        ranks = [p.answer_rank for p in self.predictions if p.answer_rank is not None]
        return sum(k is None or rank <= k for rank in ranks) / self._n


def evaluate(pipeline: Pipeline, questions: Iterable[Question], *, progress: Progress = silent) -> Evaluation:
    """Ask a pipeline the questions that have known answers, and return what its answers are worth.

    Raises UsageError where no question has answers.

    >>> from kofid.pipeline import open_demo
    >>> evaluate(open_demo(), [Question("임진왜란은 언제 일어났나?", answers=("1592년 4월 13일",))]).summary()["em"]
    1.0
    """
    known = _with_answers(list(questions))
    replies = progress(known, say("답하는 중", "answering"), len(known))
    return _evaluation(_ask(pipeline, replies), pipeline.reader)


def _ask(pipeline: Pipeline, questions: Iterable[Question]) -> Iterator[Prediction]:
    for question in questions:
        reply = pipeline.ask(question.text)
        yield Prediction.of(question, reply.answers, reply.hits, reply.corrected, reply.reading_seconds)


def evaluate_examples(
    reader: Reader, examples: Iterable[Example], *, k: int | None = None, progress: Progress = silent
) -> Evaluation:
    """Let a reader answer from the first ``k`` passages that come with each question, and return what that is worth.

    Questions and passages are read as they stand, as in training. Raises UsageError where no question has answers.

    >>> from kofid.pipeline import NoReader
    >>> example = Example(Question("누가 썼나?", answers=("이광수",)))
    >>> evaluate_examples(NoReader(), [example]).summary()["em"]
    0.0
    """
    known = [example for example in examples if example.question.answers]
    _with_answers([example.question for example in known])
    read = progress(known, say("답하는 중", "answering"), len(known))
    return _evaluation((_read(reader, example, k) for example in read), reader)


def _read(reader: Reader, example: Example, k: int | None) -> Prediction:
    hits = example.hits[:k]
    start = time.perf_counter()
    answers = reader.read(example.question.text, hits)
    return Prediction.of(example.question, answers, hits, None, time.perf_counter() - start)


def _with_answers(questions: Sequence[Question]) -> list[Question]:
    known = [question for question in questions if question.answers]
    if not known:
        raise UsageError(say("답(answers)이 있는 질문이 하나도 없습니다", "no question has answers"))
    return known


def _evaluation(predictions: Iterable[Prediction], reader: object) -> Evaluation:
    """Gather predictions, then what the reader took."""
    gathered = tuple(predictions)
    model = getattr(reader, "model", None)
    parameters = None if model is None else sum(weight.numel() for weight in model.parameters())
    return Evaluation(gathered, parameters, peak_memory())
