"""Readers trained from nothing, or on a pretrained encoder: configurations, and weights to start from."""

from __future__ import annotations

from typing import Any

import torch
from transformers import BertModel, GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

from kofid.errors import UsageError
from kofid.language import say
from kofid.reader.fid.config import Variant
from kofid.reader.fid.model import FusionReader
from kofid.reader.fid.t5 import T5Encoder
from kofid.reader.fid.weights import from_bert, from_t5, join

# What can be trained from nothing on a laptop.
FRESH: dict[str, dict[str, Any]] = {
    "tiny": {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4},
    "mini": {"d_model": 192, "d_kv": 32, "d_ff": 384, "num_layers": 4, "num_decoder_layers": 2, "num_heads": 6},
    "compact": {"d_model": 256, "d_kv": 32, "d_ff": 640, "num_layers": 5, "num_decoder_layers": 2, "num_heads": 8},
    "thin": {"d_model": 128, "d_kv": 16, "d_ff": 256, "num_layers": 4, "num_decoder_layers": 12, "num_heads": 8},
    "small": {"d_model": 512, "d_kv": 64, "d_ff": 1024, "num_layers": 8, "num_decoder_layers": 8, "num_heads": 8},
}
_N_POSITIONS = 256
# Layers of a new decoder on a pretrained encoder.
_DECODER_LAYERS = 2


def fresh_reader_model(
    size: str,
    vocab_size: int,
    variant: Variant | None = None,
    *,
    skt: bool = False,
    n_decoder_layers: int | None = None,
) -> FusionReader:
    """Return an untrained FiDT5, or FiDSKT, of a named size; raise UsageError for an unknown one.

    No dropout: these models see little data once or twice. ``n_decoder_layers`` other than the size's own is decoder
    scaling (FiDO, section 4.3).
    """
    if size not in FRESH:
        sizes = ", ".join(FRESH)
        raise UsageError(
            say(f"크기 '{size}'은(는) 없습니다. 있는 크기: {sizes}", f"no size '{size}'; there are: {sizes}")
        )
    shape = FRESH[size] | ({} if n_decoder_layers is None else {"num_decoder_layers": n_decoder_layers})
    config = _t5_config(vocab_size, start_token=0, end_token=1, dropout_rate=0.0, pad_token_id=0, **shape)
    if skt:
        reader = join(from_t5(T5ForConditionalGeneration(config)), GPT2LMHeadModel(_gpt2_config(config)), variant)
    else:
        reader = from_t5(T5ForConditionalGeneration(config), variant)
    mimetic_init(reader)
    return reader


