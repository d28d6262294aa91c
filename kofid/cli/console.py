"""What commands share: text made safe to show, tables, JSON and progress, on a terminal or in a pipe."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import typer

from kofid.language import say

if TYPE_CHECKING:
    from kofid import OnStep

# What a terminal obeys or nobody sees: C0 and C1 controls but tab and newline, marks that turn the direction of writing
# (Unicode TR36, "bidirectional text spoofing"), line separators, and halves of surrogate pairs.
_UNSEEN = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_quiet = False


def set_quiet(quiet: bool) -> None:
    """Choose whether progress and notes are left out from now on."""
    global _quiet  # noqa: PLW0603
    _quiet = quiet


# --- text ----------------------------------------------------------------------------------------------------


def visible(text: str) -> str:
    r"""Return text with what a terminal would obey or hide written out; tabs and line ends stay.

    >>> visible("가\x1b[31m나\u202e다")
    '가\\x1b[31m나\\u202e다'
    """
    return _UNSEEN.sub(lambda match: _written_out(ord(match.group())), text)


def _written_out(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file's name that is no UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def visible_line(text: str) -> str:
    r"""Return text of one line: as ``visible``, line ends written out, too.

    >>> visible_line("제목\n답: 없음")
    '제목\\n답: 없음'
    """
    return visible(text).replace("\n", "\\n")


# --- streams -------------------------------------------------------------------------------------------------


def prepare_streams() -> None:
    """Make standard streams safe to use: closed ones fail when used, and letters that a terminal lacks are replaced.

    A closed one is opened the wrong way round (as gnulib's stdopen does), so that no other file gets its number.
    """
    for number, flags in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace" if stream is sys.stdout else "backslashreplace")


def discard(stream: TextIO) -> None:
    """Send the rest of what is written to a stream nowhere, so that Python can flush it at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        stream.flush()


def wants_json(flag: bool) -> bool:
    """Tell whether to print JSON: asked for, or standard output is no terminal."""
    return flag or not sys.stdout.isatty()


def print_json(value: Mapping[str, Any]) -> None:
    """Print one object on one line; what a terminal would obey, or its encoding lacks, is escaped as JSON has it."""
    line = _UNSEEN.sub(lambda match: f"\\u{ord(match.group()):04x}", json.dumps(value, ensure_ascii=False))
    try:
        line.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        line = json.dumps(value)
    typer.echo(line)


def tell(message: str, *, red: bool = False) -> None:
    """Say something to the person on standard error; where that cannot be written to, there is nobody to tell."""
    with contextlib.suppress(OSError):
        typer.secho(visible(message), err=True, fg=typer.colors.RED if red and sys.stderr.isatty() else None)


def note(message: str) -> None:
    """Say something to the person, unless quiet is asked for."""
    if not _quiet:
        tell(message)


# --- tables --------------------------------------------------------------------------------------------------


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table, nothing in it taken for markup; columns of numbers are set right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    heading = Text(visible_line(title), "italic") if title else None
    table = Table(title=heading, title_justify="left")
    for i, column in enumerate(columns):
        numeric = all(not row[i] or row[i].lstrip("+-<")[:1].isdigit() for row in rows)
        table.add_column(Text(visible_line(column)), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
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


# --- progress ------------------------------------------------------------------------------------------------


def _shows_progress() -> bool:
    return sys.stderr.isatty() and not _quiet and not os.environ.get("CI")


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
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def calm_libraries() -> None:
    """Keep the bars and notices of libraries off standard error, loaded already or later."""
    import logging
    import warnings

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # what is wrong with a file is said once, by us
    for name, value in (("TRANSFORMERS_VERBOSITY", "error"), ("HF_HUB_DISABLE_PROGRESS_BARS", "1")):
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", module=r"transformers|torch|accelerate")
    if "transformers" in sys.modules:
        from transformers.utils import logging as transformers_logging

        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
