"""Checkpoints of true classes made on the spot: T5, T5 v1.1, mT5 and GPT-2 as readers; files written and read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.twins import PARTS, Twin, enliven, gpt2_config, lively, random_batch, t5_config
from transformers import (
    BertConfig,
    BertModel,
    GPT2LMHeadModel,
    MT5Config,
    MT5ForConditionalGeneration,
    T5ForConditionalGeneration,
)

from kofid.errors import InputError, UsageError
from kofid.reader.fid.batch import Batch
from kofid.reader.fid.config import Variant
from kofid.reader.fid.init import fresh_reader_model, mimetic_init
from kofid.reader.fid.model import FusionReader
from kofid.reader.fid.weights import (
    StoredWeights,
    from_t5,
    gpt2_weights,
    join,
    open_gpt2,
    open_reader_model,
    save_reader_model,
)

IDS = torch.randint(2, 50, (2, 9), generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([[5, 9, 11, 1], [8, 3, 1, -100]])
BATCH = Batch(IDS.flatten(), [9, 9], [1, 1], LABELS)
ALL = Variant(first_k=3, cross_layers=(2,), n_kv_heads=2, pointing=True)


def plain_t5(kind: str) -> T5ForConditionalGeneration:
    """Return a T5 of a class and an output layer: of the embeddings, or its own as in v1.1."""
    if kind == "mt5":
        model = MT5ForConditionalGeneration(MT5Config(**t5_config().to_dict() | {"model_type": "mt5"}))
    else:
        model = T5ForConditionalGeneration(t5_config(**{"tie_word_embeddings": False} if kind == "v1.1" else {}))
    if kind != "t5":
        model.lm_head.weight = torch.nn.Parameter(torch.empty(50, 32))
    return enliven(model)


def rename(folder: Path, **changes: object) -> None:
    """Change entries of a folder's configuration."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# --- T5 checkpoints -------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("kind", ["t5", "v1.1", "mt5"])
def test_a_t5_folder_opens_as_fid_and_goes_back(kind: str, tmp_path: Path) -> None:
    plain = plain_t5(kind)
    plain.save_pretrained(tmp_path / "plain")
    if kind == "v1.1":  # as Transformers 4 wrote it
        rename(tmp_path / "plain", tie_word_embeddings=False)
    expected = plain(input_ids=IDS, labels=LABELS).logits
    assert expected.std() > 0.1

    reader = open_reader_model(str(tmp_path / "plain")).eval()
    torch.testing.assert_close(reader(BATCH)[1], expected, atol=1e-5, rtol=0)
    assert (reader.lm_head is None) == (kind == "t5")
    assert (reader.start_token, reader.end_token) == (0, 1)

    save_reader_model(reader, tmp_path / "reader")
    back = T5ForConditionalGeneration.from_pretrained(tmp_path / "reader").eval()
    torch.testing.assert_close(back(input_ids=IDS, labels=LABELS).logits, expected, atol=1e-5, rtol=0)
    for name, weight in back.state_dict().items():
        assert torch.equal(weight, plain.state_dict()[name]), name


@torch.no_grad()
@pytest.mark.parametrize("variant", [Variant(), replace(ALL, first_k=0), ALL])
def test_a_checkpoint_is_fitted_to_a_variant(variant: Variant, tmp_path: Path) -> None:
    plain_t5("t5").save_pretrained(tmp_path)
    reader = open_reader_model(str(tmp_path), variant).eval()
    assert reader.variant == variant
    whole = plain_t5("t5").state_dict()
    for name, weight in reader.state_dict().items():
        if weight.shape == whole[name].shape:
            assert torch.equal(weight, whole[name])
        else:  # 4 heads of 8 to 2: the means of heads 0 and 1, and 2 and 3
            heads = whole[name].view(2, 2, 8, 32)
            torch.testing.assert_close(weight, ((heads[:, 0] + heads[:, 1]) / 2).flatten(0, 1))
            assert name.startswith("decoder.") and name.endswith((".k.weight", ".v.weight"))
    gone = {"decoder.block.0.layer.1.layer_norm.weight"}
    gone |= {f"decoder.block.0.layer.1.EncDecAttention.{part}.weight" for part in "qkvo"}
    tied = {"lm_head.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"}
    assert whole.keys() - reader.state_dict().keys() - tied == (gone if variant.cross_layers else set())


