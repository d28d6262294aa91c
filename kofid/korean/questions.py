"""Korean questions: words that ask, endings that ask, and what type of answer they want.

Endings are given as statements write them: 태어났나요 is 태어났다, 섬인가요 is 섬.

Most words that end a question are in no passage, though their stems are. The terms of a stated form are those of the
word (endings carry no content), so that a question can be analysed by the words an index has kept, without Kiwi.
"""

from __future__ import annotations

import re
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


# Words that ask. Passages that answer do not say them: 임진왜란은 언제 일어났나 is answered by 1592년에 일어났다.
_ASKING = re.compile(
    r"(누구|누굴|누군|언제|어디|무엇|무얼|몇|얼마|어느|어떻|뭐|뭣)\w*|누가|누가요|무슨|어떤|뭘|뭔가요?|왜|왜(냐|요|일까|인가|죠)\w*"
)


def asks(word: str) -> bool:
    """Tell whether ``word`` is one that asks, such as 누구 or 언제였나."""
    return _ASKING.fullmatch(word) is not None


# In order of precedence: the first that is found decides.
_ASKS = (
    ("who", r"누구|누가|누군|누굴"),
    ("when", r"언제|며칠|몇\s*(년|월|일|세기|시)|어느\s*(해|날|시대|시기|년도|계절)"),
    ("where", r"어디|어딘|어딜|어느\s*(곳|나라|도시|지역|국가)"),
    ("how-many", r"몇|얼마"),
    ("why", r"(?<![가-힣])왜(?![가-힣])|어째서|어찌"),
    ("how", r"어떻게"),
    ("which", r"어떤|어느|무슨"),
    ("what", r"무엇|뭐|뭘|무얼|뭔|뭣"),
)


ASKS = {name: code for code, (name, _) in enumerate(_ASKS, start=1)}


_ASK_NAMES = {code: name for name, code in ASKS.items()}


_ASK_PATTERNS = tuple((ASKS[name], re.compile(pattern)) for name, pattern in _ASKS)


def question_type(text: str) -> str:
    """Return who, when, where, how-many, why, how, which or what, by the question word; other where there is none.

    >>> question_type("거북선은 누가 만들었나?"), question_type("임진왜란은 몇 년에 일어났나?"), question_type("수도의 이름은?")
    ('who', 'when', 'other')
    """
    return _ASK_NAMES.get(asked_word(text), "other")


def asked_word(text: str) -> int:
    """Return the code (of ASKS) of the question word that decides what is asked for, 0 where there is none."""
    return next((code for code, pattern in _ASK_PATTERNS if pattern.search(text)), 0)
