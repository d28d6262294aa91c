"""kofid retrieve"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kofid.cli import console
from kofid.cli.options.common import (
    Correct,
    Device,
    Encoding,
    IndexPath,
    Json,
    K,
    Limit,
    OutputFile,
    PerQuestion,
    Verify,
)
from kofid.cli.options.ranking import K1, B, Delta, Ranker, Weights, ranking_changes
from kofid.cli.options.search import (
    DenseWeight,
    Depth,
    FusionOption,
    Mode,
    RrfK,
    SparseWeight,
    chosen_search,
)
from kofid.cli.questions import Questions, evaluate_hits, given_questions, report_explained, report_hits
from kofid.errors import UsageError
from kofid.language import say
from kofid.retrieval.modes import Engine, FusionMethod, SearchMode
from kofid.types import Example, Question

if TYPE_CHECKING:
    from kofid.retrieval.index import Index
    from kofid.types import Search

NEEDS_ARGUMENTS = True
HELP = say(
    "질문에 맞는 패시지를 찾습니다. 색인에 없는 낱말은 오타나 띄어쓰기가 틀린 것인지 보고 고쳐 찾습니다. --eval은 정답 패시지로도 답으로도 "
    "hit@k와 MRR을 재고, nDCG와 재현율도 잽니다. --tune은 k1, b, 무게를 개발 질문에 맞추어 색인에 적습니다.",
    "Find passages for questions. Words that the index does not know are set right where they are misspelled. --eval "
    "measures hit@k and MRR by gold passages and by answers, and nDCG and recall. --tune fits k1, b and weights to "
    "development questions and records them in the index.",
)
EXAMPLE = """kofid retrieve -i kb "임진왜란은 언제 일어났나?" -k 5
kofid retrieve -i kb "임진왜란은언제이러났나" --explain
kofid retrieve -i kb --eval resources/demo/questions.jsonl
kofid retrieve -i kb --eval resources/demo/questions.jsonl --ranker bm25+ --k1 1.2 --weights bigram=0.5
kofid retrieve -i kb --tune resources/demo/questions.jsonl
kofid retrieve -i kb resources/demo/questions.jsonl -k 20 -o retrieved.json"""


def run(
    index: IndexPath,
    questions: Questions = None,
    k: K = 10,
    mode: Mode = SearchMode.AUTO,
    fusion: FusionOption = FusionMethod.MAX,
    dense_weight: DenseWeight = None,
    sparse_weight: SparseWeight = 1.0,
    rrf_k: RrfK = 60,
    depth: Depth = 200,
    engine: Annotated[
        Literal["kofid", "rank-bm25", "bm25s"],
        typer.Option(
            help=say(
                "rank-bm25, bm25s: 견주기 위해 색인의 낱말로 그 패키지를 씁니다 (모두 메모리에)",
                "rank-bm25, bm25s: those packages on the index's terms, for comparison (all in memory)",
            )
        ),
    ] = "kofid",
    ranker: Ranker = None,
    k1: K1 = None,
    b: B = None,
    delta: Delta = None,
    weights: Weights = None,
    correct: Correct = True,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help=say(
                "패시지마다 어느 말이 몇 점인지, 무엇을 빼고 고쳤는지", "Show what each term scored, what was dropped"
            ),
        ),
    ] = False,
    evaluate: Annotated[
        bool, typer.Option("--eval", help=say("hit@k와 MRR을 잽니다", "Measure hit@k and MRR"))
    ] = False,
    per_question: PerQuestion = None,
    tune: Annotated[
        str | None,
        typer.Option(
            metavar="QUESTIONS",
            help=say(
                "k1, b, 무게를 이 질문들에 맞추어 색인에 적습니다",
                "Fit k1, b and weights to these questions and record them",
            ),
        ),
    ] = None,
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
    from kofid.evaluation.metrics import HIT_CUTOFFS
    from kofid.retrieval.fusion import Fusion
    from kofid.retrieval.index import Index

    opened = Index.open(index, check_hashes=verify)
    how = SearchMode.SPARSE if explain and mode is SearchMode.AUTO else mode.resolve(has_vectors=opened.has_vectors)
    _refuse_together(evaluate, keep_gold, per_question, explain, how if engine == "kofid" else engine)
    names = [component.name for component in opened.analyzer.components]
    changes = ranking_changes(ranker, k1, b, delta, weights, names, opened.weights)
    if changes:
        opened = opened.ranked(**changes)
    if tune is not None:
        _tune(index, opened, given_questions([tune], encoding, limit), json_output)
        return
    given = given_questions(questions, encoding, limit)
    if engine != "kofid":
        from kofid.retrieval.engines import open_engine

        search: Search = open_engine(opened, Engine(engine))
    else:
        search = chosen_search(opened, how, Fusion(fusion, dense_weight, sparse_weight, rrf_k), depth, device)
    wanted = max(HIT_CUTOFFS) if evaluate else k
    asked: Iterable[Question] = given
    if evaluate or output is not None:  # else results are shown as they come
        asked = console.progress(given, say("찾는 중", "searching"), len(given))
    results = _results(opened, search, asked, wanted, correct=correct and engine == "kofid", keep_gold=keep_gold)
    if evaluate:
        evaluate_hits(results, json_output, per_question)
    elif explain:
        report_explained(opened, results, as_json=json_output)
    else:
        report_hits(results, output=output, as_json=json_output)


def _refuse_together(evaluate: bool, keep_gold: bool, per_question: Path | None, explain: bool, how: str) -> None:
    if evaluate and keep_gold:
        raise UsageError(say("--eval과 --keep-gold는 함께 쓸 수 없습니다", "--eval and --keep-gold do not go together"))
    if per_question is not None and not evaluate:
        raise UsageError(say("--per-question은 --eval과 함께 씁니다", "--per-question goes with --eval"))
    if explain and how != "sparse":
        raise UsageError(say(f"--explain은 {how}에 쓸 수 없습니다", f"--explain does not go with {how}"))


def _results(
    index: Index, search: Search, asked: Iterable[Question], depth: int, *, correct: bool, keep_gold: bool
) -> Iterator[Example]:
    from kofid.retrieval.correct import forgiving_search
    from kofid.training.data import with_gold

    for question in asked:
        if correct:
            hits, corrected = forgiving_search(index, search, question.text, depth)
        else:
            hits, corrected = search(question.text, depth), None
        example = Example(question, tuple(hits), corrected=corrected)
        yield with_gold(example, index, depth) if keep_gold else example


def _tune(path: Path, index: Index, questions: list[Question], json_output: bool) -> None:
    from kofid.experiments.tuning import OBJECTIVE, tune
    from kofid.retrieval.build import record_ranking

    best = tune(index, questions, progress=console.progress)
    if best.changes:
        record_ranking(path, best.index.ranking, best.index.weights)
    if console.wants_json(json_output):
        console.print_json(best.to_json())
        return
    rows = [[t.name, str(t.value), f"{100 * t.measure:.2f}"] for t in best.trials]
    console.print_table("", [say("설정", "setting"), say("값", "value"), f"{OBJECTIVE} (%)"], rows)
    console.note(
        say(
            f"{OBJECTIVE} {100 * best.before:.2f} → {100 * best.after:.2f} (%), 질문 {best.n:,}개, p = {best.p:.3g}. ",
            f"{OBJECTIVE} {100 * best.before:.2f} → {100 * best.after:.2f} (%), {best.n:,} questions, p = {best.p:.3g}. ",
        )
        + (
            say(f"색인에 적었습니다: {best.changes}", f"recorded in the index: {best.changes}")
            if best.changes
            else say("지금 설정이 가장 낫습니다.", "nothing better than what is there.")
        )
    )
