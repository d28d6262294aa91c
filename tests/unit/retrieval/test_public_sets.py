"""Retrieval over real Korean question sets: KOFID_DATA=FOLDER pytest -m data tests/unit/retrieval/test_public_sets.py (20 minutes).

FOLDER holds one folder a set with ``passages.jsonl`` and ``questions.jsonl`` or ``questions_train.jsonl`` (README,
"수치"), and ``kowiki/*.jsonl.xz`` beside ``mrtydi/questions_dev.jsonl``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from kofid.evaluation.rankings import judge, mean_measures
from kofid.formats import read_corpus, read_questions
from kofid.formats.passage_split import article_id
from kofid.retrieval.build import build_index
from kofid.retrieval.engines import PackageSearch
from kofid.retrieval.index import Index
from kofid.retrieval.modes import Engine
from kofid.retrieval.sparse.analyzer import Analyzer, parse_components
from kofid.types import Example, Hit, Passage, Question

pytestmark = pytest.mark.data

SETS = ("korquad", "boostcamp", "klue", "tydiqa", "mrtydi")
# Of the whole of Wikipedia rank_bm25 has no room in memory: so the articles of the questions, and others beside them.
_N_PASSAGES = 60_000

Search = Callable[[str, int], list[Hit]]
Measures = dict[str, float]


@pytest.fixture(scope="module")
def data() -> Path:
    folder = os.environ.get("KOFID_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("KOFID_DATA names no folder of data")
    return Path(folder)


def load(data: Path, name: str) -> tuple[list[Passage], list[Question]]:
    if name == "mrtydi":
        questions = list(read_questions(str(data / "mrtydi/questions_dev.jsonl")))
        gold = {article for question in questions for article in question.positive_ids}
        rest = count(len(gold) * 4)  # an article of a question has some four passages
        corpus = read_corpus([str(file) for file in sorted((data / "kowiki").glob("*.jsonl.xz"))])
        return [p for p in corpus if article_id(p.id) in gold or next(rest) < _N_PASSAGES], questions
    files = [file for file in sorted((data / name).glob("questions*.jsonl")) if "paraphrased" not in file.name]
    return list(read_corpus([str(data / name / "passages.jsonl")])), list(read_questions(str(files[0])))


def measure(search: Search, questions: list[Question]) -> Measures:
    return mean_measures(judge(Example(question, tuple(search(question.text, 100))) for question in questions))


@pytest.mark.parametrize("name", SETS)
def test_default_beats_a_peers_recipe_and_the_plain_sum(data: Path, name: str, tmp_path: Path) -> None:
    passages, questions = load(data, name)
    build_index(tmp_path / "kb", passages)
    index = Index.open(tmp_path / "kb")
    ours = measure(index.search, questions)
    # What tutorials do: every morpheme, title and text as one, rank_bm25 as it comes.
    build_index(tmp_path / "peer", passages, analyzer=Analyzer(parse_components("kiwi-all")))
    peer = measure(PackageSearch(Index.open(tmp_path / "peer"), Engine.RANK_BM25, k1=1.5, b=0.75).search, questions)
    plain = measure(PackageSearch(index, Engine.BM25S, k1=1.2, b=0.75).search, questions)
    for which in ("hit@1", "hit@5", "hit@20", "mrr@10"):
        print(
            f"{name} {which}: {100 * ours[which]:.1f}, plain sum {100 * plain[which]:.1f}, peer {100 * peer[which]:.1f}"
        )
    assert all(ours[which] > peer[which] for which in ("hit@1", "hit@5", "mrr@10"))
    assert ours["mrr@10"] >= plain["mrr@10"] - 0.005  # half a point: two questions of the smallest set
