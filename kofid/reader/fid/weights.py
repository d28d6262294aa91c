"""Fusion readers on disk: saved, opened, and their weights fitted to another variant (heads pooled, layers left out).

A folder holds ``config.json`` and ``model.safetensors``. A FiDT5 without options of its own is a plain T5 checkpoint, which
Transformers opens as it is. Where encoder and decoder are two models, ``config.json`` has both configurations.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from transformers import BertConfig, GPT2Config, PreTrainedConfig, T5Config

from kofid.errors import InputError
from kofid.language import say
from kofid.reader.fid.attention import pooled_heads
from kofid.reader.fid.config import Variant
from kofid.reader.fid.copying import Copying
from kofid.reader.fid.model import FusionReader
from kofid.reader.fid.sizes import check_sizes, check_tokens

if TYPE_CHECKING:
    from transformers import BertModel, GPT2LMHeadModel, T5ForConditionalGeneration

Weights = dict[str, torch.Tensor]
WEIGHTS = "model.safetensors"
# What config.json calls readers of two parts: a T5 and a GPT-2, a BERT and a T5 or GPT-2.
_SKT, _BERT = "kofid-fid-skt", "kofid-fid-bert"
# What reading a folder with bad contents ends in: files, weights, and configurations of the wrong types or names.
_BROKEN = (
    OSError,
    ValueError,
    RuntimeError,
    SafetensorError,
    TypeError,
    KeyError,
    AttributeError,
    StrictDataclassError,
)


def open_reader_model(name: str, variant: Variant | None = None, dtype: torch.dtype = torch.float32) -> FusionReader:
    """Open a fusion reader, or make a FiDT5 of a T5 or mT5 checkpoint (folder or hub name; safetensors only).

    With ``variant`` the reader is given those options, its weights fitted; without, it keeps its own. Weights are read
    as ``dtype``. Raises InputError.
    """
    try:
        config = config_of(name)
        kind = config.get("model_type")
        if "fusion" not in config and kind not in ("t5", "mt5"):
            raise InputError(_not_t5(name, kind))
        if "fusion" in config or (Path(name) / WEIGHTS).is_file():
            weights = StoredWeights(Path(name) / WEIGHTS, dtype)
            if "fusion" in config:
                return _open_fusion(config, variant, weights)
            if kind == "t5" and "shared.weight" in weights:
                return _fitted(T5Config(**config), variant, _without_copies(weights))
        from transformers import AutoModelForSeq2SeqLM

        return from_t5(AutoModelForSeq2SeqLM.from_pretrained(name, use_safetensors=True, dtype=dtype), variant)
    except _BROKEN as error:
        raise InputError(
            say(f"리더 '{name}'을(를) 열 수 없습니다: {error}", f"reader '{name}' cannot be opened: {error}")
        ) from error


def config_of(name: str) -> dict[str, Any]:
    """Return the configuration of a model's folder or hub name; raise OSError or ValueError."""
    file = Path(name) / "config.json"
    if not file.is_file():
        return dict(PreTrainedConfig.get_config_dict(name)[0])
    config = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(config, dict):
        raise ValueError("config.json is no object")
    return config


def _not_t5(name: str, kind: object) -> str:
    return say(
        f"{name}: T5가 아닙니다 (model_type {kind!r}). t5와 mt5 체크포인트를 쓸 수 있습니다. bert에는 kofid train-reader가 디코더를 붙입니다.",
        f"{name}: not a T5 (model_type {kind!r}); there must be a t5 or mt5 checkpoint (kofid train-reader gives a bert a decoder)",
    )


