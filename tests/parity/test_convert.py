"""Checkpoints from elsewhere as readers: the same logits as Transformers' models, and no pickle that runs."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support.foreign_checkpoints import (
    SHAPE,
    TEXTS,
    TOKENS,
    VOCABULARY,
    Bomb,
    sharp,
    tiny_gpt2,
    tiny_t5,
    weights_of,
    wrapped,
)
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    MT5Config,
    MT5ForConditionalGeneration,
    PreTrainedTokenizerFast,
    T5Tokenizer,
)
from transformers.modeling_outputs import BaseModelOutput

from kofid.errors import InputError, UsageError
from kofid.reader.fid.batch import Batch
from kofid.reader.fid.config import Variant
from kofid.reader.fid.convert import convert_checkpoint, read_weights, unwrapped
from kofid.reader.fid.reader import FiDReader
from kofid.reader.fid.weights import from_t5
from kofid.storage.artifacts import open_artifact
from kofid.training.tokenizers import train_tokenizer
from kofid.types import Hit, Passage

# Three passages of one question, of different lengths.
IDS = torch.tensor([5, 9, 11, 1, 8, 3, 1, 20, 21, 22, 23, 1])
LENGTHS = [4, 3, 5]
LABELS = torch.tensor([[7, 12, 30, 1]])
Save = Callable[..., Path]


@pytest.fixture(scope="module")
def t5_tokenizer() -> T5Tokenizer:
    return train_tokenizer(TEXTS, 300)


@pytest.fixture(scope="module")
def gpt2_tokenizer() -> PreTrainedTokenizerFast:
    """A GPT-2's tokenizer that, as KoGPT2's, does not itself name the token that ends a text."""
    learned = ByteLevelBPETokenizer()
    learned.train_from_iterator(TEXTS, vocab_size=280, special_tokens=["<s>", "</s>"], show_progress=False)
    return PreTrainedTokenizerFast(tokenizer_object=learned._tokenizer)


@pytest.fixture
def save(tmp_path: Path, t5_tokenizer: T5Tokenizer) -> Save:
    """Write a checkpoint's folder: configuration, weights under a name, a tokenizer unless told not to."""

    def write(
        model: Any, weights: dict[str, torch.Tensor], name: str = "model.safetensors", tokenizer: Any = t5_tokenizer
    ) -> Path:
        folder = tmp_path / "checkpoint"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(model.config.to_dict()))
        if name.endswith(".bin"):
            torch.save(weights, folder / name)
        else:
            save_file({n: w.clone().contiguous() for n, w in weights.items()}, folder / name)
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
        return folder

    return write


def converted(folder: Path, output: Path, decoder: Path | None = None, **options: Any) -> FiDReader:
    """Convert a checkpoint and open what was written."""
    convert_checkpoint(folder, output, decoder, **{"variant": Variant()} | options)
    return FiDReader.load(str(open_artifact(output, "reader").directory))


@torch.no_grad()
def fused_logits(model: Any) -> torch.Tensor:
    """Return Transformers' logits over states of passages that were encoded one by one."""
    states = [model.encoder(input_ids=ids[None]).last_hidden_state for ids in IDS.split(LENGTHS)]
    joined = BaseModelOutput(last_hidden_state=torch.cat(states, dim=1))
    return model(encoder_outputs=joined, labels=LABELS).logits


@torch.no_grad()
def logits_of(reader: FiDReader) -> torch.Tensor:
    return reader.model(Batch(IDS, LENGTHS, [3], LABELS))[1]


# --- the same logits -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("kind", ["relu", "gated-gelu"])
def test_a_fid_reader_gives_the_logits_of_its_t5(save: Save, tmp_path: Path, file: str, kind: str):
    model = tiny_t5(feed_forward_proj=kind)
    folder = save(model, wrapped(weights_of(model)), file)
    reader = converted(folder, tmp_path / "reader", allow_pickle=True)
    torch.testing.assert_close(logits_of(reader), fused_logits(model), atol=1e-4, rtol=1e-4)
    settings = open_artifact(tmp_path / "reader", "reader").settings
    assert (settings["reader"], settings["model"], settings["max_tokens"]) == ("t5", str(folder), 250)
    assert reader.read("누가?", [Hit(Passage("a", "세종", "세종이 만들었다."), 1.0)]) is not None


