"""kofid rerank"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Literal

import typer

from kofid.commands import console
from kofid.commands.hybrid import DenseWeight, Depth, FusionMethod, RrfK, SparseWeight
from kofid.commands.options import Device, Encoding, IndexPath, Json, K, Limit, OutputFile, PerQuestion, Verify
from kofid.commands.questions import Questions, evaluate_hits, given_questions, report_hits
from kofid.errors import UsageError
from kofid.language import say
from kofid.types import Example

NEEDS_ARGUMENTS = True
HELP = say(
    "BM25와 조밀 벡터를 함께 써서 순위를 다시 매깁니다. sequential은 BM25 상위 --depth개를 벡터로 다시 줄 세우고, cross는 둘이 "
    "찾은 모든 패시지에서 두 점수를 --fusion대로 더합니다. FiD JSON(--from)을 받으면 그 안의 패시지만 다시 줄 세웁니다.",
    "Rank by BM25 and vectors together. sequential reorders BM25's top --depth by vectors; cross adds both scores "
    "of all that either finds, as --fusion says. Given FiD JSON (--from), its own passages are reordered.",
)
EXAMPLE = """kofid index resources/demo/passages.jsonl -o kb --dense encoder
kofid rerank -i kb --mode cross "임진왜란은 언제 일어났나?" -k 5
kofid rerank -i kb --mode sequential --eval resources/demo/questions.jsonl"""


def run(
    index: IndexPath,
    questions: Questions = None,
    k: K = 10,
    mode: Annotated[Literal["sequential", "cross"], typer.Option(help=say("섞는 방법", "How to combine"))] = "cross",
    fusion: FusionMethod = "max",
    dense_weight: DenseWeight = None,
    sparse_weight: SparseWeight = 1.0,
    rrf_k: RrfK = 60,
    depth: Depth = 200,
    from_file: Annotated[
        str | None, typer.Option("--from", metavar="FILE", help=say("다시 줄 세울 FiD JSON", "FiD JSON to reorder"))
    ] = None,
    evaluate: Annotated[
        bool, typer.Option("--eval", help=say("hit@k와 MRR을 잽니다", "Measure hit@k and MRR"))
    ] = False,
    per_question: PerQuestion = None,
    output: OutputFile = None,
    encoding: Encoding = None,
    limit: Limit = None,
    device: Device = "auto",
    verify: Verify = True,
    json_output: Json = False,
) -> None:
    """Rank anew."""
    from kofid.metrics import HIT_CUTOFFS
    from kofid.pipeline import dense_search, reorder_example
    from kofid.retrieval.fuse import Fusion
    from kofid.retrieval.index import Index

    fused = Fusion(fusion, dense_weight, sparse_weight, rrf_k)
    opened = Index.open(index, check_hashes=verify)
    console.calm_libraries()
    wanted = max(HIT_CUTOFFS) if evaluate else k

    def from_questions() -> Iterator[Example]:
        asked = given_questions(questions, encoding, limit)
        search = dense_search(opened, mode, device=device, fusion=fused, depth=depth)
        for question in console.progress(asked, say("찾는 중", "searching"), len(asked)):
            yield Example(question, tuple(search(question.text, wanted)))

    def from_examples(path: str) -> Iterator[Example]:
        from itertools import islice

        from kofid.formats import read_examples

        reorder = reorder_example(opened, mode, device=device, fusion=fused)
        for example in console.progress(
            islice(read_examples(path, encoding), limit), say("줄 세우는 중", "reordering"), None
        ):
            yield replace(example, hits=tuple(reorder(example)[:wanted]))

    if per_question is not None and not evaluate:
        raise UsageError(say("--per-question은 --eval과 함께 씁니다", "--per-question goes with --eval"))
    results = from_examples(from_file) if from_file else from_questions()
    if evaluate:
        evaluate_hits(results, json_output, per_question)
    else:
        report_hits(results, output=output, as_json=json_output)
