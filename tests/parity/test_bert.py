"""BERT's layers over packed passages against Transformers' BertModel, and readers that are made on a BERT."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support.berts import new_bert
from support.copiers import BOTH, matched
from support.twins import VOCABULARY, bert_config, close, enliven, gpt2_config, lively
from transformers import BertModel, GPT2LMHeadModel

from kofid.errors import InputError
from kofid.reader.fid.batch import Batch
from kofid.reader.fid.bert import BertEncoder
from kofid.reader.fid.config import Decoding, ScoreMethod, Variant
from kofid.reader.fid.generation import generate_n_best
from kofid.reader.fid.init import reader_on_bert
from kofid.reader.fid.int8 import quantize
from kofid.reader.fid.lexical_match import N_FEATURES
from kofid.reader.fid.model import FusionReader
from kofid.reader.fid.passage_scores import score_passages
from kofid.reader.fid.weights import bert_weights, join, open_reader_model, save_reader_model

EVERYTHING = Variant(first_k=3, n_cross_layer=2, n_kv_heads=2, pointing=True, match=True, copying=True)


def on_bert(variant: Variant | None = None, **options: int) -> FusionReader:
    """Return a reader made on a BERT, with tokens 0 and 1 around an answer."""
    bert = enliven(BertModel(bert_config(), add_pooling_layer=False), 2)
    torch.manual_seed(0)
    return reader_on_bert(bert, variant, start_token=0, end_token=1, **options).eval()


# --- the encoder ----------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("changes", [{}, {"hidden_act": "gelu_new", "num_attention_heads": 2}, {"type_vocab_size": 1}])
def test_packed_states_are_bert_s_of_each_passage_alone(changes: dict[str, object]) -> None:
    plain = enliven(BertModel(bert_config(**changes)), 1)  # the pooler has no place
    encoder = BertEncoder(plain.config).eval()
    own = bert_weights(plain.state_dict())
    words = own.pop("shared.weight")
    encoder.load_state_dict({n.removeprefix("encoder."): w for n, w in own.items() if not n.startswith("pooler.")})
    rows = [torch.randint(0, VOCABULARY, (n,), generator=torch.Generator().manual_seed(n)) for n in (7, 1, 64, 7, 30)]
    found = encoder(words[torch.cat(rows)], [len(row) for row in rows]).split([len(row) for row in rows])
    for row, states in zip(rows, found, strict=True):
        expected = plain(input_ids=row[None]).last_hidden_state[0]
        close(states, expected)
        assert expected.std() > 0.5  # the comparison is of numbers that differ
    close(found[3], found[0], 1e-6)  # the same passage again: its positions begin anew


def test_it_has_dropout_in_training_only() -> None:
    encoder = BertEncoder(bert_config(hidden_dropout_prob=0.5))
    embedded = torch.randn(5, 32)
    assert torch.equal(encoder.eval()(embedded, [5]), encoder(embedded, [5]))
    assert not torch.equal(encoder.train()(embedded, [5]), encoder(embedded, [5]))


def test_a_passage_longer_than_its_positions_is_refused(english: None) -> None:
    with pytest.raises(InputError, match=r"65 tokens.*max_tokens=64"):
        lively(bert=True).encode(Batch(torch.zeros(67, dtype=torch.long), [2, 65], [2]))


def test_a_bert_alone_does_not_write() -> None:
    with pytest.raises(ValueError, match="decoder"):
        FusionReader(bert_config())


# --- readers made on it ---------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("variant", [Variant(), EVERYTHING], ids=["plain", "everything"])
def test_a_new_reader_has_the_bert_s_states_and_an_even_guess(variant: Variant) -> None:
    reader, batch = on_bert(variant), matched()
    plain = enliven(BertModel(bert_config(), add_pooling_layer=False), 2)
    states = [plain(input_ids=ids[None]).last_hidden_state[0] for ids in batch.input_ids.split(batch.lengths)]
    kept = torch.cat([passage[: variant.first_k or None] for passage in states])
    close(torch.cat([e.states for e in reader.encode(batch)]), kept)  # lexical matches begin with zeros
    assert reader.variant == variant and (reader.start_token, reader.end_token) == (0, 1)
    assert reader.lm_head is None  # the output layer is the words' vectors
    # Nothing is likely as yet: what is said costs about what it costs to guess, log 50 = 3.9.
    assert 3.0 < reader(batch)[0].item() < 6.0


def test_layers_that_add_to_words_begin_as_small_as_words() -> None:
    small = new_bert(initializer_range=0.02)
    reader = reader_on_bert(small, start_token=0, end_token=2, n_decoder_layers=3)
    assert len(reader.decoder.block) == 3
    embedded = reader.token_embedding(torch.randint(4, 50, (1, 6)))
    first = reader.decoder.block[0].layer[2]  # a feed-forward layer: what comes in, and what is added
    with torch.no_grad():
        added = first(embedded) - embedded
    assert 0.1 < (added.std() / embedded.std()).item() < 3


@torch.no_grad()
def test_a_gpt2_takes_the_states_over_the_bridge() -> None:
    encoder = on_bert()
    gpt2 = enliven(GPT2LMHeadModel(gpt2_config()), 5, std=0.3)
    reader, batch = join(encoder, gpt2, Variant(cross_layers=(2,), match=True)).eval(), matched()
    given = torch.cat((torch.zeros(3, 1, dtype=torch.long), batch.labels[:, :-1].clamp(min=0)), 1)
    close(reader(batch)[1], gpt2(given).logits, 3e-5)  # cross-attention ends in zeros
    for one, own in zip(reader.encode(batch), encoder.encode(batch), strict=True):
        close(one.states, reader.bridge(own.states))


@torch.no_grad()
@pytest.mark.parametrize("skt", [False, True])
def test_everything_at_once_in_32_16_and_8_bits(skt: bool, tmp_path: Path) -> None:
    variant = Variant(first_k=3, n_cross_layer=2, n_kv_heads=2, match=True) if skt else EVERYTHING
    reader, batch = lively(3, variant, skt=skt, bert=True, std=0.3), matched((3, 1))
    loss, logits = reader(batch)
    assert loss.isfinite()
    save_reader_model(reader, tmp_path)
    opened = open_reader_model(str(tmp_path)).eval()
    assert opened.variant == variant and torch.equal(opened(batch)[1], logits)
    half = open_reader_model(str(tmp_path), dtype=torch.bfloat16).eval()
    whole = open_reader_model(str(tmp_path)).eval()
    quantize(whole)
    for each in (opened, half, whole):
        assert each(batch)[0].item() == pytest.approx(loss.item(), rel=0.1)
        for absorbed in (False, True):
            encoded = each.encode(batch)
            for decoding in (Decoding(5, absorbed=absorbed), Decoding(5, n_beams=3, absorbed=absorbed)):
                assert all(row[0].log_probabilities for row in generate_n_best(each, encoded, decoding))
            for method in ScoreMethod:
                rows = score_passages(each, encoded, method, batch.labels, absorbed=absorbed)
                assert [len(row) for row in rows] == [3, 1] and torch.tensor(sum(rows, [])).isfinite().all()


@torch.no_grad()
def test_answers_can_be_held_to_the_passages() -> None:
    reader, batch = lively(3, BOTH, bert=True, std=0.3), matched((3, 1))
    decoding = Decoding(5, n_beams=2, from_passages=True)
    for one, answers in zip(reader.encode(batch), generate_n_best(reader, reader.encode(batch), decoding), strict=True):
        text = " ".join(map(str, one.ids.tolist()))
        assert all(" ".join(map(str, answer.ids)) in text for answer in answers)


@torch.no_grad()
def test_a_reader_that_is_there_learns_to_match_and_copy(tmp_path: Path) -> None:
    reader, batch = lively(3, bert=True, std=0.3), matched()
    save_reader_model(reader, tmp_path)
    more = open_reader_model(str(tmp_path), BOTH).eval()
    assert torch.equal(more.match.weight, torch.zeros(N_FEATURES, 32))
    close(more(batch)[1].exp(), reader(batch)[1].softmax(-1), 0.05)


# --- files that are none --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "changes", "named"),
    [
        ("encoder", {"hidden_size": 10**12}, "hidden_size"), ("encoder", {"hidden_size": -32}, "hidden_size"),
        ("encoder", {"hidden_size": 64}, "hidden_size"), ("encoder", {"hidden_size": "wide"}, None),
        ("encoder", {"num_hidden_layers": 10**6}, "num_hidden_layers"), ("encoder", {"num_attention_heads": 0}, "num_attention_heads"),
        ("encoder", {"num_attention_heads": 5}, "num_attention_heads"), ("encoder", {"vocab_size": 49}, "vocab_size"),
        ("encoder", {"max_position_embeddings": 10**9}, "max_position"), ("encoder", {"type_vocab_size": 0}, "type_vocab"),
        ("encoder", {"hidden_act": "nothing"}, "nothing"), ("encoder", {"layer_norm_eps": "small"}, None),
        ("encoder", {"hidden_dropout_prob": 7.0}, None), ("encoder", {"intermediate_size": 10**7}, None),
        ("encoder", {"num_hidden_layers": 3}, "encoder.layer.2"), ("decoder", {"d_model": 16}, "hidden_size"),
        ("decoder", {"num_decoder_layers": 10**6}, "num_decoder_layers"), ("decoder", {"decoder_start_token_id": 50}, "start_token"),
        ("decoder", {"eos_token_id": None}, "end_token"), ("decoder", {"model_type": "gpt2"}, None),
    ],
    ids=str,
)  # fmt: skip
def test_configurations_that_no_model_has_are_refused(
    part: str, changes: dict[str, object], named: str | None, tmp_path: Path, english: None
) -> None:
    save_reader_model(lively(0, bert=True), tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {part: config[part] | changes}))
    with pytest.raises(InputError, match=named):
        open_reader_model(str(tmp_path))


@pytest.mark.parametrize("config", [{"encoder": 3}, {"decoder": []}, {"encoder": {}, "decoder": {}}, {"fusion": None}])
def test_parts_that_are_none_are_refused(config: dict[str, object], tmp_path: Path) -> None:
    save_reader_model(lively(0, bert=True), tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    with pytest.raises(InputError):
        open_reader_model(str(tmp_path))
