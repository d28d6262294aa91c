"""kofid train-reader"""

from __future__ import annotations

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
    LearningRate,
    Limit,
    MaxSteps,
    NContext,
    Output,
    Resume,
    SaveSteps,
    Seed,
)
from kofid.commands.reading import CrossLayers, FirstK, KvHeads
from kofid.errors import UsageError
from kofid.language import say
from kofid.types import Example

if TYPE_CHECKING:
    from kofid.reader.fid import FiDReader
    from kofid.training.trainer import OnStep, TrainOptions

NEEDS_ARGUMENTS = True
_PASSAGE_TOKENS, _WINDOW_TOKENS = 250, 384
HELP = say(
    "리더를 훈련합니다. t5: Fusion-in-Decoder T5(FiDT5). skt: T5 인코더와 GPT-2 디코더(FiDSKT). Hugging Face 체크포인트에서 또는 새로. "
    "FiD-Light(--first-k, --pointing)와 FiDO(--n-cross-layer, --kv-heads)는 둘 다에 마음대로 섞어 씁니다. extractive: 인코더로 답의 "
    "자리를 찾는 리더. single: 패시지를 하나씩 읽는 T5. span: 답 후보를 낱말 특징과 결정나무로 고르는 가벼운 리더.",
    "Train a reader. t5: Fusion-in-Decoder T5 (FiDT5). skt: a T5 encoder with a GPT-2 decoder (FiDSKT). From Hugging Face "
    "checkpoints or fresh. FiD-Light (--first-k, --pointing) and FiDO (--n-cross-layer, --kv-heads) combine freely on both. "
    "extractive: an encoder that finds where the answer stands. single: a T5 that reads passages one by one. "
    "span: a light reader that ranks candidate spans by lexical features with boosted trees.",
)
EXAMPLE = """kofid train-reader --reader t5 -i kb resources/demo/questions.jsonl --model fresh:tiny --max-steps 20 -o reader
kofid train-reader -i kb resources/demo/questions.jsonl --model fresh:tiny --ema 0.9 --dev resources/demo/questions.jsonl --max-steps 5 -o best
kofid train-reader -i kb resources/demo/questions.jsonl --model fresh:tiny --first-k 8 --n-cross-layer 2 --kv-heads 1 --max-steps 5 -o fido
kofid train-reader --reader skt -i kb resources/demo/questions.jsonl --model fresh:tiny --warmup-cross 2 --max-steps 5 -o fid-skt
kofid train-reader --reader extractive -i kb resources/demo/questions.jsonl --model fresh:tiny --max-steps 5 -o extractive
kofid train-reader --reader span -i kb resources/demo/questions.jsonl -o span-reader"""


