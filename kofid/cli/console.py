"""What commands share: tables, JSON and progress on a terminal or in a pipe."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from kofid.language import say

if TYPE_CHECKING:
    from kofid.types import OnStep

quiet = False


def wants_json(flag: bool) -> bool:
    """Tell whether to print JSON: asked for, or standard output is no terminal."""
    return flag or not sys.stdout.isatty()


def print_json(value: Mapping[str, Any]) -> None:
    """Print one object on one line."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def note(message: str) -> None:
    """Say something to the person, not to the pipe."""
    if not quiet:
        typer.echo(message, err=True)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; columns of numbers are set right."""
    from rich.console import Console
    from rich.table import Table

    rows = list(rows)
    table = Table(title=title or None, title_justify="left")
    for i, column in enumerate(columns):
        numeric = all(not row[i] or row[i].lstrip("+-<")[:1].isdigit() for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def print_metrics(metrics: Mapping[str, float], as_json: bool) -> None:
    """Print measures: fractions as JSON, percentages as a table."""
    if wants_json(as_json):
        print_json(rounded(metrics))
    else:
        print_table("", list(metrics), [percentages(metrics)])


def rounded(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return measures as they go into JSON: counts whole, fractions to five places."""
    return {name: value if isinstance(value, int) else round(value, 5) for name, value in metrics.items()}


def percentages(metrics: Mapping[str, float]) -> list[str]:
    """Return measures as they go into a table: counts, and percentages to one place."""
    return [f"{value:,}" if isinstance(value, int) else f"{100 * value:.1f}" for value in metrics.values()]


def _shows_progress() -> bool:
    return sys.stderr.isatty() and not quiet and not os.environ.get("CI")


def progress(items: Iterable[Any], what: str, total: int | None = None) -> Iterable[Any]:
    """Pass ``items`` on, with a bar on standard error: done, rate, time left."""
    if not _shows_progress():
        return items
    return _tracked(items, what, total)


def _tracked(items: Iterable[Any], what: str, total: int | None) -> Iterator[Any]:
    with _bar() as bar:
        task = bar.add_task(what, total=total, rate="")
        for done, item in enumerate(items, 1):
            yield item
            speed = bar.tasks[0].speed
            bar.update(task, completed=done, rate=f"{speed:,.0f}/s" if speed else "")


@contextmanager
def training_progress(what: str) -> Iterator[OnStep]:
    """Yield a callback that shows a training run's step, loss and time left.

    The bar is there from a run's first step to its last: before and after, others may be.
    """
    if not _shows_progress():
        yield lambda step, steps, loss: None
        return
    with ExitStack() as shown:
        bars: list[Any] = []

        def on_step(step: int, steps: int, loss: float) -> None:
            if not bars:
                bars.append(shown.enter_context(_bar()))
                bars[0].add_task(what, total=steps, rate="")
            (bar,) = bars
            bar.update(bar.task_ids[0], completed=step, total=steps, rate=say("손실", "loss") + f" {loss:.3f}")
            if step >= steps:
                bars.clear()
                shown.close()

        yield on_step


def print_training(output: Path | None, figures: Mapping[str, Any], as_json: bool) -> None:
    """Print what a training run ended with, once; without ``output`` it was a dry run, which is always printed as JSON."""
    if os.environ.get("RANK", "0") != "0":  # torchrun started several processes
        return
    if output is None:
        print_json(figures)
    elif wants_json(as_json):
        print_json({"output": str(output), **figures})
    else:
        note(f"{output}: " + json.dumps(figures, ensure_ascii=False))


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def calm_libraries() -> None:
    """Keep Transformers' and tqdm's own bars and notices off standard error."""
    import warnings

    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", module=r"transformers|torch|accelerate")
