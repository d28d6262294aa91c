"""Documents as people keep them: text, Markdown, HTML, PDF, DOCX and HWPX, each an article."""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from kofid.errors import InputError
from kofid.formats.lines import open_bytes
from kofid.korean.text import clean
from kofid.language import say
from kofid.types import Passage

# More than this unpacked is no document; a small archive can unpack to anything.
MAX_BYTES = 256 * 2**20
_RECORDS = (".jsonl", ".json", ".tsv")
_PARAGRAPH = "{http://www.hancom.co.kr/hwpml/2011/paragraph}"


def is_document(source: str) -> bool:
    """Tell by its name whether a file is a document rather than records."""
    return Path(source).suffix.lower() in _READERS


def documents_in(folder: Path) -> Iterator[str]:
    """Yield the documents and files of records under a folder, in the order of their names.

    Hidden files are left out, and the lock files that Word lays beside an open document (``~$report.docx``).
    """
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith((".", "~$")) for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden and (is_document(path.name) or path.suffix.lower() in _RECORDS):
            yield str(path)


def shown(name: str) -> str:
    """Return a file's name as text: bytes of it that are not UTF-8 as ``\\xe9``.

    >>> shown("보고서.txt"), shown("caf\\udce9.txt")
    ('보고서.txt', 'caf\\\\xe9.txt')
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def read_document(source: str, encoding: str | None = None) -> Passage:
    """Return a document as one article, its path (as ``shown``) the id; raise InputError where it cannot be read or has no text.

    Text is UTF-8, UTF-16 with its mark, or CP949, unless ``encoding`` says otherwise. The title is the document's own
    where it has one (HTML, Markdown, PDF, DOCX), else the file's name.
    """
    with open_bytes(source) as stream:
        data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise _unreadable(source, f"> {MAX_BYTES >> 20} MiB")
    reader = _READERS[Path(source).suffix.lower()]
    try:
        title, text = reader(data, encoding)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # what a library makes of a damaged file is its own affair
        raise _unreadable(source, f"{type(error).__name__}: {error}") from error
    text = clean(text).strip()
    if not text:
        raise _unreadable(source, say("글이 없습니다", "no text"))
    return Passage(shown(source), clean(title).strip() or shown(Path(source).stem), text)


def _unreadable(source: str, why: str) -> InputError:
    name = shown(source)
    return InputError(say(f"{name}: 읽을 수 없습니다 ({why})", f"{name}: cannot be read ({why})"))


def _decoded(data: bytes, encoding: str | None) -> str:
    if encoding:
        return data.decode(encoding)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp949")


def _plain(data: bytes, encoding: str | None) -> tuple[str, str]:
    return "", _decoded(data, encoding)


def _markdown(data: bytes, encoding: str | None) -> tuple[str, str]:
    text = _decoded(data, encoding)
    heading = re.search(r"^#\s+(.+)$", text, re.MULTILINE)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)  # links keep their words
    text = re.sub(r"^(#{1,6}\s+|>\s?|```.*$)|[*`]{1,3}", "", text, flags=re.MULTILINE)
    return heading[1] if heading else "", text


def _html(data: bytes, encoding: str | None) -> tuple[str, str]:
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(data, "html.parser", from_encoding=encoding)
    title = soup.title.get_text() if soup.title else ""
    for part in soup(["script", "style", "noscript", "template", "nav", "title"]):
        part.decompose()
    for line in soup(["p", "br", "div", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6"]):
        line.append("\n")
    return title, re.sub(r"\n\s*\n+", "\n", soup.get_text())


def _pdf(data: bytes, _: str | None) -> tuple[str, str]:
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(data))
    title = (reader.metadata.title if reader.metadata else "") or ""
    return title, "\n".join(page.extract_text() for page in reader.pages)


def _docx(data: bytes, _: str | None) -> tuple[str, str]:
    from docx import Document

    _refuse_bomb(data)
    document = Document(io.BytesIO(data))
    lines = [paragraph.text for paragraph in document.paragraphs]
    lines += [" ".join(cell.text for cell in row.cells) for table in document.tables for row in table.rows]
    return document.core_properties.title or "", "\n".join(lines)


def _hwpx(data: bytes, _: str | None) -> tuple[str, str]:
    """Read the sections of an OWPML package (KS X 6101): the runs of text of each paragraph."""
    from defusedxml.ElementTree import fromstring  # type: ignore[import-untyped]

    _refuse_bomb(data)
    lines = []
    with zipfile.ZipFile(io.BytesIO(data)) as package:
        names = [name for name in package.namelist() if re.fullmatch(r"Contents/section\d+\.xml", name)]
        for name in sorted(names, key=lambda name: int(re.sub(r"\D", "", name))):
            for paragraph in fromstring(package.read(name)).iter(f"{_PARAGRAPH}p"):
                runs = paragraph.findall(f"{_PARAGRAPH}run/{_PARAGRAPH}t")
                lines.append("".join("".join(run.itertext()) for run in runs))
    return "", "\n".join(lines)


def _refuse_bomb(data: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as package:
        if sum(entry.file_size for entry in package.infolist()) > MAX_BYTES:
            raise ValueError(f"> {MAX_BYTES >> 20} MiB")


_READERS: dict[str, Callable[[bytes, str | None], tuple[str, str]]] = {
    ".txt": _plain,
    ".md": _markdown,
    ".markdown": _markdown,
    ".html": _html,
    ".htm": _html,
    ".pdf": _pdf,
    ".docx": _docx,
    ".hwpx": _hwpx,
}
