"""A question into weighted query terms: what it asks about counts, the words that only ask do not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kofid.korean.questions import asks
from kofid.retrieval.sparse.analyzer import Analysis, Analyzer, bigrams
from kofid.retrieval.sparse.ranking import Ranking


class QueryTerm(NamedTuple):
    """A term to look for: its text, the component of the analyzer that made it, its weight, and its word."""

    text: str
    component: int
    weight: float
    word: str


def weigh(
    words: Sequence[tuple[str, Analysis]], analyzer: Analyzer, weights: Sequence[float], ranking: Ranking
) -> list[QueryTerm]:
    """Return the query terms of analysed words, weighted by component (``weights``) and by what they are.

    Terms of a word that asks count ``ranking.asking_weight``, unless all words do. Bigrams of particles and
    endings count ``ranking.ending_weight``. A term asked twice counts twice.
    """
    all_ask = all(asks(word) for word, _ in words)
    names = [component.name for component in analyzer.components]
    content = [c for c, name in enumerate(names) if name in ("kiwi", "compound")]
    terms = []
    for word, analysis in words:
        factor = ranking.asking_weight if asks(word) and not all_ask else 1.0
        endings = _endings(word, [term for c in content for term in analysis[c]])
        for c, part in enumerate(analysis):
            for term in part:
                ending = names[c] == "bigram" and term in endings
                weight = weights[c] * factor * (ranking.ending_weight if ending else 1)
                terms.append(QueryTerm(term, c, weight, word))
    return terms


def _endings(word: str, stems: Sequence[str]) -> set[str]:
    """Return the bigrams of a word's particle or ending, with the last syllable before it."""
    stop = 0
    for stem in stems:
        if stem.isdigit():  # 1592 may be 1,592
            stop = max([stop, *(i for i, character in enumerate(word, 1) if character.isdigit())])
            continue
        # A stem may change before its ending: 일어나 is 일어났 in 일어났나.
        n_common = next((n for n in range(len(stem), 0, -1) if stem[:n] in word), 0)
        stop = max(stop, word.rfind(stem[:n_common]) + n_common if n_common else 0)
    return set(bigrams(word[stop - 1 :])) - set(bigrams(word[:stop])) if stop else set()
