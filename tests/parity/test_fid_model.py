"""Fusion readers against Transformers' own models: T5 and GPT-2, packing, gradients, scores."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.twins import PARTS, VARIANTS, Twin, close, enliven, lively, questions_of, random_batch, t5_config
from torch.nn.functional import cross_entropy
from transformers import MT5Config, MT5ForConditionalGeneration, T5ForConditionalGeneration

from kofid.reader.fid.attention import CrossAttention
from kofid.reader.fid.batch import Batch, Encoded
from kofid.reader.fid.config import Variant
from kofid.reader.fid.model import FusionReader
from kofid.reader.fid.passage_scores import score_passages
from kofid.reader.fid.weights import from_t5

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
        plain = MT5ForConditionalGeneration(MT5Config(**t5_config(**shape).to_dict() | {"model_type": "mt5"}))
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
@pytest.mark.parametrize(("skt", "bert"), PARTS)
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_packed_passages_equal_padded_ones(variant: Variant, skt: bool, bert: bool) -> None:
    for seed, n_passages in enumerate([(3, 1, 2), (1,), (1, 4)]):
        reader, batch = lively(seed, variant, skt=skt, bert=bert, std=0.3), random_batch(n_passages, seed)
        expected = Twin(reader).logits(batch)
        loss, logits = reader(batch)
        close(logits, expected, 3e-5 if skt else 1e-5)  # GPT-2's logits are up to 6, T5's up to 1
        slow = cross_entropy(expected.flatten(0, 1), batch.labels.flatten(), ignore_index=-100)
        assert loss.item() == pytest.approx(slow.item(), abs=1e-5)
        assert expected.std() > 0.2


@torch.no_grad()
@pytest.mark.parametrize(("skt", "bert"), PARTS)
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_absorbed_cross_attention_equals_the_standard_one(variant: Variant, skt: bool, bert: bool) -> None:
    reader, batch = lively(2, variant, skt=skt, bert=bert, std=0.3), random_batch()
    encoded = reader.encode(batch)
    ids = batch.labels.clamp(min=0)
    standard, absorbed = (reader.decode(ids, reader.memories(encoded, absorbed=a))[0] for a in (False, True))
    close(absorbed, standard, 1e-4 if skt else 1e-5)  # GPT-2's last norm has states of size 10
    moved = [replace(e, states=e.states.flip(1)) for e in encoded]
    assert (reader.decode(ids, reader.memories(moved))[0] - standard).abs().max() > 1e-2  # states matter


@torch.no_grad()
@pytest.mark.parametrize(("skt", "bert"), PARTS)
def test_a_token_at_a_time_equals_all_at_once(skt: bool, bert: bool) -> None:
    reader, batch = lively(3, Variant(n_kv_heads=2), skt=skt, bert=bert, std=0.3), random_batch()
    memories = reader.memories(reader.encode(batch))
    ids = batch.labels.clamp(min=0)
    whole = reader.decode(ids, memories).hidden
    past, parts = None, []
    for token in ids.split(1, dim=1):
        part, past, _ = reader.decode(token, memories, past)
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
@pytest.mark.parametrize("bert", [False, True])
def test_encoding_in_small_groups_gives_the_same_states(bert: bool) -> None:
    reader, batch = lively(variant=Variant(first_k=4), bert=bert), random_batch((5, 0, 7))
    whole = reader.encode(batch)
    assert whole[1].states.shape == (0, 32) and whole[1].lengths == []
    for at_a_time in (1, 9, 20):  # fewer than a passage, about one, a few
        for found, expected in zip(reader.encode(batch, at_a_time), whole, strict=True):
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
@pytest.mark.parametrize(("skt", "bert"), PARTS)
def test_a_question_reads_all_its_passages_and_no_other_question_s(skt: bool, bert: bool) -> None:
    reader, batch = lively(skt=skt, bert=bert, std=0.3), random_batch((2, 3))
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
        torch.testing.assert_close(own[name].grad, other[name].grad, atol=3e-5, rtol=1e-3)
        assert own[name].grad.abs().max() > 1e-4, name


@pytest.mark.parametrize("bert", [False, True])
def test_checkpointed_layers_give_the_same_gradients(bert: bool) -> None:
    reader, gradients = lively(1, bert=bert).train(), []
    for checkpointing in (False, True):
        reader.zero_grad()
        reader.encoder.checkpointing = checkpointing
        reader(random_batch())[0].backward()
        gradients.append([p.grad for p in reader.parameters()])
    for one, other in zip(*gradients, strict=True):
        close(one, other, 1e-6)


def test_a_batch_without_labels_has_no_loss() -> None:
    batch = replace(random_batch(), labels=None)
    with pytest.raises(ValueError, match="labels"):
        lively()(batch)


# --- cross-attention scores -----------------------------------------------------------------------------------


def cross_inputs(
    reader: FusionReader, encoded: Encoded, tokens: list[int]
) -> list[tuple[CrossAttention, torch.Tensor]]:
    """Return each cross-attention and the states (n_tokens, d_model) that it is given, as torch's own hooks see them too."""
    memories = reader.memories([encoded])
    output = reader.decode(torch.tensor([tokens]), memories)
    layers = list(zip(reader.decoder.cross_attentions, output.cross_inputs, strict=True))
    assert all((attention is None) == (states is None) for attention, states in layers)
    hooked: list[torch.Tensor] = []  # what torch itself says that the layers are given
    hooks = [
        attention.register_forward_pre_hook(lambda _, inputs: hooked.append(inputs[0]))
        for attention, _ in layers
        if attention is not None
    ]
    reader.decode(torch.tensor([tokens]), memories)
    for hook in hooks:
        hook.remove()
    given = [(attention, states[0]) for attention, states in layers if attention is not None and states is not None]
    assert len(given) == len(hooked) > 0
    assert all(torch.equal(states, seen[0]) for (_, states), seen in zip(given, hooked, strict=True))
    return given


