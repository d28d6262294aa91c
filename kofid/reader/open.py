"""Readers opened by name: the one place where their kinds are told apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from kofid.errors import CorruptArtifactError, IncompatibleArtifactError, InputError, UsageError
from kofid.language import say, setting
from kofid.reader.fid.config import ANSWER_TOKENS, PASSAGE_TOKENS, ReadingOptions
from kofid.reader.kinds import ReaderKind
from kofid.storage.artifacts import is_artifact, open_artifact, refuse_missing
from kofid.storage.bundled import resource
from kofid.types import Reader

if TYPE_CHECKING:
    from kofid.reader.confidence import Confidence
    from kofid.reader.fid.reader import FiDReader

R = TypeVar("R")
# Readers that ship with kofid, by name, and the one that answers where none is named.
BUNDLED_READERS = {"joint": "models/joint", "span": "models/span", "t5": "models/fid-t5-mini"}
DEFAULT_READER = "joint"
# Passages that a reader is given where nothing is said: one that ranks them itself looks further down.
_PASSAGES, _RANKED_PASSAGES = 10, 20


@dataclass(frozen=True)
class _Source:
    """Where a reader is: a folder or hub name, its kind, whether kofid wrote it, and the settings that it keeps then."""

    name: str
    kind: ReaderKind
    by_kofid: bool = False
    settings: dict[str, Any] = field(default_factory=dict)

    def number(self, name: str, default: int) -> int:
        """Return a setting that must be a positive number; raise CorruptArtifactError."""
        value = self.settings.get(name, default)
        if type(value) is not int or value < 1:
            raise _corrupt(f"{self.name}: {name} {value!r}")
        return value


def open_reader(
    name: str, *, device: str = "auto", n_context: int = 10, options: ReadingOptions | None = None
) -> Reader:
    """Open a bundled reader by name, one that kofid trained, or a Hugging Face checkpoint: a T5, or any ForQuestionAnswering.

    ``options`` are for readers that write, see ``kofid.reader.kinds.READING_SETTINGS``. Raises InputError, and for what
    kofid wrote CorruptArtifactError.

    >>> from kofid.types import Hit, Passage
    >>> hit = Hit(Passage("1", "무정", "《무정》은 이광수가 1917년에 썼다."), 1.0)
    >>> open_reader("span").read("《무정》은 누가 썼나?", [hit])[0].text
    '이광수'
    """
    source = _find(name)
    return _OPENERS[source.kind](source, device, n_context, options or ReadingOptions())


def reader_kind(name: str) -> ReaderKind:
    """Return the kind of the reader that ``open_reader`` would open; raise InputError.

    >>> reader_kind("t5")
    <ReaderKind.T5: 't5'>
    """
    return _find(name).kind


def passages_to_read(name: str) -> int:
    """Return how many passages a reader is given where nothing else is said; raise InputError.

    >>> passages_to_read("joint"), passages_to_read("span")
    (20, 10)
    """
    return _RANKED_PASSAGES if reader_kind(name) is ReaderKind.JOINT else _PASSAGES


def _find(name: str) -> _Source:
    path = resource(BUNDLED_READERS[name]) if name in BUNDLED_READERS else Path(name)
    refuse_missing(path)
    if not is_artifact(path) and (not path.exists() or (path / "config.json").is_file()):
        return _Source(str(path), _kind_of_checkpoint(path))
    artifact = open_artifact(path, "reader")
    kind = artifact.settings.get("reader", ReaderKind.T5)
    if kind not in list(ReaderKind):
        kinds = ", ".join(ReaderKind)
        raise IncompatibleArtifactError(
            say(
                f"{path}: 이 kofid가 모르는 리더 {kind!r}입니다 (아는 것: {kinds})",
                f"{path}: a reader of kind {kind!r}, which this kofid does not know (it knows {kinds})",
            )
        )
    return _Source(str(artifact.directory), ReaderKind(kind), True, artifact.settings)


def _kind_of_checkpoint(path: Path) -> ReaderKind:
    """Return the kind of reader that a Hugging Face folder holds, by its configuration: extractive or t5."""
    try:
        architectures = json.loads((path / "config.json").read_text(encoding="utf-8")).get("architectures") or [""]
        extractive = str(architectures[0]).endswith("ForQuestionAnswering")
    except (OSError, ValueError, AttributeError, LookupError, TypeError, RecursionError):
        return ReaderKind.T5
    return ReaderKind.EXTRACTIVE if extractive else ReaderKind.T5


# --- how each kind is opened -----------------------------------------------------------------------------------


def _open_span(source: _Source, device: str, n_context: int, options: ReadingOptions) -> Reader:
    from kofid.reader.span.reader import SpanReader

    return SpanReader.load(Path(source.name))


def _open_joint(source: _Source, device: str, n_context: int, options: ReadingOptions) -> Reader:
    from kofid.reader.joint.confidence import FORMAT_VERSION, Settings
    from kofid.reader.joint.reader import MAX_WINDOWS, JointReader

    stored = source.settings.get("joint")
    if not isinstance(stored, dict):
        raise _corrupt(f"{source.name}: joint {stored!r}")
    if stored.get("format_version") != FORMAT_VERSION:
        version, train = stored.get("format_version"), f"kofid train-reader {setting('reader', 'joint')}"
        raise IncompatibleArtifactError(
            say(
                f"{source.name}의 joint 리더는 형식 {version}인데 이 kofid는 형식 {FORMAT_VERSION}을 읽습니다. 다시 훈련하세요: {train}",
                f"joint reader at {source.name} has format {version}, this kofid reads {FORMAT_VERSION}; train it anew: {train}",
            )
        )
    try:
        settings = Settings.parse(stored)
    except (KeyError, TypeError, ValueError) as error:
        raise _corrupt(f"{source.name}: joint {stored!r}") from error
    return JointReader.load(Path(source.name), settings, max_windows=options.n_windows or MAX_WINDOWS)


def _open_extractive(source: _Source, device: str, n_context: int, options: ReadingOptions) -> Reader:
    from kofid.devices import choose_device
    from kofid.reader.extractive.reader import ExtractiveReader

    place = choose_device(device)
    return _sound(source, lambda: ExtractiveReader.load(source.name, device=place, n_context=n_context))


def _open_fusion(source: _Source, device: str, n_context: int, options: ReadingOptions) -> FiDReader:
    from kofid.devices import choose_device, reading_dtype
    from kofid.reader.fid.config import Decoding
    from kofid.reader.fid.reader import FiDReader

    place = choose_device(device)
    dtype = reading_dtype(options.dtype, place)
    reader = _sound(
        source,
        lambda: FiDReader.load(
            source.name,
            device=place,
            dtype=dtype,
            n_context=n_context,
            max_tokens=source.number("max_tokens", PASSAGE_TOKENS),
            confidence=_confidence(source),
        ),
    )
    default = Decoding.for_variant(reader.model.variant, source.number("answer_tokens", ANSWER_TOKENS))
    if options.int8 != "none":
        from kofid.reader.fid.int8 import quantize

        quantize(reader.model, encoder=options.int8 == "all")
    return reader.with_options(decoding=options.decoding(default))


def _open_single(source: _Source, device: str, n_context: int, options: ReadingOptions) -> Reader:
    from kofid.reader.fid.single import SingleReader

    weight = source.settings.get("retrieval_weight", 0.0)
    if type(weight) not in (int, float):
        raise _corrupt(f"{source.name}: retrieval_weight {weight!r}")
    return SingleReader(_open_fusion(source, device, n_context, options), retrieval_weight=weight)


_Opener = Callable[[_Source, str, int, ReadingOptions], Reader]
_OPENERS: dict[ReaderKind, _Opener] = {
    ReaderKind.T5: _open_fusion,
    ReaderKind.SKT: _open_fusion,
    ReaderKind.SINGLE: _open_single,
    ReaderKind.EXTRACTIVE: _open_extractive,
    ReaderKind.SPAN: _open_span,
    ReaderKind.JOINT: _open_joint,
}


def _sound(source: _Source, load: Callable[[], R]) -> R:
    """Return what ``load`` returns; where kofid wrote the files, what cannot be opened is corrupt."""
    try:
        return load()
    except (InputError, UsageError) as error:
        if source.by_kofid:
            raise CorruptArtifactError(str(error)) from error
        raise


def _confidence(source: _Source) -> Confidence | None:
    """Return the confidence that was fitted to a reader; raise CorruptArtifactError for one that makes no sense."""
    from kofid.reader.confidence import Confidence

    stored = source.settings.get("confidence")
    if stored is None:
        return None
    try:
        return Confidence.parse(stored)
    except (TypeError, ValueError) as error:
        raise _corrupt(f"{source.name}: confidence {stored!r}") from error


def _corrupt(what: str) -> CorruptArtifactError:
    return CorruptArtifactError(
        say(
            f"{what}: 읽을 수 없는 설정입니다. 리더를 다시 훈련하세요.",
            f"{what}: makes no sense; train the reader anew",
        )
    )
