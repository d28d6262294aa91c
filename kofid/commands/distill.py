"""kofid distill"""

from __future__ import annotations

from pathlib import Path
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
    NContext,
    Output,
    Resume,
    SaveSteps,
    Seed,
)
from kofid.commands.retriever_training import Start
from kofid.errors import UsageError
from kofid.language import say

NEEDS_ARGUMENTS = True
HELP = say(
    "리더를 검색기로 증류합니다 (한 바퀴): 리더의 교차 주의 점수를 재고, 검색기가 그 점수를 따르도록 KL로 훈련합니다.",
    "Distil a reader into a retriever (one round): take the reader's cross-attention scores and train the retriever to "
    "follow them, by KL divergence.",
)
EXAMPLE = "kofid distill -i kb resources/demo/questions.jsonl --reader reader --retriever encoder -o distilled"


def run(
    data: common.Data,
    output: Output,
    reader: Annotated[str, typer.Option(metavar="READER", help=say("가르칠 FiDT5 리더", "FiDT5 reader that teaches"))],
    retriever: Annotated[
        str,
        typer.Option(
            metavar="MODEL", help=say("배울 인코더, 또는 fresh:tiny|mini", "Encoder that learns, or fresh:tiny|mini")
        ),
    ],
    index: common.OptionalIndex = None,
    n_context: NContext = 10,
    temperature: Annotated[
        float, typer.Option(min=1e-6, help=say("리더 점수의 온도", "Temperature of reader scores"))
    ] = 1.0,
    scores: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help=say("리더 점수를 FiD JSON으로 저장", "Keep the reader's scores as FiD JSON")),
    ] = None,
    epochs: Epochs = 3.0,
    max_steps: MaxSteps = -1,
    batch_size: BatchSize = 8,
    learning_rate: LearningRate = 1e-4,
    save_steps: SaveSteps = 500,
    seed: Seed = 1,
    bf16: Bf16 = False,
    resume: Resume = False,
    limit: Limit = None,
    encoding: Encoding = None,
    device: Device = "auto",
    json_output: Json = False,
) -> None:
    """Distil."""
    from kofid.formats import write_examples
    from kofid.pipeline import open_reader
    from kofid.reader.fid import FiDReader
    from kofid.training.distill import distill, score_examples
    from kofid.training.trainer import TrainOptions, settings

    console.calm_libraries()
    teacher = open_reader(reader, device=device, n_context=n_context)
    if not isinstance(teacher, FiDReader):
        raise UsageError(
            say(
                f"--reader {reader}: 교차 주의가 있는 t5 리더여야 합니다",
                f"--reader {reader}: needs cross-attention, a t5 reader",
            )
        )
    examples = common.load_examples(data, index, n_context, encoding, limit, keep_gold=False)
    common.need_examples(examples)
    scored = list(
        score_examples(
            teacher, examples, lambda items, n: console.progress(items, say("리더 점수", "reader scores"), n)
        )
    )
    if scores is not None:
        write_examples(scores, scored)
    encoder = Start(retriever, seed=seed).encoder(common.example_texts(examples))
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
        settings(options, model=retriever, teacher=reader, data=data, temperature=temperature),
        encoder,
        say("증류", "distilling"),
        lambda checkpoints, on_step: distill(
            encoder, scored, options, checkpoints, temperature=temperature, resume=resume, on_step=on_step
        ),
    )
    common.report(output, figures, json_output)
