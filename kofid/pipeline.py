"""Question -> hits -> reranked hits -> answers: where retrieval and readers meet."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from kofid.corpora import corpus_index, demo_index
from kofid.korean.text import clean, sentence_spans
from kofid.language import say
from kofid.reader.confidence import SURE
from kofid.reader.fid.pointing import pointed_first
from kofid.retrieval.correct import forgiving_search
from kofid.retrieval.explain import Explanation
from kofid.retrieval.explain import explain as explain_hits
from kofid.retrieval.fusion import Fusion
from kofid.retrieval.hybrid import open_search
from kofid.retrieval.index import Index
from kofid.retrieval.modes import SearchMode
from kofid.retrieval.ranking_options import RankingOptions
from kofid.storage.locks import OnWait
from kofid.types import (
    Answer,
    Example,
    Hit,
    Passage,
    Progress,
    Question,
    RankingReader,
    Reader,
    Reading,
    Rerank,
    Search,
    silent,
)

if TYPE_CHECKING:
    from kofid.reader.fid.config import ReadingOptions

# Passages that a reranker reads, where nothing else is said.
RERANK_DEPTH = 50


@dataclass(frozen=True)
class Reply:
    """What comes back for a question: candidate answers and the passages read, both best first.

    ``corrected`` is the question as it was searched for and read, where it was spelled wrongly; ``reading_seconds`` is
    what the reader took, ``seconds`` all of it.

    >>> Reply("누가 썼나?", [Answer("이광수", 0.9)], []).answer.text
    '이광수'
    """

    question: str
    answers: list[Answer]
    hits: list[Hit]
    corrected: str | None = None
    reading_seconds: float = 0.0
    seconds: float = 0.0

    @property
    def answer(self) -> Answer | None:
        """The best answer."""
        return self.answers[0] if self.answers else None

    @property
    def sure(self) -> bool:
        """Whether the best answer's confidence reaches the threshold."""
        return bool(self.answers) and self.answers[0].confidence >= SURE

    @property
    def evidence(self) -> list[Hit]:
        """The hits, those that the reader cites first, or the answer's own passage."""
        if self.answer is None or self.answer.passage is None:
            return self.hits
        first = self.answer.cited or (self.answer.passage.id,)
        return pointed_first(self.hits, first)


class NoReader:
    """Gives no answers: for those who want the passages alone."""

    def read(self, question: str, hits: Sequence[Hit]) -> list[Answer]:
        """Return nothing."""
        return []


@dataclass(frozen=True)
class Pipeline:
    """An index and a reader; several threads may ask at once.

    ``search`` is how passages are found, ``k`` how many the reader reads; with ``correct`` misspelled questions are set
    right. A reranker orders the best ``rerank_depth`` hits anew before the best ``k`` are read.

    >>> pipeline = open_demo()
    >>> pipeline.ask("임진왜란은 언제 일어났나?").answer.text
    '1592년 4월 13일'
    """

    index: Index
    reader: Reader
    search: Search
    k: int = 10
    correct: bool = True
    reranker: Rerank | None = None
    rerank_depth: int = RERANK_DEPTH

    @property
    def has_reader(self) -> bool:
        """Whether it answers, and does not only find passages."""
        return not isinstance(self.reader, NoReader)

    def retrieve(self, question: str, k: int | None = None) -> list[Hit]:
        """Return the best ``k`` hits for a question, best first; none when nothing in it is known to the index.

        >>> [hit.passage.title for hit in open_demo().retrieve("임진왜란은 언제 일어났나?", 1)]
        ['임진왜란']
        """
        return list(self.find(Question(question), k).hits)

    def find(self, question: Question, k: int | None = None) -> Example:
        """Return a question with its best ``k`` hits and, where it was misspelled, what it was searched as."""
        text, k = clean(question.text).strip(), k or self.k
        depth = k if self.reranker is None else max(k, self.rerank_depth)
        corrected = None
        if self.correct:
            hits, corrected = forgiving_search(self.index, self.search, text, depth)
        else:
            hits = self.search(text, depth)
        reranked = [*self.rerank(corrected or text, hits[: self.rerank_depth]), *hits[self.rerank_depth :]]
        return Example(question, tuple(reranked[:k]), corrected=corrected)

    def rerank(self, question: str, hits: Sequence[Hit]) -> list[Hit]:
        """Return hits in the reranker's order; as they are without one."""
        if self.reranker is None or not hits:
            return list(hits)
        return self.reranker(Example(Question(question), tuple(hits)))

    def read(self, question: str, hits: Sequence[Hit]) -> Reading:
        """Return the reader's answers from hits, and the hits: in the reader's order where it has one."""
        if isinstance(self.reader, RankingReader):
            return self.reader.read_and_rank(question, hits)
        return Reading(self.reader.read(question, hits), list(hits))

    def ask(self, question: str) -> Reply:
        """Return answers to a question; no hits and no answers when nothing in it is known to the index."""
        begun = time.perf_counter()
        text = clean(question).strip()
        example = self.find(Question(text))
        start = time.perf_counter()
        reading = self.read(example.corrected or text, example.hits)
        end = time.perf_counter()
        return Reply(text, reading.answers, reading.hits, example.corrected, end - start, end - begun)

    def explain(self, question: str, hits: Sequence[Hit]) -> Explanation:
        """Return which terms of a question gave how much to each of ``hits``, which were found by terms.

        >>> pipeline = open_demo(reader=None)
        >>> hits = pipeline.retrieve("임진왜란은 언제 일어났나?", 1)
        >>> pipeline.explain("임진왜란은 언제 일어났나?", hits).dropped[0][0]
        '언제'
        """
        return explain_hits(self.index, question, hits)

    def likely_sentence(self, question: str, passage: Passage) -> tuple[int, int]:
        """Return character offsets of the passage's sentence that shares most terms with the question."""
        terms = self.index.terms(question)
        spans = sentence_spans(passage.text) or [(0, len(passage.text))]
        overlaps = [len(terms & self.index.terms(passage.text[a:b])) for a, b in spans]
        return spans[overlaps.index(max(overlaps))]

    def sentence_at(self, passage: Passage, position: int) -> tuple[int, int]:
        """Return character offsets of the passage's sentence that holds ``position``."""
        spans = sentence_spans(passage.text)
        return next(((a, b) for a, b in spans if a <= position < b), (0, len(passage.text)))


