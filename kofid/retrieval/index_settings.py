"""What an index says about itself in its manifest, parsed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

from kofid.errors import CorruptArtifactError, IncompatibleArtifactError
from kofid.language import say
from kofid.retrieval.sparse.analyzer import Analyzer, AnalyzerSettings
from kofid.retrieval.sparse.ranking import Ranking

T = TypeVar("T")

_OWN = ("analyzer", "ranking", "n_passages", "n_segments", "dense")
_ANALYZER = ("components", "tags", "context", "kiwi", "user_dictionary")


@dataclass(frozen=True)
class VectorSettings:
    """What an index keeps of its vectors: who made them, and in which faiss index they are.

    ``recall_at_20`` is the share of the 20 nearest vectors that the index finds, None where it finds them all.
    """

    encoder: str
    fingerprint: str
    dimension: int
    faiss: str
    n_vectors: int
    recall_at_20: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what the manifest holds."""
        entry = {
            "encoder": self.encoder,
            "fingerprint": self.fingerprint,
            "dimension": self.dimension,
            "metric": "inner product",
            "faiss": self.faiss,
            "n_vectors": self.n_vectors,
        }
        return entry if self.recall_at_20 is None else entry | {"recall@20": self.recall_at_20}


@dataclass(frozen=True)
class IndexSettings:
    """Analyzer, ranking, counts and vectors of an index, and the notes of whoever built it.

    ``weights`` are those of the analyzer's components.
    """

    analyzer: AnalyzerSettings
    ranking: Ranking
    weights: tuple[float, ...]
    n_passages: int = 0
    n_segments: int = 0
    dense: VectorSettings | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, analyzer: Analyzer, ranking: Ranking, notes: Mapping[str, Any] | None = None) -> IndexSettings:
        """Return the settings of an index that is to be built."""
        return cls(analyzer.settings, ranking, tuple(analyzer.weights), notes=notes or {})

    def to_json(self) -> dict[str, Any]:
        """Return what the manifest holds."""
        entry: dict[str, Any] = {
            "analyzer": self.analyzer.to_json(),
            "ranking": self.ranking.settings() | {"weights": list(self.weights)},
        }
        if self.n_segments:
            entry |= {"n_passages": self.n_passages, "n_segments": self.n_segments}
        if self.dense is not None:
            entry["dense"] = self.dense.to_json()
        return entry | dict(self.notes)

    @classmethod
    def from_json(cls, entry: Mapping[str, Any], path: Path) -> IndexSettings:
        """Return the settings of the index at ``path``.

        Raises CorruptArtifactError for what is not as kofid writes it, IncompatibleArtifactError for an index of
        another version of kofid.
        """
        if "ranking" not in entry:
            raise IncompatibleArtifactError(
                say(
                    f"{path}: 예전 kofid가 만든 색인이라 읽을 수 없습니다. 다시 만들려면: kofid index CORPUS -o {path}",
                    f"{path}: an index of an earlier kofid, which cannot be read; to make it again: "
                    f"kofid index CORPUS -o {path}",
                )
            )
        try:
            return _parse(cls, entry, path)
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptArtifactError(
                say(
                    f"{path}: 손상되었습니다: 설정이 올바르지 않습니다 ({error}). 색인을 다시 만드세요.",
                    f"{path}: damaged: bad settings ({error}); build the index again",
                )
            ) from error


def _parse(kind: type[IndexSettings], entry: Mapping[str, Any], path: Path) -> IndexSettings:
    analyzer = _typed(entry, "analyzer", dict)
    unknown = analyzer.keys() - set(_ANALYZER)
    if unknown:
        raise IncompatibleArtifactError(
            say(
                f"{path}: 다른 kofid가 만든 색인입니다 (분석기 설정 {', '.join(sorted(unknown))}). 색인을 다시 만드세요.",
                f"{path}: an index of another kofid (analyzer settings {', '.join(sorted(unknown))}); build it again",
            )
        )
    ranking = _typed(entry, "ranking", dict)
    components = _texts(analyzer, "components")
    weights = tuple(_number(weight) for weight in _typed(ranking, "weights", list))
    if not components or len(weights) != len(components):
        raise ValueError("ranking.weights")
    for name in ranking.keys() - {"weights", "ranker"}:
        if not (name == "delta" and ranking[name] is None):
            _number(ranking[name])
    return kind(
        AnalyzerSettings(
            components,
            _texts(analyzer, "tags"),
            _typed(analyzer, "context", str),
            _typed(analyzer, "kiwi", str, None),
            _typed(analyzer, "user_dictionary", str, None),
        ),
        Ranking.from_settings(ranking),
        weights,
        _count(entry, "n_passages"),
        _count(entry, "n_segments"),
        _vectors(_typed(entry, "dense", dict)) if "dense" in entry else None,
        {name: value for name, value in entry.items() if name not in _OWN},
    )


def _vectors(entry: Mapping[str, Any]) -> VectorSettings:
    return VectorSettings(
        _typed(entry, "encoder", str),
        _typed(entry, "fingerprint", str),
        _count(entry, "dimension"),
        _typed(entry, "faiss", str),
        _count(entry, "n_vectors"),
        _number(entry["recall@20"]) if "recall@20" in entry else None,
    )


def _typed(entry: Mapping[str, Any], name: str, kind: type[T], *others: None) -> Any:
    """Return an entry of a type, or None where that is allowed; raise KeyError or TypeError that name it."""
    value = entry[name]
    if isinstance(value, kind) or (others and value is None):
        return value
    raise TypeError(name)


def _texts(entry: Mapping[str, Any], name: str) -> tuple[str, ...]:
    texts: Sequence[Any] = _typed(entry, name, list)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(name)
    return tuple(texts)


def _count(entry: Mapping[str, Any], name: str) -> int:
    value = entry[name]
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(name)
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
        raise ValueError(str(value))
    return value
