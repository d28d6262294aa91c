"""Measures of rankings against a slow twin and by hand, and the per-question files that keep them."""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.command_line import PASSAGES, QUESTIONS, kofid, refuse, write_jsonl
from support.loaded import RUN
from support.rankings import example, index_with_articles

from kofid.evaluation.metrics import GOLD_MEASURES, answer_rank, gold_units, ranking_measures
from kofid.evaluation.rankings import judge, mean_measures


@pytest.fixture(scope="module")
def articles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return index_with_articles(tmp_path_factory)


def slow_measure(name: str, units: Sequence[str | None], gold: dict[str, int]) -> float:
    """Measure one ranking as the textbook says, by loops."""
    kind, _, cutoff = name.partition("@")
    first = list(units)[: int(cutoff)] if cutoff else list(units)
    relevant = [gold.get(unit, 0) if unit else 0 for unit in first]
    ranks = [rank for rank, value in enumerate(relevant, 1) if value > 0]
    if kind == "hit":
        return float(bool(ranks))
    if kind == "mrr":
        return 1 / ranks[0] if ranks else 0.0
    if kind == "recall":
        return len(ranks) / sum(value > 0 for value in gold.values())
    best = sorted(gold.values(), reverse=True)[: int(cutoff)]
    gain, ideal = (sum(v / math.log2(rank + 1) for rank, v in enumerate(values, 1)) for values in (relevant, best))
    return gain / ideal


def test_measures_equal_the_slow_twin():
    rng = random.Random(7)
    rankings, golds = [], []
    for _ in range(300):
        gold = {f"g{i}": rng.choice([1, 1, 2, 3]) for i in range(rng.randint(1, 15))}
        units: list[str | None] = [*gold, *[None] * rng.randint(0, 150)]
        rng.shuffle(units)
        rankings.append(units[: rng.randint(0, 130)])
        golds.append(gold)
    found = ranking_measures(rankings, golds)
    for units, gold, measures in zip(rankings, golds, found, strict=True):
        slow = {name: slow_measure(name, units, gold) for name in GOLD_MEASURES}
        assert measures == pytest.approx(slow, abs=1e-12)


def test_measures_by_hand():
    # gold a and b; hits x, a, x, b: first gold at rank 2, so hit@1 0, hit@5 1, MRR 1/2; both found, recall 1.
    # DCG 1/log2(3) + 1/log2(5) = 0.63093 + 0.43068 = 1.06161; best order 1/log2(2) + 1/log2(3) = 1.63093; 0.65092.
    (found,) = ranking_measures([gold_units(["x", "a", "y", "b"], ["a", "b"])], [{"a": 1, "b": 1}])
    assert found["hit@1"] == 0 and found["hit@5"] == found["hit@100"] == found["recall@100"] == 1
    assert found["mrr"] == found["mrr@10"] == 0.5
    assert found["ndcg@10"] == pytest.approx(0.65092, abs=1e-5)
    # rank 11 is beyond MRR@10 and nDCG@10, not beyond MRR (1/11) and hit@20
    (late,) = ranking_measures([[None] * 10 + ["a"]], [{"a": 1}])
    assert (late["mrr@10"], late["ndcg@10"], late["hit@10"], late["hit@20"]) == (0, 0, 0, 1)
    assert late["mrr"] == pytest.approx(1 / 11)


def test_an_article_counts_once():
    # The gold article 이순신 is met at rank 2; its second passage at rank 3 is nothing new.
    units = gold_units(["세종#0", "이순신#4", "이순신#0", "세종#1"], ["이순신", "세종#1"])
    assert units == [None, "이순신", None, "세종#1"]
    # DCG 1/log2(3) + 1/log2(5) = 1.06161 over the best 1 + 1/log2(3) = 1.63093; counted twice it would be over that.
    (found,) = ranking_measures([units], [{"이순신": 1, "세종#1": 1}])
    assert found["ndcg@10"] == pytest.approx(0.65092, abs=1e-5) and found["recall@100"] == 1
    # A passage that is gold itself counts as itself; its article is still to be met.
    assert gold_units(["a#0", "a#1", "a#2"], ["a", "a#0"]) == ["a#0", "a", None]


def test_answers_are_found_past_particles():
    assert answer_rank(["소나무가 있다", "나무는 자란다"], ("나무",)) == 2  # 소나무 is another word
    assert answer_rank(["이순신은 1592년에 싸웠다"], ("1592년",)) == 1
    assert answer_rank([], ("나무",)) is None


