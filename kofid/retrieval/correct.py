"""Questions that are spelled or spaced wrongly, set right by the words that the index knows.

A word that no passage has is compared with its neighbours, one or two slips away: a jamo taken for one that sounds
alike or lies beside it on the keyboard, syllables swapped or doubled, a final consonant written where it is heard
(이러나 for 일어나), Korean typed on an English keyboard (dltnstls for 이순신), spaces left out. It gives way where a
neighbour is so much more frequent in the index that a slip is the better explanation (the noisy channel of Kernighan,
Church and Gale 1990).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from math import inf, log
from typing import NamedTuple

import numpy as np

from kofid.korean import kiwi as morphology
from kofid.korean.particles import is_particle_after
from kofid.korean.questions import asking_endings, asks
from kofid.retrieval.index import Index
from kofid.types import Hit, Search

_WORD = re.compile(r"[^\W_]+")
_HANGUL = re.compile(r"[가-힣]+")
_KEYS = re.compile(r"[a-z]+", re.IGNORECASE)
_LONGEST = 24  # longer runs are no words
_LONGEST_QUESTION = 300  # what is longer was hardly typed
_SHORT = 2  # words this short have so many neighbours that only the nearest count

_INITIALS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
_VOWELS = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
_FINALS = " ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"
_ALPHABETS = (_INITIALS, _VOWELS, _FINALS)
_SILENT = _INITIALS.index("ㅇ")

# Jamo that are taken for one another by ear. For finals: the seven that are spoken.
_ALIKE = (
    ["ㄱㄲㅋ", "ㄷㄸㅌ", "ㅂㅃㅍ", "ㅅㅆ", "ㅈㅉㅊ", "ㄴㄹ", "ㅇㅎ"],
    ["ㅐㅔㅒㅖ", "ㅙㅚㅞ", "ㅓㅗ", "ㅡㅜ", "ㅏㅑ", "ㅓㅕ", "ㅗㅛ", "ㅜㅠ", "ㅢㅣㅡ", "ㅟㅣ", "ㅘㅏ", "ㅝㅓ"],
    ["ㄱㄲㅋㄳㄺ", "ㄷㅅㅆㅈㅊㅌㅎ", "ㅂㅍㅄㄿ", "ㄴㄵㄶ", "ㄹㄼㄽㄾㅀ", "ㅁㄻ", " ㅎ", " ㄴ", " ㅅ", "ㄴㅁㅇ"],
)
_ROWS = ("ㅂㅈㄷㄱㅅㅛㅕㅑㅐㅔ", "ㅁㄴㅇㄹㅎㅗㅓㅏㅣ", "ㅋㅌㅊㅍㅠㅜㅡ")
_LATIN = dict(
    zip(
        "rRseEfaqQtTdwWczxvgkoiOjpuPhynbml",
        "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎㅏㅐㅑㅒㅓㅔㅕㅖㅗㅛㅜㅠㅡㅣ",
        strict=True,
    )
)
_JOINED = {"ㅗㅏ": "ㅘ", "ㅗㅐ": "ㅙ", "ㅗㅣ": "ㅚ", "ㅜㅓ": "ㅝ", "ㅜㅔ": "ㅞ", "ㅜㅣ": "ㅟ", "ㅡㅣ": "ㅢ"} | {
    "ㄱㅅ": "ㄳ", "ㄴㅈ": "ㄵ", "ㄴㅎ": "ㄶ", "ㄹㄱ": "ㄺ", "ㄹㅁ": "ㄻ", "ㄹㅂ": "ㄼ", "ㄹㅅ": "ㄽ", "ㄹㅌ": "ㄾ", "ㄹㅍ": "ㄿ",
    "ㄹㅎ": "ㅀ", "ㅂㅅ": "ㅄ",
}  # fmt: skip

# What slips cost, in natural logarithms: a word must be that much more frequent to explain what was written.
_HEARD, _BESIDE, _OTHER, _SWAPPED, _SPACE = 1.0, 2.0, 4.0, 3.0, 1.0
_AT_MOST = 4.5
_UNKNOWN = 0.3  # the frequency that a word no passage has is taken to have
_ASKED = 1_000.0  # and a word that asks
_ASKING = frozenset(
    ("누가", "누구", "언제", "어디", "어디서", "무엇", "무슨", "어떤", "얼마", "어느", "어떻게", "왜", "몇")
)

Syllable = tuple[int, int, int]


class Correction(NamedTuple):
    """A question set right, and what was changed: (as written, as meant)."""

    text: str
    changes: list[tuple[str, str]]


def correct(index: Index, question: str) -> Correction | None:
    """Return the question as it was probably meant; None when there is nothing to set right, or much too much."""
    if len(question) > _LONGEST_QUESTION:
        return None
    known = _Known(index)
    changes: list[tuple[str, str]] = []

    def meant(match: re.Match[str]) -> str:
        word = match.group()
        better = _best(known, word) if len(word) <= _LONGEST else word
        if better != word:
            changes.append((word, better))
        return better

    text = _WORD.sub(meant, question)
    return Correction(text, changes) if changes else None


def forgiving_search(index: Index, search: Search, question: str, k: int) -> tuple[list[Hit], str | None]:
    """Search for ``question``, or for what it was probably meant as if its terms find more; return that, too."""
    correction = correct(index, question)
    if correction is not None:
        before, after = index.search(question, 1), index.search(correction.text, 1)
        if after and (not before or after[0].score >= before[0].score):
            return search(correction.text, k), correction.text
    return search(question, k), None


class _Known:
    """What the index knows: words, terms, and in how many passages they are."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._user = index.analyzer.user_words

    def words(self, texts: list[str]) -> list[bool]:
        """Tell which texts are words, or terms, of some passage, or words that ask."""
        return [there or text in _ASKING for text, there in zip(texts, self._index.knows(texts), strict=True)]

    def is_sound(self, word: str) -> bool:
        """Tell whether ``word`` needs no other reading: passages have it, perhaps with another particle, or Kiwi does."""
        word = word.lower()
        stems = [word[:end] for end in range(1, len(word)) if is_particle_after(word[:end], word[end:])]
        if any(self.words([word, *stems])) or self._index.has_analysis(word):
            return True
        if asks(word) and not self.spaced(word)[1:]:
            return True
        return (
            _HANGUL.fullmatch(word) is not None and not self.spaced(word)[1:] and morphology.is_known(word, self._user)
        )

    def spaced(self, word: str) -> list[str]:
        """Return the words that Kiwi would write for ``word``; itself where it is short or not Korean."""
        if len(word) <= _SHORT or not _HANGUL.fullmatch(word):
            return [word]
        return morphology.spaced(word, self._user).split()

    def frequency(self, text: str) -> float:
        """Return in how many passages the rarest content term of ``text`` is; ``_UNKNOWN`` for none.

        Words that ask are frequent in questions, however rare in passages.
        """
        return max(float(self._index.rarest(text)), _ASKED if text in _ASKING else _UNKNOWN)


