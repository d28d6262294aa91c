"""FiDT5: a T5 that encodes each passage apart and fuses them in the decoder (Izacard and Grave 2021, section 3)."""

from __future__ import annotations

from typing import Any

import torch
from transformers import T5Config, T5ForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput


class FiDT5(T5ForConditionalGeneration):
    """T5 with passages as a dimension of their own; parameter names and files are those of T5."""

    def fuse(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[BaseModelOutput, torch.Tensor]:
        """Encode every passage apart and join the states of a question's passages.

        Takes ids and mask of shape (batch, n_passages, length); returns states of shape
        (batch, n_passages x length, d_model) and their mask (batch, n_passages x length). Passages whose mask is
        all zero are not encoded.
        """
        batch, n_passages, length = input_ids.shape
        rows = attention_mask.any(-1).flatten().nonzero().squeeze(-1)
        encoded = self.encoder(
            input_ids=input_ids.flatten(0, 1)[rows], attention_mask=attention_mask.flatten(0, 1)[rows]
        ).last_hidden_state
        states = encoded.new_zeros(batch * n_passages, length, encoded.shape[-1]).index_copy(0, rows, encoded)
        fused = BaseModelOutput(last_hidden_state=states.view(batch, n_passages * length, -1))
        return fused, attention_mask.flatten(1)

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        encoder_outputs: BaseModelOutput | None = None,
        **kwargs: Any,
    ) -> Seq2SeqLMOutput:
        """Return loss and logits as T5 does, from ids of shape (batch, n_passages, length) or plain (batch, length).

        While generating, ``encoder_outputs`` and their mask are what ``fuse`` returned.
        """
        if encoder_outputs is None and input_ids is not None:
            if input_ids.dim() == 2:  # one passage a question: plain T5
                input_ids = input_ids.unsqueeze(1)
            mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask.view(input_ids.shape)
            encoder_outputs, attention_mask = self.fuse(input_ids, mask)
        return super().forward(attention_mask=attention_mask, encoder_outputs=encoder_outputs, **kwargs)

    @torch.inference_mode()
    def answer(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, max_new_tokens: int, num_beams: int = 1
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Generate answers for ids and mask of shape (batch, n_passages, length).

        Returns answer ids (batch, tokens) and the probability of each answer, shape (batch,): the product of its
        tokens' probabilities.
        """
        fused, mask = self.fuse(input_ids, attention_mask)
        output = self.generate(
            encoder_outputs=fused,
            attention_mask=mask,
            max_new_tokens=max_new_tokens,
            num_beams=num_beams,
            do_sample=False,
            output_scores=True,
            return_dict_in_generate=True,
        )
        beams = output.beam_indices if num_beams > 1 else None
        steps = self.compute_transition_scores(output.sequences, output.scores, beams, normalize_logits=num_beams == 1)
        ends = (output.sequences[:, 1 : 1 + steps.shape[1]] == self.config.eos_token_id).cumsum(-1)
        after_end = ends.roll(1, -1).index_fill(-1, torch.tensor([0], device=ends.device), 0) > 0
        return output.sequences, steps.masked_fill(after_end, 0.0).sum(-1).exp()

    @torch.inference_mode()
    def score_passages(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return how much the reader attends to each passage, shape (batch, n_passages); -inf where there is none.

        Cross-attention logits (before softmax) of the first decoded token, averaged over heads, layers and the
        passage's tokens (Izacard and Grave 2021b, "Distilling Knowledge from Reader to Retriever", section 3.2).
        """
        batch, n_passages, length = input_ids.shape
        fused, mask = self.fuse(input_ids, attention_mask)
        logits = first_token_logits(self, fused.last_hidden_state, mask).mean((1, 2))  # (batch, n_passages x length)
        tokens = attention_mask.sum(-1)
        sums = (logits * mask).view(batch, n_passages, length).sum(-1)
        return (sums / tokens.clamp(min=1)).masked_fill(tokens == 0, -torch.inf)


def first_token_logits(model: FiDT5, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the first decoded token's cross-attention logits, shape (batch, n_layers, n_heads, n_states).

    Takes encoder states (batch, n_states, d_model) and their mask. Walks the decoder's own layers once.
    """
    start = torch.full((len(states), 1), model.config.decoder_start_token_id, device=states.device)
    hidden = model.decoder.embed_tokens(start)
    additive = (1.0 - mask[:, None, None, :].to(states.dtype)) * torch.finfo(states.dtype).min
    position_bias = None
    logits = []
    for block in model.decoder.block:
        self_attention, cross_attention, feed_forward = block.layer
        hidden, position_bias, _ = self_attention(hidden, position_bias=position_bias)
        attention = cross_attention.EncDecAttention
        query = attention.q(cross_attention.layer_norm(hidden)).unflatten(-1, (attention.n_heads, -1))
        key = attention.k(states).unflatten(-1, (attention.n_heads, -1))
        logits.append(torch.einsum("bqhd,bshd->bhs", query, key))
        hidden, _, _ = cross_attention(hidden, key_value_states=states, attention_mask=additive)
        hidden = feed_forward(hidden)
    return torch.stack(logits, dim=1)


@torch.no_grad()
def mimetic_init(model: FiDT5) -> None:
    """Start an untrained model with heads that match equal tokens or look at neighbours, and a decoder that can copy.

    Half of the encoder's heads get equal query and key weights and look away from themselves, so that a token attends
    to its like elsewhere; one head each looks at the token before and after. Cross-attention gets orthogonal values and
    their transpose as output, so that what is attended to is passed on. After Trockman and Kolter 2023 ("Mimetic
    Initialization of Self-Attention Layers"), section 3; a model with little data need not find these by itself.
    """
    config = model.config
    d_kv, matching = config.d_kv, config.num_heads // 2
    rows = matching * d_kv
    # A normed token has squared length d_model: this scale gives a token's logit with its like a mean of 8.
    scale = (8 / (d_kv * config.d_model)) ** 0.5
    for block in model.encoder.block:
        attention = block.layer[0].SelfAttention
        attention.q.weight[:rows] = scale * torch.randn(rows, config.d_model)
        attention.k.weight[:rows] = attention.q.weight[:rows]
        attention.q.weight[rows : rows + 2 * d_kv] *= 0.1  # the neighbours' heads go by position
    bias = model.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight  # (buckets, heads)
    after = config.relative_attention_num_buckets // 2 + 1  # the bucket of the next token; that of the one before is 1
    bias.zero_()
    bias[0, :matching] = -10
    bias[1, matching] = bias[after, matching + 1] = 6
    for block in model.decoder.block:
        attention = block.layer[1].EncDecAttention
        torch.nn.init.orthogonal_(attention.v.weight)
        attention.o.weight.copy_(attention.v.weight.T)


# Fresh configurations, by size: what can be trained from nothing on a laptop.
FRESH: dict[str, dict[str, Any]] = {
    "tiny": {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4},
    "mini": {"d_model": 192, "d_kv": 32, "d_ff": 384, "num_layers": 4, "num_decoder_layers": 2, "num_heads": 6},
    "small": {"d_model": 512, "d_kv": 64, "d_ff": 1024, "num_layers": 8, "num_decoder_layers": 8, "num_heads": 6},
}


def fresh_config(size: str, vocab_size: int) -> T5Config:
    """Return the configuration of an untrained model. No dropout: these models see little data once or twice."""
    settings = FRESH[size] | {"decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1}
    return T5Config(vocab_size=vocab_size, dropout_rate=0.0, feed_forward_proj="gated-gelu", **settings)
