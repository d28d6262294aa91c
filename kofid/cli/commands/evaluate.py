"""kofid evaluate"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Annotated

import typer

import kofid
from kofid.cli import console
from kofid.cli.options.common import (
    Correct,
    Device,
    Encoding,
    Json,
    Limit,
    Questions,
    Seed,
    Verify,
    questions_of,
    writable,
)
from kofid.cli.options.groups import takes_groups
from kofid.cli.options.reading import FAST_WINDOWS, READING, SUITED, Fast
from kofid.cli.options.search import Mode
from kofid.errors import UsageError
from kofid.language import say
from kofid.retrieval.modes import SearchMode

NEEDS_ARGUMENTS = True
HELP = say(
    "답을 채점합니다: KorQuAD의 공식 EM과 글자 F1, 조사와 괄호를 넘어서는 EM(em_robust), 찾은 패시지에 답이 있는 비율(상위 1, 5, 10 ... k개에서도), "
    "긴 답에는 ROUGE-L(글자의 차례까지). 누구, 언제, 어디 같은 질문 유형별로도 보입니다. -i 색인이 없으면 FiD JSON의 패시지(ctxs)를 그대로 읽습니다.",
    "Score answers: KorQuAD's official EM and character F1, EM that looks past particles and brackets (em_robust), the "
    "share of questions whose passages say an answer (among the first 1, 5, 10 ... k, too), and for long answers ROUGE-L "
    "(characters in order). Also by type of question: who, when, where ... Without -i INDEX, the passages (ctxs) of FiD "
    "JSON are read as they are.",
)
EXAMPLE = """kofid evaluate -i kb --reader span resources/demo/questions.jsonl --limit 50 --wrong 5
kofid retrieve -i kb resources/demo/questions.jsonl --limit 50 -o retrieved.json
kofid evaluate retrieved.json --reader span"""


@takes_groups
def run(
    questions: Questions = None,
    index: Annotated[
        Path | None,
        typer.Option(
            "--index",
            "-i",
            metavar="INDEX",
            help=say(
                "패시지를 찾을 색인 (없으면 FiD JSON의 ctxs를 그대로)",
                "Index to find passages in (without it: the ctxs of FiD JSON as they are)",
            ),
        ),
    ] = None,
    reader: Annotated[str, typer.Option(metavar="joint|span|t5|MODEL", help=say("리더", "Reader"))] = "joint",
    k: Annotated[
        int | None,
        typer.Option(
            "-k",
            min=1,
            help=say("읽을 패시지 수 (기본 joint 20, 다른 리더 10)", "Passages to read (joint 20, others 10)"),
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions",
            "-o",
            metavar="FILE",
            callback=writable,
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
            callback=writable,
            help=say(
                "확신이 높은 답부터 답할 때의 정답률 (위험-포괄 곡선)",
                "How many answers are right when only the surest are given (risk-coverage curve)",
            ),
        ),
    ] = None,
    mode: Mode = SearchMode.AUTO,
    correct: Correct = True,
    reading: Annotated[kofid.ReadingOptions, READING] = SUITED,
    fast: Fast = False,
    seed: Seed = 1,
    encoding: Encoding = None,
    limit: Limit = None,
    device: Device = "auto",
    verify: Verify = True,
    json_output: Json = False,
) -> None:
    """Score answers."""

    if risk is not None and risk.suffix != ".csv":
        kofid.check_plot(risk)
    reading = replace(reading, seed=seed, n_windows=FAST_WINDOWS if fast else reading.n_windows)
    if index is None:
        k = k or kofid.passages_to_read(reader)
        opened = kofid.open_reader(reader, device=device, n_context=k, options=reading)
        examples = islice(_examples(questions, encoding), limit)
        result = kofid.evaluate_examples(opened, examples, k=k, progress=console.progress)
    else:
        pipeline = kofid.open(
            index, reader=reader, mode=mode, k=k, correct=correct, device=device, reading=reading, verify=verify
        )
        k = pipeline.k
        result = kofid.evaluate(pipeline, questions_of(questions, encoding, limit), progress=console.progress)
    if risk is not None:
        _write_risk(risk, result)
    if predictions is not None:
        kofid.write_file(predictions, (json.dumps(p.to_json(), ensure_ascii=False) + "\n" for p in result.predictions))
    _report(result, k, wrong, json_output)


def _examples(files: Sequence[str] | None, encoding: str | None) -> Iterator[kofid.Example]:
    if not files:
        raise UsageError(
            say("-i 색인과 질문, 또는 FiD JSON을 주세요", "give -i INDEX and questions, or files of FiD JSON")
        )
    return chain.from_iterable(kofid.read_examples(file, encoding) for file in files)


def _write_risk(path: Path, result: kofid.Evaluation) -> None:

    curve = result.risk_coverage()
    if path.suffix == ".csv":
        rows = (f"{coverage:.5f},{accuracy:.5f},{confidence:.5f}\n" for coverage, accuracy, confidence in curve)
        kofid.write_file(path, ["coverage,accuracy,confidence\n", *rows])
    else:
        kofid.write_risk_plot(path, curve)


def _report(result: kofid.Evaluation, k: int, n_wrong: int, as_json: bool) -> None:
    overall, by_type, recall = result.summary(), result.by_type(), result.recall(k)
    sureness, cost = result.sureness(), result.cost()
    wrong = list(islice((p for p in result.predictions if not p.em_robust), n_wrong))
    if console.wants_json(as_json):
        types = {name: console.rounded(metrics) for name, metrics in by_type.items()}
        listed = {"wrong": [p.to_json() for p in wrong]} if n_wrong else {}
        console.print_json({**console.rounded(overall | recall | sureness | cost), "by_type": types, **listed})
        return
    rows = [[say("모두", "all"), *console.percentages(overall)]]
    rows += [[_type_name(name), *console.percentages(metrics)] for name, metrics in by_type.items()]
    console.print_table("", [say("질문", "question"), *overall], rows)
    console.print_table("", list(recall), [console.percentages(recall)])
    console.print_table("", list(sureness), [console.percentages(sureness)])
    console.print_table(
        "", list(cost), [[f"{value:,.3f}" if name == "seconds" else f"{value:,}" for name, value in cost.items()]]
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


def _wrong_row(prediction: kofid.Prediction) -> list[str]:
    rank = prediction.answer_rank
    place = say("없음", "no") if rank is None else say(f"{rank}위", f"rank {rank}")
    answers = " / ".join(prediction.question.answers)
    return [prediction.question.text, answers, prediction.answer, prediction.title, place]
