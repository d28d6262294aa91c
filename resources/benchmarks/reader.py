"""How fast readers read, or with ``--score`` score passages for distillation:
``python resources/benchmarks/reader.py [--passages 10 40 100] [--systems reference fp32 ...] [--score]``.

T5-base size, random weights (the same for all), passages of 40 to 250 tokens, 140 on average, 16 greedy tokens. The
reference is what a plain implementation of Fusion-in-Decoder does: 32 bits, eager attention, passages padded to 250, one
batch, Transformers' generate; for scores one step of the decoder, and from the queries and keys that its layers made the mean
logit of each passage's tokens over heads and layers (FiD-KD, section 3.2). Each system runs in a process of its own; prints
a JSON object for each: seconds of encoding and of decoding (the median of ``--runs``), peak memory, and how much of the answer,
or of the passages' order by score, is the reference's.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch

from kofid.reader.fid.batch import Batch
from kofid.reader.fid.config import Decoding, Variant
from kofid.reader.fid.generation import generate
from kofid.reader.fid.int8 import quantize
from kofid.reader.fid.passage_scores import score_passages
from kofid.reader.fid.weights import open_reader_model

TOKENS, LONGEST = 16, 250
FIDO = Variant(cross_layers=(6, 12), n_kv_heads=1)
SYSTEMS: dict[str, dict[str, Any]] = {
    "reference": {},
    "fp32": {"dtype": torch.float32},
    "fp32, no absorption": {"dtype": torch.float32, "absorbed": False},
    "bf16": {"dtype": torch.bfloat16},
    "bf16, int8 decoder": {"dtype": torch.bfloat16, "int8": "decoder"},
    "bf16, int8": {"dtype": torch.bfloat16, "int8": "all"},
    "FiDO (LSA6, MQA), bf16": {"dtype": torch.bfloat16, "variant": FIDO},
    "FiDO (LSA6, MQA), bf16, int8": {"dtype": torch.bfloat16, "int8": "all", "variant": FIDO},
    "FiD-Light (k 32), bf16, int8": {"dtype": torch.bfloat16, "int8": "all", "variant": Variant(first_k=32)},
}


def write_base(folder: str) -> None:
    """Write a T5 v1.1 of base size with weights that do not say the same token all the time."""
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    config = T5Config(
        vocab_size=32_128, d_model=768, d_kv=64, d_ff=2048, num_layers=12, num_heads=12,
        feed_forward_proj="gated-gelu", decoder_start_token_id=0, eos_token_id=1, dropout_rate=0.0,
    )  # fmt: skip
    model = T5ForConditionalGeneration(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "layer_norm" not in name:
                weight.mul_(1.5)
        model.shared.weight[1] = 0.0  # the end never comes first
    model.save_pretrained(folder)


def passages(n: int) -> list[torch.Tensor]:
    """Return the token ids of ``n`` passages."""
    rng = random.Random(1)
    lengths = [min(LONGEST, max(40, round(rng.gauss(140, 45)))) for _ in range(n)]
    torch.manual_seed(1)
    return [torch.randint(3, 32_000, (length,)) for length in lengths]


def reference(
    folder: str, ids: list[torch.Tensor], score: bool
) -> tuple[Callable[[], Any], Callable[[Any], list[int]]]:
    """Return the plain reader's two halves."""
    from transformers import T5ForConditionalGeneration
    from transformers.modeling_outputs import BaseModelOutput

    model = T5ForConditionalGeneration.from_pretrained(folder, attn_implementation="eager").eval()
    padded = torch.zeros(len(ids), LONGEST, dtype=torch.long)
    mask = torch.zeros_like(padded)
    for i, row in enumerate(ids):
        padded[i, : len(row)], mask[i, : len(row)] = row, 1

    def encode() -> Any:
        states = model.encoder(input_ids=padded, attention_mask=mask).last_hidden_state
        return BaseModelOutput(states.view(1, -1, states.shape[-1]))

    def decode(states: Any) -> list[int]:
        more = {"max_new_tokens": TOKENS, "min_new_tokens": TOKENS, "do_sample": False, "num_beams": 1}
        rows = model.generate(encoder_outputs=states, attention_mask=mask.view(1, -1), **more)
        return cast("list[int]", rows[0, 1:].tolist())

    def rank(states: Any) -> list[int]:
        total = torch.zeros(len(ids), LONGEST)
        projected: dict[tuple[int, str], torch.Tensor] = {}
        attentions = [block.layer[1].EncDecAttention for block in model.decoder.block]
        hooks = [
            getattr(attention, name).register_forward_hook(
                lambda _, __, out, at=(i, name): projected.__setitem__(at, out)
            )
            for i, attention in enumerate(attentions)
            for name in ("q", "k")
        ]
        model(encoder_outputs=states, attention_mask=mask.view(1, -1), decoder_input_ids=torch.zeros(1, 1).long())
        for hook in hooks:
            hook.remove()
        for i, attention in enumerate(attentions):
            query, keys = (
                projected[i, name].view(-1, attention.n_heads, attention.key_value_proj_dim) for name in ("q", "k")
            )
            total += torch.einsum("qhd,khd->k", query, keys).view_as(total) / attention.n_heads
        scores = (total * mask).sum(1) / mask.sum(1)
        return scores.argsort(descending=True).tolist()

    return encode, rank if score else decode


