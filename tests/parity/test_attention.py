"""Attention heads, packed and shared, against the formula in loops; distances in Transformers' buckets."""

from __future__ import annotations

import math

import pytest
import torch
from support.twins import close, enliven
from transformers import T5Config
from transformers.models.t5.modeling_t5 import T5Attention

from kofid.reader.fid.attention import Attention, CrossAttention, attend_packed, pooled_heads
from kofid.reader.fid.t5 import position_bias


def slow_attention(heads: Attention, asking: torch.Tensor, states: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Return attention of ``asking`` (n, d_model) to ``states`` by the formula, a head and a token at a time."""
    q, k, v = heads.q(asking).double(), heads.k(states).double(), heads.v(states).double()
    rows = []
    for i in range(len(asking)):
        context = []
        for h in range(heads.n_heads):
            own = slice(h * heads.d_head, (h + 1) * heads.d_head)
            g = h * heads.n_kv_heads // heads.n_heads  # heads 0 and 1 of 4 share the first of 2 keys
            shared = slice(g * heads.d_head, (g + 1) * heads.d_head)
            logits = [
                heads.scale * float(q[i, own] @ key[shared]) + float(b) for key, b in zip(k, bias[h, i], strict=True)
            ]
            weights = [math.exp(x - max(logits)) for x in logits]
            context.append(sum(w / sum(weights) * value[shared] for w, value in zip(weights, v, strict=True)))
        rows.append(torch.cat(context))
    return heads.o(torch.stack(rows).float())


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(1)


@torch.no_grad()
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("n_kv_heads", [1, 2, 4])
def test_attention_equals_a_loop_over_heads_and_tokens(n_kv_heads: int, bias: bool) -> None:
    heads = enliven(CrossAttention(12, 4, n_kv_heads, 5, scale=0.7, bias=bias), std=0.5)
    asking, states = torch.randn(2, 3, 12), torch.randn(7, 12)
    no_bias = torch.zeros(4, 3, 7)
    for absorbed in (False, True):
        memories = [heads.memory(s, absorbed=absorbed) for s in (states[:2], states)]
        found = heads(asking, memories)
        close(found[0], slow_attention(heads, asking[0], states[:2], no_bias[..., :2]))
        close(found[1], slow_attention(heads, asking[1], states, no_bias))


@torch.no_grad()
@pytest.mark.parametrize("absorbed", [False, True])
@pytest.mark.parametrize("n_kv_heads", [1, 2, 4])
def test_attention_in_16_bits_is_near(n_kv_heads: int, absorbed: bool) -> None:
    heads = enliven(CrossAttention(12, 4, n_kv_heads, 5, scale=0.7, bias=True), std=0.3).to(torch.bfloat16)
    asking, states = torch.randn(1, 3, 12).to(torch.bfloat16), torch.randn(40, 12).to(torch.bfloat16)
    found = heads(asking, [heads.memory(states, absorbed=absorbed)]).float()
    heads = heads.float()  # the same rounded numbers
    expected = slow_attention(heads, asking[0].float(), states.float(), torch.zeros(4, 3, 40))
    close(found[0], expected, 0.03)  # of 8 bits: a number up to 4 is off by up to 4 / 256 = 0.016
    assert expected.std() > 0.3


@torch.no_grad()
@pytest.mark.parametrize("n_kv_heads", [1, 2, 4])
def test_causal_attention_with_a_past_equals_the_loop(n_kv_heads: int) -> None:
    heads = enliven(Attention(12, 4, n_kv_heads, 5, bias=True), std=0.5)
    tokens = torch.randn(6, 12)
    bias = torch.randn(4, 6, 6).masked_fill(torch.ones(6, 6).triu(1).bool(), -torch.inf)
    expected = slow_attention(heads, tokens, tokens, bias)
    whole, _ = heads.attend_causally(tokens[None], bias, None)
    first, past = heads.attend_causally(tokens[None, :4], bias[:, :4, :4], None)
    rest, past = heads.attend_causally(tokens[None, 4:], bias[:, 4:], past)
    close(whole[0], expected)
    close(torch.cat((first, rest), 1)[0], expected)
    assert past[0].shape == (1, n_kv_heads, 6, 5)


@torch.no_grad()
def test_packed_attention_equals_the_loop_over_each_sequence() -> None:
    heads = enliven(Attention(12, 4, 4, 5), std=0.5)
    tokens, bias = torch.randn(9, 12), torch.randn(4, 5, 5)
    projected = (part(tokens) for part in (heads.q, heads.k, heads.v))
    found = heads.o(attend_packed(*projected, [3, 1, 5], heads.d_head, heads.scale, bias))
    for start, n in ((0, 3), (3, 1), (4, 5)):
        own = tokens[start : start + n]
        close(found[start : start + n], slow_attention(heads, own, own, bias[:, :n, :n]))


def test_pooled_heads_by_hand() -> None:
    # 4 heads of 2 rows each; 2 groups: the mean of the first two heads, and of the last two.
    weight = torch.tensor([[1.0], [10], [3], [30], [5], [50], [9], [90]])
    assert pooled_heads(weight, 4, 2).flatten().tolist() == [2, 20, 7, 70]
    assert pooled_heads(weight, 4, 1).flatten().tolist() == [4.5, 45]  # (1 + 3 + 5 + 9) / 4
    assert pooled_heads(weight.flatten(), 4, 4).tolist() == weight.flatten().tolist()


def test_heads_that_cannot_be_shared_evenly_are_refused() -> None:
    with pytest.raises(ValueError, match="3"):
        Attention(12, 4, 3, 5)


@torch.no_grad()
@pytest.mark.parametrize("both_ways", [True, False])
def test_distances_fall_into_transformers_buckets(both_ways: bool) -> None:
    config = T5Config(num_heads=1, relative_attention_num_buckets=32, relative_attention_max_distance=128)
    table = torch.nn.Embedding(32, 1)
    table.weight.copy_(torch.arange(32.0)[:, None])  # a bucket's bias is its number
    found = position_bias(table, config, torch.arange(400), 400, both_ways=both_ways)[0]
    offsets = torch.arange(400)[None] - torch.arange(400)[:, None]
    expected = T5Attention._relative_position_bucket(offsets, bidirectional=both_ways).float()
    if not both_ways:
        expected[offsets > 0] = -torch.inf
        assert found[399, [399, 398, 383, 382, 0]].tolist() == [0, 1, 16, 16, 31]  # of 32, the first 16 are exact
    assert torch.equal(found, expected)
