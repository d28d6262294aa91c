"""Searches by vectors, and by terms and vectors together; fusion."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.indexes import WORDS, plain, untitled

from kofid.errors import IncompatibleArtifactError
from kofid.retrieval import fusion as fuse
from kofid.retrieval.build import build_index, update_index
from kofid.retrieval.dense.base import NamedEncoder
from kofid.retrieval.hybrid import VectorSearch, open_search
from kofid.retrieval.index import Index
from kofid.retrieval.modes import FusionMethod
from kofid.types import Passage


class FakeEncoder:
    """Counts three letters."""

    dimension = 3

    def _vectors(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([[text.count(letter) for letter in "가나다"] for text in texts], np.float32)

    def encode_questions(self, questions: Sequence[str]) -> np.ndarray:
        return self._vectors(questions)

    def encode_passages(self, passages: Sequence[Passage]) -> np.ndarray:
        return self._vectors([passage.text for passage in passages])


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> VectorSearch:
    path = tmp_path_factory.mktemp("vectors") / "kb"
    encoder: Any = FakeEncoder()
    passages = untitled("가", "가가 나", "다다다 가", "나 나 나나", "라")
    build_index(path, passages, analyzer=WORDS, ranking=plain(), encoder=NamedEncoder(encoder, "fake", "0"))
    index = Index.open(path)
    return VectorSearch(index, encoder, index.open_vectors())


def test_dense_search_by_hand(vectors: VectorSearch):
    # 가나 is (1, 1, 0): inner products 1, 3, 1, 4, 0
    hits = vectors.dense("가나", 2)
    assert [(h.passage.id, h.score, h.source) for h in hits] == [("3", 4.0, "dense"), ("1", 3.0, "dense")]
    assert vectors.dense("  ", 2) == []
    assert vectors.index.artifact.settings["dense"] == {
        "encoder": "fake",
        "fingerprint": "0",
        "dimension": 3,
        "metric": "inner product",
        "faiss": "Flat",
        "n_vectors": 5,
    }


def test_sequential_search_reorders_the_sparse_one(vectors: VectorSearch):
    # 가 and 나 are words of 0, 2 and of 1, 3; the vector of 가 나 is (1, 1, 0): 1, 1 and 3, 4
    hits = vectors.sequential("가 나", 3)
    assert [(h.passage.id, h.score) for h in hits] == [("3", 4.0), ("1", 3.0), ("0", 1.0)]
    best = vectors.index.search("가 나", 1)
    assert vectors.sequential("가 나", 3, depth=1)[0].passage == best[0].passage
    assert vectors.sequential("unknown", 3) == []


def test_cross_search_by_hand(vectors: VectorSearch):
    # 라: no vector says it, one text does: ln(1 + 4.5 / 1.5) / (1 + 1.2 (0.25 + 0.75 · 1 / 2)); lengths 1, 2, 2, 3, 1: 1.8
    length = 0.25 + 0.75 * 1 / 1.8
    raw = fuse.Fusion("raw")
    hits = vectors.cross("라", 1, raw)
    assert (hits[0].passage.id, hits[0].source) == ("4", "cross")
    assert hits[0].score == pytest.approx(log(4) / (1 + 1.2 * length), rel=1e-5)
    # With vectors alone it is the dense search.
    alone = fuse.Fusion("raw", sparse_weight=0.0)
    hits = vectors.cross("가 나", 2, alone)
    assert [(h.passage.id, h.score) for h in hits] == [("3", pytest.approx(4.4)), ("1", pytest.approx(3.3))]
    # Each over its highest: 1 and, of 3 dense and no sparse, 0.2 · 3 / 3.
    hits = vectors.cross("라 다", 9)
    assert [(h.passage.id, h.score) for h in hits[:2]] == [("4", pytest.approx(1.0)), ("2", pytest.approx(0.2))]
    assert vectors.cross(" ", 2) == []
    assert vectors.cross("unknown", 2) == []


@pytest.mark.parametrize("method", list(FusionMethod))
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_candidates_of_both_kinds_have_both_scores(vectors: VectorSearch, method: str, depth: int):
    # However few each kind finds, scores of raw are those of all: nothing absent counts as last.
    whole = {h.passage.id: h.score for h in vectors.cross("나 라", 5, fuse.Fusion("raw"), depth=5)}
    hits = vectors.cross("나 라", 1, fuse.Fusion(method), depth=depth)
    assert len(hits) == 1
    raw = vectors.cross("나 라", depth, fuse.Fusion("raw"), depth=depth)
    assert all(h.score == pytest.approx(whole[h.passage.id]) for h in raw)


def test_index_without_vectors_says_how_to_make_them(small_index: Path):
    """They are added to it: nothing is built again."""
    for open_vectors in (Index.open(small_index).open_vectors, lambda: open_search(Index.open(small_index), "dense")):
        with pytest.raises(IncompatibleArtifactError) as error:
            open_vectors()
        assert f"kofid index -o {small_index} dense=" in str(error.value)


def test_index_with_vectors_is_not_changed_in_parts(vectors: VectorSearch):
    path = vectors.index.artifact.directory.parent
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    with pytest.raises(IncompatibleArtifactError, match="dense=fake"):
        update_index(path, delete=["0"])
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before


# --- fusion ----------------------------------------------------------------------------------------------------


def scores(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_raw_fusion_by_hand():
    # 1.1 · 1 + 3 = 4.1; 1.1 · 2 + 0 = 2.2
    assert fuse.Fusion("raw")(scores(1, 2), scores(3, 0)) == pytest.approx([4.1, 2.2])
    assert fuse.Fusion("raw", 0.5, 2)(scores(1, 2), scores(3, 0)) == pytest.approx([6.5, 1.0])


def test_fusion_over_the_highest_by_hand():
    # dense 1, 2 -> 0.5, 1; sparse 3, 0 -> 1, 0
    assert fuse.Fusion()(scores(1, 2), scores(3, 0)) == pytest.approx([0.1 + 1, 0.2])
    assert fuse.Fusion(dense_weight=2.0)(scores(1, 2), scores(0, 0)) == pytest.approx([1, 2])


def test_fusion_over_the_range_by_hand():
    # dense 10, 20, 30 -> 0, 0.5, 1; sparse 0, 8, 2 -> 0, 1, 0.25: 1.1 · dense + sparse
    fused = fuse.Fusion("minmax", 1.1)(scores(10, 20, 30), scores(0, 8, 2))
    assert fused == pytest.approx([0, 0.55 + 1, 1.1 + 0.25])
    assert fused.dtype == np.float32
    assert fuse.Fusion("minmax")(scores(5, 5), scores(0, 2)) == pytest.approx([0, 1])
    assert fuse.Fusion("minmax")(scores(5), scores(3)) == pytest.approx([0])


def test_fusion_by_rank_by_hand():
    # dense ranks 3, 1, 2; sparse ranks 1, 2, none: no term is shared
    fused = fuse.Fusion("rrf", 2.0, rrf_k=10)(scores(1, 9, 4), scores(7, 3, 0))
    assert fused == pytest.approx([2 / 13 + 1 / 11, 2 / 11 + 1 / 12, 2 / 12])


@pytest.mark.parametrize("method", list(FusionMethod))
def test_fusion_leaves_its_arguments(method: str):
    dense, sparse = scores(1, 2), scores(3, 0)
    assert len(fuse.Fusion(method)(dense, sparse)) == 2
    assert dense.tolist() == [1, 2] and sparse.tolist() == [3, 0]
    assert len(fuse.Fusion(method)(scores(), scores())) == 0
