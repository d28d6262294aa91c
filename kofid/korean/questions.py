"""Words that ask, as statements write them: 태어났나요 is 태어났다, 섬인가요 is 섬.

Most words that end a question are in no passage, though their stems are. The terms of a stated form are those of the
word (endings carry no content), so that a question can be analysed by the words an index has kept, without Kiwi.
"""

from __future__ import annotations

from collections.abc import Iterator

# Endings that ask, the longer first, and what stands in their place in a statement: after a verb's stem, after a noun.
_VERBAL = (
    *(
        "는가요",
        "는가",
        "는지요",
        "는지",
        "나요",
        "느냐",
        "을까요",
        "을까",
        "습니까",
        "지요",
        "던가요",
        "던가",
        "어요",
        "아요",
        "네요",
    ),
    *("나", "니", "냐", "죠", "지"),
)
_STATED = ("다", "고", "던", "는", "으며", "며", "을", "는데")
_NOMINAL = (
    *(
        "이었나요",
        "였나요",
        "이었나",
        "였나",
        "이었는가",
        "였는가",
        "이었습니까",
        "였습니까",
        "이었을까",
        "였을까",
        "일까요",
        "일까",
    ),
    *(
        "인가요",
        "인가",
        "인지요",
        "인지",
        "이지요",
        "이죠",
        "입니까",
        "이냐",
        "이니",
        "이야",
        "예요",
        "이에요",
        "이었지",
        "였지",
    ),
    *("이었죠", "였죠", "가요", "야", "가"),
)
_COPULAS = ("", "이다", "인", "은", "는", "의")
_FORMAL = "니까"  # 합니까 is 하다 or 한다
_FINAL_P, _FINAL_N = 17, 4  # ㅂ and ㄴ among the finals


def asking_endings(word: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield the ways to part ``word`` into a stem and an ending that asks, with the endings of statements for it."""
    for endings, tails in ((_VERBAL, _STATED), (_NOMINAL, _COPULAS)):
        for ending in endings:
            if len(word) > len(ending) and word.endswith(ending):
                yield word.removesuffix(ending), ending, tails


def stated_forms(word: str) -> Iterator[str]:
    """Yield what ``word`` may be in a statement, the likeliest first; nothing for one that does not end as a question."""
    for stem, _, tails in asking_endings(word):
        yield from (stem + tail for tail in tails)
    last = ord(word[-3]) - 0xAC00 if len(word) > 2 and word.endswith(_FORMAL) else -1
    if 0 <= last < 11172 and last % 28 == _FINAL_P:
        open_, closed = (word[:-3] + chr(0xAC00 + last - _FINAL_P + final) for final in (0, _FINAL_N))
        yield from (open_ + tail for tail in ("다", "고", "는", "며"))
        yield from (closed + tail for tail in ("다", ""))
