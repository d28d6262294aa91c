"""Text as pieces: nothing is lost, particles stand apart, and what the vocabulary lacks comes as bytes."""

from __future__ import annotations

import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest
from support.tiny_encoder import SPECIAL
from tokenizers import Tokenizer

from kofid.encoder.pieces import SPACE, Pieces, PieceTokenizer, segments
from kofid.korean.kiwi import analyze, analyze_many

ODD = [
    "", " ", "\n", "다리는 파리에 있다.", "이순신은 1592년에 태어났나?", "李舜臣(이순신)은 將軍이다", "ＡＢ는 ｱｲ가", "5㎞를 ㎏으로", "㍿와 ﷺ와 ㌀",
    "①과 Ⅻ세기 ½", "😀이다 👨‍👩‍👧 🇰🇷", "햏햏은 뷁이다", "탭\t과\n줄\r\n끝", "e\u0301t\u0301 각", "각\u0301", "나랏말ᄊᆞ미 ᄒᆞᆫ글",
    unicodedata.normalize("NFD", "다리는 파리에"), "▁밑줄▁과 ▁", "<s> </s> <pad> <unk>", "가<0x41>나 <0xEA>", "a\u00a0b\u3000c\u2003d", "´¨は",
    "《무정》은 'ㄱ'이다", "http://a.b/c?d=e@f #해시 @이름", "1,592.5%", "ﾊﾟと", "ﬁﬃ", "ǆ", "\ufb2c", "가" * 300, "\u200b폭\u200b", "\ufffd",
]  # fmt: skip


def odd_texts() -> list[str]:
    """Return the odd texts, and random mixtures of their characters."""
    rng = Random(5)
    characters = sorted(set("".join(ODD)))
    return ODD + ["".join(rng.choices(characters, k=rng.randrange(1, 25))) for _ in range(150)]


@pytest.fixture(scope="module")
def vocabulary(tiny_encoder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(tiny_encoder / "tokenizer.json"))


@pytest.fixture(scope="module")
def tokenizer(tiny_encoder: Path) -> PieceTokenizer:
    return PieceTokenizer.load(tiny_encoder / "tokenizer.json")


def encode(tokenizer: PieceTokenizer, text: str) -> Pieces:
    return tokenizer.encode(text, analyze(text))


def surfaces(text: str, pieces: Pieces) -> list[str]:
    return [text[a:b] for a, b in zip(pieces.start, pieces.end, strict=True)]


# --- where text is cut ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("다리는", ["▁다리", "는"]),
        ("이순신이 태어났나", ["▁이순신", "이", "▁태어났나"]),
        ("《무정》을 1917년에 썼다.", ["▁《", "무정", "》", "을", "▁1917", "년", "에", "▁썼다", "."]),
        ("5㎞를", ["▁5", "㎞", "를"]),
        ("", []),
        (" \n", []),
    ],
)
def test_names_stand_apart_and_verbs_are_whole(text: str, expected: list[str]) -> None:
    assert [segment.marked(text) for segment in segments(text, analyze(text))] == expected


def test_without_morphemes_words_are_whole() -> None:
    assert [segment.marked("다리는 파리에") for segment in segments("다리는 파리에", [])] == ["▁다리는", "▁파리에"]


# --- pieces ---------------------------------------------------------------------------------------------------


def test_pieces_by_hand(tokenizer: PieceTokenizer, vocabulary: Tokenizer) -> None:
    # ▁다리 and 만들 are pieces, 햏 is none: the mark of the space by itself, then three bytes, which end with it.
    text = "다리는 햏"
    pieces = encode(tokenizer, text)
    expected = ["▁다리", "는", "▁", "<0xED>", "<0x96>", "<0x8F>"]
    assert [vocabulary.id_to_token(i) for i in pieces.ids.tolist()] == expected
    assert pieces.start.tolist() == [0, 2, 4, 4, 5, 5]
    assert pieces.end.tolist() == [2, 3, 4, 5, 5, 5]
    assert pieces.first.tolist() == [True, True, True, False, False, False]
    assert pieces.last.tolist() == [True, True, False, False, False, True]
    assert [column.dtype for column in (pieces.ids, pieces.start, pieces.end)] == ["int32"] * 3
    assert pieces.first.dtype == pieces.last.dtype == "bool"


def test_nothing_is_lost_or_said_twice(tokenizer: PieceTokenizer) -> None:
    texts = odd_texts()
    for text, morphemes in zip(texts, analyze_many(texts), strict=True):
        pieces = tokenizer.encode(text, morphemes)
        times = [0] * len(text)
        before = 0
        for start, end in zip(pieces.start.tolist(), pieces.end.tolist(), strict=True):
            assert before <= start <= end <= len(text), repr(text)
            before = end
            for place in range(start, end):
                times[place] += 1
        assert times == [int(not character.isspace()) for character in text], repr(text)


def test_first_and_last_are_the_edges_of_segments(tokenizer: PieceTokenizer) -> None:
    texts = odd_texts()
    for text, morphemes in zip(texts, analyze_many(texts), strict=True):
        pieces = tokenizer.encode(text, morphemes)
        cuts = segments(text, morphemes)
        assert pieces.start[pieces.first].tolist() == [segment.start for segment in cuts], repr(text)
        assert pieces.end[pieces.last].tolist() == [segment.end for segment in cuts], repr(text)


def test_ids_say_the_text_and_nothing_is_unknown(tokenizer: PieceTokenizer, vocabulary: Tokenizer) -> None:
    special = {vocabulary.token_to_id(token) for token in SPECIAL}
    texts = odd_texts()
    for text, morphemes in zip(texts, analyze_many(texts), strict=True):
        ids = tokenizer.encode(text, morphemes).ids.tolist()
        assert not special & set(ids), repr(text)
        tokens = [vocabulary.id_to_token(i) for i in ids]
        said = b"".join(bytes.fromhex(t[3:5]) if t.startswith("<0x") else t.encode() for t in tokens).decode()
        words = ("".join(unicodedata.normalize("NFKC", c) for c in word) for word in text.split())
        assert said == "".join(SPACE + word for word in words), repr(text)


def test_an_expanded_character_is_never_split_between_two_places(tokenizer: PieceTokenizer) -> None:
    # ㎞ is km, one piece of the vocabulary; ㎏ is kg, two of them, of which the first takes the character, the other none.
    text = "5㎞를 ㎏은"
    assert [s for s in surfaces(text, encode(tokenizer, text)) if s] == ["5", "㎞", "를", "㎏", "은"]


def test_cut_keeps_all_columns(tokenizer: PieceTokenizer) -> None:
    pieces = encode(tokenizer, "다리는 파리에 있다.")
    part = pieces.cut(1, 3)
    assert len(part) == 2
    for column in ("ids", "start", "end", "first", "last"):
        assert getattr(part, column).tolist() == getattr(pieces, column).tolist()[1:3]


def test_threads_share_a_tokenizer(tiny_encoder: Path) -> None:
    texts = odd_texts()
    morphemes = list(analyze_many(texts))
    alone, shared = (PieceTokenizer.load(tiny_encoder / "tokenizer.json") for _ in range(2))
    expected = [alone.encode(text, m).ids.tolist() for text, m in zip(texts, morphemes, strict=True)]

    def work(_: int) -> list[list[int]]:
        return [shared.encode(text, m).ids.tolist() for text, m in zip(texts, morphemes, strict=True)]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [expected] * 4


def test_special_pieces_are_found_by_name(tokenizer: PieceTokenizer) -> None:
    assert (tokenizer.begin, tokenizer.pad, tokenizer.end) == (0, 1, 2)