@torch.no_grad()
def test_heads_that_were_alike_lose_nothing_when_they_are_pooled() -> None:
    alike = lively(variant=Variant(n_kv_heads=2), std=0.3)
    twin = Twin(alike)  # keys and values repeated
    pooled = from_t5(twin.t5, Variant(n_kv_heads=2)).eval()
    torch.testing.assert_close(pooled(random_batch())[1], alike(random_batch())[1], atol=1e-5, rtol=0)


def test_a_reader_does_not_share_memory_with_its_file(tmp_path: Path) -> None:
    # A file that is written over while its weights are mapped would change or kill whoever reads them.
    save_reader_model(lively(0, ALL), tmp_path)
    opened = open_reader_model(str(tmp_path))
    before = {name: weight.clone() for name, weight in opened.state_dict().items()}
    save_reader_model(lively(1, ALL), tmp_path)
    assert all(torch.equal(weight, before[name]) for name, weight in opened.state_dict().items())
    save_reader_model(opened, tmp_path)
    assert all(torch.equal(weight, before[name]) for name, weight in load_file(tmp_path / "model.safetensors").items())


@torch.no_grad()
def test_weights_are_read_one_by_one_as_asked(tmp_path: Path) -> None:
    plain = plain_t5("t5")
    plain.save_pretrained(tmp_path)
    weights = dict(load_file(tmp_path / "model.safetensors"))
    save_file(weights | {"lm_head.weight": weights["shared.weight"].clone()}, tmp_path / "model.safetensors")
    reader = open_reader_model(str(tmp_path), dtype=torch.bfloat16)
    assert reader.lm_head is None  # it was the embeddings once more
    assert all(weight.dtype == torch.bfloat16 for weight in reader.state_dict().values())
    stored = StoredWeights(tmp_path / "model.safetensors", torch.float32)
    assert set(stored) == {*weights, "lm_head.weight"} and len(stored) == len(weights) + 1
    assert torch.equal(stored["shared.weight"], weights["shared.weight"])
    assert "nothing" not in stored
    with pytest.raises(KeyError):
        stored["nothing"]


def test_a_gpt2_of_another_attention_is_refused(english: None) -> None:
    with pytest.raises(InputError, match="scale_attn_by_inverse_layer_idx"):
        join(lively(0), GPT2LMHeadModel(gpt2_config(scale_attn_by_inverse_layer_idx=True)))


def test_an_unknown_activation_names_the_known_ones(english: None) -> None:
    with pytest.raises(InputError, match="laplace.*gelu_new"):
        join(lively(0), GPT2LMHeadModel(gpt2_config(activation_function="laplace")))


# --- what is no reader ----------------------------------------------------------------------------------------


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    plain = plain_t5("t5")
    plain.config.save_pretrained(tmp_path)
    torch.save(plain.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match=str(tmp_path)):
        open_reader_model(str(tmp_path))
    gpt2_config().save_pretrained(tmp_path)
    torch.save(GPT2LMHeadModel(gpt2_config()).state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match=str(tmp_path)):
        open_gpt2(str(tmp_path))


def test_a_bert_is_refused(tmp_path: Path, english: None) -> None:
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=30, **shape)).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="bert"):
        open_reader_model(str(tmp_path))
    with pytest.raises(InputError):
        open_reader_model(str(tmp_path / "nothing"))


