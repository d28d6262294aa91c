"""Options of the commands that search by terms, by vectors, or by both, and of how the parts of a score are put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

import kofid
from kofid.cli.options.groups import Options
from kofid.language import say
from kofid.retrieval.modes import FusionMethod, SearchMode

if TYPE_CHECKING:
    from kofid import Fusion

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
NProbe = Annotated[
    int | None,
    typer.Option(
        "--nprobe",
        min=1,
        help=say(
            "IVF 벡터 색인에서 들여다볼 칸의 수 (기본: 4분의 1)",
            "Cells of an IVF index of vectors to look into (default: a quarter)",
        ),
    ),
]
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
# The options of ``kofid.RankingOptions``.
RANKING = Options(ranker=Ranker, k1=K1, b=B, delta=Delta, weights=Weights)


@dataclass(frozen=True)
class FusionOptions:
    """How the scores of cross are fused."""

    fusion: FusionOption = FusionMethod.MAX
    dense_weight: DenseWeight = None
    sparse_weight: SparseWeight = 1.0
    rrf_k: RrfK = 60

    def of(self) -> Fusion:
        """Return the fusion that they describe."""
        return kofid.Fusion(self.fusion, self.dense_weight, self.sparse_weight, self.rrf_k)
