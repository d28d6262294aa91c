"""kofid index"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from kofid.cli import console
from kofid.cli.options.common import Device, Encoding, Json, Limit, Output
from kofid.cli.options.ranking import K1, B, Delta, Ranker, Weights, ranking_changes
from kofid.cli.vectors import give_vectors, open_named_encoder
from kofid.errors import UsageError
from kofid.language import say
from kofid.retrieval.sparse.analyzer import CONTENT_TAGS, DEFAULT, Analyzer, parse_components
from kofid.types import Passage

if TYPE_CHECKING:
    from kofid.retrieval.dense.base import NamedEncoder
    from kofid.retrieval.settings import IndexSettings

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
    ] = DEFAULT,
    tags: Annotated[
        str,
        typer.Option(
            metavar="TAG,...",
            help=say("kiwi가 남길 품사", "Parts of speech that kiwi keeps"),
        ),
    ] = ",".join(CONTENT_TAGS),
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
    ranker: Ranker = None,
    k1: K1 = None,
    b: B = None,
    delta: Delta = None,
    weights: Weights = None,
    limit: Limit = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help=say("읽어만 보고 쓰지 않습니다", "Read, write nothing"))
    ] = False,
    device: Device = "auto",
    json_output: Json = False,
) -> None:
    """Build an index, or change one."""
    from kofid.formats import read_corpus

    started = time.perf_counter()
    skipped: list[str] | None = [] if on_error == "skip" else None
    passages: Iterator[Passage] = iter(())
    if corpus:
        passages = islice(
            read_corpus(corpus, split=split, passage_words=passage_words, encoding=encoding, skipped=skipped), limit
        )
    elif dense and not delete:
        settings = give_vectors(output, dense, faiss, shard, device, dry_run, json_output)
        if settings is not None:
            _report(output, settings, [], time.perf_counter() - started, json_output)
        return
    elif not delete:
        raise UsageError(say("색인할 파일을 주세요 (표준입력은 -)", "give files to index (- for standard input)"))
    if shard:
        raise UsageError(
            say(
                "--shard는 글 없이, 있는 색인에 --dense로 벡터를 달 때 씁니다",
                "--shard goes with --dense and no texts, for an index that is there",
            )
        )
    if dry_run:
        _estimate(passages, json_output)
        return
    if add or delete:
        if corpus and not add:
            raise UsageError(say("파일도 더하려면 --add를 쓰세요", "to add the files too, use --add"))
        settings = _change(output, passages, delete or [], device)
    else:
        components = parse_components(analyzer)
        chosen = Analyzer(components, _tags(tags), context, _user_words(user_dict, encoding))
        names = [component.name for component in components]
        changes = ranking_changes(ranker, k1, b, delta, weights, names, chosen.weights)
        settings = _build(
            output,
            passages,
            chosen,
            changes,
            None if dense is None else open_named_encoder(dense, device),
            faiss,
            resume,
        )
    _report(output, settings, skipped or [], time.perf_counter() - started, json_output)


def _build(
    output: Path,
    passages: Iterable[Passage],
    analyzer: Analyzer,
    changes: dict[str, Any],
    encoder: NamedEncoder | None,
    faiss: str,
    resume: bool,
) -> IndexSettings:
    from kofid.retrieval.build import build_index, has_interrupted_build
    from kofid.retrieval.sparse.ranking import Ranking

    weights = changes.pop("weights", None)
    if weights is not None:
        analyzer = analyzer.weighted(weights)
    try:
        return build_index(
            output,
            passages,
            analyzer=analyzer,
            ranking=Ranking.from_settings(changes),
            encoder=encoder,
            faiss=faiss,
            resume=resume,
            progress=console.progress,
        )
    except BaseException:
        if has_interrupted_build(output):
            command = " ".join(["kofid", *(a for a in sys.argv[1:] if a != "--resume"), "--resume"])
            console.note(say(f"이어서 하려면: {command}", f"to go on: {command}"))
        raise


def _change(output: Path, passages: Iterable[Passage], delete: list[str], device: str) -> IndexSettings:
    """Change an index; one with vectors has them made anew by their encoder."""
    from kofid.retrieval.build import update_index
    from kofid.storage.artifacts import open_artifact

    dense = open_artifact(output, "index").settings.get("dense")
    encoder = open_named_encoder(dense["encoder"], device) if dense else None
    return update_index(output, add=passages, delete=_ids(delete), encoder=encoder, progress=console.progress)


def _ids(given: list[str]) -> Iterator[str]:
    """Yield ids: those named, and those of files, one a line."""
    from kofid.formats.records import read_lines
    from kofid.korean.text import clean

    for name in given:
        if Path(name).is_file():
            yield from (clean(line).strip() for _, line in read_lines(name) if line.strip())
        else:
            yield clean(name).strip()


def _tags(text: str) -> tuple[str, ...]:
    from kofid.korean.kiwi import ALL_TAGS

    tags = tuple(tag.strip().upper() for tag in text.split(",") if tag.strip())
    unknown = [tag for tag in tags if tag not in ALL_TAGS]
    if unknown or not tags:
        known = " ".join(sorted(ALL_TAGS))
        raise UsageError(
            say(f"--tags {text}: 모르는 품사입니다. 품사: {known}", f"--tags {text}: unknown tags; there are: {known}")
        )
    return tags


def _user_words(path: str | None, encoding: str | None) -> tuple[str, ...]:
    if path is None:
        return ()
    from kofid.formats.user_dictionary import read_user_words

    return read_user_words(path, encoding)


def _report(output: Path, settings: IndexSettings, skipped: list[str], seconds: float, json_output: bool) -> None:
    for message in skipped:
        console.note(say(f"뺌: {message}", f"skipped: {message}"))
    n = settings.n_passages
    if console.wants_json(json_output):
        console.print_json(
            {"index": str(output), "n_passages": n, "n_skipped": len(skipped), "seconds": round(seconds, 2)}
            | ({"dense": settings.dense.to_json()} if settings.dense else {})
        )
    else:
        console.note(
            say(
                f"{output}: 패시지 {n:,}개의 색인입니다 ({seconds:.1f}초)",
                f"{output}: an index of {n:,} passages ({seconds:.1f} s)",
            )
        )


def _estimate(passages: Iterable[Passage], json_output: bool) -> None:
    """Print what would be indexed: passages and characters, and the time that analysis takes at a cautious rate."""
    n = characters = 0
    for passage in passages:
        n += 1
        characters += len(passage.text)
    seconds = characters / 500_000 + 4
    if console.wants_json(json_output):
        console.print_json({"n_passages": n, "characters": characters, "estimated_seconds": round(seconds)})
    else:
        console.note(
            say(
                f"패시지 {n:,}개, {characters:,}자, 약 {seconds:,.0f}초",
                f"{n:,} passages, {characters:,} characters, about {seconds:,.0f} s",
            )
        )
