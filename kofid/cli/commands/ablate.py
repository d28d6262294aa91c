"""kofid ablate"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import kofid
from kofid.cli import console
from kofid.cli.options.common import Device, IndexPath, Json, Limit, MaxSteps, Output, writable
from kofid.language import say

NEEDS_ARGUMENTS = True
HELP = say(
    "FiD의 변형들을 똑같이 훈련하고 재어 한 표로 보입니다: Original, K8, K32 (FiD-Light), LSA6, LSA4, GQA4 (FiDO), 그 조합, FiDSKT. "
    "EM, F1, 질문당 초, 메모리 최고, 매개변수. 멈추면 같은 명령이 이어 갑니다.",
    "Train and measure the variants of FiD alike and show them in one table: Original, K8, K32 (FiD-Light), LSA6, LSA4, "
    "GQA4 (FiDO), their combinations, FiDSKT. EM, F1, seconds a question, peak memory, parameters. After an interruption "
    "the same command goes on.",
)
EXAMPLE = """kofid ablate resources/demo/questions.jsonl -i kb --max-steps 3 --only Original --only K8 --limit 20 -o ablation"""


def run(
    questions: Annotated[list[str], typer.Argument(help=say("훈련할 질문들", "Questions to train on"))],
    index: IndexPath,
    output: Output,
    dev: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help=say("재는 질문 (기본: 훈련 질문)", "Questions to measure (default: those trained on)")
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            metavar="MODEL", help=say("T5나 BERT, 또는 fresh:thin|small", "A T5 or BERT, or fresh:thin|small")
        ),
    ] = "fresh:thin",
    decoder: Annotated[
        str | None, typer.Option(metavar="MODEL", help=say("FiDSKT의 GPT-2", "The GPT-2 of FiDSKT"))
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help=say("이 변형만, 여러 번", "Only this variant; repeatable"))
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help=say(
                "train-reader의 다른 선택지, 여러 번 (lr=0.01)", "Another option of train-reader, repeatable (lr=0.01)"
            ),
        ),
    ] = None,
    n_context: Annotated[int, typer.Option(min=1, help=say("읽을 패시지 수", "Passages to read"))] = 10,
    max_steps: MaxSteps = 300,
    limit: Limit = None,
    device: Device = "auto",
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png|.svg",
            callback=writable,
            help=say("EM과 초의 그림 (matplotlib)", "Plot EM against seconds"),
        ),
    ] = None,
    json_output: Json = False,
) -> None:
    """Run an ablation."""
    if plot is not None:
        kofid.check_plot(plot)
    settings = dict(part.partition("=")[::2] for part in option or ())
    options, fresh, lengths, base = kofid.assign_settings(
        settings,
        kofid.TrainOptions(max_steps=max_steps, device=device),
        kofid.FreshModel(),
        kofid.ReadingLengths(n_context=n_context),
        kofid.Variant(),
    )
    work = kofid.Ablation(output, questions, index, dev, model, decoder, base, fresh, lengths, options, limit)
    names = work.names(only or ())
    console.calm_libraries()
    rows = []
    for row in work.run(names, kofid.Watcher(console.progress, console.training_progress, console.note)):
        rows.append(row)
        if console.wants_json(json_output):
            console.print_json(row.to_json())
        else:
            console.note(" ".join(kofid.ablation_cells(row)))
    kofid.write_ablation(output / "table.md", rows)
    if plot is not None:
        kofid.plot_ablation(plot, rows)
    if not console.wants_json(json_output):
        console.print_table("", kofid.ablation_columns(), [kofid.ablation_cells(row) for row in rows])
