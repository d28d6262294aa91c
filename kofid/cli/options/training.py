"""Options of the commands that train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from kofid.language import say

ReaderModel = Annotated[
    str,
    typer.Option(
        metavar="MODEL",
        help=say(
            "T5 디렉터리나 이름, 또는 fresh:tiny|mini|compact|small",
            "T5 directory or name, or fresh:tiny|mini|compact|small",
        ),
    ),
]
Decoder = Annotated[
    str | None,
    typer.Option(metavar="MODEL", help=say("skt: GPT-2 디렉터리나 이름", "skt: GPT-2 directory or name")),
]
Pointing = Annotated[
    bool,
    typer.Option(
        "--pointing",
        help=say("FiD-Light: 답한 패시지의 번호도 쓰게 합니다", "FiD-Light: also write the passages answered from"),
    ),
]
Match = Annotated[
    bool,
    typer.Option(
        "--match",
        help=say(
            "패시지의 어느 토큰이 질문에도 있는지 알려 줍니다 (적게 배운 모델에 좋습니다)",
            "Tell the encoder which tokens question and passage share (good for models that have seen little)",
        ),
    ),
]
Copying = Annotated[
    bool,
    typer.Option(
        "--copying",
        help=say("어휘 곁에 패시지의 토큰을 베끼는 포인터를 둡니다", "A pointer that copies tokens of the passages"),
    ),
]
Morphemes = Annotated[
    bool,
    typer.Option(
        "--morphemes",
        help=say(
            "fresh: 어휘의 조각이 형태소를 넘지 않게 배웁니다 (조사가 따로 섭니다)",
            "fresh: no piece of the vocabulary goes over a morpheme's border (particles stand alone)",
        ),
    ),
]
DecoderLayers = Annotated[
    int | None, typer.Option(min=1, help=say("fresh: 디코더 층 수", "fresh: layers of the decoder"))
]
MaxTokens = Annotated[
    int | None,
    typer.Option(
        min=16,
        help=say(
            "패시지(extractive: 창) 하나의 토큰 수 [250, 384]",
            "Tokens a passage, or window of extractive [250, 384]",
        ),
    ),
]
Stride = Annotated[
    int, typer.Option(min=0, help=say("extractive: 창이 겹치는 토큰 수", "extractive: tokens that windows overlap"))
]
Norm = Annotated[
    Literal["shared", "window"],
    typer.Option(
        help=say(
            "extractive: 확률을 모든 창에서 함께, 또는 창마다",
            "extractive: probabilities over all windows, or in each",
        ),
    ),
]
VocabSize = Annotated[int, typer.Option(min=300, help=say("새 모델의 어휘 수", "Vocabulary of a fresh model"))]
Accumulate = Annotated[int, typer.Option(min=1, help=say("기울기를 모을 배치 수", "Batches to accumulate"))]
Optimizer = Annotated[
    Literal["adamw", "adafactor"],
    typer.Option(
        help=say(
            "최적화기. 새 모델에는 adafactor와 --lr 0.01쯤이 맞습니다",
            "Optimizer; a fresh model wants adafactor with an --lr of about 0.01",
        )
    ),
]
Schedule = Annotated[
    Literal["linear", "cosine", "constant"],
    typer.Option(help=say("학습률이 줄어드는 꼴 (--warmup 뒤)", "How the learning rate falls, after --warmup")),
]
Warmup = Annotated[
    float,
    typer.Option(
        min=0.0, max=0.99, help=say("학습률을 올리는 걸음의 몫", "Share of the steps in which the rate rises")
    ),
]
WarmupCross = Annotated[
    int,
    typer.Option(
        min=0,
        metavar="N",
        help=say(
            "처음 N걸음은 다리와 교차 주의만 배웁니다 (skt에서는 이것들이 새것입니다)",
            "Train only bridge and cross-attention for N steps (in skt these are new)",
        ),
    ),
]
WeightDecay = Annotated[float, typer.Option(min=0.0, help=say("무게 감쇠", "Weight decay"))]
Ema = Annotated[
    float,
    typer.Option(
        min=0.0,
        max=0.99999,
        metavar="DECAY",
        help=say(
            "무게의 지수 이동 평균을 재고 저장합니다 (0.999쯤; 0: 끔)",
            "Evaluate and save an exponential average of the weights (about 0.999; 0: off)",
        ),
    ),
]
Lora = Annotated[
    int,
    typer.Option(
        min=0,
        metavar="RANK",
        help=say(
            "주의의 작은 어댑터만 배우고 끝에 합칩니다 (peft 필요; 0: 끔)",
            "Train small adapters of attention only, merged in the end (needs peft; 0: off)",
        ),
    ),
]
GradientCheckpointing = Annotated[
    bool,
    typer.Option(
        "--gradient-checkpointing",
        help=say("기억을 아끼고 시간을 더 씁니다", "Less memory for more time: recompute the encoder"),
    ),
]
Dev = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help=say(
            "EM이 가장 높은 무게를 고를 질문 파일이나 FiD JSON",
            "Questions or FiD JSON on which the weights with the best EM are chosen",
        ),
    ),
]
EvalSteps = Annotated[
    int, typer.Option(min=1, metavar="N", help=say("--dev로 재는 간격(걸음)", "Steps between evaluations on --dev"))
]
Patience = Annotated[
    int,
    typer.Option(
        min=0,
        metavar="N",
        help=say(
            "--dev에서 N번 나아지지 않으면 멈춥니다 (0: 끝까지)",
            "Stop after N evaluations on --dev without a better one (0: never)",
        ),
    ),
]
Report = Annotated[
    Literal["none", "tensorboard", "wandb"],
    typer.Option(
        help=say(
            "손실과 척도를 보낼 곳 (tensorboard: 만들 디렉터리 옆 .이름.tensorboard)",
            "Where losses and measures go too (tensorboard: .NAME.tensorboard beside the directory made)",
        )
    ),
]
Half = Annotated[bool, typer.Option("--half", help=say("무게를 16비트로 저장", "Save weights in 16 bits"))]
Words = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help=say(
            "span: 낱말의 드묾과 이름의 종류 (resources/recipes/span_words.py; 기본: 함께 오는 것)",
            "span: rarity of words and kinds of names (resources/recipes/span_words.py; default: the bundled ones)",
        ),
    ),
]
