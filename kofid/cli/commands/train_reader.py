"""kofid train-reader"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from kofid.cli import console, reader_training
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
    NContext,
    Output,
    Resume,
    SaveSteps,
    Seed,
)
from kofid.cli.options.reading import CrossLayers, FirstK, KvHeads
from kofid.cli.options.training import (
    Accumulate,
    Copying,
    Decoder,
    DecoderLayers,
    Dev,
    Ema,
    EvalSteps,
    GradientCheckpointing,
    Half,
    Lora,
    Match,
    MaxTokens,
    Morphemes,
    Norm,
    Optimizer,
    Patience,
    Pointing,
    ReaderModel,
    Report,
    Schedule,
    Stride,
    VocabSize,
    Warmup,
    WarmupCross,
    WeightDecay,
    Words,
)
from kofid.errors import UsageError
from kofid.language import say

NEEDS_ARGUMENTS = True
_PASSAGE_TOKENS, _WINDOW_TOKENS = 250, 384
_FUSION = ("t5", "skt")
_WRITING = (*_FUSION, "single")
_NEURAL = (*_WRITING, "extractive")
# The kinds of reader that an option is for, where it is not for all.
_ONLY_FOR: dict[str, tuple[str, ...]] = {
    "decoder": ("skt",),
    "warmup_cross": ("skt",),
    "stride": ("extractive",),
    "norm": ("extractive",),
    "words": ("span",),
    **dict.fromkeys(("dev", "eval_steps", "patience", "half"), _FUSION),
    **dict.fromkeys(("first_k", "pointing", "n_cross_layer", "kv_heads", "decoder_layers"), _WRITING),
    **dict.fromkeys(("match", "morphemes"), _WRITING),
    "copying": ("t5", "single"),
    **dict.fromkeys(("lora", "gradient_checkpointing"), _WRITING),
    **dict.fromkeys(("model", "max_tokens", "vocab_size", "epochs", "max_steps", "batch_size", "accumulate"), _NEURAL),
    **dict.fromkeys(("learning_rate", "optimizer", "schedule", "warmup", "weight_decay", "ema", "report"), _NEURAL),
    **dict.fromkeys(("save_steps", "bf16", "resume", "device"), _NEURAL),
}
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
kofid train-reader -i kb resources/demo/questions.jsonl --model fresh:tiny --match --copying --morphemes --max-steps 5 -o copier
kofid train-reader --reader skt -i kb resources/demo/questions.jsonl --model fresh:tiny --warmup-cross 2 --max-steps 5 -o fid-skt
kofid train-reader --reader extractive -i kb resources/demo/questions.jsonl --model fresh:tiny --max-steps 5 -o extractive
kofid train-reader --reader span -i kb resources/demo/questions.jsonl -o span-reader"""


def run(
    context: typer.Context,
    data: common.Data,
    output: Output,
    index: common.OptionalIndex = None,
    reader: Annotated[
        Literal["t5", "skt", "extractive", "single", "span"], typer.Option(help=say("리더의 종류", "Kind of reader"))
    ] = "t5",
    model: ReaderModel = "fresh:mini",
    decoder: Decoder = None,
    first_k: FirstK = 0,
    pointing: Pointing = False,
    match: Match = False,
    copying: Copying = False,
    n_cross_layer: CrossLayers = None,
    kv_heads: KvHeads = 0,
    decoder_layers: DecoderLayers = None,
    n_context: NContext = 10,
    max_tokens: MaxTokens = None,
    stride: Stride = 128,
    norm: Norm = "shared",
    vocab_size: VocabSize = 8000,
    morphemes: Morphemes = False,
    epochs: Epochs = 3.0,
    max_steps: MaxSteps = -1,
    batch_size: BatchSize = 8,
    accumulate: Accumulate = 1,
    learning_rate: LearningRate = 1e-4,
    optimizer: Optimizer = "adamw",
    schedule: Schedule = "linear",
    warmup: Warmup = 0.06,
    warmup_cross: WarmupCross = 0,
    weight_decay: WeightDecay = 0.01,
    ema: Ema = 0.0,
    lora: Lora = 0,
    gradient_checkpointing: GradientCheckpointing = False,
    dev: Dev = None,
    eval_steps: EvalSteps = 500,
    patience: Patience = 0,
    report: Report = "none",
    save_steps: SaveSteps = 500,
    seed: Seed = 1,
    bf16: Bf16 = False,
    half: Half = False,
    resume: Resume = False,
    limit: Limit = None,
    encoding: Encoding = None,
    device: Device = "auto",
    words: Words = None,
    dry_run: common.DryRun = False,
    json_output: Json = False,
) -> None:
    """Train a reader."""
    _refuse_of_others(context, reader)
    if patience and dev is None:
        raise UsageError(say("--patience에는 --dev가 있어야 합니다", "--patience needs --dev"))
    if reader == "skt" and decoder is None and common.fresh_size(model) is None:
        raise UsageError(say("--reader skt에는 --decoder가 있어야 합니다", "--reader skt needs a --decoder"))
    examples = common.load_examples(data, index, n_context, encoding, limit)
    common.need_examples(examples)
    if reader == "span":
        if dry_run:
            common.show_example(examples[0], len(examples))
        else:
            common.report(output, reader_training.train_span(examples, output, data, seed, words), json_output)
        return
    from kofid.reader.fid.config import Variant
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
        if dry_run:
            common.show_example(examples[0], len(examples))
        else:
            figures = reader_training.train_extractive(examples, output, options, kept, vocab_size, resume)
            common.report(output, figures, json_output)
        return
    variant = Variant.of(first_k, n_cross_layer, kv_heads, pointing, match, copying)
    made = reader_training.initial(examples, variant, kept, decoder_layers, vocab_size, morphemes, seed)
    if dry_run:
        from kofid.training.estimate import estimate

        common.show_example(examples[0], len(examples), estimate=estimate(made, examples, options, n_context))
        return
    if reader == "single":
        figures = reader_training.train_single(made, examples, output, options, kept, resume)
    else:
        held_out = common.load_examples([dev], index, n_context, encoding, limit, keep_gold=False) if dev else []
        figures = reader_training.train_fusion(
            made, examples, held_out, output, options, kept, half=half, resume=resume
        )
    common.report(output, figures, json_output)


def _refuse_of_others(context: typer.Context, reader: str) -> None:
    """Raise UsageError for an option given that this kind of reader does not have."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        kinds = _ONLY_FOR.get(parameter.name or "")
        if kinds and reader not in kinds and source is not None and source.name == "COMMANDLINE":
            name, ours = parameter.opts[0], ", ".join(kinds)
            raise UsageError(
                say(
                    f"{name}은(는) --reader {reader}에 없습니다. 있는 리더: {ours}",
                    f"{name} is not for --reader {reader}, only for: {ours}",
                )
            )
