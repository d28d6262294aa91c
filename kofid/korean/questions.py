"""Korean questions: the words that ask, the endings that ask, and the type of answer that is asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kofid.korean.jamo import final_of, is_syllable, with_final

# --- words that ask ------------------------------------------------------------------------------------------

# Passages that answer do not say them: 임진왜란은 언제 일어났나 is answered by 1592년에 일어났다.
_ASKING = re.compile(
    r"(누구|누굴|누군|언제|어디|무엇|무얼|몇|얼마|어느|어떻|뭐|뭣)\w*|누가|누가요|무슨|어떤|뭘|뭔가요?|왜|왜(냐|요|일까|인가|죠)\w*"
)


def asks(word: str) -> bool:
    """Tell whether ``word`` is one that asks.

    >>> asks("누구"), asks("언제였나"), asks("왜군은")
    (True, True, False)
    """
    return _ASKING.fullmatch(word) is not None


# --- endings that ask ----------------------------------------------------------------------------------------

# Most words that end a question are in no passage, though their stems are: 태어났나요 is 태어났다 there, 섬인가요 is 섬.
# The terms of a stated form are those of the word, since endings carry no content, so that a question can be analysed
# by the words that an index knows, without Kiwi.

# Endings that ask, longer ones first, and what takes their place in a statement: after a verb's stem, after a noun.
_AFTER_VERBS = """
    는가요 는가 는지요 는지 나요 느냐 을까요 을까 습니까 지요 던가요 던가 어요 아요 네요 나 니 냐 죠 지
"""
_AFTER_NOUNS = """
    이었나요 였나요 이었나 였나 이었는가 였는가 이었습니까 였습니까 이었을까 였을까 일까요 일까 인가요 인가 인지요 인지 이지요 이죠
    입니까 이냐 이니 이야 예요 이에요 이었지 였지 이었죠 였죠 가요 야 가
"""
_ENDINGS = (
    (tuple(_AFTER_VERBS.split()), ("다", "고", "던", "는", "으며", "며", "을", "는데")),
    (tuple(_AFTER_NOUNS.split()), ("", "이다", "인", "은", "는", "의")),
)
# The formal ending follows ㅂ: 합니까 is 하다, or 한다.
_FORMAL_ENDING = "니까"
_FORMAL_STATEMENTS = ((" ", ("다", "고", "는", "며")), ("ㄴ", ("다", "")))


def asking_endings(word: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield the ways to part ``word`` into a stem and an ending that asks, with the endings of statements for it.

    >>> [(stem, ending) for stem, ending, _ in asking_endings("섬인가요")]
    [('섬', '인가요'), ('섬인', '가요')]
    """
    for endings, statements in _ENDINGS:
        for ending in endings:
            if len(word) > len(ending) and word.endswith(ending):
                yield word.removesuffix(ending), ending, statements


def stated_forms(word: str) -> Iterator[str]:
    """Yield what ``word`` may be in a statement, the likeliest first; nothing for one that does not end as a question.

    >>> next(stated_forms("태어났나요")), list(stated_forms("합니까"))
    ('태어났다', ['하다', '하고', '하는', '하며', '한다', '한'])
    """
    for stem, _, statements in asking_endings(word):
        yield from (stem + ending for ending in statements)
    if len(word) > len(_FORMAL_ENDING) and word.endswith(_FORMAL_ENDING):
        stem = word.removesuffix(_FORMAL_ENDING)
        if is_syllable(stem[-1]) and final_of(stem[-1]) == "ㅂ":
            for final, endings in _FORMAL_STATEMENTS:
                yield from (stem[:-1] + with_final(stem[-1], final) + ending for ending in endings)


# --- types of question ---------------------------------------------------------------------------------------

# In order of precedence: the first that occurs decides.
_TYPE_PATTERNS = {
    "who": r"누구|누가|누군|누굴",
    "when": r"언제|며칠|몇\s*(년|월|일|세기|시)|어느\s*(해|날|시대|시기|년도|계절)",
    "where": r"어디|어딘|어딜|어느\s*(곳|나라|도시|지역|국가)",
    "how-many": r"몇|얼마",
    "why": r"(?<![가-힣])왜(?![가-힣])|어째서|어찌",
    "how": r"어떻게",
    "which": r"어떤|어느|무슨",
    "what": r"무엇|뭐|뭘|무얼|뭔|뭣",
}
# Numbers of the types, as readers and their models know them; 0 is none of these.
TYPE_CODES = {name: code for code, name in enumerate(_TYPE_PATTERNS, start=1)}
_TYPE_NAMES = {code: name for name, code in TYPE_CODES.items()}
_COMPILED = tuple((TYPE_CODES[name], re.compile(pattern)) for name, pattern in _TYPE_PATTERNS.items())


def question_type(text: str) -> str:
    """Return who, when, where, how-many, why, how, which or what, by the question word; other where there is none.

    >>> question_type("거북선은 누가 만들었나?"), question_type("임진왜란은 몇 년에 일어났나?"), question_type("수도의 이름은?")
    ('who', 'when', 'other')
    """
    return _TYPE_NAMES.get(type_code(text), "other")


def type_code(text: str) -> int:
    """Return the code of a question's type, of ``TYPE_CODES``; 0 where no word asks.

    >>> type_code("거북선은 누가 만들었나?"), type_code("수도의 이름은?")
    (1, 0)
    """
    return next((code for code, pattern in _COMPILED if pattern.search(text)), 0)
