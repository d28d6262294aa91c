"""Readers made of checkpoints from elsewhere: FiD's own, plain T5 and mT5, and a T5 joined to a GPT-2.

A reader that the code of Fusion-in-Decoder (Izacard and Grave 2021) saved is a T5 whose encoder stands in a wrapper, and
each of the encoder's blocks in another; below the wrappers' names it is a T5 like any. Weights in a pickle are read only
where that is allowed, and then by torch's loader of plain tensors, which runs nothing that the file says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    MT5Config,
    MT5ForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
)

from kofid.errors import InputError
from kofid.language import say, setting
from kofid.reader.fid.config import PASSAGE_TOKENS, Variant
from kofid.reader.fid.model import FusionReader
from kofid.reader.fid.reader import FiDReader, decoder_folder
from kofid.reader.fid.weights import Weights, from_t5, join, open_reader_model
from kofid.reader.kinds import ReaderKind
from kofid.reader.tokenizers import open_tokenizer
from kofid.storage.artifacts import is_artifact, open_artifact, write_artifact

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_T5 = {"t5": (T5Config, T5ForConditionalGeneration), "mt5": (MT5Config, MT5ForConditionalGeneration)}
_GPT2 = {"gpt2": (GPT2Config, GPT2LMHeadModel)}
_SAFE, _PICKLE = "model.safetensors", "pytorch_model.bin"
# A folder with none of these has no tokenizer; Transformers would make one without words.
_TOKENIZER_FILES = ("tokenizer.json", "spiece.model", "tokenizer.model", "vocab.json")
# What old versions of Transformers also saved: a bias that is never used, and GPT-2's causal masks.
_NEVER_USED = (".EncDecAttention.relative_attention_bias.weight", ".attn.bias", ".attn.masked_bias")


def convert_checkpoint(
    checkpoint: Path,
    output: Path,
    decoder: Path | None = None,
    *,
    variant: Variant,
    tokenizer: str | None = None,
    max_tokens: int | None = None,
    allow_pickle: bool = False,
) -> dict[str, Any]:
    """Write a reader of a checkpoint's folder, as the encoder of ``decoder`` (a GPT-2's folder) if given; return its settings.

    Also takes a reader that kofid wrote, which keeps what ``variant`` does not change. ``tokenizer`` stands in for the
    folder's own; ``max_tokens`` a passage are the reader's own, else 250. Raises InputError, and UsageError for options
    that do not fit.
    """
    folder, stored = checkpoint, dict[str, Any]()
    if is_artifact(checkpoint):
        artifact = open_artifact(checkpoint, "reader")
        folder, stored = artifact.directory, artifact.settings
    encoder_tokenizer = _tokenizer(Path(tokenizer) if tokenizer else folder, tokenizer)
    decoder_tokenizer = None if decoder is None else _tokenizer(decoder)
    model = open_checkpoint(folder, decoder, variant, allow_pickle=allow_pickle)
    second = decoder_folder(folder)
    if decoder_tokenizer is None and model.joined and second.is_dir():
        decoder_tokenizer = open_tokenizer(str(second))
    _check_size(encoder_tokenizer, model.config.vocab_size)
    if decoder_tokenizer is not None:
        _check_size(decoder_tokenizer, model.decoder_config.vocab_size)
    max_tokens = max_tokens or int(stored.get("max_tokens", PASSAGE_TOKENS))
    settings: dict[str, Any] = {
        "reader": (ReaderKind.SKT if model.joined else ReaderKind.T5).value,
        "model": str(checkpoint),
        "decoder": None if decoder is None else str(decoder),
        "tokenizer": tokenizer,
        "max_tokens": max_tokens,
        **asdict(model.variant),
    }
    with write_artifact(output, "reader", settings) as directory:
        FiDReader(model, encoder_tokenizer, decoder_tokenizer, max_tokens=max_tokens).save(directory)
    return settings


def open_checkpoint(
    folder: Path, decoder: Path | None, variant: Variant, *, allow_pickle: bool = False
) -> FusionReader:
    """Return the reader of a T5's, mT5's or FiD reader's folder, with a GPT-2's for decoder if given; raise InputError."""
    if "fusion" not in _config(folder):
        t5 = _opened(folder, _T5, allow_pickle)
        if decoder is None:
            return from_t5(t5, variant)
        encoder = from_t5(t5)
    else:
        encoder = open_reader_model(str(folder))
        if decoder is None:
            changed = _changed(encoder.variant, variant)
            return encoder if changed == encoder.variant else open_reader_model(str(folder), changed)
    return join(encoder, _opened(decoder, _GPT2, allow_pickle), variant)


def _changed(stored: Variant, requested: Variant) -> Variant:
    """Return a reader's stored variant with what is requested that is not the default."""
    crosses = requested if requested.cross_layers or requested.n_cross_layer != 1 else stored
    return replace(
        stored,
        first_k=requested.first_k or stored.first_k,
        cross_layers=crosses.cross_layers,
        n_cross_layer=crosses.n_cross_layer,
        n_kv_heads=requested.n_kv_heads or stored.n_kv_heads,
    )


