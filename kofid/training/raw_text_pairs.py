"""Pairs of a question-like text and its passage, made of raw text: what an encoder learns from before it sees questions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from kofid.errors import InputError
from kofid.formats.passage_split import article_id
from kofid.korean.text import sentence_spans
from kofid.language import say
from kofid.types import Passage

if TYPE_CHECKING:
    from numpy.random import Generator

Tokens = npt.NDArray[np.integer]
_AT_A_TIME = 2_048
# Shares of the pairs: the question begins with the passage's title; its sentence is taken out of the passage (inverse
# cloze, Lee et al. 2019, section 4); its passage is another one of the article.
TITLED, TAKEN_OUT, NEIGHBOUR = 0.5, 0.7, 0.1
# Of the sentence, between this share and all of its tokens are kept.
KEPT = 0.4


def sample_texts(passages: Iterable[Passage], n: int, seed: int = 1) -> list[str]:
    """Return titles and texts of at most ``n`` passages, each as likely as any other (Vitter 1985, algorithm R)."""
    rng = Random(seed)
    sample: list[Passage] = []
    for seen, passage in enumerate(passages):
        if seen < n:
            sample.append(passage)
        elif (place := rng.randrange(seen + 1)) < n:
            sample[place] = passage
    return [f"{passage.title} {passage.text}" for passage in sample]


class Pairs:
    """Passages as tokens, and pairs drawn from them."""

    def __init__(self, passages: Iterable[Passage], pieces: Callable[[Sequence[str]], list[list[int]]]) -> None:
        """Read all passages; ``pieces`` returns the tokens of texts. Raises InputError where there is no sentence."""
        parts: list[Tokens] = []
        lengths: list[Tokens] = []  # of a passage's title and sentences
        counts: list[int] = []
        articles: list[int] = []
        numbers: dict[str, int] = {}
        stream = iter(passages)
        while batch := list(islice(stream, _AT_A_TIME)):
            texts: list[str] = []
            for passage in batch:
                sentences = [passage.text[a:b] for a, b in sentence_spans(passage.text)]
                texts += [passage.title, *sentences]
                counts.append(1 + len(sentences))
                articles.append(numbers.setdefault(article_id(passage.id), len(numbers)))
            rows = pieces(texts)
            lengths.append(np.array([len(row) for row in rows], dtype=np.int32))
            parts.append(np.fromiter((token for row in rows for token in row), dtype=np.int32).astype(np.uint32))
            if parts[-1].max(initial=0) < 2**16:
                parts[-1] = parts[-1].astype(np.uint16)
        self._tokens = np.concatenate([np.empty(0, np.uint16), *parts])
        self._ends = np.concatenate([np.zeros(1, np.int64), *lengths]).cumsum()
        self._firsts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self._articles = np.array(articles, dtype=np.int64)
        self.rows = np.flatnonzero(np.array(counts, dtype=np.int64) > 1)
        if not len(self.rows):
            raise InputError(say("배울 문장이 하나도 없습니다", "there is not one sentence to learn from"))

    def __len__(self) -> int:
        return len(self.rows)

    def draw(self, number: int, rng: Generator) -> tuple[Tokens, Tokens]:
        """Return the tokens of a question and of its passage, made of the passage of this number."""
        row = int(self.rows[number])
        first, last = int(self._firsts[row]), int(self._firsts[row + 1])
        picked = int(rng.integers(first + 1, last))
        sentence = self._part(picked, picked + 1)
        thinned = sentence[rng.random(len(sentence)) < rng.uniform(KEPT, 1.0)]
        question = thinned if len(thinned) else sentence
        title = self._part(first, first + 1)
        if rng.random() < TITLED or not len(question):
            question = np.concatenate([title, question])
        other = row + 1
        if rng.random() < NEIGHBOUR and other < len(self._articles) and self._articles[other] == self._articles[row]:
            return question, self._part(int(self._firsts[other]), int(self._firsts[other + 1]))
        if rng.random() < TAKEN_OUT and last - first > 2:
            return question, np.concatenate([self._part(first, picked), self._part(picked + 1, last)])
        return question, self._part(first, last)

    def example(self, texts: Callable[[Sequence[list[int]]], list[str]]) -> dict[str, str]:
        """Return a pair as ``question`` and ``passage``; ``texts`` returns those of tokens."""
        question, passage = self.draw(0, np.random.default_rng(1))
        return dict(zip(("question", "passage"), texts([question.tolist(), passage.tolist()]), strict=True))

    def _part(self, first: int, last: int) -> Tokens:
        """Return the tokens of titles and sentences from ``first`` to before ``last``."""
        return self._tokens[self._ends[first] : self._ends[last]]
