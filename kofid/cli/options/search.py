"""Options of the commands that search by terms, by vectors, or by both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kofid.language import say
from kofid.retrieval.modes import FusionMethod, SearchMode

if TYPE_CHECKING:
    from kofid.retrieval.fusion import Fusion
    from kofid.retrieval.index import Index
    from kofid.types import Search

Mode = Annotated[
    SearchMode,
    typer.Option(
        help=say(
            "찾는 방법. sparse: 낱말로, dense: 벡터로, sequential: 낱말로 찾은 상위를 벡터로 다시, cross: 둘을 섞어서. auto: 색인에 벡터가 있으면 "
            "cross, 없으면 sparse",
            "How to search. sparse: by terms, dense: by vectors, sequential: the best by terms reordered by vectors, cross: "
            "both fused. auto: cross where the index has vectors, else sparse",
        )
    ),
]
FusionOption = Annotated[
    FusionMethod,
    typer.Option(
        "--fusion",
        help=say(
            "cross에서 두 점수를 맞추는 법. max: 질문의 최고점으로 나눔, minmax: 0-1로, raw: 그대로, rrf: 순위로",
            "How cross scales the two. max: over the question's highest, minmax: to 0-1, raw: as they are, rrf: by rank",
        ),
    ),
]
DenseWeight = Annotated[
    float | None,
    typer.Option(
        "--lambda",
        "--dense-weight",
        min=0.0,
        help=say(
            "cross에서 조밀 점수의 몫 (기본: max, minmax 0.2, raw 1.1, rrf 1)",
            "Weight of dense scores in cross (default: max, minmax 0.2, raw 1.1, rrf 1)",
        ),
    ),
]
SparseWeight = Annotated[
    float, typer.Option(min=0.0, help=say("cross에서 낱말 점수의 몫", "Weight of sparse scores in cross"))
]
RrfK = Annotated[int, typer.Option("--rrf-k", min=0, help=say("rrf의 k", "The k of rrf"))]
Depth = Annotated[
    int,
    typer.Option(
        min=1,
        help=say("sequential과 cross가 견주는 패시지 수", "Passages that sequential and cross weigh"),
    ),
]


def chosen_search(index: Index, mode: SearchMode, fusion: Fusion, depth: int, device: str) -> Search:
    """Return the search of a mode, the libraries it needs kept quiet."""
    from kofid.cli import console
    from kofid.retrieval.hybrid import open_search

    if mode.resolve(has_vectors=index.has_vectors) is not SearchMode.SPARSE:
        console.calm_libraries()
    return open_search(index, mode, device=device, fusion=fusion, depth=depth)
