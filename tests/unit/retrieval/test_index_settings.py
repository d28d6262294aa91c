"""What an index says about itself: what cannot be true is named, what another kofid wrote is refused."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from support.indexes import score_all

from kofid.errors import CorruptArtifactError, IncompatibleArtifactError
from kofid.retrieval.index import Index
from kofid.retrieval.index_settings import IndexSettings, VectorSettings
from kofid.retrieval.sparse.analyzer import Analyzer
from kofid.retrieval.sparse.bm25 import Ranker
from kofid.retrieval.sparse.ranking import Ranking

HERE = Path("kb")
ENTRY: dict[str, Any] = {
    "analyzer": Analyzer().settings.to_json(),
    "ranking": Ranking().settings() | {"weights": [1.0, 0.5]},
    "n_passages": 4,
    "n_segments": 1,
    "dense": VectorSettings("default", "f" * 64, 400, "IVF64,Flat", 4, 0.95).to_json(),
    "files": {"a.txt": [1, 2]},
}


def test_settings_come_back():
    settings = IndexSettings.from_json(json.loads(json.dumps(ENTRY)), HERE)
    assert settings.to_json() == ENTRY
    assert settings.weights == (1.0, 0.5) and settings.ranking == Ranking() and settings.analyzer == Analyzer().settings
    assert settings.dense is not None and settings.dense.recall_at_20 == 0.95
    assert settings.notes == {"files": {"a.txt": [1, 2]}}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("analyzer", []),
        ("analyzer.components", []),
        ("analyzer.components", ["kiwi", 1]),
        ("analyzer.components", "kiwi"),
        ("analyzer.tags", None),
        ("analyzer.context", 1),
        ("analyzer.kiwi", 3),
        ("ranking", None),
        ("ranking.weights", [1.0]),
        ("ranking.weights", [1.0, "x"]),
        ("ranking.weights", [1.0, float("nan")]),
        ("ranking.ranker", "bm26"),
        ("ranking.ranker", []),
        ("ranking.k1", "0.8"),
        ("ranking.k1", -1),
        ("ranking.title_weight", float("inf")),
        ("ranking.delta", "x"),
        ("n_passages", 0),
        ("n_passages", 1.5),
        ("n_segments", True),
        ("dense", []),
        ("dense.encoder", None),
        ("dense.n_vectors", -1),
        ("dense.dimension", "400"),
        ("dense.recall@20", "x"),
    ],
)
def test_what_kofid_does_not_write_is_damage(path: str, value: object):
    entry = copy.deepcopy(ENTRY)
    *sections, name = path.split(".")
    (entry[sections[0]] if sections else entry)[name] = value
    with pytest.raises(CorruptArtifactError, match="kb"):
        IndexSettings.from_json(entry, HERE)


@pytest.mark.parametrize(
    "missing", ["analyzer", "n_passages", "n_segments", "analyzer.tags", "ranking.weights", "dense.faiss"]
)
def test_what_is_missing_is_damage(missing: str):
    entry = copy.deepcopy(ENTRY)
    *sections, name = missing.split(".")
    del (entry[sections[0]] if sections else entry)[name]
    with pytest.raises(CorruptArtifactError, match=name):
        IndexSettings.from_json(entry, HERE)


def test_an_index_of_another_kofid_is_refused():
    entry = copy.deepcopy(ENTRY)
    entry["analyzer"]["stemming"] = True
    with pytest.raises(IncompatibleArtifactError, match="stemming"):
        IndexSettings.from_json(entry, HERE)
    del entry["ranking"]  # as the first kofid wrote it
    with pytest.raises(IncompatibleArtifactError, match="kb"):
        IndexSettings.from_json(entry, HERE)


def test_a_ranking_is_changed_by_name():
    changed = Ranking().changed(ranker="bm25+", delta=0.5, title_weight=0.0)
    assert changed == Ranking(Ranker("bm25+", delta=0.5), title_weight=0.0)
    assert changed.changed(k1=2.0).ranker == Ranker("bm25+", k1=2.0, delta=0.5)
    with pytest.raises(ValueError, match="nonsense"):
        Ranking().changed(**{"nonsense": 1.0})  # type: ignore[misc]
    with pytest.raises(ValueError, match="bm26"):
        Ranking().changed(ranker="bm26")


def test_an_opened_index_is_not_changed_by_another_ranking(small_index: Path):
    index = Index.open(small_index)
    before = index.search("이순신", 5)
    other = index.ranked(k1=2.0, weights=[1.0, 0.0])
    assert other.search("이순신", 5) != before == index.search("이순신", 5)
    assert (index.weights, other.weights) == ((1.0, 1.0), (1.0, 0.0))


def test_nothing_counts_where_all_weights_are_nothing(small_index: Path):
    index = Index.open(small_index, weights=[0.0, 0.0])
    assert index.search("이순신은 장군", 5) == [] and not score_all(index, "이순신").any()
