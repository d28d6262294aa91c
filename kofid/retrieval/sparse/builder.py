"""Passages into segments: reading, analysing and sorting overlap, on all processors, in bounded memory."""

from __future__ import annotations

import multiprocessing
import os
import threading
from array import array
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash

from kofid.errors import ResourceError
from kofid.korean import kiwi as morphology
from kofid.language import say
from kofid.retrieval.sparse.analyzer import Analyzer
from kofid.retrieval.sparse.segment import (
    MAX_PASSAGES,
    PassageWriter,
    Segment,
    hash_term,
    spans,
    write_field,
    write_words,
)
from kofid.storage.arrays import Array, ArrayWriter
from kofid.types import Passage

# A segment is closed at the first article that begins within this many passages of the limit.
_SLACK = 4_096
_BATCH = 8_192
# Below this many different words the start of worker processes costs more than it gives.
_WORTH_A_POOL = 60_000
# When more words than this are remembered all are forgotten: half a kilobyte each.
_MAX_WORDS = 8_000_000


class Finished(NamedTuple):
    """A segment that has been written: its file, and how many passages it holds, of which digest."""

    path: Path
    n_passages: int
    digest: str


class Analyses(NamedTuple):
    """Terms of a batch of units. ``offsets[c]`` (n_units + 1) bounds each unit's share of ``hashes[c]``."""

    offsets: list[npt.NDArray[np.int32]]
    hashes: list[npt.NDArray[np.uint64]]
    texts: list[bytes]


def analyze_batch(analyzer: Analyzer, units: Sequence[str]) -> Analyses:
    """Return the terms of ``units`` as hashes and, for components that cost an analysis, as text."""
    found = analyzer.analyze(units)
    offsets, hashes = [], []
    for c in range(len(analyzer.components)):
        offsets.append(np.cumsum([0, *(len(terms[c]) for terms in found)]).astype(np.int32))
        hashes.append(np.array([hash_term(term, c) for terms in found for term in terms[c]], np.uint64))
    texts = [analyzer.encode(terms) for terms in found] if analyzer.context == "word" else []
    return Analyses(offsets, hashes, texts)


class Pool:
    """Analyses batches of units: in this process while there are few, then in one process a processor."""

    def __init__(self, analyzer: Analyzer) -> None:
        self._analyzer = analyzer
        self._executor: ProcessPoolExecutor | None = None
        self._seen = 0

    def submit(self, units: Sequence[str]) -> Future[Analyses]:
        """Return the coming analyses of ``units``."""
        self._seen += len(units)
        processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if self._executor is None and self._seen > _WORTH_A_POOL and processors > 1:
            self._executor = ProcessPoolExecutor(processors, multiprocessing.get_context("spawn"), _begin_worker)
        if self._executor is not None:
            return self._executor.submit(analyze_batch, self._analyzer, units)
        done: Future[Analyses] = Future()
        done.set_result(analyze_batch(self._analyzer, units))
        return done

    def close(self) -> None:
        """End the processes."""
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    """Let a process of the pool use one processor, and end when the one that started it is gone."""
    morphology.use_one_processor()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class UnitNumbers(dict[str, int]):
    """Numbers units as they come: ``numbers[unit]`` of a new one is the count of those before it."""

    def __init__(self) -> None:
        self.new: list[str] = []

    def __missing__(self, unit: str) -> int:
        number = self[unit] = len(self)
        self.new.append(unit)
        return number


class Lexicon:
    """All units met so far and, as they come back from the pool, their terms.

    Words are remembered for the whole build; in sentence context nothing recurs, and each segment starts afresh.
    """

    def __init__(self, analyzer: Analyzer, pool: Pool) -> None:
        self.analyzer = analyzer
        self.numbers = UnitNumbers()
        self._pool = pool
        self._batches: list[tuple[int, list[str], Future[Analyses]]] = []

    def number(self, text: str) -> Iterable[int]:
        """Return the numbers of the units of ``text``, sending new ones to be analysed a batch at a time."""
        found = list(map(self.numbers.__getitem__, self.analyzer.units(text)))
        if len(self.numbers.new) >= _BATCH:
            self.send()
        return found

    def send(self) -> None:
        """Have all new units analysed."""
        if new := self.numbers.new:
            self._batches.append((len(self.numbers) - len(new), new, self._pool.submit(new)))
            self.numbers.new = []

    def terms(self, units: npt.NDArray[np.int64], component: int) -> tuple[Array, Array]:
        """Return, for ascending unit numbers, how many terms each has, and the terms' hashes one after another."""
        counts, hashes = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
        for first, batch, analyses in self._overlapping(units):
            here = units[np.searchsorted(units, first) : np.searchsorted(units, first + len(batch))] - first
            offsets = analyses.offsets[component]
            counts.append((offsets[here + 1] - offsets[here]).astype(np.int64))
            hashes.append(analyses.hashes[component][spans(offsets[here], counts[-1])])
        return np.concatenate(counts), np.concatenate(hashes)

    def _overlapping(self, units: npt.NDArray[np.int64]) -> Iterator[tuple[int, list[str], Analyses]]:
        for first, batch, future in self._batches:
            if len(units) and first <= units[-1] and first + len(batch) > units[0]:
                yield first, batch, future.result()

    def texts(self, start: int, stop: int) -> tuple[list[str], list[bytes]]:
        """Return the units numbered ``start`` to ``stop``, which begin and end a batch, and their analyses as text."""
        words: list[str] = []
        texts: list[bytes] = []
        for number, (first, batch, future) in enumerate(self._batches):
            if start <= first < stop:
                words += batch
                texts += future.result().texts
                done: Future[Analyses] = Future()
                done.set_result(future.result()._replace(texts=[]))  # written soon, and never asked again
                self._batches[number] = (first, batch, done)
        return words, texts


