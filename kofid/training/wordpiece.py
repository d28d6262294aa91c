"""A WordPiece tokenizer from nothing, in BERT's layout."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kofid.korean.text import strip_particle

if TYPE_CHECKING:
    from transformers import BertTokenizer

_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_PIECE = re.compile(r"\w+|[^\w\s]")


def train_wordpiece(texts: Sequence[str], vocab_size: int) -> BertTokenizer:
    """Return a BERT tokenizer of at most ``vocab_size`` pieces learned from ``texts``, the same each time.

    Pieces are learned from words without their particles, so that an answer's end and a piece's end fall together:
    세종이 is 세종 ##이. The commonest half as many characters are kept, at a word's start and inside; the rest are [UNK].
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import BertTokenizer

    words = Counter(strip_particle(word) for text in texts for word in _PIECE.findall(text))
    characters: Counter[str] = Counter()
    for text in texts:
        characters.update("".join(text.split()))
    kept = sorted(c for c, _ in characters.most_common((vocab_size - len(_SPECIAL)) // 4))
    rare = str.maketrans({c: " " for c in set(characters).difference(kept)})
    # Named beforehand, for the trainer numbers what it meets in an order that differs from run to run, and breaks ties by it.
    alphabet = [*kept, *(f"##{c}" for c in kept)]
    learned = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learned.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, special_tokens=[*_SPECIAL, *alphabet], show_progress=False
    )
    learned.train_from_iterator(((word.translate(rare) + " ") * n for word, n in sorted(words.items())), trainer)
    pieces = sorted(learned.get_vocab().items(), key=lambda piece: piece[1])
    vocabulary = {piece: number for number, (piece, _) in enumerate(pieces)}
    return BertTokenizer(vocab=vocabulary, do_lower_case=False, strip_accents=False)
