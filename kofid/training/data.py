"""Training examples: questions with passages to learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kofid.errors import InputError, UsageError
from kofid.formats.passage_split import article_id
from kofid.korean.answer_match import has_answer
from kofid.language import say, setting
from kofid.retrieval.dense.base import dense_text
from kofid.retrieval.modes import SearchMode
from kofid.training.options import Notes, no_notes
from kofid.types import Example, Hit, Passage, Progress, Question, silent

if TYPE_CHECKING:
    from datasets import Dataset

    from kofid.retrieval.index import Index


def is_positive(question: Question, passage: Passage) -> bool:
    """Tell whether a passage is gold; where no gold is known, whether it says an answer (distant supervision)."""
    if question.positive_ids:
        return passage.id in question.positive_ids or article_id(passage.id) in question.positive_ids
    return has_answer(passage.text, question.answers)


Paths = str | Path | Sequence[str | Path]


def path_names(paths: Paths) -> list[str]:
    """Return one path, or several, as a list of strings.

    >>> path_names("a.json"), path_names(["a.json", Path("b.json")])
    (['a.json'], ['a.json', 'b.json'])
    """
    return [str(paths)] if isinstance(paths, str | Path) else [str(path) for path in paths]


def fresh_size(model: str) -> str | None:
    """Return SIZE of ``fresh:SIZE``, None for any other model name.

    >>> fresh_size("fresh:tiny"), fresh_size("klue/roberta-small")
    ('tiny', None)
    """
    return model.removeprefix("fresh:") if model.startswith("fresh:") else None


def example_texts(examples: Sequence[Example]) -> list[str]:
    """Return all texts of the examples, for a fresh model's vocabulary."""
    return [hit.passage.text for e in examples for hit in e.hits] + [e.question.text for e in examples]


def load_examples(
    data: Sequence[str],
    index: str | Path | None = None,
    *,
    n_context: int = 10,
    mode: SearchMode = SearchMode.SPARSE,
    keep_gold: bool = True,
    encoding: str | None = None,
    limit: int | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> list[Example]:
    """Return the examples of FiD JSON files; with an ``index``, of question files with the passages that ``mode`` finds in it.

    Raises UsageError where there is no example, or a mode without an index.
    """
    from kofid.formats import read_examples, read_questions

    if index is None:
        if mode is not SearchMode.SPARSE:
            by, needed = setting("mode", mode), setting("index")
            raise UsageError(say(f"{by}에는 {needed}가 있어야 합니다", f"{by} needs {needed}"))
        examples = list(islice(chain.from_iterable(read_examples(path, encoding) for path in data), limit))
    else:
        from kofid.retrieval.hybrid import open_search
        from kofid.retrieval.index import Index

        opened = Index.open(Path(index))
        search = open_search(opened, mode, device=device, depth=n_context)
        questions = list(islice(chain.from_iterable(read_questions(path, encoding) for path in data), limit))
        tracked = progress(questions, say("패시지 찾기", "finding passages"), len(questions))
        examples = list(attach_hits(tracked, opened, n_context, keep_gold=keep_gold, search=search))
    if not examples:
        raise UsageError(say("훈련할 질문이 하나도 없습니다", "there is no question to train on"))
    return examples


def first_example(examples: Sequence[Example]) -> dict[str, Any]:
    """Return what the first example looks like to a reader, as JSON values."""
    from kofid.reader.fid.inputs import format_input

    example = examples[0]
    return {
        "n_examples": len(examples),
        "question": example.question.text,
        "answers": list(example.question.answers),
        "inputs": [format_input(example.question.text, hit.passage) for hit in example.hits[:2]],
    }


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
    positions = [p for p in map(index.passages.find, question.positive_ids) if p is not None]
    if not positions:
        positions = [p for article in question.positive_ids for p in index.passages.of_article(article)]
    passages = [index.passages[position] for position in positions]
    passages.sort(key=lambda p: not has_answer(p.text, question.answers))
    return [Hit(passage, 0.0, "gold") for passage in passages[:1]]


def reader_dataset(examples: Sequence[Example], n_context: int, notes: Notes = no_notes) -> Dataset:
    """Return rows of ``question``, ``targets`` (right answers), and parallel ``titles``, ``texts`` and ``positive``.

    Raises InputError when none is left.
    """
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
    return rows_dataset(rows, len(examples), say("답과 패시지가 모두", "both an answer and passages"), notes)


def distillation_dataset(examples: Sequence[Example], notes: Notes = no_notes) -> Dataset:
    """Return rows of ``question``, ``passages`` (texts), the reader's ``scores`` and ``positive``, which passages are known to be so.

    Raises InputError when no row is left.
    """
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
    return rows_dataset(rows, len(examples), say("패시지가 둘 이상", "two or more passages"), notes)


def rows_dataset(rows: list[dict[str, Any]], n_examples: int, needed: str, notes: Notes) -> Dataset:
    """Return the rows as a data set, and tell how many examples lack what is ``needed``; raise InputError where all do."""
    from datasets import Dataset

    if not rows:
        message = f"배울 것이 없습니다: {needed} 있는 질문이 하나도 없습니다"
        raise InputError(say(message, f"nothing to learn from: no question has {needed}"))
    n_dropped = n_examples - len(rows)
    if n_dropped:
        message = f"질문 {n_examples}개 가운데 {n_dropped}개는 뺍니다: {needed} 있어야 합니다"
        notes(say(message, f"{n_dropped} of {n_examples} questions are left out: they need {needed}"))
    return Dataset.from_list(rows)
