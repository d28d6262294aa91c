"""A subword tokenizer from nothing: SentencePiece's unigram model (Kudo 2018) in T5's layout."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import T5Tokenizer


# Between morphemes while pieces are learned: of no alphabet.
_CUT = "\ue000"


def train_tokenizer(texts: Sequence[str], vocab_size: int, *, morphemes: bool = False) -> T5Tokenizer:
    """Return a T5 tokenizer of at most ``vocab_size`` pieces learned from ``texts``, the same each time.

    The commonest half as many characters are kept; the rest, rare hanja above all, become ``<unk>``. With ``morphemes``
    no piece goes over the border of one, so that a name is a token or several without the particle after it.
    """
    import sentencepiece
    from transformers import T5Tokenizer

    if morphemes:
        texts = list(cut_at_morphemes(texts))
    counts = Counter(chain.from_iterable(texts))
    kept = {_CUT, *(character for character, _ in counts.most_common(vocab_size // 2))}
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
        pretokenization_delimiter=_CUT if morphemes else "",
    )
    learned = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = [(learned.id_to_piece(i), learned.get_score(i)) for i in range(len(learned))]
    return T5Tokenizer(vocab=pieces, extra_ids=0)


def cut_at_morphemes(texts: Sequence[str]) -> Iterator[str]:
    """Yield each text with a mark between the morphemes of a word, contracted ones left together."""
    from kofid.morphology import analyze_many

    for text, found in zip(texts, analyze_many(texts), strict=True):
        borders = {b.start for a, b in pairwise(found) if a.end == b.start}
        cuts = [0, *sorted(borders), len(text)]
        yield _CUT.join(text[start:end] for start, end in pairwise(cuts))
