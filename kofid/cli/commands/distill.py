"""kofid distill"""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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
    NContext,
    Output,
    Resume,
    SaveSteps,
    Seed,
)
from kofid.cli.retriever_training import Start, write_encoder
from kofid.errors import UsageError
from kofid.language import say

if TYPE_CHECKING:
    from kofid.types import Example, OnStep

NEEDS_ARGUMENTS = True
HELP = say(
    "리더를 검색기로 증류합니다: 리더의 교차 주의 점수를 재고(score), 검색기가 따르도록 KL로 훈련합니다(train). --rounds N은 그 뒤에 벡터를 "
    "새로 만들고 패시지를 새로 찾아 되풀이하며, 바퀴마다 --dev 질문으로 잽니다. 멈추면 같은 명령이 이어 갑니다.",
    "Distil a reader into a retriever: take the reader's cross-attention scores (score) and train the retriever to follow "
    "them by KL divergence (train). --rounds N then makes new vectors, finds passages anew and repeats, measuring each round "
    "on the --dev questions. After an interruption the same command goes on.",
)
EXAMPLE = """kofid distill -i kb resources/demo/questions.jsonl --reader reader --retriever encoder -o distilled
kofid distill -i kb resources/demo/questions.jsonl --reader reader --retriever encoder --rounds 1 --dev resources/demo/questions.jsonl -o rounds"""


def run(
    data: common.Data,
    output: Output,
    reader: Annotated[
        str | None, typer.Option(metavar="READER", help=say("가르칠 FiD 리더", "Fusion reader that teaches"))
    ] = None,
    retriever: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help=say(
                "배울 인코더, 또는 fresh:tiny|mini, static:차원",
                "Encoder that learns, or fresh:tiny|mini, static:DIMENSION",
            ),
        ),
    ] = None,
    index: common.OptionalIndex = None,
    n_context: NContext = 10,
    stage: Annotated[
        Literal["all", "score", "train"],
        typer.Option(
            help=say(
                "score: 리더 점수만 재어 -o FiD JSON으로. train: FiD JSON의 점수로 훈련만",
                "score: only take scores, to the FiD JSON of -o. train: only train, by the scores of a FiD JSON",
            )
        ),
    ] = "all",
    rounds: Annotated[
        int, typer.Option(min=0, metavar="N", help=say("되풀이할 바퀴 (0: 한 번만 훈련)", "Rounds (0: train once)"))
    ] = 0,
    dev: Annotated[
        str | None,
        typer.Option(metavar="FILE", help=say("바퀴마다 잴 질문 파일", "Questions on which each round is measured")),
    ] = None,
    mode: Annotated[
        Literal["dense", "cross"],
        typer.Option(help=say("둘째 바퀴부터 찾는 법", "How passages are found from the second round on")),
    ] = "cross",
    score: Annotated[
        Literal["first", "answer", "max", "norm"],
        typer.Option(
            help=say(
                "점수. first: 첫 토큰의 평균 로짓, answer: 답의 모든 토큰, max: 가장 높은 로짓, norm: 주의 x 값의 길이",
                "Scores. first: mean logit of the first token, answer: of all the answer's, max: the highest, norm: "
                "attention x length of value",
            )
        ),
    ] = "first",
    temperature: Annotated[
        float, typer.Option(min=1e-6, help=say("리더 점수의 온도", "Temperature of reader scores"))
    ] = 1.0,
    retriever_temperature: Annotated[
        float,
        typer.Option(
            min=0.0,
            help=say(
                "내적의 온도 (0: 길이 1이면 0.05, 아니면 차원의 제곱근)",
                "Temperature of inner products (0: 0.05 for length 1, else the square root of the dimension)",
            ),
        ),
    ] = 0.0,
    reduction: Annotated[
        Literal["batchmean", "mean"],
        typer.Option(help=say("KL의 평균: 질문마다, 또는 패시지마다도", "Mean of KL: over questions, or passages too")),
    ] = "batchmean",
    contrast: Annotated[
        float,
        typer.Option(
            min=0.0, help=say("배치 안 대조 손실의 몫 (0: 안 섞음)", "Weight of an in-batch contrastive loss (0: none)")
        ),
    ] = 0.0,
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
    from kofid.training.distill import Distillation, distill
    from kofid.training.trainer import TrainOptions

    _refuse_missing(reader, retriever, stage, rounds, index)
    if rounds:
        limited = [] if limit is None else ["--limit", str(limit)]
        scoring = ["--reader", str(reader), "--score", score, "--device", device]
        training = ["--temperature", str(temperature), "--retriever-temperature", str(retriever_temperature)]
        training += ["--reduction", reduction, "--contrast", str(contrast), "--epochs", str(epochs)]
        training += ["--max-steps", str(max_steps), "--batch-size", str(batch_size), "--lr", str(learning_rate)]
        training += ["--save-steps", str(save_steps), "--seed", str(seed), "--device", device, *["--bf16"] * bf16]
        _loop(
            output, index, data, dev, str(retriever), rounds, n_context, mode, limited, scoring, training, json_output
        )
        return
    console.calm_libraries()
    examples = common.load_examples(data, index, n_context, encoding, limit, keep_gold=False)
    common.need_examples(examples)
    if stage != "train":
        journal = _journal(output, str(reader), score, examples)
        examples = _scored(str(reader), examples, score, n_context, device, journal)
        if stage == "score" or scores is not None:
            from kofid.formats import write_examples

            write_examples(output if stage == "score" else scores or output, examples)
        if stage == "score":
            journal.unlink()
            return
    encoder = Start(str(retriever), seed=seed).encoder(common.example_texts(examples))
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
    how = Distillation(temperature, retriever_temperature, reduction, contrast).suited(encoder)
    kept = {"model": retriever, "teacher": reader, "data": data, "distillation": asdict(how)}

    def fit(checkpoints: Path, on_step: OnStep) -> dict[str, float]:
        return distill(encoder, examples, options, checkpoints, how=how, resume=resume, on_step=on_step)

    figures = write_encoder(encoder, output, options, kept, fit, say("증류", "distilling"))
    if stage == "all":
        journal.unlink()
    common.report(output, figures, json_output)


