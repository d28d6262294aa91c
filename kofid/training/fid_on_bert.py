"""A fusion reader to train on a pretrained encoder, its decoder new or a GPT-2."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kofid.encoder.session import GRAPH, TOKENIZER
from kofid.errors import InputError
from kofid.language import say
from kofid.reader.fid.config import PASSAGE_TOKENS, Variant
from kofid.reader.fid.reader import FiDReader

if TYPE_CHECKING:
    from transformers import BertModel, PreTrainedTokenizerBase


def is_bert(model: str) -> bool:
    """Tell whether a model (folder or hub name) is a BERT, or a joint reader's folder, which has one."""
    from kofid.reader.fid.weights import config_of

    try:
        return config_of(model).get("model_type") == "bert"
    except (OSError, ValueError):
        return False


def reader_on_encoder(
    model: str,
    variant: Variant | None = None,
    decoder: str | None = None,
    *,
    n_decoder_layers: int | None = None,
    max_tokens: int = PASSAGE_TOKENS,
    seed: int = 1,
) -> FiDReader:
    """Return the reader of a BERT and a new T5 decoder (see ``reader_on_bert``), or a GPT-2 (``decoder``, see ``join``).

    Passages have the encoder's own tokens. An answer begins and ends with those that its tokenizer puts around a text.
    """
    from kofid.devices import seed_everything
    from kofid.reader.fid.init import reader_on_bert
    from kofid.reader.fid.weights import join, open_gpt2
    from kofid.reader.tokenizers import open_tokenizer

    encoder, tokenizer = open_bert(model)
    start, end = _tokens_around(model, tokenizer)
    gpt2 = None if decoder is None else open_gpt2(decoder)
    seed_everything(seed)
    reader = reader_on_bert(
        encoder,
        variant if gpt2 is None else None,
        start_token=start,
        end_token=end,
        n_decoder_layers=n_decoder_layers,
    )
    if decoder is None or gpt2 is None:
        return FiDReader(reader, tokenizer, max_tokens=max_tokens)
    return FiDReader(join(reader, gpt2, variant), tokenizer, open_tokenizer(decoder), max_tokens=max_tokens)


def open_bert(model: str) -> tuple[BertModel, PreTrainedTokenizerBase]:
    """Return a BERT and its tokenizer: of a checkpoint (folder or hub name; safetensors only), or a joint reader's folder.

    Raises InputError.
    """
    try:
        encoder, tokenizer = _open_joint(Path(model)) if (Path(model) / GRAPH).is_file() else _open_checkpoint(model)
    except InputError:
        raise
    except Exception as error:  # the libraries have errors of many kinds
        raise InputError(
            say(f"인코더 '{model}'을(를) 열 수 없습니다: {error}", f"encoder '{model}' cannot be opened: {error}")
        ) from error
    n_tokens = encoder.config.vocab_size
    if len(tokenizer) > n_tokens:
        raise InputError(
            say(
                f"'{model}': 토크나이저의 토큰은 {len(tokenizer):,}개인데 모델의 것은 {n_tokens:,}개입니다",
                f"'{model}': the tokenizer has {len(tokenizer):,} tokens, the model {n_tokens:,}",
            )
        )
    return encoder, tokenizer


def _open_checkpoint(name: str) -> tuple[BertModel, PreTrainedTokenizerBase]:
    import torch
    from transformers import BertModel

    from kofid.reader.tokenizers import open_tokenizer

    encoder, info = BertModel.from_pretrained(
        name, add_pooling_layer=False, use_safetensors=True, dtype=torch.float32, output_loading_info=True
    )
    missing = sorted(info["missing_keys"])
    if missing:
        raise InputError(say(f"'{name}'에 {missing[0]}이(가) 없습니다", f"'{name}' lacks {missing[0]}"))
    return encoder, open_tokenizer(name)


def _open_joint(folder: Path) -> tuple[BertModel, PreTrainedTokenizerBase]:
    from transformers import PreTrainedTokenizerFast

    from kofid.training.encoder_export import import_encoder

    encoder, _ = import_encoder(folder)
    names = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>"}
    file = str(folder / TOKENIZER)
    return encoder, PreTrainedTokenizerFast(tokenizer_file=file, pad_token="<pad>", unk_token="<unk>", **names)


def _tokens_around(model: str, tokenizer: PreTrainedTokenizerBase) -> tuple[int, int]:
    """Return the tokens that a BERT's tokenizer begins and ends a text with; raise InputError where it names none."""
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.cls_token_id
    end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
    if start is None or end is None:
        raise InputError(
            say(
                f"'{model}': 토크나이저에 글의 처음과 끝을 알리는 토큰이 없습니다",
                f"'{model}': its tokenizer has no tokens that begin and end a text",
            )
        )
    return start, end
