"""What the joint reader sees: windows of whole sentences, rows of question and window, and which windows it reads."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest

from kofid.encoder.pieces import Pieces, PieceTokenizer
from kofid.korean.kiwi import analyze
from kofid.korean.text import sentence_spans
from kofid.reader.joint.windows import (
    QUESTION_PIECES,
    TITLE_PIECES,
    WINDOW_PIECES,
    PreparedPassage,
    PreparedQuestion,
    cut_windows,
    make_row,
    prepare_passage,
    prepare_question,
    promising_windows,
)
from kofid.types import Passage


@pytest.fixture(scope="module")
def tokenizer(tiny_encoder: Path) -> PieceTokenizer:
    return PieceTokenizer.load(tiny_encoder / "tokenizer.json")


def sentences_of(*lengths: int) -> tuple[Pieces, str]:
    """Return sentences of so many words, every word a piece."""
    text = " ".join(" ".join(["가"] * (length - 1) + ["끝."]) for length in lengths)
    ends, at = [], -1
    for word in text.split(" "):
        at += 1 + len(word)
        ends.append(at)
    starts = [end - len(word) for end, word in zip(ends, text.split(" "), strict=True)]
    flags = np.ones(len(ends), dtype=bool)
    places = np.array(starts, dtype=np.int32), np.array(ends, dtype=np.int32)
    return Pieces(np.arange(len(ends), dtype=np.int32), *places, flags, flags), text


def prepare(tokenizer: PieceTokenizer, passage: Passage) -> PreparedPassage:
    return prepare_passage(tokenizer, passage, analyze(passage.title), analyze(passage.text))


# --- windows --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lengths", "size", "expected"),
    [
        ([], 10, []),
        ([4, 6], 10, [(0, 10)]),
        # The second sentence is in both: 4 + 4 <= 10.
        ([4, 4, 4], 10, [(0, 8), (4, 12)]),
        # Of the 140 pieces of the first window the last 40 are shared, not the last 60: that is more than 48.
        ([100, 40, 30], 160, [(0, 140), (100, 170)]),
        ([100, 60, 30], 160, [(0, 160), (160, 190)]),
        # The sentence of 2 cannot be shared: 2 + 9 > 10, and a window of it alone would say nothing new.
        ([7, 2, 9], 10, [(0, 9), (9, 18)]),
        ([3, 3, 3, 7, 2], 10, [(0, 9), (6, 16), (9, 18)]),
        # A sentence of 25 is cut into 10, 10 and 5; the last part may stand with the next sentence, and be shared.
        ([25, 3], 10, [(0, 10), (10, 20), (20, 28)]),
        ([4, 25, 4], 10, [(0, 4), (4, 14), (14, 24), (24, 33)]),
    ],
    ids=str,
)
def test_windows_by_hand(lengths: list[int], size: int, expected: list[tuple[int, int]]) -> None:
    pieces, text = sentences_of(*lengths) if lengths else (Pieces(*[np.array([], dtype=np.int32)] * 5), "")
    assert list(cut_windows(pieces, text, size)) == expected


def test_windows_cover_all_and_are_whole_sentences_where_they_fit() -> None:
    rng = Random(3)
    for _ in range(200):
        size = rng.choice([5, 10, 40])
        lengths = [rng.randrange(1, rng.choice([4, 8, 2 * size])) for _ in range(rng.randrange(1, 12))]
        pieces, text = sentences_of(*lengths)
        windows = cut_windows(pieces, text, size)
        assert {p for first, end in windows for p in range(first, end)} == set(range(len(pieces))), lengths
        assert all(0 < end - first <= size for first, end in windows), lengths
        edges = np.cumsum([0, *lengths]).tolist()
        assert edges[-1] == len(pieces) and len(sentence_spans(text)) == len(lengths)
        for (first, end), (following, further) in zip(windows, windows[1:], strict=False):
            assert first < following <= end < further, lengths  # none is a part of another
        if max(lengths) <= size:
            assert all(first in edges and end in edges for first, end in windows), lengths


def test_long_passages_are_cut_and_short_ones_are_not(tokenizer: PieceTokenizer) -> None:
    short = prepare(tokenizer, Passage("1", "", "다리는 파리에 있다."))
    assert short.windows == ((0, len(short.pieces)),)
    assert prepare(tokenizer, Passage("1", "제목", " \n ")).windows == ()
    long = prepare(tokenizer, Passage("1", "", "다리는 파리에 있다. 그때는 봄이었다. " * 40))
    sentence = len(short.pieces)
    assert len(long.windows) > 2 and all(end - first <= WINDOW_PIECES for first, end in long.windows)
    assert long.windows[0][1] > WINDOW_PIECES - 2 * sentence


# --- rows -----------------------------------------------------------------------------------------------------


def test_a_row_by_hand(tokenizer: PieceTokenizer) -> None:
    passage = Passage("1", "이순신", "이순신이 서울에서 태어난 해. 서울은 넓다.")
    question = prepare_question(tokenizer, "서울에 누가 태어났나?", analyze("서울에 누가 태어났나?"))
    prepared = prepare(tokenizer, passage)
    pieces = prepared.pieces
    ids = tokenizer.encode("서울에 누가 태어났나?", analyze("서울에 누가 태어났나?")).ids.tolist()
    title = tokenizer.encode("이순신", analyze("이순신")).ids.tolist()
    row = make_row(tokenizer, question, prepared, (0, len(pieces)))
    # <s> question </s> </s> title </s> text </s>
    assert row.ids.tolist() == [0, *ids, 2, 2, *title, 2, *pieces.ids.tolist(), 2]
    assert row.text == 1 + len(ids) + 2 + len(title) + 1 and row.window == (0, len(pieces))
    assert row.ids.dtype == row.types.dtype == np.int32 and len(row.types) == len(row.ids)
    assert not row.types[: row.text].any() and row.types[-1] == 0
    said = [passage.text[pieces.start[i - row.text] : pieces.end[i - row.text]] for i in np.flatnonzero(row.types)]
    assert "".join(said) == "서울태어난서울"  # the verb in another form, the noun before another particle; no particle


def test_a_row_of_a_later_window(tokenizer: PieceTokenizer) -> None:
    passage = Passage("1", "", "다리는 파리에 있다. 다리는 파리에 있다.")
    question = prepare_question(tokenizer, "다리", analyze("다리"))
    prepared = prepare(tokenizer, passage)
    second = len(prepared.pieces) // 2
    row = make_row(tokenizer, question, prepared, (second, len(prepared.pieces)))
    assert row.ids[row.text : -1].tolist() == prepared.pieces.ids[second:].tolist()
    assert (row.text, row.window) == (1 + len(question.ids) + 3, (second, 2 * second))
    assert np.flatnonzero(row.types).tolist() == [row.text]  # ▁다리
    # A window that holds but a part of a word does not say it.
    torn = make_row(tokenizer, question, prepared, (second + 1, len(prepared.pieces)))
    assert not torn.types.any()


def test_long_questions_and_titles_are_cut(tokenizer: PieceTokenizer) -> None:
    words = "다리 " * 100
    question = prepare_question(tokenizer, words, analyze(words))
    prepared = prepare(tokenizer, Passage("1", words, "다리 " * 200))
    assert (len(question.ids), len(prepared.title)) == (QUESTION_PIECES, TITLE_PIECES)
    longest = max(len(make_row(tokenizer, question, prepared, window).ids) for window in prepared.windows)
    assert longest == 64 + 24 + 160 + 5 and question.keys == {"다리"}


# --- which windows are read -----------------------------------------------------------------------------------


def passage_of(*windows: str) -> PreparedPassage:
    """Return a passage of windows of one piece a letter, every letter but "." a word."""
    letters = "".join(windows)
    numbers = np.arange(len(letters), dtype=np.int32)
    flags = np.ones(len(letters), dtype=bool)
    ends = np.cumsum([0, *map(len, windows)]).tolist()
    words: dict[str, list[tuple[int, int]]] = {}
    for i, letter in enumerate(letters):
        if letter != ".":
            words.setdefault(letter, []).append((i, i + 1))
    pieces = Pieces(numbers, numbers, numbers + 1, flags, flags)
    return PreparedPassage(Passage("1", "", letters), (), pieces, tuple(zip(ends, ends[1:], strict=False)), words)


def question_of(letters: str) -> PreparedQuestion:
    return PreparedQuestion((), frozenset(letters))


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        # a is in one window of six, b in all: they count log(1 + 6 / 2) = 1.386 and log(1 + 6 / 7) = 0.619, in all 2.005.
        # A window with b alone covers 0.309, that with a and b 1; a place costs 0.05:
        # 0: 0.309, 0.309; 1: 0.259; 2: 0.209, 0.9, 0.209
        (1, [(2, (1, 3))]),
        (2, [(0, (0, 1)), (2, (1, 3))]),
        (3, [(0, (0, 1)), (0, (1, 2)), (2, (1, 3))]),
        (4, [(0, (0, 1)), (0, (1, 2)), (1, (0, 1)), (2, (1, 3))]),
        (5, [(0, (0, 1)), (0, (1, 2)), (1, (0, 1)), (2, (0, 1)), (2, (1, 3))]),
        (6, [(0, (0, 1)), (0, (1, 2)), (1, (0, 1)), (2, (0, 1)), (2, (1, 3)), (2, (3, 4))]),
    ],
)
def test_windows_with_the_questions_words_are_read_in_the_passages_order(
    limit: int, expected: list[tuple[int, tuple[int, int]]]
) -> None:
    passages = [passage_of("b", "b"), passage_of("b"), passage_of("b", "ab", "b")]
    assert promising_windows(question_of("ab"), passages, limit) == expected


def test_without_words_the_best_passages_are_read() -> None:
    passages = [passage_of("x", "y"), passage_of("z"), passage_of("a")]
    for question in (question_of(""), question_of("q")):
        assert promising_windows(question, passages, 2) == [(0, (0, 1)), (0, (1, 2))]
    assert promising_windows(question_of("a"), passages, 1) == [(2, (0, 1))]
    assert promising_windows(question_of("a"), [], 3) == [] == promising_windows(question_of("a"), [passage_of()], 3)


def test_a_word_torn_by_a_windows_edge_does_not_count() -> None:
    torn = passage_of(".", ".")
    torn.words["a"] = [(0, 2)]
    assert promising_windows(question_of("a"), [torn, passage_of("a")], 1) == [(1, (0, 1))]
