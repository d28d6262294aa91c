"""kofid index"""

from __future__ import annotations

import shlex
import sys
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Literal

import typer

import kofid
from kofid.cli import console
from kofid.cli.options.common import Device, Encoding, Json, Limit, Output
from kofid.cli.options.groups import takes_groups
from kofid.cli.options.search import RANKING
from kofid.errors import UsageError
from kofid.language import say

if TYPE_CHECKING:
    from kofid import IndexEstimate, IndexReport, VectorEstimate

NEEDS_ARGUMENTS = True
HELP = say(
    "글더미를 패시지로 나누어 색인합니다. 형식은 파일에서 알아냅니다: JSONL, SQuAD/KorQuAD, FiD/DPR JSON, psgs_w100.tsv, BEIR 폴더, "
    ".gz/.xz/.zst, 표준입력(-). 멈추면 --resume으로 잇고, --add와 --delete로 다시 만들지 않고 고칩니다.",
    "Index a heap of text as passages. Formats are found out from the file: JSONL, SQuAD/KorQuAD, FiD/DPR JSON, "
    "psgs_w100.tsv, BEIR folders, .gz/.xz/.zst, standard input (-). Go on after an interruption with --resume; change "
    "an index without building it anew with --add and --delete.",
)
EXAMPLE = """kofid index resources/demo/passages.jsonl -o kb
kofid index -o kb --delete demo-a-010
kofid index resources/demo/passages.jsonl -o kb --add
kofid index resources/demo/passages.jsonl -o kb2 --analyzer kiwi+compound*0.5+bigram --user-dict resources/demo/words.tsv"""


@takes_groups
def run(
    output: Output,
    corpus: Annotated[list[str] | None, typer.Argument(help=say("파일들", "Files"))] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help=say("멈춘 색인을 이어서 합니다", "Go on with an interrupted build"))
    ] = False,
    add: Annotated[
        bool,
        typer.Option(
            "--add",
            help=say(
                "있는 색인에 더합니다. 같은 id의 패시지, 같은 문서는 갈아 끼웁니다",
                "Add to the index; passages of the same id, articles of the same id, are replaced",
            ),
        ),
    ] = False,
    delete: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID|FILE",
            help=say(
                "이 id의 패시지나 문서를 뺍니다. 파일이면 한 줄에 하나. 여러 번 쓸 수 있습니다",
                "Delete the passage or article of this id, or those of a file, one a line; may be repeated",
            ),
        ),
    ] = None,
    analyzer: Annotated[
        str,
        typer.Option(
            metavar="SUM",
            help=say(
                "낱말을 세는 법: kiwi, kiwi-all, compound, bigram, whitespace, hf:모델, 또는 그 합",
                "What is counted: kiwi, kiwi-all, compound, bigram, whitespace, hf:MODEL, or a sum",
            ),
        ),
    ] = "kiwi+bigram",
    tags: Annotated[
        str,
        typer.Option(
            metavar="TAG,...",
            help=say("kiwi가 남길 품사", "Parts of speech that kiwi keeps"),
        ),
    ] = ",".join(kofid.CONTENT_TAGS),
    context: Annotated[
        Literal["word", "sentence"],
        typer.Option(
            help=say(
                "낱말(어절)마다 한 번 분석할지, 글을 통째로 분석할지(7배 느림)",
                "Analyse each different word once, or whole texts (7 times slower)",
            ),
        ),
    ] = "word",
    user_dict: Annotated[
        str | None,
        typer.Option(
            "--user-dict",
            metavar="FILE.tsv",
            help=say("Kiwi에 더할 낱말: 낱말, 품사, 점수를 탭으로", "Words for Kiwi: word, tag, score, tab-separated"),
        ),
    ] = None,
    dense: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help=say(
                "이 인코더로 벡터도 만듭니다 (default: 함께 오는 것). 글 없이 주면 있는 색인에 벡터를 답니다",
                "Add vectors by this encoder (default: the bundled one); without texts, to the index that is there",
            ),
        ),
    ] = None,
    faiss: Annotated[
        str,
        typer.Option(
            metavar="FACTORY",
            help=say(
                "벡터를 담는 꼴: auto(20만까지 Flat, 넘으면 SQ8), Flat, HNSW32, IVF1024,Flat, PQ64 ...",
                "How vectors are kept: auto (Flat up to 200,000, then SQ8), Flat, HNSW32, IVF1024,Flat, PQ64 ...",
            ),
        ),
    ] = "auto",
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help=say(
                "--dense만: 벡터 조각의 N분의 I만 만듭니다. 모두 만든 프로세스가 색인을 끝냅니다 (torchrun에서는 저절로)",
                "Only with --dense: encode the I-th of N shares of the vectors; who finds all of them finishes the index "
                "(by itself under torchrun)",
            ),
        ),
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
    *,
    ranking: Annotated[kofid.RankingOptions, RANKING],
    limit: Limit = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help=say("읽어만 보고 쓰지 않습니다", "Read, write nothing"))
    ] = False,
    device: Device = "auto",
    json_output: Json = False,
) -> None:
    """Build an index, or change one."""
    corpus, share = corpus or [], _share(shard)
    if dry_run and dense and not corpus and not delete:
        _print_vector_estimate(kofid.estimate_vectors(output, dense, faiss=faiss, device=device), json_output)
        return
    if dry_run and (corpus or delete):
        skipped: list[str] | None = [] if on_error == "skip" else None
        reading = kofid.read_corpus(
            corpus, split=split, passage_words=passage_words, encoding=encoding, skipped=skipped
        )
        _print_estimate(kofid.estimate_index(islice(reading, limit)), json_output)
        return
    try:
        report = kofid.index(
            corpus, output, add=add, delete=delete or (), split=split, passage_words=passage_words, encoding=encoding,
            skip_errors=on_error == "skip", analyzer=analyzer, tags=tags.split(","), context=context,
            user_dict=user_dict, ranking=ranking, dense=dense, faiss=faiss, shard=share, resume=resume, limit=limit,
            device=device, progress=console.progress,
        )  # fmt: skip
    except BaseException:
        if kofid.has_interrupted_build(output):
            command = shlex.join(["kofid", *(a for a in sys.argv[1:] if a != "--resume"), "--resume"])
            console.note(say(f"이어서 하려면: {command}", f"to go on: {command}"))
        raise
    _print_report(report, share, json_output)


