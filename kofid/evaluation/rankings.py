"""Rankings judged question by question, and the JSON lines that keep them for comparison."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kofid.errors import InputError, UsageError
from kofid.evaluation.metrics import (
    ANSWER_MEASURES,
    GOLD_MEASURES,
    HIT_CUTOFFS,
    answer_rank,
    gold_units,
    ranking_measures,
)
from kofid.formats.json_shapes import measures_to_json
from kofid.formats.records import Record, read_records, text_field
from kofid.language import say, setting
from kofid.storage.files import write_file
from kofid.types import Example, Progress, Question, Search, silent

ANSWER = "answer_"  # before the name of a measure by answers


@dataclass(frozen=True)
class JudgedRanking:
    """One question's hits and what they are worth.

    ``measures`` holds ``hit@k``, ``mrr``, ... where the question has gold ids, ``answer_hit@k``, ... where it has
    answers. ``gold_rank`` and ``answer_rank`` count from 1; None is not found, or not judged. ``ranking`` has (passage
    id, score), best first.
    """

    question: Question
    gold_rank: int | None
    answer_rank: int | None
    measures: dict[str, float]
    ranking: tuple[tuple[str, float], ...]

    def to_json(self) -> dict[str, Any]:
        """Return one entry of the per-question file."""
        return measures_to_json(
            self.question,
            self.ranking,
            gold_rank=self.gold_rank,
            answer_rank=self.answer_rank,
            measures=self.measures,
        )


def judge(examples: Iterable[Example]) -> list[JudgedRanking]:
    """Return the judged rankings of the examples whose question has gold ids or answers; the others are left out.

    >>> from kofid.types import Hit, Passage
    >>> hits = (Hit(Passage("a", "", ""), 2.0), Hit(Passage("b", "", ""), 1.0))
    >>> [ranking] = judge([Example(Question("누가?", "1", positive_ids=("b",)), hits)])
    >>> ranking.gold_rank, ranking.measures["mrr"]
    (2, 0.5)
    """
    ranked = [_Ranks.of(e) for e in examples if e.question.positive_ids or e.question.answers]
    by_gold = ranking_measures(
        [r.units for r in ranked], [dict.fromkeys(r.question.positive_ids, 1) for r in ranked], GOLD_MEASURES
    )
    by_answer = ranking_measures(
        [[None] * (r.answer_rank - 1) + ["answer"] if r.answer_rank else [] for r in ranked],
        [{"answer": 1} if r.question.answers else {} for r in ranked],
        ANSWER_MEASURES,
    )
    return [
        JudgedRanking(
            r.question,
            next((rank for rank, unit in enumerate(r.units, 1) if unit is not None), None),
            r.answer_rank,
            gold | {ANSWER + name: value for name, value in answer.items()},
            r.ranking,
        )
        for r, gold, answer in zip(ranked, by_gold, by_answer, strict=True)
    ]


def judge_search(
    search: Search, questions: Sequence[Question], *, k: int = max(HIT_CUTOFFS), progress: Progress = silent
) -> list[JudgedRanking]:
    """Return the judged rankings of the ``k`` best passages that a search finds for each question, unchanged as it is asked.

    Raises UsageError where no question has gold ids or answers.
    """
    tracked = progress(questions, say("찾는 중", "searching"), len(questions))
    rankings = judge(Example(question, tuple(search(question.text, k))) for question in tracked)
    if not rankings:
        raise UsageError(
            say(
                "positive_ids나 answers가 있는 질문이 하나도 없어 평가할 수 없습니다",
                "no question has positive_ids or answers, so there is nothing to evaluate",
            )
        )
    return rankings


@dataclass(frozen=True)
class _Ranks:
    """What of an example is needed to judge it: its passages' texts are many, and are let go."""

    question: Question
    units: list[str | None]
    answer_rank: int | None
    ranking: tuple[tuple[str, float], ...]

    @classmethod
    def of(cls, example: Example) -> _Ranks:
        question, ids = example.question, [hit.passage.id for hit in example.hits]
        return cls(
            question,
            gold_units(ids, question.positive_ids),
            answer_rank((hit.passage.text for hit in example.hits), question.answers) if question.answers else None,
            tuple((hit.passage.id, hit.score) for hit in example.hits),
        )


def mean_measures(rankings: Sequence[JudgedRanking]) -> dict[str, float]:
    """Return ``n`` and the means by gold ids, then ``answer_n`` and the means by answers; what was not judged is left out.

    >>> mean_measures([])
    {}
    """
    means: dict[str, float] = {}
    for prefix, names in (("", GOLD_MEASURES), (ANSWER, ANSWER_MEASURES)):
        judged = [r.measures for r in rankings if prefix + names[0] in r.measures]
        if judged:
            means[f"{prefix}n"] = len(judged)
            means |= {prefix + name: math.fsum(m[prefix + name] for m in judged) / len(judged) for name in names}
    return means


def write_rankings(path: Path, rankings: Iterable[JudgedRanking]) -> None:
    """Write the per-question file: one JSON object a question. The file appears whole or not at all."""
    write_file(path, (json.dumps(ranking.to_json(), ensure_ascii=False) + "\n" for ranking in rankings))


def read_measures(source: str) -> dict[str, dict[str, float]]:
    """Return each question's measures of a per-question file, by id (by its text where it has none).

    Raises InputError naming file and line for anything else, and for a question that comes twice.
    """
    measures: dict[str, dict[str, float]] = {}
    for record in read_records(source):
        key = text_field(record, "id", required=False) or text_field(record, "question")
        if key in measures:
            raise InputError(
                say(f"{record.place}: 질문 '{key}'가 두 번 나옵니다", f"{record.place}: question '{key}' comes twice")
            )
        measures[key] = _measures(record)
    if not measures:
        raise InputError(say(f"{source}: 비어 있습니다", f"{source}: empty"))
    return measures


def _measures(record: Record) -> dict[str, float]:
    measures = record.value.get("measures")
    if isinstance(measures, dict) and all(_is_number(value) for value in measures.values()):
        return {name: float(value) for name, value in measures.items()}
    raise InputError(
        say(
            f"{record.place}: 'measures'(이름과 수)가 없습니다. kofid retrieve -i INDEX QUESTIONS 에 "
            f"{setting('eval')} {setting('per_question', 'FILE')} 을(를) 주어 만듭니다",
            f"{record.place}: no 'measures' (names and numbers); kofid retrieve -i INDEX QUESTIONS makes them with "
            f"{setting('eval')} {setting('per_question', 'FILE')}",
        )
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
