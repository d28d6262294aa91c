"""The light span reader: candidates, features, training, reading."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kofid.errors import IncompatibleArtifactError, InputError
from kofid.formats import read_questions
from kofid.korean.answer_match import robust_match
from kofid.korean.kiwi import analyze, analyze_many
from kofid.korean.questions import TYPE_CODES
from kofid.reader.open import open_reader
from kofid.reader.span.candidates import NAMES
from kofid.reader.span.lexicon import Lexicon, count_lexicon
from kofid.reader.span.name_types import BUCKETS, NameTypes, name_pieces
from kofid.reader.span.passage import analyze_passage
from kofid.reader.span.question import analyze_question
from kofid.reader.span.reader import (
    MAX_ANSWERS,
    PassageCache,
    SpanReader,
    Words,
    distinct_answers,
    find_candidates,
)
from kofid.retrieval.index import Index
from kofid.storage.artifacts import open_artifact
from kofid.storage.bundled import resource
from kofid.training.span import fit_span
from kofid.types import Example, Hit, Passage, Question

# name, year, place, what they made: each makes a passage and four questions.
_LIVES = [
    ("김정호", "1804년", "황해도", "대동여지도"), ("장영실", "1390년", "부산", "자격루"), ("허준", "1539년", "양천", "동의보감"),
    ("정약용", "1762년", "남양주", "목민심서"), ("윤동주", "1917년", "용정", "서시"), ("이중섭", "1916년", "평원", "흰 소"),
    ("김소월", "1902년", "구성", "진달래꽃"), ("나혜석", "1896년", "수원", "자화상"), ("홍대용", "1731년", "천안", "의산문답"),
    ("박지원", "1737년", "한양", "열하일기"), ("김홍도", "1745년", "안산", "씨름도"), ("안견", "1418년", "서산", "몽유도원도"),
    ("신채호", "1880년", "대전", "조선상고사"), ("이육사", "1904년", "안동", "광야"), ("박경리", "1926년", "통영", "토지"),
]  # fmt: skip


def _passage(number: int, name: str, year: str, place: str, work: str) -> Passage:
    text = f"{name}은(는) 한국의 인물이다. {year}에 {place}에서 태어났다. 그가 남긴 대표작은 {work}이며 지금도 널리 알려져 있다."
    return Passage(f"p{number}", name, text)


PASSAGES = [_passage(number, *life) for number, life in enumerate(_LIVES)]


def _examples() -> list[Example]:
    examples = []
    for number, (name, year, place, work) in enumerate(_LIVES):
        others = [PASSAGES[(number + step) % len(PASSAGES)] for step in (1, 2)]
        hits = tuple(Hit(p, 3.0 - rank) for rank, p in enumerate([PASSAGES[number], *others]))
        for asked, answer in (
            (f"{name}은 언제 태어났나요?", year),
            (f"{name}이 태어난 곳은 어디인가?", place),
            (f"{name}의 대표작은 무엇인가?", work),
        ):
            examples.append(Example(Question(asked, answers=(answer,), positive_ids=(f"p{number}",)), hits))
    return examples


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    directory = tmp_path_factory.mktemp("span")
    return directory, fit_span(_examples(), directory, seed=3)


@pytest.fixture(scope="module")
def reader(model: tuple[Path, dict[str, float]]) -> SpanReader:
    return SpanReader.load(model[0])


def _spans(text: str) -> set[str]:
    view = analyze_passage(Passage("p", "", text), analyze(text))
    return {text[a:b] for a, b in zip(view.start.tolist(), view.end.tolist(), strict=True)}


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("1989년 2월 15일 여의도에서 시위가 있었다.", "1989년 2월 15일"),
        ("높이는 1,947미터이다.", "1,947미터"),
        ("인구는 약 5천만 명이다.", "약 5천만 명"),
        ("이광수는 《무정》을 썼다.", "무정"),
        ("《바람과 함께 사라지다》를 읽었다.", "바람과 함께 사라지다"),
        ("헌법 제89조에 따른다.", "제89조"),
        ("이순신(李舜臣)은 장군이다.", "이순신"),
        ("지휘자는 서울시립교향악단의 정명훈이었다.", "정명훈"),
        ("거리는 215km이다.", "215km"),
    ],
)
def test_candidates_hold_the_whole_answer(text: str, answer: str) -> None:
    assert answer in _spans(text)


def test_candidates_leave_particles_and_open_brackets_out() -> None:
    spans = _spans("이순신은 《난중일기》를 한산도(閑山島)에서 썼다.")
    assert {"이순신", "난중일기", "한산도", "한산도(閑山島)"} <= spans
    assert not {"이순신은", "《난중일기", "한산도(", "한산도에서", "《난중일기》"} & spans


def test_candidates_stay_in_their_sentence() -> None:
    text = "서울은 수도이다. 부산은 항구이다."
    assert not any("." in span for span in _spans(text))


@pytest.mark.parametrize(
    ("text", "ask", "head", "unit"),
    [
        ("임진왜란을 이끌었던 일본의 장수는 누구인가?", "who", "장수", ""),
        ("윤동주는 몇 년도에 사망했는가?", "when", "년도", "년도"),
        ("전쟁에서 승리한 국가는 어디인가?", "where", "국가", ""),
        ("사과를 몇 개 먹었나?", "how-many", "개", "개"),
        ("어떤 건물에 살았는가?", "which", "건물", ""),
        ("누가 《무정》을 썼나?", "who", "", ""),
    ],
)
def test_question_says_what_it_asks_for(text: str, ask: str, head: str, unit: str) -> None:
    question = analyze_question(text, analyze(text))
    assert (question.ask, question.head, question.unit) == (TYPE_CODES[ask], head, unit)


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("태어난 해는?", 1),
        ("언제 죽었나?", 2),
        ("전쟁은 언제 끝났나?", 2),
        ("언제 태어나 언제 죽었나?", 0),
        ("누구인가?", 0),
    ],
)
def test_question_says_which_end_it_asks_for(text: str, side: int) -> None:
    assert analyze_question(text, analyze(text)).side == side


def _column(question: str, text: str, name: str) -> dict[str, float]:
    """Return a feature of the candidates of one passage, by their texts."""
    hits = [Hit(Passage("p", "", text), 1.0)]
    words = Words(Lexicon(10, {}), NameTypes.load(Path("none")))
    found = find_candidates(question, hits, PassageCache(words), words)
    assert found is not None
    return dict(zip([a.text for a in found[1]], found[0].features[:, NAMES.index(name)].tolist(), strict=True))


def test_of_two_dates_the_one_asked_for_fits() -> None:
    life = "바그너(1813년 5월 22일 독일 라이프치히 ~ 1883년 2월 13일)는 작곡가이다."
    first, second = "1813년 5월 22일", "1883년 2월 13일"
    for question, right, wrong in (
        ("바그너는 언제 태어났나?", first, second),
        ("바그너는 언제 죽었나?", second, first),
    ):
        fits = _column(question, life, "side_fits")
        assert (fits[right], fits[wrong], fits["작곡가"]) == (1, -1, 0)
    assert set(_column("바그너는 누구인가?", life, "side_fits").values()) == {0}
    told = "그는 1813년에 태어났고 가난하게 살다가 먼 곳에서 1883년에 죽었다."
    near = _column("그는 언제 사망했나?", told, "side_distance")  # 사망 is not said, 죽다 is
    assert near["1883년"] < 0 < near["1813년"]


def test_types_that_were_asked_for_fit() -> None:
    text = "그 대회는 1999년 8월 3일 부산에서 열려 선수 300명이 왔다."
    asked = {
        "대회가 열린 해는 언제인가?": (0.5, -1, -1),
        "대회가 열린 날짜는?": (1, -1, -1),
        "선수는 몇 명이 왔나?": (-1, 1, -1),
        "대회가 열린 도시는 어디인가?": (-1, -1, 0),
        "그 대회의 특징은?": (0, 0, 0),
    }
    for question, expected in asked.items():
        fits = _column(question, text, "type_fits")
        assert tuple(fits[a] for a in ("1999년 8월 3일", "300명", "부산")) == expected, question


def test_a_date_beside_the_question_word_is_no_head() -> None:
    question = analyze_question("비용은 2006년에는 얼마였는가?", analyze("비용은 2006년에는 얼마였는가?"))
    assert (question.head, question.kind) == ("비용", 4)


def test_lexicon_rarity() -> None:
    # Of 4 documents 4 hold 가, 2 hold 나, 1 holds 다 (kept from 2 on): log(4/4), log(4/2), log(4/1), over log 4.
    lexicon = count_lexicon([["가", "나"], ["가", "나", "나"], ["가", "다"], ["가", ""]])
    assert lexicon.frequency == {"가": 4, "나": 2}
    assert [lexicon.idf(word) for word in "가나다"] == [0.0, 0.5, 1.0]


def test_lexicon_and_kinds_survive_saving(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    vectors = generator.integers(-127, 128, (2 * BUCKETS, 4)).astype(np.float32)
    vectors[0, 0] = 127.0
    names = np.array([3, 9])
    name_types = NameTypes(
        vectors, np.array([[127.0, 1, 2, 3], [-4, 5, 6, 7]], np.float32), ("도시", "나라"), names, np.array([1, 0])
    )
    name_types.save(tmp_path)
    Lexicon(10, {"가": 5, "나": 2}).save(tmp_path)
    words = Words.load(tmp_path)
    assert words.lexicon == Lexicon(10, {"가": 5, "나": 2})
    np.testing.assert_allclose(words.name_types.buckets, vectors, atol=1e-4)
    assert words.name_types.nouns == ("도시", "나라")
    assert words.name_types.kind_vector("항구도시") is not None
    assert words.name_types.kind_vector("사람") is None


def test_name_vectors_do_not_depend_on_what_stands_around() -> None:
    generator = np.random.default_rng(0)
    name_types = NameTypes(
        generator.normal(size=(2 * BUCKETS, 3)).astype(np.float32),
        np.zeros((0, 3), np.float32),
        (),
        *np.zeros((2, 0), np.int64),
    )
    alone = name_types.name_vectors("한국 은행", np.array([0]), np.array([5]), ["한국은행"])
    inside = name_types.name_vectors("저 한국은행 앞", np.array([2]), np.array([6]), ["한국은행"])
    np.testing.assert_allclose(alone, inside, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["무정", "한국 은행", "A", "\U0001f600 이모지", "각각각"])
def test_name_vectors_are_the_sum_of_their_pieces(name: str) -> None:
    generator = np.random.default_rng(1)
    buckets = generator.normal(size=(2 * BUCKETS, 3)).astype(np.float32)
    name_types = NameTypes(buckets, np.zeros((0, 3), np.float32), (), *np.zeros((2, 0), np.int64))
    slow = sum(weight * buckets[piece] for piece, weight in name_pieces(name))
    fast = name_types.name_vectors(name, np.array([0]), np.array([len(name)]), [name.replace(" ", "")])
    np.testing.assert_allclose(fast[0], slow, rtol=1e-4, atol=1e-4)


def test_words_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="span_words.py"):
        Words.load(tmp_path)


def test_training_without_any_answer_is_refused(tmp_path: Path) -> None:
    unanswered = [Example(Question(e.question.text, answers=("없는 답",)), e.hits) for e in _examples()[:3]]
    with pytest.raises(InputError, match="3"):
        fit_span(unanswered, tmp_path)


def test_training_reports_and_reads(model: tuple[Path, dict[str, float]], reader: SpanReader) -> None:
    assert model[1]["covered"] == 100.0
    assert model[1]["out_of_fold_em"] > 60.0
    right = [robust_match(reader.read(e.question.text, e.hits)[0].text, e.question.answers) for e in _examples()]
    assert np.mean(right) > 0.9


def test_reads_passages_it_has_not_seen(reader: SpanReader) -> None:
    hits = [Hit(_passage(90, "최무선", "1325년", "영천", "화통도감"), 2.0), Hit(PASSAGES[0], 1.0)]
    assert reader.read("최무선은 언제 태어났나요?", hits)[0].text == "1325년"


def test_the_first_trees_lose_no_answer(demo_index: Index) -> None:
    reader = open_reader("span")
    patient = SpanReader.load(open_artifact(resource("models/span"), "reader").directory, n_likely=100_000)
    questions = [q.text for q in read_questions(str(resource("demo/questions.jsonl")))][::40]
    hits = [demo_index.search(question, 10) for question in questions]
    quick = [reader.read(question, found) for question, found in zip(questions, hits, strict=True)]
    assert len(quick) > 20 and all(quick)
    assert quick == [patient.read(question, found) for question, found in zip(questions, hits, strict=True)]


def test_answers_lie_in_their_passages_in_order(reader: SpanReader) -> None:
    hits = [Hit(p, 5.0 - i) for i, p in enumerate(PASSAGES[:4])]
    answers = reader.read("김정호가 태어난 곳은 어디인가?", hits)
    assert 1 < len(answers) <= MAX_ANSWERS
    for answer in answers:
        assert answer.passage is not None and answer.start is not None
        assert answer.passage.text[answer.start : answer.end] == answer.text
        assert 0.0 <= answer.confidence <= 1.0
    confidences = [a.confidence for a in answers]
    assert confidences == sorted(confidences, reverse=True)
    assert len({a.text for a in answers}) == len(answers)


def test_same_seed_same_model(model: tuple[Path, dict[str, float]], tmp_path: Path) -> None:
    figures = fit_span(_examples(), tmp_path, seed=3)
    assert figures == model[1]
    for name in ("model-0.txt", "model-1.txt", "model-2.txt", "span.json", "morpheme_df.tsv"):
        assert (tmp_path / name).read_bytes() == (model[0] / name).read_bytes()


def test_loaded_twice_reads_the_same(model: tuple[Path, dict[str, float]], reader: SpanReader) -> None:
    hits = [Hit(p, 1.0) for p in PASSAGES[:3]]
    assert SpanReader.load(model[0]).read("허준의 대표작은?", hits) == reader.read("허준의 대표작은?", hits)


@pytest.mark.parametrize(
    "passages", [[], [Passage("a", "", "")], [Passage("a", "", "..."), Passage("b", "제목", " \n ")]]
)
def test_nothing_to_read_is_no_answer(reader: SpanReader, passages: list[Passage]) -> None:
    assert reader.read("누구인가?", [Hit(p, 1.0) for p in passages]) == []


@pytest.mark.parametrize("question", ["", "?", "무엇", "who?", "1234", "\U0001f600 뭐예요?"])
def test_odd_questions_are_read(reader: SpanReader, question: str) -> None:
    odd = Passage("odd", "İ 제목", "İstanbul은 튀르키예의 도시이다.\n\n\U0001f600 이모지와 인구 1,500만 명.")
    answers = reader.read(question, [Hit(odd, 0.0), Hit(Passage("e", "", ""), 0.0), Hit(odd, -1.0)])
    assert answers and all(a.passage and a.passage.text[a.start : a.end] == a.text for a in answers)


def test_cache_returns_what_it_was_given(model: tuple[Path, dict[str, float]]) -> None:
    cache = PassageCache(Words.load(model[0]), capacity=2)
    first = cache.prepare(PASSAGES[:3])
    again = cache.prepare([PASSAGES[2], PASSAGES[0], PASSAGES[2]])
    assert [p.view.passage for p in again] == [PASSAGES[2], PASSAGES[0], PASSAGES[2]]
    assert again[0] is first[2]
    np.testing.assert_array_equal(again[1].static, first[0].static)


def test_features_are_finite_and_named(model: tuple[Path, dict[str, float]]) -> None:
    words = Words.load(model[0])
    found = find_candidates("김정호는 누구인가?", [Hit(PASSAGES[0], 1.0)], PassageCache(words), words)
    assert found is not None
    candidates, answers = found
    assert candidates.features.shape == (len(answers), len(NAMES))
    assert np.isfinite(candidates.features).all()


def test_distinct_answers_merge_spellings() -> None:
    # 《무정》 and 무정 are one answer; its best place is the second, so the order is 2 (3.0), 1 (2.0).
    assert distinct_answers(["《무정》", "유정", "무정", "..."], np.array([1.0, 2.0, 3.0, 9.0]), limit=5) == [2, 1]


def test_another_format_is_refused(model: tuple[Path, dict[str, float]], tmp_path: Path) -> None:
    for file in model[0].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    settings = json.loads((tmp_path / "span.json").read_text(encoding="utf-8"))
    (tmp_path / "span.json").write_text(json.dumps({**settings, "format_version": 99}), encoding="utf-8")
    with pytest.raises(IncompatibleArtifactError, match="(format|형식) 99"):
        SpanReader.load(tmp_path)


def test_heavy_packages_stay_out(model: tuple[Path, dict[str, float]]) -> None:
    program = (
        "import sys; from pathlib import Path; import kofid.reader.span.reader as s; assert 'lightgbm' not in sys.modules\n"
        f"s.SpanReader.load(Path({str(model[0])!r}))\n"
        "print([m for m in ('torch', 'transformers', 'datasets', 'faiss', 'kofid.retrieval', 'kofid.training') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_batches_and_single_analyses_agree() -> None:
    texts = [p.text for p in PASSAGES[:3]]
    batch = [analyze_passage(p, m) for p, m in zip(PASSAGES[:3], analyze_many(texts), strict=True)]
    for passage, view in zip(PASSAGES[:3], batch, strict=True):
        assert view.surfaces == analyze_passage(passage, analyze(passage.text)).surfaces