# --- models ---------------------------------------------------------------------------------------------------


def _config(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("not an object")
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            say(f"{file}: 모델의 설정을 읽을 수 없습니다 ({error})", f"{file}: not a model's configuration ({error})")
        ) from error
    return config


def _opened(folder: Path, kinds: dict[str, Any], allow_pickle: bool) -> Any:
    """Return the Transformers model in a folder, all its weights found and all of them used."""
    config = _config(folder)
    kind = config.get("model_type")
    if kind not in kinds:
        names = ", ".join(kinds)
        raise InputError(
            say(
                f"{folder}: model_type이 {kind!r}입니다. 쓸 수 있는 것: {names}",
                f"{folder}: model_type is {kind!r}; there can be: {names}",
            )
        )
    make_config, model_class = kinds[kind]
    weights = unwrapped(read_weights(folder, allow_pickle=allow_pickle))
    _check_tied(folder, weights)
    try:
        options = {"config": make_config.from_dict(config), "state_dict": weights, "output_loading_info": True}
        model, info = model_class.from_pretrained(None, **options)
    except (OSError, ValueError, TypeError, RuntimeError, StrictDataclassError) as error:
        raise InputError(
            say(f"{folder}: 모델을 만들 수 없습니다: {error}", f"{folder}: no model can be made of it: {error}")
        ) from error
    for names, korean, english in (
        (info["missing_keys"], "없는 무게", "weights that are missing"),
        (info["unexpected_keys"], "쓸 곳이 없는 무게", "weights that there is no place for"),
    ):
        if names:
            listed = ", ".join(sorted(names)[:3]) + (" ..." if len(names) > 3 else "")
            raise InputError(say(f"{folder}: {korean}: {listed}", f"{folder}: {english}: {listed}"))
    return model


def unwrapped(weights: Weights) -> Weights:
    """Return weights by T5's names: those of a FiD reader without its wrappers', others as they are."""
    wrapped = any(name.startswith("encoder.encoder.") for name in weights)
    named = {_t5_name(name) if wrapped else name: weight for name, weight in weights.items()}
    return {name: weight for name, weight in named.items() if not name.endswith(_NEVER_USED)}


def _t5_name(name: str) -> str:
    return re.sub(r"^encoder\.encoder\.(block\.\d+\.)?(?:module\.)?", r"encoder.\1", name)


def _check_tied(folder: Path, weights: Weights) -> None:
    """Raise InputError where encoder or decoder of a T5, or output of a GPT-2, have token vectors of their own."""
    t5 = "shared.weight" in weights
    shared = next((weights[n] for n in ("shared.weight", "transformer.wte.weight", "wte.weight") if n in weights), None)
    for name, weight in weights.items():
        tied = name.endswith("embed_tokens.weight") or (name == "lm_head.weight" and not t5)
        if tied and shared is not None and not torch.equal(weight, shared):
            raise InputError(
                say(
                    f"{folder}: {name}이(가) 토큰 벡터와 다릅니다. 그런 모델은 쓸 수 없습니다.",
                    f"{folder}: {name} differs from the token vectors; such a model cannot be used",
                )
            )


