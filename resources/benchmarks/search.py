"""How fast an index answers: ``python resources/benchmarks/search.py INDEX QUESTIONS --warm OTHER_QUESTIONS [--peers]``.

Prints one JSON object: milliseconds a question in a warm process (one thread; the questions are not those it was warmed
with), its memory, and seconds of a whole one-shot process. ``--peers`` measures bm25s and rank_bm25 on the same terms
in the same run (in memory: for up to some 100,000 passages).
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kofid.formats import read_questions
from kofid.retrieval.engines import PackageSearch
from kofid.retrieval.index import Index
from kofid.retrieval.modes import Engine


def milliseconds(act: Callable[[Any], object], items: list[Any]) -> dict[str, float]:
    """Return mean, median and 99th percentile of what ``act`` takes on an item."""
    took = []
    for item in items:
        start = time.perf_counter()
        act(item)
        took.append(1000 * (time.perf_counter() - start))
    cuts = statistics.quantiles(took, n=100, method="inclusive")
    figures = {"mean": statistics.mean(took), "p50": cuts[49], "p99": cuts[98]}
    return {name: round(value, 3) for name, value in figures.items()}


def cold(index: Path, questions: list[str]) -> float:
    """Return the median seconds of ``kofid retrieve`` on one question, from start to end."""
    took = []
    for question in questions:
        start = time.perf_counter()
        command = [sys.executable, "-m", "kofid", "retrieve", "-i", str(index), question, "--json"]
        subprocess.run(command, check=True, capture_output=True)
        took.append(time.perf_counter() - start)
    return round(statistics.median(took), 3)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("index", type=Path)
    parser.add_argument("questions")
    parser.add_argument("--warm", required=True)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("-k", type=int, default=10)
    options = parser.parse_args()
    questions = [q.text for q in read_questions(options.questions)]
    index = Index.open(options.index)
    for question in read_questions(options.warm):
        index.search(question.text, options.k)
    report: dict[str, Any] = {"passages": len(index), "questions": len(questions)}
    report["search_ms"] = milliseconds(lambda q: index.search(q, options.k), questions)
    report["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    if options.peers:
        report |= with_peers(index, questions, options.k)
    report["one_shot_s"] = cold(options.index, questions[:15])
    print(json.dumps(report, ensure_ascii=False))


def with_peers(index: Index, questions: list[str], k: int) -> dict[str, Any]:
    """Return what kofid and the peers take from analysed terms to the best ``k``, all by a plain BM25 sum."""
    plain = index.ranked(title_weight=0, sentence_weight=0, article_penalty=0, asking_weight=1, ending_weight=1)
    queries = [plain.query(question) for question in questions]
    report: dict[str, Any] = {"kofid_ms": milliseconds(lambda terms: plain.sparse.search(terms, k), queries)}
    terms = [[f"{term.component}:{term.text}" for term in query] for query in queries]
    bm25s = PackageSearch(index, Engine.BM25S).package
    report["bm25s_ms"] = milliseconds(lambda t: bm25s.retrieve([t], k=k, show_progress=False), terms)
    rank_bm25 = PackageSearch(index, Engine.RANK_BM25).package
    report["rank_bm25_ms"] = milliseconds(lambda t: rank_bm25.get_top_n(t, range(len(index)), k), terms[:50])
    return report


if __name__ == "__main__":
    main()
