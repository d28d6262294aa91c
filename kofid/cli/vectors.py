"""Vectors for an index that is there: all of them, or one process's share."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from kofid.cli import console
from kofid.errors import UsageError
from kofid.language import say

if TYPE_CHECKING:
    from kofid.retrieval.dense.base import NamedEncoder
    from kofid.retrieval.settings import IndexSettings


def open_named_encoder(dense: str, device: str) -> NamedEncoder:
    """Open the encoder of --dense, once it is sure that faiss is there."""
    from kofid.retrieval.dense.encoders import open_encoder
    from kofid.retrieval.dense.faiss_index import import_faiss

    import_faiss()  # said now, not when all is encoded
    console.calm_libraries()
    return open_encoder(dense, device)


def give_vectors(
    path: Path, dense: str, faiss: str, shard: str | None, device: str, dry_run: bool, json_output: bool
) -> IndexSettings | None:
    """Give an index vectors, or this process's share of them; return its settings once it has all."""
    from kofid.retrieval.build import add_vectors

    encoder, share = open_named_encoder(dense, device), _share(shard)
    if dry_run:
        _estimate_vectors(path, encoder, faiss, json_output)
        return None
    settings = add_vectors(path, encoder, faiss=faiss, share=share, progress=console.progress)
    if settings is None:
        console.note(
            say(
                f"{path}: 조각 {share[0] + 1}/{share[1]}을(를) 만들었습니다. 나머지가 다 되면 색인이 끝납니다.",
                f"{path}: encoded share {share[0] + 1}/{share[1]}; the index is finished when the others are",
            )
        )
        return None
    return settings


def _share(shard: str | None) -> tuple[int, int]:
    """Return (i, n) of ``I/N``, i from 0; of the processes that torchrun started, where nothing is given."""
    if shard is None:
        return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    i, mark, n = shard.partition("/")
    if not mark or not i.isdecimal() or not n.isdecimal() or not 1 <= int(i) <= int(n):
        raise UsageError(say(f"--shard {shard}: 1/4처럼 씁니다", f"--shard {shard}: write it as 1/4"))
    return int(i) - 1, int(n)


def _estimate_vectors(path: Path, encoder: NamedEncoder, faiss: str, json_output: bool) -> None:
    """Print how long vectors will take, by those of some passages, and how large they will be."""
    from kofid.retrieval.dense.faiss_index import choose_factory, estimate_bytes
    from kofid.retrieval.index import Index

    passages = Index.open(path, check_hashes=False).passages
    n = len(passages)
    sample = [passages[i] for i in range(0, n, max(1, n // 256))]
    encoder.encoder.encode_passages(sample[:8])
    start = time.perf_counter()
    encoder.encoder.encode_passages(sample)
    seconds = (time.perf_counter() - start) * n / len(sample)
    factory = choose_factory(faiss, n)
    size = estimate_bytes(factory, n, encoder.encoder.dimension)
    if console.wants_json(json_output):
        found = {"n_passages": n, "estimated_seconds": round(seconds), "faiss": factory, "estimated_bytes": size}
        console.print_json(found)
    else:
        console.note(
            say(
                f"패시지 {n:,}개, 약 {seconds:,.0f}초, {factory} {size / 2**20:,.0f} MiB",
                f"{n:,} passages, about {seconds:,.0f} s, {factory} {size / 2**20:,.0f} MiB",
            )
        )
