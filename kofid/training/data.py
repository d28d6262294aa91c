"""Training examples: questions with passages to learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from kofid.errors import InputError
from kofid.formats.passage_split import article_id
from kofid.korean.answers import has_answer
from kofid.language import say
from kofid.retrieval.dense.base import dense_text
from kofid.types import Example, Hit, Passage, Question

if TYPE_CHECKING:
    from datasets import Dataset

    from kofid.retrieval.index import Index


def is_positive(question: Question, passage: Passage) -> bool:
    """Tell whether a passage is gold; where no gold is known, whether it says an answer (distant supervision)."""
    if question.positive_ids:
        return passage.id in question.positive_ids or article_id(passage.id) in question.positive_ids
    return has_answer(passage.text, question.answers)


def attach_hits(
    questions: Iterable[Question],
    index: Index,
    n_context: int,
    *,
    keep_gold: bool,
    search: Callable[[str, int], list[Hit]] | None = None,
) -> Iterator[Example]:
    """Yield each question with its ``n_context`` best passages by ``search``, or by BM25.

    With ``keep_gold`` a gold passage that was not found takes the place of the last hit, so that there is something
    to learn.
    """
    for question in questions:
        target = question.answers[0] if question.answers else None
        example = Example(question, tuple((search or index.search)(question.text, n_context)), target)
        yield with_gold(example, index, n_context) if keep_gold else example


def with_gold(example: Example, index: Index, n_context: int) -> Example:
    """Return the example with a gold passage in the last of ``n_context`` places where none was found."""
    question = example.question
    if not question.positive_ids or any(is_positive(question, hit.passage) for hit in example.hits):
        return example
    return replace(example, hits=(*example.hits[: n_context - 1], *_gold(question, index)))


def _gold(question: Question, index: Index) -> list[Hit]:
    """Return a gold passage of the index: of several cut from a gold article, the first that says an answer."""
    named = [p for p in map(index.passages.find, question.positive_ids) if p is not None]
    if not named:
        named = [p for article in question.positive_ids for p in index.passages.of_article(article)]
    passages = [index.passages[position] for position in named]
    passages.sort(key=lambda p: not has_answer(p.text, question.answers))
    return [Hit(passage, 0.0, "gold") for passage in passages[:1]]


def reader_dataset(examples: Sequence[Example], n_context: int) -> Dataset:
    """Return rows of ``question``, ``targets`` (right answers), and parallel ``titles``, ``texts`` and ``positive``.

    Raises InputError when none is left.
    """
    from datasets import Dataset

    rows = [
        {
            "question": e.question.text,
            "targets": [e.target] if e.target else list(e.question.answers),
            "titles": [hit.passage.title for hit in e.hits[:n_context]],
            "texts": [hit.passage.text for hit in e.hits[:n_context]],
            "positive": [is_positive(e.question, hit.passage) for hit in e.hits[:n_context]],
        }
        for e in examples
        if e.hits and (e.target or e.question.answers)
    ]
    if not rows:
        raise InputError(
            say(
                "배울 것이 없습니다: 답과 패시지가 모두 있는 질문이 하나도 없습니다",
                "nothing to learn from: no question has both an answer and passages",
            )
        )
    return Dataset.from_list(rows)


def retriever_dataset(examples: Sequence[Example]) -> Dataset:
    """Return rows of ``question``, ``positives`` and ``negatives``: texts of gold hits, and of others that say no answer.

    Where all others say an answer, they are negatives too: a word may stand in many passages that do not answer.
    """
    from datasets import Dataset

    rows = []
    for example in examples:
        question = example.question
        flags = [is_positive(question, hit.passage) for hit in example.hits]
        positives = [h.passage for h, good in zip(example.hits, flags, strict=True) if good]
        others = [h.passage for h, good in zip(example.hits, flags, strict=True) if not good]
        negatives = [p for p in others if not has_answer(p.text, question.answers)] or others
        if positives and negatives:
            texts = {"positives": list(map(dense_text, positives)), "negatives": list(map(dense_text, negatives))}
            rows.append({"question": question.text, **texts})
    if not rows:
        raise InputError(
            say(
                "배울 것이 없습니다: 정답 패시지와 아닌 패시지를 함께 가진 질문이 하나도 없습니다",
                "nothing to learn from: no question has both a positive and a negative passage",
            )
        )
    return Dataset.from_list(rows)


def distillation_dataset(examples: Sequence[Example]) -> Dataset:
    """Return rows of ``question``, ``passages`` (texts), the reader's ``scores`` and ``positive``, which passages are known to be so.

    Raises InputError when no row is left.
    """
    from datasets import Dataset

    rows = [
        {
            "question": e.question.text,
            "passages": [dense_text(hit.passage) for hit in e.hits],
            "scores": [hit.score for hit in e.hits],
            "positive": [is_positive(e.question, hit.passage) for hit in e.hits],
        }
        for e in examples
        if len(e.hits) > 1
    ]
    if not rows:
        raise InputError(
            say(
                "배울 것이 없습니다: 패시지가 둘 이상인 질문이 하나도 없습니다",
                "nothing to learn from: no question has two or more passages",
            )
        )
    return Dataset.from_list(rows)
