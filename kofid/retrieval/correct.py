"""Questions that are spelled or spaced wrongly, set right by the words that the index knows.

A word that no passage has is compared with its neighbours, one or two slips away (``kofid.retrieval.misspellings``). It
gives way where a neighbour is so much more frequent in the index that a slip is the better explanation (the noisy channel
of Kernighan, Church and Gale 1990).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import inf, log
from typing import NamedTuple

from kofid.korean import kiwi as morphology
from kofid.korean.particles import is_particle_after
from kofid.korean.questions import asking_endings, asks
from kofid.retrieval.index import Index
from kofid.retrieval.misspellings import HANGUL, SHORT, SPACE, variants
from kofid.types import Hit, Search

_WORD = re.compile(r"[^\W_]+")
_LONGEST_WORD = 24  # longer runs are no words
_LONGEST_QUESTION = 300  # what is longer was hardly typed

_UNKNOWN_FREQUENCY = 0.3  # what a word that no passage has is taken to have
_ASKING_FREQUENCY = 1_000.0  # and a word that asks
_ASKING_WORDS = frozenset(
    ("누가", "누구", "언제", "어디", "어디서", "무엇", "무슨", "어떤", "얼마", "어느", "어떻게", "왜", "몇")
)


class Correction(NamedTuple):
    """A question set right, and what was changed: (as written, as meant)."""

    text: str
    changes: list[tuple[str, str]]


class Reading(NamedTuple):
    """A word that another may stand for, and the logarithm of how likely that is."""

    word: str
    likelihood: float


def correct(index: Index, question: str) -> Correction | None:
    """Return the question as it was probably meant; None when there is nothing to set right, or much too much."""
    if len(question) > _LONGEST_QUESTION:
        return None
    speller = Speller(index)
    changes: list[tuple[str, str]] = []

    def correct_word(match: re.Match[str]) -> str:
        word = match.group()
        corrected = speller.correct(word) if len(word) <= _LONGEST_WORD else word
        if corrected != word:
            changes.append((word, corrected))
        return corrected

    text = _WORD.sub(correct_word, question)
    return Correction(text, changes) if changes else None


def forgiving_search(index: Index, search: Search, question: str, k: int) -> tuple[list[Hit], str | None]:
    """Search for ``question``, or for what it was probably meant as where the terms of that find at least as much.

    Returns the hits and the question that was searched for where it is another, else None.
    """
    correction = correct(index, question)
    if correction is not None:
        before, after = index.search(question, 1), index.search(correction.text, 1)
        if after and (not before or after[0].score >= before[0].score):
            return search(correction.text, k), correction.text
    return search(question, k), None


class Speller:
    """Corrects words by what an index knows: words, terms, and in how many passages they are."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._user_words = index.analyzer.user_words

    def correct(self, word: str) -> str:
        """Return the likeliest reading of a word: itself, another, or several with spaces between."""
        if self.is_sound(word):
            return word
        single = self._likeliest(word).word
        pieces = self._spaced(word)
        if len(pieces) > 1:
            corrected = [self.correct(piece) for piece in self._join_parted(pieces)]
            if (single == word or corrected == pieces) and all(map(self.is_sound, corrected)):
                return " ".join(corrected)
        return single

    def is_sound(self, word: str) -> bool:
        """Tell whether ``word`` needs no other reading: passages have it, perhaps with another particle, or Kiwi does."""
        word = word.lower()
        stems = [word[:end] for end in range(1, len(word)) if is_particle_after(word[:end], word[end:])]
        if any(self._are_known([word, *stems])) or self._index.has_analysis(word):
            return True
        is_one_word = not self._spaced(word)[1:]
        if asks(word) and is_one_word:
            return True
        return HANGUL.fullmatch(word) is not None and is_one_word and morphology.is_known(word, self._user_words)

    def _are_known(self, texts: list[str]) -> list[bool]:
        """Tell which texts are words, or terms, of some passage, or words that ask."""
        return [
            is_known or text in _ASKING_WORDS for text, is_known in zip(texts, self._index.knows(texts), strict=True)
        ]

    def _spaced(self, word: str) -> list[str]:
        """Return the words that Kiwi would write for ``word``; itself where it is short or not Korean."""
        if len(word) <= SHORT or not HANGUL.fullmatch(word):
            return [word]
        return morphology.spaced(word, self._user_words).split()

    def _frequency(self, text: str) -> float:
        """Return in how many passages the rarest content term of ``text`` is.

        Words that ask are frequent in questions, however rare in passages.
        """
        least = _ASKING_FREQUENCY if text in _ASKING_WORDS else _UNKNOWN_FREQUENCY
        return max(float(self._index.rarest(text)), least)

    def _join_parted(self, pieces: list[str]) -> list[str]:
        """Return pieces with those joined that a slip has parted: 이러 and 났나 are 일어났나."""
        joined: list[str] = []
        for piece in pieces:
            if joined:
                whole = joined[-1] + piece
                reading = Reading(whole, 0.0) if self.is_sound(whole) else self._likeliest_other(whole)
                rarer = min(self._frequency(joined[-1]), self._frequency(piece))
                if reading.word != whole and reading.likelihood > log(rarer) - SPACE:
                    joined[-1] = reading.word
                    continue
            joined.append(piece)
        return joined

    def _likeliest(self, word: str) -> Reading:
        """Return the single word that ``word`` most likely stands for, perhaps itself."""
        itself = Reading(word, log(self._frequency(word)))
        return max(itself, self._likeliest_other(word), key=lambda reading: reading.likelihood)

    def _likeliest_other(self, word: str) -> Reading:
        """Return the likeliest word but ``word`` itself, which is only returned where there is no other."""
        readings = [Reading(other, log(self._frequency(other)) - cost) for other, cost in self._candidates(word)]
        return max(readings, key=lambda reading: reading.likelihood, default=Reading(word, -inf))

    def _candidates(self, word: str) -> Iterator[tuple[str, float]]:
        """Yield known words that ``word`` may stand for, and the cost; if need be without its particle, or as stated."""
        lower = word.lower()
        whole = self._known_variants(lower)
        if whole:
            yield from whole
            return
        with_particle: list[tuple[str, float]] = []
        for end in range(len(lower) - 1, 1, -1):
            if is_particle_after(lower[:end], lower[end:]):
                with_particle = [(stem + lower[end:], cost) for stem, cost in self._known_variants(lower[:end])]
                yield from with_particle
        if with_particle:
            return
        for stem, ending, (tail, *_) in asking_endings(lower):  # 이러났나: 일어났다 is known
            stated = self._known_variants(stem + tail)
            yield from ((v.removesuffix(tail) + ending, cost) for v, cost in stated if tail and v.endswith(tail))

    def _known_variants(self, word: str) -> list[tuple[str, float]]:
        costs = variants(word)
        texts = list(costs)
        return [(text, costs[text]) for text, is_known in zip(texts, self._are_known(texts), strict=True) if is_known]
