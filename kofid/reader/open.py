"""Readers opened by name: the registry of their kinds."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kofid.storage.artifacts import is_artifact, open_artifact, refuse_missing
from kofid.storage.bundled import resource
from kofid.types import Reader

if TYPE_CHECKING:
    from kofid.reader.fid.generation import Decoding


# Readers that ship with kofid, by name.
BUNDLED_READERS = {"span": "models/span", "t5": "models/fid-t5-mini"}


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


ReadingOptions = Writing


def open_reader(name: str, *, device: str = "auto", n_context: int = 10, writing: Writing | None = None) -> Reader:
    """Open a bundled reader by name, one that kofid trained, or a Hugging Face checkpoint: a T5, or any ForQuestionAnswering.

    ``writing`` is for readers that write. Raises InputError.
    """
    path = resource(BUNDLED_READERS[name]) if name in BUNDLED_READERS else Path(name)
    refuse_missing(path)
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
