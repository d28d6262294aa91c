"""Text into terms: every kind of analyzer, sums of them, what an index keeps of one."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

from kofid.errors import IncompatibleArtifactError, UsageError
from kofid.formats import read_corpus
from kofid.korean import kiwi as morphology
from kofid.korean.hanja import hanja_reading
from kofid.korean.text import clean
from kofid.retrieval.sparse.analyzer import (
    CONTENT_TAGS,
    Analyzer,
    Component,
    bigrams,
    parse_components,
    words_of,
)
from kofid.storage.bundled import resource


def analyze(spec: str, text: str, **options: object) -> list[list[str]]:
    """Return the terms of ``text`` by component, all its words' one after another."""
    analyzer = Analyzer(parse_components(spec), **options)
    result = analyzer.analyze(analyzer.units(text))
    return [[term for analysis in result for term in analysis[c]] for c in range(len(analyzer.components))]


def terms(spec: str, text: str, **options: object) -> list[str]:
    (result,) = analyze(spec, text, **options)
    return result


# --- words ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("이순신은 1592년에, 거북선을…", ["이순신은", "1592년에", "거북선을"]),
        ("T5모델은 NASA의", ["t5모델은", "nasa의"]),
        ("1,592명과 3.14", ["1,592", "명과", "3.14"]),
        ("스물, 2,", ["스물", "2"]),
        ("snake_case", ["snake", "case"]),
        ("李舜臣(이순신)", ["李舜臣", "이순신"]),
        ("?! 😀", []),
        ("", []),
    ],
)
def test_words(text: str, words: list[str]):
    assert words_of(text) == words


def test_long_words_are_cut():
    assert words_of("가" * 85 + " 나") == ["가" * 40, "가" * 40, "가" * 5, "나"]
    # 1,000,000 / 40 = 25,000 pieces, each of one morpheme and 39 bigrams
    result = Analyzer().analyze(words_of("a" * 1_000_000))
    assert len(result) == 25_000 and all(analysis == [["a" * 40], ["aa"] * 39] for analysis in result)


# --- kiwi ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("이순신은", ["이순신"]),
        ("꽃", ["꽃"]),
        ("그 꽃을 본", ["꽃", "보"]),  # words of one syllable stay
        ("먹는다", ["먹"]),
        ("공부했다", ["공부"]),
        ("T5모델은", ["t", "5", "모델"]),
        ("NASA", ["nasa"]),
        ("1592년에", ["1592", "년"]),
        ("1,592명이", ["1592", "명"]),  # as it is written elsewhere
        ("3·1", ["3", "1"]),
        ("李舜臣은", ["李舜臣", "이순신"]),
        ("누구는", []),
        ("?!", []),
        ("", []),
        ("😀", []),
    ],
)
def test_content_morphemes(text: str, result: list[str]):
    assert terms("kiwi", text) == result


@pytest.mark.parametrize("particle", ["은", "이", "을", "의", "에게", "까지", "이라고"])
def test_particles_are_no_terms(particle: str):
    assert terms("kiwi", "이순신" + particle) == ["이순신"]


def test_terms_keep_order_and_count():
    assert terms("kiwi", "꽃과 나무와 꽃을 심었다") == ["꽃", "나무", "꽃", "심"]


@pytest.mark.parametrize("word", ["이순신은", "먹는다", "누구는"])
def test_all_morphemes(word: str):
    morphemes = {"이순신은": ["이순신", "은"], "먹는다": ["먹", "는다"], "누구는": ["누구", "는"]}
    assert terms("kiwi-all", word) == morphemes[word]


def test_other_tags():
    assert terms("kiwi", "이순신은 거북선을 만들었다", tags=("NNG", "NNP")) == ["이순신", "거북선"]
    assert terms("kiwi", "이순신은 거북선을 만들었다", tags=("VV",)) == ["만들"]
    assert terms("kiwi", "이순신은 거북선을 만들었다", tags=("JX", "JKO")) == ["은", "을"]
    assert terms("kiwi-all", "이순신은", tags=("VV",)) == ["이순신", "은"]  # which keeps all


def test_irregular_verbs_are_told_by_their_tag_s_first_part():
    assert {m.tag for m in morphology.analyze("도와서") if m.form == "돕"} == {"VV-I"}
    assert terms("kiwi", "도와서") == ["돕"]


def test_user_dictionary_changes_an_analysis():
    words = ("무지개여울\tNNP\t0", "늘봄가람")
    assert terms("kiwi", "무지개여울은 늘봄가람과") == ["무지개", "여울", "늘", "봄", "가람"]
    assert terms("kiwi", "무지개여울은 늘봄가람과", user_words=words) == ["무지개여울", "늘봄가람"]
    assert terms("kiwi", "무지개여울은") == ["무지개", "여울"]  # the plain one is as it was


