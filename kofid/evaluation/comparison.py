"""Systems compared on the same questions, measure by measure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from kofid.errors import InputError, UsageError
from kofid.evaluation.metrics import gold_units, ranking_measures
from kofid.evaluation.rankings import ANSWER, read_measures
from kofid.evaluation.significance import holm
from kofid.formats import trec
from kofid.formats.lines import read_lines
from kofid.language import say, setting

DEFAULT_MEASURES = ("hit@1", "hit@5", "hit@20", "mrr@10")
Test = Callable[[Sequence[float]], float]


@dataclass(frozen=True)
class System:
    """A system's measures by question. ``n_without_hits`` of a run's questions have no hits, and count 0."""

    name: str
    source: str
    measures: dict[str, dict[str, float]]
    n_without_hits: int = 0

    def mean(self, measure: str) -> float:
        """Return the mean of a measure over the questions that have it."""
        values = [m[measure] for m in self.measures.values() if measure in m]
        return math.fsum(values) / len(values)


@dataclass(frozen=True)
class Comparison:
    """System ``b`` against ``a`` by one measure over ``n`` questions.

    ``p`` is the paired test's, ``p_holm`` the same corrected for all pairs compared by this measure.
    """

    measure: str
    n: int
    a: str
    b: str
    mean_a: float
    mean_b: float
    p: float
    p_holm: float

    @property
    def difference(self) -> float:
        """Return how much ``b`` is above ``a``."""
        return self.mean_b - self.mean_a

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as one JSON object."""
        return {
            "measure": self.measure,
            "n": self.n,
            "a": self.a,
            "b": self.b,
            "mean_a": round(self.mean_a, 5),
            "mean_b": round(self.mean_b, 5),
            "difference": round(self.difference, 5),
            "p": self.p,
            "p_holm": self.p_holm,
        }


def read_systems(sources: Sequence[str], qrels: str | None = None) -> list[System]:
    """Read per-question files, and TREC runs by ``qrels``; systems are named by their files.

    A question of the qrels that a run has no hits for counts 0. Raises UsageError for a file given twice or a run
    without qrels, InputError for systems that do not share the same questions.
    """
    for i, source in enumerate(sources):
        if Path(source).resolve() in [Path(other).resolve() for other in sources[:i]]:
            raise UsageError(say(f"{source}: 두 번 주었습니다", f"{source}: given twice"))
    stems = [Path(source).name.split(".")[0] or source for source in sources]
    names = stems if len(set(stems)) == len(stems) else list(sources)
    judged = trec.read_qrels(qrels) if qrels else None
    systems = [_read_system(name, source, judged) for name, source in zip(names, sources, strict=True)]
    for other in systems[1:]:
        _require_same_questions(systems[0], other, set(systems[0].measures), set(other.measures))
    return systems


def _read_system(name: str, source: str, qrels: trec.Qrels | None) -> System:
    first = next((line for _, line in read_lines(source) if line.strip()), "")
    if trec.columns_of(first) != "trec-run":
        return System(name, source, read_measures(source))
    if qrels is None:
        needed = setting("qrels", "FILE")
        raise UsageError(
            say(f"{source}: TREC run에는 {needed} 가 있어야 합니다", f"{source}: a TREC run needs {needed}")
        )
    run = trec.read_run(source)
    judged = {question: gold for question, gold in qrels.items() if max(gold.values()) > 0}
    if not run.keys() & judged.keys():
        raise InputError(
            say(f"{source}: qrels와 같은 질문이 하나도 없습니다", f"{source}: has no question in common with the qrels")
        )
    rankings = [
        gold_units([p for p, _ in run.get(question, [])], [p for p, value in gold.items() if value > 0])
        for question, gold in judged.items()
    ]
    measures = dict(zip(judged, ranking_measures(rankings, list(judged.values())), strict=True))
    return System(name, source, measures, n_without_hits=len(judged.keys() - run.keys()))


def _require_same_questions(a: System, b: System, ours: set[str], theirs: set[str]) -> None:
    if ours == theirs:
        return
    message = []
    for lacking, having, missing in ((b, a, ours - theirs), (a, b, theirs - ours)):
        if missing:
            names = ", ".join(sorted(missing)[:5]) + (" ..." if len(missing) > 5 else "")
            message.append(
                say(
                    f"{lacking.source}에는 {having.source}의 질문 {len(missing):,}개가 없습니다: {names}",
                    f"{lacking.source} lacks {len(missing):,} questions of {having.source}: {names}",
                )
            )
    raise InputError("; ".join(message))


def choose_measures(systems: Sequence[System], wanted: Sequence[str] | None) -> list[str]:
    """Return the measures to compare by: those wanted, else the default ones, by answers where there is no gold.

    Raises InputError for one that a system lacks, or has for other questions than the first system.
    """
    known = [{name for measures in system.measures.values() for name in measures} for system in systems]
    default = DEFAULT_MEASURES if DEFAULT_MEASURES[0] in known[0] else [ANSWER + name for name in DEFAULT_MEASURES]
    measures = list(dict.fromkeys(wanted or default))
    for measure in measures:
        lacking = next((i for i, names in enumerate(known) if measure not in names), None)
        if lacking is not None:
            source, available = systems[lacking].source, ", ".join(sorted(known[lacking]))
            raise InputError(
                say(
                    f"{source}: '{measure}'가 없습니다. 있는 것: {available}",
                    f"{source}: no '{measure}'; there are: {available}",
                )
            )
        first, *others = [{q for q, m in system.measures.items() if measure in m} for system in systems]
        for system, questions in zip(systems[1:], others, strict=True):
            _require_same_questions(systems[0], system, first, questions)
    return measures


def compare(systems: Sequence[System], measures: Sequence[str], test: Test, *, all_pairs: bool) -> Iterator[Comparison]:
    """Yield the comparisons of each measure: every system with the first, or all pairs.

    ``test`` gives the p of paired differences; Holm's correction is over the pairs of one measure.

    >>> a = System("a", "a.jsonl", {"q1": {"mrr": 0.5}, "q2": {"mrr": 0.5}})
    >>> b = System("b", "b.jsonl", {"q1": {"mrr": 1.0}, "q2": {"mrr": 0.5}})
    >>> [comparison] = compare([a, b], ["mrr"], lambda differences: 0.5, all_pairs=False)
    >>> comparison.difference, comparison.p_holm
    (0.25, 0.5)
    """
    pairs = list(combinations(systems, 2)) if all_pairs else [(systems[0], system) for system in systems[1:]]
    for measure in measures:
        comparisons = [_compare_pair(a, b, measure, test) for a, b in pairs]
        corrected = holm([comparison.p for comparison in comparisons])
        yield from (replace(comparison, p_holm=p) for comparison, p in zip(comparisons, corrected, strict=True))


def _compare_pair(a: System, b: System, measure: str, test: Test) -> Comparison:
    differences = [
        b.measures[question][measure] - values[measure] for question, values in a.measures.items() if measure in values
    ]
    p = test(differences)
    return Comparison(measure, len(differences), a.name, b.name, a.mean(measure), b.mean(measure), p, p)
