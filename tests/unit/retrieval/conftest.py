"""The questions of the demo, and an index of several segments, made once."""

from __future__ import annotations

import json
import random

import pytest
from support.indexes import build_and_open
from support.slow_index import random_passages

from kofid.retrieval.index import Index
from kofid.retrieval.sparse import builder as build
from kofid.storage.bundled import resource


@pytest.fixture(scope="session")
def demo_questions() -> list[str]:
    lines = resource("demo/questions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["question"] for line in lines]


@pytest.fixture(scope="session", params=[11, 12])
def segmented(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Index:
    """About 3,000 passages in seven segments."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "MAX_PASSAGES", 500)
        patch.setattr(build, "_SLACK", 60)
        passages = random_passages(random.Random(request.param), 1_000)
        index = build_and_open(tmp_path_factory.mktemp("segmented") / "kb", passages)
    assert len(passages) > 2_500 and len(index.segments) > 5
    return index