def run(
    data: common.Data,
    output: Output,
    index: common.OptionalIndex = None,
    reader: Annotated[
        Literal["t5", "skt", "extractive", "single", "span"], typer.Option(help=say("리더의 종류", "Kind of reader"))
    ] = "t5",
    model: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help=say(
                "T5 디렉터리나 이름, 또는 fresh:tiny|mini|small", "T5 directory or name, or fresh:tiny|mini|small"
            ),
        ),
    ] = "fresh:mini",
    decoder: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help=say("skt: GPT-2 디렉터리나 이름", "skt: GPT-2 directory or name")),
    ] = None,
    first_k: FirstK = 0,
    pointing: Annotated[
        bool,
        typer.Option(
            "--pointing",
            help=say("FiD-Light: 답한 패시지의 번호도 쓰게 합니다", "FiD-Light: also write the passages answered from"),
        ),
    ] = False,
    n_cross_layer: CrossLayers = None,
    kv_heads: KvHeads = 0,
    decoder_layers: Annotated[
        int | None, typer.Option(min=1, help=say("fresh: 디코더 층 수", "fresh: layers of the decoder"))
    ] = None,
    n_context: NContext = 10,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            min=16,
            help=say(
                "패시지(extractive: 창) 하나의 토큰 수 [250, 384]",
                "Tokens a passage, or window of extractive [250, 384]",
            ),
        ),
    ] = None,
    stride: Annotated[
        int, typer.Option(min=0, help=say("extractive: 창이 겹치는 토큰 수", "extractive: tokens that windows overlap"))
    ] = 128,
    norm: Annotated[
        Literal["shared", "window"],
        typer.Option(
            help=say(
                "extractive: 확률을 모든 창에서 함께, 또는 창마다",
                "extractive: probabilities over all windows, or in each",
            ),
        ),
    ] = "shared",
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
    schedule: Annotated[
        Literal["linear", "cosine", "constant"],
        typer.Option(help=say("학습률이 줄어드는 꼴 (--warmup 뒤)", "How the learning rate falls, after --warmup")),
    ] = "linear",
    warmup: Annotated[
        float,
        typer.Option(
            min=0.0, max=0.99, help=say("학습률을 올리는 걸음의 몫", "Share of the steps in which the rate rises")
        ),
    ] = 0.06,
    warmup_cross: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help=say(
                "처음 N걸음은 다리와 교차 주의만 배웁니다 (skt에서는 이것들이 새것입니다)",
                "Train only bridge and cross-attention for N steps (in skt these are new)",
            ),
        ),
    ] = 0,
    weight_decay: Annotated[float, typer.Option(min=0.0, help=say("무게 감쇠", "Weight decay"))] = 0.01,
    ema: Annotated[
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
    ] = 0.0,
    lora: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="RANK",
            help=say(
                "주의의 작은 어댑터만 배우고 끝에 합칩니다 (peft 필요; 0: 끔)",
                "Train small adapters of attention only, merged in the end (needs peft; 0: off)",
            ),
        ),
    ] = 0,
    gradient_checkpointing: Annotated[
        bool,
        typer.Option(
            "--gradient-checkpointing",
            help=say("기억을 아끼고 시간을 더 씁니다", "Less memory for more time: recompute the encoder"),
        ),
    ] = False,
    dev: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help=say(
                "EM이 가장 높은 무게를 고를 질문 파일이나 FiD JSON",
                "Questions or FiD JSON on which the weights with the best EM are chosen",
            ),
        ),
    ] = None,
    eval_steps: Annotated[
        int, typer.Option(min=1, metavar="N", help=say("--dev로 재는 간격(걸음)", "Steps between evaluations on --dev"))
    ] = 500,
    patience: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help=say(
                "--dev에서 N번 나아지지 않으면 멈춥니다 (0: 끝까지)",
                "Stop after N evaluations on --dev without a better one (0: never)",
            ),
        ),
    ] = 0,
    report: Annotated[
        Literal["none", "tensorboard", "wandb"],
        typer.Option(
            help=say(
                "손실과 척도를 보낼 곳 (tensorboard: 만들 디렉터리 옆 .이름.tensorboard)",
                "Where losses and measures go too (tensorboard: .NAME.tensorboard beside the directory made)",
            )
        ),
    ] = "none",
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
    if reader in ("span", "extractive") and any((first_k, pointing, n_cross_layer, kv_heads, decoder, decoder_layers)):
        raise UsageError(
            say(
                "--first-k, --pointing, --n-cross-layer, --kv-heads, --decoder는 t5와 skt의 것입니다",
                "--first-k, --pointing, --n-cross-layer, --kv-heads and --decoder are for t5 and skt",
            )
        )
    if reader == "span":
        if dry_run:
            common.show_example(examples[0], len(examples))
        else:
            common.report(output, _train_span(examples, output, data, seed, words), json_output)
        return
    if patience and dev is None:
        raise UsageError(say("--patience에는 --dev가 있어야 합니다", "--patience needs --dev"))
    if reader == "skt" and decoder is None and common.fresh_size(model) is None:
        raise UsageError(say("--reader skt에는 --decoder가 있어야 합니다", "--reader skt needs a --decoder"))
    from kofid.reader.fusion import Variant
    from kofid.training.reader import initial_reader
    from kofid.training.trainer import TrainOptions

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
        gradient_checkpointing=gradient_checkpointing,
        ema=ema,
        lora=lora,
        warmup_cross=warmup_cross,
        report=report,
        device=device,
    )
    console.calm_libraries()
    kept: dict[str, Any] = {"reader": reader, "model": model, "decoder": decoder, "data": data, "dev": dev}
    kept["n_context"] = n_context
    kept["max_tokens"] = max_tokens or (_WINDOW_TOKENS if reader == "extractive" else _PASSAGE_TOKENS)
    if reader == "extractive":
        kept |= {"stride": stride, "norm": norm}
        common.report(output, _train_extractive(examples, output, options, kept, vocab_size, resume), json_output)
        return
    made = initial_reader(
        _own_folder(model),
        common.example_texts(examples),
        Variant.of(first_k, n_cross_layer, kv_heads, pointing),
        skt=reader == "skt",
        decoder=decoder,
        n_decoder_layers=decoder_layers,
        vocab_size=vocab_size,
        seed=seed,
    )
    made.max_tokens = kept["max_tokens"]
    if dry_run:
        from kofid.training.estimate import estimate

        common.show_example(examples[0], len(examples), estimate=estimate(made, examples, options, n_context))
        return
    held_out = common.load_examples([dev], index, n_context, encoding, limit, keep_gold=False) if dev else []
    if reader == "single":
        common.report(output, _train_single(made, examples, output, options, kept, resume), json_output)
        return
    figures = _train_fusion(made, examples, held_out, output, options, kept, half=half, resume=resume)
    common.report(output, figures, json_output)


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


