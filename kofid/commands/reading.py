"""Options of the commands that make or use fusion readers."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from kofid.language import say

FirstK = Annotated[
    int,
    typer.Option(
        min=0,
        help=say(
            "FiD-Light: 패시지마다 남길 인코더 상태의 수 (0: 모두)",
            "FiD-Light: encoder states kept of a passage (0: all)",
        ),
    ),
]
CrossLayers = Annotated[
    str | None,
    typer.Option(
        "--n-cross-layer",
        metavar="N|A,B,..",
        help=say(
            "FiDO: 교차 주의를 N, 2N, 3N...번째 디코더 층에만, 또는 쉼표로 든 층에만 (1부터)",
            "FiDO: cross-attention only in decoder layers N, 2N, 3N, ..., or in those listed (counted from 1)",
        ),
    ),
]
KvHeads = Annotated[
    int,
    typer.Option(
        "--kv-heads",
        min=0,
        help=say(
            "FiDO: 디코더의 키·값 머리 수 (GQA; 1은 MQA, 0은 모두)",
            "FiDO: key-value heads of the decoder (GQA; 1: MQA; 0: all)",
        ),
    ),
]
Beams = Annotated[
    int, typer.Option("--beams", min=1, help=say("리더가 견줄 답의 수 (1: 탐욕)", "Beams of the reader (1: greedy)"))
]
DType = Annotated[
    Literal["auto", "float32", "bfloat16"],
    typer.Option(
        "--dtype",
        help=say(
            "리더의 수 (auto: 프로세서가 잘하면 bfloat16)",
            "Numbers of the reader (auto: bfloat16 where the processor has it)",
        ),
    ),
]
Int8 = Annotated[bool, typer.Option("--int8", help=say("디코더를 8비트 정수로", "The decoder in 8-bit integers"))]
