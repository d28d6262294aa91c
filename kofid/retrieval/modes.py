"""The names of what can be chosen about a search, and nothing heavy."""

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


class RankerName(StrEnum):
    """The formulas by which a term scores; see ``kofid.retrieval.sparse.ranking``."""

    LUCENE = "lucene"  # BM25 as Lucene has it
    OKAPI = "okapi"
    ATIRE = "atire"
    BM25_PLUS = "bm25+"
    BM25L = "bm25l"
    TF_IDF = "tf-idf"


class Engine(StrEnum):
    """What searches by terms: kofid, or a public package to compare with; see ``kofid.retrieval.engines``."""

    KOFID = "kofid"
    RANK_BM25 = "rank-bm25"
    BM25S = "bm25s"


class AnalysisContext(StrEnum):
    """What is analysed at a time."""

    WORD = "word"  # every different word once, without its neighbours
    SENTENCE = "sentence"  # whole texts
