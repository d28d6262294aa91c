"""How fast vectors are searched: ``python resources/benchmarks/vectors.py QUESTIONS PASSAGES... [--limit 250000] [--folder DIR]``.

Passages become vectors by an encoder (``--encoder``, by default the bundled one); each kind of index is built of them, written
and opened as kofid does. Prints a JSON object for each kind: how long it took to build, the size of its file, milliseconds a
question, one at a time in one thread, to find the best ``-k`` (the median of ``--rounds``, in which the kinds take turns, then
the median and the 99th percentile over the questions), and recall@20: the share of the 20 nearest passages, by exact search,
that are among those found. ``HNSW32/96`` searches with efSearch 96 in place of the one that kofid sets. With ``--folder``
vectors and indexes are kept there, and taken from there the next time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from kofid.formats import read_corpus, read_questions
from kofid.retrieval.dense.base import Vectors
from kofid.retrieval.dense.encoders import open_encoder
from kofid.retrieval.dense.faiss_index import DenseIndex, import_faiss
from kofid.retrieval.dense.shards import SHARD

NEAREST = 20


def encode(options: argparse.Namespace, folder: Path) -> Vectors:
    """Return the passages' vectors, mapped from ``folder``, where they are kept."""
    path = folder / "vectors.npy"
    if not path.is_file():
        encoder = open_encoder(options.encoder).encoder
        passages = islice(read_corpus(options.passages), options.limit)
        shards = iter(lambda: list(islice(passages, SHARD)), [])
        np.save(path, np.concatenate([encoder.encode_passages(shard) for shard in shards]))
    vectors: Vectors = np.load(path, mmap_mode="r")
    return vectors


def shards_of(vectors: Vectors) -> Iterator[Vectors]:
    """Yield vectors as an index's shards hold them."""
    return (vectors[start : start + SHARD] for start in range(0, len(vectors), SHARD))


def open_kind(kind: str, vectors: Vectors, folder: Path) -> tuple[DenseIndex, float]:
    """Return an index opened from its file, built if it is not there, and the seconds that building took (or 0)."""
    factory, _, width = kind.partition("/")
    path, seconds = folder / f"{factory}.faiss", 0.0
    if not path.is_file():
        start = time.perf_counter()
        built = DenseIndex.build(shards_of(vectors), vectors.shape[1], factory)
        seconds = time.perf_counter() - start
        built.save(path)
        del built
    return (DenseIndex.load(path, ef_search=int(width)) if width else DenseIndex.load(path)), seconds


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("questions")
    parser.add_argument("passages", nargs="+")
    parser.add_argument("--encoder", default="default")
    parser.add_argument("--limit", type=int, default=250_000)
    parser.add_argument("--kinds", default="Flat,HNSW32,SQ8")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("-k", type=int, default=NEAREST)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    import_faiss().omp_set_num_threads(1)
    with TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        vectors = encode(options, folder)
        questions = open_encoder(options.encoder).encoder.encode_questions(
            [question.text for question in read_questions(options.questions)]
        )
        for figures in measure(options.kinds.split(","), vectors, questions, options.k, options.rounds, folder):
            print(json.dumps(figures), flush=True)


def measure(
    kinds: list[str], vectors: Vectors, questions: Vectors, k: int, rounds: int, folder: Path
) -> Iterator[dict[str, Any]]:
    """Yield the figures of each kind; the first of those is exact search."""
    kinds = list(dict.fromkeys(chain(["Flat"], kinds)))
    indexes: dict[str, DenseIndex] = {}
    seconds: dict[str, float] = {}
    for kind in kinds:
        indexes[kind], seconds[kind] = open_kind(kind, vectors, folder)
    took: dict[str, list[list[float]]] = {kind: [] for kind in kinds}
    hits: dict[str, list[set[int]]] = {}
    for _ in range(rounds):
        for kind, index in indexes.items():
            index.search(questions[:1], k)
            took[kind].append([])
            hits[kind] = []
            for question in questions:
                start = time.perf_counter()
                best = index.search(question[None], k)[0]
                took[kind][-1].append(1000 * (time.perf_counter() - start))
                hits[kind].append({position for position, _ in best})
    exact = [{p for p, _ in row} for row in indexes["Flat"].search(questions, NEAREST)]
    for kind in kinds:
        each = [statistics.median(times) for times in zip(*took[kind], strict=True)]
        cuts = statistics.quantiles(each, n=100, method="inclusive")
        recall = np.mean([len(a & b) / len(a) for a, b in zip(exact, hits[kind], strict=True)])
        yield {
            "kind": kind,
            "n_vectors": len(vectors),
            "questions": len(questions),
            "k": k,
            "build_s": round(seconds[kind], 1),
            "file_mb": (folder / f"{kind.partition('/')[0]}.faiss").stat().st_size >> 20,
            "p50_ms": round(cuts[49], 3),
            "p99_ms": round(cuts[98], 3),
            "recall@20": round(float(recall), 4),
        }


if __name__ == "__main__":
    main()
