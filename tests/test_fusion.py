"""Fusion readers against Transformers' own models and slow loops: heads, packing, FiD-Light, FiDO, FiDSKT, scores."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import MT5Config, MT5ForConditionalGeneration, T5Config, T5ForConditionalGeneration
from transformers.models.t5.modeling_t5 import T5Attention
from twins import Twin, enliven, gpt2_config, lively, questions_of, random_batch, t5_config

from kofid.errors import UsageError
from kofid.reader import fusion
from kofid.reader.checkpoints import from_t5, open_reader_model, save_reader_model
from kofid.reader.fusion import Batch, Encoded, FusionReader, Variant
from kofid.reader.generate import Decoding, generate
from kofid.reader.heads import Attention, CrossAttention, Memory, pooled_heads
from kofid.reader.scores import score_passages
from kofid.reader.t5 import position_bias

VARIANTS = [
    Variant(),
    Variant(first_k=3),
    Variant(cross_layers=(2,)),
    Variant(n_kv_heads=2),
    Variant(first_k=2, cross_layers=(1,), n_kv_heads=1),
]


def close(found: torch.Tensor, expected: torch.Tensor, within: float = 1e-5) -> None:
    torch.testing.assert_close(found, expected, atol=within, rtol=0)


def change(model: torch.nn.Module, **values: object) -> None:
    for name, value in values.items():
        setattr(model, name, value)


# --- heads ----------------------------------------------------------------------------------------------------


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


@torch.no_grad()
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("n_kv_heads", [1, 2, 4])
def test_attention_equals_a_loop_over_heads_and_tokens(n_kv_heads: int, bias: bool) -> None:
    heads = enliven(CrossAttention(12, 4, n_kv_heads, 5, scale=0.7, bias=bias), std=0.5)
    asking, states = torch.randn(2, 3, 12), torch.randn(7, 12)
    no_bias = torch.zeros(4, 3, 7)
    for absorbed in (False, True):
        memories = [heads.remember(s, absorbed=absorbed) for s in (states[:2], states)]
        found = heads(asking, memories)
        close(found[0], slow_attention(heads, asking[0], states[:2], no_bias[..., :2]))
        close(found[1], slow_attention(heads, asking[1], states, no_bias))


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
    found = heads.o(heads.attend_packed(tokens, [3, 1, 5], bias))
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


# --- T5 -------------------------------------------------------------------------------------------------------


def own_output(plain: T5ForConditionalGeneration) -> T5ForConditionalGeneration:
    plain.lm_head.weight = torch.nn.Parameter(plain.lm_head.weight.flip(0).clone())
    return plain


@torch.no_grad()
@pytest.mark.parametrize("depths", [(2, 2), (1, 3), (3, 1)])
@pytest.mark.parametrize("activation", ["relu", "gated-gelu"])
@pytest.mark.parametrize("kind", ["tied", "own", "own, scaled", "mt5", "mt5 own"])
def test_one_passage_is_plain_t5(kind: str, activation: str, depths: tuple[int, int]) -> None:
    shape = {"feed_forward_proj": activation, "num_layers": depths[0], "num_decoder_layers": depths[1]}
    if "mt5" in kind:
        plain = MT5ForConditionalGeneration(MT5Config(**t5_config(**shape).to_dict()))
    else:  # v1.1 says so in its configuration: an output layer of its own is not scaled
        tie = {"tie_word_embeddings": False} if kind == "own" else {}
        plain = T5ForConditionalGeneration(t5_config(**shape, **tie))
    plain = enliven(own_output(plain) if "own" in kind else plain)
    chance = torch.Generator().manual_seed(3)
    ids, labels = torch.randint(2, 50, (2, 13), generator=chance), torch.randint(2, 50, (2, 5), generator=chance)
    labels[1, 3:] = -100
    expected = plain(input_ids=ids, labels=labels, use_cache=False)
    loss, logits = {}, {}
    for name, variant in {
        "plain": Variant(),
        "every layer": Variant(cross_layers=Variant.every(1, depths[1])),
        "all states": Variant(first_k=13),
        "all heads": Variant(n_kv_heads=4),
    }.items():
        reader = from_t5(plain, variant).eval()
        assert (reader.lm_head is not None) == ("own" in kind)
        loss[name], logits[name] = reader(Batch(ids.flatten(), [13, 13], [1, 1], labels))
        close(logits[name], expected.logits)
        assert loss[name].item() == pytest.approx(expected.loss.item(), abs=1e-5)
    assert expected.logits.std() > 0.1  # the comparison is of numbers that differ
    assert all(torch.equal(logits["plain"], other) for other in logits.values())


@torch.no_grad()
@pytest.mark.parametrize("skt", [False, True])
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_packed_passages_equal_padded_ones(variant: Variant, skt: bool) -> None:
    for seed, n_passages in enumerate([(3, 1, 2), (1,), (1, 4)]):
        reader, batch = lively(seed, variant, skt=skt, std=0.3), random_batch(n_passages, seed)
        expected = Twin(reader).logits(batch)
        loss, logits = reader(batch)
        close(logits, expected)
        slow = cross_entropy(expected.flatten(0, 1), batch.labels.flatten(), ignore_index=-100)
        assert loss.item() == pytest.approx(slow.item(), abs=1e-5)
        assert expected.std() > 0.2


@torch.no_grad()
@pytest.mark.parametrize("skt", [False, True])
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_absorbed_cross_attention_equals_the_standard_one(variant: Variant, skt: bool) -> None:
    reader, batch = lively(2, variant, skt=skt, std=0.3), random_batch()
    encoded = reader.encode(batch)
    ids = batch.labels.clamp(min=0)
    standard, absorbed = (reader.decode(ids, reader.remember(encoded, absorbed=a))[0] for a in (False, True))
    close(absorbed, standard, 1e-4 if skt else 1e-5)  # GPT-2's last norm has states of size 10
    moved = [Encoded(e.states.flip(1), e.lengths) for e in encoded]
    assert (reader.decode(ids, reader.remember(moved))[0] - standard).abs().max() > 1e-2  # states matter


@torch.no_grad()
@pytest.mark.parametrize("skt", [False, True])
def test_a_token_at_a_time_equals_all_at_once(skt: bool) -> None:
    reader, batch = lively(3, Variant(n_kv_heads=2), skt=skt, std=0.3), random_batch()
    memories = reader.remember(reader.encode(batch))
    ids = batch.labels.clamp(min=0)
    whole, _ = reader.decode(ids, memories)
    past, parts = None, []
    for token in ids.split(1, dim=1):
        part, past = reader.decode(token, memories, past)
        parts.append(part)
    close(torch.cat(parts, 1), whole)


# --- packing --------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_passages_are_encoded_apart_and_joined_in_order() -> None:
    reader, batch = lively(), random_batch()
    encoded = reader.encode(batch)
    assert [e.lengths for e in encoded] == [batch.lengths[:3], batch.lengths[3:4], batch.lengths[4:]]
    found = torch.cat([e.states for e in encoded]).split(batch.lengths)
    for ids, states in zip(batch.input_ids.split(batch.lengths), found, strict=True):
        close(reader.encode(Batch(ids, [len(ids)], [1]))[0].states, states)


@torch.no_grad()
def test_encoding_in_small_groups_gives_the_same_states(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, batch = lively(variant=Variant(first_k=4)), random_batch((5, 0, 7))
    whole = reader.encode(batch)
    assert whole[1].states.shape == (0, 32) and whole[1].lengths == []
    for at_a_time in (1, 9, 20):  # fewer than a passage, about one, a few
        monkeypatch.setattr(fusion, "ENCODED_AT_A_TIME", at_a_time)
        for found, expected in zip(reader.encode(batch), whole, strict=True):
            close(found.states, expected.states)
            assert found.lengths == expected.lengths
    for found, expected in zip(reader.train().encode(batch), whole, strict=True):  # all at once; there is no dropout
        close(found.states, expected.states)


@torch.no_grad()
def test_another_order_of_passages_changes_no_logits() -> None:
    # Cross-attention has no position bias, so the decoder sees a set of states.
    reader, batch = lively(), random_batch((3,))
    ids = batch.input_ids.split(batch.lengths)
    turned = Batch(torch.cat([ids[i] for i in (2, 0, 1)]), [batch.lengths[i] for i in (2, 0, 1)], [3], batch.labels)
    close(reader(turned)[1], reader(batch)[1])


@torch.no_grad()
@pytest.mark.parametrize("skt", [False, True])
def test_a_question_reads_all_its_passages_and_no_other_question_s(skt: bool) -> None:
    reader, batch = lively(skt=skt, std=0.3), random_batch((2, 3))
    before = reader(batch)[1]
    start = sum(batch.lengths[:4])
    for place, passage in ((0, 0), (start, 4)):  # the first token of the first and the last passage
        changed = batch.input_ids.clone()
        changed[place] = (changed[place] + 7) % 50
        after = reader(Batch(changed, batch.lengths, batch.n_passages, batch.labels))[1]
        own = int(passage >= 2)
        close(after[1 - own], before[1 - own], 1e-6)
        assert (after[own] - before[own]).abs().max() > 1e-4


@torch.no_grad()
def test_light_readers_see_the_first_states_only() -> None:
    reader, batch = lively(variant=Variant(first_k=3), std=0.3), random_batch()
    encoded = reader.encode(batch)
    # States of min(3, length) tokens of each passage.
    assert [e.lengths for e in encoded] == [
        [min(3, n) for n in row] for row in (batch.lengths[:3], batch.lengths[3:4], batch.lengths[4:])
    ]
    assert all(len(e.states) == sum(e.lengths) for e in encoded)
    for one, whole in zip(encoded, lively(std=0.3).encode(batch), strict=True):
        expected = torch.cat([part[:3] for part in whole.states.split(whole.lengths)])
        close(one.states, expected, 1e-6)


# --- gradients ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skt", [False, True])
def test_gradients_equal_those_of_the_padded_twin(skt: bool) -> None:
    reader, batch = lively(1, skt=skt, std=0.3).train(), random_batch()
    reader(batch)[0].backward()
    twin = Twin(reader)
    logits = twin.logits(batch)
    cross_entropy(logits.flatten(0, 1), batch.labels.flatten(), ignore_index=-100).backward()
    names = [f"encoder.block.{i}.layer.0.SelfAttention.{part}.weight" for i in (0, 1) for part in "qkvo"]
    own, other = dict(reader.named_parameters()), dict(twin.t5.named_parameters())
    for name in [*names, "encoder.block.1.layer.1.DenseReluDense.wi_0.weight", "encoder.final_layer_norm.weight"]:
        close(own[name].grad, other[name].grad, 1e-5)
        assert own[name].grad.abs().max() > 1e-4, name


def test_checkpointed_layers_give_the_same_gradients() -> None:
    gradients = []
    for checkpointing in (False, True):
        reader = lively(1).train()
        reader.encoder.checkpointing = checkpointing
        reader(random_batch())[0].backward()
        gradients.append([p.grad for p in reader.parameters()])
    for one, other in zip(*gradients, strict=True):
        close(one, other, 1e-6)


def test_a_batch_without_labels_has_no_loss() -> None:
    batch = random_batch()
    batch.labels = None
    with pytest.raises(ValueError, match="labels"):
        lively()(batch)


# --- FiDO: fewer layers, fewer heads --------------------------------------------------------------------------


def test_every_nth_layer() -> None:
    assert Variant.every(6, 24) == (6, 12, 18, 24)
    assert Variant.every(5, 12) == (5, 10)
    assert Variant.every(1, 3) == (1, 2, 3)
    for n in (0, 4, -1):
        with pytest.raises(UsageError, match=str(n)):
            Variant.every(n, 3)


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


def bytes_of(memories: Sequence[list[Memory] | None]) -> int:
    """Return the bytes that memories hold, each storage once."""
    tensors = [t for m in memories if m is not None for one in m for t in (one.keys, one.values) if t is not None]
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


@torch.no_grad()
def test_memory_falls_with_heads_layers_and_states() -> None:
    batch = random_batch((3, 2), longest=9)
    shape = {"num_decoder_layers": 4}

    def held(variant: Variant, *, absorbed: bool = False) -> int:
        reader = lively(variant=variant, **shape)
        return bytes_of(reader.remember(reader.encode(batch), absorbed=absorbed))

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


def by_chance(chance: random.Random) -> tuple[Variant, dict[str, object], bool]:
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
    return variant, shape, chance.random() < 0.5


@pytest.mark.parametrize("seed", range(20))
def test_readers_by_chance(seed: int, tmp_path: Path) -> None:
    """Forward, backward, answer, save and open, whatever the options."""
    chance = random.Random(seed)
    variant, shape, skt = by_chance(chance)
    decoder = gpt2_config(n_layer=shape["num_decoder_layers"]) if skt else None
    reader = FusionReader(t5_config(**shape), variant, decoder)
    if chance.random() < 0.3:
        reader.untie()
    enliven(reader, seed, std=0.3)
    batch = random_batch([chance.randint(1, 3) for _ in range(chance.randint(1, 3))], seed)

    loss, logits = reader.train()(batch)
    loss.backward()
    for name, parameter in reader.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        # A bias of keys moves all logits of a query alike.
        assert parameter.grad.any() or name.endswith(".k.bias"), name

    with torch.no_grad():
        close(logits, Twin(reader.eval()).logits(batch), 2e-5)
        before = reader(batch)[1]
        answers = [generate(reader, reader.encode(batch), how) for how in (Decoding(4), Decoding(4, n_beams=2))]
        save_reader_model(reader, tmp_path / "reader")
        opened = open_reader_model(str(tmp_path / "reader")).eval()
        assert opened.variant == variant
        assert torch.equal(opened(batch)[1], before)
        again = [generate(opened, opened.encode(batch), how) for how in (Decoding(4), Decoding(4, n_beams=2))]
        assert again == answers


# --- cross-attention scores -----------------------------------------------------------------------------------


def slow_scores(reader: FusionReader, encoded: Encoded) -> list[float]:
    """Return score_passages of one question, a layer and a head at a time, from queries and keys alone."""
    asked: list[tuple[CrossAttention, torch.Tensor]] = []
    start = torch.tensor([[reader.start_token]])
    reader.decode(start, reader.remember([encoded]), watch=lambda cross, asking, _: asked.append((cross, asking[0, 0])))
    sums = [0.0] * len(encoded.lengths)
    owners = [p for p, n in enumerate(encoded.lengths) for _ in range(n)]
    for cross, asking in asked:
        query = cross.q(asking).view(cross.n_heads, cross.d_head)
        for owner, state in zip(owners, encoded.states, strict=True):
            keys = cross.k(state).view(cross.n_kv_heads, cross.d_head)
            for h in range(cross.n_heads):
                sums[owner] += cross.scale * float(query[h] @ keys[h * cross.n_kv_heads // cross.n_heads])
    n_logits = sum(cross.n_heads for cross, _ in asked)
    return [total / (n * n_logits) for total, n in zip(sums, encoded.lengths, strict=True)]


@torch.no_grad()
@pytest.mark.parametrize("skt", [False, True])
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_scores_equal_a_slow_walk_over_heads_and_states(variant: Variant, skt: bool) -> None:
    reader = lively(4, variant, skt=skt, std=0.3)
    encoded = reader.encode(random_batch((3, 1, 2)))
    for found, one in zip(score_passages(reader, encoded), encoded, strict=True):
        assert found == pytest.approx(slow_scores(reader, one), abs=1e-5)
    first = score_passages(reader, encoded)[0]
    assert max(first) - min(first) > 1e-3  # the comparison is of numbers that differ


@torch.no_grad()
def test_scored_logits_give_transformers_own_cross_attentions() -> None:
    reader, batch = lively(5, std=0.3), random_batch((2, 3))
    twin = Twin(reader)
    twin.t5.set_attn_implementation("eager")
    watched: list[list[torch.Tensor]] = []
    encoded = reader.encode(batch)
    reader.decode(
        torch.zeros(2, 1, dtype=torch.long),
        reader.remember(encoded),
        watch=lambda cross, asking, memories: watched.append(
            [cross.logits(token, m)[:, 0].softmax(-1) for token, m in zip(asking, memories, strict=True)]
        ),
    )
    states, mask = twin.states(batch)
    output = twin.t5(
        encoder_outputs=(states,),
        attention_mask=mask,
        decoder_input_ids=torch.zeros(2, 1, dtype=torch.long),
        output_attentions=True,
    )
    for layer, expected in enumerate(output.cross_attentions):  # (questions, heads, 1, states)
        for q in range(2):
            close(watched[layer][q], expected[q, :, 0, mask[q].bool()])


@torch.no_grad()
def test_scores_of_no_questions_and_no_passages() -> None:
    reader = lively()
    assert score_passages(reader, []) == []
    batch = random_batch((2, 0, 1))
    rows = score_passages(reader, reader.encode(batch))
    assert [len(row) for row in rows] == [2, 0, 1]
    alone = [score_passages(reader, reader.encode(one))[0] for one in questions_of(random_batch((2, 1)))]
    assert rows[0] == pytest.approx(alone[0], abs=1e-5) and rows[2] == pytest.approx(alone[1], abs=1e-5)
