"""Passage vectors in a faiss index."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kofid.errors import ResourceError, UsageError
from kofid.language import say, setting
from kofid.retrieval.dense.base import refuse_infinite

if TYPE_CHECKING:
    from kofid.retrieval.dense.base import Vectors

# Above this many vectors, and no other wish, each number takes a byte.
_FLAT_UP_TO = 200_000
# Vectors that an index which must be trained is trained on.
_TRAINED_ON = 65_536
# What recall is measured on: the nearest 20 of 200 vectors.
_SAMPLED, _NEAREST = 200, 20
# Of an IVF index one cell in so many is looked into, and so many at least.
_PROBED_OF, _PROBED_AT_LEAST = 4, 32
# Candidates of a graph as it is built and searched: with faiss's own 40 and 16 a tenth of the nearest is missed.
_GRAPH_BUILD, _GRAPH_SEARCH = 200, 512


def import_faiss() -> Any:
    """Return the faiss module, or raise ResourceError with the line that installs it."""
    installed = [name for name in ("faiss-cpu", "faiss-gpu") if _is_installed(name)]
    if len(installed) == 2:
        raise ResourceError(
            say(
                "faiss-cpu와 faiss-gpu가 함께 깔려 있습니다. 같은 모듈을 나눠 쓰니 하나만 두세요: pip uninstall faiss-cpu faiss-gpu "
                "후 하나만 다시 설치",
                "both faiss-cpu and faiss-gpu are installed and share one module; keep one: pip uninstall faiss-cpu "
                "faiss-gpu, then install one",
            )
        )
    try:
        import faiss
    except ImportError as error:
        raise ResourceError(
            say(
                "조밀 검색에는 faiss가 필요합니다: pip install 'kofid[cpu]' (GPU: pip install 'kofid[gpu]')",
                "dense retrieval needs faiss: pip install 'kofid[cpu]' (GPU: pip install 'kofid[gpu]')",
            )
        ) from error
    return faiss


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def choose_factory(faiss: str, n_vectors: int) -> str:
    """Return the faiss factory string of a setting: ``auto`` is exact for few vectors, and a byte a number for many.

    >>> choose_factory("auto", 1_000), choose_factory("auto", 1_000_000), choose_factory("HNSW32", 1_000)
    ('Flat', 'SQ8', 'HNSW32')
    """
    if faiss != "auto":
        return faiss
    return "Flat" if n_vectors <= _FLAT_UP_TO else "SQ8"


def estimate_bytes(factory: str, n_vectors: int, dimension: int) -> int:
    """Return about how much memory an index takes, by the last part of its factory string; 0 where that is unknown."""
    last = factory.rpartition(",")[2]
    per_number = {"Flat": 4.0, "SQ8": 1.0, "SQ6": 0.75, "SQ4": 0.5, "SQfp16": 2.0, "SQbf16": 2.0}
    if last.startswith("HNSW"):
        links = int(last.removeprefix("HNSW").partition("_")[0] or 32)
        return n_vectors * (4 * dimension + 8 * links)
    if last.startswith("PQ"):
        return n_vectors * int(last.removeprefix("PQ").partition("x")[0])
    return int(n_vectors * dimension * per_number.get(last, 0.0))


class DenseIndex:
    """Passage vectors in a faiss index of inner products."""

    def __init__(self, index: Any, ef_search: int = _GRAPH_SEARCH) -> None:
        self._index = index
        self._ef_search = ef_search

    @classmethod
    def build(cls, batches: Iterable[Vectors], dimension: int, factory: str = "Flat") -> DenseIndex:
        """Return the index of vectors given in batches of shape (n, dimension), of a faiss factory string.

        What must be trained first is trained on the first batches, up to 65,536 vectors. Refuses NaN and infinity.
        """
        faiss = import_faiss()
        try:
            index = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
        except RuntimeError as error:
            raise UsageError(
                say(
                    f"{setting('faiss', factory)}: faiss가 모르는 꼴입니다. 보기: Flat, SQ8, HNSW32, IVF1024,Flat, PQ64",
                    f"{setting('faiss', factory)}: faiss does not know it; for example Flat, SQ8, HNSW32, IVF1024,Flat, PQ64",
                )
            ) from error
        graph = faiss.downcast_index(index)
        if isinstance(graph, faiss.IndexHNSW):
            graph.hnsw.efConstruction = _GRAPH_BUILD
        waiting: list[Vectors] = []
        for vectors in batches:
            refuse_infinite(vectors)
            if index.is_trained:
                index.add(np.ascontiguousarray(vectors))
                continue
            waiting.append(vectors)
            if sum(map(len, waiting)) >= _TRAINED_ON:
                cls._train(index, waiting, factory)
        if waiting:
            cls._train(index, waiting, factory)
        return cls(index)

    @staticmethod
    def _train(index: Any, waiting: list[Vectors], factory: str) -> None:
        """Train an index on vectors and add them; ``waiting`` is emptied."""
        sample = np.concatenate(waiting)
        try:
            index.train(sample)
        except RuntimeError as error:  # too few vectors for so many cells
            raise UsageError(
                say(
                    f"{setting('faiss', factory)}: 벡터 {len(sample):,}개로는 만들 수 없습니다 ({str(error).splitlines()[-1]})",
                    f"{setting('faiss', factory)}: {len(sample):,} vectors are too few ({str(error).splitlines()[-1]})",
                )
            ) from error
        index.add(sample)
        waiting.clear()

    def save(self, path: Path) -> None:
        """Write the faiss file; raises OSError when the disk refuses."""
        try:
            import_faiss().write_index(self._index, str(path))
            # It does not say when the disk refuses the last bytes: what cannot be opened was not written.
            DenseIndex.load(path)
        except RuntimeError as error:
            raise OSError(str(error)) from error

    @classmethod
    def load(cls, path: Path, *, nprobe: int | None = None, ef_search: int = _GRAPH_SEARCH) -> DenseIndex:
        """Open a faiss file, mapped from disk.

        An IVF index looks into ``nprobe`` cells, by default a quarter of them and 32 at least; a graph (HNSW) holds
        ``ef_search`` candidates, or twice as many as hits are wanted.
        """
        faiss = import_faiss()
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP)
        cells = faiss.try_extract_index_ivf(index)
        if cells is not None:
            cells.make_direct_map()  # to find a passage's vector
            cells.nprobe = min(nprobe or max(_PROBED_AT_LEAST, cells.nlist // _PROBED_OF), cells.nlist)
        return cls(index, ef_search)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def dimension(self) -> int:
        """How many numbers a vector has."""
        return int(self._index.d)

    def vectors(self, start: int, end: int) -> Vectors:
        """Return the vectors from ``start`` to before ``end``, as the index has kept them."""
        vectors: Vectors = self._index.reconstruct_batch(np.arange(start, end, dtype=np.int64))
        return vectors

    def search(self, vectors: Vectors, k: int) -> list[list[tuple[int, float]]]:
        """Return, for each question vector, (position, inner product) of the best ``k``, best first."""
        scores, positions = self._index.search(vectors, min(k, len(self)), params=self._search_parameters(k))
        return [
            [(int(p), float(s)) for p, s in zip(row, values, strict=True) if p >= 0]
            for row, values in zip(positions, scores, strict=True)
        ]

    def _search_parameters(self, k: int) -> Any:
        """Return how a graph is to be searched for ``k``."""
        faiss = import_faiss()
        if isinstance(faiss.downcast_index(self._index), faiss.IndexHNSW):
            return faiss.SearchParametersHNSW(efSearch=max(self._ef_search, 2 * k))
        return None

    def score_some(self, vector: Vectors, positions: Sequence[int]) -> Vectors:
        """Return inner products with the passages at ``positions``, shape (len(positions),)."""
        if not len(positions):
            return np.empty(0, dtype=np.float32)
        scores: Vectors = self._index.reconstruct_batch(np.asarray(positions, dtype=np.int64)) @ vector
        return scores


def recall_against_flat(index: DenseIndex, shards: Iterable[Vectors], dimension: int) -> float:
    """Return the share of the 20 nearest vectors, by exact search, that ``index`` finds for 200 of the vectors themselves."""
    exact = DenseIndex.build(shards, dimension)
    sample = np.random.default_rng(1).choice(len(exact), min(_SAMPLED, len(exact)), replace=False)
    vectors = exact._index.reconstruct_batch(np.sort(sample))
    pairs = zip(index.search(vectors, _NEAREST), exact.search(vectors, _NEAREST), strict=True)
    return float(np.mean([len({p for p, _ in hits} & {p for p, _ in best}) / len(best) for hits, best in pairs]))
