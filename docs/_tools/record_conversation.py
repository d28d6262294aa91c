"""Record a conversation with the demo corpus as docs/assets/conversation.svg and conversation.en.svg: a real run of the chat.

    python docs/_tools/record_conversation.py

The seconds that the chat prints are left as they were; nothing else depends on the machine.
"""

from __future__ import annotations

import io
import re
import sys
from html import unescape
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).parents[2]
QUESTIONS = (
    "한산도 대첩은 언제 일어났나?",
    "임짅왜란은언제 일어났나",
    "거북선은 몇 척이 남아 있나?",
)
OUTPUTS = {"ko": ROOT / "docs/assets/conversation.svg", "en": ROOT / "docs/assets/conversation.en.svg"}
PROMPTS = {"ko": ("$ kofid ask --demo", "질문> "), "en": ("$ kofid --lang en ask --demo", "ask> ")}
FONT_SIZE, ASPECT = 20, 0.5  # rich's own size; half of it is the width of a Latin letter beside a whole Hangul syllable
_TEXT = re.compile(r'(?P<before><text [^>]*)textLength="[^"]*"(?P<after>[^>]*)>(?P<text>[^<]*)</text>')
WIDTH = 84  # columns; a Hangul syllable takes two
# Monospaced fonts with Hangul first; none is fetched, so that the picture shows the same without a network.
FONTS = "D2Coding, 'Nanum Gothic Coding', 'Noto Sans Mono CJK KR', 'Noto Sans KR', 'Malgun Gothic', Menlo, Consolas, monospace"
THEME = TerminalTheme(
    (28, 32, 38),
    (220, 224, 230),
    [(60, 66, 74), (232, 110, 110), (126, 200, 130), (226, 190, 100), (110, 160, 230), (200, 140, 220), (100, 200, 210)]
    + [(220, 224, 230)],
)
FORMAT = """<svg class="{unique_id}" viewBox="0 0 {width} {height}" role="img" aria-label="kofid ask" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: FONTS; font-size: {char_height}px; line-height: {line_height}px; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
<rect fill="#1c2026" x="0" y="0" width="{width}" height="{height}" rx="10"/>
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
""".replace("FONTS", FONTS)


def record(language: str) -> str:
    """Return the conversation in ``language`` as SVG."""
    import kofid
    from kofid.cli.chat import Conversation
    from kofid.language import set_language

    set_language(language)
    pipeline = kofid.open_demo()
    pipeline.ask(QUESTIONS[0])  # reads Kiwi, so that the seconds are those of a conversation under way
    console = Console(
        record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor", highlight=False
    )
    command, prompt = PROMPTS[language]
    conversation = Conversation(pipeline, lambda same, _name, _value: same, console)
    console.print(Text(command, "bold"))
    for question in QUESTIONS:
        console.print()
        console.print(Text.assemble((prompt, "bold cyan"), question))
        conversation.hear(question)
    picture = console.export_svg(theme=THEME, code_format=FORMAT, unique_id="kofid", font_aspect_ratio=ASPECT)
    return _TEXT.sub(_with_width, picture)


def _with_width(element: re.Match[str]) -> str:
    """Return a text element as wide as its columns: rich counts a Hangul syllable as one, a terminal as two."""
    columns = cell_len(unescape(element["text"]).replace("\xa0", " "))
    width = columns * FONT_SIZE * ASPECT
    return f'{element["before"]}textLength="{width:g}"{element["after"]}>{element["text"]}</text>'


def main() -> None:
    """Write the pictures."""
    for language in sys.argv[1:] or OUTPUTS:
        OUTPUTS[language].write_text(record(language), encoding="utf-8")


if __name__ == "__main__":
    main()
