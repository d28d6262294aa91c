"""kofid train-retriever"""

from __future__ import annotations

from typing import Annotated

import typer

import kofid
from kofid.cli import console
from kofid.cli.options.common import Encoding, Json, Limit, OptionalIndex, Output, Resume
from kofid.cli.options.groups import takes_groups
from kofid.cli.options.training import (
    CONTRAST,
    RETRIEVER_TRAINING,
    Bits,
    Data,
    Dev,
    DryRun,
    Folds,
    NegativeDepth,
    NegativeMode,
    Normalize,
    Pooling,
    VocabSize,
)
from kofid.language import say
from kofid.retrieval.modes import SearchMode
from kofid.training.options import RETRIEVER, SUITED_CONTRAST, Contrast, TrainOptions

NEEDS_ARGUMENTS = True
HELP = say(
    "질문과 패시지가 무게를 함께 쓰는 조밀 검색기를 배치 안 음성 표본과 어려운 음성 표본으로 훈련합니다. --model은 Hugging Face 인코더, 새 "
    "BERT(fresh:mini), 또는 층 없이 토큰 벡터를 더하는 인코더(static:384; 수천 배 빠릅니다). --pretrain은 질문 없이 글더미에서 배웁니다.",
    "Train a shared-weight dense retriever with in-batch and hard negatives. --model is a Hugging Face encoder, a fresh BERT "
    "(fresh:mini), or a sum of token vectors without layers (static:384; thousands of times faster). --pretrain learns from "
    "raw text, without questions.",
)
EXAMPLE = """kofid train-retriever -i kb resources/demo/questions.jsonl --model fresh:mini -o encoder
kofid train-retriever resources/demo/passages.jsonl --pretrain --model static:64 --max-steps 30 -o pretrained
kofid train-retriever -i kb resources/demo/questions.jsonl --model pretrained --negatives 3 --max-steps 10 -o static
kofid train-retriever -i kb resources/demo/questions.jsonl --model pretrained --folds 3 --max-steps 10 -o cross-validated"""


Model = Annotated[
    str,
    typer.Option(
        metavar="MODEL",
        help=say(
            "인코더 디렉터리나 이름, fresh:tiny|mini, 또는 static:차원",
            "Encoder directory or name, fresh:tiny|mini, or static:DIMENSION",
        ),
    ),
]
Pretrain = Annotated[
    bool,
    typer.Option(
        "--pretrain",
        help=say(
            "글더미에서 배웁니다: 문장과 그 패시지, 제목, 이웃 패시지 (역 빈칸)",
            "Learn from corpora: a sentence and its passage, title, neighbours (inverse cloze)",
        ),
    ),
]


@takes_groups
def run(
    data: Data,
    output: Output,
    index: OptionalIndex = None,
    model: Model = "fresh:mini",
    pretrain: Pretrain = False,
    pooling: Pooling = None,
    normalize: Normalize = None,
    vocab_size: VocabSize = 8000,
    bits: Bits = "32",
    n_context: NegativeDepth = 20,
    mode: NegativeMode = "sparse",
    folds: Folds = 0,
    contrast: Annotated[Contrast, CONTRAST] = SUITED_CONTRAST,
    options: Annotated[TrainOptions, RETRIEVER_TRAINING] = RETRIEVER,
    dev: Dev = None,
    resume: Resume = False,
    limit: Limit = None,
    encoding: Encoding = None,
    dry_run: DryRun = False,
    json_output: Json = False,
) -> None:
    """Train an encoder."""
    console.calm_libraries()
    with console.training_progress(say("검색기 훈련", "training retriever")) as on_step:
        figures = kofid.train_retriever(
            data,
            output,
            index=index,
            model=model,
            pretrain=pretrain,
            pooling=pooling,
            normalize=normalize,
            vocab_size=vocab_size,
            bits=int(bits),
            contrast=contrast,
            options=options,
            folds=folds,
            dev=dev,
            mode=SearchMode(mode),
            n_context=n_context,
            encoding=encoding,
            limit=limit,
            resume=resume,
            dry_run=dry_run,
            progress=console.progress,
            on_step=on_step,
            notes=console.note,
        )
    console.print_training(None if dry_run else output, figures, json_output)
