"""Questions into weighted terms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.indexes import WORDS, ids, untitled

from kofid.retrieval.build import build_index
from kofid.retrieval.index import Index
from kofid.retrieval.sparse.analyzer import Analyzer, parse_components
from kofid.retrieval.sparse.query import weigh
from kofid.retrieval.sparse.ranking import Ranking

Weighed = list[tuple[str, int, float]]


def weighed(*words: tuple[str, list[list[str]]], spec: str = "kiwi+bigram*0.5", **options: Any) -> Weighed:
    ranking = Ranking(**({"asking_weight": 0.1, "ending_weight": 0.3} | options))
    analyzer = Analyzer(parse_components(spec))
    return [(t.text, t.component, t.weight) for t in weigh(words, analyzer, analyzer.weights, ranking)]


def test_bigrams_of_endings_count_less():
    """Bigrams are component 1, which counts half."""
    query = weighed(("이순신은", [["이순신"], ["이순", "순신", "신은"]]))
    assert query == [("이순신", 0, 1.0), ("이순", 1, 0.5), ("순신", 1, 0.5), ("신은", 1, 0.15)]
    # Where no morpheme is known there is no telling, so all count.
    assert weighed(("쀍뛟은", [[], ["쀍뛟", "뛟은"]])) == [("쀍뛟", 1, 0.5), ("뛟은", 1, 0.5)]


@pytest.mark.parametrize(
    ("word", "stems", "bigrams", "endings"),
    [
        ("선거법은", ["선거", "법"], ["선거", "거법", "법은"], ["법은"]),  # within the word, though in no morpheme
        ("일어났나", ["일어나"], ["일어", "어났", "났나"], ["어났", "났나"]),  # the stem changes before its ending
        ("먹는다", ["먹"], ["먹는", "는다"], ["먹는", "는다"]),
        ("꽃", ["꽃"], ["꽃"], []),
        ("법은법은", ["법", "법"], ["법은", "은법", "법은"], []),  # the last is one, but as well another's middle
        ("李舜臣은", ["李舜臣", "이순신"], ["李舜", "舜臣", "은", "이순", "순신"], ["은"]),
        ("1,592", ["1592"], ["1", "59", "92"], []),
        ("1,592년에", ["1592", "년"], ["1", "59", "92", "년에"], ["년에"]),
        ("5.2는", ["5.2"], ["5", "2", "는"], ["는"]),
        pytest.param(
            *("1,2는", ["12"], ["1", "2", "는"], ["는"]),
        ),
    ],
)
def test_bigrams_of_endings(word: str, stems: list[str], bigrams: list[str], endings: list[str]):
    query = weighed((word, [stems, bigrams]), spec="kiwi+bigram")
    assert [term for term, c, weight in query if c == 1 and weight < 1] == endings


@pytest.mark.parametrize(("other", "terms"), [("kiwi-all", ["법", "은"]), ("whitespace", ["법은"])])
def test_endings_are_told_by_content_alone(other: str, terms: list[str]):
    """Particles are morphemes too, and a word is all of itself: neither says what is an ending."""
    assert weighed(("법은", [terms, ["법은"]]), spec=f"{other}+bigram")[-1] == ("법은", 1, 1.0)
    assert weighed(("법은", [["법"], terms, ["법은"]]), spec=f"kiwi+{other}+bigram")[-1] == ("법은", 2, 0.3)


def test_words_that_ask_count_less():
    who, who_is = ("누가", [["누가"], []]), ("누구인가", [["누구"], ["누구", "구인"]])
    king = ("세종", [["세종"], ["세종"]])
    assert weighed(who, king) == [("누가", 0, 0.1), ("세종", 0, 1.0), ("세종", 1, 0.5)]
    assert weighed(king, who_is)[2:] == [("누구", 0, 0.1), ("누구", 1, 0.05), ("구인", 1, pytest.approx(0.015))]
    # Nothing but words that ask: then they are what it is about.
    assert weighed(who, ("언제", [["언제"], ["언제"]])) == [("누가", 0, 1.0), ("언제", 0, 1.0), ("언제", 1, 0.5)]
    assert weighed() == []


@pytest.mark.parametrize(
    "word",
    [
        "누구는",
        "누가",
        "언제",
        "언제였나",
        "어디에서",
        "무엇을",
        "무슨",
        "몇",
        "얼마나",
        "어느",
        "어떤",
        "어떻게",
        "왜",
        "왜냐",
        "왜일까",
        "누가요",
        "뭔가요",
    ],
)
def test_words_that_ask(word: str):
    assert weighed((word, [["x"], []]), ("세종", [["세종"], []]), asking_weight=0.0)[0] == ("x", 0, 0.0)


@pytest.mark.parametrize("word", ["왜군은", "왜구가", "왜란은", "누가복음은"])
def test_words_that_only_begin_like_one_that_asks(word: str):
    assert weighed((word, [["x"], []]), ("세종", [["세종"], []]), asking_weight=0.0)[0] == ("x", 0, 1.0)


def test_question_of_words_that_ask_alone_finds_them(tmp_path: Path):
    passages = untitled("누구 언제 어디", "누구 없소", "세종")
    build_index(tmp_path / "kb", passages, analyzer=WORDS)
    index = Index.open(tmp_path / "kb")
    assert index.ranking.asking_weight == 0.0
    assert ids(index.search("누구", 3)) == ["1", "0"]
    assert ids(index.search("누구 세종", 3)) == ["2"]
