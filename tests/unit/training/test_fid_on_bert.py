"""Fusion readers trained on a BERT: how texts are framed, where training starts, what it changes, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.berts import new_bert, unigram, write_bert, write_joint
from support.examples import CPU, EXAMPLES, PASSAGES, digest, write_fid
from support.twins import gpt2_config
from transformers import BertConfig, BertModel, GPT2LMHeadModel

from kofid.errors import InputError, UsageError
from kofid.experiments.ablation import Ablation
from kofid.reader.fid.config import Variant
from kofid.reader.fid.convert import convert_checkpoint
from kofid.reader.fid.inputs import encode_inputs, encode_targets, format_input
from kofid.reader.fid.lexical_match import Pieces
from kofid.reader.fid.reader import FiDReader
from kofid.reader.open import open_reader
from kofid.storage.artifacts import open_artifact
from kofid.training.data import reader_dataset
from kofid.training.encoder_export import import_encoder
from kofid.training.estimate import estimate
from kofid.training.fid import fit_fid, initial_reader, reader_batch
from kofid.training.fid_on_bert import open_bert
from kofid.training.options import FreshModel, ReadingLengths
from kofid.training.reader import train_reader
from kofid.training.teacher import open_teacher, score_examples
from kofid.training.tokenizers import train_wordpiece

EVERYTHING = Variant(first_k=20, n_cross_layer=2, n_kv_heads=2, match=True, copying=True)
OPTIONS = replace(CPU, max_steps=8, learning_rate=1e-2)
LENGTHS = ReadingLengths(n_context=2, max_tokens=60)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_bert(tmp_path_factory.mktemp("bert") / "bert"))


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("gpt2")
    GPT2LMHeadModel(gpt2_config(vocab_size=len(unigram()), bos_token_id=0, eos_token_id=2)).save_pretrained(folder)
    unigram().save_pretrained(folder)
    return str(folder)


def start(model: str, variant: Variant | None = None, **options: object) -> FiDReader:
    return initial_reader(model, [], variant or Variant(), max_tokens=60, **options)


@torch.no_grad()
def loss_of(reader: FiDReader) -> float:
    rows = [row | {"targets": row["targets"][:1]} for row in reader_dataset(EXAMPLES, 2)]
    return reader.model.eval()(reader_batch(reader, rows))[0].item()


# --- texts ----------------------------------------------------------------------------------------------------


def test_rows_are_framed_as_the_encoder_knows_them() -> None:
    tokens, question, passage = unigram(), EXAMPLES[0].question.text, PASSAGES[0]
    batch = encode_inputs(tokens, [question], [[passage, passage]], 60, pieces=Pieces(tokens))
    row = tokens(format_input(question, passage))["input_ids"]
    assert batch.input_ids.tolist() == [*row, *row]
    assert (row[0], row[-1], row.count(0), row.count(2)) == (0, 2, 1, 1)
    # What counts as the question ends where the passage begins.
    assert tokens.decode(row[1 : batch.n_question[0]]) == f"question: {question}"
    assert batch.matches[0] // 72 == 1 and batch.matches[batch.n_question[0]] // 72 == 0
    short = encode_inputs(tokens, [question], [[passage]], 12)
    assert short.input_ids.tolist() == [*row[:11], 2]


@pytest.mark.parametrize("kind", ["unigram", "wordpiece"])
def test_an_answer_has_no_token_before_it(kind: str) -> None:
    tokens = unigram() if kind == "unigram" else train_wordpiece([p.text for p in PASSAGES], 200)
    tokens.eos_token = tokens.sep_token
    end = tokens.sep_token_id
    plain = tokens("가온", add_special_tokens=False)["input_ids"]
    labels = encode_targets(tokens, ["가온", "", "다리는 가온이"], 4)
    assert labels[0, : len(plain) + 1].tolist() == [*plain, end]
    assert labels[1].tolist() == [end, *[-100] * (labels.shape[1] - 1)]
    assert labels.shape == (3, 4) and labels[2, -1] == end and tokens.cls_token_id not in labels


# --- where training starts ------------------------------------------------------------------------------------


def test_a_checkpoint_becomes_a_reader(bert: str, tmp_path: Path) -> None:
    reader = start(bert, fresh=FreshModel(n_decoder_layers=3), seed=4)
    assert len(reader.model.decoder.block) == 3
    assert (reader.model.start_token, reader.model.end_token) == (0, 2)
    plain = new_bert().state_dict()
    assert torch.equal(reader.model.shared.weight, plain["embeddings.word_embeddings.weight"])
    own = dict(reader.model.encoder.named_parameters())
    assert torch.equal(own["layer.1.output.dense.weight"], plain["encoder.layer.1.output.dense.weight"])
    assert digest(start(bert, fresh=FreshModel(n_decoder_layers=3), seed=4).model) == digest(reader.model)
    assert digest(start(bert, fresh=FreshModel(n_decoder_layers=3), seed=5).model) != digest(reader.model)
    reader.save(tmp_path)
    assert not (tmp_path / "decoder").exists()  # one tokenizer reads and writes
    opened = FiDReader.load(str(tmp_path), max_tokens=60)
    assert digest(opened.model) == digest(reader.model)
    text = "다리은(는) 가온이(가)"
    assert opened.tokenizer(text)["input_ids"] == unigram()(text)["input_ids"]


def test_so_does_a_joint_reader_s_encoder(tmp_path: Path) -> None:
    folder = write_joint(tmp_path / "joint")
    reader = start(str(folder))
    encoder, _ = import_encoder(folder)
    key = "layer.0.attention.self.query.weight"
    assert torch.equal(reader.model.encoder.state_dict()[key], encoder.encoder.state_dict()[key])
    assert reader.tokenizer("다리")["input_ids"] == unigram()("다리")["input_ids"]
    reader.save(tmp_path / "reader")
    opened = FiDReader.load(str(tmp_path / "reader"), max_tokens=60)
    assert opened.tokenizer("다리")["input_ids"] == unigram()("다리")["input_ids"]
    assert loss_of(opened) == loss_of(reader)


def test_a_bert_of_word_pieces_too(tmp_path: Path) -> None:
    tokens = train_wordpiece([p.text for p in PASSAGES] + [e.question.text for e in EXAMPLES], 200)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(tokens), **shape)).save_pretrained(tmp_path / "bert")
    tokens.save_pretrained(tmp_path / "bert")
    reader = start(str(tmp_path / "bert"))
    assert (reader.model.start_token, reader.model.end_token) == (tokens.cls_token_id, tokens.sep_token_id)
    fit_fid(reader, EXAMPLES, replace(OPTIONS, max_steps=2), tmp_path / "c", n_context=2)
    reader.save(tmp_path / "reader")
    opened = FiDReader.load(str(tmp_path / "reader"), max_tokens=60)
    e = EXAMPLES[0]
    assert opened.read(e.question.text, e.hits) == reader.read(e.question.text, e.hits)


def test_what_does_not_go_together_is_refused(bert: str, tmp_path: Path, english: None) -> None:
    with pytest.raises(UsageError, match="decoder"):
        start(bert, skt=True)
    with pytest.raises(UsageError, match="max_tokens=257.*max_tokens=256"):
        initial_reader(bert, [], Variant(), max_tokens=257)
    with pytest.raises(UsageError, match="n_cross_layer=3"):
        start(bert, Variant(n_cross_layer=3))
    write_bert(tmp_path / "broken")
    (tmp_path / "broken/model.safetensors").write_bytes(b"")
    new_bert(vocab_size=50).save_pretrained(tmp_path / "small")
    unigram().save_pretrained(tmp_path / "small")
    write_joint(tmp_path / "joint")
    (tmp_path / "joint/weights.safetensors").unlink()
    write_bert(tmp_path / "bare")
    (tmp_path / "bare/tokenizer.json").write_text("{}")
    for name in ("broken", "small", "joint", "bare"):
        with pytest.raises(InputError, match=name):
            start(str(tmp_path / name))
    with pytest.raises(InputError, match="nothing"):
        open_bert(str(tmp_path / "nothing"))


# --- training -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", [Variant(), EVERYTHING], ids=["plain", "everything"])
def test_a_few_steps_lower_the_loss(bert: str, variant: Variant, tmp_path: Path) -> None:
    reader = start(bert, variant)
    before = {name: weight.clone() for name, weight in reader.model.state_dict().items()}
    loss = loss_of(reader)
    fit_fid(reader, EXAMPLES, OPTIONS, tmp_path / "c", n_context=2)
    assert loss_of(reader) < 0.8 * loss
    moved = {name for name, weight in reader.model.state_dict().items() if not torch.equal(weight, before[name])}
    assert {"shared.weight", "encoder.embeddings.position_embeddings.weight"} <= moved
    reader.save(tmp_path / "reader")
    assert loss_of(FiDReader.load(str(tmp_path / "reader"), max_tokens=60)) == loss_of(reader)


def test_adapters_spare_the_encoder_and_its_words(bert: str, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    reader = start(bert, Variant(match=True))
    before = {name: weight.clone() for name, weight in reader.model.state_dict().items()}
    fit_fid(reader, EXAMPLES, replace(OPTIONS, max_steps=3, lora=2, bf16=True), tmp_path / "c", n_context=2)
    after = reader.model.state_dict()
    moved = {name for name, weight in after.items() if not torch.equal(weight, before[name])}
    attention = {n for n in before if n.startswith("encoder.layer.") and ".attention." in n and n.endswith("weight")}
    adapted = {n for n in attention if "LayerNorm" not in n}
    assert {n for n in moved if n.startswith(("encoder.", "shared."))} == adapted and len(adapted) == 8
    assert "match.weight" in moved
    assert {n for n in before if n.startswith("decoder.") and "relative" not in n} <= moved


def test_checkpointing_and_the_estimate(bert: str) -> None:
    reader = start(bert, EVERYTHING)
    before = digest(reader.model)
    plain, spared = (
        estimate(reader, EXAMPLES, replace(OPTIONS, gradient_checkpointing=spares), 2) for spares in (False, True)
    )
    assert spared["activations_mb"] < plain["activations_mb"]
    assert plain["n_trainable"] == plain["n_parameters"]
    assert digest(reader.model) == before


def test_files_to_artifact_to_scores_and_another_variant(bert: str, gpt2: str, tmp_path: Path) -> None:
    data = str(write_fid(tmp_path / "train.json", EXAMPLES))
    options = replace(OPTIONS, max_steps=2)
    train_reader(data, tmp_path / "t5", model=bert, variant=EVERYTHING, lengths=LENGTHS, options=options, half=True)
    skt = {"kind": "skt", "decoder": gpt2, "variant": Variant(match=True)}
    train_reader(data, tmp_path / "skt", model=bert, lengths=LENGTHS, options=options, **skt)
    for name in ("t5", "skt"):
        reader = open_reader(str(tmp_path / name), device="cpu", n_context=2)
        assert isinstance(reader, FiDReader) and reader.max_tokens == 60
        config = json.loads((open_artifact(tmp_path / name, "reader").directory / "config.json").read_text())
        assert config["model_type"] == "kofid-fid-bert"
        reader.read(EXAMPLES[0].question.text, EXAMPLES[0].hits)
        teacher = open_teacher(str(tmp_path / name), device="cpu", n_context=2)
        for method in ("first", "answer", "max", "norm"):
            scored = list(score_examples(teacher, EXAMPLES[:2], method=method))
            assert all(hit.source == "reader" for example in scored for hit in example.hits)
        settings = convert_checkpoint(tmp_path / name, tmp_path / f"{name}-2", variant=Variant(n_kv_heads=1))
        assert settings["reader"] == name and settings["n_kv_heads"] == 1 and settings["max_tokens"] == 60
        assert open_reader(str(tmp_path / f"{name}-2"), device="cpu").model.decoder.cross_attentions[1].n_kv_heads == 1
    # Trained on from what it is; and a FiD reader's encoder joined to a GPT-2.
    again = initial_reader(str(open_artifact(tmp_path / "t5", "reader").directory), [], Variant(), max_tokens=60)
    assert again.model.variant == EVERYTHING
    settings = convert_checkpoint(tmp_path / "t5", tmp_path / "joined", Path(gpt2), variant=Variant(n_cross_layer=2))
    assert settings["reader"] == "skt"


def test_ablations_start_from_it(bert: str, tmp_path: Path) -> None:
    ablation = Ablation(tmp_path / "ablation", ["q.jsonl"], tmp_path / "kb", model=bert)
    assert "K8" in ablation.names() and "FiDSKT" not in ablation.names()
