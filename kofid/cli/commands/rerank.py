"""kofid rerank"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from kofid.cli import console
from kofid.cli.options.common import Device, Encoding, Json, K, Limit, OptionalIndex, OutputFile, PerQuestion, Verify
from kofid.cli.options.search import DenseWeight, FusionOption, RrfK, SparseWeight, chosen_search
from kofid.cli.questions import Questions, evaluate_hits, given_questions, report_hits
from kofid.errors import InputError, UsageError
from kofid.language import say
from kofid.retrieval.modes import FusionMethod, SearchMode
from kofid.types import Example, Hit

if TYPE_CHECKING:
    from kofid.retrieval.fusion import Fusion
    from kofid.retrieval.index import Index

NEEDS_ARGUMENTS = True
HELP = say(
    "순위를 다시 매깁니다. sequential은 BM25 상위 --depth개를 벡터로 다시 줄 세우고, cross는 둘이 찾은 모든 패시지에서 두 점수를 --fusion대로 "
    "더합니다. --cross-encoder는 질문과 패시지를 함께 읽는 모델로, --reader는 리더가 눈길을 준 만큼으로 상위 --depth개를 다시 줄 세웁니다. "
    "--from으로 FiD JSON이나 TREC 결과(.trec, 색인과 질문도 함께)를 받으면 그 안의 패시지를 줄 세웁니다.",
    "Rank anew. sequential reorders BM25's top --depth by vectors; cross adds both scores of all that either finds, as "
    "--fusion says. --cross-encoder reorders the top --depth by a model that reads question and passage together, --reader "
    "by how much a reader attends to them. Given FiD JSON or a TREC run (.trec, with index and questions) by --from, its own "
    "passages are reordered.",
)
EXAMPLE = """kofid index resources/demo/passages.jsonl -o kb --dense encoder
kofid rerank -i kb --mode cross "임진왜란은 언제 일어났나?" -k 5
kofid rerank -i kb --reader t5 --depth 5 "임진왜란은 언제 일어났나?" -k 3
kofid rerank -i kb --mode sequential --eval resources/demo/questions.jsonl"""
# Passages weighed by scores that are there already, and by a model that reads each.
_DEPTH, _READ = 200, 50


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
            metavar="MODEL",
            help=say("FiD 리더의 교차 주의로", "By the cross-attention of a fusion reader"),
        ),
    ] = None,
    fusion: FusionOption = FusionMethod.MAX,
    dense_weight: DenseWeight = None,
    sparse_weight: SparseWeight = 1.0,
    rrf_k: RrfK = 60,
    depth: Annotated[
        int | None,
        typer.Option(
            min=1, help=say("견주는 패시지 수 (기본 200, 모델이 읽으면 50)", "Passages weighed (200; 50 if read)")
        ),
    ] = None,
    from_file: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="FILE", help=say("다시 줄 세울 FiD JSON, TREC 결과", "FiD JSON or TREC run to reorder")
        ),
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
    from kofid.evaluation.metrics import HIT_CUTOFFS
    from kofid.retrieval.fusion import Fusion
    from kofid.retrieval.index import Index

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
    console.calm_libraries()
    opened = Index.open(index, check_hashes=verify) if index is not None else None
    fused = Fusion(fusion, dense_weight, sparse_weight, rrf_k)
    wanted = max(HIT_CUTOFFS) if evaluate else k
    depth = depth or (_READ if reads else _DEPTH)
    first = mode or (SearchMode.AUTO if reads else SearchMode.CROSS)
    found: Iterable[Example]
    if from_file is not None:
        found = _given(from_file, opened, questions, encoding, limit)
        reorder = _reading(cross_encoder, reader, device) if reads else _fusing(opened, first, fused, device)
    else:
        n = max(depth, wanted) if reads else wanted
        found = _found(opened, questions, first, fused, depth, n, device, encoding, limit)
        if reads and opened is not None and first.resolve(has_vectors=opened.has_vectors) is not SearchMode.SPARSE:
            found = list(found)  # then the encoder can go before the next model comes
        reorder = _reading(cross_encoder, reader, device) if reads else lambda example: list(example.hits)
    results = (replace(e, hits=tuple(_top(e, reorder, depth if reads else None)[:wanted])) for e in found)
    if evaluate:
        evaluate_hits(results, json_output, per_question)
    else:
        report_hits(results, output=output, as_json=json_output)


def _top(example: Example, reorder: Callable[[Example], list[Hit]], depth: int | None) -> list[Hit]:
    """Return the example's hits, the best ``depth`` of them reordered, the others after them."""
    top = replace(example, hits=example.hits[:depth])
    return [*reorder(top), *example.hits[len(top.hits) :]]


