"""Outputs of commands: what kofid did not write, or wrote as something else, is refused (exit code 3) and stays as it is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from support.command_line import SMALL, files_of, kofid, refuse, write_jsonl

DATA = Path(__file__).parents[1] / "data/format-1"
# Commands that write a folder, with all that they need before they would write; OUT is where.
INTO_FOLDERS = {
    "index": ["index", "corpus.jsonl", "-o", "OUT", "--analyzer", "bigram"],
    "train-reader": ["train-reader", "q.jsonl", "-i", "kb", "--model", "fresh:tiny", "--vocab-size", 300, "--max-steps", 1, "-o", "OUT"],
    "train-reader span": ["train-reader", "q.jsonl", "-i", "kb", "--reader", "span", "-o", "OUT"],
    "train-retriever": ["train-retriever", "q.jsonl", "-i", "kb", "--model", "static:8", "--max-steps", 1, "-o", "OUT"],
    "train-retriever --folds": [
        "train-retriever", "q.jsonl", "-i", "kb", "--model", "static:8", "--max-steps", 1, "--folds", 2, "--resume", "-o", "OUT"
    ],
    "train-reranker": ["train-reranker", "q.jsonl", "-i", "kb", "--model", "fresh:tiny", "--vocab-size", 300, "--max-steps", 1, "-o", "OUT"],
    "ablate": ["ablate", "q.jsonl", "-i", "kb", "--model", "fresh:tiny", "--max-steps", 1, "-o", "OUT"],
    "experiment": ["experiment", "grid.toml", "-o", "OUT"],
    "distill --rounds": ["distill", "q.jsonl", "-i", "kb", "--reader", "fid", "--retriever", "static:8", "--rounds", 1, "-o", "OUT"],
    "convert": ["convert", "corpus.jsonl", "--to", "beir", "-o", "OUT"],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a corpus, questions, an index and two models, in which commands run."""
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "corpus.jsonl", SMALL)
    question = {
        "id": "q",
        "question": "한강과 이순신의 훈민정음을 만든 왕은?",
        "answers": ["세종"],
        "positive_ids": ["b"],
    }
    other = {
        "id": "q2",
        "question": "한강은 이순신의 훈민정음처럼 어디로 흐르나?",
        "answers": ["서해"],
        "positive_ids": ["c"],
    }
    write_jsonl(tmp_path / "q.jsonl", [question, other])
    (tmp_path / "grid.toml").write_text('index = "kb"\nquestions = "q.jsonl"\nfolds = 2\n[grid]\nmodel = "static:8"\n')
    assert kofid("index", "corpus.jsonl", "-o", "kb", "--analyzer", "bigram").code == 0
    for name in ("fid", "encoder"):
        shutil.copytree(DATA / name, tmp_path / name)
    return tmp_path


def into(command: str, output: str) -> list[object]:
    return [output if argument == "OUT" else argument for argument in INTO_FOLDERS[command]]


@pytest.mark.parametrize("command", INTO_FOLDERS)
def test_folders_of_other_things_are_refused_and_untouched(folder: Path, command: str):
    """Somebody's generation, with files of the names that kofid writes; a reader, an encoder, an index of kofid's."""
    (folder / "mine/gen-7").mkdir(parents=True)
    for name in ("gen-7/manifest.json", "table.md", "report.md", "folds.json", "corpus.jsonl", "results"):
        (folder / "mine" / name).write_text("mine")
    outputs = ["mine", "kb", "fid", "encoder"]
    ours = {
        "index": "kb",
        "index --add": "kb",
        "train-reader": "fid",
        "train-reader span": "fid",
        "train-retriever": "encoder",
    }
    for output in outputs:
        if output != ours.get(command):
            before = files_of(folder)
            message = refuse(3, *into(command, output))
            assert output in message
            assert files_of(folder) == before


