"""kofid distill"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

import kofid
from kofid.cli import console
from kofid.cli.options.common import Encoding, Json, Limit, NContext, OptionalIndex, Output, Resume
from kofid.cli.options.groups import takes_groups
from kofid.cli.options.training import DISTILLATION, OPTIMIZING, Data, TeacherType
from kofid.errors import UsageError
from kofid.language import say, setting
from kofid.reader.fid.config import ScoreMethod
from kofid.retrieval.modes import SearchMode
from kofid.training.options import DISTILLED, PLAIN_DISTILLATION, Distillation, Stage, TrainOptions

NEEDS_ARGUMENTS = True
HELP = say(
    "리더를 검색기로 증류합니다: 리더의 교차 주의 점수를 재고(score), 검색기가 따르도록 KL로 훈련합니다(train). --rounds N은 그 뒤에 벡터를 "
    "새로 만들고 패시지를 새로 찾아 되풀이하며, 바퀴마다 --dev 질문으로 잽니다. 멈추면 같은 명령이 이어 갑니다.",
    "Distil a reader into a retriever: take the reader's cross-attention scores (score) and train the retriever to follow "
    "them by KL divergence (train). --rounds N then makes new vectors, finds passages anew and repeats, measuring each round "
    "on the --dev questions. After an interruption the same command goes on.",
)
EXAMPLE = """kofid distill -i kb resources/demo/questions.jsonl --reader reader --retriever encoder -o distilled
kofid distill -i kb resources/demo/questions.jsonl --reader reader --retriever encoder --rounds 1 --dev resources/demo/questions.jsonl -o rounds"""


Teacher = Annotated[
    str | None,
    typer.Option("--reader", metavar="READER", help=say("가르칠 FiD 리더", "Fusion reader that teaches")),
]
Retriever = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help=say(
            "배울 인코더, 또는 fresh:tiny|mini, static:차원",
            "Encoder that learns, or fresh:tiny|mini, static:DIMENSION",
        ),
    ),
]
StageOption = Annotated[
    Stage,
    typer.Option(
        "--stage",
        help=say(
            "score: 리더 점수만 재어 -o FiD JSON으로. train: FiD JSON의 점수로 훈련만",
            "score: only take scores, to the FiD JSON of -o. train: only train, by the scores of a FiD JSON",
        ),
    ),
]
RoundsOption = Annotated[
    int,
    typer.Option("--rounds", min=0, metavar="N", help=say("되풀이할 바퀴 (0: 한 번만 훈련)", "Rounds (0: train once)")),
]
Dev = Annotated[
    str | None,
    typer.Option(metavar="FILE", help=say("바퀴마다 잴 질문 파일", "Questions on which each round is measured")),
]
Mode = Annotated[
    Literal["dense", "cross"],
    typer.Option(help=say("둘째 바퀴부터 찾는 법", "How passages are found from the second round on")),
]
Score = Annotated[
    ScoreMethod,
    typer.Option(
        help=say(
            "점수. first: 첫 토큰의 평균 로짓, answer: 답의 모든 토큰, max: 가장 높은 로짓, norm: 주의 x 값의 길이",
            "Scores. first: mean logit of the first token, answer: of all the answer's, max: the highest, norm: "
            "attention x length of value",
        )
    ),
]
Scores = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help=say("리더 점수를 FiD JSON으로 저장", "Keep the reader's scores as FiD JSON")),
]


@takes_groups
def run(
    data: Data,
    output: Output,
    reader: Teacher = None,
    retriever: Retriever = None,
    index: OptionalIndex = None,
    n_context: NContext = 10,
    stage: StageOption = Stage.ALL,
    rounds: RoundsOption = 0,
    dev: Dev = None,
    mode: Mode = "cross",
    score: Score = ScoreMethod.FIRST,
    dtype: TeacherType = "float32",
    distillation: Annotated[Distillation, DISTILLATION] = PLAIN_DISTILLATION,
    scores: Scores = None,
    options: Annotated[TrainOptions, OPTIMIZING] = DISTILLED,
    resume: Resume = False,
    limit: Limit = None,
    encoding: Encoding = None,
    json_output: Json = False,
) -> None:
    """Distil."""
    if rounds:
        if stage is not Stage.ALL or index is None or reader is None or retriever is None or scores is not None:
            raise UsageError(_what_rounds_need())
        console.calm_libraries()
        loop = kofid.Rounds(
            output,
            index,
            data,
            reader,
            retriever,
            rounds,
            dev,
            n_context,
            SearchMode(mode),
            score,
            dtype,
            distillation,
            options,
            encoding,
            limit,
        )
        _report_rounds(loop, json_output)
        return
    console.calm_libraries()
    with console.training_progress(say("증류", "distilling")) as on_step:
        figures = kofid.distill(
            data,
            output,
            reader=reader,
            retriever=retriever,
            index=index,
            stage=stage,
            n_context=n_context,
            score=score,
            dtype=dtype,
            distillation=distillation,
            scores=scores,
            options=options,
            encoding=encoding,
            limit=limit,
            resume=resume,
            progress=console.progress,
            on_step=on_step,
            notes=console.note,
        )
    if stage is not Stage.SCORE:
        console.print_training(output, figures, json_output)


def _what_rounds_need() -> str:
    names = {name: setting(name) for name in ("rounds", "index", "reader", "retriever", "stage", "scores")}
    return say(
        f"{names['rounds']}에는 {names['index']}, {names['reader']}, {names['retriever']}를 주고 {names['stage']}, "
        f"{names['scores']}는 빼세요 (점수는 바퀴마다 round-N/scores.jsonl에 남습니다)",
        f"{names['rounds']} needs {names['index']}, {names['reader']} and {names['retriever']}, and goes with no "
        f"{names['stage']} and {names['scores']} (each round keeps its scores in round-N/scores.jsonl)",
    )


def _report_rounds(loop: kofid.Rounds, as_json: bool) -> None:
    watcher = kofid.Watcher(console.progress, console.training_progress, console.note)
    figures = loop.run(
        watcher, lambda step, done: console.note(step.name + (say(" (되어 있음)", " (there)") if done else ""))
    )
    columns = [say("바퀴", "round"), say("찾는 법", "mode"), "n", *kofid.ROUND_MEASURES]
    rows = [
        [str(row.number), row.mode, str(row.n), *(f"{100 * row.measures[name]:.1f}" for name in kofid.ROUND_MEASURES)]
        for row in figures
    ]
    kofid.write_file(loop.folder / "report.md", kofid.markdown_table(columns, rows))
    if console.wants_json(as_json):
        for row in figures:
            console.print_json(row.to_json())
    else:
        console.print_table("", columns, rows)