def _best(known: _Known, word: str) -> str:
    """Return the likeliest reading of a word: itself, another, or several with spaces between."""
    if known.is_sound(word):
        return word
    single = _likeliest(known, word)[0]
    pieces = known.spaced(word)
    if len(pieces) > 1:
        joined = _joined_slips(known, pieces)
        meant = [_best(known, piece) for piece in joined]
        if (single == word or meant == pieces) and all(map(known.is_sound, meant)):
            return " ".join(meant)
    return single


def _joined_slips(known: _Known, pieces: list[str]) -> list[str]:
    """Return pieces with those joined that a slip has parted: 이러 and 났나 are 일어났나."""
    joined: list[str] = []
    for piece in pieces:
        if joined:
            whole = joined[-1] + piece
            meant, likely = (whole, 0.0) if known.is_sound(whole) else _likeliest_other(known, whole)
            if meant != whole and likely > log(min(known.frequency(joined[-1]), known.frequency(piece))) - _SPACE:
                joined[-1] = meant
                continue
        joined.append(piece)
    return joined


def _likeliest(known: _Known, word: str) -> tuple[str, float]:
    """Return the single word that ``word`` most likely stands for, perhaps itself, and how likely it is."""
    own = word, log(known.frequency(word))
    return max(own, _likeliest_other(known, word), key=lambda reading: reading[1])


