"""Making and changing indexes: built, resumed, added to, deleted from; each time as a new generation.

An index directory holds its segments (``0000.seg``, ``0001.seg``, ...), the positions deleted from each
(``deleted.seg``), the user dictionary and, where asked for, vectors (``dense.faiss``). While it is being built a
journal says which segments are finished.
"""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from kofid.errors import IncompatibleArtifactError, InputError
from kofid.formats.passage_split import article_id
from kofid.language import say, setting
from kofid.retrieval.dense.base import NamedEncoder
from kofid.retrieval.dense.shards import VectorShards, encode_share, merge_shards, shard_size
from kofid.retrieval.index_settings import IndexSettings, VectorSettings
from kofid.retrieval.journal import BuildJournal
from kofid.retrieval.layout import USER_DICTIONARY, VECTORS, open_segments, read_deleted, stored_analyzer, write_deleted
from kofid.retrieval.sparse.analyzer import Analyzer
from kofid.retrieval.sparse.builder import write_segments
from kofid.retrieval.sparse.passages import Passages
from kofid.retrieval.sparse.ranking import Ranking
from kofid.storage.artifacts import JOURNAL, has_unfinished, link_files, open_artifact, write_artifact
from kofid.storage.files import link_file
from kofid.storage.ownership import claim_folder, remove_claimed
from kofid.types import Passage, Progress, silent

# A last segment this small is written anew with what is added, so that many small additions do not add up.
_SMALL = 4_096


def build_index(
    path: Path,
    passages: Iterable[Passage],
    *,
    analyzer: Analyzer | None = None,
    ranking: Ranking | None = None,
    encoder: NamedEncoder | None = None,
    faiss: str = "auto",
    notes: Mapping[str, Any] | None = None,
    resume: bool = False,
    progress: Progress = silent,
) -> IndexSettings:
    """Write the index of ``passages`` to ``path`` and return its settings; with an encoder, vectors too.

    The index that may be there already answers until the new one is complete. With ``resume`` the finished segments
    of an interrupted build are kept; raises IncompatibleArtifactError when that one had other settings or passages.
    ``faiss`` is the factory string of the vectors' index, ``notes`` are kept in the settings.
    """
    analyzer = analyzer or Analyzer()
    settings = IndexSettings.of(analyzer, ranking or Ranking(), notes)
    manifest = settings.to_json()
    with write_artifact(path, "index", manifest, resume=resume) as directory:
        (directory / USER_DICTIONARY).write_text("".join(f"{w}\n" for w in analyzer.user_words), encoding="utf-8")
        journal = BuildJournal(directory, dict(manifest))
        stream = iter(progress(passages, say("패시지 분석", "analysing passages"), None))
        journal.skip(stream)
        earlier = open_segments(directory, os.listdir(directory), len(analyzer.components))
        with closing(write_segments(directory, stream, analyzer, earlier)) as segments:
            for segment in segments:
                journal.add(segment)
        write_deleted(directory, [np.empty(0, np.uint16)] * journal.n_segments)
        settings = _complete(directory, settings, encoder, faiss, progress)
        manifest |= settings.to_json()
    return settings


def has_interrupted_build(path: Path) -> bool:
    """Tell whether a build was interrupted that ``resume`` could go on with."""
    return has_unfinished(path)


def _complete(
    directory: Path, settings: IndexSettings, encoder: NamedEncoder | None, faiss: str, progress: Progress
) -> IndexSettings:
    """Count what is there, refuse an index of nothing, and add vectors; return the settings with all that."""
    segments = open_segments(directory, os.listdir(directory), len(settings.analyzer.components))
    passages = Passages(segments, read_deleted(directory, segments))
    has_terms = any(len(field.lengths) and field.lengths.any() for s in segments for field in [*s.text, *s.titles])
    if not has_terms or not len(passages):
        (directory / JOURNAL).unlink(missing_ok=True)  # there is nothing to go on with
        raise InputError(say("색인할 낱말이 하나도 없습니다", "there is not one term to index"))
    settings = replace(settings, n_passages=len(passages), n_segments=len(segments))
    if encoder is None:
        return settings
    folder = directory / f".vectors-{encoder.fingerprint[:16]}"
    shards = VectorShards(folder, len(passages), shard_size(len(passages), 1))
    encode_share(shards, encoder.encoder, passages, (0, 1), progress)
    vectors = _merge(directory, shards, encoder, faiss)
    shutil.rmtree(folder)
    return replace(settings, dense=vectors)


