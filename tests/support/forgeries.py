"""Artifacts changed by someone who makes all checksums good again: integrity holds, so contents must be checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kofid.storage.arrays import ArrayFile, ArrayWriter


def sign(path: Path, change: Callable[[dict[str, Any]], object] = lambda manifest: None) -> None:
    """Change an artifact's manifest, its checksums and sizes made good, and that of ``CURRENT`` as well.

    ``change`` comes last, so that it can also spoil an entry of a file.
    """
    generation = path / (path / "CURRENT").read_text().split()[0]
    file = generation / "manifest.json"
    manifest = json.loads(file.read_text(encoding="utf-8"))
    for name, entry in manifest["files"].items():
        content = (generation / name).read_bytes()
        entry |= {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    change(manifest)
    file.write_text(json.dumps(manifest), encoding="utf-8")
    checksum = hashlib.sha256(file.read_bytes()).hexdigest()
    (path / "CURRENT").write_text(f"{generation.name} {checksum}\n", encoding="utf-8")


def rewrite_arrays(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Write an array file anew with other arrays, block checksums good; ``change`` gets them by name."""
    old = ArrayFile(file)
    arrays = {name: old[name].all().copy() for name in old.names}
    change(arrays)
    file.unlink()  # it is mapped
    writer = ArrayWriter(file)
    for name, values in arrays.items():
        writer.add(name, values)
    writer.close()
