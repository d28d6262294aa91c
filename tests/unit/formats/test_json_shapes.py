"""The one JSON vocabulary, and files of older versions under it."""

from __future__ import annotations

import doctest
import json
from pathlib import Path

from kofid.formats import json_shapes, read_examples, read_questions, write_examples
from kofid.formats.json_shapes import evaluation_to_json, measures_to_json, renewed, reply_to_json
from kofid.types import Answer, Example, Hit, Passage, Question

PASSAGE = Passage("무정#0", "무정", "이광수가 썼다.")
QUESTION = Question("무정은 누가 썼나?", "7", ("이광수",), ("무정",))
ANSWER = Answer("이광수", 0.91236, PASSAGE, 0, 3)
HIT = Hit(PASSAGE, 1.23456789)


def written(path: Path, *rows: object) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_doctests():
    assert doctest.testmod(json_shapes).failed == 0


def test_every_row_begins_with_the_question():
    question = {
        "id": "7",
        "question": QUESTION.text,
        "corrected": "고침",
        "answers": ["이광수"],
        "positive_ids": ["무정"],
    }
    reply = reply_to_json(QUESTION, [ANSWER], [HIT], sure=True, corrected="고침")
    row = evaluation_to_json(QUESTION, ANSWER, [("무정#0", 1.0)], sure=True, corrected="고침", measures={"em": True})
    assert dict(list(reply.items())[:5]) == question
    assert dict(list(row.items())[:5]) == question
    answer = {"answer": "이광수", "confidence": 0.9124, "passage_id": "무정#0", "start": 0, "end": 3, "sure": True}
    assert dict(list(reply.items())[5:11]) == dict(list(row.items())[5:11]) == answer


def test_nbest_only_where_asked_for():
    assert "nbest" not in reply_to_json(QUESTION, [ANSWER, ANSWER], [], sure=True)
    row = reply_to_json(QUESTION, [ANSWER, Answer("김동인", 0.2)], [], sure=True, n_best=3)
    assert [(n["answer"], n["passage_id"]) for n in row["nbest"]] == [("이광수", "무정#0"), ("김동인", None)]


def test_a_reply_reads_as_fid_json_and_its_answer_is_not_taken_for_known(tmp_path: Path):
    unknown = Question("무정은 누가 썼나?", "7")
    row = reply_to_json(unknown, [ANSWER], [HIT], sure=True, corrected="무정은 누가 썼나", n_best=2)
    (example,) = read_examples(written(tmp_path / "replies.jsonl", row))
    assert example == Example(unknown, (Hit(PASSAGE, 1.234568, "file"),), None, "무정은 누가 썼나")


def test_an_answer_without_confidence_is_known(tmp_path: Path):
    (question,) = read_questions(written(tmp_path / "questions.jsonl", {"question": "누가?", "answer": "이광수"}))
    assert question.answers == ("이광수",)


def test_examples_come_back_as_written(tmp_path: Path):
    example = Example(QUESTION, (Hit(PASSAGE, 1.5, "file"),), "이광수", "고침")
    write_examples(tmp_path / "a.jsonl", [example])
    assert list(read_examples(str(tmp_path / "a.jsonl"))) == [example]


def test_replies_of_older_versions(tmp_path: Path):
    evidence = [{"id": "무정#0", "title": "무정", "text": "이광수가 썼다.", "score": 1.5}]
    old = {"question": "무정은 누가 썼나?", "answer": "이광수", "score": 0.9, "sure": True, "evidence": evidence}
    several = old | {"answers": [{"answer": "이광수", "score": 0.9, "passage": "무정#0"}]}
    path = written(tmp_path / "old.jsonl", old, several)
    for example in read_examples(path):
        assert example.question == Question("무정은 누가 썼나?")
        assert example.hits == (Hit(PASSAGE, 1.5, "file"),)
    assert renewed(several)["nbest"] == [{"answer": "이광수", "confidence": 0.9, "passage_id": "무정#0"}]


def test_evaluations_and_measures_of_older_versions():
    row = {"question": "누가?", "answers": ["이광수"], "prediction": "김동인", "confidence": 0.4}
    assert renewed(row) == {"question": "누가?", "answers": ["이광수"], "answer": "김동인", "confidence": 0.4}
    hits = [{"id": "무정#0", "score": 1.5}]
    new = measures_to_json(
        Question("누가?", "1"), [("무정#0", 1.5)], gold_rank=1, answer_rank=None, measures={"mrr": 1.0}
    )
    old = {name: value for name, value in new.items() if name != "ctxs"} | {"hits": hits}
    assert renewed(old) == new == renewed(new)
