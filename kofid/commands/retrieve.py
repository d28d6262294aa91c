"""kofid retrieve"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import typer

from kofid.commands import console
from kofid.commands.options import Device, Encoding, IndexPath, Json, K, Limit, OutputFile, PerQuestion, Verify
from kofid.commands.questions import Questions, evaluate_hits, given_questions, report_hits
from kofid.errors import UsageError
from kofid.language import say
from kofid.types import Example

NEEDS_ARGUMENTS = True
HELP = say(
    "질문에 맞는 패시지를 찾습니다. --eval은 정답 패시지로도 답으로도 hit@k와 MRR을 재고, nDCG와 재현율도 잽니다.",
    "Find passages for questions. --eval measures hit@k and MRR by gold passages and by answers, and nDCG and recall.",
)
EXAMPLE = """kofid retrieve -i kb "임진왜란은 언제 일어났나?" -k 5
kofid retrieve -i kb --eval resources/demo/questions.jsonl
kofid retrieve -i kb resources/demo/questions.jsonl -k 20 -o retrieved.json"""


def run(
    index: IndexPath,
    questions: Questions = None,
    k: K = 10,
    mode: Annotated[
        Literal["sparse", "dense"],
        typer.Option(help=say("찾는 방법 (섞는 것은 kofid rerank)", "How to search (hybrids: kofid rerank)")),
    ] = "sparse",
    engine: Annotated[
        Literal["bm25s", "rank-bm25"],
        typer.Option(help=say("BM25 엔진 (순위는 같습니다)", "BM25 engine (same ranking)")),
    ] = "bm25s",
    evaluate: Annotated[
        bool, typer.Option("--eval", help=say("hit@k와 MRR을 잽니다", "Measure hit@k and MRR"))
    ] = False,
    per_question: PerQuestion = None,
    keep_gold: Annotated[
        bool,
        typer.Option(
            "--keep-gold",
            help=say(
                "정답 패시지를 못 찾았으면 마지막 자리에 넣습니다 (훈련 자료용)",
                "Put a gold passage that was not found in the last place (for training data)",
            ),
        ),
    ] = False,
    output: OutputFile = None,
    encoding: Encoding = None,
    limit: Limit = None,
    device: Device = "auto",
    verify: Verify = True,
    json_output: Json = False,
) -> None:
    """Find passages."""
    from kofid.metrics import HIT_CUTOFFS
    from kofid.pipeline import Search, dense_search
    from kofid.retrieval.index import Index
    from kofid.training.data import with_gold

    asked = given_questions(questions, encoding, limit)
    opened = Index.open(index, engine=engine, check_hashes=verify)
    search: Search = opened.search
    if mode == "dense":
        console.calm_libraries()
        search = dense_search(opened, "dense", device=device)
    depth = max(HIT_CUTOFFS) if evaluate else k

    def results() -> Iterator[Example]:
        for question in console.progress(asked, say("찾는 중", "searching"), len(asked)):
            example = Example(question, tuple(search(question.text, depth)))
            yield with_gold(example, opened, depth) if keep_gold else example

    if evaluate and keep_gold:
        raise UsageError(say("--eval과 --keep-gold는 함께 쓸 수 없습니다", "--eval and --keep-gold do not go together"))
    if per_question is not None and not evaluate:
        raise UsageError(say("--per-question은 --eval과 함께 씁니다", "--per-question goes with --eval"))
    if evaluate:
        evaluate_hits(results(), json_output, per_question)
    else:
        report_hits(results(), output=output, as_json=json_output)