class PipelineOptions(TypedDict, total=False):
    """What ``open``, ``open_corpus`` and ``open_demo`` take by name; see ``open``."""

    reader: str | None
    mode: SearchMode
    k: int | None
    correct: bool
    device: str
    fusion: Fusion | None
    depth: int
    nprobe: int | None
    reading: ReadingOptions | None
    reranker: Rerank | None
    ranking: RankingOptions | None


def open(  # as kofid.open
    index: str | Path | Index,
    *,
    reader: str | None = "joint",
    mode: SearchMode = SearchMode.AUTO,
    k: int | None = None,
    correct: bool = True,
    device: str = "auto",
    fusion: Fusion | None = None,
    depth: int = 200,
    nprobe: int | None = None,
    reading: ReadingOptions | None = None,
    reranker: Rerank | None = None,
    ranking: RankingOptions | None = None,
    verify: bool = True,
) -> Pipeline:
    """Open an index and a reader to ask.

    ``reader``: ``joint``, ``span``, ``t5``, the folder of one that was trained, or None for passages without answers;
    ``reading`` says how one that writes does so. It reads the best ``k`` passages (None: 20 for ``joint``, which ranks them
    anew, else 10). ``mode``, ``fusion``, ``depth`` and ``nprobe`` are those of ``open_search``; ``reranker`` is what
    ``open_reranker`` returns, ``ranking`` what of the index's ranking is to be changed. ``verify``: check the files' SHA-256. Raises KofidError.

    >>> open(demo_index(), k=3).ask("임진왜란은 언제 일어났나?").sure
    True
    """
    opened = index if isinstance(index, Index) else Index.open(Path(index), check_hashes=verify)
    opened = ranking.of(opened) if ranking else opened
    search = open_search(opened, mode, device=device, fusion=fusion, depth=depth, nprobe=nprobe)
    if reader is None:
        return Pipeline(opened, NoReader(), search, k or Pipeline.k, correct, reranker)
    from kofid.reader.open import open_reader, passages_to_read

    k = k or passages_to_read(reader)
    return Pipeline(
        opened, open_reader(reader, device=device, n_context=k, options=reading), search, k, correct, reranker
    )


def open_corpus(
    sources: str | Sequence[str],
    *,
    cache: Path | None = None,
    skipped: list[str] | None = None,
    progress: Progress = silent,
    on_wait: OnWait = lambda message: None,
    **options: Unpack[PipelineOptions],
) -> Pipeline:
    """Open files and folders to ask; their index is kept in ``cache`` (the user's own) and brought up to date.

    What cannot be read is left out, its error appended to ``skipped``. While another process makes the same index this one
    waits, and tells ``on_wait`` so. Raises InputError where nothing can be read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "메모.txt").write_text("봄 소풍은 4월 12일에 여주로 간다.", encoding="utf-8")
    ...     pipeline = open_corpus(folder, cache=Path(folder, "cache"), reader=None)
    ...     pipeline.retrieve("소풍은 어디로 가나?")[0].passage.text
    '봄 소풍은 4월 12일에 여주로 간다.'
    """
    files = [sources] if isinstance(sources, str) else sources
    return open(corpus_index(files, cache=cache, progress=progress, skipped=skipped, on_wait=on_wait), **options)


def open_demo(
    *, cache: Path | None = None, on_wait: OnWait = lambda message: None, **options: Unpack[PipelineOptions]
) -> Pipeline:
    """Open the demo corpus that comes with kofid; its index is kept in ``cache`` (the user's own).

    >>> open_demo(reader=None).retrieve("훈민정음은 누가 만들었나?", 1)[0].passage.title
    '훈민정음'
    """
    return open(demo_index(cache, on_wait=on_wait), **options)


def retrieve(
    pipeline: Pipeline,
    questions: Iterable[Question],
    *,
    k: int | None = None,
    keep_gold: bool = False,
    progress: Progress = silent,
) -> Iterator[Example]:
    """Yield each question with its best ``k`` hits.

    With ``keep_gold`` a gold passage that was not found takes the last place (for training data).

    >>> [example] = retrieve(open_demo(), [Question("훈민정음은 누가 만들었나?", "q1")], k=2)
    >>> example.question.id, len(example.hits)
    ('q1', 2)
    """
    from kofid.training.data import with_gold

    for question in progress(questions, say("찾는 중", "searching"), _length(questions)):
        example = pipeline.find(question, k)
        yield with_gold(example, pipeline.index, k or pipeline.k) if keep_gold else example


def _length(items: Iterable[Question]) -> int | None:
    return len(items) if isinstance(items, Sequence) else None