# --- weights --------------------------------------------------------------------------------------------------


def read_weights(folder: Path, *, allow_pickle: bool = False) -> Weights:
    """Return the weights in a folder, by their names there; raise InputError.

    Safetensors where there are any, else, only with ``allow_pickle``, pickled ones, of which nothing is run.
    """
    if files := _files(folder, _SAFE):
        return _merged(files, lambda file: load_file(str(file)))
    if not (files := _files(folder, _PICKLE)):
        raise InputError(
            say(
                f"{folder}: 무게({_SAFE}나 {_PICKLE})가 없습니다",
                f"{folder}: no weights ({_SAFE} or {_PICKLE})",
            )
        )
    if not allow_pickle:
        raise InputError(
            say(
                f"{files[0]}: 피클이라 읽지 않습니다. {_SAFE}로 바꾸거나, 믿을 만한 곳에서 받았으면 {setting('allow_pickle')}을(를) "
                "쓰세요 (그때도 텐서만 읽고 코드는 돌리지 않습니다).",
                f"{files[0]}: a pickle, which is not read. Convert it to {_SAFE}, or if you trust where it comes from use "
                f"{setting('allow_pickle')} (even then only tensors are read and no code is run).",
            )
        )
    return _merged(files, _unpickled)


def _files(folder: Path, name: str) -> list[Path]:
    """Return the file of this name, or the parts that its index lists."""
    index = folder / f"{name}.index.json"
    if (folder / name).is_file() or not index.is_file():
        return [folder / name] if (folder / name).is_file() else []
    try:
        parts = sorted(
            {Path(part).name for part in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(say(f"{index}: 무게의 목록이 아닙니다", f"{index}: not a list of files of weights")) from error
    return [folder / part for part in parts]


def _merged(files: list[Path], read: Callable[[Path], Any]) -> Weights:
    weights: Weights = {}
    for file in files:
        try:
            tensors = read(file)
        except (OSError, SafetensorError) as error:
            raise InputError(say(f"{file}: 읽을 수 없습니다 ({error})", f"{file}: cannot be read ({error})")) from error
        if not isinstance(tensors, dict) or not all(isinstance(w, torch.Tensor) for w in tensors.values()):
            raise InputError(say(f"{file}: 이름 붙은 텐서가 아닙니다", f"{file}: does not hold named tensors"))
        weights |= tensors
    return weights


def _unpickled(file: Path) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # an unpickler fails in as many ways as there are bad pickles
        raise InputError(
            say(
                f"{file}: 텐서 말고 다른 것이 들었거나 깨진 피클입니다. 아무것도 돌리지 않았습니다.",
                f"{file}: a pickle that holds more than tensors, or a broken one; nothing of it was run",
            )
        ) from error


# --- tokenizers -----------------------------------------------------------------------------------------------


def _tokenizer(folder: Path, name: str | None = None) -> PreTrainedTokenizerBase:
    """Open the tokenizer in a folder, or of a hub's name where no such folder is; raise InputError."""
    if (folder.is_dir() or name is None) and not any((folder / file).is_file() for file in _TOKENIZER_FILES):
        raise InputError(
            say(
                f"{folder}: 토크나이저가 없습니다. T5의 것은 이름이나 폴더로 알려 주고({setting('tokenizer')}), GPT-2의 것은 그 폴더에 넣으세요.",
                f"{folder}: has no tokenizer; name a T5's or its folder by {setting('tokenizer')}, put a GPT-2's into its folder",
            )
        )
    return open_tokenizer(name or str(folder))


def _check_size(tokenizer: PreTrainedTokenizerBase, n_tokens: int) -> None:
    """Raise InputError where a tokenizer has tokens that the model has not."""
    if len(tokenizer) > n_tokens:
        raise InputError(
            say(
                f"토크나이저의 토큰은 {len(tokenizer):,}개인데 모델의 것은 {n_tokens:,}개입니다. 모델의 토크나이저를 주세요.",
                f"the tokenizer has {len(tokenizer):,} tokens, the model {n_tokens:,}; give the model's own tokenizer",
            )
        )
