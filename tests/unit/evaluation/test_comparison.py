"""Systems compared: pairs, measures, TREC runs, plots."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from support.command_line import QUESTIONS, kofid, refuse
from support.rankings import example

from kofid.errors import InputError, UsageError
from kofid.evaluation.comparison import System, choose_measures, compare, read_systems
from kofid.evaluation.metrics import GOLD_MEASURES
from kofid.evaluation.rankings import judge, read_measures, write_rankings
from kofid.evaluation.significance import randomization_test


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


def test_systems_named_alike_are_told_apart_by_their_paths(judged: Judged, tmp_path: Path):
    (tmp_path / "x").mkdir()
    a, b = judged("run.jsonl", [1]), judged("x/run.jsonl", [2])
    assert [s.name for s in read_systems([str(a), str(b)])] == [str(a), str(b)]
    with pytest.raises(UsageError):
        read_systems([str(a), str(tmp_path / "x/../run.jsonl")])
