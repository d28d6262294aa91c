"""The one JSON vocabulary: a question, a hit and an answer have the same keys in every command and every saved file.

A row is the FiD/DPR entry (``id, question, answers, ctxs``) and what a command adds to it. ``answers`` are the known (gold)
ones; ``answer`` is a reader's and stands beside its ``confidence``. ``renewed`` reads rows that older versions wrote.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kofid.types import Answer, Example, Hit, Question

Json = dict[str, Any]


def question_to_json(question: Question, corrected: str | None = None, target: str | None = None) -> Json:
    """Return ``id``, ``question``, ``corrected`` and ``target`` (only where there are), known ``answers``, ``positive_ids`` if any.

    >>> question_to_json(Question("누가 썼나?", "1", ("이광수",)), "누가 썼나")
    {'id': '1', 'question': '누가 썼나?', 'corrected': '누가 썼나', 'answers': ['이광수']}
    """
    return {
        "id": question.id,
        "question": question.text,
        **({} if corrected is None else {"corrected": corrected}),
        **({} if target is None else {"target": target}),
        "answers": list(question.answers),
        **({"positive_ids": list(question.positive_ids)} if question.positive_ids else {}),
    }


def hit_to_json(hit: Hit) -> Json:
    """Return ``id``, ``title``, ``text`` and ``score`` of a hit: one entry of ``ctxs``.

    >>> from kofid.types import Passage
    >>> hit_to_json(Hit(Passage("무정#0", "무정", "이광수가 썼다."), 1.5))
    {'id': '무정#0', 'title': '무정', 'text': '이광수가 썼다.', 'score': 1.5}
    """
    passage = hit.passage
    return {"id": passage.id, "title": passage.title, "text": passage.text, "score": round(hit.score, 6)}


def ranking_to_json(ranking: Iterable[tuple[str, float]]) -> list[Json]:
    """Return the ``ctxs`` of rows that keep no texts, of (passage id, score) best first.

    >>> ranking_to_json([("무정#0", 1.5)])
    [{'id': '무정#0', 'score': 1.5}]
    """
    return [{"id": passage_id, "score": round(score, 6)} for passage_id, score in ranking]


def answer_to_json(answer: Answer | None) -> Json:
    """Return ``answer``, ``confidence`` (0-1), ``passage_id``, ``start`` and ``end``: one entry of ``nbest``.

    ``start`` and ``end`` are character offsets in the passage's text; null where the answer is not a span of it. No answer
    is an empty one of confidence 0.

    >>> answer_to_json(Answer("이광수", 0.91236, None))
    {'answer': '이광수', 'confidence': 0.9124, 'passage_id': None, 'start': None, 'end': None}
    """
    best = answer or Answer("", 0.0)
    return {
        "answer": best.text,
        "confidence": round(best.confidence, 4),
        "passage_id": best.passage.id if best.passage else None,
        "start": best.start,
        "end": best.end,
    }


def example_to_json(example: Example) -> Json:
    """Return a question with its hits: one entry of the FiD/DPR JSON.

    >>> example_to_json(Example(Question("누가 썼나?", "1", ("이광수",)), target="이광수"))
    {'id': '1', 'question': '누가 썼나?', 'target': '이광수', 'answers': ['이광수'], 'ctxs': []}
    """
    row = question_to_json(example.question, example.corrected, example.target)
    return row | {"ctxs": [hit_to_json(hit) for hit in example.hits]}


def reply_to_json(
    question: Question,
    answers: Sequence[Answer],
    hits: Iterable[Hit],
    *,
    sure: bool,
    corrected: str | None = None,
    n_best: int = 1,
) -> Json:
    """Return a question with the best of its ``answers``, and its evidence ``hits`` as ``ctxs``, both best first.

    ``nbest`` is there where more than one answer is asked for.

    >>> row = reply_to_json(Question("누가 썼나?", "1"), [Answer("이광수", 0.9)], [], sure=True)
    >>> list(row)
    ['id', 'question', 'answers', 'answer', 'confidence', 'passage_id', 'start', 'end', 'sure', 'ctxs']
    """
    return {
        **question_to_json(question, corrected),
        **answer_to_json(answers[0] if answers else None),
        "sure": sure,
        **({"nbest": [answer_to_json(answer) for answer in answers[:n_best]]} if n_best > 1 else {}),
        "ctxs": [hit_to_json(hit) for hit in hits],
    }


def evaluation_to_json(
    question: Question,
    answer: Answer | None,
    ranking: Iterable[tuple[str, float]],
    *,
    sure: bool,
    corrected: str | None = None,
    measures: Mapping[str, Any],
) -> Json:
    """Return a question with its predicted answer, what that is worth (``em``, ``f1`` ...), and its passages without texts.

    >>> row = evaluation_to_json(Question("누가 썼나?", "1", ("이광수",)), None, [], sure=False, measures={"em": False})
    >>> row["answer"], row["em"], row["ctxs"]
    ('', False, [])
    """
    row = question_to_json(question, corrected) | answer_to_json(answer) | {"sure": sure}
    return row | {**measures, "ctxs": ranking_to_json(ranking)}


def measures_to_json(
    question: Question,
    ranking: Iterable[tuple[str, float]],
    *,
    gold_rank: int | None,
    answer_rank: int | None,
    measures: Mapping[str, float],
) -> Json:
    """Return a question with what its ranking is worth: one row of a per-question file.

    >>> measures_to_json(Question("누가?", "1"), [("무정#0", 1.5)], gold_rank=1, answer_rank=None, measures={"mrr": 1.0})
    ... # doctest: +NORMALIZE_WHITESPACE
    {'id': '1', 'question': '누가?', 'answers': [], 'gold_rank': 1, 'answer_rank': None, 'measures': {'mrr': 1.0},
     'ctxs': [{'id': '무정#0', 'score': 1.5}]}
    """
    ranks = {"gold_rank": gold_rank, "answer_rank": answer_rank, "measures": dict(measures)}
    return question_to_json(question) | ranks | {"ctxs": ranking_to_json(ranking)}


def renewed(row: Mapping[str, Any]) -> Json:
    """Return a row of a saved file under today's keys.

    Older versions wrote ``evidence`` or ``hits`` for ``ctxs``, ``prediction`` for ``answer``, a reader's ``score`` for
    ``confidence``, and a reader's answers as ``answers``.

    >>> renewed({"question": "누가?", "answer": "이광수", "score": 0.9, "sure": True, "evidence": []})
    {'question': '누가?', 'answer': '이광수', 'confidence': 0.9, 'sure': True, 'ctxs': []}
    >>> renewed({"question": "누가?", "answers": ["이광수"], "prediction": "김동인", "confidence": 0.4})
    {'question': '누가?', 'answers': ['이광수'], 'answer': '김동인', 'confidence': 0.4}
    """
    names = {} if "ctxs" in row else {"evidence": "ctxs", "hits": "ctxs"}
    if "answer" not in row:
        names["prediction"] = "answer"
    if "confidence" not in row and "sure" in row:
        names["score"] = "confidence"
    answers = row.get("answers")
    if "nbest" not in row and isinstance(answers, list) and answers and all(map(_is_candidate, answers)):
        names["answers"] = "nbest"
        row = {**row, "answers": [_renewed_candidate(candidate) for candidate in answers]}
    return {names.get(name, name): value for name, value in row.items()}


def _is_candidate(value: Any) -> bool:
    return isinstance(value, dict) and "answer" in value


def _renewed_candidate(candidate: Mapping[str, Any]) -> Json:
    names = {"score": "confidence", "passage": "passage_id"}
    return {names.get(name, name): value for name, value in candidate.items()}


def has_known_answer(row: Mapping[str, Any]) -> bool:
    """Tell whether a renewed row's ``answer`` is a known one: a reader's stands beside its ``confidence``.

    >>> has_known_answer({"answer": "이광수"}), has_known_answer({"answer": "이광수", "confidence": 0.9})
    (True, False)
    """
    return "answer" in row and "confidence" not in row
