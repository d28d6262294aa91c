"""Questions parted by article: an article is in one part of all sets, and what is measured on is not trained on."""

from __future__ import annotations

import importlib.util
import json
import lzma
import sys
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from support.command_line import write_jsonl

from kofid.storage.bundled import resource

spec = importlib.util.spec_from_file_location("hold_out_articles", resource("recipes/hold_out_articles.py"))
assert spec is not None and spec.loader is not None
recipe = importlib.util.module_from_spec(spec)
spec.loader.exec_module(recipe)


def title_in(part: str, n: int = 0) -> str:
    """Return the n-th title of the form 글1, 글2 ... whose article falls into a part."""
    titles = (f"글{i}" for i in count())
    return [title for title, _ in zip((t for t in titles if recipe.part_of(t) == part), range(n + 1), strict=False)][n]


def entry(question: str, *gold: str) -> dict[str, Any]:
    return {"question": question, "positive_ids": list(gold)}


@pytest.fixture
def sets(tmp_path: Path) -> tuple[list[Path], Path]:
    """Two sets: one with passages of its own, one whose gold are articles of a common file."""
    test, dev, train = (title_in(part) for part in ("test", "dev", "train"))
    for name in "ab":
        (tmp_path / name).mkdir()
    passages = [{"id": f"{title}#0", "title": title} for title in (test, dev, train)]
    write_jsonl(tmp_path / "a/passages.jsonl", passages)
    own = [entry("1?", f"{test}#0"), entry("2?", f"{dev}#0"), entry("3?", f"{train}#0"), entry("4?", f"{train}#0")]
    write_jsonl(tmp_path / "a/q.jsonl", [*own, entry("5?", "unknown"), entry("6?")])
    articles = [{"id": f"id-{title}", "title": title} for title in (test, dev, train)]
    text = "".join(json.dumps(article) + "\n" for article in articles)
    (tmp_path / "articles.jsonl.xz").write_bytes(lzma.compress(text.encode()))
    # "4 ?" is asked in a's training part, too, "3?" in this set's test part.
    others = [entry("3 ?", f"id-{test}"), entry("4 ?", f"id-{train}"), entry("7?", "unknown", f"id-{train}")]
    write_jsonl(tmp_path / "b/q.jsonl", [*others, entry("1 ?", f"id-{train}"), entry("2?", f"id-{train}")])
    return [tmp_path / "a/q.jsonl", tmp_path / "b/q.jsonl"], tmp_path / "articles.jsonl.xz"


def texts(parts: dict[str, list[dict[str, Any]]]) -> dict[str, list[str]]:
    return {part: [question["question"] for question in questions] for part, questions in parts.items()}


def test_parts_by_hand(sets: tuple[list[Path], Path]) -> None:
    files, articles = sets
    first, second = recipe.parted(files, [articles]).values()
    # 3? is measured on in the second set, so the first does not train on it; 1 ? and 2? the other way round.
    assert texts(first) == {"test": ["1?"], "dev": ["2?"], "train": ["4?"]}
    assert texts(second) == {"test": ["3 ?"], "dev": [], "train": ["4 ?", "7?"]}


def test_parts_are_written_by_folder_and_name(
    sets: tuple[list[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files, articles = sets
    monkeypatch.setattr(sys, "argv", ["x", str(tmp_path / "out"), *map(str, files), "--articles", str(articles)])
    recipe.main()
    lines = {path.name: len(path.read_text().splitlines()) for path in (tmp_path / "out").iterdir()}
    assert lines == {
        "test-a-q.jsonl": 1, "dev-a-q.jsonl": 1, "train-a-q.jsonl": 1,
        "test-b-q.jsonl": 1, "dev-b-q.jsonl": 0, "train-b-q.jsonl": 2,
    }  # fmt: skip
    assert capsys.readouterr().out.count("\n") == 6


def test_an_articles_part_hangs_on_its_title_alone() -> None:
    titles = [f"글 {i}" for i in range(2000)]
    parts = [recipe.part_of(title) for title in titles]
    assert parts == [recipe.part_of(title.replace(" ", "")) for title in titles]
    assert recipe.part_of("Seoul") == recipe.part_of("SEOUL")
    # Of 2,000 a fifth, 400, in test, a tenth, 200, in dev; give or take four standard deviations, 4 x 18 and 4 x 13.
    assert abs(parts.count("test") - 400) < 72 and abs(parts.count("dev") - 200) < 54
