"""Readers on the command line: checkpoints converted, answers evaluated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support.command_line import PASSAGES, QUESTIONS, SMALL, kofid, write_jsonl
from support.foreign_checkpoints import TEXTS, Bomb, tiny_gpt2, tiny_t5, weights_of, wrapped

from kofid.reader.confidence import Confidence
from kofid.reader.fid.reader import FiDReader
from kofid.reader.open import open_reader
from kofid.training.tokenizers import train_tokenizer

ASKED = [
    {"id": "1", "question": "거북선을 이끈 사람은 누구인가?", "answers": ["이순신"]},
    {"id": "2", "question": "세종은 무엇을 만들었나?", "answers": ["훈민정음"]},
    {"id": "3", "question": "한강은 어디로 흐르나?", "answers": ["동해"]},
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A FiD reader as it is handed about: wrapped weights in a pickle, no tokenizer; one lies beside it."""
    folder = tmp_path_factory.mktemp("readers")
    model = tiny_t5()
    (folder / "fid").mkdir()
    (folder / "fid/config.json").write_text(json.dumps(model.config.to_dict()))
    torch.save(wrapped(weights_of(model)), folder / "fid/pytorch_model.bin")
    train_tokenizer(TEXTS, 300).save_pretrained(folder / "words")
    tiny_gpt2().save_pretrained(folder / "gpt2")
    train_tokenizer(TEXTS, 300).save_pretrained(folder / "gpt2")
    return folder


@pytest.fixture(scope="module")
def kb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kb")
    assert kofid("index", write_jsonl(folder / "small.jsonl", SMALL), "-o", folder / "kb").code == 0
    return folder / "kb"


# --- convert --------------------------------------------------------------------------------------------------


def test_a_pickled_fid_reader_is_converted_where_it_is_allowed(checkpoint: Path, kb: Path, tmp_path: Path):
    command = ("convert", checkpoint / "fid", "-o", tmp_path / "reader", "--to", "reader")
    words = ("--tokenizer", checkpoint / "words")
    refused = kofid(*command, *words)
    assert refused.code == 3 and "pytorch_model.bin" in refused.err and "--allow-pickle" in refused.err
    bare = kofid(*command, "--allow-pickle")
    assert bare.code == 3 and "--tokenizer" in bare.err
    assert not (tmp_path / "reader").exists()

    done = kofid(*command, *words, "--allow-pickle")
    assert done.object == {
        "output": str(tmp_path / "reader"),
        "format": "reader",
        "sources": {str(checkpoint / "fid"): "checkpoint"},
    }, done.err
    assert kofid("verify", tmp_path / "reader").object["kind"] == "reader"
    asked = kofid("ask", "-i", kb, "--reader", tmp_path / "reader", "훈민정음은 누가 만들었나?")
    assert asked.code == 0 and asked.object["ctxs"], asked.err

    # The target is known without --to; options are FiD-Light's and FiDO's.
    light = ("--first-k", 2, "--n-cross-layer", "2", "--kv-heads", 1)
    again = kofid("convert", tmp_path / "reader", "-o", tmp_path / "light", *light, terminal=True)
    assert again.code == 0 and again.out == "" and str(tmp_path / "light") in again.err
    (manifest,) = (tmp_path / "light").glob("gen-*/manifest.json")
    settings = json.loads(manifest.read_text(encoding="utf-8"))["settings"]
    assert (settings["first_k"], settings["n_cross_layer"], settings["n_kv_heads"]) == (2, 2, 1)


def test_a_gpt2_for_a_decoder(checkpoint: Path, kb: Path, tmp_path: Path):
    done = kofid(
        "convert", checkpoint / "fid", "-o", tmp_path / "skt", "--to", "reader", "--decoder", checkpoint / "gpt2",
        "--tokenizer", checkpoint / "words", "--allow-pickle",
    )  # fmt: skip
    assert done.code == 0, done.err
    asked = kofid("evaluate", "-i", kb, "--reader", tmp_path / "skt", write_jsonl(tmp_path / "q.jsonl", ASKED))
    assert asked.object["n"] == 3, asked.err


