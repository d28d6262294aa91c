"""Tokenizers of readers, opened so that several threads may use one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kofid.errors import InputError
from kofid.language import say

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def open_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Open a tokenizer (folder or hub name, no code of its own), set neither to cut nor to pad; raise InputError."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise InputError(
            say(f"토크나이저 '{name}'을(를) 열 수 없습니다: {error}", f"tokenizer '{name}' cannot be opened: {error}")
        ) from error
    if tokenizer.is_fast:  # else the first call would change it, while another thread may be using it
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
    return tokenizer
