"""Text into the terms that an index counts: content morphemes and character bigrams."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from kofid import morphology
from kofid.errors import IncompatibleArtifactError
from kofid.language import say
from kofid.types import Passage

# Nouns, roots, verb and adjective stems, adverbs, numbers, foreign words and hanja (Sejong tag set). Particles,
# endings, affixes and copulas carry no content of their own and are dropped.
CONTENT_TAGS = ("NNG", "NNP", "NNB", "NR", "XR", "VV", "VA", "MAG", "SN", "SL", "SH")
# Letters and digits in one run; Hangul, other scripts and digits apart, so that T5모델은 gives T, 5 and 모델은.
_RUN = re.compile(r"[가-힣]+|\d+|[^\W\d_가-힣]+")
_MAX_WORD = 40
_BATCH = 1_024


@dataclass
class Analyzer:
    """Turns text into terms: content morphemes as they are, character bigrams marked with ``▁``.

    Every different word (eojeol) is analysed once and remembered, without its neighbours: text repeats its words so
    much that this is many times faster than analysing sentences. Words over 40 characters are cut.
    """

    tags: tuple[str, ...] = CONTENT_TAGS
    _terms: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    def settings(self) -> dict[str, Any]:
        """Return what an index keeps of its analyzer: with other settings it would not find its own terms."""
        return {"name": "kiwi+bigram", "tags": list(self.tags), "kiwi": morphology.kiwi_version()}

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Analyzer:
        """Return the analyzer an index was built with; raise IncompatibleArtifactError when this one differs."""
        analyzer = cls(tuple(settings.get("tags", ())))
        if analyzer.settings() != settings:
            raise IncompatibleArtifactError(
                say(
                    f"색인의 분석기가 지금 것과 다릅니다.\n  색인: {settings}\n  지금: {analyzer.settings()}\n색인을 다시 만드세요.",
                    f"the index was built with another analyzer.\n  index: {settings}\n  here:  {analyzer.settings()}\n"
                    "Build the index again.",
                )
            )
        return analyzer

    def terms(self, text: str) -> list[str]:
        """Return the terms of ``text``, in order, repeated as often as they occur."""
        return next(self.terms_of_many([text]))

    def terms_of_many(self, texts: Iterable[str]) -> Iterator[list[str]]:
        """Yield the terms of each text; new words of a batch of texts are analysed together."""
        texts = iter(texts)
        while batch := [list(_words(text)) for text in islice(texts, _BATCH)]:
            self._learn(dict.fromkeys(word for words in batch for word in words if word not in self._terms))
            for words in batch:
                yield [term for word in words for term in self._terms[word]]

    def _learn(self, words: Iterable[str]) -> None:
        words = list(words)
        if not words:
            return
        kept = set(self.tags)
        for word, morphemes in zip(words, morphology.analyze_many(words), strict=True):
            content = [m.form.lower() for m in morphemes if m.tag.partition("-")[0] in kept]
            self._terms[word] = tuple(content + _bigrams(word))


def _words(text: str) -> Iterator[str]:
    for word in text.lower().split():
        for start in range(0, len(word), _MAX_WORD):
            yield word[start : start + _MAX_WORD]


def _bigrams(word: str) -> list[str]:
    return [
        "▁" + gram
        for run in _RUN.findall(word)
        for gram in ([run] if len(run) == 1 else map("".join, zip(run, run[1:], strict=False)))
    ]


def passage_text(passage: Passage) -> str:
    """Return the text under which a passage is found: its title, then its text."""
    return f"{passage.title}\n{passage.text}"
