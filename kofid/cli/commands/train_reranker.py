"""kofid train-reranker"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from kofid.cli import console
from kofid.cli import training as common
from kofid.cli.options.common import (
    BatchSize,
    Bf16,
    Device,
    Encoding,
    Epochs,
    Json,
    LearningRate,
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
    from kofid.types import OnStep

NEEDS_ARGUMENTS = True
HELP = say(
    "질문과 패시지를 함께 읽어 점수를 매기는 재순위 모델(교차 인코더)을 훈련합니다. 질문마다 정답 패시지를 검색이 찾은 다른 것들과 가리게 합니다. "
    "kofid rerank --cross-encoder로 쓰고, sentence-transformers의 CrossEncoder로도 열립니다.",
    "Train a reranker that reads question and passage together (a cross-encoder) to tell the gold passage from others that "
    "search finds. Use it with kofid rerank --cross-encoder; sentence-transformers' CrossEncoder opens it too.",
)
EXAMPLE = """kofid train-reranker -i kb resources/demo/questions.jsonl --model fresh:tiny --max-steps 5 -o reranker
kofid rerank -i kb --cross-encoder reranker "임진왜란은 언제 일어났나?" -k 5"""


def run(
    data: common.Data,
    output: Output,
    index: common.OptionalIndex = None,
    model: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help=say("인코더 디렉터리나 이름, 또는 fresh:tiny|mini", "Encoder directory or name, or fresh:tiny|mini"),
        ),
    ] = "fresh:mini",
    vocab_size: VocabSize = 8000,
    n_context: Annotated[
        int, typer.Option(min=2, help=say("음성 표본을 고를 깊이", "Depth that negatives are chosen from"))
    ] = 20,
    mode: Annotated[
        Literal["sparse", "dense", "cross"],
        typer.Option(help=say("-i에서 음성 표본을 찾는 법", "How negatives are found in -i")),
    ] = "sparse",
    negatives: Annotated[int, typer.Option(min=1, help=say("질문마다 음성 표본의 수", "Negatives a question"))] = 4,
    epochs: Epochs = 3.0,
    max_steps: MaxSteps = -1,
    batch_size: BatchSize = 8,
    accumulate: Accumulate = 1,
    learning_rate: LearningRate = 1e-4,
    optimizer: Optimizer = "adamw",
    schedule: Schedule = "linear",
    warmup: Warmup = 0.06,
    weight_decay: WeightDecay = 0.01,
    ema: Ema = 0.0,
    dev: Dev = None,
    eval_steps: EvalSteps = 500,
    patience: Patience = 0,
    report: Report = "none",
    save_steps: SaveSteps = 500,
    seed: Seed = 1,
    bf16: Bf16 = False,
    resume: Resume = False,
    limit: Limit = None,
    encoding: Encoding = None,
    device: Device = "auto",
    dry_run: common.DryRun = False,
    json_output: Json = False,
) -> None:
    """Train a cross-encoder."""
    from kofid.retrieval.reranker import open_cross_encoder
    from kofid.training.reranker import fresh_cross_encoder, train_reranker
    from kofid.training.trainer import TrainOptions, settings

    if patience and dev is None:
        raise UsageError(say("--patience에는 --dev가 있어야 합니다", "--patience needs --dev"))
    if mode != "sparse" and index is None:
        raise UsageError(say("--mode에는 -i가 있어야 합니다", "--mode needs -i"))
    console.calm_libraries()
    examples = common.load_examples(data, index, n_context, encoding, limit, mode=mode)
    common.need_examples(examples)
    if dry_run:
        common.show_example(examples[0], len(examples))
        return
    held_out = common.load_examples([dev], index, n_context, encoding, limit, mode=mode) if dev else []
    size = common.fresh_size(model)
    if size is None:
        reranker = open_cross_encoder(model, "cpu", new_head=True)
    else:
        reranker = fresh_cross_encoder(size, common.example_texts(examples), vocab_size=vocab_size, seed=seed)
    options = TrainOptions(
        epochs=epochs,
        max_steps=max_steps,
        batch_size=batch_size,
        accumulate=accumulate,
        learning_rate=learning_rate,
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

    def fit(checkpoints: Path, on_step: OnStep) -> dict[str, float]:
        how: dict[str, Any] = {"n_negatives": negatives, "dev": held_out, "resume": resume, "on_step": on_step}
        return train_reranker(reranker, examples, options, checkpoints, **how)

    kept = settings(options, model=model, data=data, negatives=negatives)
    what = say("재순위 모델 훈련", "training reranker")
    figures = common.run_training(output, "reranker", kept, reranker, what, fit)
    common.report(output, figures, json_output)
