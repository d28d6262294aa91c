"""kofid rerank"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import kofid
from kofid.cli import console
from kofid.cli.options.common import (
    Device,
    Encoding,
    Evaluate,
    Full,
    Json,
    K,
    Limit,
    OptionalIndex,
    OutputFile,
    PerQuestion,
    Questions,
    Verify,
    questions_of,
)
from kofid.cli.options.groups import takes_groups
from kofid.cli.options.reading import DType
from kofid.cli.options.search import FusionOptions, NProbe
from kofid.errors import UsageError
from kofid.language import say
from kofid.retrieval.modes import SearchMode

if TYPE_CHECKING:
    from kofid import Example, Index

NEEDS_ARGUMENTS = True
HELP = say(
    "순위를 다시 매깁니다. sequential은 BM25 상위 --depth개를 벡터로 다시 줄 세우고, cross는 둘이 찾은 모든 패시지에서 두 점수를 --fusion대로 "
    "더합니다. --cross-encoder는 질문과 패시지를 함께 읽는 모델로, --reader는 리더로(joint는 읽고 본 대로, FiD는 눈길을 준 만큼) 상위 --depth개를 "
    "다시 줄 세웁니다. --from으로 FiD JSON이나 TREC 결과(.trec, 색인과 질문도 함께)를 받으면 그 안의 패시지를 줄 세웁니다.",
    "Rank anew. sequential reorders BM25's top --depth by vectors; cross adds both scores of all that either finds, as "
    "--fusion says. --cross-encoder reorders the top --depth by a model that reads question and passage together, --reader "
    "by a reader (joint: by what it reads, FiD: by how much it attends to them). Given FiD JSON or a TREC run (.trec, with "
    "index and questions) by --from, its own passages are reordered.",
)
EXAMPLE = """kofid index resources/demo/passages.jsonl -o kb --dense encoder
kofid rerank -i kb --mode cross "임진왜란은 언제 일어났나?" -k 5
kofid rerank -i kb --reader joint --depth 20 "임진왜란은 언제 일어났나?" -k 3
kofid rerank -i kb --reader t5 --depth 5 "임진왜란은 언제 일어났나?" -k 3
kofid rerank -i kb --mode sequential --eval resources/demo/questions.jsonl"""
# Passages weighed by scores that are there already, and by a model that reads each.
_DEPTH, _READ_DEPTH = 200, 50


@takes_groups
def run(
    questions: Questions = None,
    index: OptionalIndex = None,
    k: K = 10,
    mode: Annotated[
        SearchMode | None,
        typer.Option(
            help=say(
                "섞는 방법 (기본 cross); --cross-encoder와 --reader에서는 먼저 찾는 방법 (기본 auto)",
                "How to combine (default cross); with --cross-encoder or --reader how to find first (default auto)",
            )
        ),
    ] = None,
    cross_encoder: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help=say("질문과 패시지를 함께 읽는 모델로", "By a model that reads question and passage together"),
        ),
    ] = None,
    reader: Annotated[
        str | None,
        typer.Option(
            metavar="joint|t5|MODEL",
            help=say("리더로: joint, 또는 FiD의 교차 주의", "By a reader: joint, or a FiD's cross-attention"),
        ),
    ] = None,
    dtype: DType = "float32",
    *,
    fusion: FusionOptions,
    depth: Annotated[
        int | None,
        typer.Option(
            min=1, help=say("견주는 패시지 수 (기본 200, 모델이 읽으면 50)", "Passages weighed (200; 50 if read)")
        ),
    ] = None,
    nprobe: NProbe = None,
    from_file: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="FILE", help=say("다시 줄 세울 FiD JSON, TREC 결과", "FiD JSON or TREC run to reorder")
        ),
    ] = None,
    evaluate: Evaluate = False,
    per_question: PerQuestion = None,
    output: OutputFile = None,
    full: Full = False,
    encoding: Encoding = None,
    limit: Limit = None,
    device: Device = "auto",
    verify: Verify = True,
    json_output: Json = False,
) -> None:
    """Rank anew."""
    from kofid.cli import results

    reads = bool(cross_encoder or reader)
    _refuse_together(index, mode, cross_encoder, reader, from_file, evaluate, per_question)
    wanted = max(kofid.HIT_CUTOFFS) if evaluate else k
    depth = depth or (_READ_DEPTH if reads else _DEPTH)
    first = mode or (SearchMode.AUTO if reads else SearchMode.CROSS)
    opened = kofid.Index.open(index, check_hashes=verify) if index is not None else None
    ranked: Iterable[Example]
    if from_file is not None:
        ranked = _from_file(from_file, opened, questions, encoding, limit)
    else:
        options = kofid.PipelineOptions(
            reader=None, mode=first, correct=False, device=device, fusion=fusion.of(), depth=depth, nprobe=nprobe
        )
        n = max(depth, wanted) if reads else wanted
        inputs = questions_of(questions, encoding, limit)
        ranked = kofid.retrieve(kofid.open(str(index), **options), inputs, k=n, progress=console.progress)
    if reads and from_file is None:
        ranked = list(ranked)  # then the encoder that found them can go before the next model comes
    if reads or from_file is not None:
        reranker = kofid.open_reranker(
            cross_encoder=cross_encoder, reader=reader, index=opened, mode=first, fusion=fusion.of(),
            device=device, dtype=dtype,
        )  # fmt: skip
        ranked = kofid.rerank(ranked, reranker, depth=depth if reads else None, k=wanted, progress=console.progress)
    if evaluate:
        results.print_measures(ranked, as_json=json_output, per_question=per_question)
    else:
        results.print_hits(ranked, output=output, as_json=json_output, full=full)


def _refuse_together(
    index: Path | None,
    mode: SearchMode | None,
    cross_encoder: str | None,
    reader: str | None,
    from_file: str | None,
    evaluate: bool,
    per_question: Path | None,
) -> None:
    reads = cross_encoder or reader
    if cross_encoder and reader:
        raise UsageError(
            say("--cross-encoder와 --reader는 함께 못 씁니다", "--cross-encoder and --reader exclude each other")
        )
    if index is None and not (reads and from_file):
        raise UsageError(say("-i 색인을 주세요", "give an index: -i INDEX"))
    if per_question is not None and not evaluate:
        raise UsageError(say("--per-question은 --eval과 함께 씁니다", "--per-question goes with --eval"))
    if not reads and mode not in (None, SearchMode.SEQUENTIAL, SearchMode.CROSS):
        raise UsageError(
            say(
                f"--mode {mode}: sequential이나 cross여야 합니다 (또는 --cross-encoder, --reader)",
                f"--mode {mode}: must be sequential or cross (or give --cross-encoder or --reader)",
            )
        )


def _from_file(
    path: str, index: Index | None, questions: list[str] | None, encoding: str | None, limit: int | None
) -> Iterable[Example]:
    inputs = list(questions_of(questions, encoding, limit)) if questions else []
    return islice(kofid.read_ranked(path, index=index, questions=inputs, encoding=encoding), limit)
