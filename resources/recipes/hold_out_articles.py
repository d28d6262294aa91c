"""Part questions by the article that answers them: ``python hold_out_articles.py FOLDER SET ... --articles ARTICLES.jsonl ...``.

A SET is a file of questions beside its ``passages.jsonl``, or one whose ``positive_ids`` are articles of ``--articles``. Articles
fall into ten parts by a hash of their title, the same for all sets: two parts are to measure on (``test``), one is to fit
confidence on (``dev``), seven are to train on. A question that is asked in ``test`` or ``dev`` of any set is trained on in none.
Writes FOLDER/PART-SETFOLDER-NAME.jsonl.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import lzma
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

PARTS = ("test", "test", "dev", *["train"] * 7)


def part_of(title: str) -> str:
    """Return the part of an article, by its title without spaces.

    >>> part_of("임진왜란") == part_of("임진 왜란")
    True
    """
    digest = hashlib.sha256("".join(title.split()).lower().encode()).digest()
    return PARTS[int.from_bytes(digest[:4], "big") % len(PARTS)]


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file of JSON lines, or its .xz."""
    with lzma.open(path, "rt", encoding="utf-8") if path.suffix == ".xz" else path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def parted(questions: Sequence[Path], articles: Sequence[Path]) -> dict[Path, dict[str, list[dict[str, Any]]]]:
    """Return each file's questions by part; questions without an article that is known go nowhere."""
    found: dict[Path, dict[str, list[dict[str, Any]]]] = {}
    from_articles = {entry["id"]: entry["title"] for path in articles for entry in lines(path)}
    for path in questions:
        passages = path.with_name("passages.jsonl")
        titles = {p["id"]: p["title"] for p in lines(passages)} if passages.exists() else from_articles
        found[path] = {part: [] for part in PARTS}
        for question in lines(path):
            title = next((titles[i] for i in question["positive_ids"] if i in titles), None)
            if title is not None:
                found[path][part_of(title)].append(question)
    asked = {
        "".join(q["question"].split()) for by_part in found.values() for part in ("test", "dev") for q in by_part[part]
    }
    for by_part in found.values():
        by_part["train"] = [q for q in by_part["train"] if "".join(q["question"].split()) not in asked]
    return found


def main() -> None:
    """Write the parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("questions", type=Path, nargs="+")
    parser.add_argument("--articles", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for path, by_part in parted(options.questions, options.articles).items():
        for part, chosen in by_part.items():
            name = f"{part}-{path.parent.name}-{path.stem}.jsonl"
            text = "".join(json.dumps(question, ensure_ascii=False) + "\n" for question in chosen)
            (options.folder / name).write_text(text, encoding="utf-8")
            print(name, len(chosen))


if __name__ == "__main__":
    main()
