"""Making and changing indexes: built, resumed, added to, deleted from; each time as a new generation.

An index directory holds its segments (``0000.seg``, ``0001.seg``, ...), the positions deleted from each
(``deleted.seg``), the user dictionary and, where asked for, vectors (``dense.faiss``). While it is being built a
journal says which segments are finished.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kofid.errors import IncompatibleArtifactError, InputError
from kofid.formats.passage_split import article_id
from kofid.language import say
from kofid.retrieval.dense.base import Encoding
from kofid.retrieval.layout import (
    USER_DICTIONARY,
    VECTORS,
    check_settings,
    open_segments,
    read_deleted,
    stored_analyzer,
    write_deleted,
)
from kofid.retrieval.sparse.analyzer import Analyzer
from kofid.retrieval.sparse.builder import Finished, PassageDigest, write_segments
from kofid.retrieval.sparse.passages import Passages
from kofid.retrieval.sparse.ranking import Ranking
from kofid.storage.artifacts import JOURNAL, has_unfinished, link_files, open_artifact, write_artifact
from kofid.storage.files import link_file
from kofid.storage.ownership import claim_folder, remove_claimed
from kofid.types import Passage, Progress, silent

if TYPE_CHECKING:
    pass

# A last segment this small is written anew with what is added, so that many small additions do not add up.
_SMALL = 4_096


def build_index(
    path: Path,
    passages: Iterable[Passage],
    *,
    analyzer: Analyzer | None = None,
    ranking: Ranking | None = None,
    encoding: Encoding | None = None,
    notes: dict[str, Any] | None = None,
    resume: bool = False,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Write the index of ``passages`` to ``path`` and return its settings; with an encoder, vectors too.

    The index that may be there already answers until the new one is complete. With ``resume`` the finished segments
    of an interrupted build are kept; raises IncompatibleArtifactError when that one had other settings or passages.
    """
    analyzer = analyzer or Analyzer()
    settings = _settings(analyzer, ranking or Ranking()) | (notes or {})
    with write_artifact(path, "index", settings, resume=resume) as directory:
        (directory / USER_DICTIONARY).write_text("".join(f"{w}\n" for w in analyzer.user_words), encoding="utf-8")
        journal = _Journal(directory, settings)
        stream = iter(progress(passages, say("패시지 분석", "analysing passages"), None))
        journal.skip(stream)
        earlier = open_segments(directory, os.listdir(directory), len(analyzer.components))
        with closing(write_segments(directory, stream, analyzer, earlier)) as segments:
            for finished in segments:
                journal.add(finished)
        write_deleted(directory, [np.empty(0, np.uint16)] * journal.n_segments)
        _complete(directory, settings, encoding, progress)
    return settings


def has_interrupted_build(path: Path) -> bool:
    """Tell whether a build was interrupted that ``resume`` could go on with."""
    return has_unfinished(path)


def _settings(analyzer: Analyzer, ranking: Ranking) -> dict[str, Any]:
    return {
        "analyzer": analyzer.settings(),
        "ranking": ranking.settings() | {"weights": analyzer.weights},
    }


def _complete(directory: Path, settings: dict[str, Any], encoding: Encoding | None, progress: Progress) -> None:
    """Count what is there, refuse an index of nothing, and add vectors."""
    segments = open_segments(directory, os.listdir(directory), len(settings["analyzer"]["components"]))
    passages = Passages(segments, read_deleted(directory, segments))
    has_terms = any(len(field.lengths) and field.lengths.any() for s in segments for field in [*s.text, *s.titles])
    if not has_terms or not len(passages):
        (directory / JOURNAL).unlink(missing_ok=True)  # there is nothing to go on with
        raise InputError(say("색인할 낱말이 하나도 없습니다", "there is not one term to index"))
    settings["n_passages"] = len(passages)
    settings["n_segments"] = len(segments)
    if encoding is not None:
        folder = directory / f".vectors-{encoding.fingerprint[:16]}"
        _encode(folder, passages, encoding, (0, 1), progress)
        settings["dense"] = _finish_vectors(directory, folder, len(passages), encoding)


