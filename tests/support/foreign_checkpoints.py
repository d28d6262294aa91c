"""Checkpoints of true classes made on the spot, as other programs write them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

TEXTS = ["훈민정음은 세종이 만들었다.", "임진왜란은 1592년에 일어났다.", "question: 누가? title: 세종 context: 한글"]


VOCABULARY = 320


SHAPE = {"vocab_size": VOCABULARY, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 3, "num_heads": 4}


TOKENS = {"decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1, "dropout_rate": 0.0}


def sharp(model: Any, seed: int = 0) -> Any:
    """Return a model with weights large enough that every one of them tells in the logits."""
    torch.manual_seed(seed)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.25)
    return model.eval()


def tiny_t5(**more: Any) -> T5ForConditionalGeneration:
    return sharp(T5ForConditionalGeneration(T5Config(**SHAPE, num_decoder_layers=4, **TOKENS, **more)))


def tiny_gpt2() -> GPT2LMHeadModel:
    ends = {"bos_token_id": 0, "eos_token_id": 1}
    return sharp(GPT2LMHeadModel(GPT2Config(vocab_size=300, n_positions=64, n_embd=24, n_layer=2, n_head=4, **ends)))


def wrapped(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a T5's weights by the names that a FiD reader saves: the encoder one level down, its blocks another."""
    named = {}
    for name, weight in weights.items():
        parts = name.split(".")
        if parts[0] == "encoder":
            parts.insert(0, "encoder")
            if parts[2] == "block":
                parts.insert(4, "module")
        named[".".join(parts)] = weight.clone()
    return named


def weights_of(model: Any) -> dict[str, torch.Tensor]:
    """Return all weights by all their names, tied ones as well, as old versions of Transformers saved them."""
    tied = {"shared.weight": model.shared.weight.detach()}
    return tied | {name: weight.detach() for name, weight in model.state_dict().items()}


class Bomb:
    """Makes a file when unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)