def test_only_an_index_can_be_added_to(folder: Path):
    before = files_of(folder)
    for output in ("fid", "encoder"):
        assert "index" in refuse(5, "index", "corpus.jsonl", "--add", "-o", output)
    assert files_of(folder) == before


@pytest.mark.parametrize("command", ["train-reader", "train-retriever", "train-reranker"])
def test_checkpoints_are_not_put_among_someone_elses_files(folder: Path, command: str):
    (folder / ".new.checkpoints").mkdir()
    (folder / ".new.checkpoints/thesis.txt").write_text("mine")
    before = files_of(folder)
    assert ".new.checkpoints" in refuse(3, *into(command, "new"))
    assert files_of(folder) == before


@pytest.mark.parametrize(
    "command",
    [
        ["retrieve", "-i", "kb", "--eval", "q.jsonl", "--per-question"],
        ["retrieve", "-i", "kb", "q.jsonl", "-o"],
        ["convert", "q.jsonl", "--to", "trec-qrels", "-o"],
    ],
    ids=lambda command: command[0] + command[-1],
)
def test_a_file_takes_the_place_of_a_file_and_of_nothing_else(folder: Path, command: list[str]):
    os.mkfifo(folder / "pipe")
    (folder / "mine").mkdir()
    (folder / "mine/thesis.txt").write_text("mine")
    before = files_of(folder)
    for output in ("pipe", "mine", "/dev/null"):
        message = refuse(3, *command, output)
        assert output in message
    assert files_of(folder) == before and (folder / "pipe").is_fifo()


# Commands that write a file when their work is done; none of the things that they would work on is there.
INTO_FILES = {
    "retrieve": ["retrieve", "-i", "nothing", "q", "-o", "OUT"],
    "retrieve --per-question": ["retrieve", "-i", "nothing", "--eval", "q", "--per-question", "OUT"],
    "rerank": ["rerank", "-i", "nothing", "q", "-o", "OUT"],
    "evaluate": ["evaluate", "-i", "nothing", "q", "-o", "OUT"],
    "evaluate --risk": ["evaluate", "-i", "nothing", "q", "--risk", "OUT"],
    "compare": ["compare", "nothing", "nothing2", "-o", "OUT"],
    "compare --plot": ["compare", "nothing", "nothing2", "--plot", "OUT"],
    "ablate --plot": ["ablate", "nothing", "-i", "nothing", "-o", "new", "--plot", "OUT"],
    "experiment --plot": ["experiment", "nothing", "-o", "new", "--plot", "OUT"],
    "distill --stage score": ["distill", "nothing", "-i", "nothing", "--reader", "nothing", "--stage", "score", "-o", "OUT"],
    "distill --scores": ["distill", "nothing", "--reader", "r", "--retriever", "r", "-o", "new", "--scores", "OUT"],
}  # fmt: skip


@pytest.mark.parametrize("command", INTO_FILES)
def test_output_files_are_refused_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("mine")
    for output in ("folder", "pipe", "file/x.png"):
        message = refuse(3, *(output if argument == "OUT" else argument for argument in INTO_FILES[command]))
        assert message.startswith(f"오류: {output}: ")
    assert (tmp_path / "file").read_text() == "mine"


def test_an_output_file_in_no_folder_is_refused_with_the_remedy(tmp_path: Path):
    message = refuse(3, "evaluate", "-i", "nothing", "q", "-o", tmp_path / "no/x.jsonl")
    assert f"{tmp_path / 'no'} 폴더가 없습니다" in message and ".part" not in message


def test_distill_refuses_a_foreign_output_before_it_scores(tmp_path: Path):
    """Scoring takes hours; here even its data are not there."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis").write_text("mine")
    message = refuse(3, "distill", "nothing", "--reader", "r", "--retriever", "r", "-o", tmp_path / "mine")
    assert message.startswith(f"오류: {tmp_path / 'mine'}: ")


def test_a_pipe_as_settings_is_refused(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    assert "보통 파일이 아닙니다" in refuse(3, "--config", tmp_path / "pipe", "doctor")
