"""kofid ablate"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kofid.cli import console
from kofid.cli.options.common import Device, IndexPath, Json, Limit, MaxSteps, Output
from kofid.errors import UsageError
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
        str, typer.Option(metavar="MODEL", help=say("T5, 또는 fresh:thin|small", "A T5, or fresh:thin|small"))
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
        typer.Option(metavar="FILE.png|.svg", help=say("EM과 초의 그림 (matplotlib)", "Plot EM against seconds")),
    ] = None,
    json_output: Json = False,
) -> None:
    """Run an ablation."""
    from kofid.evaluation.report import ablation_columns, ablation_row, check_plot, markdown_table, write_ablation_plot
    from kofid.experiments.ablation import VARIANTS, Ablation
    from kofid.storage.files import write_file

    names = _chosen(only, list(VARIANTS), decoder is not None or model.startswith("fresh:"))
    if plot is not None:
        check_plot(plot)
    common = ["-i", str(index), "--device", device]
    limited = [] if limit is None else ["--limit", str(limit)]
    train = [*questions, *common, *limited, "--model", model, "--n-context", str(n_context)]
    train += ["--max-steps", str(max_steps), *(part for given in option or () for part in _option(given))]
    train += [] if decoder is None else ["--decoder", decoder]
    measured = [dev] if dev else questions
    ablation = Ablation(Path(output), train, [*measured, *common, *limited, "-k", str(n_context)])
    rows: list[dict[str, Any]] = []
    for row in ablation.run(names):
        rows.append(row)
        if console.wants_json(json_output):
            console.print_json(row)
        else:
            console.note(" ".join(ablation_row(row)))
    table = [ablation_row(row) for row in rows]
    write_file(Path(output) / "table.md", markdown_table(ablation_columns(), table))
    if plot is not None:
        write_ablation_plot(plot, rows)
    if not console.wants_json(json_output):
        console.print_table("", ablation_columns(), table)


def _chosen(only: list[str] | None, names: list[str], has_decoder: bool) -> list[str]:
    """Return the variants to run; without a GPT-2 those that need none."""
    unknown = set(only or ()) - set(names)
    if unknown:
        raise UsageError(
            say(
                f"--only {', '.join(unknown)}: 있는 것은 {', '.join(names)}",
                f"--only {', '.join(unknown)}: there are {', '.join(names)}",
            )
        )
    return [name for name in names if (name in only if only else has_decoder or "SKT" not in name)]


def _option(given: str) -> tuple[str, ...]:
    """Return ``--name value`` of name=value; a name alone is a switch."""
    name, mark, value = given.partition("=")
    return (f"--{name}", value) if mark else (f"--{name}",)
