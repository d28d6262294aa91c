"""Why a passage was found: which terms of the question scored how much, and which did not count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kofid.language import say
from kofid.retrieval.index import Index
from kofid.retrieval.modes import AnalysisContext
from kofid.retrieval.sparse.query import QueryTerm
from kofid.retrieval.sparse.search import Share
from kofid.types import Hit


@dataclass(frozen=True)
class Explanation:
    """A question's terms with the number of passages that hold each, the words dropped and why, and each hit's shares.

    A hit's shares sum to its score. Two kinds of share are no single term's: the field ``sentence`` is for terms that stand
    together, ``article`` is the penalty for further passages of an article.
    """

    terms: list[tuple[QueryTerm, int]]
    dropped: list[tuple[str, str]]
    hits: list[list[Share]]
    components: list[str]

    def name(self, share: Share) -> str:
        """Return how a share is shown: its term, and where it was found if not as a morpheme in the text."""
        if share.field == "sentence":
            return say("한 문장에 모임", "in one sentence")
        if share.field == "article":
            return say("같은 문서", "same article")
        marks = [self.components[share.component]] * (share.component > 0) + ["title"] * (share.field == "title")
        return f"{share.term} ({', '.join(marks)})" if marks else share.term

    def to_json(self) -> dict[str, Any]:
        """Return the query's part of it; ``shares_to_json`` returns a hit's."""
        return {
            "terms": [
                {
                    "term": t.text,
                    "component": self.components[t.component],
                    "weight": round(t.weight, 4),
                    "passages": df,
                }
                for t, df in self.terms
            ],
            "dropped": [{"word": word, "reason": reason} for word, reason in self.dropped],
        }

    def shares_to_json(self, hit: int) -> list[dict[str, Any]]:
        """Return what each term gave to a hit."""
        return [
            {"term": s.term, "component": self.components[s.component], "field": s.field, "score": round(s.score, 4)}
            for s in self.hits[hit]
        ]


def explain(index: Index, question: str, hits: Sequence[Hit]) -> Explanation:
    """Explain ``hits``, found in ``index`` for ``question`` by ``Index.search``."""
    analysis = index.analyze(question)
    terms = index.query(question)
    counted = [(t, index.sparse.document_frequency(t.text, t.component)) for t in terms if t.weight]
    searched = {term.word for term in terms if term.weight}
    known = {t.word for t, n in counted if n}
    dropped = []
    for word, parts in dict(analysis).items() if index.analyzer.context == AnalysisContext.WORD else ():
        if not any(parts):
            dropped.append((word, say("실질형태소 없음", "no content")))
        elif word not in searched:
            dropped.append((word, say("묻는 말", "only asks")))
        elif word not in known:
            dropped.append((word, say("색인에 없음", "not in the index")))
    return Explanation(
        counted, dropped, [_shares(index, terms, hit) for hit in hits], [c.name for c in index.analyzer.components]
    )


def _shares(index: Index, terms: Sequence[QueryTerm], hit: Hit) -> list[Share]:
    position = index.passages.find(hit.passage.id)
    shares = index.sparse.explain(terms, position) if position is not None else []
    penalty = hit.score - sum(share.score for share in shares)
    if penalty < -1e-3:
        shares.append(Share("", 0, "article", penalty))
    return shares
