"""Text into the terms that an index counts: content morphemes, compound words, character bigrams, subwords.

An analyzer is a weighted sum of components, written ``kiwi+compound*0.5+bigram``. Each component is a field of its own
in the index, with its own statistics and weight, so that its share can be tuned without building anew.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

from kofid.errors import IncompatibleArtifactError, UsageError
from kofid.korean import kiwi as morphology
from kofid.korean.hanja import hanja_reading, hanja_readings
from kofid.korean.kiwi import Morpheme
from kofid.language import say
from kofid.retrieval.modes import AnalysisContext

# Nouns, roots, verb and adjective stems, adverbs, numbers, foreign words and hanja (Sejong tag set). Particles,
# endings, affixes and copulas carry no content of their own and are dropped.
CONTENT_TAGS = ("NNG", "NNP", "NNB", "NR", "XR", "VV", "VA", "MAG", "SN", "SL", "SH")
DEFAULT = "kiwi+bigram"

_WORD = re.compile(r"[^\W_]+(?:[.,]\d+)*")
# Letters and digits in one run; Hangul, other scripts and digits apart, so that T5모델은 gives T, 5 and 모델은.
_RUN = re.compile(r"[가-힣]+|\d+|[^\W\d_가-힣]+")
_MAX_WORD = 40
_MAX_COMPOUND = 15
_JOINED_TAGS = frozenset(("NNG", "NNP", "NNB", "NR", "XR", "XPN", "XSN", "SN", "SL", "SH"))
_ROOT_TAGS = frozenset(("NNG", "NNP", "XR"))
_VERBAL_SUFFIXES = frozenset(("XSV", "XSA"))

_TERM, _COMPONENTS = "\x1f", "\x1e"

Analysis = list[list[str]]
Split = Callable[[str, Sequence[Morpheme]], list[str]]


def words_of(text: str) -> list[str]:
    """Return the words of ``text``: runs of letters and digits, lower case, cut at 40 characters."""
    words = _WORD.findall(unicodedata.normalize("NFKC", text).lower())
    if any(len(word) > _MAX_WORD for word in words):
        words = [word[i : i + _MAX_WORD] for word in words for i in range(0, len(word), _MAX_WORD)]
    return words


@dataclass(frozen=True)
class Component:
    """One part of an analyzer: its name, its weight in the sum, and whether it needs Kiwi."""

    name: str
    weight: float = 1.0

    @property
    def needs_kiwi(self) -> bool:
        """Whether its terms come from Kiwi's morphemes."""
        return self.name in ("kiwi", "kiwi-all", "compound")

    @property
    def is_costly(self) -> bool:
        """Whether analysing a word costs more than looking its terms up."""
        return self.needs_kiwi or self.name.startswith("hf:")


@dataclass(frozen=True)
class AnalyzerSettings:
    """What an index keeps of its analyzer: with other settings it would not find its own terms.

    ``kiwi`` is None where no component needs Kiwi, ``user_dictionary`` the SHA-256 of its lines or None.
    """

    components: tuple[str, ...]
    tags: tuple[str, ...]
    context: str
    kiwi: str | None
    user_dictionary: str | None

    def to_json(self) -> dict[str, Any]:
        """Return what the manifest holds."""
        return {
            "components": list(self.components),
            "tags": list(self.tags),
            "context": str(self.context),
            "kiwi": self.kiwi,
            "user_dictionary": self.user_dictionary,
        }