def kofid(
    folder: str, ids: list[torch.Tensor], system: dict[str, Any], score: bool
) -> tuple[Callable[[], Any], Callable[[Any], list[int]]]:
    """Return the two halves of kofid's reader."""
    model = open_reader_model(folder, system.get("variant"), system["dtype"]).eval()
    if system.get("int8"):
        quantize(model, encoder=system["int8"] == "all")
    batch = Batch(torch.cat(ids), [len(row) for row in ids], [len(ids)])
    decoding = Decoding(TOKENS, absorbed=system.get("absorbed"))

    def rank(encoded: Any) -> list[int]:
        return torch.tensor(score_passages(model, encoded)[0]).argsort(descending=True).tolist()

    def decode(encoded: Any) -> list[int]:
        return generate(model, encoded, decoding)[0].ids

    return lambda: model.encode(batch), rank if score else decode


def measure(folder: str, name: str, n: int, runs: int, score: bool) -> dict[str, Any]:
    """Run one system."""
    torch.set_num_threads(2)
    ids = passages(n)
    encode, decode = reference(folder, ids, score) if name == "reference" else kofid(folder, ids, SYSTEMS[name], score)
    seconds: list[tuple[float, float]] = []
    with torch.inference_mode():
        for _ in range(runs + (n < 50)):  # small ones are warmed once
            start = time.perf_counter()
            states = encode()
            middle = time.perf_counter()
            answer = decode(states)
            seconds.append((middle - start, time.perf_counter() - middle))
    halves = [statistics.median(times[i] for times in seconds[-runs:]) for i in (0, 1)]
    status = Path("/proc/self/status").read_text()
    peak = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) >> 10  # type: ignore[index]
    return {"system": name, "passages": n, "encode": halves[0], "decode": halves[1], "peak_mb": peak, "answer": answer}


def main() -> None:
    """Run all systems, each in its process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passages", type=int, nargs="+", default=[10, 40, 100])
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--score", action="store_true")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one[0], options.one[1], int(options.one[2]), options.runs, options.score)))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_base(folder)
        for n in options.passages:
            compare(folder, options.systems, n, options.runs, options.score)


def compare(folder: str, systems: list[str], n: int, runs: int, score: bool) -> None:
    """Print what each system takes, and against the first of them."""
    first: dict[str, Any] = {}
    for name in systems:
        command = [sys.executable, __file__, "--one", folder, name, str(n), "--runs", str(runs)]
        command += ["--score"] * score
        row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        answer = row.pop("answer")
        first = first or row | {"answer": answer}
        row |= {
            "times_faster": (first["encode"] + first["decode"]) / (row["encode"] + row["decode"]),
            "decode_times_faster": first["decode"] / row["decode"],
            "memory_share": row["peak_mb"] / first["peak_mb"],
            ("same_places" if score else "same_tokens"): sum(
                a == b for a, b in zip(answer, first["answer"], strict=False)
            ),
        }
        print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}), flush=True)


if __name__ == "__main__":
    main()