def add_vectors(
    path: Path, encoding: Encoding, *, share: tuple[int, int] = (0, 1), progress: Progress = silent
) -> dict[str, Any]:
    """Give the index at ``path`` vectors, in place of those that it may have, and return its settings.

    Vectors are encoded in shards, which stay when the work is interrupted. ``share`` (i, n) encodes every n-th shard from
    the i-th (from 0) only; the process that finds all shards there finishes the index. Raises as ``open_artifact`` does.
    """
    from kofid.retrieval.dense.shards import n_shards, shard_file

    old = open_artifact(path, "index")
    settings = dict(old.settings)
    check_settings(old.directory, settings)
    segments = open_segments(old.directory, old.files, len(settings["analyzer"]["components"]))
    passages = Passages(segments, read_deleted(old.directory, segments))
    folder = path.with_name(f".{path.name}.vectors-{encoding.fingerprint[:16]}-{old.directory.name}")
    for left in path.parent.glob(f".{glob.escape(path.name)}.vectors-*-gen-*"):  # of a run killed after its switch
        if not left.name.endswith(f"-{old.directory.name}"):
            remove_claimed(left)
    claim_folder(folder)
    _encode(folder, passages, encoding, share, progress)
    if not all(shard_file(folder, number).is_file() for number in range(n_shards(len(passages)))):
        return settings | {"dense": None}
    with write_artifact(path, "index", settings) as directory:
        if open_artifact(path, "index").directory != old.directory:
            raise IncompatibleArtifactError(
                say(f"{path}: 벡터를 만드는 동안 색인이 바뀌었습니다", f"{path}: the index changed meanwhile")
            )
        link_files(old, directory, but=(VECTORS,))
        settings["dense"] = _finish_vectors(directory, folder, len(passages), encoding)
    remove_claimed(folder)
    return settings


def _encode(folder: Path, passages: Passages, encoding: Encoding, share: tuple[int, int], progress: Progress) -> None:
    """Encode this process's share of the shards of all passages."""
    from kofid.retrieval.dense.shards import SHARD, encode_shard, n_shards

    numbers = range(n_shards(len(passages)))[share[0] :: share[1]]
    sizes = [min(SHARD, len(passages) - number * SHARD) for number in numbers]
    counted = iter(progress(range(sum(sizes)), say("패시지 벡터", "passage vectors"), sum(sizes)))

    def count(n: int) -> None:
        for _ in islice(counted, n):
            pass

    for number in numbers:
        encode_shard(encoding.encoder, passages, number, folder, count)
    next(counted, None)  # the bar ends


def _finish_vectors(directory: Path, folder: Path, n: int, encoding: Encoding) -> dict[str, Any]:
    """Write the faiss file of all shards, remove those, and return what the index keeps of its vectors."""
    import shutil

    from kofid.retrieval.dense.faiss_index import DenseIndex, choose_factory, recall_against_flat
    from kofid.retrieval.dense.shards import n_shards, read_shards

    factory, dimension, count = choose_factory(encoding.faiss, n), encoding.encoder.dimension, n_shards(n)
    DenseIndex.build(read_shards(folder, count), dimension, factory).save(directory / VECTORS)
    settings: dict[str, Any] = {
        "encoder": encoding.name,
        "fingerprint": encoding.fingerprint,
        "dimension": dimension,
        "metric": "inner product",
        "faiss": factory,
        "n_vectors": n,
    }
    if factory != "Flat":
        opened = DenseIndex.load(directory / VECTORS)
        settings["recall@20"] = round(recall_against_flat(opened, read_shards(folder, count), dimension), 4)
    if folder.parent == directory:
        shutil.rmtree(folder)
    return settings


class _Journal:
    """Which segments of a build are finished, on disk for good, and the digest of the passages in each."""

    def __init__(self, directory: Path, settings: dict[str, Any]) -> None:
        self._path = directory / JOURNAL
        self._settings = settings
        self._segments: list[dict[str, Any]] = []
        if self._path.is_file():
            kept = json.loads(self._path.read_text(encoding="utf-8"))
            if kept["settings"] != settings:
                raise _other_build(kept["settings"], settings)
            self._segments = kept["segments"]
        known = {s["name"] for s in self._segments}
        for file in directory.glob("*.seg*"):
            if file.name.removesuffix(".toc") not in known:
                file.unlink()

    @property
    def n_segments(self) -> int:
        return len(self._segments)

    def skip(self, passages: Iterator[Passage]) -> None:
        """Pass over the passages of the finished segments; raise when they are not the same."""
        for segment in self._segments:
            digest = PassageDigest()
            for _ in range(segment["n_passages"]):
                passage = next(passages, None)
                if passage is not None:
                    digest.add(passage)
            if digest.hexdigest() != segment["digest"]:
                raise IncompatibleArtifactError(
                    say(
                        f"패시지가 멈춘 작업 때와 다릅니다 ({segment['name']}). --resume 없이 처음부터 하세요.",
                        f"the passages differ from those of the interrupted build ({segment['name']}); "
                        "start anew without --resume",
                    )
                )

    def add(self, finished: Finished) -> None:
        """Note a finished segment, once its files are safe on disk."""
        for file in (finished.path, finished.path.with_name(finished.path.name + ".toc")):
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
        self._segments.append(
            {"name": finished.path.name, "n_passages": finished.n_passages, "digest": finished.digest}
        )
        new = self._path.with_suffix(".new")
        with new.open("w", encoding="utf-8") as journal:
            json.dump({"settings": self._settings, "segments": self._segments}, journal, ensure_ascii=False)
            journal.flush()
            os.fsync(journal.fileno())
        new.replace(self._path)


