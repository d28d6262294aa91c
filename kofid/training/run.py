"""A training run that ends in an artifact: checkpoints beside it, progress told, settings kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from kofid.storage.artifacts import write_artifact
from kofid.storage.ownership import remove_claimed
from kofid.training.options import TrainOptions, is_first_process
from kofid.types import OnStep


class Model(Protocol):
    """What can be written to a directory."""

    def save(self, directory: Path) -> None:
        """Write it."""
        ...


@dataclass(frozen=True)
class Fit:
    """What fitting a model came to: its figures, and settings found on the way that the artifact keeps."""

    figures: dict[str, float]
    settings: dict[str, Any] = field(default_factory=dict)


def run_training(
    output: Path,
    kind: str,
    settings: dict[str, Any],
    model: Model,
    fit: Callable[[Path, OnStep | None], Fit],
    on_step: OnStep | None = None,
) -> dict[str, float]:
    """Fit ``model``, write it to ``output`` as an artifact of a kind that keeps ``settings``, and return its figures.

    ``fit`` takes the folder for checkpoints and the callback to call at each step; checkpoints are removed when the model
    is safe. Of the processes that ``torchrun`` starts, the first writes and tells.
    """
    checkpoints = output.with_name(f".{output.name}.checkpoints")
    if not is_first_process():
        return fit(checkpoints, None).figures
    stored = dict(settings)  # write_artifact reads it when the block has ended
    with write_artifact(output, kind, stored) as directory:
        result = fit(checkpoints, on_step)
        stored |= result.settings | {"figures": result.figures}
        model.save(directory)
    remove_claimed(checkpoints)
    return result.figures


def run_settings(options: TrainOptions, **more: Any) -> dict[str, Any]:
    """Return what an artifact keeps of the run that made it: options and versions."""
    from importlib.metadata import version

    versions = {name: version(name) for name in ("torch", "transformers")}
    return {"training": asdict(options), "versions": versions, **more}
