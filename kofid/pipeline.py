"""Question -> hits -> reranked hits -> answers: where retrieval and readers meet."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kofid.errors import CorruptArtifactError, IncompatibleArtifactError, InputError
from kofid.korean.text import clean, sentence_spans
from kofid.language import say
from kofid.reader.confidence import SURE
from kofid.retrieval import fusion as fuse
from kofid.retrieval.build import Encoding, build_index
from kofid.retrieval.index import Index
from kofid.storage.artifacts import artifact_kind, is_artifact, open_artifact
from kofid.storage.bundled import resource
from kofid.types import Answer, Example, Hit, Passage, Reader

if TYPE_CHECKING:
    from kofid.reader.fid.generation import Decoding
    from kofid.retrieval.dense.transformer import Encoder
    from kofid.retrieval.reranker import CrossEncoder

Search = Callable[[str, int], list[Hit]]

# Readers that ship with kofid, by the names that --reader takes.
BUNDLED_READERS = {"span": "models/span", "t5": "models/fid-t5-mini"}
# The encoder that ships with kofid, and the name that --dense takes for it.
BUNDLED_ENCODER, _ENCODER = "default", "models/retriever"


@dataclass(frozen=True)
class Reply:
    """What comes back for a question: candidate answers and the passages read, both best first.

    ``corrected`` is the question as it was searched for and read, where it was spelled wrongly; ``reading_seconds`` is
    what the reader took, ``seconds`` all of it.
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
        places = {passage_id: place for place, passage_id in enumerate(first)}
        return sorted(self.hits, key=lambda hit: places.get(hit.passage.id, len(first)))


class NoReader:
    """Gives no answers: for those who want the passages alone."""

    def read(self, question: str, hits: Sequence[Hit]) -> list[Answer]:
        """Return nothing."""
        return []


@dataclass(frozen=True)
class Pipeline:
    """An index and a reader. ``search`` is how passages are found; ``correct``: misspelled questions set right."""

    index: Index
    reader: Reader
    search: Search
    k: int = 10
    correct: bool = True

    def ask(self, question: str) -> Reply:
        """Return answers to ``question``; no hits and no answers when nothing in it is known to the index."""
        begun = time.perf_counter()
        question = clean(question).strip()
        if self.correct:
            hits, corrected = forgiving_search(self.index, self.search, question, self.k)
        else:
            hits, corrected = self.search(question, self.k), None
        start = time.perf_counter()
        answers = self.reader.read(corrected or question, hits)
        end = time.perf_counter()
        return Reply(question, answers, hits, corrected, end - start, end - begun)

    def likely_sentence(self, question: str, passage: Passage) -> tuple[int, int]:
        """Return character offsets of the passage's sentence that shares most terms with the question."""
        asked = self.index.terms(question)
        spans = sentence_spans(passage.text) or [(0, len(passage.text))]
        overlaps = [len(asked & self.index.terms(passage.text[a:b])) for a, b in spans]
        return spans[overlaps.index(max(overlaps))]

    def sentence_at(self, passage: Passage, position: int) -> tuple[int, int]:
        """Return character offsets of the passage's sentence that holds ``position``."""
        spans = sentence_spans(passage.text)
        return next(((a, b) for a, b in spans if a <= position < b), (0, len(passage.text)))


def forgiving_search(index: Index, search: Search, question: str, k: int) -> tuple[list[Hit], str | None]:
    """Search for ``question``, or for what it was probably meant as if its terms find more; return that, too."""
    from kofid.retrieval.correct import correct

    correction = correct(index, question)
    if correction is not None:
        before, after = index.search(question, 1), index.search(correction.text, 1)
        if after and (not before or after[0].score >= before[0].score):
            return search(correction.text, k), correction.text
    return search(question, k), None


