"""A segment: up to 65,536 passages with their postings, written once and then only read.

Sixteen bits number a segment's passages, so a posting takes two bytes, three where a term is repeated. Its arrays; a
field is one component of the analyzer over the texts (``text0``, ``text1``, ...) or over the titles (``title0``, ...)::

    passages, passages.starts          JSON lines, 16 to a zstd frame; where each frame starts
    ids, ids.positions                 hashes of the passage ids, sorted, and whose they are
    articles                           number of the article that each passage was cut from
    article.ids, article.numbers       hashes of the articles' ids, sorted, and whose they are
    FIELD.lengths                      number of terms of each passage (text) or article (title)
    FIELD.terms, FIELD.starts          hashes of the terms, sorted; where each one's postings start
    FIELD.owners                       the postings: passages (text) or articles (title), those that hold the term
                                       once before those that repeat it
    FIELD.repeats, FIELD.frequencies   where each term's frequencies start; frequencies of those that repeat it
    words, words.starts, words.terms   analyses of the words that this segment saw first
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash

from kofid.formats.passage_split import article_id
from kofid.storage.arrays import Array, ArrayFile, ArrayWriter, CheckedArray, corrupt_array
from kofid.types import Passage

MAX_PASSAGES = 65_536
_FRAME = 16
_MAX_FREQUENCY = 255


class Postings(NamedTuple):
    """Where a term occurs: the passages (or articles) that hold it once, those that repeat it, and how often."""

    single: npt.NDArray[np.uint16]
    repeated: npt.NDArray[np.uint16]
    frequencies: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.single) + len(self.repeated)


def hash_term(term: str, component: int = 0) -> int:
    """Return the 64-bit hash under which a component's term is kept."""
    return xxhash.xxh3_64_intdigest(term.encode("utf-8", "replace"), component)


def spans(starts: Array, counts: Array) -> Array:
    """Return ``starts[0], starts[0] + 1, ...`` (counts[0] numbers), then those from ``starts[1]``, and so on."""
    if not len(counts):
        return np.empty(0, np.int64)
    before = np.cumsum(counts) - counts
    numbers: Array = np.arange(counts.sum()) + np.repeat(starts - before, counts)
    return numbers


# --- writing -------------------------------------------------------------------------------------------------


class PassageWriter:
    """Compresses passages as they come, and numbers their articles."""

    def __init__(self, file: ArrayWriter) -> None:
        from backports import zstd

        self._compressor = zstd.ZstdCompressor(level=9)
        self._file = file
        self._file.begin("passages")
        self._lines: list[bytes] = []
        self._starts = [0]
        self._hashes: list[int] = []
        self._articles: list[int] = []
        self._article_hashes: list[int] = []
        self._article = ""

    def __len__(self) -> int:
        return len(self._hashes)

    def is_of_last_article(self, passage: Passage) -> bool:
        """Tell whether ``passage`` was cut from the same article as the one before it."""
        return bool(self._hashes) and article_id(passage.id) == self._article

    def add(self, passage: Passage) -> None:
        """Take one passage."""
        if not self.is_of_last_article(passage):
            self._article = article_id(passage.id)
            self._article_hashes.append(hash_term(self._article))
        self._articles.append(len(self._article_hashes) - 1)
        self._hashes.append(hash_term(passage.id))
        self._lines.append(json.dumps([passage.id, passage.title, passage.text], ensure_ascii=False).encode())
        if len(self._lines) == _FRAME:
            self._flush()

    def _flush(self) -> None:
        frame = self._compressor.compress(b"\n".join(self._lines), self._compressor.FLUSH_FRAME)
        self._starts.append(self._file.extend(frame))
        self._lines = []

    def close(self) -> None:
        """Write what is left."""
        if self._lines:
            self._flush()
        self._file.add("passages.starts", np.array(self._starts, np.uint64))
        self._file.add("articles", np.array(self._articles, np.uint16))
        for name, places, hashes in (
            ("ids", "ids.positions", self._hashes),
            ("article.ids", "article.numbers", self._article_hashes),
        ):
            order = np.argsort(np.array(hashes, np.uint64), kind="stable")
            self._file.add(name, np.array(hashes, np.uint64)[order])
            self._file.add(places, order.astype(np.uint16))


