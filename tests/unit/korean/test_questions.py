"""Words that ask, analysed by their stated forms."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kofid.formats import read_questions
from kofid.korean.questions import stated_forms
from kofid.retrieval.build import build_index
from kofid.retrieval.index import Index
from kofid.retrieval.sparse.analyzer import Analyzer, parse_components, words_of
from kofid.storage.bundled import resource
from kofid.types import Passage


@pytest.mark.parametrize(
    ("word", "form"),
    [
        ("태어났나요", "태어났다"),
        ("개최되었는가", "개최되었다"),
        ("말하나요", "말하고"),
        ("일어났습니까", "일어났다"),
        ("있을까요", "있는데"),
        ("섬인가요", "섬"),
        ("수도였나", "수도"),
        ("합니까", "한다"),
        ("됩니까", "되다"),
        ("큽니까", "크다"),
    ],
)
def test_stated_forms(word: str, form: str):
    assert form in list(stated_forms(word))


@pytest.mark.parametrize("word", ["한산도", "나요", "가", "", "T5", "1592년", "이순신은"])
def test_what_does_not_end_as_a_question_has_none(word: str):
    assert list(stated_forms(word)) == []


def test_an_index_analyses_a_question_by_what_it_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    build_index(tmp_path / "kb", [Passage("a", "", "그는 통영에서 태어났다. 제주도는 섬이다.")])
    index = Index.open(tmp_path / "kb")
    expected = index.analyzer.analyze(["태어났나요", "섬인가요"])
    monkeypatch.setattr(Analyzer, "analyze", lambda self, units: pytest.fail(f"Kiwi for {units}"))
    assert [analysis for _, analysis in index.analyze("태어났나요 섬인가요")] == expected


def test_bigrams_are_those_of_the_word_itself(tmp_path: Path):
    build_index(tmp_path / "kb", [Passage("a", "", "통영에서 태어났다")])
    ((_, (_, grams)),) = Index.open(tmp_path / "kb").analyze("태어났나요")
    assert grams == ["태어", "어났", "났나", "나요"]


@pytest.mark.parametrize("analyzer", [Analyzer(parse_components("kiwi-all")), Analyzer(tags=("VV", "EF"))])
def test_not_where_endings_count(analyzer: Analyzer, tmp_path: Path):
    build_index(tmp_path / "kb", [Passage("a", "", "통영에서 태어났다")], analyzer=analyzer)
    assert not Index.open(tmp_path / "kb").has_analysis("태어났나요")


def test_stated_forms_agree_with_kiwi(demo_index: Index):
    """Of the words in the demo questions that the index knows by a stated form, nearly all have the very same terms."""
    index = demo_index
    words = {w for q in read_questions(str(resource("demo/questions.jsonl"))) for w in words_of(q.text)}
    words_known = [w for w in sorted(words) if index.has_analysis(w) and not index.knows([w])[0]]
    by_kiwi = index.analyzer.analyze(words_known)
    same = sum(index.analyze(word)[0][1][0] == analysis[0] for word, analysis in zip(words_known, by_kiwi, strict=True))
    print(f"{same} of {len(words_known)}")
    assert len(words_known) > 50 and same / len(words_known) > 0.85


def test_one_question_does_not_load_kiwi(tmp_path: Path):
    build_index(tmp_path / "kb", [Passage("a", "이순신", "이순신은 한산도에서 이겼다. 어디에서 태어났다.")])
    run = (
        "import sys; from kofid.cli import app as cli; sys.argv = ['kofid', 'retrieve', '-i', sys.argv[1], sys.argv[2], '--json']\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "print('kiwipiepy' in sys.modules, file=sys.stderr)"
    )
    for question, loaded in (("이순신은 어디에서 태어났나요?", "False"), ("듣도보도못한낱말뭉치", "True")):
        command = [sys.executable, "-c", run, str(tmp_path / "kb"), question]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=True)
        assert done.stderr.split()[-1] == loaded
