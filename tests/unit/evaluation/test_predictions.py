"""Scores of answers: KorQuAD's scorer by hand, ROUGE-L, types of question, how far down the answers stand."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from kofid.errors import UsageError
from kofid.evaluation.metrics import rouge_l
from kofid.evaluation.predictions import QUESTION_TYPES, Evaluation, Prediction, evaluate, evaluate_examples
from kofid.korean.korquad import character_f1, exact_match, normalize_korquad
from kofid.korean.questions import question_type
from kofid.pipeline import Reply
from kofid.types import Answer, Example, Hit, Passage, Question

# --- KorQuAD 1.0's scorer -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "normal"),
    [
        # Its own marks become spaces, so they part words ...
        ("이순신(李舜臣)", "이순신 李舜臣"),
        ("세종'대왕", "세종 대왕"),
        ('세종"대왕', "세종 대왕"),
        ("《무정》과 〈유정〉", "무정 과 유정"),
        ("<무정>‘유정’", "무정 유정"),
        # ... while other ASCII punctuation goes without a trace ...
        ("1,592.5%", "15925"),
        ("3-1 운동", "31 운동"),
        ("A/B_C", "abc"),
        # ... and all else stays: corner brackets, curved double quotes, middle dots, Korean's own marks.
        ("「무정」", "「무정」"),
        ("『무정』", "『무정』"),
        ("“무정”", "“무정”"),
        ("3·1", "3·1"),
        ("1592～1598년", "1592～1598년"),
        # Case, and any run of white space, the ideographic one as well.
        ("  KBS \t뉴스　9\n", "kbs 뉴스 9"),
        ("()", ""),
    ],
)
def test_korquad_normal_form(answer: str, normal: str):
    assert normalize_korquad(answer) == normal


def test_korquad_em_and_f1_by_hand():
    # 李舜臣 in brackets: "이순신 李舜臣" is not "이순신李舜臣" to EM; to F1, which has no spaces, it is.
    assert not exact_match("이순신(李舜臣)", ("이순신李舜臣",))
    assert character_f1("이순신(李舜臣)", ("이순신李舜臣",)) == 1.0
    # predicted 6 characters, gold 3, shared 3: P 1/2, R 1: 2·(1/2)·1 / (3/2) = 2/3
    assert character_f1("이순신(李舜臣)", ("이순신",)) == pytest.approx(2 / 3)
    # a bag: the order of characters does not matter
    assert character_f1("신순이", ("이순신",)) == 1.0
    # nothing left of either: EM says equal, F1 says 0, as the scorer does
    assert exact_match("()", ("",)) and character_f1("()", ("",)) == 0.0
    # best over answers: 3/4·1 -> 6/7 with 이순신, 1 with 이순신은
    assert character_f1("이순신은", ("이순신", "이순신은")) == 1.0


# --- ROUGE-L --------------------------------------------------------------------------------------------------


def slow_rouge_l(prediction: str, answer: str) -> float:
    """Return the F of the longest common subsequence, by the textbook's table."""
    a, b = (normalize_korquad(text).replace(" ", "") for text in (prediction, answer))
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a, 1):
        for j, y in enumerate(b, 1):
            table[i][j] = table[i - 1][j - 1] + 1 if x == y else max(table[i - 1][j], table[i][j - 1])
    length = table[-1][-1]
    if not length:
        return 0.0
    precision, recall = length / len(a), length / len(b)
    return 2 * precision * recall / (precision + recall)


def test_rouge_l_equals_the_slow_twin():
    rng = random.Random(3)
    for _ in range(400):
        prediction, answer = ("".join(rng.choices("가나다라 .A1", k=rng.randint(0, 90))) for _ in range(2))
        assert rouge_l(prediction, (answer,)) == pytest.approx(slow_rouge_l(prediction, answer))


def test_rouge_l_by_hand():
    # 가나다라 and 가다나라: the longest common subsequence is 가나라 (or 가다라), 3 of 4 and 3 of 4.
    assert rouge_l("가나다라", ("가 다 나 라",)) == 0.75
    # 신순이 for 이순신: one character in order (F1 over the bag: 1). P = R = 1/3.
    assert rouge_l("신순이", ("이순신",)) == pytest.approx(1 / 3)
    # 5 predicted, 3 gold, all 3 in order: P 3/5, R 1: 2·(3/5) / (8/5) = 3/4
    assert rouge_l("이 큰 순한 신", ("《이순신》",)) == 0.75
    assert rouge_l("세종", ("이순신", "세종 대왕", "세종")) == 1.0
    assert rouge_l("", ("세종",)) == rouge_l("세종", ("",)) == rouge_l("세종", ()) == rouge_l("", ("",)) == 0.0


