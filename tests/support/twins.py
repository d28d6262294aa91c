"""Small fusion readers with lively weights, packed batches by chance, and Transformers' models as their slow twins."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import pad
from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from kofid.reader.fid.batch import Batch
from kofid.reader.fid.config import Variant
from kofid.reader.fid.model import FusionReader

VOCABULARY = 50
_T5 = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "feed_forward_proj": "gated-gelu",
    "dropout_rate": 0.0,
    "decoder_start_token_id": 0,
    # Few and near, so that passages of a dozen tokens reach the last bucket.
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 10,
}
_GPT2 = {
    "vocab_size": VOCABULARY - 7,
    "n_positions": 40,
    "n_embd": 24,
    "n_layer": 2,
    "n_head": 4,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
}
_BERT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
# Of what a reader can be made: (skt, bert), so a T5 or a GPT-2 decodes, and a T5 or a BERT encodes.
PARTS = [(False, False), (True, False), (False, True), (True, True)]
# Each option of a reader alone, and all together.
VARIANTS = [
    Variant(),
    Variant(first_k=3),
    Variant(cross_layers=(2,)),
    Variant(n_kv_heads=2),
    Variant(first_k=2, cross_layers=(1,), n_kv_heads=1),
]


def close(found: torch.Tensor, expected: torch.Tensor, within: float = 1e-5) -> None:
    """Compare numbers, which may differ by ``within``."""
    torch.testing.assert_close(found, expected, atol=within, rtol=0)


def t5_config(**changes: object) -> T5Config:
    return T5Config(**_T5 | changes)


def gpt2_config(**changes: object) -> GPT2Config:
    return GPT2Config(**_GPT2 | changes)


def bert_config(**changes: object) -> BertConfig:
    return BertConfig(**_BERT | changes)


@torch.no_grad()
def enliven(model: Any, seed: int = 0, std: float = 0.15) -> Any:
    """Give all weights values so large that answers vary; vectors (norms, biases) vary about what they are."""
    chance = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        noise = std * torch.randn(parameter.shape, generator=chance)
        parameter.copy_(parameter + noise if parameter.dim() == 1 else noise)
    return model.eval()


def lively(
    seed: int = 0,
    variant: Variant | None = None,
    *,
    skt: bool = False,
    bert: bool = False,
    std: float = 0.15,
    **t5: object,
) -> FusionReader:
    """Return a small fusion reader whose answers vary, of a T5 or, with ``skt`` and ``bert``, other parts."""
    if not bert:
        return enliven(FusionReader(t5_config(**t5), variant, gpt2_config() if skt else None), seed, std)
    torch.manual_seed(seed)  # biases vary about what they begin as, which is random
    decoder = t5_config(**t5)
    encoder = bert_config(vocab_size=decoder.vocab_size)
    return enliven(FusionReader(encoder, variant, gpt2_config() if skt else decoder), seed, std)


def random_batch(n_passages: Sequence[int] = (3, 1, 2), seed: int = 1, longest: int = 12) -> Batch:
    """Return passages of 1 to ``longest`` tokens each, and answers of 1 to 5 tokens and the end."""
    chance = random.Random(seed)
    lengths = [chance.randint(1, longest) for _ in range(sum(n_passages))]
    ids = [chance.randrange(2, VOCABULARY) for _ in range(sum(lengths))]
    answers = [[*(chance.randrange(2, 40) for _ in range(chance.randint(1, 5))), 1] for _ in n_passages]
    labels = [[*answer, *[-100] * (6 - len(answer))] for answer in answers]
    return Batch(torch.tensor(ids), lengths, list(n_passages), torch.tensor(labels))


def questions_of(batch: Batch) -> list[Batch]:
    """Return each question as a batch of its own."""
    passages = list(zip(batch.input_ids.split(batch.lengths), batch.lengths, strict=True))
    alone, start = [], 0
    for q, n in enumerate(batch.n_passages):
        ids, lengths = zip(*passages[start : start + n], strict=True)
        alone.append(Batch(torch.cat(ids), list(lengths), [n], batch.labels[q : q + 1]))
        start += n
    return alone


class Twin:
    """The same reader the slow way, in Transformers' own models: padding and masks, one key-value head for each head.

    Layers without cross-attention have one that gives zeros, shared key-value heads are repeated, and states after the
    first k of a passage are masked.
    """

    def __init__(self, reader: FusionReader) -> None:
        self.reader = reader
        weights = _repeated(reader)
        encoder = {n: w for n, w in weights.items() if n.startswith(("encoder.", "shared."))}
        if isinstance(reader.config, BertConfig):
            self.encoder = BertModel(copy.deepcopy(reader.config), add_pooling_layer=False).eval()
            self.encoder.load_state_dict(_as_bert(encoder))
            weights = {n: w for n, w in weights.items() if not n.startswith("encoder.")}
        else:
            self.t5 = T5ForConditionalGeneration(copy.deepcopy(reader.config)).eval()
            self.t5.load_state_dict(encoder, strict=False)
            self.encoder = self.t5.encoder
        if not reader.joined:
            if isinstance(reader.config, BertConfig):
                self.t5 = T5ForConditionalGeneration(copy.deepcopy(reader.decoder_config)).eval()
            absent = {n: w * 0 if "EncDecAttention" in n else w for n, w in self.t5.state_dict().items()}
            if reader.lm_head is not None:
                self.t5.lm_head.weight = torch.nn.Parameter(reader.lm_head.weight.detach().clone())
            tied = {f"{part}.embed_tokens.weight": weights["shared.weight"] for part in ("encoder", "decoder")}
            self.t5.load_state_dict(absent | {"lm_head.weight": weights["shared.weight"]} | tied | weights)
        else:
            config = copy.deepcopy(reader.decoder_config)
            config.add_cross_attention = True
            self.gpt2 = GPT2LMHeadModel(config).eval()
            missing, unexpected = self.gpt2.load_state_dict(_as_gpt2(reader, weights), strict=False)
            if reader.lm_head is not None:
                self.gpt2.lm_head.weight = torch.nn.Parameter(reader.lm_head.weight.detach().clone())
            assert not unexpected and all("cross" in name or name == "lm_head.weight" for name in missing), missing

    def states(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return each question's states side by side, (n_questions, most x longest, d_model), and their mask."""
        longest, most = max(batch.lengths), max(batch.n_passages)
        ids = torch.stack([pad(row, (0, longest - len(row))) for row in batch.input_ids.split(batch.lengths)])
        mask = (torch.arange(longest) < torch.tensor(batch.lengths)[:, None]).long()
        states = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        if self.reader.variant.first_k:
            mask[:, self.reader.variant.first_k :] = 0
        wide = [pad(s, (0, 0, 0, 0, 0, most - len(s))).flatten(0, 1) for s in states.split(batch.n_passages)]
        masks = [pad(m, (0, 0, 0, most - len(m))).flatten() for m in mask.split(batch.n_passages)]
        return torch.stack(wide), torch.stack(masks)

    def decode(self, states: torch.Tensor, mask: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Return logits (n_questions, n_tokens, n_vocabulary) of decoder ids, without any cache."""
        if not self.reader.joined:
            outputs = BaseModelOutput(states)
            return self.t5(encoder_outputs=outputs, attention_mask=mask, decoder_input_ids=ids, use_cache=False).logits
        states = self.reader.bridge(states)
        return self.gpt2(ids, encoder_hidden_states=states, encoder_attention_mask=mask, use_cache=False).logits

    def logits(self, batch: Batch) -> torch.Tensor:
        """Return logits for the batch's labels."""
        labels = batch.labels.masked_fill(batch.labels == -100, 0)
        given = torch.cat((torch.full_like(labels[:, :1], self.reader.start_token), labels[:, :-1]), 1)
        return self.decode(*self.states(batch), given)

    def greedy(self, batch: Batch, max_tokens: int) -> tuple[list[int], list[float]]:
        """Return one question's likeliest tokens, the whole beginning read again at every step, and their log shares."""
        states, mask = self.states(batch)
        tokens, shares = [self.reader.start_token], []
        for _ in range(max_tokens):
            row = self.decode(states, mask, torch.tensor([tokens]))[0, -1].double().log_softmax(-1)
            token = int(row.argmax())
            shares.append(float(row[token]))
            if token == self.reader.end_token:
                break
            tokens.append(token)
        return tokens[1:], shares


def _repeated(reader: FusionReader) -> dict[str, torch.Tensor]:
    """Return the reader's weights, the decoder's key and value heads repeated for each head that shares them."""
    weights = {}
    sharing = {n: m for n, m in reader.decoder.named_modules() if hasattr(m, "n_kv_heads")}
    for name, weight in reader.state_dict().items():
        module, _, part = name.removeprefix("decoder.").rpartition(".")
        owner, _, letter = module.rpartition(".")
        if name.startswith("decoder.") and owner in sharing and letter in "kv":
            attention = sharing[owner]
            heads = weight.view(attention.n_kv_heads, attention.d_head, *weight.shape[1:])
            weights[name] = torch.cat([h for h in heads for _ in range(attention.n_heads // attention.n_kv_heads)])
        else:
            weights[name] = weight
    return weights


def _as_bert(encoder: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the encoder's weights as a Transformers BERT names them."""
    weights = {n.replace("encoder.embeddings.", "embeddings."): w for n, w in encoder.items()}
    weights["embeddings.word_embeddings.weight"] = weights.pop("shared.weight")
    return weights


def _as_gpt2(reader: FusionReader, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the decoder's weights as a Transformers GPT-2 names, joins and turns them; absent cross-attention zero."""
    found = {f"transformer.{n}": weights[f"decoder.{n}"] for n in ("wpe.weight", "ln_f.weight", "ln_f.bias")}
    found |= {"transformer.wte.weight": weights["wte.weight"]}
    for i, block in enumerate(reader.decoder.h):
        own, there = f"decoder.h.{i}", f"transformer.h.{i}"
        joins = [("attn.c_attn", ["attn.q", "attn.k", "attn.v"]), ("attn.c_proj", ["attn.o"])]
        joins += [("mlp.c_fc", ["c_fc"]), ("mlp.c_proj", ["c_proj"])]
        norms = ["ln_1", "ln_2"]
        if block.crosses:
            joins += [("crossattention.c_attn", ["crossattention.k", "crossattention.v"])]
            joins += [("crossattention.q_attn", ["crossattention.q"]), ("crossattention.c_proj", ["crossattention.o"])]
            norms += ["ln_cross_attn"]
        else:
            width = reader.decoder_config.n_embd
            found[f"{there}.crossattention.c_proj.weight"] = torch.zeros(width, width)
            found[f"{there}.crossattention.c_proj.bias"] = torch.zeros(width)
        for joint, parts in joins:
            found[f"{there}.{joint}.weight"] = torch.cat([weights[f"{own}.{part}.weight"] for part in parts]).T
            found[f"{there}.{joint}.bias"] = torch.cat([weights[f"{own}.{part}.bias"] for part in parts])
        for norm in norms:
            for kind in ("weight", "bias"):
                found[f"{there}.{norm}.{kind}"] = weights[f"{own}.{norm}.{kind}"]
    return found
