"""A subword tokenizer from nothing: SentencePiece's unigram model (Kudo 2018) in T5's layout."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import T5Tokenizer


def train_tokenizer(texts: Sequence[str], vocab_size: int) -> T5Tokenizer:
    """Return a T5 tokenizer of at most ``vocab_size`` pieces learned from ``texts``, the same each time.

    The commonest half as many characters are kept; the rest, rare hanja above all, become ``<unk>``.
    """
    import sentencepiece
    from transformers import T5Tokenizer

    counts = Counter(chain.from_iterable(texts))
    kept = {character for character, _ in counts.most_common(vocab_size // 2)}
    rare = {ord(character): " " for character in counts if character not in kept}
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(line for text in texts for line in text.translate(rare).splitlines()),
        model_writer=model,
        vocab_size=vocab_size,
        hard_vocab_limit=False,
        character_coverage=1.0,
        normalization_rule_name="identity",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=1,  # with more, the pieces differ from run to run
        minloglevel=2,
    )
    learned = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = [(learned.id_to_piece(i), learned.get_score(i)) for i in range(len(learned))]
    return T5Tokenizer(vocab=pieces, extra_ids=0)
