"""Korean particles (josa): which may follow a word, and words without theirs."""

from __future__ import annotations

from kofid.korean.jamo import final_of, is_syllable

# After a final consonant, after a vowel, after either.
_AFTER_CONSONANT = """
    은 이 을 과 으로 이나 이란 이라 이라고 이라는 이라도 이며 이고 이자 이다 이었다 이었고 이었으며 이라며 이에요 아
    과의 과는 과도 이랑 으로서 으로써 으로부터 으로의 으로는 으로도 이던 이었던
"""
_AFTER_VOWEL = """
    는 가 를 와 로 나 란 라 라고 라는 라도 며 고 자 다 였다 였고 였으며 라며 예요 야 였던 와의 와는 와도 랑 로서 로써
    로부터 로의 로는 로도
"""
_AFTER_ANY = """
    의 에 에서 에게 에게서 에게는 께 께서 께서는 도 만 까지 부터 보다 처럼 마다 조차 마저 밖에 한테 하고 에는 에도 에만 에의
    에서는 에서도 에서의 까지는 까지도 까지의 부터는 부터의 만이 만은 만을 뿐 뿐이다 뿐이었다 이다 입니다 이었다 이며 이고 이자
"""
_PARTICLES_CONSONANT = frozenset(f"{_AFTER_CONSONANT} {_AFTER_ANY}".split())
_PARTICLES_VOWEL = frozenset(f"{_AFTER_VOWEL} {_AFTER_ANY}".split())
_PARTICLES = _PARTICLES_CONSONANT | _PARTICLES_VOWEL
_LONGEST_PARTICLE = max(map(len, _PARTICLES))


def is_particle_after(stem: str, suffix: str) -> bool:
    """Tell whether ``suffix`` is a particle (or copula form) that may follow ``stem``.

    >>> is_particle_after("이순신", "은"), is_particle_after("이순신", "는"), is_particle_after("3", "만")
    (True, False, False)
    """
    if not stem or not suffix:
        return False
    if not is_syllable(stem[-1]):
        return suffix in _PARTICLES and not (stem[-1].isdigit() and suffix.startswith("만"))  # 3만 is a number
    final = final_of(stem[-1])
    as_after_vowel = final == " " or (final == "ㄹ" and suffix.startswith("로"))  # 서울로, as 경주로
    return suffix in (_PARTICLES_VOWEL if as_after_vowel else _PARTICLES_CONSONANT)


def strip_particle(word: str) -> str:
    """Return ``word`` without its longest trailing particle; unchanged when it has none.

    >>> strip_particle("이순신은"), strip_particle("이순신")
    ('이순신', '이순신')
    """
    for length in range(min(_LONGEST_PARTICLE, len(word) - 1), 0, -1):
        if is_particle_after(word[:-length], word[-length:]):
            return word[:-length]
    return word