@dataclass(frozen=True)
class Writing:
    """How a reader that writes its answers does so.

    ``dtype`` of its numbers, ``int8`` products ("none", "decoder", "all"), ``n_beams`` (0: the reader's own number); a
    ``temperature`` above 0 samples from the likeliest tokens that make up ``top_p``; ``from_passages`` says whether answers
    must stand in a passage (None: as is the reader's own).
    """

    dtype: str = "float32"
    int8: str = "none"
    n_beams: int = 0
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 1
    from_passages: bool | None = None

    def decoding(self, own: Decoding) -> Decoding:
        """Return how a reader is to decode whose ``own`` way is another."""
        sample = self.temperature > 0
        return replace(
            own,
            n_beams=self.n_beams or (1 if sample else own.n_beams),
            sample=sample,
            temperature=self.temperature or 1.0,
            top_p=self.top_p,
            seed=self.seed,
            from_passages=own.from_passages if self.from_passages is None else self.from_passages,
        )


def open_reader(name: str, *, device: str = "auto", n_context: int = 10, writing: Writing | None = None) -> Reader:
    """Open a bundled reader by name, one that kofid trained, or a Hugging Face checkpoint: a T5, or any ForQuestionAnswering.

    ``writing`` is for readers that write. Raises InputError.
    """
    path = resource(BUNDLED_READERS[name]) if name in BUNDLED_READERS else Path(name)
    _refuse_missing(path)
    settings: dict[str, Any] = {}
    if is_artifact(path) or path.exists() and not (path / "config.json").is_file():
        artifact = open_artifact(path, "reader")
        name, settings = str(artifact.directory), artifact.settings
    kind = settings.get("reader") or _kind_of_checkpoint(path)
    if kind == "span":
        from kofid.reader.span.reader import SpanReader

        return SpanReader.load(Path(name))
    from kofid.devices import choose_device, reading_dtype

    place = choose_device(device)
    if kind == "extractive":
        from kofid.reader.extractive.reader import ExtractiveReader

        return ExtractiveReader.load(name, device=place, n_context=n_context)
    from kofid.reader.confidence import Confidence
    from kofid.reader.fid.inputs import PASSAGE_TOKENS
    from kofid.reader.fid.reader import FiDReader

    how = writing or Writing()
    reader = FiDReader.load(
        name,
        device=place,
        dtype=reading_dtype(how.dtype, place),
        n_context=n_context,
        max_tokens=settings.get("max_tokens", PASSAGE_TOKENS),
        confidence=Confidence(**settings["confidence"]) if "confidence" in settings else None,
    )
    reader.decoding = how.decoding(reader.decoding)
    if how.int8 != "none":
        from kofid.reader.fid.int8 import use_int8

        use_int8(reader.model, encoder=how.int8 == "all")
    if kind == "single":
        from kofid.reader.fid.single import SingleReader

        return SingleReader(reader, retrieval_weight=settings.get("retrieval_weight", 0.0))
    return reader


def _kind_of_checkpoint(path: Path) -> str:
    """Return the kind of reader that a Hugging Face folder holds, by its configuration: extractive or t5."""
    try:
        names = json.loads((path / "config.json").read_text(encoding="utf-8")).get("architectures") or [""]
    except (OSError, ValueError):
        return "t5"
    return "extractive" if str(names[0]).endswith("ForQuestionAnswering") else "t5"


def _refuse_missing(path: Path) -> None:
    """Raise InputError for a path that is not there, unless it may be a name on a model hub (OWNER/NAME)."""
    if not path.exists() and (path.is_absolute() or path.parts[0] in ("..", ".") or len(path.parts) > 2):
        raise InputError(say(f"{path}: 그런 디렉터리가 없습니다", f"{path}: no such directory"))


