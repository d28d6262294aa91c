"""Passages in a new order: by vectors, by a model that reads question and passage together, or by a reader."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from kofid.errors import InputError, UsageError
from kofid.formats.fid_json import read_examples, write_examples
from kofid.formats.trec import read_run, run_lines
from kofid.language import say, setting
from kofid.pipeline import RERANK_DEPTH
from kofid.retrieval.fusion import Fusion
from kofid.retrieval.index import Index
from kofid.retrieval.modes import SearchMode
from kofid.storage.files import write_file
from kofid.types import Example, Hit, Passage, Progress, Question, RankingReader, Rerank, silent


def open_reranker(
    *,
    cross_encoder: str | None = None,
    reader: str | None = None,
    index: Index | None = None,
    mode: SearchMode = SearchMode.CROSS,
    fusion: Fusion | None = None,
    device: str = "auto",
    dtype: str = "float32",
) -> Rerank:
    """Return what orders an example's passages: a cross-encoder, a reader, or an index's vectors.

    A ``reader`` is one that ranks as it reads (``joint``), or a fusion reader, whose attention tells.

    ``mode`` and ``fusion`` are for vectors: ``sequential`` orders by them alone, ``cross`` fuses them with the scores that
    the passages came with. ``dtype`` is the reader's. Raises UsageError for more than one or none of the three.

    >>> open_reranker()
    Traceback (most recent call last):
    ...
    kofid.errors.UsageError: 재순위를 매길 것을 주세요: cross_encoder, reader, index
    """
    if cross_encoder and reader:
        first, second = setting("cross_encoder"), setting("reader")
        raise UsageError(say(f"{first}와 {second}는 함께 못 씁니다", f"{first} and {second} exclude each other"))
    if cross_encoder:
        from kofid.retrieval.reranker import open_cross_encoder

        model = open_cross_encoder(cross_encoder, device)
        return lambda example: model.rerank(example.question.text, example.hits)
    if reader:
        return _by_reader(reader, device, dtype)
    if index is None:
        names = ", ".join(map(setting, ("cross_encoder", "reader", "index")))
        raise UsageError(say(f"재순위를 매길 것을 주세요: {names}", f"give what is to rerank: {names}"))
    if mode not in (SearchMode.SEQUENTIAL, SearchMode.CROSS):
        wanted = f"{setting('mode', 'sequential')}, {setting('mode', 'cross')}"
        raise UsageError(
            say(f"{setting('mode', mode)}: {wanted} 가운데 하나", f"{setting('mode', mode)}: must be one of {wanted}")
        )
    from kofid.retrieval.hybrid import open_reordering

    return open_reordering(index, mode, device=device, fusion=fusion)


def _by_reader(name: str, device: str, dtype: str) -> Rerank:
    """Return a reader's own order, or that by how much a fusion reader attends to each passage (Izacard and Grave 2021b)."""
    from kofid.reader.fid.config import ReadingOptions
    from kofid.reader.fid.reader import FiDReader
    from kofid.reader.open import open_reader

    reader = open_reader(name, device=device, options=ReadingOptions(dtype))
    if isinstance(reader, RankingReader):
        ranking = reader
        return lambda example: ranking.read_and_rank(example.question.text, example.hits).hits
    if not isinstance(reader, FiDReader):
        raise UsageError(
            say(
                f"{name}: 패시지를 줄 세우는 리더가 아닙니다 (joint나 FiD 리더여야 합니다)",
                f"{name}: ranks no passages (it must be a joint or a fusion reader)",
            )
        )

    def rerank(example: Example) -> list[Hit]:
        if not example.hits:
            return []
        (hits,) = reader.score([(example.question.text, example.hits)])
        return sorted(hits, key=lambda hit: -hit.score)

    return rerank


def rerank(
    examples: Iterable[Example],
    reranker: Rerank,
    *,
    depth: int | None = RERANK_DEPTH,
    k: int | None = None,
    progress: Progress = silent,
) -> Iterator[Example]:
    """Yield examples with their best ``depth`` passages reordered, the others after them, ``k`` in all.

    >>> hits = tuple(Hit(Passage(name, "", ""), 1.0) for name in "abc")
    >>> [example] = rerank([Example(Question("?"), hits)], lambda e: list(reversed(e.hits)), depth=2)
    >>> [hit.passage.id for hit in example.hits]
    ['b', 'a', 'c']
    """
    total = len(examples) if isinstance(examples, Sequence) else None
    for example in progress(examples, say("줄 세우는 중", "reordering"), total):
        best = replace(example, hits=example.hits[:depth])
        hits = (*reranker(best), *example.hits[len(best.hits) :])
        yield replace(example, hits=hits[:k])


def read_ranked(
    source: str, *, index: Index | None = None, questions: Sequence[Question] = (), encoding: str | None = None
) -> Iterator[Example]:
    """Yield the examples of FiD JSON, or of a TREC run (``.trec``) of ``questions``, its passages taken from ``index``.

    Raises InputError naming what cannot be read, and for a passage that the index lacks.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = write_ranked(folder + "/found.json", [Example(Question("누가?", "1"), (Hit(Passage("a", "", "글"), 1.0),))])
    ...     [hit.passage.id for hit in next(read_ranked(folder + "/found.json")).hits]
    ['a']
    """
    if Path(source).suffix != ".trec":
        yield from read_examples(source, encoding)
        return
    if index is None or not questions:
        raise UsageError(
            say(f"{source}: TREC 결과에는 색인과 질문도 주세요", f"{source}: give index and questions, too")
        )
    run = read_run(source, encoding)
    for question in questions:
        hits = (Hit(_passage(index, name, source), score, "file") for name, score in run.get(question.id, []))
        yield Example(question, tuple(hits))


def write_ranked(path: str | Path, examples: Iterable[Example]) -> int:
    """Write a TREC run where the name ends in ``.trec``, else FiD JSON; return the number of questions.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_ranked(folder + "/found.trec", [Example(Question("누가?", "1"), (Hit(Passage("a", "", ""), 1.0),))])
    ...     Path(folder, "found.trec").read_text().split()[2:4]
    1
    ['a', '1']
    """
    path = Path(path)
    if path.suffix != ".trec":
        return write_examples(path, examples)
    ranked = list(examples)
    write_file(path, run_lines(ranked))
    return len(ranked)


def _passage(index: Index, passage_id: str, source: str) -> Passage:
    position = index.passages.find(passage_id)
    if position is None:
        raise InputError(
            say(
                f"{source}: 패시지 '{passage_id}'가 색인에 없습니다",
                f"{source}: no passage '{passage_id}' in the index",
            )
        )
    return index.passages[position]
