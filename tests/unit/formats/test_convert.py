"""TREC and BEIR files, and what converts between them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.command_line import files_of, kofid, refuse, write_jsonl
from support.rankings import index_with_articles

from kofid.errors import InputError
from kofid.evaluation.metrics import gold_units, ranking_measures
from kofid.formats import beir, read_corpus, read_questions, trec
from kofid.types import Example, Hit, Passage, Question


@pytest.fixture(scope="module")
def articles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return index_with_articles(tmp_path_factory)


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
