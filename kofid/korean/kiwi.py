"""Kiwi, loaded once a process: it costs seconds and half a gigabyte."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
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


class Morpheme(NamedTuple):
    """A morpheme: its form, Sejong part-of-speech tag, and character offsets in the text analysed."""

    form: str
    tag: str
    start: int
    end: int


@lru_cache(maxsize=2)
def kiwi(user_words: tuple[str, ...] = ()) -> Kiwi:
    """Return the process's one Kiwi, using all processors for batches; one more for a user dictionary.

    ``user_words`` are lines of form, tag (NNP when left out) and score (0), separated by tabs.
    """
    from kiwipiepy import Kiwi

    analyzer = Kiwi(num_workers=_workers)
    for line in user_words:
        form, tag, score = (*line.split("\t"), "", "")[:3]
        analyzer.add_user_word(form, tag or "NNP", float(score or 0))
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
    pieces: list[tuple[int, list[int]]] = []

    def feed() -> Iterator[str]:
        for text in texts:
            cuts = _pieces(text)
            pieces.append((len(cuts), [start for start, _ in cuts]))
            yield from (text[start:end] for start, end in cuts)

    results = kiwi(user_words).tokenize(feed())
    done = 0
    morphemes: list[Morpheme] = []
    taken = 0
    for tokens in results:
        count, starts = pieces[done]
        offset = starts[taken]
        morphemes.extend(Morpheme(t.form, t.tag, offset + t.start, offset + t.start + t.len) for t in tokens)
        taken += 1
        if taken == count:
            yield morphemes
            pieces[done] = (0, [])
            done, taken, morphemes = done + 1, 0, []


def _pieces(text: str) -> list[tuple[int, int]]:
    """Return (start, end) of pieces of at most MAX_PIECE characters, cut at whitespace where there is some."""
    cuts = []
    start = 0
    while len(text) - start > MAX_PIECE:
        end = max(text.rfind(" ", start, start + MAX_PIECE), text.rfind("\n", start, start + MAX_PIECE))
        end = end if end > start else start + MAX_PIECE
        cuts.append((start, end))
        start = end
    return [*cuts, (start, len(text))]
