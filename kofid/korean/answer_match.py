"""Answers: when two are the same, and where a text says one."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import pairwise

from kofid.korean.particles import is_particle_after

_NUMBER_COMMA = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_MIDDLE_DOTS = str.maketrans({c: "·" for c in "ㆍ‧・•ᆞ∙"})
# Signs that tell numbers apart: 3.5, 3-1, 1:1, 3/4, and a minus before a number.
_NUMBER_SIGN = re.compile(r"(?<=\d)[.:/~\-](?=\d)|(?<![^\W_])-(?=\d)")


def fold(text: str) -> str:
    """Return ``text`` in NFKC and lower case, one kind of middle dot, no commas inside numbers."""
    text = unicodedata.normalize("NFKC", text.translate(_MIDDLE_DOTS)).lower()
    return _NUMBER_COMMA.sub("", text)


def normalize_robust(answer: str) -> str:
    """Keep letters, digits and the signs inside numbers; lower case, no spaces, brackets or quotes.

    >>> normalize_robust("《무정》"), normalize_robust("1,592 년"), normalize_robust("3.5 km")
    ('무정', '1592년', '3.5km')
    """
    text = fold(answer)
    signs = {match.start() for match in _NUMBER_SIGN.finditer(text)}
    return "".join(c for i, c in enumerate(text) if c.isalnum() or i in signs)


def robust_match(prediction: str, answers: tuple[str, ...]) -> bool:
    """Tell whether ``prediction`` equals one of ``answers``, brackets, spaces and one trailing particle aside.

    >>> robust_match("이순신이", ("이순신",)), robust_match("소나무", ("나무",))
    (True, False)
    """
    predicted = normalize_robust(prediction)
    return any(_same_but_particle(predicted, normalize_robust(answer)) for answer in answers)


def _same_but_particle(a: str, b: str) -> bool:
    if len(a) < len(b):
        a, b = b, a
    return bool(b) and (a == b or (a.startswith(b) and is_particle_after(b, a[len(b) :])))


# --- a text: where does it say an answer? --------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _answer_pattern(answer: str) -> re.Pattern[str] | None:
    """Return a pattern of the answer's letters; the text may have other signs between them than the answer has."""
    text = fold(answer)
    letters = [i for i, c in enumerate(text) if c.isalnum()]
    if not letters:
        return None
    first = letters[0]
    minus = r"-\s?" if text[first].isdigit() and text[:first].endswith("-") else ""
    parts = [minus + re.escape(text[first])]
    for before, here in pairwise(letters):
        between = text[before + 1 : here].strip()
        if text[before].isdigit() and text[here].isdigit():  # 3.5 is not 35
            gap = rf"\s?{re.escape(between)}\s?" if between else (r"\s+" if here > before + 1 else "")
        else:
            gap = r"[\W_]{0,3}"
        parts.append(gap + re.escape(text[here]))
    return re.compile("".join(parts))


def has_answer(text: str, answers: tuple[str, ...]) -> bool:
    """Tell whether ``text`` says one of ``answers`` as a word of its own, particles allowed after it.

    >>> has_answer("폴로늄이라고 했다", ("폴로늄",)), has_answer("소나무가 있다", ("나무",))
    (True, False)
    """
    folded = fold(text)
    return any(_occurs(folded, answer) for answer in answers)


def _occurs(folded: str, answer: str) -> bool:
    pattern = _answer_pattern(answer)
    if pattern is None:
        return False
    return any(_is_word(folded, match.start(), match.end()) for match in pattern.finditer(folded))


def find_answer(text: str, answer: str) -> list[tuple[int, int]]:
    """Return (start, end) character offsets of the places where ``text`` says ``answer`` by has_answer's rule, in order.

    The answer's own brackets and signs are part of the place where they stand there as they do in the answer.

    >>> find_answer("그는 1592 년에 《무정》을 읽었다", "1592년"), find_answer("그는 《무정》을 읽었다", "《무정》")
    ([(3, 9)], [(3, 7)])
    """
    folded = fold(text)
    pattern = _answer_pattern(answer)
    matches = pattern.finditer(folded) if pattern else ()
    words = [match.span() for match in matches if _is_word(folded, *match.span())]
    if not words:
        return []
    offsets = _offsets(text, folded)
    if offsets is None:
        return [match.span() for match in re.finditer(re.escape(answer), text)]
    before = next((i for i, c in enumerate(answer) if c.isalnum()), 0)
    spans = []
    for first, last in words:
        start, end = offsets[first][0], offsets[last - 1][1]
        whole = max(0, start - before)
        literal = text.startswith(answer, whole) and whole + len(answer) >= end
        spans.append((whole, whole + len(answer)) if literal else (start, end))
    return spans


def _offsets(text: str, folded: str) -> list[tuple[int, int]] | None:
    """Return the (start, end) in ``text`` of what became each character of ``folded``, its fold; None if unknown."""
    pieces: list[str] = []
    offsets: list[tuple[int, int]] = []
    start = 0
    for end in range(1, len(text) + 1):
        if end < len(text) and _joins(text[end]):
            continue
        piece = unicodedata.normalize("NFKC", text[start:end].translate(_MIDDLE_DOTS)).lower()
        pieces.append(piece)
        offsets.extend([(start, end)] * len(piece))
        start = end
    characters = "".join(pieces)
    commas = {match.start() for match in _NUMBER_COMMA.finditer(characters)}
    rest = [i for i in range(len(characters)) if i not in commas]
    return [offsets[i] for i in rest] if "".join(characters[i] for i in rest) == folded else None


def _joins(char: str) -> bool:
    """Tell whether a character may melt into the one before it: a combining mark, a half-width or conjoining jamo."""
    return (
        unicodedata.combining(char) > 0
        or "\u1160" <= char <= "\u11ff"
        or "\u3131" <= char <= "\u318e"
        or "\uff9e" <= char <= "\uffdc"
    )


def _is_word(text: str, start: int, end: int) -> bool:
    """Tell whether text[start:end] stands by itself: no letter, digit or part of a number continues it."""
    if start and _script(text[start - 1]) == _script(text[start]) != "other":
        return False
    if text[start].isdigit() and re.search(r"\d[.:/~\-]$|(?<![^\W_])-$", text[:start][-3:]):
        return False
    rest = text[end:]
    last = text[end - 1]
    if _script(last) == "hangul":
        suffix = re.match(r"[가-힣]*", rest)
        return not (suffix and suffix.group()) or is_particle_after(text[start:end], suffix.group())
    if last.isdigit() and re.match(r"[.:/~\-]\d|\s?[십백천만억조]", rest):
        return False
    return not rest or _script(rest[0]) != _script(last)


def _script(char: str) -> str:
    """Return hangul, digit, letter or other."""
    if "가" <= char <= "힣":
        return "hangul"
    if char.isdigit():
        return "digit"
    return "letter" if char.isalpha() else "other"