# --- vectors -------------------------------------------------------------------------------------------------


def add_vectors(
    path: Path,
    encoder: NamedEncoder,
    *,
    faiss: str = "auto",
    share: tuple[int, int] = (0, 1),
    progress: Progress = silent,
) -> IndexSettings | None:
    """Give the index at ``path`` vectors, in place of those that it may have, and return its settings.

    Vectors are encoded in shards, which stay when the work is interrupted. ``share`` (i, n) is for n processes: each
    encodes every n-th shard from the i-th (from 0) only. The one that finds all shards there finishes the index; the others
    return None. Raises as ``open_artifact`` does.
    """
    index = open_artifact(path, "index")
    settings = IndexSettings.from_json(index.settings, path)
    segments = open_segments(index.directory, index.files, len(settings.analyzer.components))
    passages = Passages(segments, read_deleted(index.directory, segments))
    size = shard_size(len(passages), share[1])
    folder = path.with_name(f".{path.name}.vectors-{encoder.fingerprint[:16]}-{size}-{index.directory.name}")
    for other in _shard_folders(path):  # of a run killed after its switch
        if not other.name.endswith(f"-{index.directory.name}"):
            remove_claimed(other)
    claim_folder(folder)
    shards = VectorShards(folder, len(passages), size)
    encode_share(shards, encoder.encoder, passages, share, progress)
    if not shards.is_complete:
        return None
    manifest: dict[str, Any] = {}
    with write_artifact(path, "index", manifest) as directory:
        if open_artifact(path, "index").directory != index.directory:
            raise IncompatibleArtifactError(
                say(f"{path}: 벡터를 만드는 동안 색인이 바뀌었습니다", f"{path}: the index changed meanwhile")
            )
        link_files(index, directory, but=(VECTORS,))
        settings = replace(settings, dense=_merge(directory, shards, encoder, faiss))
        manifest |= settings.to_json()
    for other in _shard_folders(path):  # those of other shares of this generation as well
        remove_claimed(other)
    return settings


def _shard_folders(path: Path) -> list[Path]:
    """Return the folders of shards that are waiting beside an index."""
    return list(path.parent.glob(f".{glob.escape(path.name)}.vectors-*-gen-*"))


def _merge(directory: Path, shards: VectorShards, encoder: NamedEncoder, faiss: str) -> VectorSettings:
    """Write the faiss file of all shards and return what the index keeps of its vectors."""
    dimension = encoder.encoder.dimension
    factory, recall = merge_shards(shards, directory / VECTORS, dimension, faiss)
    return VectorSettings(encoder.name, encoder.fingerprint, dimension, factory, shards.n_passages, recall)


# --- changes -------------------------------------------------------------------------------------------------


