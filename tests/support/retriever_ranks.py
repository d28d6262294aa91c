"""Small encoders, and what every process of a distributed run does: torchrun -m support.retriever_ranks FOLDER BATCH_SIZE."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import T5Config, T5EncoderModel

from kofid.retrieval.dense.base import Encoder
from kofid.retrieval.dense.transformer import TransformerEncoder
from kofid.training.encoder import fresh_encoder, fresh_static
from kofid.training.encoder_fit import fit_encoder, pretrain_encoder
from kofid.training.options import Contrast
from kofid.training.raw_text_pairs import Pairs
from kofid.training.tokenizers import train_tokenizer
from support.examples import CPU, EXAMPLES, PASSAGES

TEXTS = [p.text for p in PASSAGES] + [e.question.text for e in EXAMPLES]


def static() -> Encoder:
    return fresh_static(TEXTS, 24, vocab_size=300)


def bert() -> TransformerEncoder:
    return fresh_encoder("tiny", TEXTS, vocab_size=300)


def t5() -> TransformerEncoder:
    """Return a T5's encoder: its embeddings have two names."""
    torch.manual_seed(1)
    tokenizer = train_tokenizer(TEXTS, 300)
    shape = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "dropout_rate": 0.0}
    return TransformerEncoder(T5EncoderModel(T5Config(vocab_size=len(tokenizer), **shape)), tokenizer)


PLAIN, SYMMETRIC = Contrast(), Contrast(0.05, n_negatives=1, symmetric=True)
RUNS: dict[str, tuple[Callable[[], Encoder], Contrast, dict[str, Any]]] = {
    "bert": (bert, PLAIN, {}),
    "bert, symmetric": (bert, replace(SYMMETRIC, temperature=1.0, at_a_time=3), {"accumulate": 2}),
    "bert, lora": (bert, PLAIN, {"lora": 2, "gradient_checkpointing": True}),
    "t5": (t5, replace(SYMMETRIC, temperature=1.0), {"ema": 0.5}),
    "static": (static, SYMMETRIC, {"learning_rate": 0.01}),
    "raw text": (static, SYMMETRIC, {"learning_rate": 0.01}),
}


def run_all(folder: Path, batch_size: int) -> None:
    """Train each and write the weights that this process ends with."""
    rank = os.environ.get("RANK", "0")
    for name, (make, contrast, more) in RUNS.items():
        encoder, options = make(), replace(CPU, max_steps=6, batch_size=batch_size, **more)
        if name == "raw text":
            pairs = Pairs(PASSAGES, encoder.pieces)
            pretrain_encoder(encoder, pairs, options, folder / name, contrast=contrast)
        else:
            fit_encoder(encoder, EXAMPLES, options, folder / name, contrast=contrast)
        save_file(dict(encoder.model.named_parameters()), folder / f"{name}-{rank}.safetensors")


if __name__ == "__main__":
    run_all(Path(sys.argv[1]), int(sys.argv[2]))
