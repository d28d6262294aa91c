"""SQuAD/KorQuAD JSON (Rajpurkar et al. 2016): articles of paragraphs, each with the questions asked about it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from kofid.formats.records import Record, list_field, text_field
from kofid.types import Passage, Question


def is_article(record: Record) -> bool:
    """Tell whether a record is an article: an object with a list of ``paragraphs``."""
    return isinstance(record.value, dict) and isinstance(record.value.get("paragraphs"), list)


def paragraphs_of(record: Record, counts: defaultdict[str, int]) -> Iterator[tuple[Passage, list[Record]]]:
    """Yield (passage, question records) of an article.

    The file gives paragraphs no id: theirs is ``TITLE#n``, counted in ``counts`` over the file.
    """
    title = text_field(record, "title", required=False) or record.place
    for index, paragraph in enumerate(record.value["paragraphs"]):
        place = f"{record.place}.paragraphs[{index}]"
        entry = Record(place, paragraph)
        text = text_field(entry, "context")
        passage = Passage(f"{title}#{counts[title]}", title, text)
        counts[title] += 1
        yield passage, [Record(f"{place}.qas[{i}]", qa) for i, qa in enumerate(list_field(entry, "qas"))]


def question_of(record: Record, passage_id: str) -> Question:
    """Return the question of an entry of ``qas``, its passage the gold one."""
    texts = [text_field(Record(record.place, answer), "text") for answer in list_field(record, "answers")]
    text = text_field(record, "question").strip()
    return Question(text, text_field(record, "id", "guid", required=False), tuple(dict.fromkeys(texts)), (passage_id,))
