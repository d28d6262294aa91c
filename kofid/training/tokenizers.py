"""A subword tokenizer from nothing: SentencePiece's unigram model (Kudo 2018) in T5's layout."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

from kofid.korean.particles import strip_particle

if TYPE_CHECKING:
    from transformers import BertTokenizer, T5Tokenizer


# Between morphemes while pieces are learned: of no alphabet.
_CUT = "\ue000"
# Of the pieces that learning begins with: their number and their characters.
_SEEDS, _LONGEST = 1_000_000, 16


def train_tokenizer(texts: Sequence[str], vocab_size: int, *, morphemes: bool = False) -> T5Tokenizer:
    """Return a T5 tokenizer of at most ``vocab_size`` pieces learned from ``texts``, the same each time.

    The commonest half as many characters are kept; the rest, rare hanja above all, become ``<unk>``. With ``morphemes``
    no piece goes over the border of one, so that a name is a token or several without the particle after it.
    """
    import sentencepiece
    from transformers import T5Tokenizer

    seeds = ""
    if morphemes:
        texts = list(cut_at_morphemes(texts))
        seeds = _seed_pieces(texts)
    counts = Counter(chain.from_iterable(texts))
    alphabet = {_CUT, *(character for character, _ in counts.most_common(vocab_size // 2))}
    rare = {ord(character): " " for character in counts if character not in alphabet}
    model = io.BytesIO()
    with NamedTemporaryFile("w", suffix=".tsv", encoding="utf-8") as file:
        file.write(seeds.translate(rare))
        file.flush()
        _train(texts, rare, model, vocab_size, seed_pieces=file.name if morphemes else "")
    learned = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = [(learned.id_to_piece(i), learned.get_score(i)) for i in range(len(learned))]
    return T5Tokenizer(vocab=pieces, extra_ids=0)


def _train(texts: Sequence[str], rare: dict[int, str], model: io.BytesIO, vocab_size: int, *, seed_pieces: str) -> None:
    import sentencepiece

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
        pretokenization_delimiter=_CUT if seed_pieces else "",
        seed_sentencepieces_file=seed_pieces,
    )


def _seed_pieces(texts: Sequence[str]) -> str:
    """Return the pieces to begin with, a line each with its count: what is inside a morpheme more than once.

    SentencePiece itself begins with what several different words share, and never sees a name that always stands alone.
    """
    segments: Counter[str] = Counter()
    for text in texts:
        for word in text.split():
            first, *others = word.split(_CUT)
            segments.update(["\u2581" + first, *others])
    counts: Counter[str] = Counter()
    for segment, n in segments.items():
        for start in range(len(segment)):
            for end in range(start + 2, min(len(segment), start + _LONGEST) + 1):
                counts[segment[start:end]] += n
    pieces = sorted((piece for piece, n in counts.items() if n > 1), key=lambda piece: (-counts[piece], piece))
    return "".join(f"{piece}\t{counts[piece]}\n" for piece in pieces[:_SEEDS] if not set(piece) & {_CUT, "\t"})


def cut_at_morphemes(texts: Sequence[str]) -> Iterator[str]:
    """Yield each text with a mark between the morphemes of a word, contracted ones left together."""
    from kofid.korean.kiwi import analyze_many

    for text, morphemes in zip(texts, analyze_many(texts), strict=True):
        borders = {b.start for a, b in pairwise(morphemes) if a.end == b.start}
        cuts = [0, *sorted(borders), len(text)]
        yield _CUT.join(text[start:end] for start, end in pairwise(cuts))


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
    common = sorted(c for c, _ in characters.most_common((vocab_size - len(_SPECIAL)) // 4))
    rare = str.maketrans({c: " " for c in set(characters).difference(common)})
    # Named beforehand, for the trainer numbers what it meets in an order that differs from run to run, and breaks ties by it.
    alphabet = [*common, *(f"##{c}" for c in common)]
    learned = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learned.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, special_tokens=[*_SPECIAL, *alphabet], show_progress=False
    )
    learned.train_from_iterator(((word.translate(rare) + " ") * n for word, n in sorted(words.items())), trainer)
    pieces = sorted(learned.get_vocab().items(), key=lambda piece: piece[1])
    vocabulary = {piece: number for number, (piece, _) in enumerate(pieces)}
    return BertTokenizer(vocab=vocabulary, do_lower_case=False, strip_accents=False)
