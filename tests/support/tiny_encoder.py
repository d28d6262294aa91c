"""A tiny encoder as a joint reader is made from, questions for it, and one that says what a test tells it to."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers
from transformers import BertConfig, BertModel

from kofid.encoder.pieces import SPACE, PieceTokenizer
from kofid.reader.joint.confidence import Settings
from kofid.storage.artifacts import write_artifact
from kofid.training.joint import TrainedJoint, open_joint
from kofid.training.options import TrainOptions
from kofid.types import Example, Hit, Passage, Question

_MAKERS = [
    ("이순신", "다리"), ("장영실", "지도"), ("정약용", "시계"), ("홍길동", "종이"),
    ("안중근", "물레"), ("유관순", "우표"), ("방정환", "항아리"), ("신사임당", "바구니"),
]  # fmt: skip
PASSAGES = [
    Passage(f"p{i}", thing, f"{thing}는 {name}이 만들었다. 그때는 봄이었다.") for i, (name, thing) in enumerate(_MAKERS)
]
EXAMPLES = [
    Example(
        Question(f"{thing}를 만든 사람은 누구인가?", f"q{i}", (name,), (f"p{i}",)),
        (Hit(PASSAGES[i], 2.0), Hit(PASSAGES[(i + 1) % len(PASSAGES)], 1.0)),
    )
    for i, (name, thing) in enumerate(_MAKERS)
]
CPU = TrainOptions(device="cpu", weight_decay=0.0, batch_size=4, learning_rate=3e-3, save_steps=3, warmup=0.0)

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
_TEXTS = [
    *(p.text for p in PASSAGES),
    *(e.question.text for e in EXAMPLES),
    "가나다라마바사아자차카파하 2024 km kg ABC 《무정》 李舜臣",
]
_LONGER = [
    "다리",
    "▁다리",
    "파리",
    "▁파리",
    "무정",
    "만들",
    "▁만들었다",
    "▁누구",
    "이순신",
    "▁이순신",
    "태어",
    "▁태어난",
    "km",
]


def tiny_tokenizer() -> Tokenizer:
    """Return a Unigram of the characters of the tests, some longer pieces, and bytes for all else."""
    characters = sorted({c for text in _TEXTS for c in unicodedata.normalize("NFKC", text) if not c.isspace()})
    pieces = [(piece, 0.0) for piece in SPECIAL] + [(SPACE, -5.0)]
    pieces += [(mark + character, -6.0) for character in characters for mark in ("", SPACE)]
    pieces += [(piece, -4.0) for piece in _LONGER]
    pieces += [(f"<0x{byte:02X}>", -20.0) for byte in range(256)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=SPECIAL.index("<unk>"), byte_fallback=True))
    tokenizer.normalizer = normalizers.NFKC()
    return tokenizer


def write_encoder(folder: Path, *, seed: int = 7) -> Path:
    """Write an untrained encoder, as ``open_joint`` opens it, to a folder, and return it."""
    tokenizer = tiny_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=256, initializer_range=0.2, pad_token_id=SPECIAL.index("<pad>"),
    )  # fmt: skip
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def write_joint(path: Path, encoder: Path, **settings: Any) -> Path:
    """Write an untrained joint reader on an encoder as an artifact; ``settings`` are of its manifest."""
    stored = {"reader": "joint", "joint": Settings().to_json()} | settings
    model, _ = open_joint(str(encoder), seed=3)
    with torch.no_grad():
        model.span.weight *= 30  # so that some spans are much likelier than others
    with write_artifact(path, "reader", stored) as directory:
        TrainedJoint(model, encoder / "tokenizer.json", [([0, 9, 2, 2, 8, 7, 2], [0, 0, 0, 0, 1, 0, 0])]).save(
            directory
        )
    return path


# Heads that take start, end and relevance from the first three numbers of a state.
ORACLE_HEADS = {
    "span.weight": np.array([[1, 0, 0], [0, 1, 0]], dtype=np.float32),
    "span.bias": np.zeros(2, dtype=np.float32),
    "relevance.weight": np.array([[0, 0, 1]], dtype=np.float32),
    "relevance.bias": np.zeros(1, dtype=np.float32),
}


class Oracle:
    """Stands for an encoder under ``ORACLE_HEADS``.

    The logits of an answer's first and last piece, wherever a row says it, are those of ``answers``, of all other pieces -9;
    a row is as relevant as the most relevant of ``relevance`` that it says, else -5.
    """

    def __init__(self, encoder: Path, answers: Mapping[str, float], relevance: Mapping[str, float]) -> None:
        self.tokenizer = PieceTokenizer.load(encoder / "tokenizer.json")
        self._pieces = Tokenizer.from_file(str(encoder / "tokenizer.json"))
        self._answers, self._relevance = answers, relevance

    def states(self, ids: np.ndarray, types: np.ndarray | None = None) -> np.ndarray:
        """Return (n, 3): start, end, relevance."""
        pieces = [self._pieces.id_to_token(number) for number in ids.tolist()]
        texts = ["\n" if piece in SPECIAL else piece.replace(SPACE, "") for piece in pieces]
        edges = np.cumsum([0, *map(len, texts)]).tolist()
        text = "".join(texts)
        states = np.full((len(ids), 3), -9.0, dtype=np.float32)
        for answer, logit in self._answers.items():
            for place in re.finditer(re.escape(answer), text):
                if place.start() in edges and place.end() in edges:
                    states[edges.index(place.start()), 0] = logit
                    states[edges.index(place.end()) - 1, 1] = logit
        states[0, 2] = max((logit for words, logit in self._relevance.items() if words in text), default=-5.0)
        return states

    def map(self, work: Callable[[Any], Any], rows: Sequence[Any]) -> list[Any]:
        """Return what ``work`` makes of each row."""
        return [work(row) for row in rows]
