"""Hangul syllables and their letters (jamo), and the keys of the Korean (two-set) keyboard."""

from __future__ import annotations

# Unicode numbers its 11,172 syllables by initial, vowel and final, in these orders (chapter 3.12); no final comes first.
INITIALS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
VOWELS = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
FINALS = " ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"
ALPHABETS = (INITIALS, VOWELS, FINALS)
SILENT_INITIAL = INITIALS.index("ㅇ")

KEYBOARD_ROWS = ("ㅂㅈㄷㄱㅅㅛㅕㅑㅐㅔ", "ㅁㄴㅇㄹㅎㅗㅓㅏㅣ", "ㅋㅌㅊㅍㅠㅜㅡ")
_JAMO_BY_KEY = dict(
    zip(
        "rRseEfaqQtTdwWczxvgkoiOjpuPhynbml",
        "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎㅏㅐㅑㅒㅓㅔㅕㅖㅗㅛㅜㅠㅡㅣ",
        strict=True,
    )
)
# Jamo that take two keys.
_COMPOUNDS = {"ㅗㅏ": "ㅘ", "ㅗㅐ": "ㅙ", "ㅗㅣ": "ㅚ", "ㅜㅓ": "ㅝ", "ㅜㅔ": "ㅞ", "ㅜㅣ": "ㅟ", "ㅡㅣ": "ㅢ"} | {
    "ㄱㅅ": "ㄳ", "ㄴㅈ": "ㄵ", "ㄴㅎ": "ㄶ", "ㄹㄱ": "ㄺ", "ㄹㅁ": "ㄻ", "ㄹㅂ": "ㄼ", "ㄹㅅ": "ㄽ", "ㄹㅌ": "ㄾ", "ㄹㅍ": "ㄿ",
    "ㄹㅎ": "ㅀ", "ㅂㅅ": "ㅄ",
}  # fmt: skip
_FIRST_SYLLABLE = ord("가")

# Places of a syllable's letters in INITIALS, VOWELS and FINALS.
Syllable = tuple[int, int, int]


def split_syllable(syllable: str) -> Syllable:
    """Return the places of a syllable's letters in the three alphabets.

    >>> [alphabet[place] for alphabet, place in zip(ALPHABETS, split_syllable("순"))]
    ['ㅅ', 'ㅜ', 'ㄴ']
    """
    code = ord(syllable) - _FIRST_SYLLABLE
    return code // (len(VOWELS) * len(FINALS)), code // len(FINALS) % len(VOWELS), code % len(FINALS)


def join_syllable(initial: int, vowel: int, final: int) -> str:
    """Return the syllable of three letters, by their places in the alphabets.

    >>> join_syllable(*split_syllable("힣"))
    '힣'
    """
    return chr(_FIRST_SYLLABLE + (initial * len(VOWELS) + vowel) * len(FINALS) + final)


def is_syllable(character: str) -> bool:
    """Tell whether a character is one Hangul syllable.

    >>> is_syllable("각"), is_syllable("ㄱ"), is_syllable("a")
    (True, False, False)
    """
    return "가" <= character <= "힣"


def final_of(syllable: str) -> str:
    """Return the final consonant of a syllable, a space where it has none.

    >>> final_of("순"), final_of("이")
    ('ㄴ', ' ')
    """
    return FINALS[(ord(syllable) - _FIRST_SYLLABLE) % len(FINALS)]


def with_final(syllable: str, final: str) -> str:
    """Return a syllable with another final consonant; a space for none.

    >>> with_final("합", "ㄴ"), with_final("합", " ")
    ('한', '하')
    """
    initial, vowel, _ = split_syllable(syllable)
    return join_syllable(initial, vowel, FINALS.index(final))


def struck(keys: str) -> str:
    """Return what the keys of an English keyboard give on a Korean one; ``keys`` where that is no Korean.

    >>> struck("dltnstls"), struck("kofid")
    ('이순신', 'kofid')
    """
    jamo = [_JAMO_BY_KEY.get(key) or _JAMO_BY_KEY.get(key.lower(), key) for key in keys]
    text = ""
    while jamo:
        initial, rest = (jamo[0], jamo[1:]) if jamo[0] in INITIALS else ("", jamo)
        if not initial or not rest or rest[0] not in VOWELS:
            return keys  # not a syllable: these were no Korean keys
        vowel, rest = _take_letter(rest, VOWELS)
        final = " "
        # Consonants that this syllable may take: all up to the next vowel but the one that begins the next syllable.
        n = next((i for i, j in enumerate(rest) if j in VOWELS), len(rest) + 1) - 1
        if n and rest[0] in FINALS:
            final, left = _take_letter(rest[:n], FINALS)
            rest = [*left, *rest[n:]]
        text += join_syllable(INITIALS.index(initial), VOWELS.index(vowel), FINALS.index(final))
        jamo = rest
    return text


def _take_letter(jamo: list[str], alphabet: str) -> tuple[str, list[str]]:
    """Take the first letter, or the one that the first two keys make together; return it and the rest."""
    compound = _COMPOUNDS.get("".join(jamo[:2]), "")
    return (compound, jamo[2:]) if compound and compound in alphabet else (jamo[0], jamo[1:])
