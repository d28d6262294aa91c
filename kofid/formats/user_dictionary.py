"""User dictionaries: words that Kiwi should know, one a line."""

from __future__ import annotations

from kofid.errors import InputError
from kofid.formats.lines import read_lines
from kofid.korean.kiwi import TAGS
from kofid.language import say


def read_user_words(source: str, encoding: str | None = None) -> tuple[str, ...]:
    """Return a user dictionary's lines: form, tag (NNP when left out) and score (0), separated by tabs.

    Blank lines and those that begin with ``#`` are passed over. Raises InputError naming file and line.
    """
    words = []
    for number, line in read_lines(source, encoding):
        if not line.strip() or line.startswith("#"):
            continue
        form, tag, score, *rest = [*(part.strip() for part in line.split("\t")), "", ""]
        if not form or form.split() != [form] or (tag or "NNP") not in TAGS or not _is_number(score) or any(rest[:-2]):
            raise InputError(
                say(
                    f"{source}:{number}: '{line.strip()}': 낱말, 품사, 점수를 탭으로 나누어 적으세요 (예: 판교테크노밸리\\tNNP\\t0). "
                    f"품사: {' '.join(sorted(TAGS))}",
                    f"{source}:{number}: '{line.strip()}': must be word, tag and score with tabs between "
                    f"(as 판교테크노밸리\\tNNP\\t0); tags: {' '.join(sorted(TAGS))}",
                )
            )
        words.append(f"{form}\t{tag or 'NNP'}\t{float(score or 0):g}")
    return tuple(words)


def _is_number(text: str) -> bool:
    try:
        return not text or abs(float(text)) < float("inf")
    except ValueError:
        return False
