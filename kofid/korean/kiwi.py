"""Kiwi, loaded once a process: it costs seconds and half a gigabyte.

Threads may share it. A loaded Kiwi is only read, and its pool of workers takes batches from several threads; loading
alone is guarded here.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from kiwipiepy import Kiwi

# Kiwi's time grows faster than its input, so text is analysed in pieces of at most this many characters.
MAX_PIECE = 2_000
# The Sejong tag set as Kiwi has it: tags of words a dictionary may hold, and those of particles, endings and marks.
_TAGS = """NNG NNP NNB NR NP VV VA VX VCP VCN MM MAG MAJ IC XPN XSN XSV XSA XSM XR SL SH SN SW
    JKS JKC JKG JKO JKB JKV JKQ JX JC EP EF EC ETN ETM SF SP SS SSO SSC SE SO SB"""
ALL_TAGS = frozenset(_TAGS.split())
TAGS = frozenset(_TAGS.partition("\n")[0].split())
_workers = -1
_loading = threading.Lock()


class Morpheme(NamedTuple):
    """A morpheme: its form, Sejong part-of-speech tag, and character offsets in the text analysed."""

    form: str
    tag: str
    start: int
    end: int


def kiwi(user_words: tuple[str, ...] = ()) -> Kiwi:
    """Return the process's one Kiwi, using all processors for batches; one more for a user dictionary.

    ``user_words`` are lines of form, tag (NNP when left out) and score (0), separated by tabs.
    """
    with _loading:  # threads that come together wait for one Kiwi, and do not load one each
        return _load(user_words)


@lru_cache(maxsize=2)
def _load(user_words: tuple[str, ...]) -> Kiwi:
    from kiwipiepy import Kiwi

    analyzer = Kiwi(num_workers=_workers)
    for line in user_words:
        form, tag, score = (*line.split("\t"), "", "")[:3]
        analyzer.add_user_word(form, tag or "NNP", float(score or 0))
    analyzer.tokenize("")  # the dictionary is built at the first analysis: now, while no other thread is there
    return analyzer


def use_one_processor() -> None:
    """Keep this process's Kiwi to one thread: for worker processes, of which there is one a processor."""
    global _workers  # noqa: PLW0603
    _workers = 1


def kiwi_version() -> str:
    """Return the versions of Kiwi and its model, without loading either."""
    from importlib.metadata import version

    return f"kiwipiepy {version('kiwipiepy')}, model {version('kiwipiepy_model')}"


def analyze(text: str) -> list[Morpheme]:
    """Return the morphemes of ``text``, offsets into it."""
    return next(analyze_many([text]))


def spaced(text: str, user_words: tuple[str, ...] = ()) -> str:
    """Return ``text`` with the spaces that Kiwi would write."""
    return str(kiwi(user_words).space(text))


def is_known(word: str, user_words: tuple[str, ...] = ()) -> bool:
    """Tell whether Kiwi reads ``word`` as morphemes of its dictionary alone."""
    return not any(token.oov for token in kiwi(user_words).tokenize(word))


def analyze_many(texts: Iterable[str], user_words: tuple[str, ...] = ()) -> Iterator[list[Morpheme]]:
    """Yield the morphemes of each text, analysing several at once; long texts in pieces cut at spaces."""
    starts: deque[list[int]] = deque()  # of each text's pieces, for texts whose morphemes are to come

    def pieces() -> Iterator[str]:
        for text in texts:
            spans = _pieces(text)
            starts.append([start for start, _ in spans])
            yield from (text[start:end] for start, end in spans)

    results = kiwi(user_words).tokenize(pieces())
    for first in results:
        text_starts = starts.popleft()
        tokens = (first, *islice(results, len(text_starts) - 1))
        yield [
            Morpheme(t.form, t.tag, start + t.start, start + t.start + t.len)
            for start, piece in zip(text_starts, tokens, strict=True)
            for t in piece
        ]


def _pieces(text: str) -> list[tuple[int, int]]:
    """Return (start, end) of pieces of at most MAX_PIECE characters, cut at whitespace where there is some."""
    spans = []
    start = 0
    while len(text) - start > MAX_PIECE:
        end = max(text.rfind(" ", start, start + MAX_PIECE), text.rfind("\n", start, start + MAX_PIECE))
        end = end if end > start else start + MAX_PIECE
        spans.append((start, end))
        start = end
    return [*spans, (start, len(text))]
