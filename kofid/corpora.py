"""Indexes of people's own files, kept in the user's cache and refreshed by what changed since."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from kofid.errors import CorruptArtifactError, IncompatibleArtifactError, InputError
from kofid.formats.corpus import files_of, read_corpus
from kofid.formats.documents import is_document, shown
from kofid.language import say
from kofid.retrieval.build import build_index, update_index
from kofid.retrieval.index import Index
from kofid.storage.artifacts import open_artifact
from kofid.storage.bundled import resource
from kofid.storage.locks import OnWait, locked
from kofid.types import Passage, Progress, silent

# By path, as ``shown``, the size in bytes and the time of the last change in nanoseconds.
Stamps = dict[str, list[int]]


def corpus_index(
    sources: Sequence[str],
    *,
    cache: Path | None = None,
    progress: Progress = silent,
    skipped: list[str] | None = None,
    on_wait: OnWait = lambda message: None,
) -> Index:
    """Return the index of files and folders, made or brought up to date first.

    A document that changed is read anew alone; files of records are all read anew where one changed. What cannot be read
    is left out, its error appended to ``skipped``. While another process makes the same index this one waits, and
    tells ``on_wait`` so. Raises InputError where nothing can be read.
    """
    files = {shown(file): file for file in chain.from_iterable(map(files_of, sources))}
    stamps = {name: _stamp(file) for name, file in files.items()}
    name = hashlib.sha256(b"\n".join(sorted(os.fsencode(Path(s).resolve()) for s in sources))).hexdigest()[:16]
    cache = cache or _user_cache()
    path = cache / "corpora" / name
    unreadable = [] if skipped is None else skipped
    return _fresh(
        cache,
        path,
        lambda: _open(path),
        lambda index: index.artifact.settings.get("files") == stamps,
        lambda index: _refresh(path, index, files, stamps, progress, unreadable),
        on_wait,
    )


def demo_index(cache: Path | None = None, *, on_wait: OnWait = lambda message: None) -> Index:
    """Open the index of the demo corpus, building it in the user's cache the first time.

    While another process builds it this one waits, and tells ``on_wait`` so.
    """
    corpus = resource("demo/passages.jsonl")
    notes = {"corpus_sha256": hashlib.sha256(corpus.read_bytes()).hexdigest()}
    cache = cache or _user_cache()
    path = cache / "demo"
    return _fresh(
        cache,
        path,
        lambda: _open(path, thorough=True),  # a damaged cache is made again, not reported later
        lambda index: index.artifact.settings.get("corpus_sha256") == notes["corpus_sha256"],
        lambda _: build_index(path, read_corpus([str(corpus)]), notes=notes),
        on_wait,
    )


def _user_cache() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("kofid")


def _open(path: Path, *, thorough: bool = False) -> Index | None:
    """Open an index of the cache; None for one that is absent, of another version, or damaged: it is only a cache."""
    try:
        if thorough:
            open_artifact(path, "index", thorough=True)
        return Index.open(path)
    except (InputError, IncompatibleArtifactError, CorruptArtifactError):
        return None


def _fresh(
    cache: Path,
    path: Path,
    look: Callable[[], Index | None],
    is_fresh: Callable[[Index], bool],
    make: Callable[[Index | None], object],
    on_wait: OnWait,
) -> Index:
    """Return the index at ``path``, made first where it is not fresh; of several processes at once only one makes it."""
    index = look()
    if index is not None and is_fresh(index):
        return index
    lock = cache / "locks" / path.name
    lock.parent.mkdir(parents=True, exist_ok=True)
    with locked(lock, path, on_wait):
        index = look()  # again: another process may have made it meanwhile
        if index is None or not is_fresh(index):
            path.parent.mkdir(parents=True, exist_ok=True)
            make(index)
            index = Index.open(path)
        return index


def _refresh(
    path: Path, index: Index | None, files: dict[str, str], stamps: Stamps, progress: Progress, unreadable: list[str]
) -> None:
    """Bring the index of files to what these are now, by what changed where that is less work."""
    if index is not None:
        before: Stamps = index.artifact.settings.get("files", {})
        changed = [file for file, stamp in stamps.items() if before.get(file) != stamp]
        gone = [file for file in before if file not in stamps]
        if all(map(is_document, [*changed, *gone])) and len(changed) <= len(stamps) // 2:
            known = [file for file in gone if list(index.passages.of_article(file))]
            added = _read([files[name] for name in changed], unreadable)
            update_index(path, add=added, delete=known, notes={"files": stamps}, progress=progress)
            return
    try:
        passages = read_corpus(list(files.values()), skipped=unreadable)
        build_index(path, passages, notes={"files": stamps}, progress=progress)
    except InputError as error:
        raise InputError(
            "\n".join([*unreadable, str(error)])
        ) from error  # what could not be read is why there is nothing


def _stamp(file: str) -> list[int]:
    try:
        status = Path(file).stat()
    except OSError as error:
        raise InputError(say(f"{file}: 그런 파일이나 폴더가 없습니다", f"{file}: no such file or folder")) from error
    return [status.st_size, status.st_mtime_ns]


def _read(files: Sequence[str], unreadable: list[str]) -> Iterator[Passage]:
    """Yield the passages of documents, of each that can be read."""
    for file in files:
        try:
            yield from read_corpus([file], skipped=unreadable)
        except InputError as error:
            unreadable.append(str(error))