@pytest.mark.parametrize("kind", ["t5", "bert"])
def test_only_a_gpt2_opens_as_one(kind: str, tmp_path: Path, english: None) -> None:
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = plain_t5("t5") if kind == "t5" else BertModel(BertConfig(vocab_size=30, **shape))
    model.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=f"not a GPT-2 .*{kind}"):
        open_gpt2(str(tmp_path))
    rename(tmp_path, model_type="gpt2")  # even then: nothing of it is a GPT-2's
    with pytest.raises(InputError, match=r"transformer\."):
        open_gpt2(str(tmp_path))
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(InputError):
        open_gpt2(str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"d_model": 10**12}, "d_model"), ({"d_model": "wide"}, None), ({"d_model": -1}, "d_model"), ({"d_model": None}, None),
        ({"num_layers": 10**6}, "num_layers"), ({"num_decoder_layers": 10**9}, "num_decoder_layers"),
        ({"num_heads": 0}, "num_heads"), ({"d_kv": 10**7}, None), ({"vocab_size": 10**7}, None), ({"vocab_size": 2.5}, None),
        ({"relative_attention_num_buckets": 1}, "relative_attention"), ({"relative_attention_max_distance": 2}, "relative_attention"),
        ({"decoder_start_token_id": 50}, "start_token"), ({"eos_token_id": -2}, "end_token"), ({"eos_token_id": None}, "end_token"),
        ({"dense_act_fn": "nothing"}, None), ({"layer_norm_epsilon": "small"}, None), ({"fusion": 3}, None), ({"fusion": {}}, None),
        ({"fusion": {"cross_layers": [2], "first_k": "three"}}, None), ({"fusion": {"cross_layers": 2}}, None),
        ({"fusion": {"cross_layers": [1, 2], "depth": 3}}, None),
    ],
    ids=str,
)  # fmt: skip
def test_configurations_that_no_model_has_are_refused(
    changes: dict[str, object], named: str | None, tmp_path: Path, english: None
) -> None:
    save_reader_model(lively(0, ALL), tmp_path)
    rename(tmp_path, **changes)
    with pytest.raises(InputError, match=named):
        open_reader_model(str(tmp_path))


