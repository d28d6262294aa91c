"""What ships: the demo corpus is sound, and its checker finds faults."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable
from typing import Any

import pytest

from kofid.errors import InputError
from kofid.evaluation.rankings import judge, mean_measures
from kofid.formats import read_corpus, read_questions
from kofid.korean.answer_match import has_answer
from kofid.korean.text import clean
from kofid.retrieval.index import Index
from kofid.storage.bundled import resource
from kofid.types import Example

spec = importlib.util.spec_from_file_location("demo_check", resource("demo/check.py"))
assert spec is not None and spec.loader is not None
check = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check)

Entries = list[dict[str, Any]]
PASSAGES: Entries = check.load("passages.jsonl")
QUESTIONS: Entries = check.load("questions.jsonl")


def test_demo_has_no_problems():
    assert check.problems(PASSAGES, QUESTIONS) == []


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (lambda p, q: p[1].update(id=p[0]["id"]), "passage id"),
        (lambda p, q: p[1].update(title=p[0]["title"]), "title"),
        (lambda p, q: q[1].update(id=q[0]["id"]), "question id"),
        (lambda p, q: q[1].update(question=q[0]["question"]), "question"),
        (lambda p, q: q[0].update(positive_ids=["none"]), "no passage none"),
        (lambda p, q: q[0].update(answers=["없는 답"]), "'없는 답' is not in"),
        (lambda p, q: q[0].update(answers=[]), "no answer"),
        (lambda p, q: q[0].update(positive_ids=[]), "no evidence"),
        (lambda p, q: q[0].update(question=q[0]["answers"][0] + "은 누구인가?"), "asks its own answer"),
        (lambda p, q: q[0].update(type="why"), "type 'why'"),
        (lambda p, q: q.__delitem__(slice(599, None)), "at least 300 and 600"),
    ],
)
def test_checker_finds_planted_faults(fault: Callable[[Entries, Entries], None], problem: str):
    passages, questions = copy.deepcopy(PASSAGES), copy.deepcopy(QUESTIONS)
    fault(passages, questions)
    assert any(problem in line for line in check.problems(passages, questions))


def test_demo_is_read_whole_and_clean():
    passages = list(read_corpus([str(resource("demo/passages.jsonl"))]))
    questions = list(read_questions(str(resource("demo/questions.jsonl"))))
    assert [(p.id, p.title, p.text) for p in passages] == [(p["id"], p["title"], p["text"]) for p in PASSAGES]
    assert [(q.id, q.text, list(q.answers)) for q in questions] == [
        (q["id"], q["question"], q["answers"]) for q in QUESTIONS
    ]
    assert all(clean(p["text"]) == p["text"] for p in PASSAGES)


def test_demo_answers_stand_as_words_in_their_evidence():
    text = {p["id"]: p["text"] for p in PASSAGES}
    missed = [
        (q["id"], answer)
        for q in QUESTIONS
        for answer in q["answers"]
        if not any(has_answer(text[evidence], (answer,)) for evidence in q["positive_ids"])
    ]
    assert len(missed) <= 0.02 * len(QUESTIONS), missed


def test_demo_is_found(demo_index: Index):
    questions = list(read_questions(str(resource("demo/questions.jsonl"))))
    metrics = mean_measures(judge(Example(q, tuple(demo_index.search(q.text, 5))) for q in questions))
    assert metrics["n"] >= 600
    assert metrics["hit@1"] >= 0.95
    assert metrics["hit@5"] >= 0.99


def test_unknown_resource():
    with pytest.raises(InputError, match="no-such-thing"):
        resource("no-such-thing")
