"""The reader that teaches in a distillation: its scores of passages, kept while they are made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from kofid.errors import InputError, UsageError
from kofid.language import say, setting
from kofid.reader.fid.config import ReadingOptions, ScoreMethod
from kofid.reader.fid.reader import SCORED_AT_A_TIME, FiDReader
from kofid.reader.open import open_reader
from kofid.storage.files import write_file
from kofid.types import Example, Hit, Progress, silent


def open_teacher(name: str, *, device: str = "auto", n_context: int = 10, dtype: str = "float32") -> FiDReader:
    """Open the fusion reader that teaches; raise UsageError for a reader without cross-attention."""
    reader = open_reader(name, device=device, n_context=n_context, options=ReadingOptions(dtype=dtype))
    if not isinstance(reader, FiDReader):
        teacher = setting("reader", name)
        raise UsageError(
            say(
                f"{teacher}: 교차 주의가 있는 FiD 리더여야 합니다",
                f"{teacher}: needs cross-attention, a fusion reader",
            )
        )
    return reader


def score_journal(output: Path, reader: str, method: ScoreMethod, dtype: str, examples: Sequence[Example]) -> Path:
    """Return where the scores of just these questions, passages and settings are kept while they are made."""
    digest = hashlib.sha256(f"{reader}\n{method}\n{dtype}\n".encode())
    current = Path(reader) / "CURRENT"  # of a reader trained anew in its place
    digest.update(current.read_bytes() if current.is_file() else b"")
    for example in examples:
        answers = example.target or "\t".join(example.question.answers)
        digest.update("\n".join((example.question.text, answers, *(hit.passage.id for hit in example.hits))).encode())
    output.parent.mkdir(parents=True, exist_ok=True)
    return output.with_name(f".{output.name}.scores-{digest.hexdigest()[:16]}")


def score_examples(
    reader: FiDReader,
    examples: Sequence[Example],
    progress: Progress = silent,
    method: ScoreMethod = ScoreMethod.FIRST,
    journal: Path | None = None,
) -> Iterator[Example]:
    """Yield the examples, each hit's score replaced by the reader's cross-attention score (see ``score_passages``).

    ``first`` looks at the first decoded token; the others at all tokens of the answer where every example has one. What is
    scored is kept in ``journal``, a line of scores a question; those of an earlier run that was stopped are not made again.
    """
    method = ScoreMethod(method)
    answers = [e.target or next(iter(e.question.answers), "") for e in examples]
    known = answers if method is not ScoreMethod.FIRST and all(answers) else None
    if method is ScoreMethod.ANSWER and known is None:
        raise InputError(say("답(answers)이 없는 질문이 있습니다", "some questions have no answers to score by"))
    done = _whole_lines(journal)[: len(examples)] if journal else []
    n = len(done) - len(done) % SCORED_AT_A_TIME
    rest = [(e.question.text, e.hits) for e in examples[n:]]
    scored = (
        [replace(hit, score=score, source="reader") for hit, score in zip(e.hits, row, strict=True)]
        for e, row in zip(examples, done[:n], strict=False)
    )
    new = _recorded(journal, done[:n], reader.score(rest, method, known[n:] if known else None))
    for example, hits in zip(
        examples, progress(chain(scored, new), say("리더 점수", "reader scores"), len(examples)), strict=True
    ):
        yield replace(example, hits=tuple(hits))


def _whole_lines(journal: Path) -> list[list[float]]:
    """Return the rows of a journal; its last line may be half written."""
    text = journal.read_text(encoding="utf-8") if journal.is_file() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def _recorded(journal: Path | None, rows: Sequence[Sequence[float]], new: Iterable[list[Hit]]) -> Iterator[list[Hit]]:
    """Yield what is new and write its scores after ``rows``."""
    if journal is None:
        yield from new
        return
    write_file(journal, (json.dumps(row) + "\n" for row in rows))
    with journal.open("a", encoding="utf-8", buffering=1) as file:  # a line at a time
        for hits in new:
            file.write(json.dumps([hit.score for hit in hits]) + "\n")
            yield hits