def _refuse_missing(reader: str | None, retriever: str | None, stage: str, rounds: int, index: Path | None) -> None:
    if reader is None and stage != "train":
        raise UsageError(say("--reader를 주세요", "give a --reader"))
    if retriever is None and stage != "score":
        raise UsageError(say("--retriever를 주세요", "give a --retriever"))
    if stage != "train" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(say("torchrun은 --stage train만 나누어 합니다", "torchrun shares out --stage train only"))
    if rounds and (stage != "all" or index is None):
        raise UsageError(
            say("--rounds에는 -i 색인을 주고 --stage는 빼세요", "--rounds needs -i and goes with no --stage")
        )


def _journal(output: Path, reader: str, score: str, examples: list[Example]) -> Path:
    """Return where the scores of just these questions, passages and options are kept while they are made."""
    digest = hashlib.sha256(f"{reader}\n{score}\n".encode())
    current = Path(reader) / "CURRENT"  # of a reader trained anew in its place
    digest.update(current.read_bytes() if current.is_file() else b"")
    for example in examples:
        answers = example.target or "\t".join(example.question.answers)
        digest.update("\n".join((example.question.text, answers, *(hit.passage.id for hit in example.hits))).encode())
    output.parent.mkdir(parents=True, exist_ok=True)
    return output.with_name(f".{output.name}.scores-{digest.hexdigest()[:16]}")


def _scored(
    reader: str, examples: list[Example], score: str, n_context: int, device: str, journal: Path
) -> list[Example]:
    from kofid.reader.fid.reader import FiDReader
    from kofid.reader.open import open_reader
    from kofid.training.distill import score_examples

    teacher = open_reader(reader, device=device, n_context=n_context)
    if not isinstance(teacher, FiDReader):
        raise UsageError(
            say(
                f"--reader {reader}: 교차 주의가 있는 FiD 리더여야 합니다",
                f"--reader {reader}: needs cross-attention, a fusion reader",
            )
        )
    return list(
        score_examples(
            teacher,
            examples,
            lambda items, n: console.progress(items, say("리더 점수", "reader scores"), n),
            score,
            journal,
        )
    )


def _loop(
    output: Path,
    index: Path | None,
    data: list[str],
    dev: str | None,
    retriever: str,
    rounds: int,
    n_context: int,
    mode: str,
    limited: list[str],
    scoring: list[str],
    training: list[str],
    json_output: bool,
) -> None:
    from kofid.evaluation.report import markdown_table
    from kofid.experiments.rounds import MEASURES, Rounds
    from kofid.experiments.steps import run_steps
    from kofid.storage.files import write_file

    assert index is not None
    loop = Rounds(output, index, data, dev, retriever, rounds, n_context, mode, limited, scoring, training)
    run_steps(
        loop.steps(), lambda step, done: console.note(step.what + (say(" (되어 있음)", " (there)") if done else ""))
    )
    report = loop.report()
    columns = [say("바퀴", "round"), say("찾는 법", "mode"), "n", *MEASURES]
    rows = [
        [str(r["round"]), str(r["mode"]), str(r["n"]), *(f"{100 * float(r[m]):.1f}" for m in MEASURES)] for r in report
    ]
    write_file(output / "report.md", markdown_table(columns, rows))
    if console.wants_json(json_output):
        for row in report:
            console.print_json(row)
    else:
        console.print_table("", columns, rows)
