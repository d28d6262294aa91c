"""Indexes of people's own files, kept in the user's cache and refreshed by what changed since."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from kofid.errors import CorruptArtifactError, IncompatibleArtifactError, InputError
from kofid.formats.corpus import files_of, read_corpus
from kofid.formats.documents import is_document
from kofid.language import say
from kofid.retrieval.build import build_index, update_index
from kofid.retrieval.index import Index
from kofid.storage.artifacts import open_artifact
from kofid.storage.bundled import resource
from kofid.types import Passage, Progress, silent

# By path, the size in bytes and the time of the last change in nanoseconds.
Stamps = dict[str, list[int]]


def shelved_index(
    sources: Sequence[str], *, cache: Path | None = None, progress: Progress = silent, skipped: list[str] | None = None
) -> Index:
    """Return the index of files and folders, made or brought up to date first.

    A document that changed is read anew alone; files of records are all read anew where one changed. What cannot be read
    is left out, its error appended to ``skipped``. Raises InputError where nothing can be read.
    """
    from platformdirs import user_cache_path

    stamps = _stamps(sources)
    name = hashlib.sha256("\n".join(sorted(str(Path(s).resolve()) for s in sources)).encode()).hexdigest()[:16]
    path = (cache or user_cache_path("kofid")) / "corpora" / name
    bad = [] if skipped is None else skipped
    try:
        index = Index.open(path)
    except (InputError, IncompatibleArtifactError, CorruptArtifactError):
        index = None  # absent, of another version, or damaged: it is only a cache
    if index is not None:
        before: Stamps = index.artifact.settings.get("files", {})
        if before == stamps:
            return index
        changed = [file for file, stamp in stamps.items() if before.get(file) != stamp]
        gone = [file for file in before if file not in stamps]
        if all(map(is_document, [*changed, *gone])) and len(changed) <= len(stamps) // 2:
            known = [file for file in gone if list(index.passages.of_article(file))]
            added = _read(changed, bad)
            update_index(path, add=added, delete=known, notes={"files": stamps}, progress=progress)
            return Index.open(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        build_index(path, read_corpus(list(stamps), skipped=bad), notes={"files": stamps}, progress=progress)
    except InputError as error:
        raise InputError("\n".join([*bad, str(error)])) from error  # what could not be read is why there is nothing
    return Index.open(path)


def _stamps(sources: Sequence[str]) -> Stamps:
    found: Stamps = {}
    for file in chain.from_iterable(map(files_of, sources)):
        try:
            status = Path(file).stat()
        except OSError as error:
            raise InputError(
                say(f"{file}: 그런 파일이나 폴더가 없습니다", f"{file}: no such file or folder")
            ) from error
        found[file] = [status.st_size, status.st_mtime_ns]
    return found


def _read(files: Sequence[str], skipped: list[str]) -> Iterator[Passage]:
    """Yield the passages of documents, of each that can be read."""
    for file in files:
        try:
            yield from read_corpus([file], skipped=skipped)
        except InputError as error:
            skipped.append(str(error))


def demo_index(cache: Path | None = None) -> Index:
    """Open the index of the demo corpus, building it in the user's cache the first time."""
    from platformdirs import user_cache_path

    corpus = resource("demo/passages.jsonl")
    notes = {"corpus_sha256": hashlib.sha256(corpus.read_bytes()).hexdigest()}
    path = (cache or user_cache_path("kofid")) / "demo"
    try:
        open_artifact(path, "index", thorough=True)  # a damaged cache is made again, not reported later
        index = Index.open(path)
        if index.artifact.settings.get("corpus_sha256") == notes["corpus_sha256"]:
            return index
    except (InputError, IncompatibleArtifactError, CorruptArtifactError):
        pass  # absent, of another version, or damaged: it is only a cache
    from kofid.formats import read_corpus

    build_index(path, read_corpus([str(corpus)]), notes=notes)
    return Index.open(path)
