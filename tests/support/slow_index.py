"""Ranking by dicts and loops, straight from the formulas: what the index's fast arrays must come to. And made-up corpora."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from math import log, sqrt

from kofid.types import Passage

VOCABULARY = [f"w{n}" for n in range(300)]
# The n-th word is said half as often as the (n / 2)-th (Zipf).
ODDS = [1 / (n + 1) for n in range(300)]


def random_text(rng: random.Random, shortest: int, longest: int) -> str:
    """Return words by chance, in lines of seven."""
    words = rng.choices(VOCABULARY, ODDS, k=rng.randint(shortest, longest))
    return "\n".join(" ".join(words[n : n + 7]) for n in range(0, len(words), 7))


def random_article(rng: random.Random, name: str, longest: int = 5) -> list[Passage]:
    """Return the passages ``NAME#0``, ``NAME#1``, ... of an article, ``longest`` of them at most."""
    title = random_text(rng, 1, 3)
    return [Passage(f"{name}#{n}", title, random_text(rng, 3, 30)) for n in range(rng.randint(1, longest))]


def random_passages(rng: random.Random, n_articles: int, longest: int = 5) -> list[Passage]:
    return [passage for n in range(n_articles) for passage in random_article(rng, f"a{n}", longest)]


def random_question(rng: random.Random, longest: int = 6) -> str:
    """Return a question of rare and of frequent words, now and then an unknown one."""
    return " ".join(rng.choice(VOCABULARY + ["unknown"] * 5) for _ in range(rng.randint(1, longest)))


def idf(ranker: str, n: int, df: int) -> float:
    if ranker == "lucene":
        return log(1 + (n - df + 0.5) / (df + 0.5))
    if ranker == "okapi":
        return max(log((n - df + 0.5) / (df + 0.5)), 0)
    if ranker == "atire":
        return log(n / df)
    if ranker == "bm25+":
        return log((n + 1) / df)
    if ranker == "bm25l":
        return log((n + 1) / (df + 0.5))
    assert ranker == "tf-idf"
    return (1 + log(n / (df + 1))) ** 2


def occurrence(ranker: str, tf: int, length: int, average: float, k1: float, b: float) -> float:
    """Return what ``tf`` occurrences in a text of ``length`` terms are worth, BM25+ with delta 1, BM25L with 0.5."""
    if tf == 0:
        return 0.0
    if ranker == "tf-idf":
        return sqrt(tf) / sqrt(length)
    norm = 1 - b + b * length / average
    if ranker == "lucene":
        return tf / (tf + k1 * norm)
    if ranker == "bm25l":
        return (k1 + 1) * (tf / norm + 0.5) / (k1 + tf / norm + 0.5)
    return (k1 + 1) * tf / (tf + k1 * norm) + (1.0 if ranker == "bm25+" else 0.0)


def sentences(text: str) -> list[str]:
    """Return sentences: each ends with its line, or with a word that ends in a mark or in 다."""
    parts = []
    for line in text.split("\n"):
        parts.append("")
        for word in line.split():
            parts[-1] += " " + word
            if word[-1] in ".?!다":
                parts.append("")
    return parts


class SlowIndex:
    """Passages by their terms. ``terms_of`` gives a text's terms, a list for each component."""

    def __init__(
        self,
        passages: Sequence[Passage],
        terms_of: Callable[[str], list[list[str]]],
        *,
        ranker: str = "lucene",
        k1: float = 0.8,
        b: float = 0.5,
        title_weight: float = 0.0,
    ) -> None:
        self._ranker, self._k1, self._b, self._title_weight = ranker, k1, b, title_weight
        self._passages = passages
        self._texts = [[Counter(part) for part in terms_of(passage.text)] for passage in passages]
        self._titles: list[list[Counter[str]]] = []
        self._article: list[int] = []  # of each passage
        before = None
        for passage in passages:
            article = passage.id.partition("#")[0]
            if article != before:
                self._titles.append([Counter(part) for part in terms_of(passage.title)])
            self._article.append(len(self._titles) - 1)
            before = article

    def scores(self, query: Sequence[tuple[str, int, float]]) -> list[float]:
        """Return every passage's score for terms, each with its component and weight."""
        texts = self._field(self._texts, query)
        titles = self._field(self._titles, query)
        titles = [self._title_weight * self._share_asked_for(n, query) ** 2 * score for n, score in enumerate(titles)]
        return [score + titles[article] for score, article in zip(texts, self._article, strict=True)]

    def together(self, number: int, query: Sequence[tuple[str, int, float]]) -> float:
        """Return what the terms weigh that are letters of the title or of one sentence of a passage, whichever is best."""
        passage = self._passages[number]
        title, best = passage.title.lower(), 0.0
        for sentence in sentences(passage.text.lower()):
            matches = [entry for entry in query if entry[0] in title or entry[0] in sentence]
            best = max(best, sum(weight * self._idf(term, c) for term, c, weight in matches))
        return best

    def _idf(self, term: str, component: int) -> float:
        df = sum(term in text[component] for text in self._texts)
        return idf(self._ranker, len(self._texts), max(df, 1))

    def _field(self, owners: list[list[Counter[str]]], query: Sequence[tuple[str, int, float]]) -> list[float]:
        scores = [0.0] * len(owners)
        for term, c, weight in query:
            worth = weight * self._idf(term, c)
            average = sum(owner[c].total() for owner in owners) / len(owners)
            for number, owner in enumerate(owners):
                tf, length = owner[c][term], owner[c].total()
                scores[number] += worth * occurrence(self._ranker, tf, length, average, self._k1, self._b)
        return scores

    def _share_asked_for(self, article: int, query: Sequence[tuple[str, int, float]]) -> float:
        """Return the share of an article's title that is asked for."""
        title = self._titles[article]
        size = sum(part.total() for part in title)
        return sum(title[c][term] for term, c in {(term, c) for term, c, _ in query}) / size if size else 0.0
