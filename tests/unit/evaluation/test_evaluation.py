"""Evaluation: measures against a slow twin, significance against scipy, comparison, and TREC and BEIR files."""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from support.command_line import PASSAGES, QUESTIONS, files_of, kofid, refuse, write_jsonl
from support.loaded import RUN

from kofid.errors import InputError, UsageError
from kofid.evaluation.comparison import System, choose_measures, compare, read_systems
from kofid.evaluation.metrics import GOLD_MEASURES, answer_rank, gold_units, ranking_measures
from kofid.evaluation.rankings import judge, mean_measures, read_measures, write_rankings
from kofid.evaluation.significance import holm, randomization_test, t_test
from kofid.formats import beir, read_corpus, read_questions, trec
from kofid.types import Example, Hit, Passage, Question

# --- measures -------------------------------------------------------------------------------------------------


def example(
    ids: Sequence[str],
    gold: Sequence[str] = (),
    answers: Sequence[str] = (),
    texts: Sequence[str] = (),
    name: str = "q",
) -> Example:
    """Return a question with hits of these ids, scores falling."""
    texts = texts or [""] * len(ids)
    hits = [Hit(Passage(i, "", text), -float(rank)) for rank, (i, text) in enumerate(zip(ids, texts, strict=True))]
    return Example(Question("질문", name, tuple(answers), tuple(gold)), tuple(hits))


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


# --- significance ---------------------------------------------------------------------------------------------


def test_randomization_by_hand():
    # 1, 1, 1: of the 8 patterns of signs two reach |3|: +++ and ---. p = 2/8.
    assert randomization_test([1, 1, 1]) == 0.25
    # 2, -1, 0: the zero does nothing. Totals of 2 and -1 under signs: 1, 3, -3, -1; all reach |1|. p = 1.
    assert randomization_test([2, -1, 0]) == 1.0
    # 3, 1, -1: total 3. |±3 ±1 ±1|: 5, 3, 3, 1 and their mirrors; 6 of 8 reach 3.
    assert randomization_test([3, 1, -1]) == 0.75


def test_identical_systems_are_not_told_apart():
    assert randomization_test([0.0] * 50) == t_test([0.0] * 50) == 1.0
    assert randomization_test([]) == t_test([]) == t_test([0.5]) == 1.0


def slow_randomization(values: Sequence[float]) -> float:
    """Return p by going through every pattern of signs."""
    totals = [
        abs(math.fsum(s * v for s, v in zip(signs, values, strict=True)))
        for signs in product((1, -1), repeat=len(values))
    ]
    return sum(total >= abs(math.fsum(values)) - 1e-9 for total in totals) / len(totals)


def test_exact_randomization_equals_the_slow_twin():
    rng = np.random.default_rng(3)
    for _ in range(10):
        # fractions whose sums tie, however they round
        values = rng.choice([1 / 3, -1 / 3, 0.5, 0.1, -0.1, 1.0], size=10).tolist()
        assert randomization_test(values) == pytest.approx(slow_randomization(values), abs=1e-12)
        values = rng.normal(0.3, 1, size=8).tolist()
        assert randomization_test(values) == pytest.approx(slow_randomization(values), abs=1e-12)


def test_sampled_randomization_is_near_the_exact_one():
    values = np.random.default_rng(5).normal(0.4, 1, size=14).tolist()
    exact = randomization_test(values, n_permutations=2**14)
    sampled = randomization_test(values, n_permutations=10_000)
    # the standard error of a share p of 10,000 is sqrt(p (1 - p) / 10,000); four of them
    assert sampled == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 10_000)) and sampled != exact
    assert sampled == randomization_test(values, n_permutations=10_000), "the same seed gives the same p"
    assert sampled != randomization_test(values, n_permutations=10_000, seed=1)


def test_randomization_is_never_0_and_takes_many_questions():
    # all of 1,000 differences positive: nothing sampled reaches the total, only the pattern seen: 1 / 10,001
    assert randomization_test([1.0] * 1_000) == 1 / 10_001


