"""Words into terms while an index is built: each once, in batches, on all processors."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kofid.errors import ResourceError
from kofid.korean import kiwi as morphology
from kofid.language import say, setting
from kofid.retrieval.modes import AnalysisContext
from kofid.retrieval.sparse.analyzer import Analyzer
from kofid.retrieval.sparse.segment import hash_term, spans
from kofid.storage.arrays import Array

_BATCH = 8_192
# Below this many different words the start of worker processes costs more than it gives.
_WORTH_A_POOL = 60_000


class BatchAnalysis(NamedTuple):
    """Terms of a batch of units by component: ``offsets[c]`` (n_units + 1) bounds each unit's share of ``hashes[c]``.

    ``texts`` are the analyses as ``Analyzer.encode`` writes them, none in sentence context.
    """

    offsets: list[npt.NDArray[np.int32]]
    hashes: list[npt.NDArray[np.uint64]]
    texts: list[bytes]


def analyze_batch(analyzer: Analyzer, units: Sequence[str]) -> BatchAnalysis:
    """Return the terms of ``units`` as hashes and, for components that cost an analysis, as text."""
    analyses = analyzer.analyze(units)
    offsets, hashes = [], []
    for c in range(len(analyzer.components)):
        offsets.append(np.cumsum([0, *(len(terms[c]) for terms in analyses)]).astype(np.int32))
        hashes.append(np.array([hash_term(term, c) for terms in analyses for term in terms[c]], np.uint64))
    texts = [analyzer.encode(terms) for terms in analyses] if analyzer.context == AnalysisContext.WORD else []
    return BatchAnalysis(offsets, hashes, texts)


class AnalysisPool:
    """BatchAnalysis batches of units: in this process while there are few, then in one process a processor."""

    def __init__(self, analyzer: Analyzer) -> None:
        self._analyzer = analyzer
        self._executor: ProcessPoolExecutor | None = None
        self._seen = 0

    def submit(self, units: Sequence[str]) -> Future[BatchAnalysis]:
        """Return the coming analyses of ``units``."""
        self._seen += len(units)
        processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if self._executor is None and self._seen > _WORTH_A_POOL and processors > 1:
            self._executor = ProcessPoolExecutor(processors, multiprocessing.get_context("spawn"), _begin_worker)
        if self._executor is not None:
            return self._executor.submit(analyze_batch, self._analyzer, units)
        return _finished(analyze_batch(self._analyzer, units))

    def close(self) -> None:
        """End the processes."""
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)


def _finished(analysis: BatchAnalysis) -> Future[BatchAnalysis]:
    future: Future[BatchAnalysis] = Future()
    future.set_result(analysis)
    return future


def _begin_worker() -> None:
    """Let a process of the pool use one processor, and end when the one that started it is gone."""
    morphology.use_one_processor()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class UnitIds(dict[str, int]):
    """Gives units ids as they come: ``ids[unit]`` of a new one is the count of those before it."""

    def __init__(self) -> None:
        self.new: list[str] = []

    def __missing__(self, unit: str) -> int:
        unit_id = self[unit] = len(self)
        self.new.append(unit)
        return unit_id


class UnitAnalyses:
    """All units met so far and, as they come back from the pool, their terms.

    Words are remembered for the whole build; in sentence context nothing recurs, and each segment starts afresh.
    """

    def __init__(self, analyzer: Analyzer, pool: AnalysisPool) -> None:
        self.analyzer = analyzer
        self.ids = UnitIds()
        self._pool = pool
        self._batches: list[tuple[int, list[str], Future[BatchAnalysis]]] = []

    def ids_of(self, text: str) -> Iterable[int]:
        """Return the ids of the units of ``text``; new ones are sent to be analysed a batch at a time."""
        ids = list(map(self.ids.__getitem__, self.analyzer.units(text)))
        if len(self.ids.new) >= _BATCH:
            self.submit()
        return ids

    def submit(self) -> None:
        """Have all new units analysed."""
        if new := self.ids.new:
            self._batches.append((len(self.ids) - len(new), new, self._pool.submit(new)))
            self.ids.new = []

    def terms(self, units: npt.NDArray[np.int64], component: int) -> tuple[Array, Array]:
        """Return, for ascending unit ids, how many terms each has, and the terms' hashes one after another."""
        counts, hashes = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
        for first, batch, analyses in self._overlapping(units):
            within = units[np.searchsorted(units, first) : np.searchsorted(units, first + len(batch))] - first
            offsets = analyses.offsets[component]
            counts.append((offsets[within + 1] - offsets[within]).astype(np.int64))
            hashes.append(analyses.hashes[component][spans(offsets[within], counts[-1])])
        return np.concatenate(counts), np.concatenate(hashes)

    def _overlapping(self, units: npt.NDArray[np.int64]) -> Iterator[tuple[int, list[str], BatchAnalysis]]:
        for first, batch, future in self._batches:
            if len(units) and first <= units[-1] and first + len(batch) > units[0]:
                yield first, batch, future.result()

    def texts(self, start: int, stop: int) -> tuple[list[str], list[bytes]]:
        """Return the units of ids ``start`` to ``stop``, which begin and end a batch, and their analyses as text."""
        words: list[str] = []
        texts: list[bytes] = []
        for number, (first, batch, future) in enumerate(self._batches):
            if start <= first < stop:
                words += batch
                texts += future.result().texts
                # Written soon, and never asked for again.
                self._batches[number] = (first, batch, _finished(future.result()._replace(texts=[])))
        return words, texts


@contextmanager
def analysis_pool(analyzer: Analyzer) -> Iterator[AnalysisPool]:
    """Yield a pool that is closed in the end; raise ResourceError when one of its processes dies."""
    pool = AnalysisPool(analyzer)
    try:
        yield pool
    except BrokenProcessPool as error:
        raise ResourceError(
            say(
                f"분석하던 프로세스가 죽었습니다. 메모리가 모자랐을 수 있습니다. 이어서 하려면: {setting('resume')}",
                f"a process that analysed was killed, perhaps for want of memory; to go on: {setting('resume')}",
            )
        ) from error
    finally:
        pool.close()