def _likeliest_other(known: _Known, word: str) -> tuple[str, float]:
    """Return the likeliest word but ``word`` itself, which is only returned where there is no other."""
    readings = [(meant, log(known.frequency(meant)) - cost) for meant, cost in _candidates(known, word)]
    return max(readings, key=lambda reading: reading[1], default=(word, -inf))


def _candidates(known: _Known, word: str) -> Iterator[tuple[str, float]]:
    """Yield known texts that ``word`` may stand for and what the slip costs; if need be without its particle, or stated."""
    lower = word.lower()
    found = _known_variants(known, lower)
    if found:
        yield from found
        return
    for end in range(len(lower) - 1, 1, -1):
        if is_particle_after(lower[:end], lower[end:]):
            found = [(stem + lower[end:], cost) for stem, cost in _known_variants(known, lower[:end])]
            yield from found
    for stem, ending, (tail, *_) in [] if found else asking_endings(lower):  # 이러났나: 일어났다 is known
        stated = _known_variants(known, stem + tail)
        yield from ((v.removesuffix(tail) + ending, cost) for v, cost in stated if tail and v.endswith(tail))


def _known_variants(known: _Known, word: str) -> list[tuple[str, float]]:
    if _HANGUL.fullmatch(word) and len(word) > 1:
        variants = _hangul_variants(word)
    elif _KEYS.fullmatch(word) and len(word) > 2:
        variants = _latin_variants(word)
    else:
        return []
    texts = list(variants)
    return [(text, variants[text]) for text, there in zip(texts, known.words(texts), strict=True) if there]


# --- slips ---------------------------------------------------------------------------------------------------


def _hangul_variants(word: str) -> dict[str, float]:
    """Return what ``word`` may have been meant as: all single slips, and pairs of those made by ear."""
    syllables = tuple(_split(character) for character in word)
    singles = dict(_slips(syllables, _AT_MOST if len(word) > _SHORT else _BESIDE))
    variants: dict[tuple[Syllable, ...], float] = dict(singles)
    for first, cost in singles.items():
        if cost <= _HEARD:
            for second, more in _slips(first, _HEARD):
                variants[second] = min(variants.get(second, np.inf), cost + more)
    texts = {"".join(_join(*s) for s in syllables): cost for syllables, cost in variants.items() if cost <= _AT_MOST}
    texts.pop(word, None)
    return texts


def _slips(syllables: tuple[Syllable, ...], at_most: float = _AT_MOST) -> Iterator[tuple[tuple[Syllable, ...], float]]:
    """Yield ``syllables`` with one slip undone, and its cost; equal results keep the last, cheapest one."""
    n = len(syllables)
    costs = _substitutions()
    found: list[tuple[tuple[Syllable, ...], float]] = []
    for i, part in product(range(n), range(3)):
        for other, cost in costs[part][syllables[i][part]]:
            if cost > at_most:
                break
            initial, vowel, final = syllables[i]
            changed = ((other, vowel, final), (initial, other, final), (initial, vowel, other))[part]
            found.append(((*syllables[:i], changed, *syllables[i + 1 :]), cost))
    for i in range(n - 1):
        (a, b, c), (d, e, f) = syllables[i : i + 2]
        if c == 0 and d != _SILENT and _INITIALS[d] in _FINALS:  # 이러 for 일어
            pair = (a, b, _FINALS.index(_INITIALS[d])), (_SILENT, e, f)
            found.append(((*syllables[:i], *pair, *syllables[i + 2 :]), _HEARD))
        if d == _SILENT and c and _FINALS[c] in _INITIALS:  # 일어 for 이러
            pair = (a, b, 0), (_INITIALS.index(_FINALS[c]), e, f)
            found.append(((*syllables[:i], *pair, *syllables[i + 2 :]), _HEARD))
        if at_most >= _SWAPPED:
            found.append(((*syllables[:i], syllables[i + 1], syllables[i], *syllables[i + 2 :]), _SWAPPED))
    if at_most >= _SWAPPED:
        doubled = (i for i in range(1, n) if syllables[i - 1] == syllables[i])
        found += ((syllables[:i] + syllables[i + 1 :], _SWAPPED) for i in doubled)
    return iter(sorted(found, key=lambda entry: -entry[1]))


