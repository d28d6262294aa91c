"""An index: passages, their BM25 terms and, where asked for, their vectors; one artifact directory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kofid.artifacts import Artifact, open_artifact, write_artifact
from kofid.errors import IncompatibleArtifactError
from kofid.language import say
from kofid.retrieval import fuse
from kofid.retrieval.analyze import Analyzer, passage_text
from kofid.retrieval.passages import PassageStore
from kofid.retrieval.sparse import BM25, K1, B, RankBM25, SparseEngine, read_parameters, top
from kofid.types import Hit, Passage

if TYPE_CHECKING:
    from kofid.retrieval.dense import DenseEncoder, DenseIndex

Progress = Callable[[Iterable[Any], str, int | None], Iterable[Any]]


def silent(items: Iterable[Any], _what: str, _total: int | None = None) -> Iterable[Any]:
    """Show no progress."""
    return items


def build_index(
    path: Path,
    passages: Iterable[Passage],
    *,
    encoder: DenseEncoder | None = None,
    encoder_name: str = "",
    encoder_fingerprint: str = "",
    k1: float = K1,
    b: float = B,
    notes: dict[str, Any] | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Write the index of ``passages`` to ``path`` and return its settings; with an encoder, vectors too.

    The index that may be there already answers until the new one is complete.
    """
    analyzer = Analyzer()
    settings: dict[str, Any] = {"analyzer": analyzer.settings(), "k1": k1, "b": b} | (notes or {})
    with write_artifact(path, "index", settings) as directory:
        stored = PassageStore.write(directory, progress(passages, say("패시지 분석", "analysing passages"), None))
        BM25.build(analyzer.terms_of_many(passage_text(p) for p in stored), k1, b).save(directory / "sparse")
        store = PassageStore(directory)
        settings["n_passages"] = len(store)
        if encoder is not None:
            from kofid.retrieval.dense import DenseIndex

            batches = _encoded(encoder, store, progress)
            DenseIndex.build(batches, encoder.dimension).save(directory / "dense.faiss")
            settings["dense"] = {
                "encoder": encoder_name,
                "fingerprint": encoder_fingerprint,
                "dimension": encoder.dimension,
                "metric": "inner product",
                "n_vectors": len(store),
            }
    return settings


def _encoded(encoder: DenseEncoder, store: PassageStore, progress: Progress) -> Iterator[Any]:
    size = 256
    starts = range(0, len(store), size)
    for start in progress(starts, say("패시지 벡터", "passage vectors"), len(starts)):
        yield encoder.encode_passages([store[i] for i in range(start, min(start + size, len(store)))])


class Index:
    """An opened index that finds passages. ``engine`` is ``bm25s`` or ``rank-bm25`` (same ranking, for comparison)."""

    def __init__(self, artifact: Artifact, engine: str = "bm25s") -> None:
        self.artifact = artifact
        self.engine = engine
        self.analyzer = Analyzer.from_settings(artifact.settings["analyzer"])
        # Opened now, not when first asked: a later rebuild removes this generation's names, not its open files.
        self.passages = PassageStore(artifact.directory)
        self.sparse = self._open_sparse()

    @classmethod
    def open(cls, path: Path, *, engine: str = "bm25s", check_hashes: bool = True) -> Index:
        """Open an index directory; raises as ``open_artifact`` does, and when the analyzer has changed since."""
        while True:
            artifact = open_artifact(path, "index", check_hashes=check_hashes)
            try:
                return cls(artifact, engine)
            except FileNotFoundError:
                if artifact.directory.exists():
                    raise  # else a rebuild replaced it just now: open the new one

    def __len__(self) -> int:
        return len(self.passages)

    def _open_sparse(self) -> SparseEngine:
        directory = self.artifact.directory / "sparse"
        if self.engine == "rank-bm25":
            k1, b = read_parameters(directory)
            return RankBM25(self.analyzer.terms_of_many(passage_text(p) for p in self.passages), k1, b)
        return BM25.load(directory)

    @cached_property
    def dense(self) -> DenseIndex:
        """The vectors; raises IncompatibleArtifactError when the index was built without."""
        from kofid.retrieval.dense import DenseIndex

        settings = self.dense_settings
        index = DenseIndex.load(self.artifact.directory / "dense.faiss")
        if len(index) != settings["n_vectors"] or len(index) != len(self):
            raise IncompatibleArtifactError(
                say(
                    f"벡터가 {len(index)}개인데 패시지는 {len(self)}개입니다",
                    f"{len(index)} vectors for {len(self)} passages",
                )
            )
        return index

    @property
    def dense_settings(self) -> dict[str, Any]:
        """Encoder name, fingerprint and dimension of the vectors."""
        settings = self.artifact.settings.get("dense")
        if settings is None:
            path = self.artifact.directory.parent
            raise IncompatibleArtifactError(
                say(
                    f"색인 {path}에는 벡터가 없습니다. 다시 만드세요: kofid index ... -o {path} --dense MODEL",
                    f"index at {path} has no dense vectors; rebuild with: kofid index ... -o {path} --dense MODEL",
                )
            )
        found: dict[str, Any] = settings
        return found

    def search(self, question: str, k: int) -> list[Hit]:
        """Return the best ``k`` passages by BM25; fewer when fewer share a term with the question."""
        return self._hits(top(self.score_sparse(question), k), "sparse")

    def search_dense(self, question: str, k: int, encoder: DenseEncoder) -> list[Hit]:
        """Return the best ``k`` passages by inner product."""
        if not question.strip():
            return []
        return self._hits(self.dense.search(encoder.encode_questions([question]), k)[0], "dense")

    def search_sequential(self, question: str, k: int, encoder: DenseEncoder, depth: int = 100) -> list[Hit]:
        """Return the best ``k`` of BM25's top ``depth``, reordered by inner product."""
        return self.reorder(question, [p for p, _ in top(self.score_sparse(question), depth)], encoder)[:k]

    def reorder(self, question: str, positions: Sequence[int], encoder: DenseEncoder) -> list[Hit]:
        """Return the passages at ``positions`` by inner product, best first."""
        if not positions:
            return []
        scores = self.dense.score_some(encoder.encode_questions([question])[0], positions)
        order = np.argsort(-scores, kind="stable")
        return self._hits([(positions[i], float(scores[i])) for i in order], "sequential")

    def search_cross(
        self,
        question: str,
        k: int,
        encoder: DenseEncoder,
        *,
        dense_weight: float = fuse.DENSE_WEIGHT,
        sparse_weight: float = fuse.SPARSE_WEIGHT,
        normalize: bool = False,
    ) -> list[Hit]:
        """Return the best ``k`` of all passages by the weighted sum of inner product and BM25."""
        if not question.strip():
            return []
        scores = fuse.cross(
            self.dense.score_all(encoder.encode_questions([question])[0]),
            self.score_sparse(question),
            dense_weight=dense_weight,
            sparse_weight=sparse_weight,
            normalize=normalize,
        )
        order = np.argsort(-scores, kind="stable")[:k]
        return self._hits([(int(i), float(scores[i])) for i in order], "cross")

    def score_sparse(self, question: str) -> Any:
        """Return BM25 scores of all passages, shape (n_passages,)."""
        return self.sparse.score_all(self.analyzer.terms(question))

    def _hits(self, scored: Iterable[tuple[int, float]], source: str) -> list[Hit]:
        return [Hit(self.passages[position], score, source) for position, score in scored]