def _share(shard: str | None) -> tuple[int, int] | None:
    """Return (i, n) of ``I/N``, i from 0."""
    if shard is None:
        return None
    i, mark, n = shard.partition("/")
    if not mark or not i.isdecimal() or not n.isdecimal() or not 1 <= int(i) <= int(n):
        raise UsageError(say(f"--shard {shard}: 1/4처럼 씁니다", f"--shard {shard}: write it as 1/4"))
    return int(i) - 1, int(n)


def _print_report(report: IndexReport, share: tuple[int, int] | None, json_output: bool) -> None:
    for message in report.skipped:
        console.note(say(f"뺌: {message}", f"skipped: {message}"))
    path, n = report.path, report.n_passages
    if not report.complete:
        i, shares = share or (0, 1)
        console.note(
            say(
                f"{path}: 조각 {i + 1}/{shares}을(를) 만들었습니다. 나머지가 다 되면 색인이 끝납니다.",
                f"{path}: encoded share {i + 1}/{shares}; the index is finished when the others are",
            )
        )
    elif console.wants_json(json_output):
        row = {
            "index": str(path),
            "n_passages": n,
            "n_skipped": len(report.skipped),
            "seconds": round(report.seconds, 2),
        }
        console.print_json(row | ({} if report.dense is None else {"dense": dict(report.dense)}))
    else:
        seconds = report.seconds
        console.note(
            say(
                f"{path}: 패시지 {n:,}개의 색인입니다 ({seconds:.1f}초)",
                f"{path}: an index of {n:,} passages ({seconds:.1f} s)",
            )
        )


def _print_estimate(estimate: IndexEstimate, json_output: bool) -> None:
    n, characters, seconds = estimate.n_passages, estimate.n_characters, estimate.seconds
    if console.wants_json(json_output):
        console.print_json({"n_passages": n, "characters": characters, "estimated_seconds": round(seconds)})
    else:
        console.note(
            say(
                f"패시지 {n:,}개, {characters:,}자, 약 {seconds:,.0f}초",
                f"{n:,} passages, {characters:,} characters, about {seconds:,.0f} s",
            )
        )


def _print_vector_estimate(estimate: VectorEstimate, json_output: bool) -> None:
    n, seconds, size = estimate.n_passages, estimate.seconds, estimate.n_bytes
    if console.wants_json(json_output):
        row = {"n_passages": n, "estimated_seconds": round(seconds), "faiss": estimate.faiss, "estimated_bytes": size}
        console.print_json(row)
    else:
        what = f"{estimate.faiss} {size / 2**20:,.0f} MiB"
        console.note(
            say(f"패시지 {n:,}개, 약 {seconds:,.0f}초, {what}", f"{n:,} passages, about {seconds:,.0f} s, {what}")
        )
