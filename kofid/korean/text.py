"""Korean text: clean Unicode, and sentences."""

from __future__ import annotations

import re
import unicodedata

# NFC takes time quadratic in a run of combining marks, so runs are cut before it to Unicode's stream-safe 30.
_SUSPICIOUS = re.compile(r"[^\w\s]{31,}")
_MAX_MARKS = 30
_INVISIBLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def clean(text: str) -> str:
    """Return ``text`` in NFC, without control and zero-width characters; lone surrogates become U+FFFD."""
    if text.isascii() and text.isprintable():
        return text
    text = _SURROGATE.sub("\ufffd", text)
    text = _INVISIBLE.sub("", text)
    return unicodedata.normalize("NFC", _SUSPICIOUS.sub(_cut_mark_runs, text))


def _cut_mark_runs(match: re.Match[str]) -> str:
    characters = []
    marks = 0
    for character in match.group():
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks <= _MAX_MARKS:
            characters.append(character)
    return "".join(characters)


# --- sentences -----------------------------------------------------------------------------------------------

_SENTENCE_END = re.compile(r"(?<=[.?!。])(?<![0-9]\.)(?<![A-Z]\.)[\"'”’)\]」』》]*\s+|\n+")


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Return (start, end) character offsets of the sentences of ``text``, blank ones left out."""
    spans = []
    start = 0
    for match in _SENTENCE_END.finditer(text):
        end = match.start() + len(match.group().rstrip())
        spans.append((start, end))
        start = match.end()
    spans.append((start, len(text)))
    return [(a, b) for a, b in spans if text[a:b].strip()]
