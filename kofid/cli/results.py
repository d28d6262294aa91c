"""Rankings as commands print them: hits, what each term gave, and measures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import kofid
from kofid.cli import console
from kofid.errors import UsageError
from kofid.language import say

if TYPE_CHECKING:
    from kofid import Example, Hit, Pipeline

# Characters of a passage that a row of a table shows.
_SHOWN = 120
_BY_ANSWER = "answer_"  # before the name of a measure by answers


def print_hits(results: Iterable[Example], *, output: Path | None, as_json: bool, full: bool) -> None:
    """Print hits as a table for each question, or as FiD JSON lines, or write them to a file."""
    if output is not None:
        n = kofid.write_ranked(output, results)
        console.note(say(f"{output}: 질문 {n:,}개", f"{output}: {n:,} questions"))
        return
    for example in results:
        if console.wants_json(as_json):
            console.print_json(kofid.example_to_json(example))
        elif not example.hits:
            question = example.question.text
            console.note(say(f"{question}: 찾은 패시지가 없습니다", f"{question}: no passage found"))
        else:
            columns = ["#", say("점수", "score"), "id", say("제목", "title"), say("본문", "text")]
            rows = [_row(rank, hit, full) for rank, hit in enumerate(example.hits, 1)]
            console.print_table(_title(example), columns, rows)


def _row(rank: int, hit: Hit, full: bool) -> list[str]:
    text = hit.passage.text if full else " ".join(hit.passage.text.split())
    cut = not full and len(text) > _SHOWN
    return [str(rank), f"{hit.score:.3f}", hit.passage.id, hit.passage.title, text[:_SHOWN] + "…" if cut else text]


def _title(example: Example) -> str:
    return f"{example.question.text} → {example.corrected}" if example.corrected else example.question.text


def print_explained(pipeline: Pipeline, results: Iterable[Example], *, as_json: bool) -> None:
    """Print hits with what each term of the question gave to them."""
    for example in results:
        explanation = pipeline.explain(example.corrected or example.question.text, example.hits)
        if console.wants_json(as_json):
            entry = kofid.example_to_json(example) | {"query": explanation.to_json()}
            for number, context in enumerate(entry["ctxs"]):
                context["terms"] = explanation.shares_to_json(number)
            console.print_json(entry)
            continue
        rows = [
            [t.text, explanation.components[t.component], f"{t.weight:g}", f"{df:,}"] for t, df in explanation.terms
        ]
        columns = [say("말", "term"), say("성분", "component"), say("무게", "weight"), say("패시지", "passages")]
        console.print_table(_title(example), columns, rows)
        for word, reason in explanation.dropped:
            console.note(say(f"뺌: {word} ({reason})", f"dropped: {word} ({reason})"))
        shares = [" + ".join(f"{explanation.name(s)} {s.score:.2f}" for s in part) for part in explanation.hits]
        rows = [
            [str(rank), f"{hit.score:.2f}", hit.passage.id, terms]
            for rank, (hit, terms) in enumerate(zip(example.hits, shares, strict=True), 1)
        ]
        console.print_table("", ["#", say("점수", "score"), "id", say("어디서 왔나", "where from")], rows)


def print_measures(results: Iterable[Example], *, as_json: bool, per_question: Path | None) -> None:
    """Print the measures of results by gold ids and by answers; raise UsageError when no question has either."""
    rankings = kofid.judge(results)
    if not rankings:
        raise UsageError(
            say(
                "positive_ids나 answers가 있는 질문이 하나도 없어 평가할 수 없습니다",
                "no question has positive_ids or answers, so there is nothing to evaluate",
            )
        )
    if per_question is not None:
        kofid.write_rankings(per_question, rankings)
    means = kofid.mean_measures(rankings)
    if console.wants_json(as_json):
        console.print_metrics(means, as_json)
        return
    names = dict.fromkeys(name.removeprefix(_BY_ANSWER) for name in means)
    columns = [say("척도 (%)", "measure (%)"), say("정답 패시지로", "by gold passage"), say("답으로", "by answer")]
    rows = [[name, _cell(means.get(name)), _cell(means.get(_BY_ANSWER + name))] for name in names]
    console.print_table("", columns, rows)


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{100 * value:.1f}"
