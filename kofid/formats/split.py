"""Articles into passages, cut at sentence ends."""

from __future__ import annotations

from collections.abc import Iterator

from kofid.text import sentence_spans
from kofid.types import Passage

# DPR (Karpukhin et al. 2020, section 4.1) cuts Wikipedia into passages of 100 words.
PASSAGE_WORDS = 100


def split_article(article: Passage, passage_words: int = PASSAGE_WORDS) -> Iterator[Passage]:
    """Yield passages of about ``passage_words`` whitespace words, ids ``ARTICLE#0``, ``ARTICLE#1``, ...

    A passage ends where the sentence that would carry it past the size begins; a tail shorter than a quarter of
    the size joins the passage before it. A single sentence of over twice the size is cut between words.
    """
    groups: list[tuple[int, int, int]] = []  # start, end, words
    for start, end in _bounded_sentences(article.text, 2 * passage_words):
        words = len(article.text[start:end].split())
        if groups and groups[-1][2] + words <= passage_words:
            groups[-1] = (groups[-1][0], end, groups[-1][2] + words)
        else:
            groups.append((start, end, words))
    if len(groups) > 1 and groups[-1][2] < passage_words // 4:
        _, end, words = groups.pop()
        groups[-1] = (groups[-1][0], end, groups[-1][2] + words)
    for number, (start, end, _) in enumerate(groups):
        yield Passage(f"{article.id}#{number}", article.title, article.text[start:end].strip())


def _bounded_sentences(text: str, max_words: int) -> Iterator[tuple[int, int]]:
    """Yield sentence offsets, those of over ``max_words`` words (or of endless words) in pieces."""
    max_characters = 10 * max_words
    for sentence_start, end in sentence_spans(text):
        start = sentence_start
        while end - start > max_characters or len(text[start:end].split()) > max_words:
            half = start + min(max_characters, (end - start) // 2)
            cut = text.rfind(" ", start, half)
            cut = cut if cut > start else half
            yield start, cut
            start = cut
        yield start, end


def article_id(passage_id: str) -> str:
    """Return the id of the article that a passage was cut from; the id itself when it was not cut."""
    article, mark, number = passage_id.rpartition("#")
    return article if mark and number.isdigit() else passage_id
