"""Comparisons as tables and plots, for a paper or a README."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kofid.errors import ResourceError, UsageError
from kofid.evaluation.comparison import Comparison, System
from kofid.language import say
from kofid.storage.files import write_bytes

SIGNIFICANT = 0.05
PLOT_SUFFIXES = (".png", ".svg", ".pdf")
# Fonts with Hangul that systems come with; an SVG keeps the letters as text and needs none.
_KOREAN_FONTS = ("Noto Sans CJK KR", "Noto Sans KR", "NanumGothic", "Malgun Gothic", "Apple SD Gothic Neo", "UnDotum")


def comparison_columns() -> list[str]:
    """Return the heads of a table of comparisons."""
    return [say("척도", "measure"), "A", "B", "A (%)", "B (%)", say("차이", "difference"), "p", "p (Holm)"]


def comparison_row(comparison: Comparison) -> list[str]:
    """Return one row of such a table: percentages, p, and an asterisk where Holm's p is below 0.05."""
    star = " *" if comparison.p_holm < SIGNIFICANT else ""
    return [
        comparison.measure,
        comparison.a,
        comparison.b,
        f"{100 * comparison.mean_a:.1f}",
        f"{100 * comparison.mean_b:.1f}",
        f"{100 * comparison.difference:+.2f}",
        _p_value(comparison.p),
        _p_value(comparison.p_holm) + star,
    ]


def _p_value(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def markdown(systems: Sequence[System], comparisons: Sequence[Comparison], note: str) -> Iterator[str]:
    """Yield the lines of two Markdown tables: each system's measures in percent, and every comparison; then ``note``."""
    measures = list(dict.fromkeys(comparison.measure for comparison in comparisons))
    yield from markdown_table(
        [say("체계", "system"), *measures],
        [[system.name, *(f"{100 * system.mean(measure):.1f}" for measure in measures)] for system in systems],
    )
    yield "\n"
    yield from markdown_table(comparison_columns(), [comparison_row(comparison) for comparison in comparisons])
    yield f"\n{note}\n"


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table.

    >>> print("".join(markdown_table(["n", "EM"], [["20", "75.0"]])), end="")
    | n | EM |
    | --- | --- |
    | 20 | 75.0 |
    """
    for cells in (columns, ["---"] * len(columns), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("*", "\\*") for cell in cells) + " |\n"


def check_plot(path: Path) -> None:
    """Raise UsageError for a name that no plot can have, ResourceError where matplotlib is missing."""
    if path.suffix not in PLOT_SUFFIXES:
        names = ", ".join(PLOT_SUFFIXES)
        raise UsageError(
            say(f"{path}: 그림의 이름은 {names} 가운데 하나로 끝나야 합니다", f"{path}: a plot's name ends in {names}")
        )
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ResourceError(
            say(
                "그림을 그리려면 matplotlib이 있어야 합니다: pip install 'kofid[plot]'",
                "plots need matplotlib: pip install 'kofid[plot]'",
            )
        ) from error


def write_plot(path: Path, systems: Sequence[System], comparisons: Sequence[Comparison]) -> None:
    """Write bars of every system's measures in percent, an asterisk where one differs from the first by Holm's p < 0.05.

    The file appears whole or not at all. Raises as ``check_plot`` does.
    """
    check_plot(path)
    with _style() as figure_class:
        figure = figure_class(figsize=(7, 4), layout="constrained")
        _draw(figure.subplots(), systems, comparisons)
        _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    image = io.BytesIO()
    # No date and no random ids in the file: the same figures give the same bytes.
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix)
    figure.savefig(image, format=path.suffix[1:], dpi=200, metadata=metadata)
    write_bytes(path, image.getvalue())


def write_scatter(path: Path, points: Sequence[tuple[str, float, float]], x_label: str, y_label: str) -> None:
    """Write a plot of named points (name, x, y); as ``write_plot`` does."""
    check_plot(path)
    with _style() as figure_class:
        figure = figure_class(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        for name, x, y in points:
            axes.scatter(x, y, color="C0")
            axes.annotate(name, (x, y), textcoords="offset points", xytext=(5, 3))
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.spines[["top", "right"]].set_visible(False)
        _save(figure, path)


def write_curves(path: Path, systems: Sequence[System]) -> None:
    """Write a plot of hit@1 to hit@20, a line a system; as ``write_plot`` does."""
    check_plot(path)
    with _style() as figure_class:
        figure = figure_class(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        for system in systems:
            curve = hit_curve(system)
            axes.plot(range(1, len(curve) + 1), [100 * share for share in curve], label=system.name)
        axes.set_xlabel("k")
        axes.set_ylabel("hit@k (%)")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize="small")
        _save(figure, path)


def write_risk_plot(path: Path, curve: Sequence[tuple[float, float, float]]) -> None:
    """Write a plot of (coverage, accuracy, confidence): accuracy over coverage; as ``write_plot`` does."""
    check_plot(path)
    with _style() as figure_class:
        figure = figure_class(figsize=(5, 4), layout="constrained")
        axes = figure.subplots()
        axes.plot([100 * coverage for coverage, _, _ in curve], [100 * accuracy for _, accuracy, _ in curve])
        axes.set_xlabel(say("답한 질문 (%)", "questions answered (%)"))
        axes.set_ylabel(say("맞은 답 (%)", "right (%)"))
        axes.set_ylim(0, 105)
        axes.spines[["top", "right"]].set_visible(False)
        _save(figure, path)


def hit_curve(system: System, n: int = 20) -> list[float]:
    """Return hit@1 to hit@``n`` of a system from its questions' reciprocal ranks."""
    ranks = [1 / measures["mrr"] if measures.get("mrr") else float("inf") for measures in system.measures.values()]
    return [sum(rank < k + 0.5 for rank in ranks) / len(ranks) for k in range(1, n + 1)]


@contextmanager
def _style() -> Iterator[Any]:
    """Yield matplotlib's Figure, drawn without a screen, with Hangul where a font has it."""
    import warnings

    import matplotlib as mpl
    from matplotlib import font_manager
    from matplotlib.figure import Figure

    installed = set(font_manager.get_font_names())
    fonts = [name for name in _KOREAN_FONTS if name in installed] + ["DejaVu Sans"]
    settings: Any = {"font.family": fonts, "svg.fonttype": "none", "svg.hashsalt": "kofid"}
    with mpl.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield Figure


def _draw(axes: Any, systems: Sequence[System], comparisons: Sequence[Comparison]) -> None:
    measures = list(dict.fromkeys(comparison.measure for comparison in comparisons))
    starred = {(c.measure, c.b) for c in comparisons if c.a == systems[0].name and c.p_holm < SIGNIFICANT}
    width = 0.8 / len(systems)
    for i, system in enumerate(systems):
        places = [m + (i - (len(systems) - 1) / 2) * width for m in range(len(measures))]
        bars = axes.bar(places, [100 * system.mean(measure) for measure in measures], width, label=system.name)
        axes.bar_label(bars, ["*" if (measure, system.name) in starred else "" for measure in measures])
    axes.set_xticks(range(len(measures)), measures)
    axes.set_ylim(0, 105)
    axes.set_ylabel("%")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(systems), frameon=False)
