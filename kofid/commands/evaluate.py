"""kofid evaluate"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from kofid.commands import console
from kofid.commands.options import Device, Encoding, IndexPath, Json, Limit, Verify
from kofid.commands.questions import Questions, given_questions
from kofid.errors import UsageError
from kofid.language import say

NEEDS_ARGUMENTS = True
HELP = say(
    "답을 채점합니다: KorQuAD의 공식 EM과 글자 F1, 조사와 괄호를 넘어서는 EM(em_robust), 찾은 패시지에 답이 있는 비율.",
    "Score answers: KorQuAD's official EM and character F1, EM that looks past particles and brackets (em_robust), and "
    "the share of questions whose passages say an answer.",
)
EXAMPLE = "kofid evaluate -i kb --reader span resources/demo/questions.jsonl --limit 50"


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
    encoding: Encoding = None,
    limit: Limit = None,
    device: Device = "auto",
    verify: Verify = True,
    json_output: Json = False,
) -> None:
    """Score answers."""
    from kofid.artifacts import write_file
    from kofid.evaluate import predict, summarize
    from kofid.pipeline import Pipeline, open_reader
    from kofid.retrieval.index import Index

    asked = [q for q in given_questions(questions, encoding, limit) if q.answers]
    if not asked:
        raise UsageError(say("답(answers)이 있는 질문이 하나도 없습니다", "no question has answers"))
    opened = Index.open(index, check_hashes=verify)
    if reader != "span":
        console.calm_libraries()
    pipeline = Pipeline(opened, open_reader(reader, device=device, n_context=k), opened.search, k)
    results = list(predict(pipeline, console.progress(asked, say("답하는 중", "answering"), len(asked))))
    if predictions is not None:
        write_file(predictions, (json.dumps(p.to_json(), ensure_ascii=False) + "\n" for p in results))
    console.print_metrics(summarize(results), json_output)
