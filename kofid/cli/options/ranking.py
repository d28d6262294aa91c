"""Options that set how the parts of a score are put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import typer

from kofid.errors import UsageError
from kofid.language import say

Ranker = Annotated[
    Literal["lucene", "okapi", "atire", "bm25+", "bm25l", "tf-idf"] | None,
    typer.Option(help=say("점수 식 (기본 lucene, BM25의 하나)", "Formula (default lucene, a BM25)")),
]
K1 = Annotated[float | None, typer.Option("--k1", min=0.0, help=say("BM25 k1 (기본 0.8)", "BM25 k1 (default 0.8)"))]
B = Annotated[
    float | None, typer.Option("--b", min=0.0, max=1.0, help=say("BM25 b (기본 0.5)", "BM25 b (default 0.5)"))
]
Delta = Annotated[
    float | None,
    typer.Option(min=0.0, help=say("BM25+의 δ (기본 1), BM25L의 δ (기본 0.5)", "δ of BM25+ (1) or BM25L (0.5)")),
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="NAME=W,...",
        help=say(
            "무게: 분석기 성분(kiwi, bigram ...), title, asking(묻는 말), ending(조사·어미), sentence(한 문장에 모인 말), "
            "article(같은 문서의 벌점)",
            "Weights: analyzer components (kiwi, bigram ...), title, asking words, ending bigrams, terms in one sentence, "
            "article penalty",
        ),
    ),
]
_PARTS = {
    "title": "title_weight",
    "asking": "asking_weight",
    "ending": "ending_weight",
    "sentence": "sentence_weight",
    "article": "article_penalty",
}


def ranking_changes(
    ranker: str | None,
    k1: float | None,
    b: float | None,
    delta: float | None,
    weights: str | None,
    components: Sequence[str],
    stored: Sequence[float],
) -> dict[str, Any]:
    """Return the settings that options change; raises UsageError for weights of what the index does not have."""
    given = {"ranker": ranker, "k1": k1, "b": b, "delta": delta}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    by_component = dict(zip(components, stored, strict=True))
    for part in weights.split(",") if weights else ():
        name, mark, value = part.strip().rpartition("=")
        if not mark or not _is_weight(value) or name not in (*by_component, *_PARTS):
            raise UsageError(
                say(
                    f"--weights '{part}': 이름=수 여야 합니다. 이름: {', '.join((*by_component, *_PARTS))}",
                    f"--weights '{part}': must be NAME=NUMBER; names: {', '.join((*by_component, *_PARTS))}",
                )
            )
        if name in _PARTS:
            changes[_PARTS[name]] = float(value)
        else:
            by_component[name] = float(value)
    if list(by_component.values()) != list(stored):
        changes["weights"] = list(by_component.values())
    return changes


def _is_weight(text: str) -> bool:
    try:
        return 0 <= float(text) < float("inf")
    except ValueError:
        return False
