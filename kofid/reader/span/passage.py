"""Analysed passages: morphemes, sentences and the spans of them that could be an answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kofid.korean.kiwi import Morpheme
from kofid.korean.text import sentence_spans
from kofid.types import Passage

MAX_MORPHEMES = 9
MAX_CHARS = 60

# Kin stand side by side, so that one threshold of a tree can tell groups of tags apart.
_TAGS = [
    "NONE", "NNG", "NNP", "SL", "SH", "XR", "NP", "NR", "SN", "NNB", "XSN", "ETN", "JKG", "JKS", "JKC", "JKO",
    "JKB", "JX", "JC", "JKQ", "JKV", "VCP", "VCN", "XSV", "XSA", "VV", "VA", "VX", "EP", "EF", "EC", "ETM",
    "MM", "XPN", "MAG", "MAJ", "IC", "SSO", "SSC", "SP", "SF", "SO", "SW", "SE",
]  # fmt: skip
TAG = {tag: code for code, tag in enumerate(_TAGS)}
NOMINAL = frozenset(TAG[t] for t in ["NNG", "NNP", "SL", "SH", "XR", "NP", "NR", "SN", "NNB", "XSN", "ETN"])
PARTICLES = frozenset(TAG[t] for t in ["JKG", "JKS", "JKC", "JKO", "JKB", "JX", "JC", "JKQ", "JKV"])
PREDICATES = frozenset(TAG[t] for t in ["VCP", "VCN", "XSV", "XSA", "VV", "VA", "VX", "EP", "EF", "EC"])
_CONTENT = frozenset(
    TAG[t] for t in ["NNG", "NNP", "SL", "SH", "XR", "NR", "SN", "NNB", "VV", "VA", "MAG", "MM", "XSN"]
)
_VERBS = frozenset((TAG["VV"], TAG["VA"]))
_OPENING = frozenset(TAG[t] for t in ["SSO", "SP", "SO", "SW", "SF", "SSC", "SE"])
_STARTS = NOMINAL - {TAG["XSN"], TAG["ETN"]} | {TAG[t] for t in ["SSO", "XPN", "MM", "MAG", "VV", "VA", "IC", "SW"]}
_GLUE = frozenset(TAG[t] for t in ["NNG", "NNP", "SL", "SH", "XR", "NR", "SN", "NNB", "XSN"])
_NUMBERS = frozenset((TAG["SN"], TAG["NR"]))
_UNIT_SIGN = re.compile(r"[%℃°㎞㎡㎢㎏]")
_CLOSERS = dict(zip("([〈《「『‘“<'\"", ")]〉》」』’”>'\"", strict=True))


def tag_code(tag: str) -> int:
    """Return the number of a Sejong tag; irregular verbs as regular ones, unknown tags as foreign nouns."""
    tag = tag.partition("-")[0]
    return TAG.get(tag, TAG["SL"] if tag.startswith("W") else TAG["SW"])


def term_key(morpheme: Morpheme) -> str:
    """Return what two mentions of a content word share; empty for what is no content word.

    >>> term_key(Morpheme("태어나", "VV", 0, 3)), term_key(Morpheme("는", "JX", 3, 4))
    ('태어나~', '')
    """
    code = tag_code(morpheme.tag)
    if code not in _CONTENT:
        return ""
    return morpheme.form.lower() + ("~" if code in _VERBS else "")


@dataclass(frozen=True, slots=True)
class AnalyzedPassage:
    """A passage with its M morphemes, S sentences and C candidate spans, all as arrays.

    ``keys`` (see term_key), ``forms``, ``tags`` (codes of TAG) and ``starts`` (character): M of each.
    ``sentence_bounds``: (S, 2) morpheme range, end exclusive. ``first`` and ``last`` morpheme (both inclusive),
    ``start`` and ``end`` character, ``sentence`` (of the passage) and ``surfaces`` (text without spaces): C of each.
    """

    passage: Passage
    keys: list[str]
    forms: list[str]
    tags: np.ndarray
    starts: np.ndarray
    sentence_bounds: np.ndarray
    first: np.ndarray
    last: np.ndarray
    start: np.ndarray
    end: np.ndarray
    sentence: np.ndarray
    surfaces: list[str]


def analyze_passage(passage: Passage, morphemes: Sequence[Morpheme]) -> AnalyzedPassage:
    """Return ``passage`` with its sentences and candidate spans found."""
    tags = np.array([tag_code(m.tag) for m in morphemes], dtype=np.int16)
    starts = np.array([m.start for m in morphemes], dtype=np.int32)
    ends = np.array([m.end for m in morphemes], dtype=np.int32)
    sentence_starts = np.array([a for a, _ in sentence_spans(passage.text)] or [0], dtype=np.int32)
    sentence_of = np.maximum(np.searchsorted(sentence_starts, starts, side="right") - 1, 0).astype(np.int32)
    bounds = np.searchsorted(sentence_of, np.arange(len(sentence_starts) + 1))
    spans = candidate_spans(passage.text, morphemes, tags.tolist(), sentence_of.tolist())
    table = np.array(spans, dtype=np.int32).reshape(-1, 2)
    first, last = table[:, 0], table[:, 1]
    start, end = starts[first], ends[last]
    return AnalyzedPassage(
        passage=passage,
        keys=[term_key(m) for m in morphemes],
        forms=[m.form for m in morphemes],
        tags=tags,
        starts=starts,
        sentence_bounds=np.stack([bounds[:-1], bounds[1:]], axis=1).astype(np.int32),
        first=first,
        last=last,
        start=start,
        end=end,
        sentence=sentence_of[first],
        surfaces=[passage.text[a:b].replace(" ", "") for a, b in zip(start.tolist(), end.tolist(), strict=True)],
    )


def candidate_spans(
    text: str, morphemes: Sequence[Morpheme], tags: Sequence[int], sentence_of: Sequence[int]
) -> list[tuple[int, int]]:
    """Return (first, last) morpheme of each span that could be an answer, in text order."""
    end_ok = [_may_end(text, morphemes, tags, i) for i in range(len(morphemes))]
    spans = []
    for i in range(len(morphemes)):
        if not _may_start(text, morphemes, tags, i):
            continue
        for j in range(i, min(i + MAX_MORPHEMES, len(morphemes))):
            if sentence_of[j] != sentence_of[i] or morphemes[j].end - morphemes[i].start > MAX_CHARS:
                break
            if end_ok[j] and _is_whole(text[morphemes[i].start : morphemes[j].end]):
                spans.append((i, j))
        quoted = _quoted_end(text, morphemes, tags, i)
        if quoted >= i and (not spans or spans[-1] != (i, quoted)):
            spans.append((i, quoted))
    return spans


def _may_start(text: str, morphemes: Sequence[Morpheme], tags: Sequence[int], i: int) -> bool:
    morpheme = morphemes[i]
    if tags[i] not in _STARTS or morpheme.end == morpheme.start:
        return False
    if i == 0 or text[morpheme.start - 1].isspace() or tags[i - 1] in _OPENING:
        return True
    # A number may follow a word without a space: 약5천 명.
    return tags[i] in _NUMBERS and tags[i - 1] not in _NUMBERS and not text[morpheme.start - 1].isdigit()


def _may_end(text: str, morphemes: Sequence[Morpheme], tags: Sequence[int], i: int) -> bool:
    end = morphemes[i].end
    follows = i + 1 < len(morphemes) and morphemes[i + 1].start == end and end < len(text) and not text[end].isspace()
    if tags[i] in NOMINAL or tags[i] == TAG["SSC"] or _UNIT_SIGN.search(morphemes[i].form):
        if not follows or tags[i + 1] not in _GLUE:
            return True
        # Before a suffix (1951년경, 학생들), and between a unit and what is written on to it.
        return tags[i + 1] == TAG["XSN"] or (tags[i] == TAG["NNB"] and tags[max(i - 1, 0)] in _NUMBERS)
    # A foreign name whose last syllable Kiwi took for a particle: 아르투로.
    return (
        tags[i] in (TAG["JKB"], TAG["JKS"], TAG["JX"], TAG["JC"], TAG["JKQ"])
        and i > 0
        and tags[i - 1] in (TAG["NNP"], TAG["SL"])
        and len(morphemes[i].form) == 1
        and morphemes[i].form in "로가나도이고"
        and (end == len(text) or text[end] in " \n,.)")
    )


def _is_whole(surface: str) -> bool:
    """Tell whether brackets and quotes of a span are closed, and are not just all around it."""
    stack: list[str] = []
    for char in surface:
        if stack and char == stack[-1]:
            stack.pop()
        elif char in _CLOSERS:
            stack.append(_CLOSERS[char])
        elif char in ")]〉》」』’”":
            return False
    if stack:
        return False
    closer = _CLOSERS.get(surface[0])
    return closer is None or surface.find(closer, 1) != len(surface) - 1


def _quoted_end(text: str, morphemes: Sequence[Morpheme], tags: Sequence[int], i: int) -> int:
    """Return the last morpheme of the quotation or title that morpheme ``i`` opens; -1 if it opens none."""
    if i == 0 or tags[i - 1] != TAG["SSO"] or morphemes[i - 1].form in "([":
        return -1
    closer = _CLOSERS.get(morphemes[i - 1].form, "")
    for j in range(i, len(morphemes)):
        if morphemes[j].end - morphemes[i].start > MAX_CHARS:
            return -1
        if morphemes[j].form == closer:
            return j - 1
    return -1