def write_field(
    file: ArrayWriter, name: str, owners: Array, terms: Array, vocabulary: npt.NDArray[np.uint64], n_owners: int
) -> None:
    """Write the postings of one field: ``vocabulary[terms[i]]``, sorted hashes, occurs in passage or article ``owners[i]``."""
    lengths = np.minimum(np.bincount(owners, minlength=n_owners), np.iinfo(np.uint16).max)
    file.add(f"{name}.lengths", lengths.astype(np.uint16))
    keys = (terms.astype(np.uint64) << np.uint64(16)) | owners
    keys.sort()
    first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])) if len(keys) else np.empty(0, np.int64)
    frequencies = np.minimum(np.diff(np.append(first, len(keys))), _MAX_FREQUENCY).astype(np.uint64)
    numbers, holders = keys[first] >> np.uint64(16), keys[first] & np.uint64(0xFFFF)
    keys = (numbers << np.uint64(25)) | ((frequencies > 1).astype(np.uint64) << np.uint64(24))
    keys |= (holders << np.uint64(8)) | frequencies
    keys.sort()
    frequencies = (keys & np.uint64(0xFF)).astype(np.uint8)
    numbers = (keys >> np.uint64(25)).astype(np.int64)
    repeated = frequencies > 1
    file.add(f"{name}.terms", vocabulary)
    file.add(f"{name}.starts", _starts(numbers, len(vocabulary)))
    file.add(f"{name}.repeats", _starts(numbers[repeated], len(vocabulary)))
    file.add(f"{name}.owners", (keys >> np.uint64(8)).astype(np.uint16))
    file.add(f"{name}.frequencies", frequencies[repeated])


def _starts(numbers: Array, n: int) -> npt.NDArray[np.uint32]:
    return np.concatenate(([0], np.cumsum(np.bincount(numbers, minlength=n)))).astype(np.uint32)


def write_words(file: ArrayWriter, hashes: npt.NDArray[np.uint64], analyses: Sequence[bytes]) -> None:
    """Write the analyses of words, to be found again by the words' hashes."""
    order = np.argsort(hashes)
    in_order = [analyses[i] for i in order]
    file.add("words", hashes[order])
    file.add("words.starts", np.cumsum([0, *map(len, in_order)]).astype(np.uint32))
    file.add("words.terms", np.frombuffer(b"".join(in_order), np.uint8))


_NOWHERE = Postings(np.empty(0, np.uint16), np.empty(0, np.uint16), np.empty(0, np.uint8))

# --- reading -------------------------------------------------------------------------------------------------


