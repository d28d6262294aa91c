"""What kind of thing a name is: a small bag-of-characters model learnt from "NAME is a KIND" in Korean Wikipedia.

A name's vector is the mean of its character bigrams' plus those of its first and last characters and, for well-known
names, one of its own; its product with a kind's vector says how much likelier than usual the name is of that kind
(the two-tower form of fastText, Joulin et al. 2017, section 2).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from kofid.errors import CorruptArtifactError
from kofid.language import say

FILE = "kinds.npz"
BUCKETS = 1 << 14
# Primes that hash characters into buckets (Teschner et al. 2003); kept models depend on them.
_A, _B, _C = 73_856_093, 19_349_663, 83_492_791
_MAX_CODE = 65_535
GROUPS = {
    "person": "사람 인물 정치인 배우 작가 선수 가수 학자 왕 군인 화가 감독 작곡가 시인",
    "country": "나라 국가",
    "place": "도시 지역 마을 구역 섬 산 강 수도",
    "organisation": "회사 기업 단체 기관 정당 대학 학교 부대 클럽 밴드",
    "work": "영화 소설 책 음반 노래 드라마 게임 작품 신문 프로그램",
    "concept": "용어 제도 방법 이론 학문 언어 종교 개념 법률",
    "being": "식물 동물 물질 음식 화합물 질병 약물 무기",
    "event": "전쟁 사건 대회 전투 축제 운동",
    "building": "건물 건축물 역 경기장 성 사찰 교회",
}
# Question nouns that Wikipedia's definitions seldom use, by kinds that they do.
_SAME_AS = {
    "곳": "도시 지역 건물", "장소": "도시 지역 건물", "누구": "인물 사람", "어디": "도시 지역 국가", "출생지": "도시 지역",
    "고향": "도시 지역", "소재지": "도시 지역", "저자": "작가", "지은이": "작가", "책": "소설 책", "서적": "책", "저서": "책",
    "직업": "직업", "국적": "국가", "종족": "민족", "앨범": "음반", "곡": "노래", "국": "국가", "인사": "인물", "주인공": "인물",
}  # fmt: skip


def name_pieces(name: str) -> list[tuple[int, float]]:
    """Return the bucket and weight of each character piece of a name: bigrams, last character, ending, first one.

    >>> [weight for _, weight in name_pieces("무 정")]
    [1.0, 1.0, 1.0, 0.5]
    """
    codes = [min(ord(char), _MAX_CODE) for char in name.lower() if char != " "]
    bigrams = [((a * _A) ^ (b * _B)) % BUCKETS for a, b in pairwise(codes)]
    ending = [((codes[-2] * _A) ^ (codes[-1] * _C)) % BUCKETS] if len(codes) > 1 else []
    return [
        *((bucket, 1.0 / len(bigrams)) for bucket in bigrams),
        *((bucket, 1.0) for bucket in [(codes[-1] * _C + 7) % BUCKETS, *ending]),
        ((codes[0] * _B + 13) % BUCKETS, 0.5),
    ]


@dataclass(frozen=True, slots=True)
class NameTypes:
    """Vectors of the pieces of names, ``buckets`` (2 * BUCKETS, D), and of K kinds, ``vectors`` (K, D).

    ``nouns`` says what the kinds are called. The upper half of ``buckets`` holds the well-known names' own vectors:
    ``hashes`` (N,) are the sorted CRC-32 of those names, ``rows`` (N,) the row of each in that half.
    """

    buckets: np.ndarray
    vectors: np.ndarray
    nouns: tuple[str, ...]
    hashes: np.ndarray
    rows: np.ndarray
    index: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", {word: i for i, word in enumerate(self.nouns)})

    @classmethod
    def load(cls, directory: Path) -> NameTypes:
        """Read the model of ``directory``; one that knows nothing where there is none."""
        path = directory / FILE
        if not path.exists():
            return cls(
                np.zeros((2 * BUCKETS, 1), np.float32), np.zeros((0, 1), np.float32), (), *np.zeros((2, 0), np.int64)
            )
        try:
            with np.load(path, allow_pickle=False) as arrays:
                name_types = cls(
                    buckets=arrays["buckets"].astype(np.float32) * arrays["bucket_scale"],
                    vectors=arrays["kinds"].astype(np.float32) * arrays["kind_scale"],
                    nouns=tuple(bytes(arrays["words"]).decode("utf-8").split("\n")),
                    hashes=arrays["names"].astype(np.int64),
                    rows=arrays["rows"].astype(np.int64),
                )
            name_types.check()
        except (OSError, ValueError, KeyError, TypeError, EOFError, MemoryError, BadZipFile, zlib.error) as error:
            raise CorruptArtifactError(
                say(
                    f"{path}: 이름의 종류가 아닙니다 ({error}). 리더를 다시 훈련하세요.",
                    f"{path}: holds no kinds of names ({error}); train the reader anew",
                )
            ) from error
        return name_types

    def check(self) -> None:
        """Raise ValueError for arrays whose shapes or numbers do not go together."""
        dimension = self.buckets.shape[-1]
        shapes = (self.buckets.shape, self.vectors.shape, self.hashes.shape, self.rows.shape)
        n_names = len(self.hashes)
        if shapes != ((2 * BUCKETS, dimension), (len(self.nouns), dimension), (n_names,), (n_names,)):
            raise ValueError(f"shapes {shapes}")
        if not (np.isfinite(self.buckets).all() and np.isfinite(self.vectors).all()):
            raise ValueError("not finite")
        if n_names and not (self.rows.min() >= 0 and self.rows.max() < BUCKETS and (np.diff(self.hashes) >= 0).all()):
            raise ValueError("names")

    def save(self, directory: Path) -> None:
        """Write the model into ``directory``, vectors as signed bytes; nothing if it knows no kinds."""
        if not self.nouns:
            return
        bucket_scale = np.float32(max(float(np.abs(self.buckets).max()), 1e-9) / 127)
        kind_scale = np.float32(max(float(np.abs(self.vectors).max()), 1e-9) / 127)
        np.savez_compressed(
            directory / FILE,
            buckets=np.round(self.buckets / bucket_scale).astype(np.int8),
            bucket_scale=bucket_scale,
            kinds=np.round(self.vectors / kind_scale).astype(np.int8),
            kind_scale=kind_scale,
            words=np.frombuffer("\n".join(self.nouns).encode("utf-8"), dtype=np.uint8),
            names=self.hashes.astype(np.uint32),
            rows=self.rows.astype(np.uint16),
        )

    def name_vectors(self, text: str, starts: np.ndarray, ends: np.ndarray, surfaces: Sequence[str]) -> np.ndarray:
        """Return the vectors, (C, D), of the names from ``starts`` to ``ends``, (C,) each, of ``text``.

        ``surfaces`` are the same names without spaces. What ``name_pieces`` lists name by name is summed here for all
        at once: the bigrams by differences of running sums over the text.
        """
        lowered = text.lower() if len(text.lower()) == len(text) else text
        codes = np.minimum(np.frombuffer((lowered + "\0").encode("utf-32-le"), dtype=np.uint32), _MAX_CODE).astype(
            np.int64
        )
        # Spaces are no part of a name: each character is followed by the next that is no space.
        solid = np.nonzero(codes[:-1] != 32)[0]
        position = np.searchsorted(solid, np.arange(len(text) + 1))
        chars = np.append(codes[solid], 0)
        pairs = np.concatenate([[0], ((chars[:-1] * _A) ^ (chars[1:] * _B)) % BUCKETS])
        sums = np.cumsum(self.buckets[pairs], axis=0, dtype=np.float32)
        first, last = position[starts], position[ends] - 1
        n_pairs = np.maximum(last - first, 1)[:, None]
        vectors = (sums[last] - sums[first]) / n_pairs
        previous = chars[np.maximum(last - 1, 0)]
        vectors += (
            self.buckets[(chars[last] * _C + 7) % BUCKETS] + 0.5 * self.buckets[(chars[first] * _B + 13) % BUCKETS]
        )
        vectors += self.buckets[((previous * _A) ^ (chars[last] * _C)) % BUCKETS] * (last > first)[:, None]
        return np.asarray(vectors + self._well_known(surfaces))

    def _well_known(self, surfaces: Sequence[str]) -> np.ndarray:
        """Return the vectors that well-known names have of their own, (C, D); 0 for those that have none."""
        if not len(self.hashes):
            return np.zeros((len(surfaces), self.buckets.shape[1]), np.float32)
        sought = np.array([zlib.crc32(s.lower().encode("utf-8")) for s in surfaces], dtype=np.int64)
        at = np.minimum(np.searchsorted(self.hashes, sought), len(self.hashes) - 1)
        known = self.hashes[at] == sought
        return np.where(known[:, None], self.buckets[BUCKETS + self.rows[at]], 0.0).astype(np.float32)

    def group_shares(self, vectors: np.ndarray) -> np.ndarray:
        """Return how the chance of each name, (C, D), is shared among GROUPS, (C, len(GROUPS)); 0 if some are unknown."""
        members = [[self.index[noun] for noun in nouns.split() if noun in self.index] for nouns in GROUPS.values()]
        if not all(members):
            return np.zeros((len(vectors), len(GROUPS)), np.float32)
        weights = np.stack(
            [np.exp(np.clip(vectors @ self.vectors[m].T, -20, 20)).mean(axis=1) for m in members], axis=1
        )
        return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)

    def kind_vector(self, noun: str) -> np.ndarray | None:
        """Return the vector, (D,), of a noun that names a kind, or of its last part that does; None if none does."""
        for start in range(len(noun)):
            same = [self.index[kind] for kind in _SAME_AS.get(noun[start:], noun[start:]).split() if kind in self.index]
            if same:
                return np.asarray(self.vectors[same].mean(axis=0))
        return None

    def likeness(self, vector: np.ndarray, nouns: Sequence[str]) -> np.ndarray:
        """Return the cosine of a kind's vector, (D,), with each noun's as a kind, (n,); 0 for nouns that name no kind."""
        rows = np.array([self.index.get(noun, -1) for noun in nouns], dtype=np.int64)
        lengths = np.linalg.norm(self.vectors, axis=1) * max(float(np.linalg.norm(vector)), 1e-9)
        cosines = np.append((self.vectors @ vector) / np.maximum(lengths, 1e-9), 0.0)
        return np.asarray(cosines[rows])
