"""kofid retrieve"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import kofid
from kofid.cli import console
from kofid.cli.options.common import (
    Correct,
    Device,
    Encoding,
    Evaluate,
    Full,
    IndexPath,
    Json,
    K,
    Limit,
    OutputFile,
    PerQuestion,
    Questions,
    Verify,
    questions_of,
)
from kofid.cli.options.groups import takes_groups
from kofid.cli.options.search import RANKING, Depth, FusionOptions, Mode, NProbe
from kofid.errors import UsageError
from kofid.language import say
from kofid.retrieval.modes import Engine, SearchMode

if TYPE_CHECKING:
    from kofid import Pipeline, Question

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
kofid retrieve -i kb "임진왜란은 언제 일어났나?" --rerank 20
kofid retrieve -i kb --eval resources/demo/questions.jsonl
kofid retrieve -i kb --eval resources/demo/questions.jsonl --ranker bm25+ --k1 1.2 --weights bigram=0.5
kofid retrieve -i kb --tune resources/demo/questions.jsonl
kofid retrieve -i kb resources/demo/questions.jsonl -k 20 -o retrieved.json"""


@takes_groups
def run(
    index: IndexPath,
    questions: Questions = None,
    k: K = 10,
    mode: Mode = SearchMode.AUTO,
    *,
    fusion: FusionOptions,
    depth: Depth = 200,
    nprobe: NProbe = None,
    engine: Annotated[
        Engine,
        typer.Option(
            help=say(
                "rank-bm25, bm25s: 견주기 위해 색인의 낱말로 그 패키지를 씁니다 (모두 메모리에)",
                "rank-bm25, bm25s: those packages on the index's terms, for comparison (all in memory)",
            )
        ),
    ] = Engine.KOFID,
    ranking: Annotated[kofid.RankingOptions, RANKING],
    correct: Correct = True,
    rerank: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help=say(
                "상위 N개를 joint 리더로 다시 줄 세웁니다 (0: 그대로)",
                "Reorder the best N by the joint reader (0: as they are)",
            ),
        ),
    ] = 0,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help=say(
                "패시지마다 어느 말이 몇 점인지, 무엇을 빼고 고쳤는지", "Show what each term scored, what was dropped"
            ),
        ),
    ] = False,
    evaluate: Evaluate = False,
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
    full: Full = False,
    encoding: Encoding = None,
    limit: Limit = None,
    device: Device = "auto",
    verify: Verify = True,
    json_output: Json = False,
) -> None:
    """Find passages."""
    from kofid.cli import results

    _refuse_together(evaluate, keep_gold, per_question, explain, mode, engine)
    options = kofid.PipelineOptions(
        reader=None, mode=SearchMode.SPARSE if explain or tune else mode, correct=correct, device=device,
        fusion=fusion.of(), depth=depth, nprobe=nprobe, ranking=ranking,
    )  # fmt: skip
    pipeline = kofid.open(index, verify=verify, **options)
    if tune is not None:
        _tune(index, pipeline, questions_of([tune], encoding, limit), json_output)
        return
    if rerank:
        pipeline = replace(pipeline, reranker=kofid.open_reranker(reader=kofid.DEFAULT_READER), rerank_depth=rerank)
    inputs = questions_of(questions, encoding, limit)
    if engine is not Engine.KOFID:
        pipeline = replace(pipeline, search=kofid.open_engine(pipeline.index, engine), correct=False)
    counted = (
        console.progress if evaluate or output is not None else kofid.silent
    )  # else results are shown as they come
    depth = max(kofid.HIT_CUTOFFS) if evaluate else k
    examples = kofid.retrieve(pipeline, inputs, k=depth, keep_gold=keep_gold, progress=counted)
    if evaluate:
        results.print_measures(examples, as_json=json_output, per_question=per_question)
    elif explain:
        results.print_explained(pipeline, examples, as_json=json_output)
    else:
        results.print_hits(examples, output=output, as_json=json_output, full=full)


def _refuse_together(
    evaluate: bool, keep_gold: bool, per_question: Path | None, explain: bool, mode: SearchMode, engine: Engine
) -> None:
    if evaluate and keep_gold:
        raise UsageError(say("--eval과 --keep-gold는 함께 쓸 수 없습니다", "--eval and --keep-gold do not go together"))
    if per_question is not None and not evaluate:
        raise UsageError(say("--per-question은 --eval과 함께 씁니다", "--per-question goes with --eval"))
    if explain and (engine is not Engine.KOFID or mode not in (SearchMode.AUTO, SearchMode.SPARSE)):
        other = mode if engine is Engine.KOFID else engine
        raise UsageError(say(f"--explain은 {other}에 쓸 수 없습니다", f"--explain does not go with {other}"))


def _tune(path: Path, pipeline: Pipeline, questions: Iterable[Question], json_output: bool) -> None:
    tuned = kofid.tune(pipeline.index, list(questions), progress=console.progress)
    if tuned.changes:
        kofid.record_ranking(path, tuned.index.ranking, tuned.index.weights)
    if console.wants_json(json_output):
        console.print_json(tuned.to_json())
        return
    rows = [[t.name, str(t.value), f"{100 * t.measure:.2f}"] for t in tuned.trials]
    console.print_table("", [say("설정", "setting"), say("값", "value"), f"{tuned.objective} (%)"], rows)
    figures = f"{tuned.objective} {100 * tuned.before:.2f} → {100 * tuned.after:.2f} (%)"
    outcome = (
        say(f"색인에 적었습니다: {tuned.changes}", f"recorded in the index: {tuned.changes}")
        if tuned.changes
        else say("지금 설정이 가장 낫습니다.", "nothing better than what is there.")
    )
    console.note(
        say(
            f"{figures}, 질문 {tuned.n:,}개, p = {tuned.p:.3g}. ",
            f"{figures}, {tuned.n:,} questions, p = {tuned.p:.3g}. ",
        )
        + outcome
    )