def _train_extractive(
    examples: list[Example],
    output: Path,
    options: TrainOptions,
    kept: dict[str, Any],
    vocab_size: int,
    resume: bool,
) -> dict[str, float]:
    from kofid.reader.extractive import ExtractiveReader, Spans
    from kofid.training.extractive import fresh_extractive, train_extractive
    from kofid.training.trainer import settings

    spans = Spans(max_tokens=kept["max_tokens"], stride=kept["stride"], norm=kept["norm"])
    size = common.fresh_size(kept["model"])
    if size is None:
        reader = ExtractiveReader.load(_own_folder(kept["model"]), spans=spans, new_head=True, seed=options.seed)
    else:
        texts = common.example_texts(examples)
        reader = fresh_extractive(size, texts, spans, vocab_size=vocab_size, seed=options.seed)

    def fit(checkpoints: Path, on_step: OnStep) -> dict[str, float]:
        n_context = kept["n_context"]
        return train_extractive(
            reader, examples, options, checkpoints, n_context=n_context, resume=resume, on_step=on_step
        )

    what = say("추출 리더 훈련", "training extractive reader")
    return common.run_training(output, "reader", settings(options, **kept), reader, what, fit)


def _train_single(
    made: FiDReader, examples: list[Example], output: Path, options: TrainOptions, kept: dict[str, Any], resume: bool
) -> dict[str, float]:
    from kofid.reader.single import SingleReader
    from kofid.training.single import train_single
    from kofid.training.trainer import settings

    reader = SingleReader(made)

    def fit(checkpoints: Path, on_step: OnStep) -> dict[str, float]:
        return train_single(
            reader, examples, options, checkpoints, n_context=kept["n_context"], resume=resume, on_step=on_step
        )

    what = say("패시지 하나를 읽는 리더 훈련", "training single-passage reader")
    return common.run_training(output, "reader", settings(options, **kept), reader, what, fit)


def _own_folder(model: str) -> str:
    """Return the folder to open for a model: an artifact's current generation, anything else as it is."""
    from kofid.artifacts import is_artifact, open_artifact

    return str(open_artifact(Path(model), "reader").directory) if is_artifact(Path(model)) else model


def _train_fusion(
    reader: FiDReader,
    examples: list[Example],
    dev: list[Example],
    output: Path,
    options: TrainOptions,
    kept: dict[str, Any],
    *,
    half: bool,
    resume: bool,
) -> dict[str, float]:
    from kofid.training.reader import train_reader
    from kofid.training.trainer import settings

    def fit(checkpoints: Path, on_step: OnStep) -> dict[str, float]:
        figures = train_reader(
            reader,
            examples,
            options,
            checkpoints,
            dev=dev,
            n_context=kept["n_context"],
            resume=resume,
            keep=True,  # until the reader is written
            on_step=on_step,
        )
        if half:
            reader.model.half()
        return figures

    made = settings(options, **kept)
    return common.run_training(output, "reader", made, reader, say("리더 훈련", "training reader"), fit)
