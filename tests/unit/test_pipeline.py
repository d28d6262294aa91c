"""The pipeline with a reader that ranks, with a reranker, and how much each is given to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kofid.operations.reranking import rerank
from kofid.pipeline import NoReader, Pipeline
from kofid.pipeline import open as open_pipeline
from kofid.reader.open import passages_to_read
from kofid.retrieval.index import Index
from kofid.types import Answer, Example, Hit, Passage, Question, RankingReader, Reading

HITS = [Hit(Passage(name, "", f"{name} 글"), 9.0 - i) for i, name in enumerate("abcdefgh")]


@dataclass(frozen=True)
class Backwards:
    """Answers with the last hit, and ranks the hits from the last to the first."""

    seen: list[tuple[str, list[str]]] = field(default_factory=list)

    def read(self, question: str, hits: Sequence[Hit]) -> list[Answer]:
        return self.read_and_rank(question, hits).answers

    def read_and_rank(self, question: str, hits: Sequence[Hit]) -> Reading:
        self.seen.append((question, ids(hits)))
        answers = [Answer(hits[-1].passage.text, 0.9, hits[-1].passage, 0, 3)] if hits else []
        return Reading(answers, list(reversed(hits)))


class First:
    """Answers with the first hit."""

    def read(self, question: str, hits: Sequence[Hit]) -> list[Answer]:
        return [Answer(hits[0].passage.text, 0.9, hits[0].passage)]


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.passage.id for hit in hits]


def search(question: str, k: int) -> list[Hit]:
    return HITS[:k] if question != "없음" else []


def backwards(example: Example) -> list[Hit]:
    return list(reversed(example.hits))


@pytest.fixture(scope="module")
def index(small_index: Path) -> Index:
    return Index.open(small_index)


def test_a_reader_that_ranks_gives_the_order(index: Index) -> None:
    reader = Backwards()
    assert isinstance(reader, RankingReader) and not isinstance(First(), RankingReader)
    reply = Pipeline(index, reader, search, k=3, correct=False).ask(" 누가?\u200b ")
    assert ids(reply.hits) == ["c", "b", "a"] and reply.answer is not None and reply.answer.text == "c 글"
    assert reader.seen == [("누가?", ["a", "b", "c"])]
    assert ids(reply.evidence) == ["c", "b", "a"]
    nothing = Pipeline(index, reader, search, k=3, correct=False).ask("없음")
    assert (nothing.answers, nothing.hits) == ([], [])


def test_any_other_reader_leaves_it(index: Index) -> None:
    pipeline = Pipeline(index, First(), search, k=3, correct=False)
    assert ids(pipeline.ask("누가?").hits) == ["a", "b", "c"] == ids(pipeline.read("누가?", HITS[:3]).hits)
    assert Pipeline(index, NoReader(), search).read("누가?", HITS).hits == HITS


@pytest.mark.parametrize(
    ("k", "depth", "expected"),
    [
        (2, 4, "dc"),  # the best of four that were found
        (4, 4, "dcba"),
        (6, 3, "cbadef"),  # only the best three are put in a new order
        (3, 20, "hgf"),
    ],
)
def test_a_reranker_orders_the_best_hits_only(index: Index, k: int, depth: int, expected: str) -> None:
    pipeline = Pipeline(index, First(), search, k, False, backwards, depth)
    assert "".join(ids(pipeline.retrieve("누가?"))) == expected
    assert "".join(ids(pipeline.ask("누가?").hits)) == expected
    assert "".join(ids(Pipeline(index, First(), search, 1, False, backwards, depth).retrieve("누가?", k))) == expected
    assert pipeline.retrieve("없음") == []
    # The function that reorders what was found elsewhere agrees.
    (example,) = rerank([Example(Question("누가?"), tuple(HITS))], backwards, depth=depth, k=k)
    assert "".join(ids(example.hits)) == expected


def test_a_reader_that_ranks_is_given_more_to_read(index: Index, tiny_joint: Path) -> None:
    assert (passages_to_read(str(tiny_joint)), passages_to_read("span"), passages_to_read("t5")) == (20, 10, 10)
    assert [open_pipeline(index, reader=str(tiny_joint), k=k).k for k in (None, 4)] == [20, 4]
    assert [open_pipeline(index, reader=reader).k for reader in (None, "span")] == [10, 10]
    assert isinstance(open_pipeline(index, reader=str(tiny_joint)).reader, RankingReader)