class PassageDigest:
    """A running checksum of passages, to tell whether a corpus is still the same."""

    def __init__(self) -> None:
        self._hash = xxhash.xxh3_128()

    def add(self, passage: Passage) -> None:
        """Take a passage."""
        self._hash.update("\x1e".join((passage.id, passage.title, passage.text, "")).encode("utf-8", "replace"))

    def hexdigest(self) -> str:
        """Return the checksum of the passages so far."""
        return str(self._hash.hexdigest())


class OpenSegment:
    """A segment under way: its passages are on disk, its units noted, its postings still to be sorted."""

    def __init__(self, path: Path, lexicon: Lexicon, earlier: Sequence[Segment]) -> None:
        self.path = path
        self._lexicon = lexicon
        self._earlier = earlier
        self._first_unit = len(lexicon.numbers)
        self._last_unit = self._first_unit
        self._file = ArrayWriter(path)
        self._passages = PassageWriter(self._file)
        self._text = array("I"), array("I")  # unit numbers; units of each passage
        self._titles = array("I"), array("I")
        self._digest = PassageDigest()

    def __len__(self) -> int:
        return len(self._passages)

    def is_full(self, passage: Passage) -> bool:
        """Tell whether ``passage`` should begin another segment."""
        n = len(self)
        whole = not self._passages.is_of_last_article(passage)
        return n >= MAX_PASSAGES or (n >= MAX_PASSAGES - _SLACK and whole)

    def add(self, passage: Passage) -> None:
        """Take a passage."""
        if not self._passages.is_of_last_article(passage):
            self._note(self._titles, passage.title)
        self._note(self._text, passage.text)
        self._passages.add(passage)
        self._digest.add(passage)

    def _note(self, field: tuple[array[int], array[int]], text: str) -> None:
        numbers = self._lexicon.number(text)
        before = len(field[0])
        field[0].extend(numbers)
        field[1].append(len(field[0]) - before)

    def end(self) -> None:
        """Note that no passage will follow."""
        self._lexicon.send()
        self._last_unit = len(self._lexicon.numbers)

    def write(self) -> Finished:
        """Wait for the analyses and write the postings."""
        self._passages.close()
        for name, (numbers, counts) in (("text", self._text), ("title", self._titles)):
            units, places = np.unique(np.frombuffer(numbers, np.uint32), return_inverse=True)
            owners = np.repeat(np.arange(len(counts), dtype=np.uint32), np.frombuffer(counts, np.uint32))
            for c in range(len(self._lexicon.analyzer.components)):
                n_terms, hashes = self._lexicon.terms(units.astype(np.int64), c)
                starts = np.cumsum(n_terms) - n_terms
                per_unit = n_terms[places]
                vocabulary, numbers_of_terms = np.unique(hashes, return_inverse=True)
                terms = numbers_of_terms.astype(np.uint32)[spans(starts[places], per_unit)]
                owners_of_terms = np.repeat(owners, per_unit)
                write_field(self._file, f"{name}{c}", owners_of_terms, terms, vocabulary, len(counts))
        self._write_words()
        self._file.close()
        return Finished(self.path, len(self), self._digest.hexdigest())

    def _write_words(self) -> None:
        """Write the analyses of the words that no earlier segment has."""
        words, texts = self._lexicon.texts(self._first_unit, self._last_unit)
        if not texts:  # whole sentences are not kept
            words = []
        hashes = np.array([hash_term(word) for word in words], np.uint64)
        new = np.ones(len(words), bool)
        for segment in self._earlier:
            new &= ~segment.has_words(hashes)
        write_words(self._file, hashes[new], [texts[i] for i in np.flatnonzero(new)])


@contextmanager
def _pool(analyzer: Analyzer) -> Iterator[Pool]:
    pool = Pool(analyzer)
    try:
        yield pool
    except BrokenProcessPool as error:
        raise ResourceError(
            say(
                "분석하던 프로세스가 죽었습니다. 메모리가 모자랐을 수 있습니다. 이어서 하려면 --resume을 쓰세요.",
                "a process that analysed was killed, perhaps for want of memory; go on with --resume",
            )
        ) from error
    finally:
        pool.close()


def write_segments(
    directory: Path, passages: Iterable[Passage], analyzer: Analyzer, earlier: Sequence[Segment]
) -> Generator[Finished]:
    """Write ``passages`` as segments, numbered after ``earlier`` ones; yield each one as it is finished.

    While one segment's words are being analysed the next one is read.
    """
    with _pool(analyzer) as pool:
        lexicon = Lexicon(analyzer, pool)
        waiting: deque[OpenSegment] = deque()
        segment: OpenSegment | None = None
        number = len(earlier)
        for passage in passages:
            if segment is None or segment.is_full(passage):
                if segment is not None:
                    segment.end()
                    waiting.append(segment)
                if analyzer.context == "sentence" or len(lexicon.numbers) > _MAX_WORDS:
                    lexicon = Lexicon(analyzer, pool)
                while len(waiting) > 1:
                    yield waiting.popleft().write()
                segment = OpenSegment(directory / f"{number:04}.seg", lexicon, earlier)
                number += 1
            segment.add(passage)
        if segment is not None:
            segment.end()
            waiting.append(segment)
        while waiting:
            yield waiting.popleft().write()