def slow_scores(reader: FusionReader, encoded: Encoded) -> list[float]:
    """Return score_passages of one question, a layer and a head at a time, from queries and keys alone."""
    layers = cross_inputs(reader, encoded, [reader.start_token])
    sums = [0.0] * len(encoded.lengths)
    owners = [p for p, n in enumerate(encoded.lengths) for _ in range(n)]
    for cross, states in layers:
        query = cross.q(states[0]).view(cross.n_heads, cross.d_head)
        for owner, state in zip(owners, encoded.states, strict=True):
            keys = cross.k(state).view(cross.n_kv_heads, cross.d_head)
            for h in range(cross.n_heads):
                sums[owner] += cross.scale * float(query[h] @ keys[h * cross.n_kv_heads // cross.n_heads])
    n_logits = sum(cross.n_heads for cross, _ in layers)
    return [total / (n * n_logits) for total, n in zip(sums, encoded.lengths, strict=True)]


@torch.no_grad()
@pytest.mark.parametrize("absorbed", [False, True])
@pytest.mark.parametrize(("skt", "bert"), PARTS)
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_scores_equal_a_slow_walk_over_heads_and_states(
    variant: Variant, skt: bool, bert: bool, absorbed: bool
) -> None:
    reader = lively(4, variant, skt=skt, bert=bert, std=0.3)
    encoded = reader.encode(random_batch((3, 1, 2)))
    for found, one in zip(score_passages(reader, encoded, absorbed=absorbed), encoded, strict=True):
        assert found == pytest.approx(slow_scores(reader, one), abs=1e-5)
    first = score_passages(reader, encoded)[0]
    assert max(first) - min(first) > 1e-3  # the comparison is of numbers that differ
    # Labels change nothing: only the first token is looked at, and that is decoded before any of them.
    labels = torch.tensor([[5, 9, 1], [7, 1, -100], [4, 1, -100]])
    assert score_passages(reader, encoded, "first", labels) == score_passages(reader, encoded)


def slow_variant(reader: FusionReader, encoded: Encoded, how: str, labels: list[int]) -> list[float]:
    """Return another kind of score of one question, by queries, keys and values of one token and head at a time."""
    tokens = [reader.start_token, *labels[:-1]]
    layers = cross_inputs(reader, encoded, tokens)
    owners = torch.tensor([p for p, n in enumerate(encoded.lengths) for _ in range(n)])
    found = torch.zeros(len(encoded.lengths))
    for cross, states in layers:
        for token in states:
            for h in range(cross.n_heads):
                shared = h * cross.n_kv_heads // cross.n_heads
                query = cross.q(token).view(cross.n_heads, cross.d_head)[h]
                keys = cross.k(encoded.states).view(-1, cross.n_kv_heads, cross.d_head)[:, shared]
                values = cross.v(encoded.states).view(-1, cross.n_kv_heads, cross.d_head)[:, shared]
                logits = cross.scale * keys @ query
                mass = logits.softmax(0) * (values**2).sum(1).sqrt()
                for p in range(len(found)):
                    own = owners == p
                    found[p] += {"answer": logits[own].mean(), "max": logits[own].max(), "norm": mass[own].sum()}[how]
    return (found / (len(tokens) * sum(cross.n_heads for cross, _ in layers))).tolist()


@torch.no_grad()
@pytest.mark.parametrize(("skt", "bert"), PARTS)
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("how", ["answer", "max", "norm"])
def test_other_scores_equal_a_slow_walk(how: str, variant: Variant, skt: bool, bert: bool) -> None:
    reader = lively(4, variant, skt=skt, bert=bert, std=0.3)
    encoded = reader.encode(random_batch((3, 1, 2)))
    labels = torch.tensor([[5, 9, 1], [7, 1, -100], [4, 1, -100]])
    expected = [
        slow_variant(reader, one, how, [t for t in row if t >= 0])
        for one, row in zip(encoded, labels.tolist(), strict=True)
    ]
    for found, slow in zip(score_passages(reader, encoded, how, labels), expected, strict=True):
        assert found == pytest.approx(slow, abs=2e-5)
    assert max(expected[0]) - min(expected[0]) > 1e-4
    alone = score_passages(reader, encoded[:1], "max")[0]
    if how == "max":  # without an answer the first token's
        assert alone == pytest.approx(slow_variant(reader, encoded[0], "max", [1]), abs=2e-5)
    with pytest.raises(ValueError, match="answers"):
        score_passages(reader, encoded, "answer")


@torch.no_grad()
def test_scored_logits_give_transformers_own_cross_attentions() -> None:
    reader, batch = lively(5, std=0.3), random_batch((2, 3))
    twin = Twin(reader)
    twin.t5.set_attn_implementation("eager")
    memories = reader.memories(reader.encode(batch))
    given = reader.decode(torch.zeros(2, 1, dtype=torch.long), memories).cross_inputs
    attention = [
        [cross.logits(token, m)[:, 0].softmax(-1) for token, m in zip(states, layer_memories, strict=True)]
        for cross, states, layer_memories in zip(reader.decoder.cross_attentions, given, memories, strict=True)
    ]
    states, mask = twin.states(batch)
    output = twin.t5(
        encoder_outputs=(states,),
        attention_mask=mask,
        decoder_input_ids=torch.zeros(2, 1, dtype=torch.long),
        output_attentions=True,
    )
    for layer, expected in enumerate(output.cross_attentions):  # (questions, heads, 1, states)
        for q in range(2):
            close(attention[layer][q], expected[q, :, 0, mask[q].bool()])


@torch.no_grad()
def test_scores_of_no_questions_and_no_passages() -> None:
    reader = lively()
    assert score_passages(reader, []) == []
    batch = random_batch((2, 0, 1))
    rows = score_passages(reader, reader.encode(batch))
    assert [len(row) for row in rows] == [2, 0, 1]
    alone = [score_passages(reader, reader.encode(one))[0] for one in questions_of(random_batch((2, 1)))]
    assert rows[0] == pytest.approx(alone[0], abs=1e-5) and rows[2] == pytest.approx(alone[1], abs=1e-5)