def _other_build(there: object, here: object) -> IncompatibleArtifactError:
    return IncompatibleArtifactError(
        say(
            f"멈춘 작업은 다른 설정으로 시작했습니다.\n  그때: {there}\n  지금: {here}\n--resume 없이 처음부터 하세요.",
            f"the interrupted build had other settings.\n  there: {there}\n  here:  {here}\nStart anew without --resume.",
        )
    )


def update_index(
    path: Path,
    *,
    add: Iterable[Passage] = (),
    delete: Iterable[str] = (),
    notes: dict[str, Any] | None = None,
    encoding: Encoding | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Add passages to an index and delete others, by their ids or by those of their articles.

    All that is added is held in memory. A passage replaces one of the same id; one that begins an article (``ARTICLE#0``), all those of the article.
    Scores are as if the index had been built anew. ``notes`` go into the settings, which are returned. An
    index with vectors needs the ``encoding`` that made them, and has them made anew. Raises InputError for an unknown id to
    delete, IncompatibleArtifactError for another analyzer, and for vectors of another encoder or without one.
    """
    settings: dict[str, Any] = {}
    with write_artifact(path, "index", settings) as directory:
        old = open_artifact(path, "index")
        settings |= old.settings | (notes or {})
        if "dense" in settings and (encoding is None or encoding.fingerprint != settings.pop("dense")["fingerprint"]):
            raise IncompatibleArtifactError(
                say(
                    f"{path}: 벡터를 만든 인코더가 있어야 고칠 수 있습니다. 다시 만드세요: kofid index ... -o {path} --dense MODEL",
                    f"{path}: to be changed it needs the encoder of its vectors; build it again: kofid index ... -o {path} --dense MODEL",
                )
            )
        analyzer = stored_analyzer(old.directory, settings)
        segments = open_segments(old.directory, old.files, len(analyzer.components))
        deleted = [set(positions.tolist()) for positions in read_deleted(old.directory, segments)]
        passages = Passages(segments, read_deleted(old.directory, segments))
        for passage_id in delete:
            position = passages.find(passage_id)
            found = list(passages.of_article(passage_id)) if position is None else [position]
            _delete(found, passages, deleted)
            if not found:
                raise InputError(say(f"id '{passage_id}'가 색인에 없습니다", f"id '{passage_id}' is not in the index"))
        stream = _replacing(progress(add, say("패시지 분석", "analysing passages"), None), passages, deleted)
        first = next(stream, None)
        n = len(segments) - (first is not None and len(segments[-1]) <= _SMALL)
        for name in (f"{number:04}.seg{suffix}" for number in range(n) for suffix in ("", ".toc")):
            link_file(old.directory / name, directory / name)
        n_written = 0
        if first is not None:
            small = (s[i] for d, s in zip(deleted[n:], segments[n:], strict=True) for i in range(len(s)) if i not in d)
            with closing(write_segments(directory, chain([first], stream, small), analyzer, segments[:n])) as finished:
                n_written = sum(1 for _ in finished)
        positions = [np.array(sorted(p), np.uint16) for p in deleted[:n]]
        write_deleted(directory, positions + [np.empty(0, np.uint16)] * n_written)
        (directory / USER_DICTIONARY).write_bytes((old.directory / USER_DICTIONARY).read_bytes())
        _complete(directory, settings, encoding, progress)
    return settings


def record_ranking(path: Path, ranking: Ranking, weights: Sequence[float]) -> None:
    """Give an index another ranking, for good: a new generation of the same files."""
    settings: dict[str, Any] = {}
    with write_artifact(path, "index", settings) as directory:
        old = open_artifact(path, "index")
        settings |= old.settings | {"ranking": ranking.settings() | {"weights": list(weights)}}
        link_files(old, directory)


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


# --- files ---------------------------------------------------------------------------------------------------