def test_randomization_holds_its_level():
    # With no difference between systems, p < 0.05 must come about once in 20: 400 trials, 20 +- 4 * sqrt(19)
    rng = np.random.default_rng(11)
    rejected = sum(randomization_test(rng.normal(size=30).tolist(), n_permutations=400) < 0.05 for _ in range(400))
    assert 3 <= rejected <= 38


def test_t_test_equals_scipy():
    a, b = np.random.default_rng(2).random((2, 40))
    assert t_test((b - a).tolist()) == pytest.approx(stats.ttest_rel(a, b).pvalue)
    # 1, 2, 3: mean 2, standard error 1 / sqrt(3), t = 3.4641 with 2 degrees of freedom: p = 0.0742
    assert t_test([1, 2, 3]) == pytest.approx(0.0742, abs=1e-4)
    assert t_test([0.5, 0.5, 0.5]) == 0.0


def test_holm_by_hand():
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04; the last is raised to 0.06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([0.2]) == [0.2] and holm([]) == []


# --- comparison -----------------------------------------------------------------------------------------------


def system(name: str, values: Sequence[float], measure: str = "hit@1") -> System:
    return System(name, f"{name}.jsonl", {f"q{i}": {measure: value} for i, value in enumerate(values)})


def test_compare_corrects_over_the_pairs_of_a_measure():
    systems = [system("a", [0, 0, 0, 0]), system("b", [1, 1, 1, 0]), system("c", [1, 1, 1, 1])]
    first = list(compare(systems, ["hit@1"], randomization_test, all_pairs=False))
    # b: three differences of 1, p 2/8; c: four, p 2/16. Holm over two: 0.125 * 2, 0.25.
    assert [(c.a, c.b, c.n, c.mean_a, c.mean_b, c.p, c.p_holm) for c in first] == [
        ("a", "b", 4, 0, 0.75, 0.25, 0.25),
        ("a", "c", 4, 0, 1, 0.125, 0.25),
    ]
    every = list(compare(systems, ["hit@1"], randomization_test, all_pairs=True))
    # three pairs: 0.125 * 3 = 0.375, 0.25 * 2 = 0.5, 1
    assert [(c.a + c.b, c.p_holm) for c in every] == [("ab", 0.5), ("ac", 0.375), ("bc", 1)]
    assert every[2].difference == 0.25


def test_measures_that_a_system_lacks_are_named():
    with pytest.raises(InputError, match="b.jsonl.*mrr"):
        choose_measures([system("a", [1], "mrr"), system("b", [1])], ["mrr"])
    answers_only = [system(name, [1], f"answer_{m}") for name, m in [("a", "hit@1"), ("b", "hit@1")]]
    with pytest.raises(InputError, match="answer_hit@5"):  # the default ones, by answers
        choose_measures(answers_only, None)


Judged = Callable[..., Path]


@pytest.fixture
def judged(tmp_path: Path) -> Judged:
    """Write a per-question file of questions whose gold is at these ranks of ten."""

    def write(name: str, ranks: Sequence[int], first: int = 0) -> Path:
        found = [
            example([f"p{rank}" for rank in range(1, 11)], gold=[f"p{gold}"], name=f"q{i}")
            for i, gold in enumerate(ranks, first)
        ]
        write_rankings(tmp_path / name, judge(found))
        return tmp_path / name

    return write


def test_per_question_file_is_read_back(judged: Judged):
    path = judged("a.jsonl", [2, 99])
    entry, missed = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    assert (entry["id"], entry["question"], entry["gold_rank"], entry["answer_rank"]) == ("q0", "질문", 2, None)
    assert entry["measures"]["mrr"] == 0.5 and list(entry["measures"]) == list(GOLD_MEASURES)
    assert entry["ctxs"][:2] == [{"id": "p1", "score": 0.0}, {"id": "p2", "score": -1.0}] and len(entry["ctxs"]) == 10
    assert missed["gold_rank"] is None and set(missed["measures"].values()) == {0.0}
    assert read_measures(str(path)) == {"q0": entry["measures"], "q1": missed["measures"]}


