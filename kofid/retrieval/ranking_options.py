"""What people change of a ranking: the formula, its parameters, and weights written as ``bigram=0.5,title=2``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kofid.errors import UsageError
from kofid.language import say, setting

if TYPE_CHECKING:
    from kofid.retrieval.index import Index

# By the name that people write, the setting of ``Ranking``.
_PARTS = {
    "title": "title_weight",
    "asking": "asking_weight",
    "ending": "ending_weight",
    "sentence": "sentence_weight",
    "article": "article_penalty",
}


@dataclass(frozen=True)
class RankingOptions:
    """Settings of a ranking that take the place of an index's own; None keeps those.

    ``weights`` are of the analyzer's components, and of ``title``, ``asking``, ``ending``, ``sentence`` and ``article``.

    >>> RankingOptions(k1=1.2, weights="bigram=0.5,title=2").changes(["kiwi", "bigram"], [1.0, 1.0])
    {'k1': 1.2, 'title_weight': 2.0, 'weights': [1.0, 0.5]}
    """

    ranker: str | None = None
    k1: float | None = None
    b: float | None = None
    delta: float | None = None
    weights: str | None = None

    def changes(self, components: Sequence[str], stored: Sequence[float]) -> dict[str, Any]:
        """Return the settings that differ, as ``Index.ranked`` takes them; raise UsageError for what an index does not have.

        ``stored``: the weights of its ``components``.
        """
        options = {"ranker": self.ranker, "k1": self.k1, "b": self.b, "delta": self.delta}
        changes: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
        by_component = dict(zip(components, stored, strict=True))
        for part in self.weights.split(",") if self.weights else ():
            name, mark, value = part.strip().rpartition("=")
            if not mark or not _is_weight(value) or name not in (*by_component, *_PARTS):
                known = ", ".join((*by_component, *_PARTS))
                written = setting("weights", part)
                raise UsageError(
                    say(
                        f"{written}: 이름=수 여야 합니다. 이름: {known}",
                        f"{written}: must be NAME=NUMBER; names: {known}",
                    )
                )
            if name in _PARTS:
                changes[_PARTS[name]] = float(value)
            else:
                by_component[name] = float(value)
        if list(by_component.values()) != list(stored):
            changes["weights"] = list(by_component.values())
        return changes

    def of(self, index: Index) -> Index:
        """Return an index with its ranking changed."""
        changes = self.changes([component.name for component in index.analyzer.components], index.weights)
        return index.ranked(**changes) if changes else index


def _is_weight(text: str) -> bool:
    try:
        return 0 <= float(text) < float("inf")
    except ValueError:
        return False