# --- compounds -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "parts", "wholes"),
    [
        ("대통령선거에서", ["대통령", "선거"], ["대통령선거"]),
        ("세계인권선언을", ["세계", "인권", "선언"], ["세계인권선언"]),
        ("1592년에", ["1592", "년"], ["1592년"]),
        ("T5모델은", ["t", "5", "모델"], ["t5모델"]),
        ("이순신은", ["이순신"], []),  # has no parts
        ("공부했다", ["공부"], ["공부하"]),  # the noun, and the verb made of it
        ("공부를", ["공부"], []),
        ("조용한", ["조용"], ["조용하"]),  # the root, and the adjective
        ("먹는다", ["먹"], []),
        ("꽃", ["꽃"], []),
        ("?!", [], []),
    ],
)
def test_compounds_are_found_by_their_parts_and_whole(word: str, parts: list[str], wholes: list[str]):
    assert analyze("kiwi+compound", word) == [parts, wholes]


def test_what_only_stands_side_by_side_is_no_compound():
    assert terms("compound", "대통령 선거에서", context="sentence") == []
    assert terms("compound", "대통령선거에서", context="sentence") == ["대통령선거"]


# --- bigrams, whitespace -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("이순신은", ["이순", "순신", "신은"]),
        ("꽃", ["꽃"]),
        ("T5모델은", ["t", "5", "모델", "델은"]),  # kinds of letters apart
        ("1592년에", ["15", "59", "92", "년에"]),
        ("3·1운동", ["3", "1", "운동"]),
        ("NASA", ["na", "as", "sa"]),
        ("李舜臣", ["李舜", "舜臣", "이순", "순신"]),
        ("?!", []),
        ("", []),
    ],
)
def test_bigrams(text: str, result: list[str]):
    assert terms("bigram", text) == result


def test_bigrams_do_not_reach_over_spaces():
    assert bigrams("가나 다") == ["가나", "다"]
    assert terms("bigram", "가나 다", context="sentence") == ["가나", "다"]


def test_whitespace_words_are_whole():
    assert terms("whitespace", "이순신은 T5모델을, 보았다.") == ["이순신은", "t5모델을", "보았다"]
    assert terms("whitespace", "이순신은 T5모델을, 보았다.", context="sentence") == ["이순신은", "t5모델을,", "보았다."]


# --- hanja ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hanja", "reading"),
    [
        ("李舜臣", "이순신"),
        ("女子", "여자"),  # 녀 at the head of a word is 여
        ("男女", "남녀"),
        ("歷史", "역사"),
        ("來歷", "내력"),
        ("龍", "용"),
        ("㐀", "㐀"),  # no reading known
    ],
)
def test_hanja_reading(hanja: str, reading: str):
    assert hanja_reading(hanja) == reading


@pytest.mark.parametrize("spec", ["kiwi", "bigram"])
def test_hanja_share_terms_with_their_reading(spec: str):
    reading = set(terms(spec, "이순신"))
    assert reading and reading <= set(terms(spec, "李舜臣이"))


