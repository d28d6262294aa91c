"""Public BM25 packages over an index's terms."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.indexes import build_and_open, ids
from support.slow_index import SlowIndex

from kofid.retrieval.build import update_index
from kofid.retrieval.engines import PackageSearch
from kofid.retrieval.index import Index
from kofid.storage.bundled import resource
from kofid.types import Passage


@pytest.mark.parametrize(("engine", "ranker"), [("bm25s", "lucene"), ("rank-bm25", "okapi")])
def test_peers_score_title_and_text_as_one(tmp_path: Path, engine: str, ranker: str):
    passages = [
        Passage("1", "가", "나 다"),
        Passage("2", "라", "나 나 마"),
        Passage("3", "바", "사"),
        Passage("4", "아", "자 나 차"),
        Passage("5", "카", "타"),
        Passage("6", "", "가 파 하"),
    ]
    index = build_and_open(tmp_path / "kb", passages)
    peer = PackageSearch(index, engine, 1.2, 0.75)
    whole = [Passage(p.id, "", f"{p.title} {p.text}") for p in passages]
    slow = SlowIndex(whole, lambda text: [text.split()], ranker=ranker, k1=1.2, b=0.75)
    for question in ("가", "가 하", "바 unknown", "타"):
        expected = slow.scores([(word, 0, 1.0) for word in question.split()])
        hits = peer.search(question, 10)
        assert {hit.passage.id: hit.score for hit in hits} == {
            p.id: pytest.approx(score, rel=1e-5) for p, score in zip(passages, expected, strict=True) if score
        }
        assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)
        assert {h.source for h in hits} == {engine}
    assert ids(peer.search("가", 1)) == ["1"]


@pytest.mark.parametrize("engine", ["bm25s", "rank-bm25"])
def test_peers_find_the_demo_s_passages(demo_index: Index, engine: str):
    entries = [json.loads(line) for line in resource("demo/questions.jsonl").read_text(encoding="utf-8").splitlines()]
    peer = PackageSearch(demo_index, engine)
    hits = [bool(set(e["positive_ids"]) & set(ids(peer.search(e["question"], 5)))) for e in entries[::20]]
    assert sum(hits) >= 0.95 * len(hits)


@pytest.mark.parametrize("engine", ["bm25s", "rank-bm25"])
@pytest.mark.parametrize("question", ["", "?!", "쀍뛟", "zzzz"])
def test_peers_find_nothing_where_there_is_nothing(small_index: Path, engine: str, question: str):
    assert PackageSearch(Index.open(small_index), engine).search(question, 5) == []


@pytest.mark.parametrize("engine", ["bm25s", "rank-bm25"])
def test_peers_pass_over_deleted_passages(tmp_path: Path, small_index: Path, engine: str):
    path = tmp_path / "kb"
    shutil.copytree(small_index, path)
    update_index(path, delete=["이순신#0"])
    hits = PackageSearch(Index.open(path), engine).search("거북선을 이끈 이순신의 기록", 5)
    assert ids(hits)[0] == "이순신#1" and "이순신#0" not in ids(hits)
