"""How fast passages become vectors: ``python resources/benchmarks/encode.py ENCODER PASSAGES.jsonl [--limit N] [--runs 3]``.

ENCODER is a folder that both kofid and sentence-transformers open (``default``: the bundled one). Both encode the same texts
in one process, in turn; prints a JSON object: passages a second of each (the median run), their ratio, and how far apart the
vectors are.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from itertools import islice
from typing import Any

import numpy as np

from kofid.artifacts import is_artifact, open_artifact
from kofid.bundled import resource
from kofid.formats import read_corpus
from kofid.retrieval.encoder import load_encoder


def main() -> None:
    """Measure."""
    from pathlib import Path

    from sentence_transformers import SentenceTransformer

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("encoder")
    parser.add_argument("passages", nargs="+")
    parser.add_argument("--limit", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    path = resource("models/retriever") if options.encoder == "default" else Path(options.encoder)
    folder = str(open_artifact(path, "encoder").directory if is_artifact(path) else path)
    passages = list(islice(read_corpus(options.passages), options.limit))
    texts = [f"{p.title} {p.text}" for p in passages]
    ours, theirs = load_encoder(folder), SentenceTransformer(folder, device="cpu")
    took: dict[str, list[float]] = {"kofid": [], "sentence-transformers": []}
    vectors: dict[str, Any] = {}
    for _ in range(options.runs):
        for name, encode in (
            ("kofid", lambda: ours.encode_passages(passages)),
            ("sentence-transformers", lambda: theirs.encode(texts, batch_size=256)),
        ):
            start = time.perf_counter()
            vectors[name] = encode()
            took[name].append(time.perf_counter() - start)
    rates = {name: len(passages) / statistics.median(seconds) for name, seconds in took.items()}
    found = {"n_passages": len(passages), **{name: round(rate) for name, rate in rates.items()}}
    found["times_faster"] = round(rates["kofid"] / rates["sentence-transformers"], 2)
    found["largest_difference"] = float(np.abs(vectors["kofid"] - vectors["sentence-transformers"]).max())
    print(json.dumps(found))


if __name__ == "__main__":
    main()