@dataclass(frozen=True)
class Analyzer:
    """Turns words into terms, a list for each component.

    ``tags`` is the part-of-speech set that ``kiwi`` keeps. With ``context`` ``"word"`` every different word (eojeol) is
    analysed once, without its neighbours, and remembered: text repeats its words so much that this is many times
    faster than ``"sentence"``, which analyses whole texts. ``user_words`` are lines of Kiwi's user dictionary
    (form, tag and score, tab-separated).

    >>> Analyzer(parse_components("bigram+whitespace")).analyze(["이순신은"])
    [[['이순', '순신', '신은'], ['이순신은']]]
    """

    components: tuple[Component, ...] = (Component("kiwi"), Component("bigram"))
    tags: tuple[str, ...] = CONTENT_TAGS
    context: str = AnalysisContext.WORD
    user_words: tuple[str, ...] = ()

    @property
    def needs_kiwi(self) -> bool:
        """Whether any component needs Kiwi."""
        return any(component.needs_kiwi for component in self.components)

    @property
    def drops_endings(self) -> bool:
        """Whether the costly terms of a word do not depend on its ending."""
        costly = {component.name for component in self.components if component.is_costly}
        return costly <= {"kiwi", "compound"} and set(self.tags) <= set(CONTENT_TAGS)

    @property
    def weights(self) -> list[float]:
        """The components' weights."""
        return [component.weight for component in self.components]

    def weighted(self, weights: Sequence[float]) -> Analyzer:
        """Return this analyzer with other weights of its components."""
        pairs = zip(self.components, weights, strict=True)
        return replace(self, components=tuple(Component(c.name, weight) for c, weight in pairs))

    @property
    def settings(self) -> AnalyzerSettings:
        """What an index keeps of it."""
        words = "\n".join(self.user_words).encode()
        return AnalyzerSettings(
            components=tuple(component.name for component in self.components),
            tags=self.tags,
            context=self.context,
            kiwi=morphology.kiwi_version() if self.needs_kiwi else None,
            user_dictionary=hashlib.sha256(words).hexdigest() if self.user_words else None,
        )

    @classmethod
    def from_settings(
        cls, settings: AnalyzerSettings, weights: Sequence[float], user_words: tuple[str, ...] = ()
    ) -> Analyzer:
        """Return the analyzer an index was built with; raise IncompatibleArtifactError when this one differs."""
        names = [name for name in settings.components if _COMPONENT.fullmatch(name)]
        components = tuple(Component(name, weight) for name, weight in zip(names, weights, strict=False))
        known = settings.context in set(AnalysisContext)
        analyzer = cls(components, settings.tags, settings.context if known else AnalysisContext.WORD, user_words)
        if analyzer.settings != settings:
            index, here = settings.to_json(), analyzer.settings.to_json()
            raise IncompatibleArtifactError(
                say(
                    f"색인의 분석기가 지금 것과 다릅니다.\n  색인: {index}\n  지금: {here}\n색인을 다시 만드세요.",
                    f"the index was built with another analyzer.\n  index: {index}\n  here:  {here}\nBuild the index again.",
                )
            )
        return analyzer

    def units(self, text: str) -> list[str]:
        """Return what is analysed at a time: the words of ``text``, or in sentence context the text itself."""
        return words_of(text) if self.context == AnalysisContext.WORD else [text.lower()]

    def analyze(self, units: Sequence[str]) -> list[Analysis]:
        """Return for each unit and each component its terms, in order, repeated as often as they occur."""
        folded = [unicodedata.normalize("NFKC", unit).lower() for unit in units]
        if self.needs_kiwi:
            morphemes: Iterable[Sequence[Morpheme]] = morphology.analyze_many(folded, self.user_words)
        else:
            morphemes = ((),) * len(folded)
        splits = [self._split(component.name) for component in self.components]
        pairs = zip(folded, morphemes, strict=True)
        return [[split(unit, unit_morphemes) for split in splits] for unit, unit_morphemes in pairs]

    def encode(self, analysis: Analysis) -> bytes:
        """Return a word's terms as text; components that are cheap to compute again are left empty."""
        parts = (_TERM.join(t) if c.is_costly else "" for c, t in zip(self.components, analysis, strict=True))
        return _COMPONENTS.join(parts).encode("utf-8", "replace")

    def decode(self, unit: str, text: bytes) -> Analysis:
        """Return the terms of a unit from what ``encode`` kept, without Kiwi."""
        unit = unicodedata.normalize("NFKC", unit).lower()
        parts = text.decode().split(_COMPONENTS)
        return [
            (part.split(_TERM) if part else []) if c.is_costly else self._split(c.name)(unit, ())
            for c, part in zip(self.components, parts, strict=True)
        ]

    def _split(self, name: str) -> Split:
        if name == "kiwi":
            tags = frozenset(self.tags)
            return lambda unit, morphemes: list(_content(morphemes, tags))
        if name == "kiwi-all":
            return lambda unit, morphemes: [m.form.lower() for m in morphemes]
        if name == "compound":
            return lambda unit, morphemes: list(_compounds(morphemes))
        if name == "bigram":
            return lambda unit, morphemes: bigrams(unit)
        if name == "whitespace":
            return lambda unit, morphemes: unit.split()
        return lambda unit, morphemes: _subwords(name.removeprefix("hf:"), unit)


