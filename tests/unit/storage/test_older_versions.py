"""What an earlier kofid wrote opens and answers as it did then, or is refused with the command that renews it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kofid.errors import IncompatibleArtifactError
from kofid.retrieval.build import build_index, update_index
from kofid.retrieval.dense.encoders import open_encoder
from kofid.retrieval.index import Index
from kofid.storage.artifacts import artifact_kind, open_artifact
from kofid.types import Hit, Passage

DATA = Path(__file__).parents[2] / "data"
OLD = DATA / "format-1"
EXPECTED: dict[str, Any] = json.loads((OLD / "expected.json").read_text(encoding="utf-8"))
QUESTIONS: list[str] = EXPECTED["questions"]


def hits() -> list[list[Hit]]:
    index = Index.open(OLD / "index")
    return [index.search(question, 3) for question in QUESTIONS]


@pytest.mark.parametrize(
    ("name", "kind"), [("index", "index"), ("encoder", "encoder"), ("fid", "reader"), ("span", "reader")]
)
def test_it_is_sound(name: str, kind: str):
    assert artifact_kind(OLD / name) == kind
    open_artifact(OLD / name, kind, thorough=True)


def test_index_finds_what_it_found():
    index, expected = Index.open(OLD / "index"), EXPECTED["index"]
    assert len(index) == expected["n_passages"] and index.artifact.settings == expected["settings"]
    assert index.passages[0] == Passage(*expected["passage"])
    assert [[[hit.passage.id, hit.score] for hit in row] for row in hits()] == expected["hits"]


def test_index_can_be_changed(tmp_path: Path):
    shutil.copytree(OLD / "index", tmp_path / "kb")
    update_index(tmp_path / "kb", add=[Passage("새글", "", "폴로늄은 원소이다")])
    index = Index.open(tmp_path / "kb")
    assert [hit.passage.id for hit in index.search("폴로늄", 2)] == ["새글"]
    assert [hit.passage.id for hit in index.search(QUESTIONS[0], 3)] == [i for i, _ in EXPECTED["index"]["hits"][0]]
    assert sorted(path.name for path in (tmp_path / "kb").glob("gen-*")) == ["gen-3"]


def test_encoder_gives_the_vectors_that_it_gave():
    encoder, expected = open_encoder(str(OLD / "encoder"), "cpu").encoder, EXPECTED["encoder"]
    np.testing.assert_allclose(encoder.encode_questions(QUESTIONS), expected["questions"], atol=1e-6)
    passages = [hit.passage for hit in hits()[0]]
    np.testing.assert_allclose(encoder.encode_passages(passages), expected["passages"], atol=1e-6)


@pytest.mark.parametrize("name", ["fid", "span"])
def test_reader_answers_as_it_did(name: str):
    from kofid.reader.open import open_reader

    reader = open_reader(str(OLD / name), device="cpu", n_context=3)
    for question, row, expected in zip(QUESTIONS, hits(), EXPECTED[name], strict=True):
        answers = reader.read(question, row)[:3]
        places = [[a.text, a.passage.id if a.passage else None, a.start, a.end] for a in answers]
        assert places == [[text, *place] for text, _, *place in expected]
        assert [a.confidence for a in answers] == pytest.approx(
            [confidence for _, confidence, *_ in expected], abs=1e-5
        )


def test_another_format_is_refused_with_the_command_that_renews_it(tmp_path: Path, english: None):
    path = tmp_path / "kb"
    shutil.copytree(DATA / "format-0/index", path)
    with pytest.raises(
        IncompatibleArtifactError, match=f"index/1 is needed, this is index/0.*kofid index CORPUS -o {path}"
    ):
        Index.open(path)
    build_index(path, [Passage("새글", "", "폴로늄은 원소이다")])  # what the command does
    assert len(Index.open(path)) == 1 and sorted(p.name for p in path.glob("gen-*")) == ["gen-2"]
