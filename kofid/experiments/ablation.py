"""The ablation table of fusion readers: one reader a variant, trained and measured alike, each in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kofid.experiments.steps import run_kofid
from kofid.storage.artifacts import is_artifact
from kofid.storage.files import write_file
from kofid.storage.ownership import claim_folder

# The options of `kofid train-reader` that make each variant.
VARIANTS: dict[str, tuple[str, ...]] = {
    "Original": (),
    "K8": ("--first-k", "8"),
    "K32": ("--first-k", "32"),
    "LSA6": ("--n-cross-layer", "6"),
    "LSA4": ("--n-cross-layer", "4"),
    "GQA4": ("--kv-heads", "4"),
    "LSA6+GQA4": ("--n-cross-layer", "6", "--kv-heads", "4"),
    "K8+LSA6+GQA4": ("--first-k", "8", "--n-cross-layer", "6", "--kv-heads", "4"),
    "FiDSKT": ("--reader", "skt"),
    "FiDSKT LSA6": ("--reader", "skt", "--n-cross-layer", "6"),
}
MEASURES = ("em", "f1", "em_robust", "seconds", "peak_mb", "parameters")


@dataclass(frozen=True)
class Ablation:
    """What all variants share: options for ``kofid train-reader`` and ``kofid evaluate``."""

    folder: Path
    train: Sequence[str]
    evaluate: Sequence[str]

    def run(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield each variant's measures as it is done; what an earlier run finished is not done again.

        A row has the variant's ``name``, EM and F1, ``seconds`` a question (reading only), the reading process's peak
        memory in 2^20 bytes, the number of parameters, and the last loss. Raises KofidError where a process fails.
        """
        claim_folder(self.folder)
        for name in names:
            reader = self.folder / name.replace(" ", "-").lower()
            done = reader.with_suffix(".json")
            if not done.is_file():
                write_file(done, [json.dumps(self._measure(name, reader), ensure_ascii=False) + "\n"])
            row: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
            yield row

    def _measure(self, name: str, reader: Path) -> dict[str, Any]:
        trained: dict[str, Any] = {}
        if not is_artifact(reader):
            resume = ["--resume"] if reader.with_name(f".{reader.name}.checkpoints").is_dir() else []
            trained = run_kofid("train-reader", *self.train, *VARIANTS[name], "-o", str(reader), *resume)
        found = run_kofid("evaluate", *self.evaluate, "--reader", str(reader))
        return {"name": name, **{measure: found[measure] for measure in MEASURES}, "loss": trained.get("loss")}
