"""What a training run will take: one step of it, done and measured."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from typing import Any

import torch

from kofid.devices import choose_device
from kofid.reader.fid.batch import Batch
from kofid.reader.fid.reader import FiDReader
from kofid.training.data import reader_dataset
from kofid.training.fid import adapted_reader, reader_batch
from kofid.training.options import TrainOptions
from kofid.types import Example

# Rows among which the longest batch is looked for.
_SAMPLED = 256
FORMULA = "weights 4P + gradients 4T + optimizer (AdamW 8T, Adafactor about 0) + average 4T + activations, bytes"


def estimate(reader: FiDReader, examples: Sequence[Example], options: TrainOptions, n_context: int) -> dict[str, Any]:
    """Return parameters, tokens a step, memory and time of training ``reader``, which is left as it was.

    Measured on the longest batch of a sample, so time is an upper bound: the second of two passes forward and backward.
    Activations are all that the first one kept for its way back, each storage counted once. P is the number of
    parameters, T of those that train (``FORMULA``).
    """
    rows = list(reader_dataset(examples, n_context))
    sample = sorted(rows[:_SAMPLED], key=lambda row: sum(map(len, row["texts"])))[-options.batch_size :]
    device = choose_device(options.device)
    model = reader.model
    with adapted_reader(model, options):
        model.to(device).train()
        batch = reader_batch(reader, sample).to(device)
        n_trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        n_all = sum(p.numel() for p in model.parameters())
        activations, _ = _step(model, batch, options)
        _, seconds = _step(model, batch, options)
        model.zero_grad()
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else _peak_of_process()
    model.to("cpu").eval()
    n_steps = _n_steps(len(rows), options)
    optimizer = 8 * n_trained if options.optimizer == "adamw" else 0
    memory = 4 * n_all + 4 * n_trained + optimizer + (4 * n_trained if options.ema else 0) + activations
    return {
        "n_parameters": n_all,
        "n_trainable": n_trained,
        "n_rows": len(rows),
        "tokens_per_step": sum(batch.lengths) * options.accumulate,
        "steps": n_steps,
        "seconds_per_step": round(seconds * options.accumulate, 3),
        "hours": round(seconds * options.accumulate * n_steps / 3600, 3),
        "memory_mb": round(memory / 2**20, 1),
        "activations_mb": round(activations / 2**20, 1),
        "measured_peak_mb": round(peak / 2**20, 1),
        "memory_formula": FORMULA,
    }


def _step(model: torch.nn.Module, batch: Batch, options: TrainOptions) -> tuple[int, float]:
    """Go forward and back once; return the bytes kept between the two, and the seconds it took."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    saved: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    device = batch.input_ids.device
    start = time.perf_counter()
    with torch.autocast(device.type, torch.bfloat16, enabled=options.bf16):
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss, _ = model(batch)
        loss.backward()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return sum(saved.values()), time.perf_counter() - start


def _peak_of_process() -> int:
    """Return the most memory that this process has had, in bytes; 0 where the system does not tell."""
    try:
        from resource import RUSAGE_SELF, getrusage
    except ImportError:  # Windows
        return 0
    return getrusage(RUSAGE_SELF).ru_maxrss * (1 if os.uname().sysname == "Darwin" else 1024)


def _n_steps(n_rows: int, options: TrainOptions) -> int:
    if options.max_steps > 0:
        return options.max_steps
    batches = math.ceil(n_rows / (options.batch_size * int(os.environ.get("WORLD_SIZE", "1"))))
    return math.ceil(math.ceil(batches / options.accumulate) * options.epochs)
