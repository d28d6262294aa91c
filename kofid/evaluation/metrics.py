"""Measures of retrieval and of answers, as fractions in [0, 1]."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from kofid.formats.passage_split import article_id
from kofid.korean.answer_match import has_answer, robust_match
from kofid.korean.korquad import character_f1, exact_match, normalize_korquad
from kofid.types import Question

HIT_CUTOFFS = (1, 5, 10, 20, 30, 100)


# The names that kofid prints, and what ir-measures calls them (https://ir-measur.es/en/latest/measures.html).
_IR_MEASURES = {
    **{f"hit@{k}": f"Success@{k}" for k in HIT_CUTOFFS},
    "mrr": "RR",
    "mrr@10": "RR@10",
    "ndcg@10": "nDCG@10",
    "recall@100": "R@100",
}
GOLD_MEASURES = tuple(_IR_MEASURES)
ANSWER_MEASURES = tuple(name for name in GOLD_MEASURES if name.startswith(("hit@", "mrr")))


def gold_units(ids: Sequence[str], gold: Collection[str]) -> list[str | None]:
    """Return for each hit the gold id that it is the first to match, None where it matches none.

    A gold id that names an article is matched by any passage cut from it. A gold id counts once: the second passage
    of a gold article brings nothing new. A passage that is gold itself counts as that, not as its article.
    """
    unmatched = set(gold)
    units = []
    for passage_id in ids:
        unit = next((name for name in (passage_id, article_id(passage_id)) if name in unmatched), None)
        unmatched.discard(unit or "")
        units.append(unit)
    return units


def answer_rank(texts: Iterable[str], answers: tuple[str, ...]) -> int | None:
    """Return the rank (from 1) of the first text that says an answer, particles allowed after it."""
    return next((rank for rank, text in enumerate(texts, 1) if has_answer(text, answers)), None)


def ranking_measures(
    rankings: Sequence[Sequence[str | None]], gold: Sequence[Mapping[str, int]], names: Sequence[str] = GOLD_MEASURES
) -> list[dict[str, float]]:
    """Return each question's measures, computed by ir-measures; empty where ``gold`` is.

    ``rankings`` holds each question's hits best first, as ``gold_units`` names them; ``gold`` the relevance of each
    gold id (0 or less is none). ``hit@k``: some gold among the first k. ``mrr``: 1 / rank of the first gold, cut at k
    in ``mrr@k``. ``ndcg@k``: gains discounted by log2(rank + 1), over the best order's (Jarvelin and Kekalainen 2002).
    ``recall@k``: share of the gold ids among the first k.
    """
    import ir_measures

    parsed = {ir_measures.parse_measure(_IR_MEASURES[name]): name for name in names}
    # Ranks stand for scores, so that neither ties nor float32, to which trec_eval rounds, can change the order.
    run = {
        str(i): {unit if unit is not None else f"\n{rank}": -float(rank) for rank, unit in enumerate(units, 1)}
        for i, units in enumerate(rankings)
        if units
    }
    qrels = {str(i): dict(relevance) for i, relevance in enumerate(gold) if relevance}
    measures: list[dict[str, float]] = [dict.fromkeys(names, 0.0) if relevance else {} for relevance in gold]
    if qrels:
        for metric in ir_measures.iter_calc(list(parsed), qrels, run):
            measures[int(metric.query_id)][parsed[metric.measure]] = float(metric.value)
    return measures


def rouge_l(prediction: str, answers: tuple[str, ...]) -> float:
    """Return ROUGE-L of long answers, best over ``answers``, in [0, 1]: Lin 2004 ("ROUGE"), section 3.1.

    F (beta 1) of the longest common subsequence over characters, normalised and without spaces as in KorQuAD's F1;
    unlike that, their order counts.
    """
    predicted = normalize_korquad(prediction).replace(" ", "")
    golds = [normalize_korquad(answer).replace(" ", "") for answer in answers]
    return max((2 * _lcs(predicted, gold) / (len(predicted) + len(gold) or 1) for gold in golds), default=0.0)


def _lcs(a: str, b: str) -> int:
    """Return the length of the longest common subsequence; a row of the table is the bits of a number (Hyyro 2004)."""
    places: dict[str, int] = {}
    for i, character in enumerate(a):
        places[character] = places.get(character, 0) | 1 << i
    full = row = (1 << len(a)) - 1
    for character in b:
        matched = row & places.get(character, 0)
        row = ((row + matched) | (row - matched)) & full
    return len(a) - row.bit_count()


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


def risk_coverage(confidences: Sequence[float], right: Sequence[bool]) -> list[tuple[float, float, float]]:
    """Return (coverage, accuracy, confidence) of answering only the surest questions, from one question to all.

    Accuracy is the share of right answers among those answered (El-Yaniv and Wiener 2010, section 2). Answers that are
    equally sure are given together.

    >>> risk_coverage([0.9, 0.5, 0.5, 0.1], [True, True, False, False])
    [(0.25, 1.0, 0.9), (0.75, 0.6666666666666666, 0.5), (1.0, 0.5, 0.1)]
    """
    ordered = sorted(zip(confidences, right, strict=True), key=lambda answer: -answer[0])
    curve, n_right = [], 0
    for n, (confidence, is_right) in enumerate(ordered, 1):
        n_right += is_right
        if n == len(ordered) or ordered[n][0] < confidence:
            curve.append((n / len(ordered), n_right / n, confidence))
    return curve
