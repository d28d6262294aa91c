"""kofid train-reader"""

from __future__ import annotations

from typing import Annotated

import typer

import kofid
from kofid.cli import console
from kofid.cli.options.common import Encoding, Json, Limit, OptionalIndex, Output, Resume
from kofid.cli.options.groups import takes_groups
from kofid.cli.options.training import (
    FRESH,
    LENGTHS,
    READER_TRAINING,
    Data,
    Decoder,
    Dev,
    DryRun,
    Half,
    ReaderModel,
    VariantOptions,
    Words,
)
from kofid.language import say
from kofid.reader.kinds import ReaderKind
from kofid.training.options import FreshModel, ReadingLengths, TrainOptions

NEEDS_ARGUMENTS = True
HELP = say(
    "리더를 훈련합니다. t5: Fusion-in-Decoder T5(FiDT5). skt: T5 인코더와 GPT-2 디코더(FiDSKT). Hugging Face 체크포인트에서 또는 새로. "
    "FiD-Light(--first-k, --pointing)와 FiDO(--n-cross-layer, --kv-heads)는 둘 다에 마음대로 섞어 씁니다. extractive: 인코더로 답의 "
    "자리를 찾는 리더. single: 패시지를 하나씩 읽는 T5. span: 답 후보를 낱말 특징과 결정나무로 고르는 가벼운 리더. joint: 미리 배운 인코더로 "
    "답의 자리와 패시지의 차례를 함께 내는 리더(기본은 함께 온 것에서 더 배웁니다).",
    "Train a reader. t5: Fusion-in-Decoder T5 (FiDT5). skt: a T5 encoder with a GPT-2 decoder (FiDSKT). From Hugging Face "
    "checkpoints or fresh. FiD-Light (--first-k, --pointing) and FiDO (--n-cross-layer, --kv-heads) combine freely on both. "
    "extractive: an encoder that finds where the answer stands. single: a T5 that reads passages one by one. "
    "span: a light reader that ranks candidate spans by lexical features with boosted trees. joint: a pretrained encoder that "
    "marks the answer and ranks the passages at once (the bundled one is trained further by default).",
)
EXAMPLE = """kofid train-reader --reader t5 -i kb resources/demo/questions.jsonl --model fresh:tiny --max-steps 20 -o reader
kofid train-reader -i kb resources/demo/questions.jsonl --model fresh:tiny --ema 0.9 --dev resources/demo/questions.jsonl --max-steps 5 -o best
kofid train-reader -i kb resources/demo/questions.jsonl --model fresh:tiny --first-k 8 --n-cross-layer 2 --kv-heads 1 --max-steps 5 -o fido
kofid train-reader -i kb resources/demo/questions.jsonl --model fresh:tiny --match --copying --morphemes --max-steps 5 -o copier
kofid train-reader --reader skt -i kb resources/demo/questions.jsonl --model fresh:tiny --warmup-cross 2 --max-steps 5 -o fid-skt
kofid train-reader --reader extractive -i kb resources/demo/questions.jsonl --model fresh:tiny --max-steps 5 -o extractive
kofid train-reader --reader span -i kb resources/demo/questions.jsonl -o span-reader
kofid train-reader --reader joint -i kb resources/demo/questions.jsonl --limit 20 --batch-size 2 --max-steps 2 -o joint"""


@takes_groups
def run(
    data: Data,
    output: Output,
    variant: VariantOptions,
    lengths: Annotated[ReadingLengths, LENGTHS],
    fresh: Annotated[FreshModel, FRESH],
    options: Annotated[TrainOptions, READER_TRAINING],
    index: OptionalIndex = None,
    kind: Annotated[ReaderKind, typer.Option("--reader", help=say("리더의 종류", "Kind of reader"))] = ReaderKind.T5,
    model: ReaderModel = "fresh:mini",
    decoder: Decoder = None,
    dev: Dev = None,
    half: Half = False,
    words: Words = None,
    resume: Resume = False,
    limit: Limit = None,
    encoding: Encoding = None,
    dry_run: DryRun = False,
    json_output: Json = False,
) -> None:
    """Train a reader."""
    if kind is not ReaderKind.SPAN:
        console.calm_libraries()
    with console.training_progress(say("리더 훈련", "training reader")) as on_step:
        figures = kofid.train_reader(
            data,
            output,
            kind=kind,
            index=index,
            model=model,
            decoder=decoder,
            variant=variant.variant(),
            fresh=fresh,
            lengths=lengths,
            options=options,
            dev=dev,
            words=words,
            half=half,
            encoding=encoding,
            limit=limit,
            resume=resume,
            dry_run=dry_run,
            progress=console.progress,
            on_step=on_step,
            notes=console.note,
        )
    console.print_training(None if dry_run else output, figures, json_output)