@lru_cache(maxsize=1)
def _substitutions() -> list[list[list[tuple[int, float]]]]:
    """Return for each part of a syllable and each jamo the jamo it may stand for and the cost, cheapest first."""
    beside = {
        frozenset((a, b))
        for r, row in enumerate(_ROWS)
        for i, a in enumerate(row)
        for b in (*row[i + 1 : i + 2], *(_ROWS[r + 1][max(i - 1, 0) : i + 2] if r < 2 else ""))
    }
    costs = []
    for alphabet, alike in zip(_ALPHABETS, _ALIKE, strict=True):
        heard = {frozenset((a, b)) for group in alike for a in group for b in group if a != b}

        def cost(a: str, b: str, heard: set[frozenset[str]] = heard) -> float:
            pair = frozenset((a, b))
            return _HEARD if pair in heard else _BESIDE if pair in beside else _OTHER

        by_jamo = [[(j, cost(a, b)) for j, b in enumerate(alphabet) if a != b] for a in alphabet]
        costs.append([sorted(others, key=lambda other: other[1]) for others in by_jamo])
    return costs


def _split(syllable: str) -> Syllable:
    code = ord(syllable) - 0xAC00
    return code // 588, code % 588 // 28, code % 28


def _join(initial: int, vowel: int, final: int) -> str:
    return chr(0xAC00 + initial * 588 + vowel * 28 + final)


def _latin_variants(word: str) -> dict[str, float]:
    """Return words one letter away, and the Korean word whose keys were struck."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    variants: dict[str, float] = {}
    for i in range(len(word) + 1):
        head, tail = word[:i], word[i:]
        variants |= {head + letter + tail: _OTHER for letter in letters}
        variants |= {head + letter + tail[1:]: _OTHER for letter in letters if tail}
        if len(tail) > 1:
            variants[head + tail[1] + tail[0] + tail[2:]] = _SWAPPED
        if tail:
            variants[head + tail[1:]] = _OTHER
    variants.pop(word, None)
    korean = struck(word)
    return variants | ({korean: _SPACE} if _HANGUL.fullmatch(korean) else {})


def struck(keys: str) -> str:
    """Return what the keys of an English keyboard give on a Korean one (two-set): ``dltnstls`` is 이순신."""
    jamo = [_LATIN.get(key) or _LATIN.get(key.lower(), key) for key in keys]
    text = ""
    while jamo:
        initial, rest = (jamo[0], jamo[1:]) if jamo[0] in _INITIALS else ("", jamo)
        if not initial or not rest or rest[0] not in _VOWELS:
            return keys  # not a syllable: these were no Korean keys
        vowel, rest = _longest(rest, _VOWELS)
        final = " "
        n = (
            next((i for i, j in enumerate(rest) if j in _VOWELS), len(rest) + 1) - 1
        )  # consonants this syllable may take
        if n and rest[0] in _FINALS:
            final, left = _longest(rest[:n], _FINALS)
            rest = [*left, *rest[n:]]
        text += _join(_INITIALS.index(initial), _VOWELS.index(vowel), _FINALS.index(final))
        jamo = rest
    return text


def _longest(jamo: list[str], alphabet: str) -> tuple[str, list[str]]:
    """Take the first jamo, or the one that the first two make together."""
    both = _JOINED.get("".join(jamo[:2]), "")
    return (both, jamo[2:]) if both and both in alphabet else (jamo[0], jamo[1:])