def update_index(
    path: Path,
    *,
    add: Iterable[Passage] = (),
    delete: Iterable[str] = (),
    notes: Mapping[str, Any] | None = None,
    encoder: NamedEncoder | None = None,
    progress: Progress = silent,
) -> IndexSettings:
    """Add passages to an index and delete others, by their ids or by those of their articles; return its settings.

    All that is added is held in memory. A passage replaces one of the same id; one that begins an article
    (``ARTICLE#0``) replaces all those of the article. Scores are as if the index had been built anew. ``notes`` go into the
    settings. An index with vectors needs the ``encoder`` that made them, and has them made anew. Raises InputError for
    an unknown id to delete, IncompatibleArtifactError for another analyzer, and for vectors of another encoder or without one.
    """
    manifest: dict[str, Any] = {}
    with write_artifact(path, "index", manifest) as directory:
        index = open_artifact(path, "index")
        settings = IndexSettings.from_json(index.settings, path)
        settings = replace(settings, notes={**settings.notes, **(notes or {})})
        faiss = _check_encoder(path, settings, encoder)
        analyzer = stored_analyzer(index.directory, settings)
        segments = open_segments(index.directory, index.files, len(analyzer.components))
        before = read_deleted(index.directory, segments)
        passages = Passages(segments, before)
        deleted = [set(positions.tolist()) for positions in before]
        _delete_ids(delete, passages, deleted)
        stream = _replacing(progress(add, say("패시지 분석", "analysing passages"), None), passages, deleted)
        first = next(stream, None)
        # How many segments stay as they are: a small last one is written anew with what is added.
        n = len(segments) - (first is not None and len(segments[-1]) <= _SMALL)
        for name in (f"{number:04}.seg{suffix}" for number in range(n) for suffix in ("", ".toc")):
            link_file(index.directory / name, directory / name)
        n_written = 0
        if first is not None:
            small = (s[i] for d, s in zip(deleted[n:], segments[n:], strict=True) for i in range(len(s)) if i not in d)
            with closing(write_segments(directory, chain([first], stream, small), analyzer, segments[:n])) as written:
                n_written = sum(1 for _ in written)
        positions = [np.array(sorted(p), np.uint16) for p in deleted[:n]]
        write_deleted(directory, positions + [np.empty(0, np.uint16)] * n_written)
        (directory / USER_DICTIONARY).write_bytes((index.directory / USER_DICTIONARY).read_bytes())
        settings = _complete(directory, replace(settings, dense=None), encoder, faiss, progress)
        manifest |= settings.to_json()
    return settings


def record_ranking(path: Path, ranking: Ranking, weights: Sequence[float]) -> None:
    """Give an index another ranking, for good: a new generation of the same files."""
    manifest: dict[str, Any] = {}
    with write_artifact(path, "index", manifest) as directory:
        index = open_artifact(path, "index")
        settings = IndexSettings.from_json(index.settings, path)
        manifest |= replace(settings, ranking=ranking, weights=tuple(weights)).to_json()
        link_files(index, directory)


def _check_encoder(path: Path, settings: IndexSettings, encoder: NamedEncoder | None) -> str:
    """Return the faiss factory of an index's vectors; raise IncompatibleArtifactError where they need another encoder."""
    if settings.dense is None:
        return "auto"
    if encoder is None or encoder.fingerprint != settings.dense.fingerprint:
        command = f"kofid index CORPUS -o {path} {setting('dense', settings.dense.encoder)}"
        raise IncompatibleArtifactError(
            say(
                f"{path}: 벡터를 만든 인코더가 있어야 고칠 수 있습니다. 다시 만드세요: {command}",
                f"{path}: to be changed it needs the encoder of its vectors; build it again: {command}",
            )
        )
    return settings.dense.faiss


def _delete_ids(ids: Iterable[str], passages: Passages, deleted: list[set[int]]) -> None:
    """Note passages, or all those of an article, as deleted; raise InputError for an unknown id."""
    for passage_id in ids:
        position = passages.find(passage_id)
        positions = list(passages.of_article(passage_id)) if position is None else [position]
        if not positions:
            raise InputError(say(f"id '{passage_id}'가 색인에 없습니다", f"id '{passage_id}' is not in the index"))
        _delete(positions, passages, deleted)


def _replacing(new: Iterable[Passage], passages: Passages, deleted: list[set[int]]) -> Iterator[Passage]:
    """Pass on the new passages and delete what they replace; the rest of an article that they extend goes with them."""
    articles: dict[str, list[Passage]] = {}
    for passage in new:
        articles.setdefault(article_id(passage.id), []).append(passage)
    for article, fresh in articles.items():
        places = ((position, passages.place(position)) for position in passages.of_article(article))
        old = [position for position, (segment, local) in places if local not in deleted[segment]]
        ids = {passage.id for passage in fresh}
        if f"{article}#0" not in ids:
            yield from (passages[p] for p in old if passages[p].id not in ids)
        yield from fresh
        _delete(old, passages, deleted)


def _delete(positions: Sequence[int], passages: Passages, deleted: list[set[int]]) -> None:
    """Note positions as deleted."""
    for position in positions:
        segment, local = passages.place(position)
        deleted[segment].add(local)