def test_rouge_l_of_long_answers_takes_no_time():
    long = "훈민정음은 백성을 가르치는 바른 소리라는 뜻이다. " * 200
    assert rouge_l(long, (long + "끝",)) > 0.999


# --- types of question ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("거북선은 누가 만들었나?", "who"),
        ("집현전을 폐지한 임금은 누구인가?", "who"),
        ("임진왜란은 언제 일어났나?", "when"),
        ("임진왜란은 몇 년에 일어났나?", "when"),
        ("석굴암은 어디에 있나?", "where"),
        ("고려의 수도는 어느 도시인가?", "where"),
        ("배는 몇 척이었나?", "how-many"),
        ("한강의 길이는 얼마인가?", "how-many"),
        ("그는 왜 떠났나?", "why"),
        ("종이는 어떻게 만드나?", "how"),
        ("거북선은 어떤 배인가?", "which"),
        ("세종이 만든 글자는 무엇인가?", "what"),
        ("세종이 만든 글자의 이름은?", "other"),
        ("누가 언제 만들었나?", "who"),  # the first of the order above
        ("임진왜란은?", "other"),  # 왜 inside a word asks nothing
        ("", "other"),
    ],
)
def test_question_types(question: str, kind: str):
    assert question_type(question) == kind
    assert kind in QUESTION_TYPES


# --- predictions ----------------------------------------------------------------------------------------------


class Echo:
    """A reader whose answer is the first passage; none to a single passage."""

    def read(self, question: str, hits: Sequence[Hit]) -> list[Answer]:
        return [Answer(hits[0].passage.text, 0.9, hits[0].passage, 0, 2)] if len(hits) > 1 else []


@dataclass
class Words:
    """A pipeline whose passages are the question's words; one question it spells anew."""

    reader: Any = field(default_factory=Echo)

    def ask(self, question: str) -> Reply:
        hits = word_hits(question)
        corrected = "고쳤다" if question.startswith("틀린") else None
        return Reply(question, self.reader.read(question, hits), hits, corrected, reading_seconds=0.5)


def word_hits(question: str) -> list[Hit]:
    return [Hit(Passage(f"p{i}", f"제목{i}", word), -i) for i, word in enumerate(question.split())]


def evaluation(*rows: tuple[str, tuple[str, ...]]) -> Evaluation:
    pipeline: Any = Words()
    return evaluate(pipeline, [Question(text, str(i), answers) for i, (text, answers) in enumerate(rows)])


def test_what_a_prediction_holds():
    right, late, silent, wrong_spelling = evaluation(
        ("세종은 누가 낳았나?", ("세종",)),
        ("가 나 다 라마는 왜?", ("라마",)),
        ("언제?", ("옛날",)),
        ("틀린 글", ("글",)),
    ).predictions
    assert right.to_json() == {
        "id": "0",
        "question": "세종은 누가 낳았나?",
        "answers": ["세종"],
        "answer": "세종은",
        "confidence": 0.9,
        "passage_id": "p0",
        "start": 0,
        "end": 2,
        "sure": True,
        "em": False,
        "f1": 0.8,  # 2 of 3, 2 of 2
        "em_robust": True,
        "answer_rank": 1,
        "rouge_l": 0.8,
        "type": "who",
        "ctxs": [{"id": "p0", "score": 0}, {"id": "p1", "score": -1}, {"id": "p2", "score": -2}],
    }
    assert (late.answer_rank, late.em_robust, late.type) == (4, False, "why")
    assert (silent.answer, silent.title, silent.answer_rank, silent.type) == ("", "", None, "when")
    assert wrong_spelling.to_json()["corrected"] == "고쳤다"


