"""An opened index: finds passages by their terms and, where it has vectors, by those."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from copy import copy
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kofid.errors import IncompatibleArtifactError
from kofid.korean.questions import stated_forms
from kofid.language import say
from kofid.retrieval import fusion as fuse
from kofid.retrieval.layout import VECTORS, open_segments, read_deleted, stored_analyzer
from kofid.retrieval.modes import FusionMethod
from kofid.retrieval.sparse.analyzer import Analysis
from kofid.retrieval.sparse.passages import Passages
from kofid.retrieval.sparse.query import QueryTerm, weigh
from kofid.retrieval.sparse.ranking import Ranking
from kofid.retrieval.sparse.search import Scores, SparseIndex, largest
from kofid.retrieval.sparse.segment import hash_term
from kofid.storage.arrays import corrupt_array
from kofid.storage.artifacts import Artifact, open_artifact
from kofid.types import Hit

if TYPE_CHECKING:
    import torch

    from kofid.retrieval.dense.base import Encoder
    from kofid.retrieval.dense.faiss_index import DenseIndex
    from kofid.retrieval.dense.torch_index import TorchIndex

_LONGEST_QUESTION = 10_000  # characters
_DEPTH = 200  # passages of each kind that are weighed against one another
_READ = 64  # of them, those whose sentences are looked at


class Index:
    """An opened index that finds passages.

    ``ranking`` takes the place of the stored one; ``weights`` those of the analyzer's components.
    """

    def __init__(
        self, artifact: Artifact, ranking: Ranking | None = None, weights: Sequence[float] | None = None
    ) -> None:
        self.artifact = artifact
        # Opened now, not when first asked: a later rebuild removes this generation's names, not its open files.
        self.analyzer = stored_analyzer(artifact.directory, artifact.settings)
        stored = artifact.settings["ranking"]
        self.ranking = ranking or Ranking.from_settings(stored)
        self.weights = list(weights or stored["weights"])
        self.segments = open_segments(artifact.directory, artifact.files, len(self.analyzer.components))
        self._deleted = read_deleted(artifact.directory, self.segments)
        self.passages = Passages(self.segments, self._deleted)
        self.sparse = SparseIndex(self.segments, self.weights, self.ranking, self._deleted)
        self._analysis = lru_cache(maxsize=65_536)(self._find_analysis)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        ranking: Ranking | None = None,
        weights: Sequence[float] | None = None,
        check_hashes: bool = True,
    ) -> Index:
        """Open an index directory; raises as ``open_artifact`` does, and when the analyzer has changed since."""
        while True:
            artifact = open_artifact(path, "index", check_hashes=check_hashes)
            try:
                return cls(artifact, ranking, weights)
            except FileNotFoundError:
                if artifact.directory.exists():
                    raise  # else a rebuild replaced it just now: open the new one

    def ranked(self, **changes: Any) -> Index:
        """Return this index with another ranking: its settings (``Ranking.settings``, ``weights``) but for ``changes``."""
        settings = self.ranking.settings() | {"weights": self.weights} | changes
        other = copy(self)
        other.ranking = Ranking.from_settings(settings)
        other.weights = list(settings["weights"])
        other.sparse = SparseIndex(self.segments, other.weights, other.ranking, self._deleted)
        return other

    def __len__(self) -> int:
        return len(self.passages)

    # --- terms ---

    def analyze(self, text: str) -> list[tuple[str, Analysis]]:
        """Return the units (words) of ``text`` with their terms by component; Kiwi is loaded only for unknown ones."""
        units = self.analyzer.units(text)
        missing = [unit for unit in dict.fromkeys(units) if self._analysis(unit) is None]
        new = dict(zip(missing, self.analyzer.analyze(missing), strict=True)) if missing else {}
        return [(unit, new[unit] if unit in new else self._analysis(unit) or []) for unit in units]

    def _find_analysis(self, unit: str) -> Analysis | None:
        """Return the terms of a unit as the index has kept them, or those of its stated form."""
        if not any(component.is_costly for component in self.analyzer.components):
            return self.analyzer.analyze([unit])[0]
        if self.analyzer.context == "sentence":
            return None
        for form in (unit, *(stated_forms(unit) if self.analyzer.drops_endings else ())):
            for segment in self.segments:
                text = segment.analysis(form)
                if text is not None:
                    try:
                        return self.analyzer.decode(unit, text)
                    except ValueError as error:
                        raise corrupt_array(segment.path) from error
        return None

    def has_analysis(self, unit: str) -> bool:
        """Tell whether the index knows the terms of a unit, so that Kiwi is not needed for it."""
        return self._analysis(unit) is not None

    def query(self, question: str) -> list[QueryTerm]:
        """Return the weighted query terms of a question, by its first 10,000 characters."""
        return weigh(self.analyze(question[:_LONGEST_QUESTION]), self.analyzer, self.weights, self.ranking)

    def terms(self, text: str) -> set[tuple[int, str]]:
        """Return the different terms of a text, each with its component."""
        return {(c, term) for _, terms in self.analyze(text) for c, part in enumerate(terms) for term in part}

    def knows(self, texts: Sequence[str]) -> list[bool]:
        """Tell for each text whether it is a word of some passage, or a term of one by Kiwi or a subword vocabulary."""
        known = np.zeros(len(texts), bool)
        if texts:
            words = np.array([hash_term(text) for text in texts], np.uint64)
            terms = {
                c: np.array([hash_term(text, c) for text in texts], np.uint64)
                for c, component in enumerate(self.analyzer.components)
                if component.is_costly
            }
            for segment in self.segments:
                known |= segment.has_words(words)
                for c, hashes in terms.items():
                    known |= segment.text[c].has(hashes) | segment.titles[c].has(hashes)
        return list(map(bool, known))

    def rarest(self, text: str) -> int:
        """Return how many passages have the rarest of the terms of ``text``, by the analyzer's first component."""
        terms = {term for _, analysis in self.analyze(text) for term in analysis[0]}
        return min((self.sparse.document_frequency(term, 0) for term in terms), default=0)

    # --- sparse ---

    def search(self, question: str, k: int) -> list[Hit]:
        """Return the best ``k`` passages by their terms; fewer when fewer share a term with the question."""
        return self._hits(self.sparse.search(self.query(question), k), "sparse")

    def score_sparse(self, question: str) -> Scores:
        """Return the scores of all positions, shape (n_positions,)."""
        return self.sparse.score_all(self.query(question))

    # --- dense ---

    @cached_property
    def dense(self) -> DenseIndex | TorchIndex:
        """The vectors; raises IncompatibleArtifactError when the index was built without."""
        from kofid.retrieval.dense.faiss_index import DenseIndex

        settings = self.dense_settings
        index = DenseIndex.load(self.artifact.directory / VECTORS)
        if len(index) != settings["n_vectors"] or len(index) != len(self):
            raise IncompatibleArtifactError(
                say(
                    f"벡터가 {len(index)}개인데 패시지는 {len(self)}개입니다",
                    f"{len(index)} vectors for {len(self)} passages",
                )
            )
        return index

    def move_vectors(self, device: torch.device) -> None:
        """Search the vectors on an accelerator from now on; they stay where they are when it has too little memory."""
        import torch

        from kofid.retrieval.dense.faiss_index import DenseIndex
        from kofid.retrieval.dense.torch_index import TorchIndex

        if isinstance(self.dense, DenseIndex):
            with contextlib.suppress(torch.OutOfMemoryError):
                self.dense = TorchIndex(self.dense, device)

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

    @property
    def has_vectors(self) -> bool:
        """Whether the index has dense vectors."""
        return bool(self.artifact.settings.get("dense"))

    def search_dense(self, question: str, k: int, encoder: Encoder) -> list[Hit]:
        """Return the best ``k`` passages by inner product."""
        if not question.strip():
            return []
        return self._hits(self.dense.search(encoder.encode_questions([question]), k)[0], "dense")

    def search_sequential(self, question: str, k: int, encoder: Encoder, depth: int = 100) -> list[Hit]:
        """Return the best ``k`` of the sparse top ``depth``, reordered by inner product."""
        return self.reorder(question, [p for p, _ in self.sparse.search(self.query(question), depth)], encoder)[:k]

    def reorder(self, question: str, positions: Sequence[int], encoder: Encoder) -> list[Hit]:
        """Return the passages at ``positions`` by inner product, best first."""
        if not positions:
            return []
        scores = self.dense.score_some(encoder.encode_questions([question])[0], positions)
        order = np.argsort(-scores, kind="stable")
        return self._hits([(positions[i], float(scores[i])) for i in order], "sequential")

    def search_cross(
        self, question: str, k: int, encoder: Encoder, fusion: fuse.Fusion | None = None, depth: int = _DEPTH
    ) -> list[Hit]:
        """Return the best ``k`` by dense and sparse scores together.

        Candidates are the best ``depth`` of each kind, and every one has both its scores: what only one search found is
        not treated as the other's last. The best of them, fused, are looked at sentence by sentence and fused anew.
        Articles are spread as in ``search``, but for ``raw``.
        """
        if not question.strip():
            return []
        fused = fusion or fuse.Fusion()
        vector = encoder.encode_questions([question])
        depth = max(k, depth)
        query = self.query(question)
        sparse = self.sparse.score_all(query)
        found = np.flatnonzero(sparse > 0)
        if not len(found):
            return []  # nothing in it is known: the nearest vectors would answer any nonsense
        dense = dict(self.dense.search(vector, depth)[0])
        best = found[largest(sparse[found], min(depth, len(found)))]
        positions = sorted({*best.tolist(), *dense})
        missing = [p for p in positions if p not in dense]
        dense |= zip(missing, self.dense.score_some(vector[0], missing).tolist(), strict=True)
        near = np.array([dense[p] for p in positions], dtype=np.float32)
        order = np.argsort(-fused(near, sparse[positions]), kind="stable")[: max(_READ, 2 * k)]
        closer = dict(self.sparse.with_sentences([(positions[i], float(sparse[positions[i]])) for i in order], query))
        scores = fused(near[order], np.array([closer[positions[i]] for i in order], dtype=np.float32))
        ranked = [(positions[order[i]], float(scores[i])) for i in np.argsort(-scores, kind="stable")]
        raw = fused.method == FusionMethod.RAW  # on no scale that the penalty knows
        return self._hits((ranked if raw else self.sparse.spread(ranked))[:k], "cross")

    def _hits(self, scored: Iterable[tuple[int, float]], source: str) -> list[Hit]:
        return [Hit(self.passages[position], score, source) for position, score in scored]
