"""kofid experiment"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

import kofid
from kofid.cli import console
from kofid.cli.options.common import Json, Output, writable
from kofid.language import say

NEEDS_ARGUMENTS = True
HELP = say(
    "검색기의 격자를 한 명령으로 훈련하고 잽니다: 모델 x 에폭 x 겹 x 찾는 법 x 섞는 법. TOML 하나에 적고, 멈추면 같은 명령이 이어 갑니다. 표를 "
    "단말기와 table.md, table.csv로, hit@k 곡선을 그림으로 냅니다. 첫 체계와의 차이는 짝지은 무작위 검정(MRR@10, Holm)으로 봅니다.",
    "Train and measure a grid of retrievers in one command: model x epochs x fold x mode x fusion, written in a TOML file; "
    "after an interruption the same command goes on. Tables on the terminal and as table.md and table.csv, hit@k curves as a "
    "plot. Differences from the first system are tested by paired randomisation (MRR@10, Holm).",
)
EXAMPLE = """kofid experiment resources/demo/grid.toml -o grid --dry-run
kofid experiment resources/demo/grid.toml -o grid"""
_MEASURES = ("hit@1", "hit@5", "hit@20", "mrr@10")


def run(
    grid: Annotated[Path, typer.Argument(metavar="GRID.toml", help=say("격자를 적은 TOML", "TOML that says the grid"))],
    output: Output,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png|.svg",
            callback=writable,
            help=say("hit@k 곡선 (matplotlib)", "Draw hit@k curves (matplotlib)"),
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help=say("할 일만 보입니다", "Show the steps; do none"))
    ] = False,
    json_output: Json = False,
) -> None:
    """Run an experiment."""
    if plot is not None:
        kofid.check_plot(plot)
    experiment = kofid.Grid.read(grid, output)
    if dry_run:
        for step in experiment.steps():
            typer.echo(step.name + (say(" (되어 있음)", " (there)") if step.is_done else ""))
        return

    def on_begin(step: kofid.Step, done: bool) -> None:
        console.note(step.name + (say(" (되어 있음)", " (there)") if done else ""))

    console.calm_libraries()
    systems = experiment.run(kofid.Watcher(console.progress, console.training_progress, console.note), on_begin)
    _report(systems, output, json_output)
    if plot is not None:
        kofid.write_curves(plot, systems)


def _report(systems: Sequence[kofid.System], output: Path, as_json: bool) -> None:

    others = (
        list(kofid.compare(systems, _MEASURES, kofid.randomization_test, all_pairs=False)) if len(systems) > 1 else []
    )
    tested = {c.b: c for c in others if c.measure == "mrr@10"}
    note = say(
        "p: 첫 체계와의 MRR@10, 짝지은 무작위 검정, Holm", "p: MRR@10 against the first, paired randomisation, Holm"
    )
    kofid.write_file(output / "table.md", kofid.markdown(systems, others, note))
    kofid.write_file(output / "table.csv", _csv(systems, tested))
    if console.wants_json(as_json):
        for system in systems:
            measures = {name: round(system.mean(name), 5) for name in _MEASURES}
            p = tested[system.name].p_holm if system.name in tested else None
            console.print_json({"system": system.name, "n": len(system.measures), **measures, "p_holm": p})
    else:
        console.print_table("", [say("체계", "system"), "n", *_MEASURES, "p (Holm)"], _rows(systems, tested))
        console.note(note)


def _rows(systems: Sequence[kofid.System], tested: dict[str, kofid.Comparison]) -> list[list[str]]:
    rows = []
    for system in systems:
        p = f"{tested[system.name].p_holm:.3g}" if system.name in tested else ""
        rows.append([system.name, str(len(system.measures)), *(f"{100 * system.mean(m):.1f}" for m in _MEASURES), p])
    return rows


def _csv(systems: Sequence[kofid.System], tested: dict[str, kofid.Comparison]) -> list[str]:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["system", "n", *_MEASURES, "p_holm"])
    writer.writerows(_rows(systems, tested))
    return [text.getvalue()]
