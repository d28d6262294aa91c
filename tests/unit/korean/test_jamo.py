"""Syllables, their letters and their keys."""

from __future__ import annotations

import unicodedata

import pytest

from kofid.korean.jamo import final_of, is_syllable, join_syllable, split_syllable, struck, with_final


def test_every_syllable_is_split_and_joined_as_unicode_does():
    for code in range(ord("가"), ord("힣") + 1):
        syllable = chr(code)
        assert join_syllable(*split_syllable(syllable)) == syllable and is_syllable(syllable)
        jamo = unicodedata.normalize("NFD", syllable)
        initial, vowel, final = split_syllable(syllable)
        conjoining = [0x1100 + initial, 0x1161 + vowel, *([0x11A7 + final] if final else [])]
        assert [ord(j) for j in jamo] == conjoining
        assert (final_of(syllable) == " ") == (len(jamo) == 2)
    assert not any(map(is_syllable, "ㄱㅏa1\uabff\ud7a4"))


def test_other_finals():
    assert [with_final("합", final) for final in (" ", "ㄴ", "ㅂ")] == ["하", "한", "합"]


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ("dltnstls", "이순신"),
        ("dkswndrms", "안중근"),
        ("rkqt", "값"),
        ("ekfr", "닭"),
        ("ekfrdl", "닭이"),
        ("dhkd", "왕"),
        ("TkdRjf", "쌍껄"),
        ("hello", "hello"),
        ("rk1", "rk1"),
        ("", ""),
    ],
)
def test_struck_keys(keys: str, text: str):
    assert struck(keys) == text
