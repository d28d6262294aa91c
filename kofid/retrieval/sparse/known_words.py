"""The words of an index: their terms as they were analysed when it was built, so that most questions need no Kiwi."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from kofid.korean.questions import stated_forms
from kofid.retrieval.modes import AnalysisContext
from kofid.retrieval.sparse.analyzer import Analysis, Analyzer
from kofid.retrieval.sparse.segment import Segment, hash_term
from kofid.storage.arrays import corrupt_array

_CACHED_UNITS = 65_536


class KnownWords:
    """Analyses text by the words that the segments know; Kiwi is loaded only for others. Threads may share it."""

    def __init__(self, analyzer: Analyzer, segments: Sequence[Segment]) -> None:
        self.analyzer = analyzer
        self._segments = segments
        self._analysis = lru_cache(maxsize=_CACHED_UNITS)(self._find_analysis)

    def analyze(self, text: str) -> list[tuple[str, Analysis]]:
        """Return the units (words) of ``text`` with their terms by component."""
        units = self.analyzer.units(text)
        known = {unit: self._analysis(unit) for unit in dict.fromkeys(units)}
        unknown = [unit for unit, analysis in known.items() if analysis is None]
        analyses = dict(zip(unknown, self.analyzer.analyze(unknown), strict=True)) if unknown else {}
        return [(unit, known[unit] or analyses.get(unit, [])) for unit in units]

    def _find_analysis(self, unit: str) -> Analysis | None:
        """Return the terms of a unit as the index knows them, or those of its stated form."""
        if not any(component.is_costly for component in self.analyzer.components):
            return self.analyzer.analyze([unit])[0]
        if self.analyzer.context == AnalysisContext.SENTENCE:
            return None
        for form in (unit, *(stated_forms(unit) if self.analyzer.drops_endings else ())):
            for segment in self._segments:
                encoded = segment.analysis(form)
                if encoded is not None:
                    try:
                        return self.analyzer.decode(unit, encoded)
                    except ValueError as error:
                        raise corrupt_array(segment.path) from error
        return None

    def has_analysis(self, unit: str) -> bool:
        """Tell whether the index knows the terms of a unit, so that Kiwi is not needed for it."""
        return self._analysis(unit) is not None

    def knows(self, texts: Sequence[str]) -> list[bool]:
        """Tell for each text whether it is a word of some passage, or a term of one by Kiwi or a subword vocabulary."""
        known = np.zeros(len(texts), bool)
        if texts:
            words = np.array([hash_term(text) for text in texts], np.uint64)
            terms = {
                c: np.array([hash_term(text, c) for text in texts], np.uint64)
                for c, component in enumerate(self.analyzer.components)
                if component.is_costly
            }
            for segment in self._segments:
                known |= segment.has_words(words)
                for c, hashes in terms.items():
                    known |= segment.text[c].has(hashes) | segment.titles[c].has(hashes)
        return list(map(bool, known))
