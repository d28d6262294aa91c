"""How fast a fusion reader trains: ``python resources/benchmarks/training.py [--steps 8] [--full]``.

T5-small size, fresh weights, 4 questions a step with 5 passages of at most 200 tokens each (140 on average; ``--full``: all
200), AdamW. The reference is the plain step of Fusion-in-Decoder: 32 bits, eager attention with dropout, passages padded to
200. Each system runs in a process of its own; prints a JSON object for each: examples a second (the median step), and peak
memory. All train on the same examples, and their first losses, before any dropout, are compared.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from transformers import T5Config, T5ForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from kofid.reader.fid.batch import Batch
from kofid.reader.fid.weights import from_t5

QUESTIONS, PASSAGES, LONGEST, ANSWER = 4, 5, 200, 8
SYSTEMS = ("reference", "fp32", "bf16")


def plain_model() -> T5ForConditionalGeneration:
    """Return a fresh T5 v1.1 of small size."""
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=32_128, d_model=512, d_kv=64, d_ff=1024, num_layers=8, num_heads=6,
        feed_forward_proj="gated-gelu", decoder_start_token_id=0, dropout_rate=0.1,
    )  # fmt: skip
    config._attn_implementation = "eager"
    return T5ForConditionalGeneration(config)


def make_batch(seed: int, full: bool) -> Batch:
    """Return a step's examples."""
    rng = random.Random(seed)
    n = QUESTIONS * PASSAGES
    lengths = [LONGEST if full else min(LONGEST, max(40, round(rng.gauss(140, 45)))) for _ in range(n)]
    torch.manual_seed(seed)
    ids, labels = torch.randint(3, 32_000, (sum(lengths),)), torch.randint(3, 32_000, (QUESTIONS, ANSWER))
    return Batch(ids, lengths, [PASSAGES] * QUESTIONS, labels)


def reference_loss(model: T5ForConditionalGeneration) -> Callable[[Batch], torch.Tensor]:
    """Return the plain loss: every passage padded to 200."""

    def loss(batch: Batch) -> torch.Tensor:
        padded = torch.zeros(len(batch.lengths), LONGEST, dtype=torch.long)
        mask = torch.zeros_like(padded)
        for i, row in enumerate(torch.split(batch.input_ids, batch.lengths)):
            padded[i, : len(row)], mask[i, : len(row)] = row, 1
        states = model.encoder(input_ids=padded, attention_mask=mask).last_hidden_state
        joined = BaseModelOutput(states.view(QUESTIONS, -1, states.shape[-1]))
        output = model(encoder_outputs=joined, attention_mask=mask.view(QUESTIONS, -1), labels=batch.labels)
        return cast("torch.Tensor", output.loss)

    return loss


def fusion_loss(model: torch.nn.Module) -> Callable[[Batch], torch.Tensor]:
    """Return kofid's loss."""

    def loss(batch: Batch) -> torch.Tensor:
        value: torch.Tensor = model(batch)[0]
        return value

    return loss


def measure(name: str, steps: int, full: bool) -> dict[str, Any]:
    """Run one system."""
    torch.set_num_threads(2)
    plain = plain_model()
    model: torch.nn.Module = plain if name == "reference" else from_t5(plain)
    loss = reference_loss(plain) if name == "reference" else fusion_loss(model)
    model.eval()
    with torch.no_grad():
        first = loss(make_batch(0, full))
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    took = []
    for step in range(steps + 1):
        batch = make_batch(step, full)
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=name == "bf16"):
            value = loss(batch)
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        took.append(time.perf_counter() - start)
    peak = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) >> 10  # type: ignore[index]
    rate = QUESTIONS / statistics.median(took[1:])
    return {"system": name, "examples_per_second": rate, "peak_mb": peak, "first_loss": first.item()}


def main() -> None:
    """Run all systems, each in its process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.steps, options.full)))
        return
    first: dict[str, Any] = {}
    for name in SYSTEMS:
        command = [sys.executable, __file__, "--one", name, "--steps", str(options.steps)]
        command += ["--full"] if options.full else []
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        first = first or found
        found["times_faster"] = found["examples_per_second"] / first["examples_per_second"]
        print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in found.items()}), flush=True)


if __name__ == "__main__":
    main()
