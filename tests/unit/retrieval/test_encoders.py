"""Encoders: saved folders open in sentence-transformers with the same vectors; static vectors by hand; folders refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.examples import EXAMPLES, PASSAGES
from transformers import BertConfig, BertModel, T5Config, T5EncoderModel

from kofid.errors import InputError
from kofid.retrieval.dense import static as static_module
from kofid.retrieval.dense import transformer as encoder_module
from kofid.retrieval.dense.base import Encoder
from kofid.retrieval.dense.encoders import load_encoder, weights_fingerprint
from kofid.retrieval.dense.static import StaticEncoder
from kofid.retrieval.dense.transformer import TransformerEncoder
from kofid.training.encoder import fresh_static
from kofid.training.tokenizers import train_tokenizer, train_wordpiece
from kofid.types import Passage

TEXTS = [p.text for p in PASSAGES] + [e.question.text for e in EXAMPLES]
SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}


def bert(pooling: str = "mean", **more: Any) -> TransformerEncoder:
    torch.manual_seed(1)
    tokenizer = train_wordpiece(TEXTS, 300)
    model = BertModel(
        BertConfig(vocab_size=len(tokenizer), max_position_embeddings=66, initializer_range=0.5, **SHAPE)
    ).eval()
    return TransformerEncoder(model, tokenizer, pooling, **more)


def t5() -> TransformerEncoder:
    torch.manual_seed(1)
    tokenizer = train_tokenizer(TEXTS, 300)
    return TransformerEncoder(T5EncoderModel(T5Config(vocab_size=len(tokenizer), **T5)).eval(), tokenizer)


def static(bits: int = 32) -> StaticEncoder:
    return fresh_static(TEXTS, 24, vocab_size=300).with_bits(bits)


KINDS = {
    "mean": bert,
    "cls": lambda: bert("cls"),
    "pooler": lambda: bert("pooler"),
    "length 1": lambda: bert("cls", normalize=True),
    "prompts": lambda: bert(prompts=("query: ", "passage: ")),
    "t5": t5,
    "static": static,
    "static, 8 bits": lambda: static(8),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_encoder_opens_everywhere_with_the_same_vectors(kind: str, tmp_path: Path) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    encoder: Encoder = KINDS[kind]()
    encoder.save(tmp_path)
    opened = load_encoder(str(tmp_path))
    assert type(opened) is type(encoder) and opened.kind() == encoder.kind()
    questions = [e.question.text for e in EXAMPLES]
    vectors = opened.encode_questions(questions), opened.encode_passages(PASSAGES)
    if kind != "static, 8 bits":  # which are rounded when they are saved
        assert np.array_equal(vectors[0], encoder.encode_questions(questions))
        assert weights_fingerprint(opened) == weights_fingerprint(encoder)
    assert np.std(vectors[0] @ vectors[1].T) > 0.01  # numbers that differ

    theirs = sentence_transformers.SentenceTransformer(str(tmp_path), device="cpu")
    texts = [f"{p.title} {p.text}" for p in PASSAGES]
    np.testing.assert_allclose(theirs.encode(questions, prompt_name="query"), vectors[0], atol=1e-5)
    np.testing.assert_allclose(theirs.encode(texts, prompt_name="document"), vectors[1], atol=1e-5)
    assert theirs.similarity_fn_name == "dot"
    # And what they save, we open.
    theirs.save(str(tmp_path / "theirs"))
    again = load_encoder(str(tmp_path / "theirs"))
    np.testing.assert_allclose(again.encode_passages(PASSAGES), vectors[1], atol=1e-5)
    assert not list(tmp_path.rglob("*.bin"))


@pytest.mark.parametrize("kind", KINDS)
def test_other_weights_or_pooling_have_another_fingerprint(kind: str) -> None:
    others = {
        weights_fingerprint(KINDS[other]()) for other in ("mean", "cls", "pooler", "length 1", "prompts", "static")
    }
    assert len(others) == 6
    encoder = KINDS[kind]()
    before = weights_fingerprint(encoder)
    assert before == weights_fingerprint(KINDS[kind]())
    with torch.no_grad():
        next(encoder.model.parameters()).add_(1e-3)
    assert weights_fingerprint(encoder) != before


@pytest.mark.parametrize("kind", ["mean", "t5"])
def test_pieces_framed_are_what_the_tokenizer_gives(kind: str) -> None:
    encoder = KINDS[kind]()
    whole = encoder.tokenize(TEXTS, 64)
    framed = encoder.batch(encoder.pieces(TEXTS), 64)
    assert whole.keys() == framed.keys()
    assert all(torch.equal(whole[name], framed[name]) for name in whole)
    cut = encoder.batch(encoder.pieces([" ".join(TEXTS)]), 20)["input_ids"]
    assert cut.shape == (1, 20) and cut[0, -1] == whole["input_ids"][0][whole["attention_mask"][0].sum() - 1]


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_texts_is_kept_in_any_company(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = KINDS[kind]()
    together = encoder.encode_passages([*PASSAGES, Passage("long", "긴 글", "다리 " * 500)])
    monkeypatch.setattr(encoder_module, "_TOKENS_AT_A_TIME", 40)
    monkeypatch.setattr(static_module, "_AT_A_TIME", 2)
    apart = np.concatenate([encoder.encode_passages([p]) for p in PASSAGES])
    few = encoder.encode_passages(PASSAGES)
    assert together.dtype == np.float32 and np.isfinite(together).all()
    np.testing.assert_allclose(together[:-1], apart, atol=1e-5)
    np.testing.assert_allclose(few, apart, atol=1e-5)
    assert encoder.encode_questions([]).shape == (0, encoder.dimension)


def test_static_vectors_by_hand() -> None:
    encoder = static()
    with torch.no_grad():
        encoder.model.weight.zero_()
        first, second = encoder.pieces(["다리", "거울"])
        for token in first:
            encoder.model.weight[token, 0] = 3.0 / len(first)
        for token in second:
            encoder.model.weight[token, 1] = 4.0 / len(second)
    # 다리 (3, 0) and 거울 (0, 4): together (3, 4) / 5; nothing known has no direction
    vectors = encoder.encode_questions(["다리 거울", "다리", ""])[:, :2]
    np.testing.assert_allclose(vectors, [[0.6, 0.8], [1.0, 0.0], [0.0, 0.0]], atol=1e-6)


def test_fresh_static_vectors_count_rare_tokens_more() -> None:
    encoder = static()
    lengths = encoder.model.weight.detach().norm(dim=1)
    (common,), (rare,) = ([lengths[row].mean().item()] for row in encoder.pieces(["만들었다", "나침반"]))
    assert rare > common > 0


def test_eight_bits_are_near(tmp_path: Path) -> None:
    whole, rounded = static(), static(8)
    whole.save(tmp_path / "32")
    rounded.save(tmp_path / "8")
    # A number is off by at most half of a 127th of its row's largest.
    table = whole.model.weight.detach()
    opened = StaticEncoder.load(str(tmp_path / "8")).model.weight.detach()
    assert ((table - opened).abs() <= table.abs().amax(1, keepdim=True) / 254 + 1e-7).all() and not torch.equal(
        table, opened
    )
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("8", "32")]
    assert sizes[0] < 0.4 * sizes[1]


@pytest.mark.parametrize("damage", ["no weights", "short", "other weights", "few vectors", "no tokenizer", "modules"])
def test_a_broken_static_encoder_is_named(damage: str, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    static().save(tmp_path)
    weights = tmp_path / "model.safetensors"
    if damage == "no weights":
        weights.unlink()
    elif damage == "short":
        weights.write_bytes(weights.read_bytes()[:-10])
    elif damage == "other weights":
        save_file({"something": torch.ones(2, 2)}, weights)
    elif damage == "few vectors":
        save_file({"embedding.weight": torch.ones(2, 2)}, weights)
    elif damage == "no tokenizer":
        (tmp_path / "tokenizer.json").write_text("{}")
    else:
        (tmp_path / "modules.json").write_text(json.dumps([{"idx": 0}]))
    with pytest.raises(InputError, match=str(tmp_path)):
        load_encoder(str(tmp_path))


def test_other_pooling_is_another_encoder_of_the_same_model() -> None:
    encoder = bert()
    cls = encoder.with_pooling("cls", normalize=True, prompts=("q: ", "p: "))
    assert cls.kind() == {"pooling": "cls", "normalize": True, "prompts": ["q: ", "p: "]} and cls.model is encoder.model
    assert encoder.kind() == {"pooling": "mean", "normalize": False, "prompts": ["", ""]}
    assert encoder.with_pooling().kind() == encoder.kind()
    assert (static().with_bits(8).bits, static().bits) == (8, 32)