# --- subwords ------------------------------------------------------------------------------------------------


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    vocabulary = ["[UNK]", "이순신", "##은", "거북", "##선", "##을"]
    model = Tokenizer(WordPiece({word: n for n, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    model.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=model, unk_token="[UNK]").save_pretrained(tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


def test_subwords(tokenizer: Path):
    assert terms(f"hf:{tokenizer}", "이순신은 거북선을 탔다") == ["이순신", "##은", "거북", "##선", "##을", "[UNK]"]
    assert analyze(f"hf:{tokenizer}*0.5+bigram", "거북선") == [["거북", "##선"], ["거북", "북선"]]
    assert not Analyzer(parse_components(f"hf:{tokenizer}")).needs_kiwi


# --- equal text, equal terms ---------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["kiwi", "kiwi-all", "compound", "bigram", "whitespace"])
@pytest.mark.parametrize("form", ["NFD", "NFKD"])
def test_composed_and_decomposed_text_have_equal_terms(spec: str, form: str):
    text = "이순신은 1592년에 거북선을 만들었다"
    assert terms(spec, unicodedata.normalize(form, text)) == terms(spec, text) != []


def test_decomposed_latin_letters_have_equal_terms_once_clean():
    assert terms("bigram", clean(unicodedata.normalize("NFD", "café"))) == ["ca", "af", "fé"]


def test_wide_and_compatibility_letters_are_folded():
    assert analyze("kiwi+bigram", "ＮＡＳＡ") == analyze("kiwi+bigram", "nasa") == [["nasa"], ["na", "as", "sa"]]
    assert terms("bigram", "１５９２") == ["15", "59", "92"]


def test_terms_of_one_unit_do_not_depend_on_the_others():
    result = Analyzer().analyze(["이순신은", "", "세종은", "이순신은"])
    assert result == [
        [["이순신"], ["이순", "순신", "신은"]],
        [[], []],
        [["세종"], ["세종", "종은"]],
        [["이순신"], ["이순", "순신", "신은"]],
    ]


def test_many_units_come_back_in_order():
    result = Analyzer(parse_components("kiwi")).analyze([f"{n}장" for n in range(2_500)])
    assert [analysis[0][0] for analysis in result] == [str(n) for n in range(2_500)]


# --- sums ----------------------------------------------------------------------------------------------------


def test_sum_of_components():
    assert parse_components("kiwi+compound*0.5 + bigram*2") == (
        Component("kiwi", 1.0),
        Component("compound", 0.5),
        Component("bigram", 2.0),
    )
    analyzer = Analyzer(parse_components("bigram*0.3+kiwi"))
    assert (analyzer.weights, analyzer.needs_kiwi) == ([0.3, 1.0], True)
    assert analyzer.analyze(["꽃은"]) == [[["꽃은"], ["꽃"]]]
    assert analyzer.weighted([1.0, 0.0]) == Analyzer(parse_components("bigram+kiwi*0"))


def test_default_is_morphemes_and_bigrams():
    assert Analyzer() == Analyzer(parse_components("kiwi+bigram"))
    assert Analyzer().tags == CONTENT_TAGS and Analyzer().context == "word"


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "nosuch",
        "kiwi+nosuch",
        "kiwi+",
        "kiwi*",
        "kiwi*x",
        "kiwi*-1",
        "kiwi*1e9",
        "Kiwi",
        "hf:",
        "mecab",
        "kiwi bigram",
    ],
)
def test_unknown_analyzer_is_refused_with_the_choices(spec: str, english: None):
    with pytest.raises(UsageError) as error:
        parse_components(spec)
    assert all(
        name in str(error.value) for name in ("kiwi", "kiwi-all", "compound", "bigram", "whitespace", "hf:MODEL")
    )


def test_the_unknown_part_is_named(english: None):
    with pytest.raises(UsageError, match="'mecab'"):
        parse_components("kiwi+mecab+bigram")


def test_the_same_component_twice_is_refused(english: None):
    with pytest.raises(UsageError, match="twice"):
        parse_components("kiwi+bigram+kiwi*0.5")


# --- kept with an index --------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["kiwi", "kiwi+bigram", "kiwi-all+compound*0.5+bigram+whitespace", "whitespace"])
@pytest.mark.parametrize("unit", ["이순신은", "T5모델은", "李舜臣은", "1,592", "꽃", "누구는", "공부했다", "ＮＡＳＡ"])
def test_kept_analysis_is_read_back(spec: str, unit: str):
    analyzer = Analyzer(parse_components(spec))
    (analysis,) = analyzer.analyze([unit])
    assert analyzer.decode(unit, analyzer.encode(analysis)) == analysis


def test_kept_subwords_are_read_back(tokenizer: Path):
    analyzer = Analyzer(parse_components(f"hf:{tokenizer}+bigram"))
    stored = analyzer.encode([["거북", "##선"], ["거북", "북선"]])
    assert analyzer.decode("거북선", stored) == [["거북", "##선"], ["거북", "북선"]]


def test_only_what_is_costly_is_kept():
    assert Analyzer().encode([["이순신", "장군"], ["이순", "순신"]]) == "이순신\x1f장군\x1e".encode()
    assert Analyzer().decode("이순신", "이순신\x1e".encode()) == [["이순신"], ["이순", "순신"]]
    assert Analyzer(parse_components("bigram+whitespace")).encode([["가나"], ["가나"]]) == b"\x1e"


def test_settings():
    analyzer = Analyzer(parse_components("kiwi*2+bigram"), user_words=("무지개여울\tNNP\t0",))
    settings = analyzer.settings
    assert settings.to_json() == {
        "components": ["kiwi", "bigram"],  # weights belong to the ranking: they may change without building anew
        "tags": list(CONTENT_TAGS),
        "context": "word",
        "kiwi": morphology.kiwi_version(),
        # printf '무지개여울\tNNP\t0' | sha256sum
        "user_dictionary": "0c290e6548c58a57aac8a84fd180e282fb7664b9660cd59cb348bd09428badc7",
    }
    assert Analyzer.from_settings(settings, [2.0, 1.0], ("무지개여울\tNNP\t0",)) == analyzer
    without = Analyzer(parse_components("bigram")).settings
    assert without.kiwi is without.user_dictionary is None


def test_other_kiwi_is_refused_with_both_shown(monkeypatch: pytest.MonkeyPatch):
    stored = Analyzer().settings
    here = morphology.kiwi_version()
    monkeypatch.setattr(morphology, "kiwi_version", lambda: "kiwipiepy 99")
    with pytest.raises(IncompatibleArtifactError) as error:
        Analyzer.from_settings(stored, [1.0, 1.0])
    assert here in str(error.value) and "kiwipiepy 99" in str(error.value)


def test_other_kiwi_does_not_matter_to_an_analyzer_without_it(monkeypatch: pytest.MonkeyPatch):
    settings = Analyzer(parse_components("bigram")).settings
    monkeypatch.setattr(morphology, "kiwi_version", lambda: "kiwipiepy 99")
    assert Analyzer.from_settings(settings, [1.0]).settings == settings


@pytest.mark.parametrize(
    "changes", [{"kiwi": None}, {"user_dictionary": "0" * 64}, {"components": ("kiwi",), "kiwi": "kiwipiepy 0.1"}]
)
def test_settings_of_another_analyzer_are_refused(changes: dict[str, Any]):
    with pytest.raises(IncompatibleArtifactError, match=re.escape(str(Analyzer().settings.kiwi))):
        Analyzer.from_settings(replace(Analyzer().settings, **changes), [1.0, 1.0])


def test_a_weight_too_few_is_refused():
    with pytest.raises(IncompatibleArtifactError):
        Analyzer.from_settings(Analyzer().settings, [1.0])


def test_other_user_dictionary_is_refused():
    settings = Analyzer(user_words=("무지개여울",)).settings
    with pytest.raises(IncompatibleArtifactError):
        Analyzer.from_settings(settings, [1.0, 1.0])


# --- words and sentences -------------------------------------------------------------------------------------


def test_units():
    assert Analyzer().units("이순신은, NASA의.") == ["이순신은", "nasa의"]
    assert Analyzer(context="sentence").units("이순신은, NASA의.") == ["이순신은, nasa의."]


def test_words_analysed_alone_agree_with_words_in_their_sentences():
    passages = list(read_corpus([str(resource("demo/passages.jsonl"))]))
    alone = Analyzer(parse_components("kiwi"))
    within = Analyzer(parse_components("kiwi"), context="sentence")
    together = within.analyze([unit for p in passages for unit in within.units(p.text)])
    n, same = 0, 0
    for passage, (sentence_terms,) in zip(passages, together, strict=True):
        word_terms = [term for (result,) in alone.analyze(alone.units(passage.text)) for term in result]
        n += len(word_terms) + len(sentence_terms)
        same += 2 * (Counter(word_terms) & Counter(sentence_terms)).total()
    # Of 16,634 terms by words and 16,306 by sentences 15,243 are the same: 0.9255 (2 · 15,243 / 32,940), with Kiwi 0.24.1.
    assert n > 30_000
    assert same / n >= 0.92


# --- Kiwi itself ---------------------------------------------------------------------------------------------


def test_morphemes_have_offsets():
    text = "😀 이순신은 𠀀 장군이다."
    morphemes = morphology.analyze(text)
    assert [text[m.start : m.end] for m in morphemes if m.tag in ("NNP", "NNG", "SH")] == ["이순신", "𠀀", "장군"]


class WordKiwi:
    """Tokenises at spaces and notes how long the longest text was that it was given."""

    def __init__(self) -> None:
        self.longest = 0

    def tokenize(self, texts: Iterable[str]) -> Iterator[list[SimpleNamespace]]:
        for text in texts:
            self.longest = max(self.longest, len(text))
            tokens, end = [], 0
            for word in text.split():
                start = text.index(word, end)
                end = start + len(word)
                tokens.append(SimpleNamespace(form=word, tag="NNG", start=start, len=len(word)))
            yield tokens


def test_long_text_is_analysed_in_pieces(monkeypatch: pytest.MonkeyPatch):
    stub = WordKiwi()
    monkeypatch.setattr(morphology, "kiwi", lambda user_words=(): stub)
    spaced = " ".join(f"낱말{n}" for n in range(20_000))
    endless = "a" * 10_000_000
    first, empty, second = morphology.analyze_many([spaced, "", endless])
    assert stub.longest <= morphology.MAX_PIECE
    assert [m.form for m in first] == spaced.split()
    assert all(spaced[m.start : m.end] == m.form for m in first)
    assert empty == []
    assert sum(len(m.form) for m in second) == 10_000_000 and second[-1].end == 10_000_000


def test_pieces_of_real_text_lose_nothing():
    sentence = "이순신은 조선의 장군이다. "
    text = sentence * 400  # 6,000 characters, four pieces
    morphemes = morphology.analyze(text)
    assert [m.start for m in morphemes if m.form == "이순신"] == [len(sentence) * n for n in range(400)]
    assert all(text[m.start : m.end] == m.form for m in morphemes if m.tag == "NNG")