def test_a_plain_t5_keeps_its_logits(save: Save, tmp_path: Path):
    model = tiny_t5()
    reader = converted(save(model, weights_of(model)), tmp_path / "t5")
    torch.testing.assert_close(logits_of(reader), fused_logits(model), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_an_output_layer_of_its_own_is_kept(save: Save, tmp_path: Path, file: str):
    model = sharp(MT5ForConditionalGeneration(MT5Config(**SHAPE, num_decoder_layers=2, **TOKENS)))
    model.lm_head.weight = torch.nn.Parameter(torch.randn(VOCABULARY, 32))
    reader = converted(save(model, weights_of(model), file), tmp_path / "mt5", allow_pickle=True)
    torch.testing.assert_close(logits_of(reader), fused_logits(model), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("tied", [True, False])
def test_t5_1_1_does_not_scale_its_output(save: Save, tmp_path: Path, tied: bool):
    # Its config.json says so only by tie_word_embeddings.
    model = tiny_t5(feed_forward_proj="gated-gelu", tie_word_embeddings=tied)
    if not tied:
        model.lm_head.weight = torch.nn.Parameter(torch.randn(VOCABULARY, 32))
    folder = save(model, wrapped(weights_of(model)))
    config = json.loads((folder / "config.json").read_text()) | {"tie_word_embeddings": tied}
    del config["scale_decoder_outputs"]
    (folder / "config.json").write_text(json.dumps(config))
    reader = converted(folder, tmp_path / "reader")
    assert (reader.model.lm_head is None) == tied
    torch.testing.assert_close(logits_of(reader), fused_logits(model), atol=1e-4, rtol=1e-4)


def test_weights_in_parts(save: Save, tmp_path: Path):
    model = tiny_t5()
    weights = wrapped(weights_of(model))
    names = sorted(weights)
    folder = save(model, {name: weights[name] for name in names[:20]}, "model-1.safetensors")
    save_file({name: weights[name] for name in names[20:]}, folder / "model-2.safetensors")
    parts = {name: f"model-{1 + (i >= 20)}.safetensors" for i, name in enumerate(names)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))
    torch.testing.assert_close(
        logits_of(converted(folder, tmp_path / "reader")), fused_logits(model), atol=1e-4, rtol=1e-4
    )


def test_names_without_wrappers():
    one = torch.ones(1)
    named = {
        "shared.weight": "shared.weight",
        "encoder.encoder.embed_tokens.weight": "encoder.embed_tokens.weight",
        "encoder.encoder.block.11.module.layer.0.SelfAttention.q.weight": "encoder.block.11.layer.0.SelfAttention.q.weight",
        "encoder.encoder.block.0.layer.1.layer_norm.weight": "encoder.block.0.layer.1.layer_norm.weight",
        "encoder.encoder.final_layer_norm.weight": "encoder.final_layer_norm.weight",
        "decoder.block.0.layer.0.SelfAttention.q.weight": "decoder.block.0.layer.0.SelfAttention.q.weight",
    }
    assert list(unwrapped(dict.fromkeys(named, one))) == list(named.values())
    unused = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    assert unwrapped({unused: one, "lm_head.weight": one}) == {"lm_head.weight": one}
    weights = weights_of(tiny_t5())
    assert list(unwrapped(weights)) == list(weights) == list(unwrapped(wrapped(weights)))


# --- FiDSKT ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
@torch.no_grad()
def test_a_gpt2_becomes_the_decoder(save: Save, tmp_path: Path, gpt2_tokenizer: PreTrainedTokenizerFast, file: str):
    model, gpt2 = tiny_t5(), tiny_gpt2()
    gpt2_tokenizer.save_pretrained(tmp_path / "gpt2")
    (tmp_path / "gpt2/config.json").write_text(json.dumps(gpt2.config.to_dict()))
    # As KoGPT2's: with the causal masks of old versions, without a prefix.
    masks = {f"h.{i}.attn.{name}": torch.ones(1, 1, 64, 64) for i in range(2) for name in ("bias", "masked_bias")}
    weights = {name: w.clone() for name, w in gpt2.transformer.state_dict().items()} | masks
    if file.endswith(".bin"):
        torch.save(weights, tmp_path / "gpt2" / file)
    else:
        save_file(weights, tmp_path / "gpt2" / file)
    folder = save(model, wrapped(weights_of(model)))
    reader = converted(folder, tmp_path / "skt", tmp_path / "gpt2", allow_pickle=True)

    # New cross-attention ends in zeros: GPT-2 writes as it did alone, whatever the passages.
    starts = torch.cat((torch.tensor([[0]]), LABELS[:, :-1]), dim=1)
    torch.testing.assert_close(logits_of(reader), gpt2(input_ids=starts).logits, atol=1e-4, rtol=1e-4)
    # The encoder is the T5's.
    states = reader.model.encoder(reader.model.shared(IDS), LENGTHS).split(LENGTHS)
    for ids, found in zip(IDS.split(LENGTHS), states, strict=True):
        torch.testing.assert_close(found, model.encoder(input_ids=ids[None]).last_hidden_state[0], atol=1e-4, rtol=1e-4)
    assert open_artifact(tmp_path / "skt", "reader").settings["reader"] == "skt"
    # The tokenizer ends answers with the token that the model's configuration names.
    assert gpt2_tokenizer.eos_token_id is None
    assert reader.decoder_tokenizer.eos_token_id == reader.model.end_token == 1
    assert len(reader.tokenizer) != len(reader.decoder_tokenizer)
    # Converted once more, it keeps both tokenizers.
    again = converted(tmp_path / "skt", tmp_path / "again", variant=Variant.of(n_kv_heads=2))
    assert again.model.variant.n_kv_heads == 2
    assert len(again.decoder_tokenizer) == len(reader.decoder_tokenizer) and again.decoder_tokenizer.eos_token_id == 1


# --- options ---------------------------------------------------------------------------------------------------


def test_options_are_fitted(save: Save, tmp_path: Path):
    model = tiny_t5()
    folder = save(model, wrapped(weights_of(model)))
    variant = Variant.of(3, "2,4", 2)
    reader = converted(folder, tmp_path / "reader", variant=variant, max_tokens=100)
    assert reader.model.variant == variant and variant.cross_layers == (2, 4)
    torch.testing.assert_close(logits_of(reader), logits_of(FiDReader(from_t5(model, variant), reader.tokenizer)))
    crossing = [attention is not None for attention in reader.model.decoder.cross_attentions]
    assert crossing == [False, True, False, True]
    assert reader.model.decoder.cross_attentions[1].n_kv_heads == 2
    assert open_artifact(tmp_path / "reader", "reader").settings["max_tokens"] == 100

    # A reader of kofid keeps what is not asked to change.
    again = converted(tmp_path / "reader", tmp_path / "again", variant=Variant.of(n_kv_heads=1))
    assert again.model.variant == Variant.of(3, "2,4", 1)
    assert open_artifact(tmp_path / "again", "reader").settings["max_tokens"] == 100
    same = converted(tmp_path / "reader", tmp_path / "same")
    torch.testing.assert_close(logits_of(same), logits_of(reader), atol=0, rtol=0)


@pytest.mark.parametrize(
    ("layers", "kv_heads", "option"),
    [("5", 0, "n_cross_layer"), ("1,9", 0, "n_cross_layer"), (None, 3, "n_kv_heads")],
)
def test_options_that_do_not_fit(save: Save, tmp_path: Path, layers: str | None, kv_heads: int, option: str):
    model = tiny_t5()
    folder = save(model, weights_of(model))
    with pytest.raises(UsageError, match=option):
        convert_checkpoint(folder, tmp_path / "reader", variant=Variant.of(0, layers, kv_heads))
    assert not (tmp_path / "reader").exists()


# --- pickles ---------------------------------------------------------------------------------------------------


def test_pickles_are_refused_with_a_hint(save: Save, tmp_path: Path):
    model = tiny_t5()
    folder = save(model, weights_of(model), "pytorch_model.bin")
    with pytest.raises(InputError, match=r"pytorch_model\.bin.*allow_pickle"):
        convert_checkpoint(folder, tmp_path / "reader", variant=Variant())
    assert not (tmp_path / "reader").exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("allow_pickle", [False, True])
@pytest.mark.parametrize("write", ["pickle", "torch", "torch-old"])
def test_a_pickle_is_never_run(save: Save, tmp_path: Path, write: str, allow_pickle: bool):
    model = tiny_t5()
    folder, marker = save(model, {}, "pytorch_model.bin"), tmp_path / "was-run"
    weights: dict[str, Any] = {**weights_of(model), "extra": Bomb(marker)}
    with (folder / "pytorch_model.bin").open("wb") as file:
        if write == "pickle":
            pickle.dump(weights, file)
        else:
            torch.save(weights, file, _use_new_zipfile_serialization=write == "torch")
    with pytest.raises(InputError, match=r"pytorch_model\.bin"):
        convert_checkpoint(folder, tmp_path / "reader", variant=Variant(), allow_pickle=allow_pickle)
    assert not marker.exists() and not (tmp_path / "reader").exists()
    pickle.loads(pickle.dumps(Bomb(marker)))
    assert marker.exists(), "the bomb works"


def test_safetensors_come_first(save: Save, tmp_path: Path):
    model = tiny_t5()
    folder = save(model, weights_of(model))
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "was-run")))
    assert read_weights(folder, allow_pickle=True).keys() == weights_of(model).keys()
    assert not (tmp_path / "was-run").exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    "content", [b"", b"\x80\x04garbage", b"PK\x03\x04", pickle.dumps([1]), pickle.dumps({"a": "b"})]
)
def test_broken_pickles(tmp_path: Path, content: bytes):
    (tmp_path / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(InputError, match=r"pytorch_model\.bin"):
        read_weights(tmp_path, allow_pickle=True)


# --- what is no reader -----------------------------------------------------------------------------------------


def lose(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: w for name, w in weights.items() if name != "decoder.final_layer_norm.weight"}


def add(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return weights | {"adapter.weight": torch.ones(3)}


def untie(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return weights | {"encoder.embed_tokens.weight": weights["shared.weight"] + 1}


def narrow(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return weights | {"decoder.final_layer_norm.weight": torch.ones(3)}


@pytest.mark.parametrize(
    ("change", "message"),
    [(lose, "decoder.final_layer_norm"), (add, "adapter.weight"), (untie, "embed_tokens"), (narrow, "checkpoint")],
)
def test_weights_that_are_not_a_t5_s(save: Save, tmp_path: Path, change: Any, message: str):
    model = tiny_t5()
    folder = save(model, wrapped(change(weights_of(model))))
    with pytest.raises(InputError, match=message):
        convert_checkpoint(folder, tmp_path / "reader", variant=Variant())
    assert not (tmp_path / "reader").exists()


def test_a_gpt2_with_an_output_layer_of_its_own(tmp_path: Path, save: Save, t5_tokenizer: T5Tokenizer):
    model, gpt2 = tiny_t5(), tiny_gpt2()
    t5_tokenizer.save_pretrained(tmp_path / "gpt2")
    (tmp_path / "gpt2/config.json").write_text(json.dumps(gpt2.config.to_dict()))
    weights = {name: weight.clone() for name, weight in gpt2.state_dict().items()}
    save_file(weights | {"lm_head.weight": torch.randn(300, 24)}, tmp_path / "gpt2/model.safetensors")
    with pytest.raises(InputError, match=r"lm_head\.weight"):
        converted(save(model, weights_of(model)), tmp_path / "skt", tmp_path / "gpt2")


def test_folders_that_are_no_checkpoint(save: Save, tmp_path: Path, t5_tokenizer: T5Tokenizer):
    def refuse(message: str, **options: Any) -> None:
        with pytest.raises(InputError, match=message):
            convert_checkpoint(folder, tmp_path / "reader", **{"variant": Variant()} | options)
        assert not (tmp_path / "reader").exists()

    model = tiny_t5()
    folder = save(model, weights_of(model), tokenizer=None)
    refuse("tokenizer")
    refuse("tokenizer", tokenizer=str(tmp_path))
    t5_tokenizer.save_pretrained(tmp_path / "words")
    words = str(tmp_path / "words")
    assert converted(folder, tmp_path / "fine", tokenizer=words).tokenizer.eos_token_id == 1
    refuse("GPT-2", tokenizer=words, decoder=folder)  # has no tokenizer
    (tmp_path / "words/config.json").write_bytes((folder / "config.json").read_bytes())
    refuse("gpt2", tokenizer=words, decoder=tmp_path / "words")  # a T5 is no decoder
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((chr(0xAC00 + i), -1.0) for i in range(400))]
    T5Tokenizer(vocab=pieces, extra_ids=0).save_pretrained(tmp_path / "many")
    refuse("320", tokenizer=str(tmp_path / "many"))
    config = json.loads((folder / "config.json").read_text())
    for text, message in (
        (json.dumps(config | {"model_type": "bert"}), "'bert'"),
        (json.dumps(config | {"d_ff": "wide"}), "checkpoint"),
        ("[]", r"config\.json"),
        ("{", r"config\.json"),
    ):
        (folder / "config.json").write_text(text)
        refuse(message, tokenizer=words)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"no tensors")
    refuse(r"model\.safetensors", tokenizer=words)
    (folder / "model.safetensors").unlink()
    refuse("model.safetensors", tokenizer=words)
    (folder / "model.safetensors.index.json").write_text('{"weight_map": 3}')
    refuse(r"index\.json", tokenizer=words)
