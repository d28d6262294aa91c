"""What a written word may have been meant as: slips of ear and hand, and what each costs.

A jamo is taken for one that sounds alike or lies beside it on the keyboard, syllables are swapped or doubled, a final
consonant is written where it is heard (이러나 for 일어나), Korean is typed on an English keyboard (dltnstls for 이순신).
Costs are natural logarithms: a word must be that much more frequent to explain what was written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import product

from kofid.korean.jamo import (
    ALPHABETS,
    FINALS,
    INITIALS,
    KEYBOARD_ROWS,
    SILENT_INITIAL,
    Syllable,
    join_syllable,
    split_syllable,
    struck,
)

HANGUL = re.compile(r"[가-힣]+")
_KEYS = re.compile(r"[a-z]+", re.IGNORECASE)

HEARD, BESIDE, OTHER, SWAPPED, SPACE = 1.0, 2.0, 4.0, 3.0, 1.0
_AT_MOST = 4.5
SHORT = 2  # words this short have so many neighbours that only the nearest count

# Jamo that are taken for one another by ear. For finals: the seven that are spoken.
_ALIKE = (
    ["ㄱㄲㅋ", "ㄷㄸㅌ", "ㅂㅃㅍ", "ㅅㅆ", "ㅈㅉㅊ", "ㄴㄹ", "ㅇㅎ"],
    ["ㅐㅔㅒㅖ", "ㅙㅚㅞ", "ㅓㅗ", "ㅡㅜ", "ㅏㅑ", "ㅓㅕ", "ㅗㅛ", "ㅜㅠ", "ㅢㅣㅡ", "ㅟㅣ", "ㅘㅏ", "ㅝㅓ"],
    ["ㄱㄲㅋㄳㄺ", "ㄷㅅㅆㅈㅊㅌㅎ", "ㅂㅍㅄㄿ", "ㄴㄵㄶ", "ㄹㄼㄽㄾㅀ", "ㅁㄻ", " ㅎ", " ㄴ", " ㅅ", "ㄴㅁㅇ"],
)

Word = tuple[Syllable, ...]


def variants(word: str) -> dict[str, float]:
    """Return what a word of Hangul or Latin letters may have been meant as, with costs; nothing for any other.

    >>> variants("이러나")["일어나"], variants("dltnstls")["이순신"]
    (1.0, 1.0)
    """
    if HANGUL.fullmatch(word) and len(word) > 1:
        return _hangul_variants(word)
    if _KEYS.fullmatch(word) and len(word) > 2:
        return _latin_variants(word)
    return {}


def _hangul_variants(word: str) -> dict[str, float]:
    """Return all single slips, and pairs of those made by ear."""
    syllables = tuple(map(split_syllable, word))
    singles = dict(_undo_slips(syllables, _AT_MOST if len(word) > SHORT else BESIDE))
    costs: dict[Word, float] = dict(singles)
    for first, cost in singles.items():
        if cost <= HEARD:
            for second, more in _undo_slips(first, HEARD):
                costs[second] = min(costs.get(second, cost + more), cost + more)
    texts = {"".join(join_syllable(*s) for s in meant): cost for meant, cost in costs.items() if cost <= _AT_MOST}
    texts.pop(word, None)
    return texts


def _undo_slips(word: Word, at_most: float = _AT_MOST) -> Iterator[tuple[Word, float]]:
    """Yield ``word`` with one slip undone, and its cost; of equal results the last is the cheapest."""
    slips = [*_other_jamo(word, at_most), *_moved_consonants(word)]
    if at_most >= SWAPPED:
        n = len(word)
        slips += ((word[:i] + (word[i + 1], word[i]) + word[i + 2 :], SWAPPED) for i in range(n - 1))
        slips += ((word[:i] + word[i + 1 :], SWAPPED) for i in range(1, n) if word[i - 1] == word[i])
    return iter(sorted(slips, key=lambda slip: -slip[1]))


def _other_jamo(word: Word, at_most: float) -> Iterator[tuple[Word, float]]:
    costs = substitutions()
    for i, part in product(range(len(word)), range(3)):
        for jamo, cost in costs[part][word[i][part]]:
            if cost > at_most:
                break
            initial, vowel, final = word[i]
            syllable = ((jamo, vowel, final), (initial, jamo, final), (initial, vowel, jamo))[part]
            yield (*word[:i], syllable, *word[i + 1 :]), cost


def _moved_consonants(word: Word) -> Iterator[tuple[Word, float]]:
    """Yield words with a consonant moved over a border of syllables: 일어 for 이러, and 이러 for 일어."""
    for i in range(len(word) - 1):
        (a, b, c), (d, e, f) = word[i : i + 2]
        if c == 0 and d != SILENT_INITIAL and INITIALS[d] in FINALS:
            yield (*word[:i], (a, b, FINALS.index(INITIALS[d])), (SILENT_INITIAL, e, f), *word[i + 2 :]), HEARD
        if d == SILENT_INITIAL and c and FINALS[c] in INITIALS:
            yield (*word[:i], (a, b, 0), (INITIALS.index(FINALS[c]), e, f), *word[i + 2 :]), HEARD


@lru_cache(maxsize=1)
def substitutions() -> list[list[list[tuple[int, float]]]]:
    """Return for each part of a syllable and each jamo the jamo it may stand for and the cost, cheapest first."""
    beside = {
        frozenset((a, b))
        for r, row in enumerate(KEYBOARD_ROWS)
        for i, a in enumerate(row)
        for b in (*row[i + 1 : i + 2], *(KEYBOARD_ROWS[r + 1][max(i - 1, 0) : i + 2] if r < 2 else ""))
    }
    costs = []
    for alphabet, alike in zip(ALPHABETS, _ALIKE, strict=True):
        heard = {frozenset((a, b)) for group in alike for a in group for b in group if a != b}

        def cost(a: str, b: str, heard: set[frozenset[str]] = heard) -> float:
            pair = frozenset((a, b))
            return HEARD if pair in heard else BESIDE if pair in beside else OTHER

        by_jamo = [[(j, cost(a, b)) for j, b in enumerate(alphabet) if a != b] for a in alphabet]
        costs.append([sorted(others, key=lambda other: other[1]) for others in by_jamo])
    return costs


def _latin_variants(word: str) -> dict[str, float]:
    """Return words one letter away, and the Korean word whose keys were struck."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    costs: dict[str, float] = {}
    for i in range(len(word) + 1):
        head, tail = word[:i], word[i:]
        costs |= {head + letter + tail: OTHER for letter in letters}
        costs |= {head + letter + tail[1:]: OTHER for letter in letters if tail}
        if len(tail) > 1:
            costs[head + tail[1] + tail[0] + tail[2:]] = SWAPPED
        if tail:
            costs[head + tail[1:]] = OTHER
    costs.pop(word, None)
    korean = struck(word)
    return costs | ({korean: SPACE} if HANGUL.fullmatch(korean) else {})
