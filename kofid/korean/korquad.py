"""KorQuAD's official measures: exact match, and F1 over characters (Lim et al. 2019, KorQuAD1.0)."""

from __future__ import annotations

import string
from collections import Counter

_KORQUAD_IGNORED = str.maketrans({c: " " for c in "'\"《》<>〈〉()‘’"})
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_korquad(answer: str) -> str:
    """Normalise as KorQuAD 1.0's scorer does (Lim et al. 2019): case, its brackets, ASCII punctuation, spaces.

    Deliberately without Unicode normalisation or particles: this is the official measure, unchanged.
    """
    return " ".join(answer.translate(_KORQUAD_IGNORED).lower().translate(_PUNCTUATION).split())


def exact_match(prediction: str, answers: tuple[str, ...]) -> bool:
    """Tell whether ``prediction`` equals one of ``answers`` by KorQuAD's rule."""
    return any(normalize_korquad(prediction) == normalize_korquad(answer) for answer in answers)


def character_f1(prediction: str, answers: tuple[str, ...]) -> float:
    """Return KorQuAD's F1 over characters (bag of syllables, spaces left out), best over ``answers``, in [0, 1]."""
    return max((_f1(prediction, answer) for answer in answers), default=0.0)


def _f1(prediction: str, answer: str) -> float:
    predicted = Counter(normalize_korquad(prediction).replace(" ", ""))
    gold = Counter(normalize_korquad(answer).replace(" ", ""))
    same = (predicted & gold).total()
    return 2 * same / (predicted.total() + gold.total()) if same else 0.0
