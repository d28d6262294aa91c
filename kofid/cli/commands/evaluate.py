"""kofid evaluate"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kofid.cli import console
from kofid.cli.options.common import Device, Encoding, IndexPath, Json, Limit, Verify
from kofid.cli.options.reading import Beams, DType, FromPassages, Int8, Temperature, TopP, writing
from kofid.cli.options.search import Mode, chosen_search
from kofid.cli.questions import Questions, given_questions
from kofid.errors import UsageError
from kofid.language import say
from kofid.retrieval.modes import SearchMode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kofid.evaluation.answers import Prediction

NEEDS_ARGUMENTS = True
HELP = say(
    "답을 채점합니다: KorQuAD의 공식 EM과 글자 F1, 조사와 괄호를 넘어서는 EM(em_robust), 찾은 패시지에 답이 있는 비율(상위 1, 5, 10 ... k개에서도), "
    "긴 답에는 ROUGE-L(글자의 차례까지). 누구, 언제, 어디 같은 질문 유형별로도 보입니다.",
    "Score answers: KorQuAD's official EM and character F1, EM that looks past particles and brackets (em_robust), the "
    "share of questions whose passages say an answer (among the first 1, 5, 10 ... k, too), and for long answers ROUGE-L "
    "(characters in order). Also by type of question: who, when, where ...",
)
EXAMPLE = "kofid evaluate -i kb --reader span resources/demo/questions.jsonl --limit 50 --wrong 5"


def run(
    index: IndexPath,
    questions: Questions = None,
    reader: Annotated[str, typer.Option(metavar="span|t5|MODEL", help=say("리더", "Reader"))] = "span",
    k: Annotated[int, typer.Option("-k", min=1, help=say("읽을 패시지 수", "Passages to read"))] = 10,
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions",
            "-o",
            metavar="FILE",
            help=say("질문별 결과를 JSON Lines로", "Each question's result as JSON lines"),
        ),
    ] = None,
    wrong: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help=say("틀린 답(em_robust) 가운데 처음 N개를 보이기", "Show the first N wrong answers (em_robust)"),
        ),
    ] = 0,
    risk: Annotated[
        Path | None,
        typer.Option(
            "--risk",
            metavar="FILE.csv|.png|.svg",
            help=say(
                "확신이 높은 답부터 답할 때의 정답률 (위험-포괄 곡선)",
                "How many answers are right when only the surest are given (risk-coverage curve)",
            ),
        ),
    ] = None,
    mode: Mode = SearchMode.AUTO,
    beams: Beams = 0,
    from_passages: FromPassages = None,
    dtype: DType = "auto",
    int8: Int8 = "none",
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    encoding: Encoding = None,
    limit: Limit = None,
    device: Device = "auto",
    verify: Verify = True,
    json_output: Json = False,
) -> None:
    """Score answers."""
    from kofid.evaluation.answers import cost, predict
    from kofid.pipeline import Pipeline
    from kofid.reader.open import open_reader
    from kofid.retrieval.fusion import Fusion
    from kofid.retrieval.index import Index
    from kofid.storage.files import write_file

    if risk is not None and risk.suffix != ".csv":
        from kofid.evaluation.report import check_plot

        check_plot(risk)
    how = writing(dtype, int8, beams, temperature, top_p, from_passages)
    asked = [q for q in given_questions(questions, encoding, limit) if q.answers]
    if not asked:
        raise UsageError(say("답(answers)이 있는 질문이 하나도 없습니다", "no question has answers"))
    opened = Index.open(index, check_hashes=verify)
    if reader != "span":
        console.calm_libraries()
    chosen = open_reader(reader, device=device, n_context=k, options=how)
    pipeline = Pipeline(opened, chosen, chosen_search(opened, mode, Fusion(), 200, device), k)
    results = list(predict(pipeline, console.progress(asked, say("답하는 중", "answering"), len(asked))))
    if risk is not None:
        _write_risk(risk, results)
    if predictions is not None:
        write_file(predictions, (json.dumps(p.to_json(), ensure_ascii=False) + "\n" for p in results))
    _report(results, cost(results, chosen), k, wrong, json_output)


def _write_risk(path: Path, results: Sequence[Prediction]) -> None:
    from kofid.evaluation.answers import risk_coverage
    from kofid.evaluation.report import write_risk_plot
    from kofid.storage.files import write_file

    curve = risk_coverage(results)
    if path.suffix == ".csv":
        rows = (f"{coverage:.5f},{accuracy:.5f},{confidence:.5f}\n" for coverage, accuracy, confidence in curve)
        write_file(path, ["coverage,accuracy,confidence\n", *rows])
    else:
        write_risk_plot(path, curve)


def _report(results: Sequence[Prediction], costs: dict[str, float], k: int, n_wrong: int, as_json: bool) -> None:
    from itertools import islice

    from kofid.evaluation.answers import recall_at, summarize, summarize_by_type, sureness

    overall, by_type, recall = summarize(results), summarize_by_type(results), recall_at(results, k)
    sure = sureness(results)
    wrong = list(islice((p for p in results if not p.correct), n_wrong))
    if console.wants_json(as_json):
        types = {name: console.rounded(metrics) for name, metrics in by_type.items()}
        listed = {"wrong": [p.to_json() for p in wrong]} if n_wrong else {}
        console.print_json({**console.rounded(overall | recall | sure | costs), "by_type": types, **listed})
        return
    rows = [[say("모두", "all"), *console.percentages(overall)]]
    rows += [[_type_name(name), *console.percentages(metrics)] for name, metrics in by_type.items()]
    console.print_table("", [say("질문", "question"), *overall], rows)
    console.print_table("", list(recall), [console.percentages(recall)])
    console.print_table("", list(sure), [console.percentages(sure)])
    console.print_table(
        "", list(costs), [[f"{value:,.3f}" if name == "seconds" else f"{value:,}" for name, value in costs.items()]]
    )
    if wrong:
        console.print_table(say("틀린 답", "wrong answers"), _wrong_columns(), map(_wrong_row, wrong))


def _type_name(name: str) -> str:
    korean = {
        "who": "누가·누구",
        "when": "언제",
        "where": "어디",
        "how-many": "몇·얼마",
        "why": "왜",
        "how": "어떻게",
        "which": "어느·어떤",
        "what": "무엇",
        "other": "그 밖",
    }
    return say(korean[name], name)


def _wrong_columns() -> list[str]:
    korean = ("질문", "답", "예측", "패시지", "패시지에 답")
    return [say(k, e) for k, e in zip(korean, ("question", "answers", "prediction", "passage", "found"), strict=True)]


def _wrong_row(prediction: Prediction) -> list[str]:
    found = (
        say("없음", "no")
        if prediction.answer_rank is None
        else say(f"{prediction.answer_rank}위", f"rank {prediction.answer_rank}")
    )
    answers = " / ".join(prediction.question.answers)
    return [prediction.question.text, answers, prediction.answer, prediction.title, found]
