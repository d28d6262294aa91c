"""Fusion-in-Decoder (Izacard and Grave 2021): passages are encoded apart and fused in the decoder's cross-attention.

One model for all its variants. FiD-Light (Hofstaetter et al. 2023) keeps the first k states of each passage; FiDO (de Jong
et al. 2023) gives cross-attention to few decoder layers and shares key-value heads; FiDSKT has a GPT-2 for its decoder. The
encoder is a T5's or a BERT. They combine freely. Only in decoding one thing excludes another: answers cannot be held to
passages of which ``first_k`` states are kept (see ``kofid.reader.fid.config.Decoding``), and FiDSKT cannot copy.

Words of this room:

- *packed*: sequences of different lengths one after another in one tensor, with a list of lengths and no padding;
- *state*: what the encoder makes of one token, (d_model,);
- *memory*: what a decoder layer attends to for one question: its states, or keys and values made of them;
- *row*: one answer that the decoder writes: one a question, or one a beam, the rows of a question one after another;
- *group*: in ``encode`` the passages that are encoded at once, in attention the query heads that share keys and values.

The way from tokens to logits, with two questions that have two passages and one, of 3 + 2 and 4 tokens:

>>> _ = torch.manual_seed(0)
>>> config = T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2, decoder_start_token_id=0)
>>> model = FusionReader(config).eval()
>>> batch = Batch(torch.arange(9), lengths=[3, 2, 4], n_passages=[2, 1])  # input_ids (n_tokens,) = (9,)
>>> encoded = model.encode(batch)  # one Encoded a question
>>> [tuple(question.states.shape) for question in encoded]  # (n_states, d_model)
[(5, 8), (4, 8)]
>>> memories = model.memories(encoded)  # for each decoder layer one memory a question
>>> [tuple(memory.keys.shape) for memory in memories[0]]  # (n_kv_heads, n_states, d_head)
[(2, 5, 4), (2, 4, 4)]
>>> ids = torch.full((2, 3), model.start_token)  # (n_rows, n_tokens): one row a question, three tokens so far
>>> output = model.decode(ids, memories)
>>> tuple(output.hidden.shape), tuple(model.logits(output.hidden, encoded).shape)  # (.., d_model), (.., n_vocabulary)
((2, 3, 8), (2, 3, 20))
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import BertConfig, GPT2Config, T5Config

from kofid.errors import UsageError
from kofid.language import say, setting
from kofid.reader.fid.attention import DecoderOutput, EncoderMemory, LayerMemories, Past
from kofid.reader.fid.batch import IGNORED, Batch, Encoded
from kofid.reader.fid.bert import BertEncoder
from kofid.reader.fid.config import Variant
from kofid.reader.fid.copying import Copying
from kofid.reader.fid.gpt2 import GPT2Decoder
from kofid.reader.fid.lexical_match import N_FEATURES
from kofid.reader.fid.t5 import T5Decoder, T5Encoder

# Tokens that are encoded at a time when no gradient is needed: enough to keep the processor busy, few enough for memory.
ENCODED_AT_A_TIME = 1_024


class FusionReader(nn.Module):
    """Encoder, decoder and output layer, with the parameter names of T5's and BERT's checkpoints.

    ``config`` is the encoder's: a T5's or a BERT's; ``decoder_config`` the decoder's, None where one T5 is both (FiDT5). A
    T5 decoder writes in the encoder's tokens and shares their embeddings; a GPT-2 (FiDSKT) has tokens of its own, and a
    linear bridge leads to it from the encoder's states. ``own_output``: the output layer has weights of its own, else
    those of the token embeddings.
    """

    def __init__(
        self,
        config: T5Config | BertConfig,
        variant: Variant | None = None,
        decoder_config: T5Config | GPT2Config | None = None,
        *,
        own_output: bool = False,
    ) -> None:
        super().__init__()
        variant = variant or Variant()
        decoder_config = decoder_config or _both(config)
        self.config, self.decoder_config, self.variant = config, decoder_config, variant
        self.shared = nn.Embedding(config.vocab_size, config.hidden_size)
        self.encoder: T5Encoder | BertEncoder = (
            T5Encoder(config) if isinstance(config, T5Config) else BertEncoder(config)
        )
        if isinstance(decoder_config, T5Config):
            layers = variant.resolve(decoder_config.num_decoder_layers, decoder_config.num_heads)
            self.decoder: T5Decoder | GPT2Decoder = T5Decoder(decoder_config, *layers)
        else:
            layers = variant.resolve(decoder_config.n_layer, decoder_config.n_head)
            self.decoder = GPT2Decoder(decoder_config, *layers)
            self.bridge = nn.Linear(config.hidden_size, decoder_config.n_embd)
            self.wte = nn.Embedding(decoder_config.vocab_size, decoder_config.n_embd)
        self.match = nn.Embedding(N_FEATURES, config.hidden_size) if variant.match else None
        if variant.copying and self.joined:
            option = setting("copying")
            raise UsageError(
                say(
                    f"{option}은(는) 답이 패시지와 같은 토큰으로 쓰이는 리더에만 됩니다 (skt에는 안 됩니다)",
                    f"{option} is only for readers that write answers in the passages' tokens (not for skt)",
                )
            )
        self.copying = Copying(config.hidden_size) if variant.copying else None
        tokens = self.token_embedding
        self.lm_head: nn.Module | None = (
            nn.Linear(tokens.embedding_dim, tokens.num_embeddings, bias=False) if own_output else None
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.shared.weight.device

    @property
    def joined(self) -> bool:
        """Whether the decoder is a GPT-2, which has tokens of its own (FiDSKT)."""
        return isinstance(self.decoder, GPT2Decoder)

    @property
    def start_token(self) -> int:
        """The token that decoding starts from."""
        config = self.decoder_config
        token = config.decoder_start_token_id if isinstance(config, T5Config) else config.bos_token_id
        return int(token if token is not None else self.config.pad_token_id or 0)

    @property
    def end_token(self) -> int:
        """The token that ends an answer."""
        token = self.decoder_config.eos_token_id
        return int(token[0] if isinstance(token, list) else token)

    @property
    def token_embedding(self) -> nn.Embedding:
        """The decoder's token embeddings."""
        return self.wte if self.joined else self.shared

    # --- encoding ---

    def encode(self, batch: Batch, tokens_at_a_time: int = ENCODED_AT_A_TIME) -> list[Encoded]:
        """Return the states of each question's passages; in training all passages are encoded at once."""
        states = self._encode_passages(batch, tokens_at_a_time)
        ids = [self._first_k(passage) for passage in torch.split(batch.input_ids, batch.lengths)]
        encoded, start = [], 0
        for n in batch.n_passages:
            of_question = slice(start, start + n)
            n_question = batch.n_question and batch.n_question[of_question]
            encoded.append(self._fuse(states[of_question], ids[of_question], n_question))
            start += n
        return encoded

    def _fuse(self, states: list[torch.Tensor], ids: list[torch.Tensor], n_question: list[int] | None) -> Encoded:
        """Return one question's passages, of states (n, d_model) and ids (n,) each, packed for the decoder."""
        lengths = [len(passage) for passage in states]
        packed = torch.cat(states) if states else self.shared.weight.new_zeros(0, self.config.hidden_size)
        packed_ids = torch.cat(ids) if ids else torch.zeros(0, dtype=torch.long, device=self.device)
        packed = self.bridge(packed) if self.joined else packed
        return Encoded(packed, lengths, packed_ids, n_question)

    def _first_k(self, passage: torch.Tensor) -> torch.Tensor:
        """Return what FiD-Light keeps of a passage's states or ids (n, ..): the first k, or all."""
        return passage[: self.variant.first_k] if self.variant.first_k else passage

    def _embed(self, ids: torch.Tensor, matches: torch.Tensor | None) -> torch.Tensor:
        """Return what the encoder is given, (n_tokens, d_model), for tokens and their lexical matches (n_tokens,)."""
        if self.match is None:
            return self.shared(ids)
        if matches is None:
            raise ValueError("no lexical matches")
        return self.shared(ids) + self.match(matches)

    def _encode_passages(self, batch: Batch, tokens_at_a_time: int) -> list[torch.Tensor]:
        """Return the states that are kept of each passage, (n, d_model).

        Without gradients a few passages at a time are encoded, long ones with long ones: the result is the same.
        """
        ids = torch.split(batch.input_ids, batch.lengths)
        matches = None if batch.matches is None else torch.split(batch.matches, batch.lengths)
        states: dict[int, torch.Tensor] = {}
        for group in self._groups(batch.lengths, tokens_at_a_time):
            lengths = [batch.lengths[i] for i in group]
            group_matches = None if matches is None else torch.cat([matches[i] for i in group])
            packed = self.encoder(self._embed(torch.cat([ids[i] for i in group]), group_matches), lengths)
            for i, passage in zip(group, torch.split(packed, lengths), strict=True):
                states[i] = self._first_k(passage)
                if self.variant.first_k and not self.training:
                    states[i] = states[i].clone()  # so that the other states need not stay in memory
        return [states[i] for i in range(len(ids))]

    def _groups(self, lengths: Sequence[int], tokens_at_a_time: int) -> Iterator[list[int]]:
        """Yield the numbers of the passages that are encoded at once: in training all, else passages of like lengths.

        A group has at most ``tokens_at_a_time`` tokens, but one passage at least.
        """
        if self.training:
            yield from [list(range(len(lengths)))] if lengths else []
            return
        group: list[int] = []
        n_tokens = 0
        for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
            if group and n_tokens + lengths[i] > tokens_at_a_time:
                yield group
                group, n_tokens = [], 0
            group.append(i)
            n_tokens += lengths[i]
        if group:
            yield group

    # --- decoding ---

    def memories(self, encoded: Sequence[Encoded], *, absorbed: bool = False) -> list[list[EncoderMemory] | None]:
        """Return for each decoder layer the memories of all questions, None where it has no cross-attention."""
        return [
            None if attention is None else [attention.memory(e.states, absorbed=absorbed) for e in encoded]
            for attention in self.decoder.cross_attentions
        ]

    def decode(self, ids: torch.Tensor, memories: LayerMemories, past: Past | None = None) -> DecoderOutput:
        """Return what the decoder makes of ids (n_rows, n_tokens) that come after the past."""
        output: DecoderOutput = self.decoder(self.token_embedding(ids), memories, past)
        return output

    def logits(self, hidden: torch.Tensor, encoded: Sequence[Encoded]) -> torch.Tensor:
        """Return logits (n_rows, n_tokens, n_vocabulary) of what the decoder gave, ``hidden`` (n_rows, n_tokens, d_model).

        An equal share of the rows belongs to each question of ``encoded``. The logits of a reader that copies are log
        probabilities.
        """
        logits = self._vocabulary_logits(hidden)
        return logits if self.copying is None else self.copying(hidden, logits, encoded)

    def _vocabulary_logits(self, hidden: torch.Tensor) -> torch.Tensor:
        if isinstance(self.decoder_config, T5Config) and self.decoder_config.scale_decoder_outputs:
            hidden = hidden * self.decoder_config.d_model**-0.5
        if self.lm_head is not None:
            logits: torch.Tensor = self.lm_head(hidden)
            return logits
        return hidden @ self.token_embedding.weight.T

    def decoder_inputs(self, labels: torch.Tensor) -> torch.Tensor:
        """Return the ids that the decoder is given to predict ``labels`` (n_questions, n_target_tokens), of the same shape.

        They are the labels one place on, after the start token. Padding becomes token 0, but any token would do: only
        padding comes after it, which looks back at it and is left out of the loss.
        """
        starts = torch.full_like(labels[:, :1], self.start_token)
        before = labels[:, :-1]
        return torch.cat((starts, before.masked_fill(before == IGNORED, 0)), dim=1)

    def forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return loss () and logits (n_questions, n_target_tokens, n_vocabulary) of a batch with labels."""
        if batch.labels is None:
            raise ValueError("no labels")
        encoded = self.encode(batch)
        hidden = self.decode(self.decoder_inputs(batch.labels), self.memories(encoded)).hidden
        logits = self.logits(hidden, encoded)
        loss = cross_entropy(logits.flatten(0, 1).float(), batch.labels.flatten(), ignore_index=IGNORED)
        return loss, logits


def _both(config: T5Config | BertConfig) -> T5Config:
    """Return the configuration of a T5 that encodes and decodes."""
    if not isinstance(config, T5Config):
        raise ValueError("a BERT does not write: a decoder must be configured")
    return config
