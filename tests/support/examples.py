"""Made-up questions, who made what, with several right answers each, and small readers for them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from transformers import T5Tokenizer

from kofid.reader.fid.init import fresh_reader_model
from kofid.reader.fid.reader import FiDReader
from kofid.training.options import TrainOptions
from kofid.training.tokenizers import train_tokenizer
from kofid.types import Example, Hit, Passage, Question

_MAKERS = [
    ("가온", "다리"), ("나래", "거울"), ("다솜", "우산"), ("라온", "지도"), ("마루", "시계"), ("바다", "종이"),
    ("새봄", "나침반"), ("아람", "물레"), ("자두", "화살"), ("차돌", "등불"), ("카람", "항아리"), ("타래", "비단"),
]  # fmt: skip
PASSAGES = [Passage(f"p{i}", thing, f"{thing}은(는) {name}이(가) 만들었다.") for i, (name, thing) in enumerate(_MAKERS)]
EXAMPLES = [
    Example(
        Question(f"{thing}을(를) 만든 사람은?", answers=(name, f"{name} 님" * (1 + i % 3)), positive_ids=(f"p{i}",)),
        (Hit(PASSAGES[i], 2.0), Hit(PASSAGES[(i + 1) % len(PASSAGES)], 1.0)),
    )
    for i, (name, thing) in enumerate(_MAKERS)
]
CPU = TrainOptions(device="cpu", weight_decay=0.0, batch_size=4, learning_rate=3e-3, save_steps=3)


@cache
def tokenizer() -> T5Tokenizer:
    return train_tokenizer([p.text for p in PASSAGES] + [e.question.text for e in EXAMPLES], 300)


def new_reader(*, skt: bool = False, dropout: float = 0.0) -> FiDReader:
    torch.manual_seed(7)
    model = fresh_reader_model("tiny", len(tokenizer()), skt=skt)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = dropout
    return FiDReader(model, tokenizer(), max_tokens=48)


def digest(model: torch.nn.Module) -> str:
    """Return a SHA-256 over all weights."""
    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        found.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def write_fid(path: Path, examples: Sequence[Example]) -> Path:
    """Write examples as FiD JSON."""
    rows = [
        {
            "question": e.question.text,
            "answers": list(e.question.answers),
            "positive_ids": list(e.question.positive_ids),
            "ctxs": [{"id": h.passage.id, "title": h.passage.title, "text": h.passage.text} for h in e.hits],
        }
        for e in examples
    ]
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return path