def test_a_pickle_that_would_run(checkpoint: Path, tmp_path: Path):
    (tmp_path / "fid").mkdir()
    (tmp_path / "fid/config.json").write_bytes((checkpoint / "fid/config.json").read_bytes())
    torch.save({"shared.weight": Bomb(tmp_path / "was-run")}, tmp_path / "fid/pytorch_model.bin")
    for options in ((), ("--allow-pickle",)):
        command = ("convert", tmp_path / "fid", "-o", tmp_path / "reader", "--tokenizer", checkpoint / "words")
        assert kofid(*command, *options).code == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fid"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["fid", "gpt2", "--to", "reader"], 2, "gpt2 (checkpoint)"),
        (["questions.jsonl", "--to", "reader"], 2, "questions.jsonl (questions)"),
        (["fid", "--to", "trec-run"], 2, "fid (checkpoint)"),
        (["fid", "--n-cross-layer", "9"], 2, "--n-cross-layer 9"),
        (["fid", "--n-cross-layer", "둘"], 2, "--n-cross-layer"),
        (["fid", "--kv-heads", "3"], 2, "--kv-heads 3"),
        (["words"], 3, "words"),
        (["gpt2"], 3, "gpt2"),
        (["fid", "--decoder", "words"], 3, "words"),
        (["fid", "--tokenizer", "nowhere/at/all"], 3, "nowhere/at/all"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_convert_refuses(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, message: str
):
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "questions.jsonl", ASKED)
    for name in ("fid", "words", "gpt2"):
        (tmp_path / name).symlink_to(checkpoint / name)
    rest = [] if "--tokenizer" in arguments else ["--tokenizer", "words"]
    found = kofid("convert", *arguments, *rest, "--allow-pickle", "-o", "out")
    assert (found.code, found.out) == (code, ""), found.err
    assert message in found.err
    assert not (tmp_path / "out").exists()


# --- evaluate -------------------------------------------------------------------------------------------------


def test_evaluate_by_type(kb: Path, tmp_path: Path):
    asked = write_jsonl(tmp_path / "q.jsonl", ASKED)
    found = kofid("evaluate", "-i", kb, asked, "-o", tmp_path / "p.jsonl").object
    figures = ["n", "em", "f1", "em_robust", "answer_recall", "rouge_l"]
    recall = ["answer_recall@1", "answer_recall@5", "answer_recall@10", "answer_recall@20"]
    sure = [name for name in ("sure", "sure_right", "coverage@75") if name in found]  # sure_right: of those, if any
    assert list(found) == [*figures, *recall, *sure, "seconds", "peak_mb", "by_type"] and len(sure) >= 2
    assert found["seconds"] > 0 and found["peak_mb"] > 50
    assert found["n"] == 3
    # 동해 stands in no passage; the other answers do, in the only one that is found.
    assert found["answer_recall@1"] == found["answer_recall@10"] == found["answer_recall"] == round(2 / 3, 5)
    assert list(found["by_type"]) == ["who", "where", "what"]
    assert all(list(metrics) == figures and metrics["n"] == 1 for metrics in found["by_type"].values())
    assert found["em"] == pytest.approx(sum(m["em"] for m in found["by_type"].values()) / 3, abs=1e-5)
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["type"] for line in lines] == ["who", "what", "where"]
    assert [line["answer_rank"] for line in lines] == [1, 1, None]


def test_wrong_answers_are_listed(kb: Path, tmp_path: Path):
    asked = write_jsonl(tmp_path / "q.jsonl", [*ASKED[2:], {**ASKED[2], "id": "4"}])
    found = kofid("evaluate", "-i", kb, asked, "--wrong", 1, "-k", 3).object
    (wrong,) = found["wrong"]
    assert (wrong["id"], wrong["answers"], wrong["passage_id"]) == ("3", ["동해"], "c")
    assert wrong["answer"] and wrong["answer_rank"] is None and "corrected" not in wrong
    assert list(found)[6:8] == ["answer_recall@1", "answer_recall@3"] and list(found)[8] == "sure"
    assert len(kofid("evaluate", "-i", kb, asked, "--wrong", 9).object["wrong"]) == 2


