"""Options of the commands that train, and the groups that they share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

import kofid
from kofid.cli.options.common import BatchSize, Bf16, Device, Epochs, LearningRate, MaxSteps, NContext, SaveSteps, Seed
from kofid.cli.options.groups import Options
from kofid.cli.options.reading import CrossLayers, FirstK, KvHeads
from kofid.language import say
from kofid.training.options import OptimizerName, ReportTo, Schedule

if TYPE_CHECKING:
    from kofid import Variant

Data = Annotated[
    list[str],
    typer.Argument(
        help=say(
            "FiD JSON (ctxs), 또는 질문 파일 (이때는 -i 색인에서 패시지를 찾습니다)",
            "FiD JSON (ctxs), or question files (then passages are found in the index of -i)",
        )
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help=say("첫 보기를 보이고 훈련하지 않습니다", "Show the first example; do not train")),
]

ReaderModel = Annotated[
    str,
    typer.Option(
        metavar="MODEL",
        help=say(
            "T5나 BERT의 디렉터리나 이름, 또는 fresh:tiny|mini|compact|small",
            "Directory or name of a T5 or BERT, or fresh:tiny|mini|compact|small",
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
    int | None,
    typer.Option(
        "--decoder-layers", min=1, help=say("fresh, BERT: 새 디코더의 층 수", "fresh, BERT: layers of the new decoder")
    ),
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
AnswerTokens = Annotated[
    int,
    typer.Option(min=1, help=say("답 하나의 토큰 수: 배울 때도 쓸 때도", "Tokens of an answer, learned or written")),
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
    OptimizerName,
    typer.Option(
        help=say(
            "최적화기. 새 모델에는 adafactor와 --lr 0.01쯤이 맞습니다",
            "Optimizer; a fresh model wants adafactor with an --lr of about 0.01",
        )
    ),
]
LearningSchedule = Annotated[
    Schedule,
    typer.Option(
        help=say(
            "학습률이 줄어드는 꼴 (--warmup 뒤). cyclic: --min-lr에서 --warmup만큼 오르고 그만큼 내리기를 되풀이",
            "How the learning rate falls, after --warmup. cyclic: up from --min-lr for --warmup, down for as long, and again",
        )
    ),
]
MinLearningRate = Annotated[
    float,
    typer.Option("--min-lr", min=0.0, help=say("cyclic의 가장 낮은 학습률", "cyclic: the lowest learning rate")),
]
SuitedLearningRate = Annotated[
    float,
    typer.Option(
        "--lr",
        min=0.0,
        show_default=False,
        help=say("학습률 (기본 2e-4; static 0.01)", "Learning rate (default 2e-4; static 0.01)"),
    ),
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
    ReportTo,
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
Pooling = Annotated[
    Literal["mean", "cls", "pooler"] | None,
    typer.Option(
        help=say("토큰을 모으는 법 (기본: 모델의 것, 없으면 mean)", "Pooling (default: the model's, or mean)")
    ),
]
Normalize = Annotated[
    bool | None,
    typer.Option("--normalize/--no-normalize", help=say("벡터의 길이를 1로 (코사인)", "Vectors of length 1 (cosine)")),
]
Bits = Annotated[Literal["32", "8"], typer.Option(help=say("static: 저장할 비트", "static: bits of what is saved"))]
Folds = Annotated[
    int,
    typer.Option(
        min=0,
        metavar="K",
        help=say(
            "질문을 K겹으로 나누어, 겹마다 처음 모델에서 훈련하고 남겨 둔 겹에서 잽니다 (0: 안 함)",
            "Cross-validation: K models, each from the base model, measured on the fold left out (0: no)",
        ),
    ),
]
NegativeDepth = Annotated[
    int, typer.Option(min=2, help=say("음성 표본을 고를 깊이", "Depth that negatives are chosen from"))
]
NegativeMode = Annotated[
    Literal["sparse", "dense", "cross"],
    typer.Option(
        help=say(
            "-i에서 음성 표본을 찾는 법. dense: 색인의 벡터로, 곧 모델 스스로 헷갈리는 것을",
            "How negatives are found in -i. dense: by the index's vectors, what the model itself confuses",
        )
    ),
]
Temperature = Annotated[
    float,
    typer.Option(
        min=0.0,
        show_default=False,
        help=say(
            "점수를 나눌 온도 (기본: 길이 1이면 0.03, 아니면 1)", "Temperature (default: 0.03 for length 1, else 1)"
        ),
    ),
]
HardNegatives = Annotated[
    int, typer.Option("--negatives", min=0, help=say("질문마다 어려운 음성 표본의 수", "Hard negatives a question"))
]
Symmetric = Annotated[
    bool,
    typer.Option("--symmetric", help=say("패시지에서 질문을 맞히기도 배웁니다", "Also tell questions from passages")),
]
AtATime = Annotated[
    int,
    typer.Option(
        min=0,
        metavar="N",
        help=say(
            "한꺼번에 인코딩할 글의 수 (0: 모두; 큰 배치를 작은 메모리에)",
            "Texts embedded together (0: all; large batches in little memory)",
        ),
    ),
]
TeacherType = Annotated[
    Literal["auto", "float32", "bfloat16"],
    typer.Option(
        "--dtype",
        help=say(
            "가르치는 리더의 수 (auto: 프로세서가 잘하면 bfloat16)",
            "Numbers of the reader that teaches (auto: bfloat16 where the processor has it)",
        ),
    ),
]
ReaderTemperature = Annotated[
    float, typer.Option(min=1e-6, help=say("리더 점수의 온도", "Temperature of reader scores"))
]
RetrieverTemperature = Annotated[
    float,
    typer.Option(
        min=0.0,
        help=say(
            "내적의 온도 (0: 길이 1이면 0.05, 아니면 차원의 제곱근)",
            "Temperature of inner products (0: 0.05 for length 1, else the square root of the dimension)",
        ),
    ),
]
Reduction = Annotated[
    Literal["batchmean", "mean"],
    typer.Option(help=say("KL의 평균: 질문마다, 또는 패시지마다도", "Mean of KL: over questions, or passages too")),
]
ContrastShare = Annotated[
    float,
    typer.Option(
        min=0.0, help=say("배치 안 대조 손실의 몫 (0: 안 섞음)", "Weight of an in-batch contrastive loss (0: none)")
    ),
]

# Of kofid.training.options.TrainOptions: what all commands take that train, what those with a dev set, and their own.
OPTIMIZING = Options(
    epochs=Epochs,
    max_steps=MaxSteps,
    batch_size=BatchSize,
    accumulate=Accumulate,
    learning_rate=LearningRate,
    min_learning_rate=MinLearningRate,
    optimizer=Optimizer,
    schedule=LearningSchedule,
    warmup=Warmup,
    weight_decay=WeightDecay,
    ema=Ema,
    report=Report,
    save_steps=SaveSteps,
    seed=Seed,
    bf16=Bf16,
    device=Device,
)
TRAINING = OPTIMIZING | Options(eval_steps=EvalSteps, patience=Patience)
RETRIEVER_TRAINING = TRAINING | Options(
    learning_rate=SuitedLearningRate, lora=Lora, gradient_checkpointing=GradientCheckpointing
)
READER_TRAINING = TRAINING | Options(lora=Lora, gradient_checkpointing=GradientCheckpointing, warmup_cross=WarmupCross)
# Of ReadingLengths, FreshModel, Contrast and Distillation.
LENGTHS = Options(
    n_context=NContext,
    max_tokens=MaxTokens,
    answer_tokens=AnswerTokens,
    stride=Stride,
    norm=Norm,
    n_negatives=HardNegatives,
)
FRESH = Options(vocab_size=VocabSize, morphemes=Morphemes, n_decoder_layers=DecoderLayers)
CONTRAST = Options(temperature=Temperature, n_negatives=HardNegatives, symmetric=Symmetric, at_a_time=AtATime)
DISTILLATION = Options(
    temperature=ReaderTemperature,
    retriever_temperature=RetrieverTemperature,
    reduction=Reduction,
    contrast=ContrastShare,
)


@dataclass(frozen=True)
class VariantOptions:
    """What makes a reader FiD-Light or FiDO, or helps one that has read little."""

    first_k: FirstK = 0
    pointing: Pointing = False
    match: Match = False
    copying: Copying = False
    n_cross_layer: CrossLayers = None
    n_kv_heads: KvHeads = 0

    def variant(self) -> Variant:
        """Return the variant; raise UsageError for layers that are no numbers."""
        return kofid.Variant.of(
            self.first_k, self.n_cross_layer, self.n_kv_heads, self.pointing, self.match, self.copying
        )