def reader_on_bert(
    encoder: BertModel,
    variant: Variant | None = None,
    *,
    start_token: int,
    end_token: int,
    n_decoder_layers: int | None = None,
) -> FusionReader:
    """Return a reader with the weights of a pretrained ``encoder`` and an untrained T5 decoder of its width, 2 layers deep.

    The decoder shares the encoder's word vectors, for its output too. ``start_token`` and ``end_token`` are those around
    an answer.
    """
    config = encoder.config
    n_layers = _DECODER_LAYERS if n_decoder_layers is None else n_decoder_layers
    decoder = _t5_config(
        config.vocab_size,
        start_token=start_token,
        end_token=end_token,
        d_model=config.hidden_size,
        d_kv=config.hidden_size // config.num_attention_heads,
        d_ff=-(-2 * config.intermediate_size // 3),  # so three gated products are as large as BERT's two (Shazeer 2020)
        num_heads=config.num_attention_heads,
        num_layers=n_layers,  # no T5 encodes, but the configuration has a number
        num_decoder_layers=n_layers,
        dropout_rate=config.hidden_dropout_prob,
        pad_token_id=config.pad_token_id,
        scale_decoder_outputs=False,
    )
    reader = from_bert(encoder, T5ForConditionalGeneration(decoder), variant)
    if reader.copying is not None:
        reader.copying.start(fresh=True)
    _pass_on(reader)
    _suit_to_bert(reader, encoder.encoder.layer[-1].output.LayerNorm.weight)
    return reader


@torch.no_grad()
def _suit_to_bert(reader: FusionReader, last_norm: torch.Tensor) -> None:
    """Fit the sizes of a T5 decoder's first weights to a BERT's words and states, of which the ``last_norm`` is (d_model,).

    T5's words begin with numbers of size 1 and its states have that size. A BERT's words have 0.05 or so: the layers that
    add to them begin smaller by as much, else they would drown them (the logits are not scaled down, for the same reason).
    Its states have the size of its last norm: what asks them begins larger by as much. Tried on 128 questions of TyDi, 64
    steps with fixed states: with a pointer the loss fell to 1.7, to 2.8 with neither of both and 3.2 as T5 begins; without
    one to 1.4, and where logits were scaled down to 8.7.
    """
    words, states = (weight.pow(2).mean().sqrt() for weight in (reader.shared.weight, last_norm))
    for name, weight in reader.decoder.named_parameters():
        if name.endswith((".o.weight", ".wo.weight")):
            weight.mul_(words)
    for cross in reader.decoder.cross_attentions:
        if cross is not None:
            cross.k.weight.div_(states)
            cross.v.weight.div_(states)
    if reader.copying is not None:
        reader.copying.query.weight.div_(states)


def _t5_config(vocab_size: int, *, start_token: int, end_token: int, **shape: Any) -> T5Config:
    tokens = {"decoder_start_token_id": start_token, "eos_token_id": end_token}
    return T5Config(vocab_size=vocab_size, feed_forward_proj="gated-gelu", **shape, **tokens)


def _gpt2_config(config: T5Config) -> GPT2Config:
    """Return the decoder that goes with a T5 of a fresh size: as wide, as deep as the T5's own."""
    return GPT2Config(
        vocab_size=config.vocab_size,
        n_positions=_N_POSITIONS,
        n_embd=config.d_model,
        n_head=config.num_heads,
        n_layer=config.num_decoder_layers,
        bos_token_id=0,
        eos_token_id=1,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )


@torch.no_grad()
def mimetic_init(model: FusionReader) -> None:
    """Start an untrained model with heads that match equal tokens or look at neighbours, and a decoder that can copy.

    Where it has lexical matches and a pointer, these start at random.

    Half of the encoder's heads get equal query and key weights and look away from themselves, so that a token attends
    to its like elsewhere; one head each looks at the token before and after. Cross-attention passes on what it attends
    to. After Trockman and Kolter 2023 ("Mimetic Initialization of Self-Attention Layers"), section 3; a model with little
    data need not find these by itself.
    """
    config, encoder = model.config, model.encoder
    if not isinstance(config, T5Config) or not isinstance(encoder, T5Encoder):
        raise ValueError("a BERT was trained")
    if model.match is not None:
        torch.nn.init.normal_(model.match.weight, std=0.5)  # tokens' own embeddings have 1
    if model.copying is not None:
        model.copying.start(fresh=True)
    d_kv, matching = config.d_kv, config.num_heads // 2
    rows = matching * d_kv
    # A normed token has squared length d_model: this scale gives a token's logit with its like a mean of 8.
    scale = (8 / (d_kv * config.d_model)) ** 0.5
    for attention in encoder.attentions:
        attention.q.weight[:rows] = scale * torch.randn(rows, config.d_model)
        attention.k.weight[:rows] = attention.q.weight[:rows]
        attention.q.weight[rows : rows + 2 * d_kv] *= 0.1  # the neighbours' heads go by position
    bias = encoder.distance_biases.weight  # (buckets, heads)
    after = config.relative_attention_num_buckets // 2 + 1  # the bucket of the next token; that of the one before is 1
    bias.zero_()
    bias[0, :matching] = -10
    bias[1, matching] = bias[after, matching + 1] = 6
    _pass_on(model)


@torch.no_grad()
def _pass_on(model: FusionReader) -> None:
    """Start cross-attention with orthogonal values and their transpose as output: what is attended to is passed on."""
    for cross in model.decoder.cross_attentions:
        if cross is not None:
            torch.nn.init.orthogonal_(cross.v.weight)
            group = cross.n_heads // cross.n_kv_heads
            back = cross.v.weight.T.reshape(-1, cross.n_kv_heads, cross.d_head).repeat_interleave(group, dim=1)
            cross.o.weight.copy_(back.flatten(1) / group)
