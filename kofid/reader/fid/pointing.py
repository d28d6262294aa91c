"""Source pointing: a reader writes the numbers of the passages that it answers from before the answer.

FiD-Light (Hofstaetter et al. 2023, arXiv 2209.14290), section 3.3. The passages of a question are numbered from 1 in the
reader's input, see ``kofid.reader.fid.inputs.format_input``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from kofid.types import Hit

_POINTED = re.compile(r"\s*index\s*:\s*([\d\s,]*?)\s*answer\s*:\s*(.*)", re.DOTALL)


def format_target(answer: str, sources: Sequence[int] | None) -> str:
    """Return what the reader is to write: the answer, after the numbers of its passages where ``sources`` has them.

    >>> format_target("이광수", [2, 5]), format_target("이광수", None)
    ('index: 2 5 answer: 이광수', '이광수')
    """
    return answer if sources is None else f"index: {' '.join(map(str, sources))} answer: {answer}"


def parse_target(text: str, n_passages: int) -> tuple[str, list[int]]:
    """Return the answer and the numbers of its passages from what a pointing reader wrote, without numbers that do not exist.

    A text of another form is all answer.

    >>> parse_target("index: 2 5 answer: 이광수", n_passages=3), parse_target("이광수", n_passages=3)
    (('이광수', [2]), ('이광수', []))
    """
    match = _POINTED.fullmatch(text)
    if match is None:
        return text, []
    numbers = dict.fromkeys(map(int, re.findall(r"\d+", match[1])))
    return match[2].strip(), [n for n in numbers if 1 <= n <= n_passages]


def pointed_first(hits: Sequence[Hit], cited: Sequence[str]) -> list[Hit]:
    """Return the hits whose passages are ``cited`` (ids) first, in that order; the rest stay as they were.

    >>> from kofid.types import Passage
    >>> hits = [Hit(Passage(name, "", ""), 0.0) for name in "abcd"]
    >>> [hit.passage.id for hit in pointed_first(hits, ["c", "b"])]
    ['c', 'b', 'a', 'd']
    """
    places = {passage_id: place for place, passage_id in enumerate(cited)}
    return sorted(hits, key=lambda hit: places.get(hit.passage.id, len(places)))
