"""Searching an index: what is found, in which order, and what is not."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from math import log
from pathlib import Path

import pytest
from support.indexes import build_and_open, ids, untitled

from kofid.formats import read_corpus
from kofid.korean.text import clean
from kofid.pipeline import Pipeline
from kofid.retrieval.build import build_index
from kofid.retrieval.index import Index
from kofid.retrieval.sparse import builder as build
from kofid.retrieval.sparse.analyzer import Analyzer, parse_components
from kofid.retrieval.sparse.bm25 import Ranker
from kofid.retrieval.sparse.ranking import PLAIN, Ranking
from kofid.types import Answer, Hit, Passage


def test_search(small_index: Path):
    index = Index.open(small_index)
    assert len(index) == 4
    hits = index.search("폴로늄이라는 이름은 누가 지었나?", 2)
    assert hits[0].passage == Passage("퀴리", "마리 퀴리", "퀴리는 새 원소를 폴로늄이라고 이름 지었다.")
    assert hits[0].source == "sparse"
    assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)


def test_title_is_searched(small_index: Path):
    assert ids(Index.open(small_index).search("마리", 3)) == ["퀴리"]


@pytest.mark.parametrize("question", ["", "   ", "?!", "쀍뛟", "zzzz", "😀"])
def test_nothing_to_find(small_index: Path, question: str):
    assert Index.open(small_index).search(question, 5) == []


def test_more_asked_for_than_there_are(small_index: Path):
    hits = Index.open(small_index).search("이순신", 1_000)
    assert {h.passage.title for h in hits} == {"이순신"} and len(hits) == 2


def test_none_asked_for(small_index: Path):
    assert Index.open(small_index).search("이순신", 0) == []


def test_none_asked_for_without_penalty(small_index: Path):
    assert Index.open(small_index, ranking=PLAIN).search("이순신", 0) == []


@pytest.mark.parametrize("ranking", [PLAIN, Ranking()], ids=["plain", "default"])
def test_ties_stand_in_corpus_order(tmp_path: Path, ranking: Ranking):
    index = build_and_open(tmp_path / "kb", untitled(*["같은 글이다"] * 130), ranking)
    for k in (1, 7, 60, 130):
        assert ids(index.search("같은", k)) == [str(n) for n in range(k)]


def test_ties_stand_in_corpus_order_over_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(build, "MAX_PASSAGES", 20)
    monkeypatch.setattr(build, "_SLACK", 1)
    index = build_and_open(tmp_path / "kb", untitled(*["같은 글이다"] * 70))
    assert len(index.segments) == 4
    assert ids(index.search("같은", 45)) == [str(n) for n in range(45)]


def test_composed_and_decomposed_questions_and_corpora(tmp_path: Path):
    results = []
    for form in ("NFC", "NFD"):
        corpus = tmp_path / f"{form}.jsonl"
        lines = [{"id": str(n), "text": text} for n, text in enumerate(["이순신은 장군이다", "세종은 임금이다"])]
        corpus.write_text("".join(unicodedata.normalize(form, json.dumps(e, ensure_ascii=False)) + "\n" for e in lines))
        build_index(tmp_path / form, read_corpus([str(corpus)]))
        index = Index.open(tmp_path / form)
        results += [
            index.search(clean(unicodedata.normalize(form_asked, "이순신은 누구?")), 5) for form_asked in ("NFC", "NFD")
        ]
    assert results[0] and all(result == results[0] for result in results)


def test_hanja_are_found_by_their_reading_and_the_other_way_round(tmp_path: Path):
    build_index(tmp_path / "kb", [Passage("한자", "", "李舜臣은 장군이다."), Passage("한글", "", "이순신은 장군이다.")])
    index = Index.open(tmp_path / "kb")
    assert set(ids(index.search("이순신", 5))) == set(ids(index.search("李舜臣", 5))) == {"한자", "한글"}


class FirstTitle:
    """Answers with the title of the first hit."""

    def read(self, question: str, hits: Sequence[Hit]) -> list[Answer]:
        return [Answer(hits[0].passage.title, 1.0, hits[0].passage)] if hits else []


@pytest.mark.parametrize(
    "question",
    [unicodedata.normalize("NFD", "폴로늄"), "폴로\u200b늄", "폴로늄 \ud800"],
    ids=["NFD", "zero-width", "lone surrogate"],
)
def test_question_typed_into_the_chat_is_cleaned(small_index: Path, question: str):
    """It does not pass through a file reader; what a terminal hands over may hold lone surrogates."""
    index = Index.open(small_index)
    reply = Pipeline(index, FirstTitle(), index.search).ask(question)
    assert reply.answer is not None and reply.answer.text == "마리 퀴리"


def test_passage_without_any_term(tmp_path: Path):
    build_index(tmp_path / "kb", [Passage("1", "", "😀"), Passage("2", "", "이순신"), Passage("3", "", "...")])
    index = Index.open(tmp_path / "kb")
    assert len(index) == 3
    assert ids(index.search("이순신", 5)) == ["2"]
    assert index.search("😀", 5) == []


def test_index_remembers_its_ranking_and_can_be_asked_with_another(tmp_path: Path):
    stored = Ranking(Ranker("atire", 2.0, 0.5), title_weight=0.5, sentence_weight=0.0)
    settings = build_index(
        tmp_path / "kb",
        [Passage("1", "", "이순신"), Passage("2", "", "홍길동")],
        analyzer=Analyzer(parse_components("kiwi*2+bigram*0.5")),
        ranking=stored,
        notes={"note": "x"},
    )
    index = Index.open(tmp_path / "kb")
    assert index.settings == settings and index.artifact.settings == settings.to_json()
    assert (settings.n_passages, settings.n_segments, settings.notes) == (2, 1, {"note": "x"})
    assert settings.analyzer == Analyzer().settings and settings.weights == (2.0, 0.5)
    assert (index.ranking, index.weights) == (stored, (2.0, 0.5))
    # In each component the length is average, so K = 2; atire's idf is ln 2. One morpheme, two bigrams, each once.
    once = log(2) * 3 / (1 + 2)
    assert index.search("이순신", 1)[0].score == pytest.approx(2 * once + 0.5 * 2 * once, rel=1e-5)
    ranking = Ranking(Ranker("bm25+", 2.0), sentence_weight=0.0)
    other = Index.open(tmp_path / "kb", ranking=ranking, weights=[1.0, 0.0])
    assert other.search("이순신", 1)[0].score == pytest.approx(log(3) * (1 + 1), rel=1e-5)
    assert index.ranked(ranker="bm25+", weights=[1.0, 0.0]).search("이순신", 1) == other.search("이순신", 1)
    assert index.search("이순신", 1)[0].score == pytest.approx(2 * once + 0.5 * 2 * once, rel=1e-5)
