"""kofid convert"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

import kofid
from kofid.cli import console
from kofid.cli.options.common import Encoding, Json, Verify
from kofid.cli.options.reading import CrossLayers, FirstK, KvHeads
from kofid.language import say

NEEDS_ARGUMENTS = True
HELP = say(
    "TREC, BEIR, FiD JSON, JSONL 사이를 바꿉니다. 필요한 파일을 모두 주면 무엇이 들었는지는 알아냅니다. 목적은 이름에서 짐작하고, 아니면 "
    "--to로 정합니다. TREC의 id에서 빈칸과 %는 %20, %25로 적고 다시 읽습니다. 모델 폴더(FiD의 리더, T5, mT5, kofid의 리더)는 kofid의 "
    "리더로 바꿉니다.",
    "Convert between TREC, BEIR, FiD JSON and JSONL. Give all the files it takes: what each holds is found out. The "
    "target is guessed from the output's name, or set by --to. In TREC ids, whitespace and % are written as %20, %25. "
    "A model's folder (FiD's reader, T5, mT5, kofid's reader) becomes a reader of kofid.",
)
EXAMPLE = """kofid convert resources/demo/questions.jsonl -o demo.qrels
kofid convert resources/demo/passages.jsonl resources/demo/questions.jsonl -o demo-beir --to beir
kofid convert demo-beir -o demo-jsonl --to jsonl
kofid retrieve -i kb demo-jsonl/questions.jsonl -o bm25.trec
kofid convert bm25.trec demo-jsonl/questions.jsonl -i kb -o bm25.json --to fid
kofid convert resources/models/fid-t5-mini -o fid-light --to reader --first-k 8"""


def run(
    sources: Annotated[
        list[str],
        typer.Argument(
            help=say(
                "TREC run·qrels, BEIR 폴더, FiD JSON, KorQuAD, 질문·패시지 JSONL, 또는 모델 폴더 하나",
                "TREC runs and qrels, BEIR folders, FiD JSON, KorQuAD, JSONL of questions and passages; or a model's folder",
            ),
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE|DIR", help=say("만들 파일이나 폴더", "File or folder to make")),
    ],
    to: Annotated[
        Literal["trec-run", "trec-qrels", "beir", "fid", "jsonl", "reader"] | None,
        typer.Option(
            help=say(
                "목적. beir, jsonl(passages.jsonl, questions.jsonl), reader는 폴더입니다",
                "Target. beir, jsonl (passages.jsonl, questions.jsonl) and reader are folders",
            )
        ),
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option(
            "--index",
            "-i",
            metavar="INDEX",
            help=say("run을 fid로 바꿀 때 패시지를 가져올 색인", "Where a run's passages come from, for fid"),
        ),
    ] = None,
    subset: Annotated[
        str, typer.Option(metavar="NAME", help=say("BEIR의 qrels/NAME.tsv", "BEIR's qrels/NAME.tsv"))
    ] = "test",
    decoder: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help=say("reader: 디코더가 될 GPT-2의 폴더 (FiDSKT)", "reader: folder of a GPT-2 for a decoder (FiDSKT)"),
        ),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|DIR",
            help=say("reader: 폴더에 없는 T5의 토크나이저", "reader: the T5's tokenizer, where its folder has none"),
        ),
    ] = None,
    first_k: FirstK = 0,
    n_cross_layer: CrossLayers = None,
    n_kv_heads: KvHeads = 0,
    max_tokens: Annotated[
        int | None,
        typer.Option(min=16, help=say("reader: 패시지 하나의 토큰 수 (250)", "reader: tokens a passage (250)")),
    ] = None,
    allow_pickle: Annotated[
        bool,
        typer.Option(
            "--allow-pickle",
            help=say(
                "reader: pytorch_model.bin도 텐서만 골라 읽기", "reader: read pytorch_model.bin too, its tensors only"
            ),
        ),
    ] = False,
    encoding: Encoding = None,
    verify: Verify = True,
    json_output: Json = False,
) -> None:
    """Convert files."""
    conversion = kofid.convert(
        sources,
        output,
        to=to,
        index=index,
        subset=subset,
        encoding=encoding,
        decoder=decoder,
        tokenizer=tokenizer,
        variant=kofid.Variant.of(first_k, n_cross_layer, n_kv_heads),
        max_tokens=max_tokens,
        allow_pickle=allow_pickle,
        verify=verify,
    )
    if console.wants_json(json_output):
        console.print_json({"output": str(output), "format": conversion.format, "sources": conversion.sources})
    else:
        console.note(say(f"{output}: {conversion.format}으로 적었습니다", f"{output}: written as {conversion.format}"))
