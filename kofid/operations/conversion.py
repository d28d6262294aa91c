"""Files and models of other tools into kofid's, and back: the work of ``kofid convert``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kofid.formats.beir import SUBSET
from kofid.formats.convert import FindPassage, SourceFiles, Target, guess_target
from kofid.formats.convert import convert as convert_files
from kofid.retrieval.index import Index

if TYPE_CHECKING:
    from kofid.reader.fid.config import Variant
    from kofid.types import Passage


@dataclass(frozen=True)
class Conversion:
    """What was converted: the output, its format, and what each source holds."""

    output: Path
    format: str
    sources: Mapping[str, str]


def convert(
    sources: str | Sequence[str],
    output: str | Path,
    *,
    to: Target | Literal["reader"] | None = None,
    index: str | Path | None = None,
    subset: str = SUBSET,
    encoding: str | None = None,
    decoder: Path | None = None,
    tokenizer: str | None = None,
    variant: Variant | None = None,
    max_tokens: int | None = None,
    allow_pickle: bool = False,
    verify: bool = True,
) -> Conversion:
    """Convert files to ``output``, or the folder of a model to a reader.

    What each source holds is found out; ``to`` is guessed from the output's name. A run's passages come from ``index``. The
    rest but ``subset`` and ``encoding`` is for readers: see ``kofid.reader.fid.convert``. Raises KofidError.

    >>> import json, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "q.jsonl").write_text(json.dumps({"id": "1", "question": "?", "positive_ids": ["a"]}))
    ...     convert(folder + "/q.jsonl", folder + "/q.qrels").format
    'trec-qrels'
    """
    files = SourceFiles.of([sources] if isinstance(sources, str) else sources, encoding, subset)
    target = to or guess_target(Path(output), files)
    if target != "reader":
        convert_files(files, Path(output), target, _finder(Path(index), verify) if index is not None else None)
    else:
        folder = files.checkpoint()
        from kofid.reader.fid.config import Variant
        from kofid.reader.fid.convert import convert_checkpoint

        convert_checkpoint(
            folder,
            Path(output),
            decoder,
            variant=variant or Variant(),
            tokenizer=tokenizer,
            max_tokens=max_tokens,
            allow_pickle=allow_pickle,
        )
    return Conversion(Path(output), target, files.kinds)


def _finder(path: Path, verify: bool) -> FindPassage:
    """Return what finds a passage of an index by its id."""
    passages = Index.open(path, check_hashes=verify).passages

    def find(passage_id: str) -> Passage | None:
        position = passages.find(passage_id)
        return passages[position] if position is not None else None

    return find