def open_encoder(name: str, device: str = "auto") -> Encoding:
    """Open an encoder that kofid trained (``default``: the bundled one), or any Hugging Face encoder.

    With it come its name and its fingerprint. Raises InputError.
    """
    from kofid.devices import choose_device
    from kofid.retrieval.dense.transformer import load_encoder, weights_fingerprint

    bundled = name == BUNDLED_ENCODER
    path = resource(_ENCODER) if bundled else Path(name)
    if is_artifact(path):
        artifact = open_artifact(path, "encoder")
        encoder = load_encoder(str(artifact.directory), choose_device(device))
        return Encoding(encoder, name if bundled else str(path.resolve()), artifact.fingerprint)
    _refuse_missing(path)
    if path.exists() and not (path / "config.json").is_file():
        raise InputError(say(f"{path}: 모델이 아닙니다", f"{path}: not a model"))
    encoder = load_encoder(name, choose_device(device))
    return Encoding(encoder, str(path.resolve()) if path.exists() else name, weights_fingerprint(encoder))


def open_index_encoder(index: Index, name: str | None = None, device: str = "auto") -> Encoder:
    """Open the encoder that made the index's vectors; raise IncompatibleArtifactError when it has changed."""
    settings = index.dense_settings
    _ = index.dense  # opened before the encoder takes its time: see Index
    encoding = open_encoder(name or settings["encoder"], device)
    if encoding.fingerprint != settings["fingerprint"]:
        raise IncompatibleArtifactError(
            say(
                f"벡터를 만든 인코더와 다릅니다.\n  색인: {settings['fingerprint']}\n  지금: {encoding.fingerprint}\n색인을 다시 만드세요.",
                f"not the encoder that made the vectors.\n  index: {settings['fingerprint']}\n  here:  {encoding.fingerprint}\n"
                "Build the index again.",
            )
        )
    return encoding.encoder


def dense_search(
    index: Index, mode: str, *, device: str = "auto", fusion: fuse.Fusion | None = None, depth: int = 200
) -> Search:
    """Return the search called ``mode`` (dense, sequential or cross) over an index with vectors."""
    from kofid.devices import choose_device

    encoder = open_index_encoder(index, device=device)
    place = choose_device(device)
    if place.type != "cpu":
        index.move_vectors(place)
    if mode == "dense":
        return lambda question, k: index.search_dense(question, k, encoder)
    if mode == "sequential":
        return lambda question, k: index.search_sequential(question, k, encoder, max(depth, k))
    return lambda question, k: index.search_cross(question, k, encoder, fusion, depth)


def reorder_example(
    index: Index, mode: str, *, device: str = "auto", fusion: fuse.Fusion | None = None
) -> Callable[[Example], list[Hit]]:
    """Return a function that orders an example's own passages anew, whether or not the index holds them.

    ``sequential`` orders by inner product; ``cross`` fuses it with the score that the example's hits came with.
    """
    encoder = open_index_encoder(index, device=device)
    fused = fusion or fuse.Fusion()

    def reorder(example: Example) -> list[Hit]:
        if not example.hits:
            return []
        question = encoder.encode_questions([example.question.text])[0]
        scores = encoder.encode_passages([hit.passage for hit in example.hits]) @ question
        if mode == "cross":
            scores = fused(scores, np.array([hit.score for hit in example.hits], dtype=np.float32))
        order = np.argsort(-scores, kind="stable")
        return [Hit(example.hits[i].passage, float(scores[i]), mode) for i in order]

    return reorder


def open_cross_encoder(name: str, device: str = "auto", *, new_head: bool = False) -> CrossEncoder:
    """Open a reranker that kofid trained, or any Hugging Face sequence classifier of one or two outputs; raise InputError.

    With ``new_head`` also an encoder, which gets a classifier to train.
    """
    from kofid.devices import choose_device
    from kofid.retrieval.reranker import CrossEncoder

    path = Path(name)
    _refuse_missing(path)
    directory = name
    if is_artifact(path):
        kind = "encoder" if new_head and artifact_kind(path) == "encoder" else "reranker"
        directory = str(open_artifact(path, kind).directory)
    return CrossEncoder.load(directory, device=choose_device(device), new_head=new_head)


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
