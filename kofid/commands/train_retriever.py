"""kofid train-retriever"""

from __future__ import annotations

from typing import Annotated

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
    LearningRate,
    Limit,
    MaxSteps,
    Output,
    Resume,
    SaveSteps,
    Seed,
)
from kofid.language import say

NEEDS_ARGUMENTS = True
HELP = say(
    "질문과 패시지가 무게를 함께 쓰는 조밀 검색기(DPR)를 배치 안 음성 표본과 어려운 음성 표본 하나로 훈련합니다.",
    "Train a shared-weight dense retriever (DPR) with in-batch negatives and one hard negative a question.",
)
EXAMPLE = "kofid train-retriever -i kb resources/demo/questions.jsonl --model fresh:mini -o encoder"


def run(
    data: common.Data,
    output: Output,
    index: common.OptionalIndex = None,
    model: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help=say(
                "인코더 디렉터리나 이름, 또는 fresh:tiny, fresh:mini",
                "Encoder directory or name, or fresh:tiny, fresh:mini",
            ),
        ),
    ] = "fresh:mini",
    n_context: Annotated[
        int, typer.Option(min=2, help=say("음성 표본을 고를 깊이", "Depth that negatives are chosen from"))
    ] = 20,
    epochs: Epochs = 3.0,
    max_steps: MaxSteps = -1,
    batch_size: BatchSize = 32,
    learning_rate: LearningRate = 2e-4,
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
    """Train an encoder."""
    from kofid.training.retriever import train_retriever
    from kofid.training.trainer import TrainOptions, settings

    examples = common.load_examples(data, index, n_context, encoding, limit)
    common.need_examples(examples)
    if dry_run:
        common.show_example(examples[0], len(examples))
        return
    console.calm_libraries()
    encoder = common.encoder_to_train(model, examples, seed)
    options = TrainOptions(
        epochs=epochs,
        max_steps=max_steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        save_steps=save_steps,
        seed=seed,
        bf16=bf16,
        device=device,
    )
    figures = common.run_training(
        output,
        "encoder",
        settings(options, model=model, data=data),
        encoder,
        say("검색기 훈련", "training retriever"),
        lambda checkpoints, on_step: train_retriever(
            encoder, examples, options, checkpoints, resume=resume, on_step=on_step
        ),
    )
    common.report(output, figures, json_output)
