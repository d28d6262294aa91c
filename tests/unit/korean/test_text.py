"""Unicode, sentences, particles, and when two answers are the same."""

from __future__ import annotations

import unicodedata

import pytest

from kofid.korean.answer_match import has_answer, normalize_robust, robust_match
from kofid.korean.korquad import character_f1, exact_match, normalize_korquad
from kofid.korean.particles import is_particle_after, strip_particle
from kofid.korean.text import clean, sentence_spans


def nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)


# --- clean ---------------------------------------------------------------------------------------------------


def test_clean_composes_hangul():
    assert clean(nfd("이순신은 1592년에")) == "이순신은 1592년에"
    assert clean("한글 abc 李舜臣 😀\n둘째 줄\t끝") == "한글 abc 李舜臣 😀\n둘째 줄\t끝"


@pytest.mark.parametrize(
    "char", ["\x00", "\x0b", "\x7f", "\xad", "\u200b", "\u200d", "\u200f", "\u202e", "\u2060", "\ufeff"]
)
def test_clean_drops_invisible_characters(char: str):
    assert clean(f"이순{char}신") == "이순신"
    assert clean(f"ab{char}c") == "abc"


def test_clean_replaces_lone_surrogates():
    assert clean("가\ud800나\udfff") == "가\ufffd나\ufffd"
    assert clean("가\ud800나").encode("utf-8")


def test_clean_keeps_old_hangul():
    assert clean("나랏〮말〯ᄊᆞ미") == "나랏〮말〯ᄊᆞ미"


def test_clean_is_idempotent():
    for text in ("이순\u200b신", nfd("각도"), "e" + "\u0301" * 50, "\ud800", ""):
        assert clean(clean(text)) == clean(text)


# NFC of n alternating marks costs n² steps; the run must be short before it is normalised.
@pytest.mark.parametrize(
    "marks",
    ["\u0301\u0323", "\u302a\u302b", "\u05b8\u05b0", "\u0651\u064b", "\u093c\u094d"],
    ids=["latin", "hangul tone", "hebrew", "arabic", "devanagari"],
)
def test_clean_shortens_runs_of_combining_marks(marks: str):
    cleaned = clean("가" + marks * 500 + "나")
    assert len(cleaned) <= 2 + 30
    assert cleaned.startswith("가") and cleaned.endswith("나")


def test_clean_shortens_runs_hidden_by_invisible_characters():
    assert len(clean("가" + "\u0301\u200b\u0323" * 500)) <= 31


def test_clean_keeps_short_runs_of_combining_marks():
    assert clean("e\u0301") == "é"
    assert clean("가\u0323\u0307") == "가\u0323\u0307"


# --- sentences -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("그는 갔다. 그녀도 갔다.", ["그는 갔다.", "그녀도 갔다."]),
        ("정말? 그렇다! 끝", ["정말?", "그렇다!", "끝"]),
        ("첫 줄\n\n둘째 줄", ["첫 줄", "둘째 줄"]),
        ("그는 1592. 4. 13. 떠났다. 끝", ["그는 1592. 4. 13. 떠났다.", "끝"]),
        ("A. 스미스가 왔다. 끝", ["A. 스미스가 왔다.", "끝"]),
        ("“왔다.” 그는 말했다.", ["“왔다.”", "그는 말했다."]),
        ("높이는 3.5 km이다. 끝", ["높이는 3.5 km이다.", "끝"]),
        ("", []),
        (" \n ", []),
        ("마침표 없음", ["마침표 없음"]),
    ],
)
def test_sentence_spans(text: str, sentences: list[str]):
    assert [text[a:b] for a, b in sentence_spans(text)] == sentences


def test_sentence_spans_lie_in_order_and_lose_no_letter():
    text = "하나. 둘! “셋?” 넷\n\n다섯. "
    spans = sentence_spans(text)
    assert all(a < b for a, b in spans)
    assert all(b <= c for (_, b), (c, _) in zip(spans, spans[1:], strict=False))
    assert "".join("".join(text[a:b].split()) for a, b in spans) == "".join(text.split())


# --- particles -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stem", "suffix"),
    [
        ("이순신", "은"), ("이순신", "이"), ("이순신", "을"), ("이순신", "과"), ("이순신", "으로"), ("이순신", "이라고"),
        ("세종대", "는"), ("김구", "는"), ("김구", "가"), ("김구", "를"), ("김구", "와"), ("김구", "로"), ("김구", "라고"),
        ("서울", "로"), ("폴로늄", "이라고"), ("1592년", "에"), ("김구", "의"), ("이순신", "의"), ("이순신", "에게서"),
        ("1592", "는"), ("1592", "은"), ("NASA", "가"), ("李舜臣", "은"), ("김구", "였다"), ("이순신", "이었다"),
    ],
)  # fmt: skip
def test_particles_that_may_follow(stem: str, suffix: str):
    assert is_particle_after(stem, suffix)
    assert strip_particle(stem + suffix) == stem


