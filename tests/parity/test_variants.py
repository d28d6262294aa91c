"""FiD-Light and FiDO: options, weights and memory by count, and readers of all options by chance."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from support.twins import Twin, bert_config, close, enliven, gpt2_config, lively, random_batch, t5_config
from transformers import T5Config

from kofid.errors import UsageError
from kofid.reader.fid.attention import EncoderMemory
from kofid.reader.fid.config import Decoding, Variant
from kofid.reader.fid.generation import generate
from kofid.reader.fid.model import FusionReader
from kofid.reader.fid.weights import open_reader_model, save_reader_model

# --- FiDO: fewer layers, fewer heads --------------------------------------------------------------------------


def test_every_nth_layer() -> None:
    assert Variant.every(6, 24) == (6, 12, 18, 24)
    assert Variant.every(5, 12) == (5, 10)
    assert Variant.every(1, 3) == (1, 2, 3)
    assert Variant.every(4, 3) == Variant.every(0, 3) == Variant.every(-1, 3) == ()


def test_options_name_a_variant() -> None:
    assert Variant.of() == Variant()
    assert Variant.of(8, "6", 1, True) == Variant(8, (), 1, True, n_cross_layer=6)
    assert Variant.of(cross_layers="12,6,12") == Variant(cross_layers=(6, 12))
    assert Variant.of(cross_layers="6").resolve(24, 16) == ((6, 12, 18, 24), 16)
    assert Variant.of(cross_layers="6,24", n_kv_heads=2).resolve(24, 16) == ((6, 24), 2)


@pytest.mark.parametrize("layers", ["0", "-1", "4", "0,1", "2,4"])
def test_layers_that_a_decoder_has_not_are_refused(layers: str) -> None:
    with pytest.raises(UsageError, match=f"n_cross_layer={layers}"):
        FusionReader(t5_config(num_decoder_layers=3), Variant.of(cross_layers=layers))


@pytest.mark.parametrize("layers", ["x", "1,x", ",", "1.5"])
def test_layers_that_are_no_numbers_are_refused(layers: str) -> None:
    with pytest.raises(UsageError, match=f"n_cross_layer={layers}"):
        Variant.of(cross_layers=layers)


@pytest.mark.parametrize("n_kv_heads", [3, 8, -3])
def test_heads_that_a_decoder_cannot_share_are_refused(n_kv_heads: int) -> None:
    with pytest.raises(UsageError, match=f"n_kv_heads={n_kv_heads}"):
        FusionReader(t5_config(), Variant(n_kv_heads=n_kv_heads))


def n_parameters(config: T5Config, variant: Variant) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in FusionReader(config, variant).parameters())


def test_parameters_of_ke_t5_large() -> None:
    config = T5Config(
        vocab_size=64_128, d_model=1024, d_kv=64, d_ff=2816, num_layers=24, num_heads=16, feed_forward_proj="gated-gelu"
    )
    # An attention has 4 x 1024 x 1024 = 4,194,304, a gated layer 3 x 1024 x 2816 = 8,650,752.
    #   embeddings       64,128 x 1024                                     =  65,667,072
    #   encoder layers   24 x (4,194,304 + 8,650,752 + 2 norms of 1024)    = 308,330,496
    #   decoder layers   24 x (2 x 4,194,304 + 8,650,752 + 3 x 1024)       = 409,018,368
    #   last norms 2 x 1024, distances 2 x 32 x 16                         =       3,072
    assert n_parameters(config, Variant()) == 783_019_008
    # Layers 6, 12, 18, 24 keep cross-attention: 20 x (4,194,304 + 1024) = 83,906,560 fewer.
    few = Variant(cross_layers=Variant.every(6, 24))
    assert n_parameters(config, few) == 783_019_008 - 83_906_560 == 699_112_448
    # One key-value head of 16: each of 48 attentions of the decoder loses 2 x 15/16 x 1024 x 1024 = 1,966,080.
    assert n_parameters(config, Variant(n_kv_heads=1)) == 783_019_008 - 48 * 1_966_080
    assert n_parameters(config, Variant(first_k=8, pointing=True)) == 783_019_008


def bytes_of(memories: Sequence[list[EncoderMemory] | None]) -> int:
    """Return the bytes that memories hold, each storage once."""
    tensors = [t for m in memories if m is not None for one in m for t in vars(one).values()]
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


@torch.no_grad()
def test_memory_falls_with_heads_layers_and_states() -> None:
    batch = random_batch((3, 2), longest=9)
    shape = {"num_decoder_layers": 4}

    def held(variant: Variant, *, absorbed: bool = False) -> int:
        reader = lively(variant=variant, **shape)
        return bytes_of(reader.memories(reader.encode(batch), absorbed=absorbed))

    # Keys and values: 2 x 4 layers x 4 heads x 8 numbers of 4 bytes for each state.
    full = 2 * 4 * 4 * 8 * 4 * sum(batch.lengths)
    assert held(Variant()) == full
    assert held(Variant(n_kv_heads=2)) == full // 2
    assert held(Variant(n_kv_heads=1)) == full // 4
    assert held(Variant(cross_layers=(2, 4))) == full // 2
    assert held(Variant(cross_layers=(4,), n_kv_heads=1)) == full // 16
    assert held(Variant(first_k=2)) == full // sum(batch.lengths) * sum(min(2, n) for n in batch.lengths)
    # Absorbed: the states alone, 32 numbers each, one storage for all layers.
    assert held(Variant(), absorbed=True) == 32 * 4 * sum(batch.lengths)
    assert held(Variant(cross_layers=(4,)), absorbed=True) == 32 * 4 * sum(batch.lengths)


# --- all options together -------------------------------------------------------------------------------------


def by_chance(chance: random.Random) -> tuple[Variant, dict[str, object], bool, bool]:
    depth = chance.randint(1, 3)
    layers = sorted(chance.sample(range(1, depth + 1), chance.randint(1, depth)))
    variant = Variant(
        first_k=chance.choice((0, 1, 4)),
        cross_layers=chance.choice(((), tuple(layers))),
        n_kv_heads=chance.choice((0, 1, 2, 4)),
        pointing=chance.random() < 0.5,
    )
    shape = {
        "feed_forward_proj": chance.choice(("relu", "gated-gelu")),
        "num_layers": chance.randint(1, 2),
        "num_decoder_layers": depth,
        "d_kv": chance.choice((4, 8, 16)),
    }
    return variant, shape, chance.random() < 0.5, chance.random() < 0.5


@pytest.mark.parametrize("seed", range(20))
def test_readers_by_chance(seed: int, tmp_path: Path) -> None:
    """Forward, backward, answer, save and open, whatever the options."""
    chance = random.Random(seed)
    variant, shape, skt, bert = by_chance(chance)
    t5 = t5_config(**shape)
    encoder = bert_config(num_hidden_layers=t5.num_layers) if bert else t5
    decoder = gpt2_config(n_layer=t5.num_decoder_layers) if skt else t5
    reader = FusionReader(encoder, variant, decoder, own_output=chance.random() < 0.3)
    enliven(reader, seed, std=0.3)
    batch = random_batch([3, *(chance.randint(1, 3) for _ in range(chance.randint(0, 2)))], seed)

    loss, logits = reader.train()(batch)
    loss.backward()
    for name, parameter in reader.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        # A bias of keys moves all logits of a query alike.
        assert parameter.grad.any() or name.endswith((".k.bias", ".key.bias")), name

    with torch.no_grad():
        close(logits, Twin(reader.eval()).logits(batch), 5e-5 if skt else 1e-5)
        before = reader(batch)[1]
        answers = [generate(reader, reader.encode(batch), how) for how in (Decoding(4), Decoding(4, n_beams=2))]
        save_reader_model(reader, tmp_path / "reader")
        opened = open_reader_model(str(tmp_path / "reader")).eval()
        assert opened.variant == variant
        assert torch.equal(opened(batch)[1], before)
        again = [generate(opened, opened.encode(batch), how) for how in (Decoding(4), Decoding(4, n_beams=2))]
        assert again == answers