def test_evaluate_for_a_person(kb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TERM", "dumb")  # no styles
    monkeypatch.setenv("COLUMNS", "120")
    asked = write_jsonl(tmp_path / "q.jsonl", ASKED)
    page = kofid("evaluate", "-i", kb, asked, "--wrong", 5, terminal=True).out
    for word in (
        "모두",
        "누가·누구",
        "어디",
        "무엇",
        "em_robust",
        "rouge_l",
        "answer_recall@10",
        "틀린 답",
        "동해",
        "한강",
        "없음",
    ):
        assert word in page, word
    assert "언제" not in page  # no question asks that
    assert "틀린 답" not in kofid("evaluate", "-i", kb, asked, terminal=True).out
    english = kofid("--lang", "en", "evaluate", "-i", kb, asked, "--wrong", 5, terminal=True).out
    for word in ("all", "who", "where", "what", "wrong answers", "question", "prediction", " no "):
        assert word in english, word


def test_a_reader_is_scored_on_a_file_as_it_is(kb: Path, tmp_path: Path):
    asked = write_jsonl(tmp_path / "q.jsonl", ASKED)
    assert kofid("retrieve", "-i", kb, asked, "--no-correct", "-k", 10, "-o", tmp_path / "fid.json").code == 0
    (from_file, searched) = (
        kofid("evaluate", *source).object for source in ([tmp_path / "fid.json"], ["-i", kb, asked])
    )
    times = ("seconds", "peak_mb")
    assert {n: v for n, v in from_file.items() if n not in times} == {
        n: v for n, v in searched.items() if n not in times
    }
    # Other passages, which no index holds: the answer is theirs.
    context = {"title": "한강", "text": "한강은 서울을 지나 동해로 흐른다.", "score": 1}
    write_jsonl(tmp_path / "own.jsonl", [{**ASKED[2], "ctxs": [context]}])
    assert kofid("evaluate", tmp_path / "own.jsonl", "-o", tmp_path / "p.jsonl").object["answer_recall"] == 1.0
    (row,) = (json.loads(line) for line in (tmp_path / "p.jsonl").open(encoding="utf-8"))
    assert row["answer_rank"] == 1 and len(row["ctxs"]) == 1
    bare = kofid("evaluate", asked)
    assert bare.code == 3 and "ctxs" in bare.err and "index" in bare.err.lower()
    assert kofid("evaluate").code == 2


def test_evaluate_corrects_questions_unless_told_not_to_and_says_so(kb: Path, tmp_path: Path):
    asked = write_jsonl(tmp_path / "q.jsonl", [{"question": "거북썬을 이끈 사람은?", "answers": ["이순신"]}])
    rows = {}
    for switch in ("--correct", "--no-correct"):
        assert kofid("evaluate", "-i", kb, asked, switch, "-o", tmp_path / "p.jsonl").code == 0
        (rows[switch],) = (json.loads(line) for line in (tmp_path / "p.jsonl").open(encoding="utf-8"))
    assert "거북선" in rows["--correct"]["corrected"]
    assert "corrected" not in rows["--no-correct"]
    assert kofid("evaluate", "-i", kb, asked, "-o", tmp_path / "p.jsonl").code == 0
    assert json.loads((tmp_path / "p.jsonl").read_text(encoding="utf-8")) == rows["--correct"]


def test_evaluate_the_demo(tmp_path: Path):
    assert kofid("index", PASSAGES, "-o", tmp_path / "kb").code == 0
    found = kofid("evaluate", "-i", tmp_path / "kb", QUESTIONS, "--limit", 60, "--wrong", 100).object
    assert sum(metrics["n"] for metrics in found["by_type"].values()) == 60
    assert len(found["wrong"]) == round(60 * (1 - found["em_robust"]))
    assert found["answer_recall@1"] <= found["answer_recall@5"] <= found["answer_recall@10"] == found["answer_recall"]


# --- how a reader writes ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(kb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reader trained a little, its confidence fitted to dev questions."""
    folder = tmp_path_factory.mktemp("trained")
    asked = write_jsonl(folder / "q.jsonl", ASKED)
    command = ("train-reader", "-i", kb, asked, "--dev", asked, "--model", "fresh:tiny", "--vocab-size", 400)
    done = kofid(*command, "--n-context", 2, "--max-steps", 3, "--eval-steps", 3, "-o", folder / "reader")
    assert done.code == 0, done.err
    return folder


def test_confidence_is_fitted_kept_and_used(trained: Path, kb: Path, monkeypatch: pytest.MonkeyPatch):
    (manifest,) = (trained / "reader").glob("gen-*/manifest.json")
    fitted = json.loads(manifest.read_text(encoding="utf-8"))["settings"]["confidence"]
    assert fitted.keys() == {"intercept", "log_odds", "said"}
    reader = open_reader(str(trained / "reader"))
    assert isinstance(reader, FiDReader) and reader.confidence == Confidence(**fitted)
    monkeypatch.setattr(Confidence, "__call__", lambda *_, **__: 0.625)
    asked = ("ask", "-i", kb, "--reader", trained / "reader", "훈민정음은 누가 만들었나?")
    found = kofid(*asked).object
    assert found["confidence"] == (0.625 if found["answer"] else 0.0)


def test_int8_and_sampling(trained: Path, kb: Path):
    command = ("evaluate", "-i", kb, "--reader", trained / "reader", trained / "q.jsonl")
    plain = kofid(*command).object
    for more in (("--int8", "decoder"), ("--int8", "all"), ("--temperature", 0.7, "--top-p", 0.9), ("--beams", 2)):
        found = kofid(*command, *more)
        assert found.code == 0 and found.object["n"] == plain["n"] == 3, found.err
    hot = [*command, "--temperature", 50.0]
    for name, seed in (("1", ()), ("2", ("--seed", 1)), ("3", ("--seed", 2))):
        assert kofid(*hot, *seed, "-o", trained / f"{name}.jsonl").code == 0
    answers = [[json.loads(line)["answer"] for line in (trained / f"{name}.jsonl").open()] for name in "123"]
    assert answers[0] == answers[1] and len(set(answers[0])) == 3  # the same seed; words by chance
    assert answers[2] != answers[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--temperature", 0.5, "--beams", 2], "--beams"),
        (["--top-p", 0.5], "--temperature"),
        (["--temperature", -1], "--temperature"),
        (["--int8", "encoder"], "--int8"),
    ],
    ids=str,
)
def test_what_does_not_go_together(trained: Path, kb: Path, arguments: list[str], message: str):
    for command in (("ask", "누가?"), ("evaluate", trained / "q.jsonl")):
        found = kofid(*command, "-i", kb, "--reader", trained / "reader", *arguments)
        assert (found.code, found.out) == (2, "") and message in found.err


@pytest.mark.parametrize(
    ("reader", "arguments"),
    [
        ("span", ["--lr", 0.1]),
        ("span", ["--dev", "q.jsonl"]),
        ("extractive", ["--first-k", 4]),
        ("extractive", ["--lora", 2]),
        ("single", ["--dev", "q.jsonl"]),
        ("single", ["--stride", 3]),
        ("t5", ["--norm", "window"]),
        ("t5", ["--decoder", "gpt2"]),
        ("t5", ["--words", "somewhere"]),
        ("skt", ["--stride", 3]),
    ],
    ids=str,
)
def test_options_of_other_readers_are_refused(kb: Path, tmp_path: Path, reader: str, arguments: list[str]):
    asked = write_jsonl(tmp_path / "q.jsonl", ASKED)
    found = kofid("train-reader", "--reader", reader, "-i", kb, asked, *arguments, "-o", tmp_path / "r")
    assert (found.code, found.out) == (2, "") and arguments[0] in found.err and f"--reader {reader}" in found.err
    assert not (tmp_path / "r").exists()
