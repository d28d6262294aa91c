"""How text is taken apart: words, their morphemes, and the terms that an index counts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kofid.formats.user_dictionary import read_user_words
from kofid.korean.kiwi import analyze_many
from kofid.korean.text import clean
from kofid.retrieval.index import Index
from kofid.retrieval.sparse.analyzer import DEFAULT, Analyzer, parse_components


@dataclass(frozen=True)
class WordAnalysis:
    """A word, its morphemes (``form/TAG``), and its terms by the name of the analyzer's component."""

    word: str
    morphemes: tuple[str, ...]
    terms: dict[str, list[str]]


def analyze(
    text: str, *, analyzer: str = DEFAULT, user_dict: str | None = None, index: str | Path | None = None
) -> list[WordAnalysis]:
    """Return the analysis of each word of ``text``, by an analyzer such as ``kiwi+bigram`` or by that of an index.

    ``user_dict`` is a file of words for Kiwi. Raises UsageError for an unknown analyzer.

    >>> [word] = analyze("이순신은")
    >>> word.morphemes, word.terms["kiwi"]
    (('이순신/NNP', '은/JX'), ['이순신'])
    """
    if index is not None:
        used = Index.open(Path(index)).analyzer
    else:
        used = Analyzer(parse_components(analyzer), user_words=read_user_words(user_dict) if user_dict else ())
    units = used.units(clean(text))
    names = [component.name for component in used.components]
    rows = zip(units, analyze_many(units, used.user_words), used.analyze(units), strict=True)
    return [
        WordAnalysis(unit, tuple(f"{m.form}/{m.tag}" for m in morphemes), dict(zip(names, terms, strict=True)))
        for unit, morphemes, terms in rows
    ]
