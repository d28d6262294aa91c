"""Files into an index: made, changed, given vectors, and estimated first; the work of ``kofid index``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kofid.errors import UsageError
from kofid.formats.corpus import read_corpus
from kofid.formats.lines import read_lines
from kofid.formats.passage_split import PASSAGE_WORDS
from kofid.formats.user_dictionary import read_user_words
from kofid.korean.kiwi import ALL_TAGS
from kofid.korean.text import clean
from kofid.language import say, setting
from kofid.retrieval.build import add_vectors, build_index, update_index
from kofid.retrieval.index import Index
from kofid.retrieval.ranking_options import RankingOptions
from kofid.retrieval.sparse.analyzer import CONTENT_TAGS, DEFAULT, Analyzer, parse_components
from kofid.retrieval.sparse.ranking import Ranking
from kofid.storage.artifacts import open_artifact
from kofid.types import Passage, Progress, silent

if TYPE_CHECKING:
    from kofid.retrieval.dense.base import NamedEncoder
    from kofid.retrieval.index_settings import IndexSettings

# Characters that are analysed in a second, and seconds before the first: both cautious.
_CHARACTERS_A_SECOND, _START_SECONDS = 500_000, 4
_SAMPLED_PASSAGES = 256


@dataclass(frozen=True)
class IndexReport:
    """What indexing left at ``path``, and what it left out.

    ``dense`` is what the index says of its vectors, None where it has none. ``complete`` is False where only a share of the
    vectors was encoded, and other processes have to encode theirs.
    """

    path: Path
    n_passages: int
    skipped: tuple[str, ...] = ()
    dense: Mapping[str, Any] | None = None
    complete: bool = True
    seconds: float = 0.0


def index(
    corpus: str | Sequence[str],
    output: str | Path,
    *,
    add: bool = False,
    delete: Sequence[str] = (),
    split: bool | None = None,
    passage_words: int = PASSAGE_WORDS,
    encoding: str | None = None,
    skip_errors: bool = False,
    analyzer: str = DEFAULT,
    tags: Sequence[str] = CONTENT_TAGS,
    context: str = "word",
    user_dict: str | None = None,
    ranking: RankingOptions | None = None,
    dense: str | None = None,
    faiss: str = "auto",
    shard: tuple[int, int] | None = None,
    resume: bool = False,
    limit: int | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> IndexReport:
    """Index files of ``corpus`` at ``output``, or change the index that is there.

    ``add`` adds to it, replacing passages of the same id; ``delete`` takes out ids, or those that a file lists. ``dense``
    gives it vectors by that encoder: while it is made, or without a corpus the index that is there (``shard`` (i, n), i
    from 0: only that share of them; by default that of torchrun's process). ``split`` and ``passage_words`` are those of
    ``read_corpus``, ``analyzer``, ``tags`` and ``context`` those of ``Analyzer``. Raises KofidError.

    >>> import tempfile
    >>> from kofid.storage.bundled import resource
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     index(str(resource("demo/passages.jsonl")), folder + "/kb", limit=20).n_passages
    20
    """
    start = time.perf_counter()
    files, path = [corpus] if isinstance(corpus, str) else list(corpus), Path(output)
    _refuse_together(files, add, delete, dense, shard)
    skipped: list[str] = []
    texts = read_corpus(
        files,
        split=split,
        passage_words=passage_words,
        encoding=encoding,
        skipped=skipped if skip_errors else None,
    )
    passages: Iterable[Passage] = islice(texts, limit) if files else ()
    if add or delete:
        settings = _change(path, passages, delete, device, progress)
    elif files:
        words = read_user_words(user_dict, encoding) if user_dict else ()
        weighed, ranked = _weighted(Analyzer(parse_components(analyzer), _known_tags(tags), context, words), ranking)
        encoder = _open_encoder(dense, device) if dense else None
        settings = build_index(
            path,
            passages,
            analyzer=weighed,
            ranking=ranked,
            encoder=encoder,
            faiss=faiss,
            resume=resume,
            progress=progress,
        )
    else:
        share = shard or (int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))
        encoder = _open_encoder(str(dense), device)
        finished = add_vectors(path, encoder, faiss=faiss, share=share, progress=progress)
        if finished is None:
            n = len(Index.open(path, check_hashes=False))
            return IndexReport(path, n, complete=False, seconds=time.perf_counter() - start)
        settings = finished
    vectors = settings.dense.to_json() if settings.dense else None
    return IndexReport(path, settings.n_passages, tuple(skipped), vectors, seconds=time.perf_counter() - start)


def _refuse_together(
    files: Sequence[str], add: bool, delete: Sequence[str], dense: str | None, shard: tuple[int, int] | None
) -> None:
    if not files and not delete and not dense:
        raise UsageError(say("색인할 파일을 주세요 (표준입력은 -)", "give files to index (- for standard input)"))
    if files and delete and not add:
        raise UsageError(say(f"파일도 더하려면 {setting('add')}", f"to add the files too: {setting('add')}"))
    if shard and (files or delete):
        name, other = setting("shard"), setting("dense")
        raise UsageError(
            say(
                f"{name}는 글 없이, 있는 색인에 {other}로 벡터를 달 때 씁니다",
                f"{name} goes with {other} and no texts, for an index that is there",
            )
        )


def _weighted(analyzer: Analyzer, options: RankingOptions | None) -> tuple[Analyzer, Ranking]:
    """Return the analyzer with its components' weights, and the ranking, by what people change of them."""
    names = [component.name for component in analyzer.components]
    changes = (options or RankingOptions()).changes(names, analyzer.weights)
    weights = changes.pop("weights", analyzer.weights)
    return analyzer.weighted(weights), Ranking.from_settings(changes)


def _known_tags(tags: Sequence[str]) -> tuple[str, ...]:
    wanted = tuple(tag.strip().upper() for tag in tags if tag.strip())
    if not wanted or not set(wanted) <= set(ALL_TAGS):
        known, written = " ".join(sorted(ALL_TAGS)), setting("tags", ",".join(tags))
        raise UsageError(
            say(f"{written}: 모르는 품사입니다. 품사: {known}", f"{written}: unknown tags; there are: {known}")
        )
    return wanted


def _open_encoder(dense: str, device: str) -> NamedEncoder:
    """Open an encoder, once it is sure that faiss is there: said now, not when all is encoded."""
    from kofid.retrieval.dense.encoders import open_encoder
    from kofid.retrieval.dense.faiss_index import import_faiss

    import_faiss()
    return open_encoder(dense, device)


def _change(
    path: Path, passages: Iterable[Passage], delete: Sequence[str], device: str, progress: Progress
) -> IndexSettings:
    """Add to an index and delete from it; one with vectors has them made anew by their encoder."""
    dense = open_artifact(path, "index").settings.get("dense")
    encoder = _open_encoder(dense["encoder"], device) if dense else None
    return update_index(path, add=passages, delete=_ids(delete), encoder=encoder, progress=progress)


def _ids(names: Sequence[str]) -> Iterator[str]:
    """Yield ids: those named, and those of files, one a line."""
    for name in names:
        if Path(name).is_file():
            yield from (clean(line).strip() for _, line in read_lines(name) if line.strip())
        else:
            yield clean(name).strip()


@dataclass(frozen=True)
class IndexEstimate:
    """What an index would hold: passages, characters, and the seconds that it takes at a cautious rate."""

    n_passages: int
    n_characters: int
    seconds: float


def estimate_index(passages: Iterable[Passage]) -> IndexEstimate:
    """Return what indexing these passages takes.

    >>> estimate_index([Passage("1", "무정", "이광수가 썼다.")]).n_characters
    8
    """
    n = n_characters = 0
    for passage in passages:
        n += 1
        n_characters += len(passage.text)
    return IndexEstimate(n, n_characters, n_characters / _CHARACTERS_A_SECOND + _START_SECONDS)


@dataclass(frozen=True)
class VectorEstimate:
    """What vectors for an index would take: seconds, by those of some passages, and bytes in a faiss index."""

    n_passages: int
    seconds: float
    faiss: str
    n_bytes: int


def estimate_vectors(path: str | Path, dense: str, *, faiss: str = "auto", device: str = "auto") -> VectorEstimate:
    """Return what giving the index at ``path`` vectors by the encoder ``dense`` takes."""
    from kofid.retrieval.dense.faiss_index import choose_factory, estimate_bytes

    encoder = _open_encoder(dense, device).encoder
    passages = Index.open(Path(path), check_hashes=False).passages
    n = len(passages)
    sample = [passages[i] for i in range(0, n, max(1, n // _SAMPLED_PASSAGES))]
    encoder.encode_passages(sample[:8])
    start = time.perf_counter()
    encoder.encode_passages(sample)
    seconds = (time.perf_counter() - start) * n / len(sample)
    factory = choose_factory(faiss, n)
    return VectorEstimate(n, seconds, factory, estimate_bytes(factory, n, encoder.dimension))
