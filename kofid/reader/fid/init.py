"""Readers trained from nothing: configurations by size, and weights to start from."""

from __future__ import annotations

from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

from kofid.errors import UsageError
from kofid.language import say
from kofid.reader.fid.config import Variant
from kofid.reader.fid.model import FusionReader
from kofid.reader.fid.weights import from_t5, join

# What can be trained from nothing on a laptop.
FRESH: dict[str, dict[str, Any]] = {
    "tiny": {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4},
    "mini": {"d_model": 192, "d_kv": 32, "d_ff": 384, "num_layers": 4, "num_decoder_layers": 2, "num_heads": 6},
    "compact": {"d_model": 256, "d_kv": 32, "d_ff": 640, "num_layers": 5, "num_decoder_layers": 2, "num_heads": 8},
    "thin": {"d_model": 128, "d_kv": 16, "d_ff": 256, "num_layers": 4, "num_decoder_layers": 12, "num_heads": 8},
    "small": {"d_model": 512, "d_kv": 64, "d_ff": 1024, "num_layers": 8, "num_decoder_layers": 8, "num_heads": 8},
}
_N_POSITIONS = 256


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
    tokens = {"decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1}
    config = T5Config(vocab_size=vocab_size, dropout_rate=0.0, feed_forward_proj="gated-gelu", **shape, **tokens)
    if skt:
        reader = join(from_t5(T5ForConditionalGeneration(config)), GPT2LMHeadModel(_gpt2_config(config)), variant)
    else:
        reader = from_t5(T5ForConditionalGeneration(config), variant)
    mimetic_init(reader)
    return reader


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
    to its like elsewhere; one head each looks at the token before and after. Cross-attention gets orthogonal values and
    their transpose as output, so that what is attended to is passed on. After Trockman and Kolter 2023 ("Mimetic
    Initialization of Self-Attention Layers"), section 3; a model with little data need not find these by itself.
    """
    config = model.config
    if model.match is not None:
        torch.nn.init.normal_(model.match.weight, std=0.5)  # tokens' own embeddings have 1
    if model.copying is not None:
        model.copying.start(fresh=True)
    d_kv, matching = config.d_kv, config.num_heads // 2
    rows = matching * d_kv
    # A normed token has squared length d_model: this scale gives a token's logit with its like a mean of 8.
    scale = (8 / (d_kv * config.d_model)) ** 0.5
    for attention in model.encoder.attentions:
        attention.q.weight[:rows] = scale * torch.randn(rows, config.d_model)
        attention.k.weight[:rows] = attention.q.weight[:rows]
        attention.q.weight[rows : rows + 2 * d_kv] *= 0.1  # the neighbours' heads go by position
    bias = model.encoder.distance_biases.weight  # (buckets, heads)
    after = config.relative_attention_num_buckets // 2 + 1  # the bucket of the next token; that of the one before is 1
    bias.zero_()
    bias[0, :matching] = -10
    bias[1, matching] = bias[after, matching + 1] = 6
    for cross in model.decoder.cross_attentions:
        if cross is not None:
            torch.nn.init.orthogonal_(cross.v.weight)
            group = cross.n_heads // cross.n_kv_heads
            back = cross.v.weight.T.reshape(-1, cross.n_kv_heads, cross.d_head).repeat_interleave(group, dim=1)
            cross.o.weight.copy_(back.flatten(1) / group)
