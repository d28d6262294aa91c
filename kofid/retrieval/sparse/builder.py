"""Passages into segments: reading, analysing and sorting overlap, on all processors, in bounded memory."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xxhash

from kofid.retrieval.modes import AnalysisContext
from kofid.retrieval.sparse.analysis_pool import UnitAnalyses, analysis_pool
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
from kofid.storage.arrays import ArrayWriter
from kofid.types import Passage

# A segment is closed at the first article that begins within this many passages of the limit.
_SLACK = 4_096
# When more words than this are remembered all are forgotten: half a kilobyte each.
_MAX_WORDS = 8_000_000


class WrittenSegment(NamedTuple):
    """A segment that has been written: its file, how many passages it holds, and their digest."""

    path: Path
    n_passages: int
    digest: str


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


class SegmentWriter:
    """Writes a segment: passages as they come, postings once all their words are analysed."""

    def __init__(self, path: Path, analyses: UnitAnalyses, earlier: Sequence[Segment]) -> None:
        self.path = path
        self._analyses = analyses
        self._earlier = earlier
        self._first_unit = len(analyses.ids)
        self._last_unit = self._first_unit
        self._file = ArrayWriter(path)
        self._passages = PassageWriter(self._file)
        self._text = array("I"), array("I")  # unit ids; how many units each passage has
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
        unit_ids, counts = field
        before = len(unit_ids)
        unit_ids.extend(self._analyses.ids_of(text))
        counts.append(len(unit_ids) - before)

    def end(self) -> None:
        """Note that no passage will follow."""
        self._analyses.submit()
        self._last_unit = len(self._analyses.ids)

    def write(self) -> WrittenSegment:
        """Wait for the analyses and write the postings."""
        self._passages.close()
        for name, (unit_ids, counts) in (("text", self._text), ("title", self._titles)):
            units, places = np.unique(np.frombuffer(unit_ids, np.uint32), return_inverse=True)
            owners = np.repeat(np.arange(len(counts), dtype=np.uint32), np.frombuffer(counts, np.uint32))
            for c in range(len(self._analyses.analyzer.components)):
                n_terms, hashes = self._analyses.terms(units.astype(np.int64), c)
                starts = np.cumsum(n_terms) - n_terms
                per_unit = n_terms[places]
                vocabulary, term_ids = np.unique(hashes, return_inverse=True)
                terms = term_ids.astype(np.uint32)[spans(starts[places], per_unit)]
                owners_of_terms = np.repeat(owners, per_unit)
                write_field(self._file, f"{name}{c}", owners_of_terms, terms, vocabulary, len(counts))
        self._write_words()
        self._file.close()
        return WrittenSegment(self.path, len(self), self._digest.hexdigest())

    def _write_words(self) -> None:
        """Write the analyses of the words that no earlier segment has."""
        words, texts = self._analyses.texts(self._first_unit, self._last_unit)
        if not texts:  # whole sentences are not kept
            words = []
        hashes = np.array([hash_term(word) for word in words], np.uint64)
        new = np.ones(len(words), bool)
        for segment in self._earlier:
            new &= ~segment.has_words(hashes)
        write_words(self._file, hashes[new], [texts[i] for i in np.flatnonzero(new)])


def write_segments(
    directory: Path, passages: Iterable[Passage], analyzer: Analyzer, earlier: Sequence[Segment]
) -> Generator[WrittenSegment]:
    """Write ``passages`` as segments, numbered after ``earlier`` ones; yield each one as it is finished.

    While one segment's words are being analysed the next one is read.
    """
    with analysis_pool(analyzer) as pool:
        analyses = UnitAnalyses(analyzer, pool)
        waiting: deque[SegmentWriter] = deque()
        segment: SegmentWriter | None = None
        number = len(earlier)
        for passage in passages:
            if segment is None or segment.is_full(passage):
                if segment is not None:
                    segment.end()
                    waiting.append(segment)
                if analyzer.context == AnalysisContext.SENTENCE or len(analyses.ids) > _MAX_WORDS:
                    analyses = UnitAnalyses(analyzer, pool)
                while len(waiting) > 1:
                    yield waiting.popleft().write()
                segment = SegmentWriter(directory / f"{number:04}.seg", analyses, earlier)
                number += 1
            segment.add(passage)
        if segment is not None:
            segment.end()
            waiting.append(segment)
        while waiting:
            yield waiting.popleft().write()
