"""What a question asks for: its terms, its question word, the noun that names the answer's kind, its unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kofid.korean.kiwi import Morpheme
from kofid.korean.questions import TYPE_CODES, type_code
from kofid.reader.span.passage import TAG, tag_code, term_key

# Terms that tell one question from another too little to be looked for: question words, and what goes with them.
_QUESTION_WORDS = frozenset([
    "누구", "누", "무엇", "무어", "뭐", "뭣", "무얼", "어디", "언제", "몇", "얼마", "얼마나", "왜",
    "어떤", "어느", "무슨", "어떻", "어떻게", "며칠", "어때", "어찌", "이름", "명칭", "것", "거",
    "하~", "되~", "있~", "말하~", "무엇~", "어떻~", "어떠~", "이~", "알~", "부르~", "일컫~",
    "뜻하~", "년", "월", "일", "명", "개", "수", "때", "중", "당시", "그", "이",
])  # fmt: skip
_NAMES = frozenset(["이름", "명칭", "성함", "호칭", "성명", "정체", "제목"])
_WH = frozenset(
    ["누구", "누", "무엇", "무어", "뭐", "뭣", "어디", "언제", "몇", "얼마", "얼마나", "며칠", "어떻게", "어떻"]
)
_PICKS = frozenset(["몇", "어떤", "어느", "무슨"])
_NOUNS = frozenset(TAG[t] for t in ["NNG", "NNP", "NNB", "SL", "XSN", "NR", "XR"])
# Words of beginnings and of endings: of two dates beside each other, they tell which is meant.
_BEGIN = (
    "태어나~ 출생 탄생 생일 출생지 시작 일어나~ 발발 발생 건국 건립 건설 설립 창립 창설 창건 창단 창간 개국 개교 개통 개장 개막 즉위 취임 부임 "
    "데뷔 등장 생기~ 세우~ 열리~ 출범 결성 도입 입학 개봉 발매 첫 처음"
)
_END = (
    "죽~ 사망 사망일 서거 별세 타계 작고 입적 선종 전사 처형 숨지~ 끝나~ 끝내~ 끝 종료 종결 종전 종영 마치~ 멸망 망하~ 붕괴 무너지~ 폐지 해체 해산 "
    "퇴위 퇴임 은퇴 폐막 폐교 폐간 마지막"
)
BEGINNINGS, ENDINGS = frozenset(_BEGIN.split()), frozenset(_END.split())
_KINDS = {
    "person": "사람 인물 이 자 저자 작가 감독 왕 대통령 장군 배우 가수 선수 학자 화가 작곡가 아버지 어머니 아들 딸 아내 남편 형 "
    "동생 부인 스승 제자 후계자 교수 의원 총리 장관 황제 여왕 국왕 시인 소설가 건축가 과학자 주인공 대표 회장 의장 총장 사령관 "
    "후보 창시자 설립자 발명가 철학자 지휘자 기자 목사 신부 교황 승려 신하 왕비 왕자 인사 여성 남성 친구 역",
    "date": "년 연도 년도 해 날 날짜 시기 시간 때 월 일 시대 세기 계절 생일 기간 요일 시점 연대 일자 시",
    "place": "곳 장소 지역 도시 나라 국가 위치 지방 마을 수도 고향 출생지 대륙 섬 학교 대학교 대학 국 주 동네 출신지 강 산 바다",
    "number": "수 개수 인구 높이 넓이 면적 길이 무게 거리 나이 명 비율 퍼센트 금액 가격 점수 키 크기 규모 온도 횟수 순위 개 번 "
    "회 살 세 권 위 원 달러 대 조 항 층 차 호 미터 km 킬로미터 kg 도 배 곡 장 편 번째 인원 속도 기온 "
    "갯수 숫자 인원수 액수 총액 비용 벌금 상금 요금 연봉 예산 매출 매출액 값 부피 깊이 지름 반지름 두께 폭 층수 득표율 시청률 확률 비중 "
    "강수량 생산량 해발 고도 수량 분량 학점 점유율",
}
_KIND_CODES = {kind: code for code, kind in enumerate(_KINDS, start=1)}
NUMBER_KIND = _KIND_CODES["number"]
_KIND_OF = {noun: _KIND_CODES[kind] for kind, nouns in _KINDS.items() for noun in nouns.split()}
_KIND_OF_ASK = {
    TYPE_CODES[ask]: _KIND_CODES[kind]
    for ask, kind in (("who", "person"), ("when", "date"), ("where", "place"), ("how-many", "number"))
}


@dataclass(frozen=True, slots=True)
class AnalyzedQuestion:
    """A question's terms (distinct keys in order), and what it asks for.

    ``ask`` is a code of TYPE_CODES, ``kind`` of person, date, place and number in that order (1-4), 0 where none is found;
    ``head`` is the noun that names the kind of answer (인물, 나라)
    and may be empty; ``unit`` the noun counted by 몇; ``verb`` the key of the last predicate; ``particle`` the
    form of the particle on the question word.
    """

    text: str
    terms: list[str]
    ask: int
    kind: int
    head: str
    unit: str
    verb: str
    particle: str

    @property
    def side(self) -> int:
        """Whether it asks for a beginning (1) or an ending (2); 0 where it does not say, or says both."""
        begins, ends = (any(term in words for term in self.terms) for words in (BEGINNINGS, ENDINGS))
        return begins + 2 * ends if begins != ends else 0


def analyze_question(text: str, morphemes: Sequence[Morpheme]) -> AnalyzedQuestion:
    """Return what ``text`` asks for."""
    words = [m for m in morphemes if m.end > m.start]
    keys = [term_key(m) for m in words]
    terms = list(dict.fromkeys(k for k in keys if k and k not in _QUESTION_WORDS))
    ask = type_code(text)
    head, unit = _head(words), _counted(words)
    kind = _KIND_OF.get(unit or head) or _kind_of_last((unit or head)[-1:]) or _KIND_OF_ASK.get(ask, 0)
    return AnalyzedQuestion(
        text=text,
        terms=terms,
        ask=ask,
        kind=kind if ask not in _KIND_OF_ASK or ask == TYPE_CODES["where"] else _KIND_OF_ASK[ask],
        head=head,
        unit=unit,
        verb=_verb(words),
        particle=_particle(words),
    )


def _kind_of_last(syllable: str) -> int:
    """Return the kind that a noun's last syllable tells (총리대신의 신: none); units of number are too ambiguous."""
    kind = _KIND_OF.get(syllable, 0)
    return 0 if kind == _KIND_CODES["number"] else kind


