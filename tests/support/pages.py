"""The pages of the documentation, and the blocks of code in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from support.command_line import ROOT

DOCS = ROOT / "docs"
# By each Korean page its English twin.
TWINS = {ROOT / "README.md": ROOT / "README.en.md"} | {
    page: DOCS / "en" / page.name for page in sorted(DOCS.glob("*.md"))
}
PAGES = [*TWINS, *TWINS.values(), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]

_FENCE = re.compile(r"^ *```(?P<language>\w*)\n(?P<code>.*?)^ *```$", re.MULTILINE | re.DOTALL)
_NOT_RUN = re.compile(r"<!-- not run: (?P<reason>.+?) -->\s*\Z", re.DOTALL)
_PAGE_NOT_RUN = re.compile(r"<!-- not run on this page")
_INSTALL = re.compile(r"<!-- install-and-(ask|test) -->\s*\Z")


class Block(NamedTuple):
    """A fenced block of code: where it begins, its language, and whether a mark before it says that it is not run."""

    page: Path
    line: int
    language: str
    code: str
    runs: bool

    @property
    def commands(self) -> list[str]:
        """The shell commands of the block, without comments, each part of ``&&`` apart."""
        lines = (re.sub(r"\s+# .*", "", line).strip() for line in self.code.replace("\\\n", " ").splitlines())
        return [part.strip() for line in lines if line and not line.startswith("#") for part in line.split("&&")]


def blocks(page: Path, language: str) -> Iterator[Block]:
    """Yield a page's blocks in ``language``, in order."""
    text = page.read_text(encoding="utf-8")
    whole_page = bool(_PAGE_NOT_RUN.search(text))
    for match in _FENCE.finditer(text):
        if match["language"] == language:
            before = text[: match.start()]
            runs = not (whole_page or _NOT_RUN.search(before) or _INSTALL.search(before))
            yield Block(page, before.count("\n") + 1, language, match["code"], runs)


def prose(page: Path) -> str:
    """Return a page's text without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def mentioned_commands(page: Path) -> Iterator[str]:
    """Yield every kofid command that a page shows, in blocks whether they are run or not, and in its prose."""
    for block in blocks(page, "bash"):
        yield from (command for command in block.commands if " kofid " in f" {command}")
    for code in re.findall(r"`([^`\n]+)`", prose(page)):
        if code.startswith("kofid ") or " kofid " in code and not code.startswith("torchrun"):
            yield code[code.index("kofid ") :]


def headings(page: Path) -> list[tuple[int, str]]:
    """Return level and text of a page's headings, in order."""
    return [(len(hashes), text.strip()) for hashes, text in re.findall(r"^(#+) (.+)$", prose(page), re.MULTILINE)]


def anchor(heading: str) -> str:
    """Return the anchor of a heading: lower case, without punctuation, hyphens for spaces (so do GitHub and the site)."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