def save_reader_model(reader: FusionReader, directory: Path) -> None:
    """Write configuration and weights."""
    directory.mkdir(parents=True, exist_ok=True)
    fusion = asdict(reader.variant)
    if reader.decoder_config is reader.config:
        config: dict[str, Any] = reader.config.to_dict() | {"architectures": ["T5ForConditionalGeneration"]}
        config |= {"fusion": fusion} if reader.variant != Variant() else {}
    else:
        kind = _BERT if isinstance(reader.config, BertConfig) else _SKT
        parts = {"encoder": reader.config.to_dict(), "decoder": reader.decoder_config.to_dict()}
        config = {"model_type": kind, **parts, "fusion": fusion}
    (directory / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    weights = {name: weight.detach().cpu().contiguous() for name, weight in reader.state_dict().items()}
    save_file(weights, str(directory / WEIGHTS), metadata={"format": "pt"})


class StoredWeights(Mapping[str, torch.Tensor]):
    """Tensors of a safetensors file, each read when it is asked for and then the caller's own.

    The file is opened anew each time: what stays mapped counts as memory, and changes when the file is written over.
    """

    def __init__(self, path: Path, dtype: torch.dtype) -> None:
        self.path, self.dtype = path, dtype
        with safe_open(str(path), framework="pt") as file:
            self.names = list(file.keys())

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> torch.Tensor:
        """Return a tensor as ``dtype``."""
        if name not in self:
            raise KeyError(name)
        with safe_open(str(self.path), framework="pt") as file:
            return file.get_tensor(name).to(self.dtype, copy=True)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def _without_copies(weights: StoredWeights) -> StoredWeights:
    """Leave out an output layer that is the embeddings once more."""
    if "lm_head.weight" in weights and torch.equal(weights["lm_head.weight"], weights["shared.weight"]):
        weights.names.remove("lm_head.weight")
    return weights


def _open_fusion(config: dict[str, Any], variant: Variant | None, weights: Mapping[str, torch.Tensor]) -> FusionReader:
    """Return the reader of a configuration that kofid wrote, its own variant where none is given."""
    fusion = config.pop("fusion")
    stored = Variant(**fusion | {"cross_layers": tuple(fusion["cross_layers"])})
    if not all(
        type(value) is type(default) for value, default in zip(astuple(stored), astuple(Variant()), strict=True)
    ):
        raise ValueError(f"fusion: {fusion}")
    kind = config.get("model_type")
    if kind not in (_SKT, _BERT):
        return _fitted(T5Config(**config), variant or stored, weights)
    encoder = (BertConfig if kind == _BERT else T5Config)(**config["encoder"])
    writes = T5Config if config["decoder"].get("model_type") == "t5" else GPT2Config
    return _fitted(encoder, variant or stored, weights, writes(**config["decoder"]))


def from_t5(model: Any, variant: Variant | None = None) -> FusionReader:
    """Return the FiDT5 with the weights of a Transformers T5 or mT5."""
    config = T5Config(**model.config.to_dict() | {"model_type": "t5"})
    if model.config.model_type == "mt5":
        config.scale_decoder_outputs = False
    weights = {name: w for name, w in model.state_dict().items() if not name.endswith("embed_tokens.weight")}
    if model.lm_head.weight.data_ptr() == model.shared.weight.data_ptr():
        del weights["lm_head.weight"]
    return _fitted(config, variant, _copies(weights))


def from_bert(encoder: BertModel, decoder: T5ForConditionalGeneration, variant: Variant | None = None) -> FusionReader:
    """Return the reader with the weights of a Transformers BERT, its pooler left out, and of a T5's decoder of its width."""
    weights = bert_weights(encoder.state_dict())
    weights |= {name: w for name, w in decoder.state_dict().items() if name.startswith("decoder.")}
    return _fitted(encoder.config, variant, _copies(weights), decoder.config)


def open_gpt2(name: str) -> GPT2LMHeadModel:
    """Open a GPT-2 checkpoint (folder or hub name; safetensors only); raise InputError, for models of another kind as well."""
    from transformers import GPT2LMHeadModel

    try:
        kind = config_of(name).get("model_type")
        if kind != "gpt2":
            raise InputError(
                say(
                    f"{name}: GPT-2가 아닙니다 (model_type {kind!r}). gpt2 체크포인트를 주세요.",
                    f"{name}: not a GPT-2 (model_type {kind!r}); give a gpt2 checkpoint",
                )
            )
        options: dict[str, Any] = {"use_safetensors": True, "dtype": torch.float32, "output_loading_info": True}
        model, info = GPT2LMHeadModel.from_pretrained(name, **options)
    except _BROKEN as error:
        raise InputError(
            say(f"디코더 '{name}'을(를) 열 수 없습니다: {error}", f"decoder '{name}' cannot be opened: {error}")
        ) from error
    missing = sorted(set(info["missing_keys"]) - {"lm_head.weight"})  # that one is tied
    if missing:
        raise InputError(say(f"'{name}'에 {missing[0]}이(가) 없습니다", f"'{name}' lacks {missing[0]}"))
    return model


def join(encoder: FusionReader, decoder: GPT2LMHeadModel, variant: Variant | None = None) -> FusionReader:
    """Return the FiDSKT of a fusion reader's encoder and a GPT-2; its bridge and cross-attention are new.

    The new layers end in zeros, so that at first the decoder writes as it did alone.
    """
    config: GPT2Config = decoder.config
    reader = FusionReader(encoder.config, Variant(), config)
    for attention in reader.decoder.cross_attentions:
        if attention is not None:
            for part in (attention.q, attention.k, attention.v):
                torch.nn.init.normal_(part.weight, std=config.initializer_range)
                torch.nn.init.zeros_(part.bias)
            torch.nn.init.zeros_(attention.o.weight)
            torch.nn.init.zeros_(attention.o.bias)
    encoding = {n: w for n, w in encoder.state_dict().items() if n.startswith(("encoder.", "shared."))}
    weights = reader.state_dict() | encoding | gpt2_weights(decoder.transformer.state_dict(), config.n_embd)
    if decoder.lm_head.weight.data_ptr() != decoder.transformer.wte.weight.data_ptr():
        weights["lm_head.weight"] = decoder.lm_head.weight
    return _fitted(encoder.config, variant, _copies(weights), config)


def _copies(weights: Weights) -> Weights:
    """Return copies: what Transformers opened may be mapped from a file, at odd addresses, or stay in use."""
    return {name: weight.detach().clone() for name, weight in weights.items()}


def gpt2_weights(weights: Weights, d_model: int) -> Weights:
    """Return a GPT-2's weights by the names that ``GPT2Decoder`` has for them, matrices transposed, q, k and v apart."""
    renamed: Weights = {}
    for old, weight in weights.items():
        if old.endswith((".attn.bias", ".masked_bias")):
            continue  # causal masks that old checkpoints keep
        name = old.replace(".mlp.", ".").replace("attn.c_proj", "attn.o").replace("attention.c_proj", "attention.o")
        matrix = weight.T if weight.dim() == 2 and name.startswith("h.") else weight
        for fused, parts in (("c_attn", "qkv" if "crossattention" not in name else "kv"), ("q_attn", "q")):
            if f".{fused}." in name:
                pieces = torch.split(matrix, d_model)
                renamed |= {
                    f"decoder.{name.replace(fused, part)}": piece for part, piece in zip(parts, pieces, strict=True)
                }
                break
        else:
            renamed["wte.weight" if name == "wte.weight" else f"decoder.{name}"] = matrix
    return renamed


def bert_weights(weights: Weights) -> Weights:
    """Return a BERT's weights by the names that ``FusionReader`` has for them: words apart, the other embeddings the encoder's."""
    renamed = {name.replace("embeddings.", "encoder.embeddings.", 1): weight for name, weight in weights.items()}
    renamed["shared.weight"] = renamed.pop("encoder.embeddings.word_embeddings.weight")
    return renamed


def _fitted(
    config: T5Config | BertConfig,
    variant: Variant | None,
    weights: Mapping[str, torch.Tensor],
    decoder: T5Config | GPT2Config | None = None,
) -> FusionReader:
    """Return a reader with ``weights``: those it has no place for are left out, key-value heads pooled."""
    check_sizes(config, decoder, len(weights))
    with torch.device("meta"):
        reader = FusionReader(config, variant, decoder, own_output="lm_head.weight" in weights)
    check_tokens(reader)
    added = _added(reader, weights)
    writer = reader.decoder_config
    d_head = writer.d_kv if isinstance(writer, T5Config) else writer.n_embd // writer.n_head
    fitted: Weights = {}
    for name, place in reader.state_dict().items():
        if name in added:
            fitted[name] = added[name]
            continue
        if name not in weights:
            raise InputError(say(f"체크포인트에 {name}이(가) 없습니다", f"the checkpoint lacks {name}"))
        weight = weights[name]
        if weight.shape != place.shape and name.rpartition(".")[0].endswith((".k", ".v")):
            weight = pooled_heads(weight, weight.shape[0] // d_head, place.shape[0] // d_head)
        fitted[name] = weight.contiguous()
    reader.load_state_dict(fitted, strict=True, assign=True)
    return reader


def _added(reader: FusionReader, weights: Mapping[str, torch.Tensor]) -> Weights:
    """Return first weights of what a checkpoint lacks since it neither matches nor copies: they change next to nothing."""
    added: Weights = {}
    dtype = next(weights[name].dtype for name in weights)
    if reader.match is not None and "match.weight" not in weights:
        added["match.weight"] = torch.zeros(reader.match.weight.shape, dtype=dtype)
    if reader.copying is not None and "copying.query.weight" not in weights:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # the same reader each time it is opened
            copying = Copying(reader.config.hidden_size)
            copying.start(fresh=False)
        added |= {f"copying.{name}": weight.to(dtype) for name, weight in copying.state_dict().items()}
    return added
