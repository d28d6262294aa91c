"""Indexes in the user's cache: made once, however many ask for them at the same moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Semaphore
from typing import Any

import pytest

from kofid import corpora
from kofid.corpora import corpus_index, demo_index
from kofid.errors import ResourceError
from kofid.retrieval.index import Index
from kofid.storage.locks import locked


class Building:
    """Counts builds, each of which ends when two others wait for it."""

    def __init__(self) -> None:
        self.n_builds, self.messages, self._waiting = 0, list[str](), Semaphore(0)

    def progress(self, items: Iterable[Any], _what: str, _total: int | None = None) -> Iterable[Any]:
        self.n_builds += 1
        for _ in range(2):
            assert self._waiting.acquire(timeout=60)
        return items

    def on_wait(self, message: str) -> None:
        self.messages.append(message)
        self._waiting.release()


def at_once(opened: Callable[[], Index]) -> list[Index]:
    """Return what three threads open at the same moment."""
    with ThreadPoolExecutor(3) as pool:
        return list(pool.map(lambda _: opened(), range(3)))


def test_of_three_that_ask_a_folder_first_one_builds_and_two_wait(tmp_path: Path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "등대.txt").write_text("울릉도 등대는 1954년에 불을 밝혔다.", encoding="utf-8")
    building = Building()
    indexes = at_once(
        lambda: corpus_index(
            [str(tmp_path / "notes")],
            cache=tmp_path / "cache",
            progress=building.progress,
            on_wait=building.on_wait,
        )
    )
    assert building.n_builds == 1 and len(building.messages) == 2
    path = str(indexes[0].artifact.directory.parent)
    assert all(path in message for message in building.messages)
    assert [index.search("등대", 1)[0].passage.text for index in indexes] == ["울릉도 등대는 1954년에 불을 밝혔다."] * 3
    assert {index.artifact.directory.name for index in indexes} == {"gen-1"}


def test_of_three_that_open_the_demo_first_one_builds_and_two_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    corpus = tmp_path / "demo.jsonl"
    corpus.write_text('{"id": "1", "title": "", "text": "울릉도 등대는 1954년에 불을 밝혔다."}\n', encoding="utf-8")
    building, really_build = Building(), corpora.build_index
    monkeypatch.setattr(corpora, "resource", lambda name: corpus)
    monkeypatch.setattr(
        corpora, "build_index", lambda *args, **options: really_build(*args, **options, progress=building.progress)
    )
    indexes = at_once(lambda: demo_index(tmp_path / "cache", on_wait=building.on_wait))
    assert building.n_builds == 1 and len(building.messages) == 2
    assert {len(index) for index in indexes} == {1}


def test_a_lock_is_refused_at_once_where_nobody_waits(tmp_path: Path, english: None):
    with (
        locked(tmp_path / "lock", Path("kb")),
        pytest.raises(ResourceError, match="kb: another kofid is writing here"),
        locked(tmp_path / "lock", Path("kb")),
    ):
        pytest.fail("the block must not run")
    with locked(tmp_path / "lock", Path("kb"), on_wait=pytest.fail):
        pass