class Field:
    """The postings of one field. Its dictionary is checked when it is opened, postings when they are read."""

    def __init__(self, file: ArrayFile, name: str, n_owners: int) -> None:
        self._path, self._n_owners = file.path, n_owners
        self._terms = file.array(f"{name}.terms", "<u8").all()
        self._starts = file.array(f"{name}.starts", "<u4").all()
        self._repeats = file.array(f"{name}.repeats", "<u4").all()
        self._owners = file.array(f"{name}.owners", "<u2")
        self._frequencies = file.array(f"{name}.frequencies", "<u1")
        self.lengths = file.array(f"{name}.lengths", "<u2").all()
        if not len(self._starts) == len(self._repeats) == len(self._terms) + 1 or len(self.lengths) != n_owners:
            raise corrupt_array(file.path)

    def has(self, terms: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Tell which terms (by their hashes) occur, shape (n_terms,)."""
        return _among(terms, self._terms)

    def postings(self, terms: npt.NDArray[np.uint64]) -> list[Postings]:
        """Return where terms (by their hashes) occur; empty for one that does not."""
        if not len(self._terms):
            return [_NOWHERE] * len(terms)
        places = np.minimum(np.searchsorted(self._terms, terms), len(self._terms) - 1)
        occurs = self._terms[places] == terms
        starts, stops = self._starts[places].tolist(), self._starts[places + 1].tolist()
        firsts, lasts = self._repeats[places].tolist(), self._repeats[places + 1].tolist()
        bounds = zip(occurs.tolist(), starts, stops, firsts, lasts, strict=True)
        return [self._read(*places) if is_term else _NOWHERE for is_term, *places in bounds]

    def _read(self, start: int, stop: int, first: int, last: int) -> Postings:
        owners = self._owners.read(start, stop)
        n_single = stop - start - (last - first)
        if not 0 <= n_single <= stop - start or (len(owners) and int(owners.max()) >= self._n_owners):
            raise corrupt_array(self._path)
        if first == last:
            return Postings(owners, _NOWHERE.repeated, _NOWHERE.frequencies)
        return Postings(owners[:n_single], owners[n_single:], self._frequencies.read(first, last))


def _among(wanted: npt.NDArray[np.uint64], hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    if not len(hashes):
        return np.zeros(len(wanted), bool)
    occurs: npt.NDArray[np.bool_] = hashes[np.minimum(np.searchsorted(hashes, wanted), len(hashes) - 1)] == wanted
    return occurs


def find(hashes: CheckedArray, wanted: int) -> int | None:
    """Return the first place of ``wanted`` among sorted hashes, which lie evenly, so near where one would guess."""
    n = len(hashes)
    guess, width = (wanted * n) >> 64, 64 + 2 * int(n**0.5)
    value = np.uint64(wanted)
    while n:
        low, high = max(guess - width, 0), min(guess + width, n)
        window = hashes.read(low, high)
        if (low == 0 or window[0] < value) and (high == n or window[-1] >= value):
            place = low + int(np.searchsorted(window, value))
            return place if place < high and window[place - low] == value else None
        width *= 4
    return None


def _all_of(hashes: CheckedArray, numbers: CheckedArray, wanted: int) -> Iterator[int]:
    """Yield the ``numbers`` of all places where ``hashes`` has ``wanted``."""
    place = find(hashes, wanted)
    while place is not None and place < len(hashes) and hashes.read(place, place + 1)[0] == wanted:
        yield int(numbers.read(place, place + 1)[0])
        place += 1


class Segment:
    """An opened segment. Raises CorruptArtifactError for arrays that cannot belong together, then or when they are read."""

    def __init__(self, path: Path, n_components: int) -> None:
        self.path = path
        self._file = file = ArrayFile(path)
        self._frames, self._starts = file.array("passages", "<u1"), file.array("passages.starts", "<u8")
        self._ids, self._id_positions = file.array("ids", "<u8"), file.array("ids.positions", "<u2")
        self._article_ids = file.array("article.ids", "<u8")
        self._article_numbers = file.array("article.numbers", "<u2")
        self._words, self._word_starts = file.array("words", "<u8"), file.array("words.starts", "<u4")
        self._word_terms = file.array("words.terms", "<u1")
        self.articles = file.array("articles", "<u2").all()
        steps = np.diff(self.articles.astype(np.int64), prepend=-1, append=-1)
        # Where each article starts, and where the last one ends.
        self.article_starts = np.flatnonzero(steps)
        self._check(steps[:-1])
        n, n_articles = len(self.articles), len(self.article_starts) - 1
        self.text = [Field(file, f"text{i}", n) for i in range(n_components)]
        self.titles = [Field(file, f"title{i}", n_articles) for i in range(n_components)]
        self._frame = lru_cache(maxsize=32)(self._read_frame)

    def _check(self, steps: Array) -> None:
        """Raise CorruptArtifactError unless articles are numbered 0, 1, ... and all counts agree."""
        n, n_articles = len(self.articles), len(self.article_starts) - 1
        agree = (
            len(self._ids) == len(self._id_positions) == n
            and len(self._article_ids) == len(self._article_numbers) == n_articles
            and len(self._starts) == -(-n // _FRAME) + 1
            and len(self._word_starts) == len(self._words) + 1
        )
        if not (agree and 0 < n <= MAX_PASSAGES and steps[0] == 1 and 0 <= steps.min() <= steps.max() <= 1):
            raise corrupt_array(self.path)

    def __len__(self) -> int:
        return len(self.articles)

    def __getitem__(self, position: int) -> Passage:
        try:
            passage = Passage(*json.loads(self._frame(position // _FRAME)[position % _FRAME]))
        except (ValueError, TypeError, IndexError, RecursionError) as error:
            raise corrupt_array(self.path) from error
        if not (isinstance(passage.id, str) and isinstance(passage.title, str) and isinstance(passage.text, str)):
            raise corrupt_array(self.path)
        return passage

    def _read_frame(self, number: int) -> list[bytes]:
        from backports import zstd

        start, stop = map(int, self._starts.read(number, number + 2))
        try:
            passages = zstd.decompress(self._frames.read(start, stop).data)
        except zstd.ZstdError as error:
            raise corrupt_array(self.path) from error
        self._frames.release(start, stop)
        return passages.split(b"\n")

    def find(self, passage_id: str) -> int | None:
        """Return the position of a passage, None when it is not here."""
        same_hash = _all_of(self._ids, self._id_positions, hash_term(passage_id))
        return next((position for position in same_hash if self[position].id == passage_id), None)

    def of_article(self, article: str) -> Iterator[int]:
        """Yield the positions of the passages cut from an article, or of the passage that is the article."""
        for number in _all_of(self._article_ids, self._article_numbers, hash_term(article)):
            if number + 1 >= len(self.article_starts):
                raise corrupt_array(self.path)
            start, stop = self.article_starts[number : number + 2].tolist()
            if article_id(self[start].id) == article:
                yield from range(start, stop)

    def has_words(self, hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Tell which words (by their hashes) this segment saw first, shape (n_words,)."""
        return _among(hashes, self._words.all())

    def analysis(self, word: str) -> bytes | None:
        """Return what ``write_words`` was given for ``word``, None when another segment (or none) saw it first."""
        place = find(self._words, hash_term(word))
        if place is None:
            return None
        start, stop = map(int, self._word_starts.read(place, place + 2))
        return self._word_terms.read(start, stop).tobytes()
