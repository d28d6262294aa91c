"""An opened index: finds passages by their terms, and opens the vectors that it may have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np
import numpy.typing as npt

from kofid.errors import IncompatibleArtifactError
from kofid.language import say, setting
from kofid.retrieval.index_settings import IndexSettings, VectorSettings
from kofid.retrieval.layout import VECTORS, open_segments, read_deleted, stored_analyzer
from kofid.retrieval.sparse.analyzer import Analysis, Analyzer
from kofid.retrieval.sparse.known_words import KnownWords
from kofid.retrieval.sparse.passages import Passages
from kofid.retrieval.sparse.query import QueryTerm, weigh
from kofid.retrieval.sparse.ranking import Ranking, RankingChanges
from kofid.retrieval.sparse.search import SparseIndex
from kofid.retrieval.sparse.segment import Segment
from kofid.storage.artifacts import Artifact, open_artifact
from kofid.storage.manifest import corrupt
from kofid.types import Hit

if TYPE_CHECKING:
    from kofid.retrieval.dense.faiss_index import DenseIndex
    from kofid.retrieval.dense.torch_index import TorchIndex

_LONGEST_QUESTION = 10_000  # characters


class Index:
    """An opened index that finds passages. Nothing of it changes once it is open, so threads may share it.

    Two kinds of state are written behind the scenes, and both may be: caches of analyses and of unpacked passages,
    which are Python's own and locked, and each file's notes of blocks that proved sound, where the worst that two threads
    can do is to check a block twice.
    """

    def __init__(
        self,
        artifact: Artifact,
        settings: IndexSettings,
        known_words: KnownWords,
        segments: Sequence[Segment],
        deleted: Sequence[npt.NDArray[np.uint16]],
        ranking: Ranking,
        weights: Sequence[float],
    ) -> None:
        self.artifact = artifact
        self.settings = settings
        self.segments = segments
        self.ranking = ranking
        self.weights = tuple(weights)
        self.passages = Passages(segments, deleted)
        self.sparse = SparseIndex(segments, self.weights, ranking, deleted)
        self._known_words = known_words
        self._deleted = deleted

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        ranking: Ranking | None = None,
        weights: Sequence[float] | None = None,
        check_hashes: bool = True,
    ) -> Index:
        """Open an index directory; raises as ``open_artifact`` does, and when the analyzer has changed since.

        ``ranking`` takes the place of the stored one; ``weights`` those of the analyzer's components.
        """
        while True:
            artifact = open_artifact(path, "index", check_hashes=check_hashes)
            try:
                return cls._open(artifact, ranking, weights)
            except FileNotFoundError:
                if artifact.directory.exists():
                    raise  # else a rebuild replaced it just now: open the new one

    @classmethod
    def _open(cls, artifact: Artifact, ranking: Ranking | None, weights: Sequence[float] | None) -> Index:
        # All files are opened now: a later rebuild removes this generation's names, not its open files.
        settings = IndexSettings.from_json(artifact.settings, artifact.directory.parent)
        analyzer = stored_analyzer(artifact.directory, settings)
        segments = open_segments(artifact.directory, artifact.files, len(analyzer.components))
        return cls(
            artifact,
            settings,
            KnownWords(analyzer, segments),
            segments,
            read_deleted(artifact.directory, segments),
            ranking or settings.ranking,
            weights or settings.weights,
        )

    def ranked(self, *, weights: Sequence[float] | None = None, **changes: Unpack[RankingChanges]) -> Index:
        """Return this index with another ranking; ``changes`` are settings of it by name, ``weights`` the components'."""
        return Index(
            self.artifact,
            self.settings,
            self._known_words,
            self.segments,
            self._deleted,
            self.ranking.changed(**changes),
            weights or self.weights,
        )

    def __len__(self) -> int:
        return len(self.passages)

    # --- terms ---

    @property
    def analyzer(self) -> Analyzer:
        """The analyzer that the index was built with."""
        return self._known_words.analyzer

    def analyze(self, text: str) -> list[tuple[str, Analysis]]:
        """Return the units (words) of ``text`` with their terms by component; Kiwi is loaded only for unknown ones."""
        return self._known_words.analyze(text)

    def query(self, question: str) -> list[QueryTerm]:
        """Return the weighted query terms of a question, by its first 10,000 characters."""
        return weigh(self.analyze(question[:_LONGEST_QUESTION]), self.analyzer, self.weights, self.ranking)

    def terms(self, text: str) -> set[tuple[int, str]]:
        """Return the different terms of a text, each with its component."""
        return {(c, term) for _, terms in self.analyze(text) for c, part in enumerate(terms) for term in part}

    def has_analysis(self, unit: str) -> bool:
        """Tell whether the index knows the terms of a unit, so that Kiwi is not needed for it."""
        return self._known_words.has_analysis(unit)

    def knows(self, texts: Sequence[str]) -> list[bool]:
        """Tell for each text whether it is a word of some passage, or a term of one by Kiwi or a subword vocabulary."""
        return self._known_words.knows(texts)

    def rarest(self, text: str) -> int:
        """Return how many passages have the rarest of the terms of ``text``, by the analyzer's first component."""
        terms = {term for _, analysis in self.analyze(text) for term in analysis[0]}
        return min((self.sparse.document_frequency(term, 0) for term in terms), default=0)

    # --- search ---

    def search(self, question: str, k: int) -> list[Hit]:
        """Return the best ``k`` passages by their terms; fewer when fewer share a term with the question."""
        return self.hits(self.sparse.search(self.query(question), k), "sparse")

    def hits(self, scored: Iterable[tuple[int, float]], source: str) -> list[Hit]:
        """Return hits of (position, score) pairs."""
        return [Hit(self.passages[position], score, source) for position, score in scored]

    # --- vectors ---

    @property
    def has_vectors(self) -> bool:
        """Whether the index has dense vectors."""
        return self.settings.dense is not None

    @property
    def vector_settings(self) -> VectorSettings:
        """Encoder name, fingerprint and dimension of the vectors; raises IncompatibleArtifactError without vectors."""
        if self.settings.dense is None:
            path = self.artifact.directory.parent
            command = f"kofid index -o {path} {setting('dense', 'default')}"
            raise IncompatibleArtifactError(
                say(
                    f"색인 {path}에는 벡터가 없습니다. 이 명령이 벡터를 더합니다: {command}",
                    f"the index at {path} has no vectors; this command adds them: {command}",
                )
            )
        return self.settings.dense

    def open_vectors(self, *, device: str = "cpu", nprobe: int | None = None) -> DenseIndex | TorchIndex:
        """Open the vectors; on an accelerator they are copied to it, unless it has too little memory.

        ``nprobe`` is how many cells of an IVF index are looked into (by default a quarter of them). Raises
        IncompatibleArtifactError when the index was built without vectors or they are not its own, CorruptArtifactError
        when faiss cannot read them.
        """
        from kofid.retrieval.dense.faiss_index import DenseIndex

        settings = self.vector_settings
        file = self.artifact.directory / VECTORS
        try:
            vectors = DenseIndex.load(file, nprobe=nprobe)
        except RuntimeError as error:
            raise corrupt(file, say("faiss가 읽을 수 없습니다", "faiss cannot read it")) from error
        if vectors.dimension != settings.dimension:
            raise corrupt(file, say("벡터의 차원이 다릅니다", "vectors of another dimension"))
        if len(vectors) != settings.n_vectors or len(vectors) != len(self):
            raise IncompatibleArtifactError(
                say(
                    f"벡터가 {len(vectors)}개인데 패시지는 {len(self)}개입니다",
                    f"{len(vectors)} vectors for {len(self)} passages",
                )
            )
        if device == "cpu":
            return vectors
        import torch

        from kofid.devices import choose_device
        from kofid.retrieval.dense.torch_index import TorchIndex

        accelerator = choose_device(device)
        if accelerator.type == "cpu":
            return vectors
        try:
            return TorchIndex(vectors, accelerator)
        except torch.OutOfMemoryError:
            return vectors