@pytest.mark.parametrize(
    ("stem", "suffix"),
    [
        ("이순신", "는"), ("이순신", "가"), ("이순신", "를"), ("이순신", "와"), ("이순신", "로"), ("이순신", "라고"),
        ("김구", "은"), ("김구", "을"), ("김구", "과"), ("김구", "으로"), ("김구", "이라고"), ("부산", "로"),
        ("소", "나무"), ("이순신", "장군"), ("", "은"), ("이순신", ""),
    ],
)  # fmt: skip
def test_what_may_not_follow(stem: str, suffix: str):
    assert not is_particle_after(stem, suffix)


@pytest.mark.parametrize("word", ["나무", "장군", "은", "", "가", "Seoul"])
def test_strip_particle_leaves_words_without_one(word: str):
    assert strip_particle(word) == word


# --- KorQuAD's official measure ------------------------------------------------------------------------------


def test_korquad_does_not_know_particles():
    assert not exact_match("이순신이", ("이순신",))
    # 3 of the 4 predicted characters are right, all 3 gold ones found: 2·(3/4)·1 / (3/4 + 1) = 1.5 / 1.75 = 6/7
    assert character_f1("이순신이", ("이순신",)) == pytest.approx(6 / 7)


def test_korquad_em_minds_spaces_and_f1_does_not():
    assert not exact_match("1592 년", ("1592년",))
    assert character_f1("1592 년", ("1592년",)) == 1.0


def test_korquad_ignores_its_own_brackets_only():
    for prediction in ("《무정》", "<무정>", "〈무정〉", "'무정'", '"무정"', "‘무정’", "(무정)", "무정."):
        assert exact_match(prediction, ("무정",)), prediction
    assert not exact_match("「흥부놀부」", ("흥부놀부",))
    # 4 of 6 characters right, 4 of 4 found: 2·(4/6)·1 / (4/6 + 1) = 0.8
    assert character_f1("「흥부놀부」", ("흥부놀부",)) == pytest.approx(0.8)
    # 3 of 5, 3 of 3: 2·0.6 / 1.6 = 0.75
    assert character_f1("“이순신”", ("이순신",)) == pytest.approx(0.75)


def test_korquad_compares_raw_strings():
    assert not exact_match(nfd("이순신"), ("이순신",))
    assert character_f1(nfd("이순신"), ("이순신",)) == 0.0


def test_korquad_counts_a_character_as_often_as_it_stands():
    # predicted 가가나, gold 가나나: the bags share one 가 and one 나 = 2 of 3 and 2 of 3: F1 = 2/3
    assert character_f1("가가나", ("가나나",)) == pytest.approx(2 / 3)


def test_korquad_takes_the_best_answer():
    assert character_f1("안동", ("경상북도 안동", "안동")) == 1.0
    assert exact_match("안동", ("경상북도 안동", "안동"))
    assert character_f1("안동", ()) == 0.0 and not exact_match("안동", ())
    assert character_f1("", ("안동",)) == 0.0


def test_korquad_normalisation():
    assert normalize_korquad("  The  《Cat》, sat. ") == "the cat sat"


# --- robust matching -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prediction", "answer"),
    [
        ("이순신이", "이순신"), ("이순신", "이순신이"), ("1592년에", "1592년"), ("1592 년", "1592년"), ("《무정》", "무정"),
        ("「무정」", "무정"), ("“이순신”", "이순신"), ("1,592명", "1592명"), ("나의 소원", "나의소원"),
        ("3·1 운동", "3·1운동"), ("서울로", "서울"), ("폴로늄이라고", "폴로늄"), ("NASA", "nasa"), ("고구려를", "고구려"),
        (nfd("이순신은"), "이순신"), ("H₂O", "H2O"), ("１５９２년", "1592년"), ("김구였다", "김구"), ("이순신.", "이순신"),
        ("3ㆍ1운동", "3·1운동"), ("세종대왕과의", "세종대왕"), ("서울로부터", "서울"),
    ],
)  # fmt: skip
def test_robust_match(prediction: str, answer: str):
    assert robust_match(prediction, (answer,))


@pytest.mark.parametrize(
    ("prediction", "answer"),
    [
        ("소나무", "나무"), ("나무", "소나무"), ("이순신 장군", "이순신"), ("1592", "592"), ("1592년", "1593년"), ("3.5", "35"),
        ("서울시", "서울"), ("", "이순신"), ("이순신", ""), ("", ""), ("《》", "《》"), ("사과나무", "사과"), ("김구은", "김구"),
        ("3만", "3"), ("100만", "100"), ("한국인", "한국"), ("독일인", "독일"), ("3-1", "31"), ("-5", "5"),
    ],
)  # fmt: skip
def test_robust_match_is_not_fooled(prediction: str, answer: str):
    assert not robust_match(prediction, (answer,))


def test_robust_match_takes_any_answer():
    assert robust_match("안동이", ("경상북도 안동", "안동"))
    assert not robust_match("안동", ())


