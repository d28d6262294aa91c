"""Articles into passages, cut at sentence ends."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kofid.korean.text import sentence_spans
from kofid.types import Passage

# DPR (Karpukhin et al. 2020, section 4.1) cuts Wikipedia into passages of 100 words.
PASSAGE_WORDS = 100


def split_article(article: Passage, passage_words: int = PASSAGE_WORDS) -> Iterator[Passage]:
    """Yield passages of about ``passage_words`` whitespace words, ids ``ARTICLE#0``, ``ARTICLE#1``, ...

    A passage ends where the sentence that would carry it past the size begins; a tail shorter than a quarter of
    the size joins the passage before it. A single sentence of over twice the size is cut between words.
    """
    groups: list[tuple[int, int, int]] = []  # start, end, size
    for start, end in _bounded_sentences(article.text, passage_words):
        size = _size(article.text[start:end])
        if groups and groups[-1][2] + size <= passage_words:
            groups[-1] = (groups[-1][0], end, groups[-1][2] + size)
        else:
            groups.append((start, end, size))
    if len(groups) > 1 and groups[-1][2] < passage_words // 4:
        _, end, size = groups.pop()
        groups[-1] = (groups[-1][0], end, groups[-1][2] + size)
    for number, (start, end, _) in enumerate(groups):
        yield Passage(f"{article.id}#{number}", article.title, article.text[start:end].strip())


def _size(text: str) -> int:
    """Return the words of ``text``, long ones counted as several (a Korean word has about four characters)."""
    return max(len(text.split()), len(text) // 10)


def _bounded_sentences(text: str, passage_words: int) -> Iterator[tuple[int, int]]:
    """Yield sentence offsets; a sentence of over twice the passage size in pieces of the passage size."""
    for start, end in sentence_spans(text):
        if _size(text[start:end]) <= 2 * passage_words:
            yield start, end
            continue
        piece = start
        for word in re.finditer(r"\S{1,200}\s*", text[start:end]):
            stop = start + word.end()
            if _size(text[piece:stop]) >= passage_words:
                yield piece, stop
                piece = stop
        if piece < end:
            yield piece, end


def article_id(passage_id: str) -> str:
    """Return the id of the article that a passage was cut from; the id itself when it was not cut."""
    article, mark, number = passage_id.rpartition("#")
    return article if mark and number.isdigit() else passage_id