def _head(words: Sequence[Morpheme]) -> str:
    """Return the noun of the kind asked for: 어떤 X, X는?, X는 무엇인가."""
    for i, word in enumerate(words):
        if word.form in _PICKS and i + 1 < len(words):
            return _noun_ending_at(words, _run_end(words, i + 1))
    at = next((i for i in range(len(words) - 1, -1, -1) if words[i].form in _WH), None)
    if at is not None and at + 1 < len(words) and words[at + 1].tag not in ("VCP", "SF", "EF", "XSV"):
        return ""
    end = (len(words) if at is None else at) - 1
    while end >= 0 and (tag_code(words[end].tag) not in _NOUNS or _counts(words, end)):
        # Between the topic and the question word stand particles, marks and dates only, else 누구 is no predicate.
        if at is not None and not words[end].tag.startswith(("J", "S", "NNB")):
            return ""
        end -= 1
    noun = _noun_ending_at(words, end)
    if noun in _NAMES:
        owner = end - 1
        while owner >= 0 and (words[owner].tag == "JKG" or words[owner].form in _NAMES):
            owner -= 1
        return _noun_ending_at(words, owner) or noun
    return noun


def _counts(words: Sequence[Morpheme], i: int) -> bool:
    """Tell whether a noun only says what a number before it counts: 2006년."""
    return words[i].tag == "NNB" and i > 0 and words[i - 1].tag == "SN" and words[i - 1].end == words[i].start


def _run_end(words: Sequence[Morpheme], start: int) -> int:
    end = start
    while end + 1 < len(words) and tag_code(words[end + 1].tag) in _NOUNS and words[end + 1].start == words[end].end:
        end += 1
    return end


def _noun_ending_at(words: Sequence[Morpheme], end: int) -> str:
    """Return the last noun up to ``end``, with what is written on to it before it; empty if there is none."""
    if not 0 <= end < len(words) or tag_code(words[end].tag) not in _NOUNS:
        return ""
    start = end
    if words[end].tag == "XSN" or len(words[end].form) == 1:
        while start > 0 and words[start - 1].end == words[start].start and tag_code(words[start - 1].tag) in _NOUNS:
            start -= 1
    return "".join(w.form for w in words[start : end + 1]).lower()


def _counted(words: Sequence[Morpheme]) -> str:
    for i, word in enumerate(words[:-1]):
        if word.form == "몇":
            return words[i + 1].form.lower()
    return "일" if any(w.form == "며칠" for w in words) else ""


def _verb(words: Sequence[Morpheme]) -> str:
    for i in range(len(words) - 1, -1, -1):
        code = tag_code(words[i].tag)
        key = term_key(words[i])
        if code in (TAG["VV"], TAG["VA"]) and key not in _QUESTION_WORDS:
            return key
        if code in (TAG["XSV"], TAG["XSA"]) and i and term_key(words[i - 1]):
            return term_key(words[i - 1])
    return ""


def _particle(words: Sequence[Morpheme]) -> str:
    """Return the particle on the question word or on the noun it picks; empty if there is none."""
    at = next((i for i, w in enumerate(words) if w.form in _WH or w.form in _PICKS), None)
    if at is None:
        return ""
    for word in words[at + 1 : at + 4]:
        if word.tag.startswith("J") or word.tag == "VCP":
            return word.form if word.tag != "VCP" else "이다"
        if tag_code(word.tag) not in _NOUNS:
            return ""
    return ""
