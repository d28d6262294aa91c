"""How rare a word is, counted over a large Korean text."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kofid.errors import CorruptArtifactError, InputError
from kofid.language import say

FILE = "morpheme_df.tsv"
_COUNT = re.compile(r"[1-9][0-9]{0,11}")


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Document frequency by term key over ``n_documents`` passages; terms left out were rarer than any kept."""

    n_documents: int
    frequency: dict[str, int]

    def idf(self, key: str) -> float:
        """Return the rarity of a term in (0, 1]: log(n / df), as a share of what a term seen once would get."""
        return math.log(self.n_documents / self.frequency.get(key, 1)) / math.log(self.n_documents)

    def save(self, directory: Path) -> None:
        """Write the lexicon into ``directory``, commonest first."""
        lines = [f"{key}\t{count}\n" for key, count in self.frequency.items()]
        (directory / FILE).write_text(f"\t{self.n_documents}\n" + "".join(lines), encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> Lexicon:
        """Read the lexicon of ``directory``.

        Raises InputError when there is none, CorruptArtifactError when a line is no term and count.
        """
        try:
            lines = (directory / FILE).read_text(encoding="utf-8").splitlines()
        except (UnicodeDecodeError, IsADirectoryError) as error:
            raise _corrupt(directory / FILE, 1) from error
        except FileNotFoundError as error:
            raise InputError(
                say(
                    f"{directory}에 {FILE}이 없습니다. 이렇게 만드세요: python resources/recipes/span_words.py 문서 -o DIR",
                    f"{directory} has no {FILE}; make one with: python resources/recipes/span_words.py ARTICLES -o DIR",
                )
            ) from error
        frequency = {}
        for number, line in enumerate(lines, start=1):
            key, tab, count = line.partition("\t")
            if not tab or not _COUNT.fullmatch(count):
                raise _corrupt(directory / FILE, number)
            frequency[key] = int(count)
        n_documents = max(frequency.pop("", 2), 2)
        for number, n in enumerate(frequency.values(), start=2):
            if n > n_documents:  # a rarity below zero
                raise _corrupt(directory / FILE, number)
        return cls(n_documents=n_documents, frequency=frequency)


def _corrupt(path: Path, line: int) -> CorruptArtifactError:
    return CorruptArtifactError(
        say(
            f"{path} {line}번째 줄: 낱말과 횟수가 아닙니다. 리더를 다시 훈련하세요.",
            f"{path}, line {line}: no term and count; train the reader anew",
        )
    )


def count_lexicon(documents: Iterable[Iterable[str]], size: int = 40_000, least: int = 2) -> Lexicon:
    """Return the lexicon of the ``size`` commonest term keys that stand in ``least`` documents or more."""
    counts: Counter[str] = Counter()
    n_documents = 0
    for keys in documents:
        counts.update({key for key in keys if key})
        n_documents += 1
    commonest = sorted(((-n, key) for key, n in counts.items() if n >= least and "\t" not in key))[:size]
    return Lexicon(n_documents=max(n_documents, 2), frequency={key: -n for n, key in commonest})