@pytest.mark.parametrize(
    "changes", [{"n_layer": 10**7}, {"n_head": 7}, {"n_positions": 0}, {"bos_token_id": 43}, {"n_embd": "x"}]
)
def test_decoders_that_no_model_has_are_refused(changes: dict[str, object], tmp_path: Path) -> None:
    save_reader_model(lively(0, skt=True), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    rename(tmp_path, decoder=config["decoder"] | changes)
    with pytest.raises(InputError):
        open_reader_model(str(tmp_path))


@pytest.mark.parametrize("damage", ["short", "gone", "shape", "missing", "json"])
def test_a_damaged_folder_is_refused(damage: str, tmp_path: Path) -> None:
    save_reader_model(lively(0, ALL), tmp_path)
    path = tmp_path / "model.safetensors"
    weights = load_file(path)
    if damage == "short":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "gone":
        path.unlink()
    elif damage == "shape":
        save_file(weights | {"decoder.final_layer_norm.weight": torch.ones(31)}, path)
    elif damage == "missing":
        save_file({n: w for n, w in weights.items() if n != "decoder.final_layer_norm.weight"}, path)
    else:
        (tmp_path / "config.json").write_text('{"fusion": ')
    with pytest.raises(InputError):
        open_reader_model(str(tmp_path))


def test_cross_attention_that_a_reader_never_had_is_named(tmp_path: Path) -> None:
    save_reader_model(lively(0, Variant(cross_layers=(2,))), tmp_path)
    with pytest.raises(InputError, match="decoder.block.0.layer.1"):
        open_reader_model(str(tmp_path), Variant())
    with pytest.raises(UsageError, match="n_cross_layer=3"):
        open_reader_model(str(tmp_path), Variant(cross_layers=(3,)))


# --- files ----------------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize(("skt", "bert"), PARTS)
@pytest.mark.parametrize("variant", [Variant(), ALL])
def test_a_saved_reader_is_the_same_to_the_bit(variant: Variant, skt: bool, bert: bool, tmp_path: Path) -> None:
    reader = lively(3, variant, skt=skt, bert=bert)
    save_reader_model(reader, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    opened = open_reader_model(str(tmp_path)).eval()
    assert opened.variant == variant
    assert opened.state_dict().keys() == reader.state_dict().keys()
    assert all(torch.equal(weight, reader.state_dict()[name]) for name, weight in opened.state_dict().items())
    assert torch.equal(opened(random_batch())[1], reader(random_batch())[1])
    assert all(weight.requires_grad for weight in opened.parameters())
    assert "fusion" in json.loads((tmp_path / "config.json").read_text()) or (
        variant == Variant() and not skt and not bert
    )


# --- GPT-2 and FiDSKT -----------------------------------------------------------------------------------------


def trinity(**changes: object) -> GPT2LMHeadModel:
    """Return a small GPT-2 as skt/ko-gpt-trinity is."""
    return enliven(GPT2LMHeadModel(gpt2_config(**changes)), 5, std=0.3)


@torch.no_grad()
@pytest.mark.parametrize("changes", [{}, {"n_inner": 20, "activation_function": "relu"}, {"scale_attn_weights": False}])
def test_a_joined_reader_writes_as_the_gpt2_alone(changes: dict[str, object], tmp_path: Path) -> None:
    gpt2, encoder = trinity(**changes), lively(2)
    gpt2.save_pretrained(tmp_path)
    reader = join(encoder, open_gpt2(str(tmp_path))).eval()
    batch = random_batch()
    given = torch.cat((torch.zeros(3, 1, dtype=torch.long), batch.labels[:, :-1].clamp(min=0)), 1)
    expected = gpt2(given).logits
    torch.testing.assert_close(reader(batch)[1], expected, atol=3e-5, rtol=0)
    assert expected.std() > 0.2
    states = torch.cat([e.states for e in reader.encode(batch)])
    own = torch.cat([e.states for e in encoder.encode(batch)])
    torch.testing.assert_close(states, reader.bridge(own), atol=1e-5, rtol=0)


def test_a_joined_reader_can_learn_to_look() -> None:
    reader = join(lively(2), trinity(), Variant(cross_layers=(2,), n_kv_heads=1)).train()
    reader(random_batch())[0].backward()
    (cross,) = [c for c in reader.decoder.cross_attentions if c is not None]
    # With an output of zeros only the output learns at first; after one step, all do.
    assert cross.o.weight.grad.any() and not cross.v.weight.grad.any()
    torch.optim.SGD(reader.parameters(), lr=0.1).step()
    reader.zero_grad()
    reader(random_batch())[0].backward()
    names = ["q.weight", "k.weight", "v.weight", "v.bias", "o.weight"]
    assert all(dict(cross.named_parameters())[name].grad.any() for name in names)
    assert reader.bridge.weight.grad.any() and reader.shared.weight.grad.any()


@torch.no_grad()
def test_a_joined_reader_equals_a_gpt2_with_cross_attention() -> None:
    gpt2 = enliven(GPT2LMHeadModel(gpt2_config(add_cross_attention=True)), 5, std=0.3)
    reader = join(lively(2), gpt2).eval()
    batch = random_batch((2, 1))
    given = torch.cat((torch.zeros(2, 1, dtype=torch.long), batch.labels[:, :-1].clamp(min=0)), 1)
    for q, encoded in enumerate(reader.encode(batch)):
        expected = gpt2(given[q : q + 1], encoder_hidden_states=encoded.states[None]).logits[0]
        torch.testing.assert_close(reader(batch)[1][q], expected, atol=3e-5, rtol=0)


@torch.no_grad()
def test_an_output_layer_of_gpt2_s_own_is_kept() -> None:
    gpt2 = trinity(tie_word_embeddings=False)
    assert not torch.equal(gpt2.lm_head.weight, gpt2.transformer.wte.weight)
    reader = join(lively(2), gpt2).eval()
    batch = random_batch()
    given = torch.cat((torch.zeros(3, 1, dtype=torch.long), batch.labels[:, :-1].clamp(min=0)), 1)
    torch.testing.assert_close(reader(batch)[1], gpt2(given).logits, atol=3e-5, rtol=0)


def test_gpt2_weights_by_hand() -> None:
    # One layer of width 2: c_attn maps x to (q, k, v) side by side, as x W with W (2, 6).
    fused = torch.arange(12.0).view(2, 6)
    found = gpt2_weights(
        {
            "wte.weight": torch.ones(5, 2),
            "h.0.attn.c_attn.weight": fused,
            "h.0.attn.c_attn.bias": torch.arange(6.0),
            "h.0.attn.c_proj.weight": torch.tensor([[1.0, 2], [3, 4]]),
            "h.0.mlp.c_fc.weight": torch.zeros(2, 8),
            "h.0.ln_1.weight": torch.ones(2),
            "h.0.attn.bias": torch.ones(1, 1, 4, 4),
            "h.0.attn.masked_bias": torch.tensor(-1e4),
        },
        2,
    )
    assert found["decoder.h.0.attn.q.weight"].tolist() == [[0, 6], [1, 7]]
    assert found["decoder.h.0.attn.k.weight"].tolist() == [[2, 8], [3, 9]]
    assert found["decoder.h.0.attn.v.weight"].tolist() == [[4, 10], [5, 11]]
    assert found["decoder.h.0.attn.v.bias"].tolist() == [4, 5]
    assert found["decoder.h.0.attn.o.weight"].tolist() == [[1, 3], [2, 4]]
    assert found["decoder.h.0.c_fc.weight"].shape == (8, 2)
    assert found["wte.weight"].shape == (5, 2)
    others = {"decoder.h.0.attn.q.bias", "decoder.h.0.attn.k.bias", "decoder.h.0.ln_1.weight"}
    assert len(found) == 7 + len(others) and others < found.keys()


@torch.no_grad()
def test_every_weight_of_a_gpt2_finds_its_place() -> None:
    gpt2 = trinity()
    reader = FusionReader(t5_config(), Variant(), gpt2.config)
    found = gpt2_weights(gpt2.transformer.state_dict(), gpt2.config.n_embd)
    own = {
        n: w.shape for n, w in reader.state_dict().items() if n.startswith(("decoder.", "wte.")) and "cross" not in n
    }
    assert {name: weight.shape for name, weight in found.items()} == own


# --- fresh readers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skt", [False, True])
@pytest.mark.parametrize("n_kv_heads", [0, 2, 1])
def test_fresh_cross_attention_passes_on_what_it_attends_to(n_kv_heads: int, skt: bool) -> None:
    torch.manual_seed(1)
    reader = fresh_reader_model("tiny", 60, Variant(n_kv_heads=n_kv_heads), skt=skt)
    mimetic_init(reader)
    cross = reader.decoder.cross_attentions[1]
    # All heads attend to one state x: the output is V'V x, the part of x in the space that the values keep.
    kept = cross.v.weight.T @ cross.v.weight
    state = torch.randn(1, 64)
    with torch.no_grad():
        bias = 0 if cross.o.bias is None else cross.o.bias
        torch.testing.assert_close(cross(torch.randn(1, 3, 64), [cross.memory(state)])[0, 0], (kept @ state[0]) + bias)
    torch.testing.assert_close(kept @ kept, kept, atol=1e-5, rtol=0)  # a projection
    assert kept.trace().item() == pytest.approx(16 * (n_kv_heads or 4), abs=1e-3)


def test_a_fresh_reader_s_depth_is_as_asked() -> None:
    assert len(fresh_reader_model("tiny", 60, n_decoder_layers=5).decoder.cross_attentions) == 5
    assert len(fresh_reader_model("tiny", 60, skt=True).decoder.cross_attentions) == 2
