"""How far a build has come, on disk for good, so that it can go on where it was interrupted."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kofid.errors import IncompatibleArtifactError
from kofid.language import say, setting
from kofid.retrieval.sparse.builder import PassageDigest, WrittenSegment
from kofid.storage.artifacts import JOURNAL
from kofid.types import Passage


class BuildJournal:
    """Which segments of a build are finished, and the digest of the passages in each.

    Opening it removes segments that were not finished; raises IncompatibleArtifactError when the interrupted build had
    other settings.
    """

    def __init__(self, directory: Path, settings: dict[str, Any]) -> None:
        self._path = directory / JOURNAL
        self._settings = settings
        self._segments: list[dict[str, Any]] = []
        if self._path.is_file():
            journal = json.loads(self._path.read_text(encoding="utf-8"))
            if journal["settings"] != settings:
                raise _other_settings(journal["settings"], settings)
            self._segments = journal["segments"]
        finished = {segment["name"] for segment in self._segments}
        for file in directory.glob("*.seg*"):
            if file.name.removesuffix(".toc") not in finished:
                file.unlink()

    @property
    def n_segments(self) -> int:
        """How many segments are finished."""
        return len(self._segments)

    def skip(self, passages: Iterator[Passage]) -> None:
        """Pass over the passages of the finished segments; raise IncompatibleArtifactError when they are not the same."""
        for segment in self._segments:
            digest = PassageDigest()
            for _ in range(segment["n_passages"]):
                passage = next(passages, None)
                if passage is not None:
                    digest.add(passage)
            if digest.hexdigest() != segment["digest"]:
                raise IncompatibleArtifactError(
                    say(
                        f"패시지가 멈춘 작업 때와 다릅니다 ({segment['name']}). {setting('resume')} 없이 처음부터 하세요.",
                        f"the passages differ from those of the interrupted build ({segment['name']}); "
                        f"start anew without {setting('resume')}",
                    )
                )

    def add(self, segment: WrittenSegment) -> None:
        """Note a finished segment, once its files are safe on disk."""
        for file in (segment.path, segment.path.with_name(segment.path.name + ".toc")):
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
        self._segments.append({"name": segment.path.name, "n_passages": segment.n_passages, "digest": segment.digest})
        unfinished = self._path.with_suffix(".new")
        with unfinished.open("w", encoding="utf-8") as journal:
            json.dump({"settings": self._settings, "segments": self._segments}, journal, ensure_ascii=False)
            journal.flush()
            os.fsync(journal.fileno())
        unfinished.replace(self._path)


def _other_settings(earlier: object, now: object) -> IncompatibleArtifactError:
    anew = setting("resume")
    return IncompatibleArtifactError(
        say(
            f"멈춘 작업은 다른 설정으로 시작했습니다.\n  그때: {earlier}\n  지금: {now}\n{anew} 없이 처음부터 하세요.",
            f"the interrupted build had other settings.\n  then: {earlier}\n  now:  {now}\nStart anew without {anew}.",
        )
    )
