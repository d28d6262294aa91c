"""A subword tokenizer from nothing: SentencePiece-style Unigram (Kudo 2018) in T5's layout."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import T5Tokenizer


def train_tokenizer(texts: Sequence[str], vocab_size: int) -> T5Tokenizer:
    """Return a T5 tokenizer of at most ``vocab_size`` pieces learned from ``texts`` (fewer from little text).

    The commonest half as many characters are kept; the rest, rare hanja above all, become ``<unk>``.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import T5Tokenizer

    learned = Tokenizer(models.Unigram())
    learned.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    counts = Counter(chain.from_iterable(texts))
    kept = {character for character, _ in counts.most_common(vocab_size // 2)}
    rare = {ord(character): " " for character in counts if character not in kept}
    learned.train_from_iterator((text.translate(rare) for text in texts), trainer)
    pieces = [(piece, score) for piece, score in json.loads(learned.to_str())["model"]["vocab"]]
    return T5Tokenizer(vocab=pieces, extra_ids=0)
