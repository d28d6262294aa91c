"""kofid train-reader"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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
from kofid.errors import UsageError
from kofid.language import say
from kofid.types import Example

if TYPE_CHECKING:
    from kofid.training.trainer import OnStep, TrainOptions

NEEDS_ARGUMENTS = True
HELP = say(
    "리더를 훈련합니다. t5: Fusion-in-Decoder T5, Hugging Face T5 체크포인트에서 또는 새로. span: 답 후보를 낱말 특징과 "
    "결정나무로 고르는 가벼운 리더.",
    "Train a reader. t5: Fusion-in-Decoder T5, from a Hugging Face T5 checkpoint or fresh. span: a light reader that "
    "ranks candidate spans by lexical features with boosted trees.",
)
EXAMPLE = """kofid train-reader --reader t5 -i kb resources/demo/questions.jsonl --model fresh:tiny --max-steps 20 -o reader
kofid train-reader --reader span -i kb resources/demo/questions.jsonl -o span-reader"""


def run(
    data: common.Data,
    output: Output,
    index: common.OptionalIndex = None,
    reader: Annotated[Literal["t5", "span"], typer.Option(help=say("리더의 종류", "Kind of reader"))] = "t5",
    model: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help=say(
                "T5 디렉터리나 이름, 또는 fresh:tiny|mini|small", "T5 directory or name, or fresh:tiny|mini|small"
            ),
        ),
    ] = "fresh:mini",
    n_context: NContext = 10,
    max_tokens: Annotated[int, typer.Option(min=16, help=say("패시지 하나의 토큰 수", "Tokens a passage"))] = 250,
    vocab_size: Annotated[
        int, typer.Option(min=300, help=say("새 모델의 어휘 수", "Vocabulary of a fresh model"))
    ] = 8000,
    epochs: Epochs = 3.0,
    max_steps: MaxSteps = -1,
    batch_size: BatchSize = 8,
    accumulate: Annotated[int, typer.Option(min=1, help=say("기울기를 모을 배치 수", "Batches to accumulate"))] = 1,
    learning_rate: LearningRate = 1e-4,
    optimizer: Annotated[
        Literal["adamw", "adafactor"],
        typer.Option(
            help=say(
                "최적화기. 새 모델에는 adafactor와 --lr 0.01쯤이 맞습니다",
                "Optimizer; a fresh model wants adafactor with an --lr of about 0.01",
            )
        ),
    ] = "adamw",
    save_steps: SaveSteps = 500,
    seed: Seed = 1,
    bf16: Bf16 = False,
    half: Annotated[bool, typer.Option("--half", help=say("무게를 16비트로 저장", "Save weights in 16 bits"))] = False,
    resume: Resume = False,
    limit: Limit = None,
    encoding: Encoding = None,
    device: Device = "auto",
    words: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help=say(
                "span: 낱말의 드묾과 이름의 종류 (resources/recipes/span_words.py; 기본: 함께 오는 것)",
                "span: rarity of words and kinds of names (resources/recipes/span_words.py; default: the bundled ones)",
            ),
        ),
    ] = None,
    dry_run: common.DryRun = False,
    json_output: Json = False,
) -> None:
    """Train a reader."""
    examples = common.load_examples(data, index, n_context, encoding, limit)
    common.need_examples(examples)
    if dry_run:
        common.show_example(examples[0], len(examples))
        return
    if reader == "span":
        figures = _train_span(examples, Path(output), data, seed, words)
    else:
        from kofid.training.trainer import TrainOptions

        options = TrainOptions(
            epochs=epochs,
            max_steps=max_steps,
            batch_size=batch_size,
            accumulate=accumulate,
            learning_rate=learning_rate,
            optimizer=optimizer,
            save_steps=save_steps,
            seed=seed,
            bf16=bf16,
            device=device,
        )
        figures = _train_t5(
            examples,
            Path(output),
            options,
            model=model,
            data=data,
            n_context=n_context,
            max_tokens=max_tokens,
            vocab_size=vocab_size,
            half=half,
            resume=resume,
        )
    common.report(Path(output), figures, json_output)


def _train_span(
    examples: list[Example], output: Path, data: list[str], seed: int, words: Path | None
) -> dict[str, float]:
    from kofid.artifacts import is_artifact, open_artifact, write_artifact
    from kofid.bundled import resource
    from kofid.reader.span import Words
    from kofid.training.span import train_span_reader

    source = words or resource("models/span")
    known = Words.load(open_artifact(source, "reader").directory if is_artifact(source) else source)
    made: dict[str, object] = {"reader": "span", "data": data, "seed": seed, "words": str(words or "bundled")}
    with write_artifact(output, "reader", made) as directory:
        figures = train_span_reader(examples, directory, seed=seed, progress=console.progress, words=known)
        made["figures"] = figures
    return figures


def _train_t5(
    examples: list[Example],
    output: Path,
    options: TrainOptions,
    *,
    model: str,
    data: list[str],
    n_context: int,
    max_tokens: int,
    vocab_size: int,
    half: bool,
    resume: bool,
) -> dict[str, float]:
    from kofid.pipeline import open_reader
    from kofid.reader.fid import FiDReader
    from kofid.training.reader import fresh_reader, train_reader
    from kofid.training.trainer import settings

    console.calm_libraries()
    size = common.fresh_size(model)
    if size is None:
        opened = open_reader(model, device="cpu")
        if not isinstance(opened, FiDReader):
            raise UsageError(say(f"{model}: T5 리더가 아닙니다", f"{model}: not a T5 reader"))
    else:
        texts = common.example_texts(examples)
        opened = fresh_reader(size, texts, vocab_size=vocab_size, seed=options.seed)
    opened.max_tokens = max_tokens
    reader = opened

    def fit(checkpoints: Path, on_step: OnStep) -> dict[str, float]:
        figures = train_reader(
            reader, examples, options, checkpoints, n_context=n_context, resume=resume, on_step=on_step
        )
        if half:
            reader.model.half()
        return figures

    made = settings(options, reader="t5", model=model, data=data, n_context=n_context, max_tokens=max_tokens)
    return common.run_training(output, "reader", made, reader, say("리더 훈련", "training reader"), fit)
