"""kofid train-reranker"""

from __future__ import annotations

from typing import Annotated

import typer

import kofid
from kofid.cli import console
from kofid.cli.options.common import Encoding, Json, Limit, OptionalIndex, Output, Resume
from kofid.cli.options.groups import takes_groups
from kofid.cli.options.training import (
    TRAINING,
    Data,
    Dev,
    DryRun,
    NegativeDepth,
    NegativeMode,
    VocabSize,
)
from kofid.language import say
from kofid.retrieval.modes import SearchMode
from kofid.training.options import RERANKER, TrainOptions

NEEDS_ARGUMENTS = True
HELP = say(
    "질문과 패시지를 함께 읽어 점수를 매기는 재순위 모델(교차 인코더)을 훈련합니다. 질문마다 정답 패시지를 검색이 찾은 다른 것들과 가리게 합니다. "
    "kofid rerank --cross-encoder로 쓰고, sentence-transformers의 CrossEncoder로도 열립니다.",
    "Train a reranker that reads question and passage together (a cross-encoder) to tell the gold passage from others that "
    "search finds. Use it with kofid rerank --cross-encoder; sentence-transformers' CrossEncoder opens it too.",
)
EXAMPLE = """kofid train-reranker -i kb resources/demo/questions.jsonl --model fresh:tiny --max-steps 5 -o reranker
kofid rerank -i kb --cross-encoder reranker "임진왜란은 언제 일어났나?" -k 5"""


Model = Annotated[
    str,
    typer.Option(
        metavar="MODEL",
        help=say("인코더 디렉터리나 이름, 또는 fresh:tiny|mini", "Encoder directory or name, or fresh:tiny|mini"),
    ),
]
Negatives = Annotated[
    int, typer.Option("--negatives", min=1, help=say("질문마다 음성 표본의 수", "Negatives a question"))
]


@takes_groups
def run(
    data: Data,
    output: Output,
    index: OptionalIndex = None,
    model: Model = "fresh:mini",
    vocab_size: VocabSize = 8000,
    n_context: NegativeDepth = 20,
    mode: NegativeMode = "sparse",
    n_negatives: Negatives = 4,
    options: Annotated[TrainOptions, TRAINING] = RERANKER,
    dev: Dev = None,
    resume: Resume = False,
    limit: Limit = None,
    encoding: Encoding = None,
    dry_run: DryRun = False,
    json_output: Json = False,
) -> None:
    """Train a cross-encoder."""
    console.calm_libraries()
    with console.training_progress(say("재순위 모델 훈련", "training reranker")) as on_step:
        figures = kofid.train_reranker(
            data,
            output,
            index=index,
            model=model,
            vocab_size=vocab_size,
            n_negatives=n_negatives,
            options=options,
            dev=dev,
            mode=SearchMode(mode),
            n_context=n_context,
            encoding=encoding,
            limit=limit,
            resume=resume,
            dry_run=dry_run,
            progress=console.progress,
            on_step=on_step,
            notes=console.note,
        )
    console.print_training(None if dry_run else output, figures, json_output)
