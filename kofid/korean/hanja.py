"""Hanja read aloud: 李舜臣 is 이순신."""

from __future__ import annotations

import re
from functools import lru_cache

from kofid.storage.bundled import resource

_HANJA = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]+")


def hanja_reading(hanja: str) -> str:
    """Return the Korean reading of a word in hanja; characters without a known one stay.

    The table was learned from text that writes both (resources/recipes/hanja.py), so it knows the reading at the head
    of a word from the one elsewhere.

    >>> hanja_reading("女子"), hanja_reading("男女")
    ('여자', '남녀')
    """
    readings = _readings()
    return "".join(readings.get(c, (c, c))[i > 0] for i, c in enumerate(hanja))


def hanja_readings(text: str) -> list[str]:
    """Return the readings of all runs of hanja in a text, in order.

    >>> hanja_readings("李舜臣과 男女")
    ['이순신', '남녀']
    """
    return [hanja_reading(run) for run in _HANJA.findall(text)]


@lru_cache(maxsize=1)
def _readings() -> dict[str, tuple[str, str]]:
    """Return for each character its reading at the head of a word and inside one."""
    lines = (resource("lexicons") / "hanja.tsv").read_text(encoding="utf-8").splitlines()
    return {character: (head, inside) for character, head, inside in (line.split("\t") for line in lines)}
