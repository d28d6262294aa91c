"""Corpora made on the spot, and the demo index, built once a run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.files import WriteLines

from kofid import language
from kofid.formats import read_corpus
from kofid.retrieval.build import build_index
from kofid.retrieval.index import Index
from kofid.storage.bundled import resource
from kofid.types import Passage


@pytest.fixture
def write_lines(tmp_path: Path) -> WriteLines:
    """Write entries as JSON lines under tmp_path; a str is written as it is, so that a line can be broken."""

    def write(name: str, entries: Iterable[Any]) -> Path:
        path = tmp_path / name
        texts = (entry if isinstance(entry, str) else json.dumps(entry, ensure_ascii=False) for entry in entries)
        path.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
        return path

    return write


@pytest.fixture
def english() -> Iterator[None]:
    """Let messages be English for one test."""
    before = language.language()
    language.set_language("en")
    yield
    language.set_language(before)


@pytest.fixture(scope="session")
def small_passages() -> list[Passage]:
    return [
        Passage("이순신#0", "이순신", "이순신은 조선의 장군이다. 1592년에 거북선을 이끌고 싸웠다."),
        Passage("이순신#1", "이순신", "그가 쓴 『난중일기』는 전쟁 중의 기록이다."),
        Passage("세종#0", "세종", "세종은 훈민정음을 만들었다."),
        Passage("퀴리", "마리 퀴리", "퀴리는 새 원소를 폴로늄이라고 이름 지었다."),
    ]


@pytest.fixture(scope="session")
def small_index(tmp_path_factory: pytest.TempPathFactory, small_passages: list[Passage]) -> Path:
    """Directory of the index of ``small_passages``; copy it before damaging it."""
    path = tmp_path_factory.mktemp("small") / "kb"
    build_index(path, small_passages)
    return path


@pytest.fixture(scope="session")
def demo_index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    path = tmp_path_factory.mktemp("demo") / "kb"
    build_index(path, read_corpus([str(resource("demo/passages.jsonl"))]))
    return Index.open(path)


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an untrained encoder; copy it before changing it."""
    from support.tiny_encoder import write_encoder

    return write_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def tiny_joint(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Path:
    """Folder of an untrained joint reader; copy it before damaging it."""
    from support.tiny_encoder import write_joint

    return write_joint(tmp_path_factory.mktemp("joint") / "reader", tiny_encoder)
