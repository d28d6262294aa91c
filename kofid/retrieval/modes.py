"""How passages are searched for, and how two scores become one: the names, and nothing heavy."""

from __future__ import annotations

from enum import StrEnum


class SearchMode(StrEnum):
    """The ways to search an index."""

    AUTO = "auto"  # cross where the index has vectors, else sparse
    SPARSE = "sparse"  # by terms
    DENSE = "dense"  # by vectors
    SEQUENTIAL = "sequential"  # the best by terms, reordered by vectors
    CROSS = "cross"  # what either finds, both scores fused

    def resolve(self, *, has_vectors: bool) -> SearchMode:
        """Return the mode that ``auto`` stands for; any other as it is.

        >>> SearchMode.AUTO.resolve(has_vectors=True), SearchMode.DENSE.resolve(has_vectors=False)
        (<SearchMode.CROSS: 'cross'>, <SearchMode.DENSE: 'dense'>)
        """
        if self is not SearchMode.AUTO:
            return self
        return SearchMode.CROSS if has_vectors else SearchMode.SPARSE


class FusionMethod(StrEnum):
    """How dense and sparse scores are brought to one scale; see ``kofid.retrieval.fusion.Fusion``."""

    MAX = "max"
    MINMAX = "minmax"
    RAW = "raw"
    RRF = "rrf"
