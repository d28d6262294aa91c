"""Fusion-in-Decoder (Izacard and Grave 2021): passages are encoded apart and fused in the decoder's cross-attention.

One model for all its variants. FiD-Light (Hofstaetter et al. 2023) keeps the first k states of each passage; FiDO (de Jong
et al. 2023) gives cross-attention to few decoder layers and shares key-value heads; FiDSKT joins a T5 encoder to a GPT-2
decoder. They combine freely.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, T5Config

from kofid.errors import UsageError
from kofid.language import say
from kofid.reader.fid.attention import Memory, Past, Watch
from kofid.reader.fid.batch import IGNORED, Batch, Encoded
from kofid.reader.fid.copying import Copying
from kofid.reader.fid.gpt2 import GPT2Decoder
from kofid.reader.fid.lexical_match import N_FEATURES
from kofid.reader.fid.t5 import Encoder, T5Decoder

# Tokens that are encoded at a time when no gradient is needed: enough to keep the processor busy, few enough for memory.
ENCODED_AT_A_TIME = 1_024


@dataclass(frozen=True)
class Variant:
    """What makes a reader FiD-Light or FiDO.

    ``first_k`` states are kept of each passage (0: all). Decoder layers ``cross_layers``, counted from 1, have
    cross-attention (empty: layers n, 2n, 3n, ... of ``n_cross_layer``). The decoder has ``n_kv_heads`` key-value heads (0:
    as many as heads). With ``pointing`` the reader also writes the numbers of the passages that it answers from. With
    ``match`` its inputs say which tokens question and passage share, with ``copying`` it can copy from the passages: both
    help readers that have seen little text.
    """

    first_k: int = 0
    cross_layers: tuple[int, ...] = ()
    n_kv_heads: int = 0
    pointing: bool = False
    n_cross_layer: int = 1
    match: bool = False
    copying: bool = False

    @classmethod
    def of(
        cls,
        first_k: int = 0,
        cross_layers: str | None = None,
        n_kv_heads: int = 0,
        pointing: bool = False,
        match: bool = False,
        copying: bool = False,
    ) -> Variant:
        """Return the variant that options name; ``cross_layers`` is N, or A,B,... Raises UsageError."""
        try:
            numbers = tuple(int(part) for part in cross_layers.split(",")) if cross_layers else ()
        except ValueError as error:
            raise UsageError(
                say(
                    f"--n-cross-layer {cross_layers}: 수 하나나 쉼표로 나눈 층 번호여야 합니다",
                    f"--n-cross-layer {cross_layers}: must be a number, or layers with commas between",
                )
            ) from error
        if cross_layers and "," not in cross_layers:
            return cls(first_k, (), n_kv_heads, pointing, numbers[0], match, copying)
        return cls(first_k, tuple(sorted(set(numbers))), n_kv_heads, pointing, match=match, copying=copying)

    @staticmethod
    def every(n: int, n_layers: int) -> tuple[int, ...]:
        """Return layers n, 2n, 3n, ..."""
        return tuple(range(n, n_layers + 1, n)) if n > 0 else ()

    def resolve(self, n_layers: int, n_heads: int) -> tuple[tuple[int, ...], int]:
        """Return the layers with cross-attention and the key-value heads of a decoder; raise UsageError for impossible ones."""
        layers = self.cross_layers or self.every(self.n_cross_layer, n_layers)
        if not layers or min(layers) < 1 or max(layers) > n_layers:
            asked = ",".join(map(str, self.cross_layers)) or str(self.n_cross_layer)
            raise UsageError(
                say(
                    f"--n-cross-layer {asked}: 디코더 층은 1에서 {n_layers}까지입니다",
                    f"--n-cross-layer {asked}: the decoder has layers 1 to {n_layers}",
                )
            )
        n_kv_heads = self.n_kv_heads or n_heads
        if n_heads % n_kv_heads:
            raise UsageError(
                say(
                    f"--kv-heads {n_kv_heads}: 디코더의 머리 {n_heads}개를 고르게 나누어야 합니다",
                    f"--kv-heads {n_kv_heads}: must divide the decoder's {n_heads} heads",
                )
            )
        return layers, n_kv_heads


class FusionReader(nn.Module):
    """Encoder, decoder and output layer, with T5's parameter names where the decoder is T5's.

    ``decoder_config`` None: FiDT5; a GPT2Config: FiDSKT, whose states pass a linear bridge.
    """

    def __init__(
        self, config: T5Config, variant: Variant | None = None, decoder_config: GPT2Config | None = None
    ) -> None:
        super().__init__()
        variant = variant or Variant()
        self.config, self.decoder_config, self.variant = config, decoder_config, variant
        n_layers = decoder_config.n_layer if decoder_config else config.num_decoder_layers
        n_heads = decoder_config.n_head if decoder_config else config.num_heads
        cross_layers, n_kv_heads = variant.resolve(n_layers, n_heads)
        self.shared = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder = Encoder(config)
        if decoder_config is None:
            self.decoder: T5Decoder | GPT2Decoder = T5Decoder(config, cross_layers, n_kv_heads)
        else:
            self.decoder = GPT2Decoder(decoder_config, cross_layers, n_kv_heads)
            self.bridge = nn.Linear(config.d_model, decoder_config.n_embd)
            self.wte = nn.Embedding(decoder_config.vocab_size, decoder_config.n_embd)
        self.match = nn.Embedding(N_FEATURES, config.d_model) if variant.match else None
        if variant.copying and decoder_config is not None:
            raise UsageError(
                say(
                    "--copying은 답이 패시지와 같은 토큰으로 쓰이는 리더에만 됩니다 (skt에는 안 됩니다)",
                    "--copying is only for readers that write answers in the passages' tokens (not for skt)",
                )
            )
        self.copying = Copying(config.d_model) if variant.copying else None
        self.lm_head: nn.Linear | None = None  # tied, unless a checkpoint has its own
        self.output: nn.Module | None = None  # a faster one, for reading only

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.shared.weight.device

    @property
    def start_token(self) -> int:
        """The token that decoding starts from."""
        own = self.decoder_config.bos_token_id if self.decoder_config else self.config.decoder_start_token_id
        return int(own if own is not None else self.config.pad_token_id or 0)

    @property
    def end_token(self) -> int:
        """The token that ends an answer."""
        own = self.decoder_config.eos_token_id if self.decoder_config else self.config.eos_token_id
        return int(own[0] if isinstance(own, list) else own)

    def untie(self) -> None:
        """Give the model an output layer of its own."""
        tokens = self.wte if self.decoder_config else self.shared
        self.lm_head = nn.Linear(tokens.embedding_dim, tokens.num_embeddings, bias=False)

    # --- encoding ---

    def encode(self, batch: Batch) -> list[Encoded]:
        """Return the states of each question's passages."""
        passages = self._encode_at_once(batch) if self.training else self._encode_in_groups(batch)
        k = self.variant.first_k
        kept = [states[:k] if k else states for states in passages]
        tokens = [ids[:k] if k else ids for ids in torch.split(batch.input_ids, batch.lengths)]
        encoded, start = [], 0
        for n in batch.n_passages:
            own = kept[start : start + n]
            states = torch.cat(own) if own else self.shared.weight.new_zeros(0, self.config.d_model)
            ids = torch.cat(tokens[start : start + n]) if own else batch.input_ids[:0]
            states = states if self.decoder_config is None else self.bridge(states)
            asked = batch.n_asked and batch.n_asked[start : start + n]
            encoded.append(Encoded(states, [len(p) for p in own], ids, asked))
            start += n
        return encoded

    def _embed(self, ids: torch.Tensor, matches: torch.Tensor | None) -> torch.Tensor:
        """Return what the encoder is given, (n_tokens, d_model), for tokens and their lexical matches (n_tokens,)."""
        if self.match is None:
            return self.shared(ids)
        if matches is None:
            raise ValueError("no lexical matches")
        return self.shared(ids) + self.match(matches)

    def _encode_at_once(self, batch: Batch) -> list[torch.Tensor]:
        states = self.encoder(self._embed(batch.input_ids, batch.matches), batch.lengths)
        return list(torch.split(states, batch.lengths))

    def _encode_in_groups(self, batch: Batch) -> list[torch.Tensor]:
        """Encode a few passages at a time, long ones with long ones; the result is the same."""
        ids = torch.split(batch.input_ids, batch.lengths)
        matches = None if batch.matches is None else torch.split(batch.matches, batch.lengths)
        order = sorted(range(len(ids)), key=lambda i: batch.lengths[i])
        passages = list(ids)
        k = self.variant.first_k
        for group in _groups(order, batch.lengths, ENCODED_AT_A_TIME):
            lengths = [batch.lengths[i] for i in group]
            shared = None if matches is None else torch.cat([matches[i] for i in group])
            states = self.encoder(self._embed(torch.cat([ids[i] for i in group]), shared), lengths)
            for i, own in zip(group, torch.split(states, lengths), strict=True):
                passages[i] = own[:k].clone() if k else own  # the rest need not be kept in memory
        return passages

    # --- decoding ---

    def remember(self, encoded: Sequence[Encoded], *, absorbed: bool = False) -> list[list[Memory] | None]:
        """Return for each decoder layer the memories of all questions, None where it has no cross-attention."""
        return [
            None if attention is None else [attention.remember(e.states, absorbed=absorbed) for e in encoded]
            for attention in self.decoder.cross_attentions
        ]

    def decode(
        self,
        ids: torch.Tensor,
        memories: Sequence[list[Memory] | None],
        past: Past | None = None,
        watch: Watch | None = None,
    ) -> tuple[torch.Tensor, Past]:
        """Return hidden states (n_rows, n_tokens, d_model) of decoder ids (n_rows, n_tokens), and the past.

        ``watch`` is called with each cross-attention, its input and its memories.
        """
        tokens = self.wte if self.decoder_config else self.shared
        hidden, past = self.decoder(tokens(ids), memories, past, watch)
        return hidden, past

    def logits(self, hidden: torch.Tensor, encoded: Sequence[Encoded]) -> torch.Tensor:
        """Return logits (n_rows, n_tokens, n_vocabulary) of decoder states (n_rows, n_tokens, d_model).

        An equal share of the rows belongs to each question of ``encoded``. Those of a reader that copies are log
        probabilities.
        """
        logits = self._written(hidden)
        return logits if self.copying is None else self.copying(hidden, logits, encoded)

    def _written(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return logits over the vocabulary."""
        if self.decoder_config is None and self.config.scale_decoder_outputs:
            hidden = hidden * self.config.d_model**-0.5
        if self.output is not None:
            return self.output(hidden)
        if self.lm_head is not None:
            return self.lm_head(hidden)
        return hidden @ (self.wte if self.decoder_config else self.shared).weight.T

    def forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return loss () and logits (n_questions, n_target_tokens, n_vocabulary) of a batch with labels."""
        if batch.labels is None:
            raise ValueError("no labels")
        starts = torch.full_like(batch.labels[:, :1], self.start_token)
        given = torch.cat((starts, batch.labels[:, :-1].masked_fill(batch.labels[:, :-1] == IGNORED, 0)), dim=1)
        encoded = self.encode(batch)
        hidden, _ = self.decode(given, self.remember(encoded))
        logits = self.logits(hidden, encoded)
        loss = cross_entropy(logits.flatten(0, 1).float(), batch.labels.flatten(), ignore_index=IGNORED)
        return loss, logits


def _groups(order: Sequence[int], lengths: Sequence[int], n_tokens: int) -> Iterator[list[int]]:
    """Yield runs of ``order`` of at most ``n_tokens`` tokens together, one at least."""
    group: list[int] = []
    for i in order:
        if group and sum(lengths[j] for j in group) + lengths[i] > n_tokens:
            yield group
            group = []
        group.append(i)
    if group:
        yield group
