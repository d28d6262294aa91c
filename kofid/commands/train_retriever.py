"""kofid train-retriever"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from kofid.commands import console
from kofid.commands import training as common
from kofid.commands.options import (
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
from kofid.commands.training_options import (
    Accumulate,
    Dev,
    Ema,
    EvalSteps,
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

if TYPE_CHECKING:
    from kofid.training.trainer import OnStep

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
kofid train-retriever -i kb resources/demo/questions.jsonl --model pretrained --negatives 3 --max-steps 10 -o static"""


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
    from kofid.retrieval.encoder import TransformerEncoder
    from kofid.retrieval.static import StaticEncoder
    from kofid.training.retriever import Contrast, pretrain_retriever, train_retriever
    from kofid.training.trainer import TrainOptions, settings

    if patience and dev is None:
        raise UsageError(say("--patience에는 --dev가 있어야 합니다", "--patience needs --dev"))
    if pretrain and (dev or index):
        raise UsageError(say("--pretrain은 -i, --dev와 함께 못 씁니다", "--pretrain goes with neither -i nor --dev"))
    console.calm_libraries()
    examples = [] if pretrain else common.load_examples(data, index, n_context, encoding, limit)
    if not pretrain:
        common.need_examples(examples)
        if dry_run:
            common.show_example(examples[0], len(examples))
            return
    pairs = None
    if pretrain:
        encoder, pairs = common.raw_pairs(data, model, encoding, limit, vocab_size=vocab_size, seed=seed)
        if dry_run:
            console.print_json({"n_passages": len(pairs), **pairs.example(encoder.texts)})
            return
    else:
        encoder = common.encoder_to_train(model, common.example_texts(examples), vocab_size=vocab_size, seed=seed)
    is_static = isinstance(encoder, StaticEncoder)
    if isinstance(encoder, StaticEncoder):
        if pooling or normalize is not None:
            raise UsageError(
                say("--pooling과 --normalize는 static에 없습니다", "--pooling and --normalize are not for static")
            )
        encoder.bits = int(bits)
    elif isinstance(encoder, TransformerEncoder):
        encoder.pooling = pooling or encoder.pooling
        encoder.normalize = encoder.normalize if normalize is None else normalize
        if bits != "32":
            raise UsageError(say("--bits는 static에만 있습니다", "--bits is for static only"))
    unit = is_static or encoder.kind()["normalize"]
    options = TrainOptions(
        epochs=epochs,
        max_steps=max_steps,
        batch_size=batch_size,
        accumulate=accumulate,
        learning_rate=learning_rate if learning_rate is not None else (0.01 if is_static else 2e-4),
        optimizer=optimizer,
        schedule=schedule,
        warmup=warmup,
        weight_decay=weight_decay,
        save_steps=save_steps,
        eval_steps=eval_steps,
        patience=patience,
        seed=seed,
        bf16=bf16,
        ema=ema,
        report=report,
        device=device,
    )
    contrast = Contrast(temperature or (0.03 if unit else 1.0), negatives, symmetric, at_a_time)
    held_out = common.load_examples([dev], index, n_context, encoding, limit) if dev else []

    def fit(checkpoints: Path, on_step: OnStep) -> dict[str, float]:
        how: dict[str, Any] = {"contrast": contrast, "resume": resume, "on_step": on_step}
        if pairs is not None:
            return pretrain_retriever(encoder, pairs, options, checkpoints, **how)
        return train_retriever(encoder, examples, options, checkpoints, dev=held_out, **how)

    kept = settings(options, model=model, data=data, pretrain=pretrain, contrast=asdict(contrast), **encoder.kind())
    what = say("검색기 훈련", "training retriever")
    figures = common.run_training(output, "encoder", kept, encoder, what, fit)
    common.report(output, figures, json_output)
