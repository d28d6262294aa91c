"""kofid compare"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

import kofid
from kofid.cli import console
from kofid.cli.options.common import Json, Seed, writable
from kofid.errors import UsageError
from kofid.language import say

NEEDS_ARGUMENTS = True
HELP = say(
    "찾기 체계들을 같은 질문으로 견줍니다. --per-question이 쓴 파일(또는 --qrels와 함께 TREC run)을 받아, 첫 체계와 다른 체계들의 차이가 "
    "우연인지 짝지은 검정으로 보고 Holm의 방법으로 고칩니다.",
    "Compare retrieval systems on the same questions. From the files of --per-question (or TREC runs with --qrels), "
    "tell by a paired test whether the others differ from the first by more than chance, Holm-corrected.",
)
EXAMPLE = """kofid retrieve -i kb --eval resources/demo/questions.jsonl --per-question bm25.jsonl
kofid index resources/demo/passages.jsonl -o kb-b0 --b 0
kofid retrieve -i kb-b0 --eval resources/demo/questions.jsonl --per-question bm25-b0.jsonl
kofid compare bm25.jsonl bm25-b0.jsonl --output table.md"""


def run(
    systems: Annotated[
        list[str],
        typer.Argument(
            help=say("체계마다 한 파일, 첫째가 기준", "One file a system, the first is the baseline"),
        ),
    ],
    measure: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help=say(
                "척도, 여러 번 (기본: hit@1 hit@5 hit@20 mrr@10)",
                "Measure, repeatable (default: hit@1 hit@5 hit@20 mrr@10)",
            ),
        ),
    ] = None,
    test: Annotated[
        Literal["randomization", "t"],
        typer.Option(help=say("짝지은 검정: 부호 뒤집기, t", "Paired test: sign flips, Student's t")),
    ] = "randomization",
    permutations: Annotated[
        int, typer.Option(min=100, metavar="N", help=say("부호를 뒤집는 횟수", "Random sign patterns"))
    ] = 10_000,
    seed: Seed = 13,
    all_pairs: Annotated[
        bool,
        typer.Option("--all-pairs", help=say("기준과만이 아니라 모든 짝을", "All pairs, not only with the baseline")),
    ] = False,
    qrels: Annotated[
        str | None, typer.Option(metavar="FILE", help=say("TREC run의 정답 (qrels)", "Qrels for TREC runs"))
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE.md",
            callback=writable,
            help=say("표를 Markdown으로", "Write the tables as Markdown"),
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png|.svg", callback=writable, help=say("막대그림 (matplotlib)", "Draw bars (matplotlib)")
        ),
    ] = None,
    json_output: Json = False,
) -> None:
    """Compare systems."""

    if len(systems) < 2:
        raise UsageError(say("체계를 둘 이상 주세요", "give two systems or more"))
    if plot is not None:
        kofid.check_plot(plot)
    read = kofid.read_systems(systems, qrels)
    _note_missing(read)
    randomization = partial(kofid.randomization_test, n_permutations=permutations, seed=seed)
    p_value = randomization if test == "randomization" else kofid.t_test
    comparisons = list(kofid.compare(read, kofid.choose_measures(read, measure), p_value, all_pairs=all_pairs))
    if output is not None:
        kofid.write_file(output, kofid.markdown(read, comparisons, _note(test, permutations, seed, comparisons[0].n)))
    if plot is not None:
        kofid.write_plot(plot, read, comparisons)
    if console.wants_json(json_output):
        settings = {"test": test} | ({"permutations": permutations, "seed": seed} if test == "randomization" else {})
        for comparison in comparisons:
            console.print_json(comparison.to_json() | settings)
    else:
        console.print_table("", kofid.comparison_columns(), [kofid.comparison_row(c) for c in comparisons])
        console.note(_note(test, permutations, seed, comparisons[0].n))


def _note_missing(systems: Sequence[kofid.System]) -> None:
    for system in systems:
        if system.n_without_hits:
            n, total = system.n_without_hits, len(system.measures)
            console.note(
                say(
                    f"{system.source}: 질문 {total:,}개 가운데 {n:,}개는 찾은 것이 없어 0으로 셉니다",
                    f"{system.source}: {n:,} of {total:,} questions have no hits and count 0",
                )
            )


def _note(test: str, permutations: int, seed: int, n: int) -> str:
    """Return what the p values are, so that a table can be made again."""
    name = say("짝지은 t 검정", "paired t-test")
    if test == "randomization":
        name = say(
            f"짝지은 무작위 검정 (부호 {permutations:,}번, 씨앗 {seed})",
            f"paired randomisation test ({permutations:,} sign patterns, seed {seed})",
        )
    return say(
        f"질문 {n:,}개. p: {name}. *: Holm으로 고친 p < 0.05", f"{n:,} questions. p: {name}. *: Holm-corrected p < 0.05"
    )