def _content(morphemes: Sequence[Morpheme], tags: frozenset[str]) -> Iterable[str]:
    for morpheme in morphemes:
        tag = morpheme.tag.partition("-")[0]
        if tag in tags:
            form = morpheme.form.lower()
            yield form.replace(",", "") if tag == "SN" else form
            if tag == "SH":
                yield hanja_reading(form)


def _compounds(morphemes: Sequence[Morpheme]) -> Iterable[str]:
    """Yield what stands together: compound nouns, number and unit, T5; noun or root with 하다, and without."""
    run: list[Morpheme] = []
    for morpheme in [*morphemes, None]:
        if morpheme and morpheme.tag in _JOINED_TAGS and (not run or run[-1].end == morpheme.start):
            run.append(morpheme)
            continue
        if len(run) > 1 and run[-1].end - run[0].start <= _MAX_COMPOUND:
            yield "".join(m.form for m in run).lower()
        if morpheme is None:
            break
        tag = morpheme.tag.partition("-")[0]
        if tag in _VERBAL_SUFFIXES and run and run[-1].tag in _ROOT_TAGS and run[-1].end == morpheme.start:
            yield run[-1].form + morpheme.form
        elif tag in ("VV", "VA") and len(morpheme.form) > 2 and morpheme.form.endswith("하"):
            yield morpheme.form[:-1]
        run = [morpheme] if morpheme.tag in _JOINED_TAGS else []


def bigrams(text: str) -> list[str]:
    """Return the character bigrams within each run of Hangul, of digits and of other letters; single characters whole."""
    runs = _RUN.findall(text) + hanja_readings(text)
    return [gram for run in runs for gram in ([run] if len(run) == 1 else map("".join, pairwise(run)))]


@lru_cache(maxsize=4)
def _tokenizer(name: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(name, trust_remote_code=False)


def _subwords(name: str, unit: str) -> list[str]:
    return list(_tokenizer(name).tokenize(unit))


_COMPONENT = re.compile(r"(kiwi|kiwi-all|compound|bigram|whitespace|hf:.+?)(?:\*(\d+(?:\.\d+)?))?")


def parse_components(spec: str) -> tuple[Component, ...]:
    """Return the components of an analyzer such as ``kiwi+compound*0.5+bigram``; raise UsageError for an unknown one."""
    components = []
    for part in spec.split("+"):
        match = _COMPONENT.fullmatch(part.strip())
        if match is None:
            raise UsageError(
                say(
                    f"분석기 '{part}'을(를) 모릅니다. 쓸 수 있는 것: kiwi, kiwi-all, compound, bigram, whitespace, hf:모델 "
                    "(합은 kiwi+bigram*0.5)",
                    f"unknown analyzer '{part}'; there are kiwi, kiwi-all, compound, bigram, whitespace, hf:MODEL "
                    "(sums: kiwi+bigram*0.5)",
                )
            )
        components.append(Component(match.group(1), float(match.group(2) or 1)))
    names = [component.name for component in components]
    if len(set(names)) < len(names):
        raise UsageError(say(f"분석기 '{spec}': 같은 것이 두 번 있습니다", f"analyzer '{spec}': the same one twice"))
    return tuple(components)
