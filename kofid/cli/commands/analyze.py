"""kofid analyze"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import kofid
from kofid.cli import console
from kofid.cli.options.common import Json
from kofid.language import say

NEEDS_ARGUMENTS = True
HELP = say(
    "글이 어떻게 나뉘는지 보입니다: 낱말마다 Kiwi의 형태소와 품사, 그리고 색인이 세는 말.",
    "Show how text is taken apart: for each word Kiwi's morphemes and tags, and the terms that an index counts.",
)
EXAMPLE = """kofid analyze "李舜臣은 T5모델은 몰랐다"
kofid analyze --analyzer kiwi+compound+bigram "한국어질의응답을 공부하다"
kofid analyze -i kb "임진왜란은 언제 일어났나?" --json"""


def run(
    text: Annotated[list[str], typer.Argument(help=say("글", "Text"))],
    analyzer: Annotated[
        str, typer.Option(metavar="SUM", help=say("kofid index --analyzer와 같음", "As in kofid index --analyzer"))
    ] = "kiwi+bigram",
    user_dict: Annotated[
        str | None, typer.Option("--user-dict", metavar="FILE.tsv", help=say("Kiwi에 더할 낱말", "Words for Kiwi"))
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option("--index", "-i", metavar="INDEX", help=say("이 색인의 분석기로", "With this index's analyzer")),
    ] = None,
    json_output: Json = False,
) -> None:
    """Show an analysis."""
    words = kofid.analyze(" ".join(text), analyzer=analyzer, user_dict=user_dict, index=index)
    if console.wants_json(json_output):
        for word in words:
            console.print_json({"word": word.word, "morphemes": word.morphemes, "terms": word.terms})
        return
    names = list(words[0].terms) if words else []
    rows = [[w.word, " ".join(w.morphemes), *(" ".join(terms) for terms in w.terms.values())] for w in words]
    console.print_table("", [say("낱말", "word"), say("형태소", "morphemes"), *names], rows)