def test_summaries_by_hand():
    found = evaluation(
        ("세종은 누가 낳았나?", ("세종",)),  # rank 1, robustly right
        ("누가 가 나 다 라 바다가 좋은가?", ("바다",)),  # rank 6, wrong
        ("한글 언제 만들었나?", ("한글",)),  # rank 1, right
        ("언제?", ("옛날",)),  # never, wrong
    )
    metrics = found.summary()
    assert list(metrics) == ["n", "em", "f1", "em_robust", "answer_recall", "rouge_l"]
    # EM 한글 only; robust also 세종은; F1 (0.8 + 0 + 1 + 0) / 4; answers in 3 of 4
    assert list(metrics.values()) == pytest.approx([4, 0.25, 0.45, 0.5, 0.75, 0.45])
    by_type = found.by_type()
    assert list(by_type) == ["who", "when"]
    assert by_type["who"] == pytest.approx(
        {"n": 2, "em": 0.0, "f1": 0.4, "em_robust": 0.5, "answer_recall": 1.0, "rouge_l": 0.4}
    )
    assert by_type["when"]["n"] == 2 and by_type["when"]["answer_recall"] == 0.5
    assert found.recall(10) == {"answer_recall@1": 0.5, "answer_recall@5": 0.5, "answer_recall@10": 0.75}
    assert found.recall(7) == {"answer_recall@1": 0.5, "answer_recall@5": 0.5, "answer_recall@7": 0.75}
    assert found.recall(1) == {"answer_recall@1": 0.5}
    assert list(found.recall(40))[-2:] == ["answer_recall@30", "answer_recall@40"]
    assert found.cost()["seconds"] == 0.5 and "parameters" not in found.cost()


def test_nothing_asked():
    nothing = Evaluation(())
    assert set(nothing.summary().values()) == {0} and nothing.by_type() == {}
    assert nothing.recall(1) == {"answer_recall@1": 0.0} and nothing.cost()["seconds"] == 0


def test_questions_without_answers_are_passed_over_and_nothing_else_is_refused():
    assert len(evaluation(("언제?", ()), ("언제 그랬나?", ("옛날",))).predictions) == 1
    with pytest.raises(UsageError, match="answers"):
        evaluation(("언제?", ()))
    with pytest.raises(UsageError, match="answers"):
        evaluate_examples(Echo(), [Example(Question("언제?"))])


def test_a_reader_is_scored_on_the_passages_of_the_file_as_they_are():
    rows = [("세종은 누가 낳았나?", ("세종",)), ("가 나 다 라마는 왜?", ("라마",)), ("언제?", ("옛날",))]
    examples = [Example(Question(text, answers=answers), tuple(word_hits(text))) for text, answers in rows]
    # What the pipeline finds and the file brings is the same here, so every figure is.
    assert evaluate_examples(Echo(), examples).summary() == evaluation(*rows).summary()
    reversed_order = [Example(e.question, e.hits[::-1]) for e in examples]
    assert [p.answer for p in evaluate_examples(Echo(), reversed_order).predictions] == ["낳았나?", "왜?", ""]
    # Only the first two are read: 라마는 is the fourth.
    assert [p.answer_rank for p in evaluate_examples(Echo(), examples, k=2).predictions] == [1, None, None]


def test_a_corrected_question_of_a_file_is_read_as_it_was_asked():
    class Heard:
        def read(self, question: str, hits: Sequence[Hit]) -> list[Answer]:
            return [Answer(question, 1.0)]

    example = Example(Question("소속팀은?", answers=("소속팀은?",)), corrected="소속 팀은?")
    (prediction,) = evaluate_examples(Heard(), [example]).predictions
    assert prediction.em and prediction.corrected is None


# --- confidence -----------------------------------------------------------------------------------------------


def answered(*rows: tuple[float, bool]) -> Evaluation:
    """Return answers of these confidences, right or wrong."""
    question = Question("누구?", answers=("세종",))
    return Evaluation(tuple(Prediction(question, Answer("세종은" if right else "태종", sure)) for sure, right in rows))


def test_risk_and_coverage_by_hand():
    found = answered((0.9, True), (0.5, True), (0.8, False), (0.6, True), (0.6, True), (0.1, False))
    # surest first: right, wrong, two alike that are right, right, wrong
    expected = [(1 / 6, 1.0, 0.9), (2 / 6, 1 / 2, 0.8), (4 / 6, 3 / 4, 0.6), (5 / 6, 4 / 5, 0.5), (1.0, 4 / 6, 0.1)]
    assert [tuple(map(pytest.approx, row)) for row in expected] == found.risk_coverage()
    assert found.sureness() == {
        "sure": pytest.approx(5 / 6),
        "sure_right": pytest.approx(4 / 5),
        "coverage@75": pytest.approx(5 / 6),
    }
    assert answered((0.1, False)).sureness() == {"sure": 0.0, "coverage@75": 0.0}
    assert Evaluation(()).risk_coverage() == [] and Evaluation(()).sureness() == {"sure": 0.0, "coverage@75": 0.0}