def test_normalize_robust_keeps_what_tells_numbers_apart():
    assert normalize_robust("3.5 km") == "3.5km"
    assert normalize_robust("1,234,567") == "1234567"
    assert normalize_robust("끝. ") == "끝"
    assert normalize_robust("3-1") != normalize_robust("31")  # its docstring: "a point or minus between digits"


# --- has_answer ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("새 원소를 폴로늄이라고 불렀다", "폴로늄"),
        ("전쟁은 1592년에 일어났다", "1592년"),
        ("전쟁은 1592 년에 일어났다", "1592년"),
        ("전쟁은 1592년에 일어났다", "1592"),
        ("소설 《무정》을 썼다", "무정"),
        ("소설 무정을 썼다", "《무정》"),
        ("『무정』이다", "《무정》"),
        ("‘무정’", "무정"),
        ("나무가 있다", "나무"),
        ("군사 1,592명이 왔다", "1592명"),
        ("군사 1592명이 왔다", "1,592명"),
        ("높이는 3.5 km이다", "3.5km"),
        ("이순신(李舜臣)은 장군", "이순신"),
        ("이순신(李舜臣)은 장군", "李舜臣"),
        ("이순신, 권율", "이순신"),
        ("이순신이었던", "이순신"),
        ("서울로 갔다", "서울"),
        ("그것은 조선 시대였다", "조선시대"),
        ("3·1 운동이 일어났다", "3·1운동"),
        ("10월 3일에", "3일"),
        ("(세종)", "세종"),
        ("BTS는 가수다", "bts"),
        ("Windows 10은", "windows 10"),
        ("50%를", "50%"),
        ("C++은", "C++"),
        ("세 명이다", "세 명"),
        ("대한민국의", "대한민국"),
        ("제2차 세계대전", "2차 세계대전"),
        ("이순신", "이순신"),
    ],
)
def test_has_answer(text: str, answer: str):
    assert has_answer(text, (answer,))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("서울로부터 왔다", "서울"),
        ("세종대왕과의 만남", "세종대왕"),
        ("김구에게는 아들이 있었다", "김구"),
        ("1592년까지의 일", "1592년"),
        ("임금으로서 한 일", "임금"),
        ("이순신하고 권율", "이순신"),
        ("군사는 10명뿐이었다", "10명"),
    ],
)
def test_has_answer_with_longer_particles(text: str, answer: str):
    assert has_answer(text, (answer,))


@pytest.mark.parametrize(
    "answer", ["A.D.", "U.S.A.", "3/4", "1:1", "R&B", "1592~1598년", "36.5°C", "3.5", "-5", "AT&T", "3·1운동", "O-157"]
)
def test_an_answer_is_found_where_it_stands_letter_for_letter(answer: str):
    assert has_answer(f"그것은 {answer} 이다", (answer,))
    assert has_answer(answer, (answer,))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("소나무가 있다", "나무"),
        ("사과나무가 있다", "사과"),
        ("서울특별시", "서울"),
        ("고려대학교", "고려"),
        ("15920명", "1592"),
        ("21592명", "1592"),
        ("13일", "3일"),
        ("2019년 10월", "19년"),
        ("Windows 100", "windows 10"),
        ("Vitamin B12", "B1"),
        ("category", "cat"),
        ("이순신", "권율"),
        ("", "이순신"),
        ("이순신", ""),
        ("《》", "《》"),
        ("김구은", "김구"),
    ],
)
def test_has_answer_is_not_fooled(text: str, answer: str):
    assert not has_answer(text, (answer,))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("군사 1,592명", "592"),
        ("군사 1,592명", "1"),
        ("높이 3.5 km", "5"),
        ("높이 3.5 km", "3"),
        ("1.592", "592"),
        ("3-4로 이겼다", "34"),
        ("1, 5번", "15"),
        ("3만 명", "3"),
        ("5억 원", "5"),
    ],
)
def test_a_number_inside_another_number_is_no_answer(text: str, answer: str):
    assert not has_answer(text, (answer,))


def test_a_person_of_a_country_is_not_the_country():
    assert not has_answer("한국인 최초로 우주에 갔다", ("한국",))


def test_has_answer_of_any_form():
    assert has_answer(nfd("이순신은 장군"), ("이순신",))
    assert has_answer("이순신은 장군", (nfd("이순신"),))
    assert has_answer("이순신은 장군", ("권율", "이순신"))
    assert not has_answer("이순신은 장군", ())
    assert has_answer("나무. 소나무", ("나무",))
    assert has_answer("소나무. 나무", ("나무",))


def test_a_predicted_and_a_written_answer_agree():
    """What has_answer finds as a bare string, robust_match accepts too."""
    for text, answer in (("1592년에", "1592년"), ("이순신은", "이순신"), ("《무정》", "무정"), ("1,592", "1592")):
        assert has_answer(text, (answer,)) and robust_match(text, (answer,))