def test_judged_means_by_hand():
    texts = ["세종은", "나무가", "바다"]
    rankings = judge(
        [
            example("abc", gold="a", answers=["나무"], texts=texts, name="1"),  # gold at 1, answer at 2
            example("abc", gold="c", name="2"),  # gold at 3, no answers known
            example("abc", answers=["바다"], texts=texts, name="3"),  # no gold known, answer at 3
            example("abc", name="4"),  # nothing known: left out
            example("", gold="z", answers=["하늘"], name="5"),  # nothing found: counts 0
        ]
    )
    assert [(r.question.id, r.gold_rank, r.answer_rank) for r in rankings] == [
        ("1", 1, 2),
        ("2", 3, None),
        ("3", None, 3),
        ("5", None, None),
    ]
    assert "hit@1" not in rankings[2].measures and "answer_mrr" not in rankings[1].measures
    means = mean_measures(rankings)
    # by gold 1, 3, none: hit@1 1/3, hit@5 2/3, MRR (1 + 1/3) / 3 = 4/9; by answer 2, 3, none: MRR (1/2 + 1/3) / 3 = 5/18
    assert (means["n"], means["answer_n"]) == (3, 3)
    assert (means["hit@1"], means["hit@5"], means["mrr"]) == pytest.approx((1 / 3, 2 / 3, 4 / 9))
    assert (means["answer_hit@1"], means["answer_hit@5"], means["answer_mrr"]) == pytest.approx((0, 2 / 3, 5 / 18))
    assert "answer_ndcg@10" not in means


def test_only_answers_known_means_only_measures_by_answer():
    means = mean_measures(judge([example("a", answers=["나무"], texts=["나무"])]))
    assert means["answer_n"] == 1 and means["answer_mrr"] == 1 and "n" not in means and "mrr" not in means
    assert judge([example("a")]) == [] and mean_measures([]) == {}


def test_sparse_evaluation_loads_nothing_heavy(tmp_path: Path):
    import subprocess

    run = RUN.replace('"kiwipiepy")', '"pandas", "ir_measures", "scipy", "matplotlib")')
    kb, judged = str(tmp_path / "kb"), [str(tmp_path / f"{name}.jsonl") for name in "ab"]
    evaluate = ["retrieve", "-i", kb, "--eval", QUESTIONS, "--limit", "5", "--per-question"]
    commands = [["--help"], ["compare", "--help"], ["convert", "--help"], ["index", PASSAGES, "-o", kb, "--limit", "9"]]
    commands += [[*evaluate, judged[0]], [*evaluate, judged[1]], ["compare", *judged]]
    done = subprocess.run(
        [sys.executable, "-c", run, json.dumps(commands)], capture_output=True, text=True, check=True, stdin=-3
    )
    *before, evaluated, _, compared = json.loads(done.stderr.splitlines()[-1])
    assert before[:3] == [[]] * 3, "help loads nothing"
    assert "ir_measures" in evaluated
    assert not {"torch", "transformers", "datasets", "faiss", "pandas", "matplotlib"} & {*evaluated, *compared}


def test_retrieve_eval_per_question(articles: Path, tmp_path: Path):
    kept = tmp_path / "kept.jsonl"
    found = kofid("retrieve", "-i", articles / "kb", "--eval", articles / "questions.jsonl", "--per-question", kept)
    assert found.object["n"] == found.object["answer_n"] == 2
    lines = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]
    assert [line["gold_rank"] for line in lines] == [1, 1]
    assert lines[0]["measures"]["ndcg@10"] == 1.0, "two passages of the gold article are one unit"
    for name, mean in found.object.items():
        if not name.endswith("n"):
            assert mean == pytest.approx(sum(line["measures"][name] for line in lines) / 2, abs=1e-5)


def test_retrieve_eval_by_answers_only(articles: Path, tmp_path: Path):
    asked = write_jsonl(tmp_path / "q.jsonl", [{"question": "훈민정음은 누가?", "answers": ["세종"]}])
    found = kofid("retrieve", "-i", articles / "kb", "--eval", asked).object
    assert found["answer_n"] == 1 and found["answer_hit@1"] == 1.0 and "hit@1" not in found


def test_per_question_goes_with_eval_and_is_whole_or_not_at_all(articles: Path, tmp_path: Path):
    kept = tmp_path / "kept.jsonl"
    assert "--eval" in refuse(2, "retrieve", "-i", articles / "kb", "가", "--per-question", kept)
    refuse(2, "retrieve", "-i", articles / "kb", "--eval", "가", "--per-question", kept)
    assert list(tmp_path.iterdir()) == []
