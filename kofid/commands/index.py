"""kofid index"""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kofid.commands import console
from kofid.commands.options import Device, Encoding, Json, Limit, Output
from kofid.language import say

if TYPE_CHECKING:
    from kofid.retrieval.dense import DenseEncoder

NEEDS_ARGUMENTS = True
HELP = say(
    "글더미를 패시지로 나누어 색인합니다. 형식은 파일에서 알아냅니다: JSONL, SQuAD/KorQuAD, FiD/DPR JSON, psgs_w100.tsv, "
    ".gz/.xz/.zst, 표준입력(-).",
    "Index a heap of text as passages. Formats are found out from the file: JSONL, SQuAD/KorQuAD, FiD/DPR JSON, "
    "psgs_w100.tsv, .gz/.xz/.zst, standard input (-).",
)
EXAMPLE = "kofid index resources/demo/passages.jsonl -o kb"


def run(
    corpus: Annotated[list[str], typer.Argument(help=say("파일들", "Files"))],
    output: Output,
    dense: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help=say("이 인코더로 벡터도 만듭니다", "Add vectors by this encoder")),
    ] = None,
    split: Annotated[
        bool | None,
        typer.Option(
            "--split/--no-split",
            help=say(
                "문서를 패시지로 나눌지 (기본: 글 길이로 판단)", "Cut articles into passages (default: by their length)"
            ),
        ),
    ] = None,
    passage_words: Annotated[int, typer.Option(min=10, help=say("나눌 때 패시지의 낱말 수", "Words a passage"))] = 100,
    encoding: Encoding = None,
    on_error: Annotated[
        Literal["stop", "skip"],
        typer.Option(help=say("잘못된 줄에서 멈출지, 빼고 갈지", "At a bad record: stop or skip")),
    ] = "stop",
    k1: Annotated[float, typer.Option(min=0.0, help="BM25 k1")] = 1.2,
    b: Annotated[float, typer.Option(min=0.0, max=1.0, help="BM25 b")] = 0.75,
    limit: Limit = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help=say("읽어만 보고 쓰지 않습니다", "Read, write nothing"))
    ] = False,
    device: Device = "auto",
    json_output: Json = False,
) -> None:
    """Build an index."""
    from kofid.formats import read_corpus
    from kofid.retrieval.index import build_index

    started = time.perf_counter()
    skipped: list[str] | None = [] if on_error == "skip" else None
    passages = islice(
        read_corpus(corpus, split=split, passage_words=passage_words, encoding=encoding, skipped=skipped), limit
    )
    if dry_run:
        _estimate(passages, json_output)
        return
    encoder, name, fingerprint = _encoder(dense, device)
    settings = build_index(
        Path(output),
        passages,
        encoder=encoder,
        encoder_name=name,
        encoder_fingerprint=fingerprint,
        k1=k1,
        b=b,
        progress=console.progress,
    )
    seconds = time.perf_counter() - started
    for message in skipped or []:
        console.note(say(f"뺌: {message}", f"skipped: {message}"))
    n = settings["n_passages"]
    if console.wants_json(json_output):
        console.print_json(
            {"index": str(output), "n_passages": n, "n_skipped": len(skipped or []), "seconds": round(seconds, 2)}
        )
    else:
        console.note(
            say(
                f"{output}: 패시지 {n:,}개를 색인했습니다 ({seconds:.1f}초, 초당 {n / seconds:,.0f}개)",
                f"{output}: {n:,} passages indexed ({seconds:.1f} s, {n / seconds:,.0f} a second)",
            )
        )


def _encoder(dense: str | None, device: str) -> tuple[DenseEncoder | None, str, str]:
    if dense is None:
        return None, "", ""
    from kofid.pipeline import open_encoder

    console.calm_libraries()
    return open_encoder(dense, device)


def _estimate(passages: object, json_output: bool) -> None:
    """Print what would be indexed: passages and characters, and the time that analysis takes at a cautious rate."""
    n = characters = 0
    for passage in passages:  # type: ignore[attr-defined]
        n += 1
        characters += len(passage.text)
    seconds = characters / 150_000 + 4
    if console.wants_json(json_output):
        console.print_json({"n_passages": n, "characters": characters, "estimated_seconds": round(seconds)})
    else:
        console.note(
            say(
                f"패시지 {n:,}개, {characters:,}자, 약 {seconds:,.0f}초",
                f"{n:,} passages, {characters:,} characters, about {seconds:,.0f} s",
            )
        )
