"""Questions with rankings, and a small index whose ids hold spaces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from kofid.types import Example, Hit, Passage, Question
from support.command_line import kofid, write_jsonl


def example(
    ids: Sequence[str],
    gold: Sequence[str] = (),
    answers: Sequence[str] = (),
    texts: Sequence[str] = (),
    name: str = "q",
) -> Example:
    """Return a question with hits of these ids, scores falling."""
    texts = texts or [""] * len(ids)
    hits = [Hit(Passage(i, "", text), -float(rank)) for rank, (i, text) in enumerate(zip(ids, texts, strict=True))]
    return Example(Question("질문", name, tuple(answers), tuple(gold)), tuple(hits))


def index_with_articles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of four passages, two of them of one article, with ids that hold spaces."""
    path = tmp_path_factory.mktemp("articles")
    entries = [
        {"id": "충무공 이순신#0", "title": "이순신", "text": "이순신은 거북선을 이끌고 싸웠다."},
        {"id": "충무공 이순신#1", "title": "이순신", "text": "거북선은 판옥선을 고쳐 만들었다."},
        {"id": "세종", "title": "세종", "text": "세종은 훈민정음을 만들었다."},
        {"id": "한강", "title": "한강", "text": "한강은 서울을 지나 서해로 흐른다."},
    ]
    assert kofid("index", write_jsonl(path / "passages.jsonl", entries), "-o", path / "kb").code == 0
    asked = [
        {"id": "1", "question": "거북선은 누가?", "answers": ["이순신"], "positive_ids": ["충무공 이순신"]},
        {"id": "2", "question": "훈민정음은 누가?", "answers": ["세종"], "positive_ids": ["세종"]},
    ]
    write_jsonl(path / "questions.jsonl", asked)
    return path
