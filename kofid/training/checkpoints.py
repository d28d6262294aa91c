"""The checkpoints of a run that is not at its end: folders ``checkpoint-STEP`` as the Transformers Trainer writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

WEIGHTS = "model.safetensors"
AVERAGE = "average.safetensors"
STATE = "trainer_state.json"


def last_checkpoint(checkpoints: Path) -> Path | None:
    """Return the last whole checkpoint.

    One cut off while it was saved lacks the state, which is written last; one cut off while it was removed may lack the weights.
    """
    folders = {int(path.name.partition("-")[2]): path for path in checkpoints.glob("checkpoint-*")}
    for _, path in sorted(folders.items(), reverse=True):
        try:
            read_state(path)
            if (path / WEIGHTS).is_file():
                return path
        except (OSError, ValueError):
            continue
    return None


def read_state(checkpoint: Path) -> dict[str, Any]:
    """Return the trainer's state at a checkpoint."""
    state: dict[str, Any] = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    return state


def has_ended(checkpoint: Path) -> bool:
    """Tell whether the run had nothing left to do when it wrote this checkpoint."""
    control = read_state(checkpoint).get("stateful_callbacks", {}).get("TrainerControl", {})
    return bool(control.get("args", {}).get("should_training_stop"))


def load_weights(model: nn.Module, checkpoint: Path) -> None:
    """Give ``model`` the weights of a checkpoint, averaged where it has an average."""
    from safetensors.torch import load_file

    weights = load_file(str(checkpoint / WEIGHTS))
    if (checkpoint / AVERAGE).is_file():
        weights |= load_file(str(checkpoint / AVERAGE))
    state = model.state_dict()
    saved_names = {weight.data_ptr(): name for name, weight in state.items() if name in weights}
    # Of weights that are one tensor under several names a checkpoint has the first.
    tied = {name: saved_names[weight.data_ptr()] for name, weight in state.items() if weight.data_ptr() in saved_names}
    model.load_state_dict({name: weights[same] for name, same in tied.items()} | weights)
