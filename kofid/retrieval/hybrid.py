"""Searches of an index by mode: by terms, by vectors, by one after the other, or by both at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kofid.retrieval.fusion import Fusion
from kofid.retrieval.index import Index
from kofid.retrieval.modes import FusionMethod, SearchMode
from kofid.retrieval.sparse.search import largest
from kofid.types import Example, Hit, Search

if TYPE_CHECKING:
    from kofid.retrieval.dense.base import Encoder
    from kofid.retrieval.dense.faiss_index import DenseIndex
    from kofid.retrieval.dense.torch_index import TorchIndex

DEPTH = 200  # passages of each kind that are weighed against one another
_SENTENCES_READ = 64  # of them, those whose sentences are looked at


def open_search(
    index: Index,
    mode: SearchMode = SearchMode.AUTO,
    *,
    device: str = "auto",
    fusion: Fusion | None = None,
    depth: int = DEPTH,
    nprobe: int | None = None,
) -> Search:
    """Return the search of ``mode`` over ``index``; ``depth`` passages of each kind are weighed where two are.

    ``nprobe`` is how many cells of an IVF index of vectors are looked into (by default a quarter of them). Raises
    IncompatibleArtifactError where the index has no vectors and the mode needs them, or another encoder made them.
    """
    mode = SearchMode(mode).resolve(has_vectors=index.has_vectors)
    if mode is SearchMode.SPARSE:
        return index.search
    search = VectorSearch.open(index, device=device, nprobe=nprobe)
    if mode is SearchMode.DENSE:
        return search.dense
    if mode is SearchMode.SEQUENTIAL:
        return lambda question, k: search.sequential(question, k, max(depth, k))
    return lambda question, k: search.cross(question, k, fusion, depth)


@dataclass(frozen=True)
class VectorSearch:
    """Searches an index by vectors, alone or together with its terms."""

    index: Index
    encoder: Encoder
    vectors: DenseIndex | TorchIndex

    @classmethod
    def open(cls, index: Index, *, device: str = "auto", nprobe: int | None = None) -> VectorSearch:
        """Open the vectors of an index and the encoder that made them; raise IncompatibleArtifactError."""
        from kofid.retrieval.dense.encoders import open_index_encoder

        # The vectors first: while the encoder takes its time, a rebuild may remove their name.
        vectors = index.open_vectors(device=device, nprobe=nprobe)
        return cls(index, open_index_encoder(index, device=device), vectors)

    def dense(self, question: str, k: int) -> list[Hit]:
        """Return the best ``k`` passages by inner product."""
        if not question.strip():
            return []
        return self.index.hits(self.vectors.search(self.encoder.encode_questions([question]), k)[0], "dense")

    def sequential(self, question: str, k: int, depth: int = 100) -> list[Hit]:
        """Return the best ``k`` of the sparse top ``depth``, reordered by inner product."""
        sparse = self.index.sparse.search(self.index.query(question), depth)
        return self._reorder(question, [position for position, _ in sparse])[:k]

    def _reorder(self, question: str, positions: Sequence[int]) -> list[Hit]:
        """Return the passages at ``positions`` by inner product, best first."""
        if not positions:
            return []
        scores = self.vectors.score_some(self.encoder.encode_questions([question])[0], positions)
        order = np.argsort(-scores, kind="stable")
        return self.index.hits([(positions[i], float(scores[i])) for i in order], "sequential")

    def cross(self, question: str, k: int, fusion: Fusion | None = None, depth: int = DEPTH) -> list[Hit]:
        """Return the best ``k`` by dense and sparse scores together.

        Candidates are the best ``depth`` of each kind, and every one has both its scores: what only one search found is
        not treated as the other's last. The best of them, fused, are looked at sentence by sentence and fused anew.
        Articles are spread as in the sparse search, but for ``raw``.
        """
        if not question.strip():
            return []
        fuse = fusion or Fusion()
        vector = self.encoder.encode_questions([question])
        depth = max(k, depth)
        query = self.index.query(question)
        sparse = self.index.sparse.score_all(query)
        matches = np.flatnonzero(sparse > 0)
        if not len(matches):
            return []  # nothing in it is known: the nearest vectors would answer any nonsense
        dense = dict(self.vectors.search(vector, depth)[0])
        best = matches[largest(sparse[matches], min(depth, len(matches)))]
        positions = sorted({*best.tolist(), *dense})
        missing = [p for p in positions if p not in dense]
        dense |= zip(missing, self.vectors.score_some(vector[0], missing).tolist(), strict=True)
        near = np.array([dense[p] for p in positions], dtype=np.float32)
        order = np.argsort(-fuse(near, sparse[positions]), kind="stable")[: max(_SENTENCES_READ, 2 * k)]
        pool = [(positions[i], float(sparse[positions[i]])) for i in order]
        with_sentences = dict(self.index.sparse.with_sentences(pool, query))
        scores = fuse(near[order], np.array([with_sentences[positions[i]] for i in order], dtype=np.float32))
        ranked = [(positions[order[i]], float(scores[i])) for i in np.argsort(-scores, kind="stable")]
        raw = fuse.method == FusionMethod.RAW  # on no scale that the penalty knows
        return self.index.hits((ranked if raw else self.index.sparse.spread(ranked))[:k], "cross")


def open_reordering(
    index: Index, mode: SearchMode, *, device: str = "auto", fusion: Fusion | None = None
) -> Callable[[Example], list[Hit]]:
    """Return a function that orders an example's own passages anew, whether or not the index holds them.

    ``sequential`` orders by inner product; ``cross`` fuses it with the score that the example's hits came with.
    """
    from kofid.retrieval.dense.encoders import open_index_encoder

    encoder = open_index_encoder(index, device=device)
    fuse = fusion or Fusion()

    def reorder(example: Example) -> list[Hit]:
        if not example.hits:
            return []
        question = encoder.encode_questions([example.question.text])[0]
        scores = encoder.encode_passages([hit.passage for hit in example.hits]) @ question
        if mode is SearchMode.CROSS:
            scores = fuse(scores, np.array([hit.score for hit in example.hits], dtype=np.float32))
        order = np.argsort(-scores, kind="stable")
        return [Hit(example.hits[i].passage, float(scores[i]), mode) for i in order]

    return reorder
