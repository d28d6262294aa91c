"""Options of the commands that make or use fusion readers."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

import kofid
from kofid.cli.options.groups import Options
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
    int,
    typer.Option(
        "--beams",
        min=0,
        help=say(
            "리더가 견줄 답의 수 (1: 탐욕; 0: 리더가 정함)",
            "Beams of the reader (1: greedy; 0: as it suits the reader)",
        ),
    ),
]
FromPassages = Annotated[
    bool | None,
    typer.Option(
        "--from-passages/--free",
        help=say(
            "답을 패시지에 그대로 있는 말로만 쓰게 합니다 (기본: 베끼는 리더만)",
            "Answers only in words as they stand in a passage (default: readers that copy)",
        ),
    ),
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
Int8 = Annotated[
    Literal["none", "decoder", "all"],
    typer.Option(
        help=say(
            "리더의 곱셈을 8비트 정수로: 디코더만, 또는 모두 (CPU; 답이 조금 달라질 수 있습니다)",
            "Products of the reader in 8-bit integers: the decoder's or all (CPU; answers may change a little)",
        )
    ),
]
Temperature = Annotated[
    float,
    typer.Option(
        min=0.0,
        help=say(
            "0보다 크면 리더가 답을 뽑습니다 (0: 가장 그럴듯한 답)", "Above 0 the reader samples (0: the likeliest)"
        ),
    ),
]
TopP = Annotated[
    float,
    typer.Option(
        min=0.01,
        max=1.0,
        help=say(
            "--temperature: 이만큼의 확률을 이루는 토큰에서만",
            "With --temperature: only tokens that make up this share",
        ),
    ),
]
AnswerTokens = Annotated[
    int,
    typer.Option(
        min=0,
        help=say("답 하나에 쓸 토큰 수 (0: 리더가 정함)", "Tokens of an answer at most (0: as it suits the reader)"),
    ),
]
Windows = Annotated[
    int,
    typer.Option(
        "--windows",
        min=0,
        help=say(
            "joint 리더가 읽을 창의 수 (0: 24). 적으면 빠릅니다",
            "Windows that the joint reader reads (0: 24); fewer are faster",
        ),
    ),
]
Fast = Annotated[
    bool,
    typer.Option("--fast", help=say("joint 리더가 창 4개만 읽습니다", "The joint reader reads 4 windows only")),
]
FAST_WINDOWS = 4
# The options of ``kofid.ReadingOptions``.
READING = Options(
    n_beams=Beams,
    from_passages=FromPassages,
    answer_tokens=AnswerTokens,
    n_windows=Windows,
    dtype=DType,
    int8=Int8,
    temperature=Temperature,
    top_p=TopP,
)
# What commands read with when nothing else is said: numbers that suit the processor.
SUITED = kofid.ReadingOptions(dtype="auto")
