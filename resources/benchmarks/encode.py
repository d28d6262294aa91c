"""How fast passages become vectors: ``python resources/benchmarks/encode.py ENCODER PASSAGES.jsonl [--limit N] [--runs 3]``.

ENCODER is a folder that both kofid and sentence-transformers open (``default``: the bundled one; ``fresh:mini``: an untrained
BERT). Both encode the same texts in one process, in turn; prints a JSON object: passages a second of each (the median run),
their ratio, and how far apart the vectors are. With ``--bf16`` also encoders with layers in bfloat16: kofid under autocast, and
both with bfloat16 weights; then ``speedup`` is over the same package in 32 bits, and ``least_cosine`` between the two's vectors.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from kofid.formats import read_corpus
from kofid.retrieval.dense.encoders import load_encoder
from kofid.storage.artifacts import is_artifact, open_artifact
from kofid.storage.bundled import resource
from kofid.training.encoder import fresh_encoder
from kofid.types import Passage


def folder_of(encoder: str, passages: list[Passage], temporary: str) -> str:
    """Return the folder of an encoder; a fresh one is written to ``temporary``."""
    if encoder.startswith("fresh:"):
        fresh_encoder(encoder.removeprefix("fresh:"), [p.text for p in passages]).save(Path(temporary))
        return temporary
    path = resource("models/retriever") if encoder == "default" else Path(encoder)
    return str(open_artifact(path, "encoder").directory if is_artifact(path) else path)


def systems(folder: str, passages: list[Passage], options: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    """Return what is measured, by name."""
    from sentence_transformers import SentenceTransformer

    texts = [f"{p.title} {p.text}" for p in passages]

    def ours(dtype: torch.dtype, autocast: bool = False) -> Callable[[], Any]:
        encoder = load_encoder(folder)
        encoder.model.to(dtype)

        def encode() -> Any:
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                return encoder.encode_passages(passages)

        return encode

    def theirs(dtype: torch.dtype) -> Callable[[], Any]:
        model = SentenceTransformer(folder, device="cpu").to(dtype)
        return lambda: model.encode(texts, batch_size=options.batch_size, convert_to_tensor=True).float().numpy()

    encodes = {"kofid": ours(torch.float32), "sentence-transformers": theirs(torch.float32)}
    if options.bf16:
        encodes["kofid bf16 autocast"] = ours(torch.float32, autocast=True)
        encodes["kofid bf16"] = ours(torch.bfloat16)
        encodes["sentence-transformers bf16"] = theirs(torch.bfloat16)
    return encodes


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("encoder")
    parser.add_argument("passages", nargs="+")
    parser.add_argument("--limit", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=256, help="of sentence-transformers")
    parser.add_argument("--bf16", action="store_true")
    options = parser.parse_args()
    passages = list(islice(read_corpus(options.passages), options.limit))
    with TemporaryDirectory() as temporary:
        encodes = systems(folder_of(options.encoder, passages, temporary), passages, options)
    took: dict[str, list[float]] = {name: [] for name in encodes}
    vectors: dict[str, Any] = {}
    for _ in range(options.runs):
        for name, encode in encodes.items():
            start = time.perf_counter()
            vectors[name] = encode()
            took[name].append(time.perf_counter() - start)
    rates = {name: len(passages) / statistics.median(seconds) for name, seconds in took.items()}
    report: dict[str, Any] = {"n_passages": len(passages), **{name: round(rate, 1) for name, rate in rates.items()}}
    report["times_faster"] = round(rates["kofid"] / rates["sentence-transformers"], 2)
    report["largest_difference"] = float(np.abs(vectors["kofid"] - vectors["sentence-transformers"]).max())
    if options.bf16:
        pairs = [(name, name.partition(" ")[0]) for name in encodes if "bf16" in name]
        report["speedup"] = {name: round(rates[name] / rates[exact], 2) for name, exact in pairs}
        report["least_cosine"] = {name: least_cosine(vectors[name], vectors[exact]) for name, exact in pairs}
    print(json.dumps(report))


def least_cosine(vectors: Any, others: Any) -> float:
    """Return the least cosine between vectors of the same texts."""
    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(others, axis=1)
    return round(float(((vectors * others).sum(1) / norms).min()), 5)


if __name__ == "__main__":
    main()
