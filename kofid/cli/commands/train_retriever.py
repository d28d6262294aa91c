"""kofid train-retriever"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from kofid.cli import console, retriever_training
from kofid.cli import training as common
from kofid.cli.options.common import (
    BatchSize,
    Bf16,
    Device,
    Encoding,
    Epochs,
    Json,
    Limit,
    MaxSteps,
    Output,
    Resume,
    SaveSteps,
    Seed,
)
from kofid.cli.options.training import (
    Accumulate,
    Dev,
    Ema,
    EvalSteps,
    GradientCheckpointing,
    Lora,
    Optimizer,
    Patience,
    Report,
    Schedule,
    VocabSize,
    Warmup,
    WeightDecay,
)
from kofid.errors import UsageError
from kofid.language import say

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


def run(
    data: common.Data,
    output: Output,
    index: common.OptionalIndex = None,
    model: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help=say(
                "인코더 디렉터리나 이름, fresh:tiny|mini, 또는 static:차원",
                "Encoder directory or name, fresh:tiny|mini, or static:DIMENSION",
            ),
        ),
    ] = "fresh:mini",
    pretrain: Annotated[
        bool,
        typer.Option(
            "--pretrain",
            help=say(
                "글더미에서 배웁니다: 문장과 그 패시지, 제목, 이웃 패시지 (역 빈칸)",
                "Learn from corpora: a sentence and its passage, title, neighbours (inverse cloze)",
            ),
        ),
    ] = False,
    pooling: Annotated[
        Literal["mean", "cls", "pooler"] | None,
        typer.Option(
            help=say("토큰을 모으는 법 (기본: 모델의 것, 없으면 mean)", "Pooling (default: the model's, or mean)")
        ),
    ] = None,
    normalize: Annotated[
        bool | None,
        typer.Option(
            "--normalize/--no-normalize", help=say("벡터의 길이를 1로 (코사인)", "Vectors of length 1 (cosine)")
        ),
    ] = None,
    vocab_size: VocabSize = 8000,
    n_context: Annotated[
        int, typer.Option(min=2, help=say("음성 표본을 고를 깊이", "Depth that negatives are chosen from"))
    ] = 20,
    negatives: Annotated[
        int, typer.Option(min=0, help=say("질문마다 어려운 음성 표본의 수", "Hard negatives a question"))
    ] = 1,
    mode: Annotated[
        Literal["sparse", "dense", "cross"],
        typer.Option(
            help=say(
                "-i에서 음성 표본을 찾는 법. dense: 색인의 벡터로, 곧 모델 스스로 헷갈리는 것을",
                "How negatives are found in -i. dense: by the index's vectors, what the model itself confuses",
            )
        ),
    ] = "sparse",
    folds: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="K",
            help=say(
                "질문을 K겹으로 나누어, 겹마다 처음 모델에서 훈련하고 남겨 둔 겹에서 잽니다 (0: 안 함)",
                "Cross-validation: K models, each from the base model, measured on the fold left out (0: no)",
            ),
        ),
    ] = 0,
    temperature: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help=say(
                "점수를 나눌 온도 (기본: 길이 1이면 0.03, 아니면 1)", "Temperature (default: 0.03 for length 1, else 1)"
            ),
        ),
    ] = None,
    symmetric: Annotated[
        bool,
        typer.Option(
            "--symmetric", help=say("패시지에서 질문을 맞히기도 배웁니다", "Also tell questions from passages")
        ),
    ] = False,
    at_a_time: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help=say(
                "한꺼번에 인코딩할 글의 수 (0: 모두; 큰 배치를 작은 메모리에)",
                "Texts embedded together (0: all; large batches in little memory)",
            ),
        ),
    ] = 0,
    epochs: Epochs = 3.0,
    max_steps: MaxSteps = -1,
    batch_size: BatchSize = 32,
    accumulate: Accumulate = 1,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--lr", min=0.0, help=say("학습률 (기본 2e-4; static 0.01)", "Learning rate (default 2e-4; static 0.01)")
        ),
    ] = None,
    optimizer: Optimizer = "adamw",
    schedule: Schedule = "linear",
    warmup: Warmup = 0.06,
    weight_decay: WeightDecay = 0.0,
    ema: Ema = 0.0,
    dev: Dev = None,
    eval_steps: EvalSteps = 500,
    patience: Patience = 0,
    report: Report = "none",
    save_steps: SaveSteps = 500,
    seed: Seed = 1,
    bf16: Bf16 = False,
    lora: Lora = 0,
    gradient_checkpointing: GradientCheckpointing = False,
    bits: Annotated[
        Literal["32", "8"], typer.Option(help=say("static: 저장할 비트", "static: bits of what is saved"))
    ] = "32",
    resume: Resume = False,
    limit: Limit = None,
    encoding: Encoding = None,
    device: Device = "auto",
    dry_run: common.DryRun = False,
    json_output: Json = False,
) -> None:
    """Train an encoder."""
    from kofid.training.contrast import Contrast
    from kofid.training.trainer import TrainOptions

    _refuse_together(pretrain=pretrain, folds=folds, dev=dev, index=index, patience=patience, mode=mode)
    console.calm_libraries()
    start = retriever_training.Start(
        model, pooling=pooling, normalize=normalize, vocab_size=vocab_size, bits=int(bits), seed=seed
    )
    options = TrainOptions(
        epochs=epochs,
        max_steps=max_steps,
        batch_size=batch_size,
        accumulate=accumulate,
        learning_rate=learning_rate or 0.0,
        optimizer=optimizer,
        schedule=schedule,
        warmup=warmup,
        weight_decay=weight_decay,
        save_steps=save_steps,
        eval_steps=eval_steps,
        patience=patience,
        seed=seed,
        bf16=bf16,
        gradient_checkpointing=gradient_checkpointing,
        ema=ema,
        lora=lora,
        report=report,
        device=device,
    )
    contrast = Contrast(temperature or 0.0, negatives, symmetric, at_a_time)
    kept: dict[str, Any] = {"model": model, "data": data, "pretrain": pretrain, "mode": mode}
    if pretrain:
        encoder, pairs = retriever_training.raw_pairs(data, start, encoding, limit)
        if dry_run:
            console.print_json({"n_passages": len(pairs), **pairs.example(encoder.texts)})
            return
        figures = retriever_training.pretrain(encoder, pairs, output, options, contrast, kept, resume=resume)
        common.report(output, figures, json_output)
        return
    examples = common.load_examples(data, index, n_context, encoding, limit, mode=mode)
    common.need_examples(examples)
    if dry_run:
        common.show_example(examples[0], len(examples))
        return
    held_out = common.load_examples([dev], index, n_context, encoding, limit) if dev else []
    job = retriever_training.Job(start, options, contrast, kept, resume=resume)
    figures = job.fold(examples, output, folds) if folds else job.fit(examples, output, dev=held_out)
    common.report(output, figures, json_output)


def _refuse_together(
    *, pretrain: bool, folds: int, dev: str | None, index: Path | None, patience: int, mode: str
) -> None:
    if patience and dev is None:
        raise UsageError(say("--patience에는 --dev가 있어야 합니다", "--patience needs --dev"))
    if pretrain and (dev or index or folds):
        raise UsageError(
            say("--pretrain은 -i, --dev, --folds와 함께 못 씁니다", "--pretrain goes with none of -i, --dev, --folds")
        )
    if folds == 1:
        raise UsageError(say("--folds: 2 이상이어야 합니다", "--folds: must be 2 or more"))
    if folds and dev:
        raise UsageError(
            say("--folds는 남겨 둔 겹에서 잽니다: --dev는 빼세요", "--folds measures on its own folds; leave out --dev")
        )
    if mode != "sparse" and index is None:
        raise UsageError(say("--mode에는 -i가 있어야 합니다", "--mode needs -i"))
