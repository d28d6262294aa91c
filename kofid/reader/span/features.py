"""What the trees see of a candidate span before any question is asked."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from kofid.reader.span.lexicon import Lexicon
from kofid.reader.span.name_types import GROUPS, NameTypes
from kofid.reader.span.passage import NOMINAL, PARTICLES, PREDICATES, TAG, AnalyzedPassage

_FOLLOWING = (
    "은 는", "이 가", "을 를", "의", "에", "에서 서", "으로 로", "와 과 하고 이랑 랑", "도", "까지", "부터", "에게 한테 께",
    "이라고 라고 이라는 라는 란 이란",
)  # fmt: skip
FOLLOWING = {form: code for code, forms in enumerate(_FOLLOWING, start=1) for form in forms.split()}
_OTHER_PARTICLE = len(_FOLLOWING) + 1
_UNITS = (
    "년 년도 연도",
    "월 일 시 분 초 세기 년대 개월 주 주년 시간 요일 주일 연대",
    "명 인 사람 여명",
    "개 권 편 곡 척 마리 가지 종 채 장 건 점 곳 개국 국 자루 그루 기 량 석",
    "번 회 차 호 위 번째 등 조 항 세 살 대 층 단계 골",
    "km m kg cm mm ㎞ ㎡ ㎢ 미터 킬로미터 킬로그램 그램 톤 리터 평 도 ℃ km² m² ㎏ t g ha 센티미터 제곱 평방 헥타르 광년 km2",
    "원 달러 엔 유로 파운드 위안 냥 프랑 마르크 전",
    "% 퍼센트 프로 배 ％",
)
UNITS = {unit: code for code, units in enumerate(_UNITS, start=1) for unit in units.split()}
_DATE = re.compile(r"(?P<y>(?:기원전\s*|서기\s*)?\d{1,4}\s*년)?\s*(?P<m>\d{1,2}\s*월)?\s*(?P<d>\d{1,2}\s*일)?$")
# What follows the first date of a range, an era's name or a place between, and what stands before the second.
_RANGE_GOES_ON = re.compile(
    r"\s*(?:\([^()]{0,20}\))?\s*(?:[~∼〜–—-]\s*[\d(기서현?]|부터)|[^()\d~∼〜.\n]{1,24}[~∼〜]\s*\d"
)
_RANGE_ENDS = re.compile(r"\s*(?:\([^()]{0,20}\))?\s*까지")
_IN_RANGE = re.compile(r"(?:\d|[년월일)])\s*[~∼〜–—-]\s*$|[~∼〜†]\s*$")
_MARKS = frozenset(TAG[t] for t in ["SP", "SO", "SW", "SSO", "SSC"])

_LONE_NAMES = (
    "n_morphemes", "n_chars", "n_words", "first_tag", "last_tag", "before_tag", "after_tag", "following", "has_digit",
    "date_form", "unit_kind", "starts_word", "noun_before", "noun_after", "open_before", "quoted", "bracket_after",
    "n_particles", "n_predicates", "n_nouns", "n_marks", "has_hanja", "genitive_inside", "adnominal_inside",
    "in_title", "sentence_index", "sentence_left", "sentence_length", "idf_first", "idf_last", "idf_max", "idf_sum",
    "list_near", "in_bracket", "n_names", "range_side",
)  # fmt: skip
STATIC_NAMES = (*_LONE_NAMES, *(f"group_{name}" for name in GROUPS))


@dataclass(frozen=True, slots=True)
class PreparedPassage:
    """An analysed passage, ready for any question: static features (C, F) and name vectors (C, D) of its C spans.

    The columns of ``static`` are STATIC_NAMES; D is the dimension of the name vectors. Both are float32.
    """

    view: AnalyzedPassage
    static: np.ndarray
    name_vectors: np.ndarray


def prepare_passage(view: AnalyzedPassage, lexicon: Lexicon, name_types: NameTypes) -> PreparedPassage:
    """Return ``view`` with everything of it that does not depend on the question, float32."""
    name_vectors = name_types.name_vectors(view.passage.text, view.start, view.end, view.surfaces)
    columns = _of_ends(view) | _of_inside(view) | _of_place(view) | _of_rarity(view, lexicon)
    lone = np.stack([np.asarray(columns[name], dtype=np.float32) for name in _LONE_NAMES], axis=1)
    return PreparedPassage(view, np.concatenate([lone, name_types.group_shares(name_vectors)], axis=1), name_vectors)


def date_form(surface: str) -> int:
    """Return 0 for no date, else 1 year, 2 month, 3 year-month, 4 day, 6 month-day, 7 year-month-day.

    >>> date_form("1989년 2월 15일"), date_form("1989년"), date_form("89세")
    (7, 1, 0)
    """
    match = _DATE.match(surface)
    return bool(match["y"]) + 2 * bool(match["m"]) + 4 * bool(match["d"]) if match else 0


def range_side(text: str, start: int, end: int) -> int:
    """Return 1 for the first date of a range, 2 for the second, 0 for neither.

    >>> text = "이순신(1545년 ~ 1598년)은"
    >>> range_side(text, 4, 9), range_side(text, 12, 17), range_side(text, 0, 3)
    (1, 2, 0)
    """
    if _IN_RANGE.search(text, max(start - 6, 0), start) or _RANGE_ENDS.match(text, end):
        return 2
    return 1 if _RANGE_GOES_ON.match(text, end) else 0


def _of_ends(view: AnalyzedPassage) -> dict[str, np.ndarray]:
    """Look at the ends of each span and at what stands next to them."""
    text, tags, first, last = view.passage.text, view.tags, view.first, view.last
    padded = np.concatenate([[0], tags, [0]])
    before, after = padded[first], padded[last + 2]
    bounds = view.sentence_bounds[view.sentence]
    particles = [
        FOLLOWING.get(form, _OTHER_PARTICLE) if tag in PARTICLES else 0
        for form, tag in zip(view.forms, tags.tolist(), strict=True)
    ]
    units = np.array([UNITS.get(form.lower(), 0) for form in view.forms], dtype=np.int16)
    return {
        "first_tag": tags[first],
        "last_tag": tags[last],
        "before_tag": before,
        "after_tag": after,
        "following": np.array([*particles, 0])[last + 1],
        "unit_kind": units[last],
        "starts_word": np.array([a == 0 or text[a - 1].isspace() for a in view.start.tolist()]),
        "noun_before": np.isin(before, list(NOMINAL)) & (first > bounds[:, 0]),
        "noun_after": np.isin(after, list(NOMINAL)) & (last + 1 < bounds[:, 1]),
        "open_before": before == TAG["SSO"],
        "quoted": (before == TAG["SSO"]) & (after == TAG["SSC"]),
        "bracket_after": np.array([text[b : b + 1] in ("(", "[") for b in view.end.tolist()]),
    }


def _of_inside(view: AnalyzedPassage) -> dict[str, np.ndarray]:
    """Count what is inside each span."""
    text, first, last = view.passage.text, view.first, view.last
    places = list(zip(view.start.tolist(), view.end.tolist(), strict=True))
    spans = [text[a:b] for a, b in places]

    def count(codes: frozenset[int] | set[int]) -> np.ndarray:
        total = np.concatenate([[0], np.cumsum(np.isin(view.tags, list(codes)))])
        return np.asarray(total[last + 1] - total[first])

    return {
        "n_morphemes": last - first + 1,
        "n_chars": view.end - view.start,
        "n_words": np.array([span.count(" ") + 1 for span in spans]),
        "has_digit": count({TAG["SN"], TAG["NR"]}) > 0,
        "date_form": np.array([date_form(span) if span[0] in "0123456789기서" else 0 for span in spans]),
        "range_side": np.array(
            [range_side(text, a, b) if text[a] in "0123456789기서" else 0 for a, b in places], dtype=np.int8
        ),
        "n_particles": count(PARTICLES),
        "n_predicates": count(PREDICATES),
        "n_nouns": count({TAG["NNG"], TAG["XR"]}),
        "n_names": count({TAG["NNP"]}),
        "n_marks": count(_MARKS),
        "has_hanja": count({TAG["SH"]}),
        "genitive_inside": count({TAG["JKG"]}),
        "adnominal_inside": count({TAG["ETM"]}),
    }


def _of_place(view: AnalyzedPassage) -> dict[str, np.ndarray]:
    """Look at where in sentence and passage each span stands."""
    first, last = view.first, view.last
    bounds = view.sentence_bounds[view.sentence]
    title = view.passage.title.partition(" (")[0].replace(" ", "")
    commas = np.concatenate([[0], np.cumsum([form in (",", "·", "、") for form in view.forms])])
    open_brackets = np.cumsum([(form in ("(", "[")) - (form in (")", "]")) for form in view.forms])
    return {
        "in_title": np.array([surface in title for surface in view.surfaces]),
        "sentence_index": view.sentence,
        "sentence_left": first - bounds[:, 0],
        "sentence_length": bounds[:, 1] - bounds[:, 0],
        "list_near": commas[np.minimum(last + 3, len(view.tags))] - commas[np.maximum(first - 2, 0)],
        "in_bracket": open_brackets[first] > 0 if len(first) else first,
    }


def _of_rarity(view: AnalyzedPassage, lexicon: Lexicon) -> dict[str, np.ndarray]:
    """Measure how rare the words of each span are."""
    first, last = view.first, view.last
    idf = np.array([lexicon.idf(key) if key else 0.0 for key in view.keys])
    total = np.concatenate([[0.0], np.cumsum(idf)])
    largest = idf[first] if len(first) else first
    for step in range(1, int((last - first).max(initial=0)) + 1):
        largest = np.maximum(largest, idf[np.minimum(first + step, last)])
    return {
        "idf_first": idf[first] if len(first) else first,
        "idf_last": idf[last] if len(last) else last,
        "idf_max": largest,
        "idf_sum": total[last + 1] - total[first],
    }
