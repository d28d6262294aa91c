"""Measures of retrieval and of answers, as fractions in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence

from kofid.formats.split import article_id
from kofid.text import character_f1, exact_match, robust_match
from kofid.types import Question

HIT_CUTOFFS = (1, 5, 10, 20, 30, 100)


def gold_rank(ids: Sequence[str], positive_ids: Sequence[str]) -> int | None:
    """Return the rank (from 1) of the first gold passage; a gold id that names an article counts any passage of it."""
    gold = set(positive_ids)
    for rank, passage_id in enumerate(ids, 1):
        if passage_id in gold or article_id(passage_id) in gold:
            return rank
    return None


def retrieval_metrics(ranks: Sequence[int | None], cutoffs: Sequence[int] = HIT_CUTOFFS) -> dict[str, float]:
    """Return ``n``, ``hit@k`` (share of questions with gold among the first k) and ``mrr`` (mean 1 / rank)."""
    n = len(ranks)
    metrics: dict[str, float] = {"n": n}
    for k in cutoffs:
        metrics[f"hit@{k}"] = sum(rank is not None and rank <= k for rank in ranks) / n if n else 0.0
    metrics["mrr"] = sum(1 / rank for rank in ranks if rank is not None) / n if n else 0.0
    return metrics


def answer_metrics(predictions: Sequence[str], questions: Sequence[Question]) -> dict[str, float]:
    """Return ``n``, KorQuAD's official ``em`` and ``f1``, and ``em_robust`` (particles, brackets, spaces aside)."""
    pairs = list(zip(predictions, (q.answers for q in questions), strict=True))
    n = len(pairs)

    def mean(values: list[float]) -> float:
        return sum(values) / n if n else 0.0

    return {
        "n": n,
        "em": mean([float(exact_match(p, a)) for p, a in pairs]),
        "f1": mean([character_f1(p, a) for p, a in pairs]),
        "em_robust": mean([float(robust_match(p, a)) for p, a in pairs]),
    }
