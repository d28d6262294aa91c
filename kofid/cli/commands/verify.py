"""kofid verify"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

import kofid
from kofid.cli import console
from kofid.cli.options.common import Json
from kofid.language import say

NEEDS_ARGUMENTS = True
HELP = say(
    "색인이나 모델의 모든 파일을 SHA-256으로 확인합니다. 손상된 파일이 있으면 이름을 대고 4로 끝납니다.",
    "Check every file of an index or model by SHA-256; names a damaged one and exits with 4.",
)
EXAMPLE = "kofid verify kb"


def run(
    path: Annotated[Path, typer.Argument(help=say("색인이나 모델 디렉터리", "Index or model directory"))],
    json_output: Json = False,
) -> None:
    """Check an artifact."""
    artifact = kofid.verify(path)
    if console.wants_json(json_output):
        console.print_json({"path": str(path), "kind": artifact.kind, "ok": True, "settings": artifact.settings})
    else:
        console.note(say(f"{path}: 이상 없음 ({artifact.kind})", f"{path}: sound ({artifact.kind})"))
        console.note(json.dumps(artifact.settings, ensure_ascii=False, indent=1))