def _found(
    index: Index | None,
    questions: list[str] | None,
    mode: SearchMode,
    fused: Fusion,
    depth: int,
    n: int,
    device: str,
    encoding: str | None,
    limit: int | None,
) -> Iterator[Example]:
    """Yield questions with the ``n`` best passages by ``mode``."""
    assert index is not None
    asked = given_questions(questions, encoding, limit)
    search = chosen_search(index, mode, fused, depth, device)
    for question in console.progress(asked, say("찾는 중", "searching"), len(asked)):
        yield Example(question, tuple(search(question.text, n)))


def _given(
    path: str, index: Index | None, questions: list[str] | None, encoding: str | None, limit: int | None
) -> Iterator[Example]:
    """Yield the examples of FiD JSON, or of a TREC run, whose passages are the index's."""
    from kofid.formats import read_examples

    if not path.endswith(".trec"):
        examples = islice(read_examples(path, encoding), limit)
        yield from console.progress(examples, say("줄 세우는 중", "reordering"), None)
        return
    if index is None or not questions:
        raise UsageError(
            say("TREC 결과에는 -i 색인과 질문 파일도 주세요", "a TREC run needs -i and the questions, too")
        )
    from kofid.formats.trec import read_run

    run = read_run(path, encoding)
    asked = given_questions(questions, encoding, limit)
    for question in console.progress(asked, say("줄 세우는 중", "reordering"), len(asked)):
        hits = []
        for passage_id, score in run.get(question.id, []):
            position = index.passages.find(passage_id)
            if position is None:
                raise InputError(
                    say(
                        f"{path}: 패시지 '{passage_id}'가 색인에 없습니다",
                        f"{path}: no passage '{passage_id}' in the index",
                    )
                )
            hits.append(Hit(index.passages[position], score, "file"))
        yield Example(question, tuple(hits))


def _fusing(index: Index | None, mode: SearchMode, fused: Fusion, device: str) -> Callable[[Example], list[Hit]]:
    from kofid.retrieval.hybrid import open_reordering

    if index is None or mode not in (SearchMode.SEQUENTIAL, SearchMode.CROSS):
        raise UsageError(say("--from에는 --mode sequential이나 cross", "--from goes with --mode sequential or cross"))
    return open_reordering(index, mode, device=device, fusion=fused)


def _reading(cross_encoder: str | None, reader: str | None, device: str) -> Callable[[Example], list[Hit]]:
    """Return a function that orders an example's passages by a model that reads them."""
    from kofid.reader.open import open_reader
    from kofid.retrieval.reranker import open_cross_encoder

    if cross_encoder is not None:
        model = open_cross_encoder(cross_encoder, device)
        return lambda example: model.rerank(example.question.text, example.hits)
    from kofid.reader.fid.reader import FiDReader

    opened = open_reader(str(reader), device=device)
    if not isinstance(opened, FiDReader):
        raise UsageError(say(f"{reader}: FiD 리더가 아닙니다", f"{reader}: not a fusion reader"))

    def reorder(example: Example) -> list[Hit]:
        if not example.hits:
            return []
        (hits,) = opened.score([(example.question.text, example.hits)])
        return sorted(hits, key=lambda hit: -hit.score)

    return reorder