def test_compare_command(judged: Judged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # hit@1: 0 of 8 against 8 of 8, p = 2 / 2^8 = 0.0078125; hit@20: the same, p = 1.
    a, b = judged("a.jsonl", [2] * 8), judged("b.jsonl", [1] * 8)
    table = tmp_path / "table.md"
    found = kofid("compare", a, b, "--measure", "hit@1", "--measure", "hit@20", "-o", table)
    assert found.code == 0 and found.err == ""
    first, second = found.objects
    assert first == {
        "measure": "hit@1",
        "n": 8,
        "a": "a",
        "b": "b",
        "mean_a": 0.0,
        "mean_b": 1.0,
        "difference": 1.0,
        "p": 0.0078125,
        "p_holm": 0.0078125,
        "test": "randomization",
        "permutations": 10000,
        "seed": 13,
    }
    assert (second["measure"], second["p"], second["p_holm"]) == ("hit@20", 1.0, 1.0)
    lines = table.read_text(encoding="utf-8").splitlines()
    assert lines[2:4] == ["| a | 0.0 | 100.0 |", "| b | 100.0 | 100.0 |"]
    assert "| hit@1 | a | b | 0.0 | 100.0 | +100.00 | 0.008 | 0.008 \\* |" in lines
    monkeypatch.setenv("COLUMNS", "120")
    person = kofid("compare", a, b, terminal=True)
    assert "0.008 *" in person.out and "mrr@10" in person.out and "씨앗 13" in person.err
    assert kofid("compare", a, b, "--test", "t").objects[0]["test"] == "t"


def test_compare_three_systems_and_all_pairs(judged: Judged):
    files = [judged(f"{name}.jsonl", [rank] * 8) for name, rank in (("a", 2), ("b", 1), ("c", 2))]
    pairs = [(c["a"], c["b"], c["p_holm"]) for c in kofid("compare", *files, "--measure", "hit@1").objects]
    assert pairs == [("a", "b", 0.015625), ("a", "c", 1.0)]
    every = kofid("compare", *files, "--measure", "hit@1", "--all-pairs").objects
    assert [(c["a"], c["b"]) for c in every] == [("a", "b"), ("a", "c"), ("b", "c")]


def test_systems_of_other_questions_are_refused(judged: Judged):
    a, b, c = judged("a.jsonl", [1, 2, 3]), judged("b.jsonl", [1, 2]), judged("c.jsonl", [1, 2, 3], first=1)
    message = refuse(3, "compare", a, b)
    assert f"{b}에는 {a}의 질문 1개가 없습니다: q2" in message
    message = refuse(3, "compare", a, c)
    assert "q0" in message and "q3" in message


def test_compare_refuses_what_it_cannot_use(judged: Judged, tmp_path: Path):
    a = judged("a.jsonl", [1, 2])
    assert str(a) in refuse(2, "compare", a, a)
    refuse(2, "compare", a)
    assert "hit@3" in refuse(3, "compare", a, judged("b.jsonl", [1, 2]), "--measure", "hit@3")
    lines = a.read_text(encoding="utf-8")
    (tmp_path / "twice.jsonl").write_text(lines + lines, encoding="utf-8")
    assert "twice.jsonl:3" in refuse(3, "compare", a, tmp_path / "twice.jsonl")
    (tmp_path / "empty.jsonl").write_text("")
    assert "empty.jsonl" in refuse(3, "compare", a, tmp_path / "empty.jsonl")
    assert "measures" in refuse(3, "compare", a, QUESTIONS)
    assert "missing.jsonl" in refuse(3, "compare", a, tmp_path / "missing.jsonl")
    run = tmp_path / "run.trec"
    run.write_text("q0 Q0 p1 1 2.0 x\n")
    assert "qrels" in refuse(2, "compare", a, run)


def test_trec_runs_are_compared_by_qrels(tmp_path: Path):
    (tmp_path / "a.run").write_text("1 Q0 x 1 9 a\n1 Q0 g 2 8 a\n2 Q0 g 1 5 a\n9 Q0 g 1 5 a\n")
    (tmp_path / "b.run").write_text("1 Q0 g 1 9 b\n")  # nothing for question 2
    (tmp_path / "gold.qrels").write_text("1 0 g 1\n1 0 x 0\n2 0 g 2\n3 0 g 0\n")  # 3 has no gold: not judged
    files = [str(tmp_path / "a.run"), str(tmp_path / "b.run")]
    a, b = read_systems(files, str(tmp_path / "gold.qrels"))
    assert {q: m["mrr"] for q, m in a.measures.items()} == {"1": 0.5, "2": 1.0}
    assert {q: m["mrr"] for q, m in b.measures.items()} == {"1": 1.0, "2": 0.0}
    assert (a.n_without_hits, b.n_without_hits) == (0, 1)
    noted = kofid("compare", *files, "--qrels", tmp_path / "gold.qrels")
    assert noted.code == 0 and f"{files[1]}: 질문 2개 가운데 1개는" in noted.err and files[0] not in noted.err
    (tmp_path / "other.qrels").write_text("x 0 g 1\n")
    with pytest.raises(InputError, match="qrels"):
        read_systems(files, str(tmp_path / "other.qrels"))


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_plot(judged: Judged, tmp_path: Path, suffix: str):
    a, b = judged("바탕.jsonl", [2] * 8), judged("b.jsonl", [1] * 8)
    plots = [tmp_path / f"{n}{suffix}" for n in range(2)]
    for plot in plots:
        assert kofid("compare", a, b, "--plot", plot).code == 0
    content = plots[0].read_bytes()
    assert content == plots[1].read_bytes(), "the same figures give the same file"
    if suffix == ".svg":
        assert "바탕" in content.decode() and "hit@20" in content.decode()
    else:
        assert content.startswith(b"\x89PNG")


def test_plot_without_matplotlib_says_how_to_get_it(judged: Judged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    a, b = judged("a.jsonl", [2]), judged("b.jsonl", [1])
    assert ".svg" in refuse(2, "compare", a, b, "--plot", tmp_path / "plot.doc")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "pip install 'kofid[plot]'" in refuse(6, "compare", a, b, "--plot", tmp_path / "plot.png")
    assert not (tmp_path / "plot.png").exists()


# --- retrieve --eval ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def articles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of four passages, two of them of one article, with ids that hold spaces."""
    path = tmp_path_factory.mktemp("articles")
    entries = [
        {"id": "충무공 이순신#0", "title": "이순신", "text": "이순신은 거북선을 이끌고 싸웠다."},
        {"id": "충무공 이순신#1", "title": "이순신", "text": "거북선은 판옥선을 고쳐 만들었다."},
        {"id": "세종", "title": "세종", "text": "세종은 훈민정음을 만들었다."},
        {"id": "한강", "title": "한강", "text": "한강은 서울을 지나 서해로 흐른다."},
    ]
    assert kofid("index", write_jsonl(path / "passages.jsonl", entries), "-o", path / "kb").code == 0
    asked = [
        {"id": "1", "question": "거북선은 누가?", "answers": ["이순신"], "positive_ids": ["충무공 이순신"]},
        {"id": "2", "question": "훈민정음은 누가?", "answers": ["세종"], "positive_ids": ["세종"]},
    ]
    write_jsonl(path / "questions.jsonl", asked)
    return path


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


# --- TREC -----------------------------------------------------------------------------------------------------


def hits(*scored: tuple[str, float]) -> tuple[Hit, ...]:
    return tuple(Hit(Passage(name, "", "글"), score) for name, score in scored)


@pytest.mark.parametrize(
    "scores",
    [[3.0, 2.0, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 5.0, 2.0], [1e8 + 1, 1e8, 1e8 - 1], [1e-9, 0.0, -1.0]],
    ids=str,
)
def test_a_run_keeps_the_order_under_any_scores(tmp_path: Path, scores: list[float]):
    ids = ["나", "가", "다"]  # not in the order of the names, by which trec_eval breaks ties
    asked = Example(Question("질문", "q"), hits(*zip(ids, scores, strict=True)))
    path = tmp_path / "run.trec"
    path.write_text("".join(trec.run_lines([asked])), encoding="utf-8")
    assert [name for name, _ in trec.read_run(str(path))["q"]] == ids
    written = [np.float32(line.split()[4]) for line in path.read_text(encoding="utf-8").splitlines()]
    assert written[0] > written[1] > written[2], "as float32, which trec_eval uses"


def test_a_run_is_read_in_trec_eval_s_order(tmp_path: Path):
    import ir_measures

    # 2 before 1 by score although its rank says otherwise; b before a at equal scores
    path = tmp_path / "run.trec"
    path.write_text("q Q0 a 1 1.0 x\nq Q0 b 2 1.0 x\nq Q0 c 3 7.5 x\n")
    assert trec.read_run(str(path)) == {"q": [("c", 7.5), ("b", 1.0), ("a", 1.0)]}
    for gold in "abc":
        qrels = {"q": {gold: 1}}
        theirs = ir_measures.calc_aggregate([ir_measures.RR], qrels, ir_measures.read_trec_run(str(path)))
        units = gold_units([name for name, _ in trec.read_run(str(path))["q"]], [gold])
        assert ranking_measures([units], [qrels["q"]], ["mrr"])[0]["mrr"] == theirs[ir_measures.RR]


@pytest.mark.parametrize("name", ["윈스턴 처칠#0", "100%", "a%20b", "탭\t과　넓은 빈칸", "줄\n바꿈"])
def test_ids_with_spaces_survive(tmp_path: Path, name: str):
    asked = Example(Question("질문", name, (), (name,)), hits((name, 1.0)))
    run, qrels = tmp_path / "x.trec", tmp_path / "x.qrels"
    run.write_text("".join(trec.run_lines([asked])), encoding="utf-8")
    qrels.write_text("".join(trec.qrels_lines(trec.qrels_of([asked.question]))), encoding="utf-8")
    assert trec.read_run(str(run)) == {name: [(name, 1.0)]}
    assert trec.read_qrels(str(qrels)) == {name: {name: 1}}
    assert len(run.read_text(encoding="utf-8").split()) == 6


def test_trec_needs_ids():
    with pytest.raises(InputError, match="id"):
        list(trec.run_lines([Example(Question("질문"), hits(("a", 1.0)))]))
    twice = [Example(Question("질문", "1"), hits(("a", 1.0)))] * 2
    with pytest.raises(InputError, match="'1'"):
        list(trec.run_lines(twice))
    with pytest.raises(InputError, match="'1'"):
        trec.qrels_of([Question("질문", "1", (), ("a",))] * 2)


BAD_TREC = {
    "columns.trec": ("q Q0 a 1 2.0 x\n\nq Q0 b 2 x\n", "columns.trec:3"),
    "score.trec": ("q Q0 a 1 2.0 x\nq Q0 b 2 high x\n", "score.trec:2"),
    "nan.trec": ("q Q0 a 1 nan x\n", "nan.trec:1"),
    "twice.trec": ("q Q0 a 1 2.0 x\nq Q0 a 2 1.0 x\n", "twice.trec:2"),
    "columns.qrels": ("q 0 a 1\nq a 1\n", "columns.qrels:2"),
    "grade.qrels": ("q 0 a 1\nq 0 b 0.5\n", "grade.qrels:2"),
    "twice.qrels": ("q 0 a 1\nq 0 a 0\n", "twice.qrels:2"),
}


@pytest.mark.parametrize("name", BAD_TREC)
def test_malformed_trec_lines_are_named(articles: Path, tmp_path: Path, name: str):
    content, place = BAD_TREC[name]
    (tmp_path / name).write_text(content, encoding="utf-8")
    message = refuse(3, "convert", tmp_path / name, articles / "questions.jsonl", articles / "passages.jsonl",
                     "-o", tmp_path / "out", "--to", "fid" if name.endswith(".trec") else "trec-qrels")  # fmt: skip
    assert str(tmp_path / place) in message
    assert [p.name for p in tmp_path.iterdir()] == [name]


# --- convert --------------------------------------------------------------------------------------------------


def test_fid_to_run_and_back(articles: Path, tmp_path: Path):
    kb, asked = articles / "kb", articles / "questions.jsonl"
    assert kofid("retrieve", "-i", kb, asked, "-o", tmp_path / "found.json").code == 0
    assert kofid("retrieve", "-i", kb, asked, "-o", tmp_path / "found.trec").code == 0
    done = kofid("convert", tmp_path / "found.json", "-o", tmp_path / "run.trec")
    assert done.object["format"] == "trec-run"
    ids = {q: [p for p, _ in found] for q, found in trec.read_run(str(tmp_path / "run.trec")).items()}
    assert ids == {q: [p for p, _ in found] for q, found in trec.read_run(str(tmp_path / "found.trec")).items()}
    assert ids["1"][0].startswith("충무공 이순신#")

    for name, passages in (("index.json", ("-i", kb)), ("file.json", (articles / "passages.jsonl",))):
        done = kofid("convert", tmp_path / "run.trec", asked, *passages, "-o", tmp_path / name)
        assert done.code == 0 and done.object["format"] == "fid", done.err
        original, again = (json.loads((tmp_path / n).read_text(encoding="utf-8")) for n in ("found.json", name))
        for old, new in zip(original, again, strict=True):
            assert [c.pop("score") for c in new["ctxs"]] == pytest.approx([c.pop("score") for c in old["ctxs"]])
            assert new == old


def test_run_needs_its_questions_and_passages(articles: Path, tmp_path: Path):
    run, output = tmp_path / "run.trec", tmp_path / "out.json"
    asked = articles / "questions.jsonl"
    run.write_text("1 Q0 어디 1 2.0 x\n", encoding="utf-8")
    assert "questions" in refuse(2, "convert", run, "-o", output)
    assert "passages" in refuse(2, "convert", run, asked, "-o", output)
    assert "'어디'" in refuse(3, "convert", run, asked, "-i", articles / "kb", "-o", output)
    run.write_text("7 Q0 세종 1 2.0 x\n", encoding="utf-8")
    assert "'7'" in refuse(3, "convert", run, asked, "-i", articles / "kb", "-o", output)
    assert not output.exists()


def test_questions_to_qrels(articles: Path, tmp_path: Path):
    for name in ("gold.qrels", "gold.trec"):
        assert kofid("convert", articles / "questions.jsonl", "-o", tmp_path / name).object["format"] == "trec-qrels"
        lines = (tmp_path / name).read_text(encoding="utf-8").splitlines()
        assert lines == ["1 0 충무공%20이순신 1", "2 0 세종 1"]
    asked = write_jsonl(tmp_path / "q.jsonl", [{"id": "1", "question": "누가?"}])
    assert "positive_ids" in refuse(3, "convert", asked, "-o", tmp_path / "none.qrels")


def test_beir_and_back(articles: Path, tmp_path: Path):
    sources = [articles / "passages.jsonl", articles / "questions.jsonl"]
    assert kofid("convert", *sources, "-o", tmp_path / "beir").object["format"] == "beir"
    assert sorted(files_of(tmp_path / "beir")) == ["corpus.jsonl", "qrels/test.tsv", "queries.jsonl"]
    first = (tmp_path / "beir/qrels/test.tsv").read_text(encoding="utf-8").splitlines()[:2]
    assert first == ["query-id\tcorpus-id\tscore", "1\t충무공 이순신\t1"]
    assert kofid("convert", tmp_path / "beir", "-o", tmp_path / "back").object["format"] == "jsonl"
    for source in sources:
        back = str(tmp_path / "back" / source.name)
        read: Any = read_questions if source.name == "questions.jsonl" else lambda path: read_corpus([path])
        assert list(read(back)) == list(read(str(source)))
    again = kofid("index", tmp_path / "beir", "-o", tmp_path / "kb")
    assert again.object["n_passages"] == 4
    assert str(tmp_path / "back") in refuse(3, "convert", tmp_path / "beir", "-o", tmp_path / "back")


def test_beir_grades_and_subsets(tmp_path: Path):
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    write_jsonl(folder / "corpus.jsonl", [{"_id": n, "title": "", "text": "글"} for n in "ab"])
    write_jsonl(folder / "queries.jsonl", [{"_id": n, "text": f"질문 {n}"} for n in "12"])
    (folder / "qrels/dev.tsv").write_text('query-id\tcorpus-id\tscore\n1\ta\t2\n1\tb\t0\n2\t"q""b"\t1\n')
    assert beir.read_qrels(str(folder), "dev") == {"1": {"a": 2, "b": 0}, "2": {'q"b': 1}}
    qrels = beir.read_qrels(str(folder), "dev")
    assert [(q.id, q.text, q.positive_ids) for q in beir.read_questions(str(folder), {"1": qrels["1"]})] == [
        ("1", "질문 1", ("a",))
    ]
    assert "dev" in refuse(3, "convert", folder, "-o", tmp_path / "gold.qrels")
    assert kofid("convert", folder, "-o", tmp_path / "gold.qrels", "--subset", "dev").code == 0
    assert (tmp_path / "gold.qrels").read_text() == '1 0 a 2\n1 0 b 0\n2 0 q"b 1\n'
    (folder / "qrels/bad.tsv").write_text("query-id\tcorpus-id\tscore\n1\ta\tmuch\n")
    assert "bad.tsv:2" in refuse(3, "convert", folder, "-o", tmp_path / "x.qrels", "--subset", "bad")


def test_qrels_give_questions_their_gold(articles: Path, tmp_path: Path):
    (tmp_path / "gold.qrels").write_text("1 0 한강 1\n1 0 세종 0\n", encoding="utf-8")
    done = kofid("convert", tmp_path / "gold.qrels", articles / "questions.jsonl", "-o", tmp_path / "out")
    assert done.object["format"] == "jsonl"
    questions = read_questions(str(tmp_path / "out/questions.jsonl"))
    assert [q.positive_ids for q in questions] == [("한강",), ("세종",)]


def test_korquad_to_beir(tmp_path: Path):
    qas = [{"id": "1", "question": "누가?", "answers": [{"text": "세종", "answer_start": 0}]}]
    data = {"data": [{"title": "세종 대왕", "paragraphs": [{"context": "세종은 만들었다.", "qas": qas}]}]}
    (tmp_path / "korquad.json").write_text(json.dumps(data), encoding="utf-8")
    assert kofid("convert", tmp_path / "korquad.json", "-o", tmp_path / "beir").code == 0
    assert beir.read_qrels(str(tmp_path / "beir")) == {"1": {"세종 대왕#0": 1}}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["questions.jsonl", "-o", "out.doc"], 2, "--to"),
        (["questions.jsonl", "-o", "out.trec", "--to", "trec-run"], 2, "fid"),
        (["-", "-o", "out"], 2, "-"),
        (["missing.trec", "-o", "out"], 3, "missing.trec"),
        (["kb", "-o", "out"], 3, "kb"),
        (["notes.txt", "-o", "out"], 3, "notes.txt"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_convert_refuses(
    articles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, message: str
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("메모")
    for name in ("questions.jsonl", "kb"):
        (tmp_path / name).symlink_to(articles / name)
    assert message in refuse(code, "convert", *arguments)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kb", "notes.txt", "questions.jsonl"]


def test_systems_named_alike_are_told_apart_by_their_paths(judged: Judged, tmp_path: Path):
    (tmp_path / "x").mkdir()
    a, b = judged("run.jsonl", [1]), judged("x/run.jsonl", [2])
    assert [s.name for s in read_systems([str(a), str(b)])] == [str(a), str(b)]
    with pytest.raises(UsageError):
        read_systems([str(a), str(tmp_path / "x/../run.jsonl")])
