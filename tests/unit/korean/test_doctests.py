"""The examples in the docstrings of the rooms for Korean, retrieval and readers."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import kofid
from kofid.language import language, set_language

ROOT = Path(kofid.__file__).parent
MODULES = [
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
    for room in ("korean", "retrieval", "reader")
    for path in sorted((ROOT / room).rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str):
    before = language()
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    set_language(before)
    assert results.attempted > 0 and results.failed == 0
