"""Terms, BM25 against hand-worked numbers and against rank_bm25, fusion, measures."""

from __future__ import annotations

import json
import random
import shutil
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from math import log
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kofid import morphology
from kofid.bundled import resource
from kofid.errors import IncompatibleArtifactError, InputError
from kofid.metrics import answer_metrics, gold_rank
from kofid.pipeline import Pipeline
from kofid.retrieval import fuse
from kofid.retrieval.analyze import Analyzer
from kofid.retrieval.index import Index, build_index
from kofid.retrieval.passages import PassageStore
from kofid.retrieval.sparse import BM25, RankBM25, top
from kofid.text import clean
from kofid.types import Answer, Hit, Passage, Question


@pytest.fixture(scope="module")
def analyzer() -> Analyzer:
    return Analyzer()


@pytest.fixture(scope="module")
def demo_questions() -> list[str]:
    lines = resource("demo/questions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["question"] for line in lines]


# --- analysis ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "terms"),
    [
        ("이순신은", ["이순신", "▁이순", "▁순신", "▁신은"]),
        ("꽃", ["꽃", "▁꽃"]),
        ("먹는다", ["먹", "▁먹는", "▁는다"]),
        ("T5모델은", ["t", "5", "모델", "▁t", "▁5", "▁모델", "▁델은"]),
        ("李舜臣", ["李舜臣", "▁李舜", "▁舜臣"]),
        ("1592년에", ["1592", "년", "▁15", "▁59", "▁92", "▁년에"]),
        ("3·1", ["3", "1", "▁3", "▁1"]),
        ("?!", []),
        ("", []),
        ("😀", []),
    ],
)
def test_terms(analyzer: Analyzer, word: str, terms: list[str]):
    assert analyzer.terms(word) == terms


def test_terms_keep_order_and_count(analyzer: Analyzer):
    morphemes = [t for t in analyzer.terms("꽃과 나무와 꽃을 심었다") if not t.startswith("▁")]
    assert morphemes == ["꽃", "나무", "꽃", "심"]


@pytest.mark.parametrize("particle", ["은", "이", "을", "의", "에게", "까지", "이라고"])
def test_particles_are_no_terms(analyzer: Analyzer, particle: str):
    assert [t for t in analyzer.terms("이순신" + particle) if not t.startswith("▁")] == ["이순신"]


def test_terms_of_one_text_do_not_depend_on_the_others(analyzer: Analyzer):
    texts = ["이순신은 장군이다", "", "세종은 임금이다", "이순신은 장군이다"]
    together = list(Analyzer().terms_of_many(texts))
    assert together == [analyzer.terms(text) for text in texts]
    assert together[0] == together[3] and together[1] == []


def test_more_texts_than_a_batch(analyzer: Analyzer):
    texts = [f"제{n}장" for n in range(2_500)]
    found = list(Analyzer().terms_of_many(iter(texts)))
    assert len(found) == 2_500
    assert found[2_400] == analyzer.terms("제2400장")


def test_terms_are_equal_for_composed_and_decomposed_text(analyzer: Analyzer):
    text = "이순신은 1592년에 거북선을 만들었다"
    assert analyzer.terms(clean(unicodedata.normalize("NFD", text))) == analyzer.terms(text)


def test_case_is_folded(analyzer: Analyzer):
    assert analyzer.terms("NASA") == analyzer.terms("nasa")


def test_long_words_are_cut(analyzer: Analyzer):
    # 1,000,000 / 40 = 25,000 pieces, each of 1 morpheme and 39 bigrams
    terms = analyzer.terms("a" * 1_000_000)
    assert len(terms) == 25_000 * 40
    assert set(terms) == {"a" * 40, "▁aa"}


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
    monkeypatch.setattr(morphology, "kiwi", lambda: stub)
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


# --- BM25 ----------------------------------------------------------------------------------------------------

TERMS = [["a", "b"], ["a", "a", "c"], ["b"]]
# Three passages of 2, 3 and 1 terms: average 2. k1 = 1.2, b = 0.75.
# length factor K = 1.2 (0.25 + 0.75 length / 2): 1.2, 1.65, 0.75
# idf = ln(1 + (3 - n + 0.5) / (n + 0.5)): a and b, n = 2: ln 1.6; c, n = 1: ln(8/3)
# score of a term standing f times: idf f / (f + K)
A0 = log(1.6) * 1 / 2.2  # 0.2136
A1 = log(1.6) * 2 / 3.65  # 0.2575
C1 = log(8 / 3) * 1 / 2.65  # 0.3701
B2 = log(1.6) * 1 / 1.75  # 0.2686


@pytest.mark.parametrize("engine", [BM25.build, RankBM25], ids=["bm25s", "rank_bm25"])
@pytest.mark.parametrize(
    ("asked", "scores"),
    [
        (["a"], [A0, A1, 0]),
        (["c"], [0, C1, 0]),
        (["b"], [A0, 0, B2]),
        (["a", "c"], [A0, A1 + C1, 0]),
        (["a", "a"], [2 * A0, 2 * A1, 0]),  # asked twice, counts twice
        (["a", "unknown"], [A0, A1, 0]),
        (["unknown"], [0, 0, 0]),
        ([], [0, 0, 0]),
    ],
)
def test_bm25_by_hand(engine, asked: list[str], scores: list[float]):
    assert engine(TERMS, 1.2, 0.75).score_all(asked) == pytest.approx(scores, abs=1e-6)


@pytest.mark.parametrize("engine", [BM25.build, RankBM25], ids=["bm25s", "rank_bm25"])
def test_bm25_with_other_parameters_by_hand(engine):
    # k1 = 2, b = 0: no length factor, K = 2: a stands once in the first, twice in the second: ln 1.6 / 3, ln 1.6 · 2 / 4
    assert engine(TERMS, 2.0, 0.0).score_all(["a"]) == pytest.approx([log(1.6) / 3, log(1.6) / 2, 0], abs=1e-6)


def test_bm25_saved_equals_built(tmp_path: Path):
    built = BM25.build(TERMS)
    built.save(tmp_path)
    loaded = BM25.load(tmp_path)
    for asked in (["a"], ["a", "c", "b"], ["unknown"], []):
        assert np.array_equal(loaded.score_all(asked), built.score_all(asked))


def test_bm25_with_a_passage_without_terms():
    # lengths 1, 0, 1: average 2/3, K = 1.2 (0.25 + 0.75 · 1.5) = 1.65; n = 1 of 3: ln(8/3) / 2.65
    for engine in (BM25.build, RankBM25):
        assert engine([["a"], [], ["b"]], 1.2, 0.75).score_all(["a"]) == pytest.approx([C1, 0, 0], abs=1e-6)


def test_bm25_without_any_term():
    for terms in ([], [[]], [[], []]):
        with pytest.raises(InputError):
            BM25.build(terms)


def test_bm25s_equals_rank_bm25_on_the_demo(demo_index: Index, demo_questions: list[str]):
    twin = Index(demo_index.artifact, engine="rank-bm25")
    for question in demo_questions[::4][:200]:
        fast, slow = demo_index.score_sparse(question), twin.score_sparse(question)
        assert fast == pytest.approx(slow, abs=1e-4)
        assert [h.passage.id for h in demo_index.search(question, 20)] == [
            h.passage.id for h in twin.search(question, 20)
        ]


# --- top -----------------------------------------------------------------------------------------------------


def test_top_by_hand():
    scores = np.array([0.5, 0.0, 2.0, 0.5, 1.0], dtype=np.float32)
    assert top(scores, 3) == [(2, 2.0), (4, 1.0), (0, 0.5)]
    assert top(scores, 99) == [(2, 2.0), (4, 1.0), (0, 0.5), (3, 0.5)]
    assert top(scores[1:2], 5) == []


def test_top_equals_sorting_everything():
    chance = random.Random(7)
    for _ in range(200):
        scores = np.array([chance.choice([0, 0, 1, 2, 3]) for _ in range(chance.randint(1, 30))], dtype=np.float32)
        k = chance.randint(1, 35)
        slow = sorted((i for i in range(len(scores)) if scores[i] > 0), key=lambda i: (-scores[i], i))[:k]
        assert [position for position, _ in top(scores, k)] == slow


def test_top_none():
    assert top(np.array([1.0, 2.0], dtype=np.float32), 0) == []


# --- index ---------------------------------------------------------------------------------------------------


def test_search(small_index: Path):
    index = Index.open(small_index)
    assert len(index) == 4
    hits = index.search("폴로늄이라는 이름은 누가 지었나?", 2)
    assert hits[0].passage.id == "퀴리" and hits[0].source == "sparse"
    assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)
    assert hits[0].passage == Passage("퀴리", "마리 퀴리", "퀴리는 새 원소를 폴로늄이라고 이름 지었다.")


def test_title_is_searched(small_index: Path):
    assert Index.open(small_index).search("마리", 3)[0].passage.id == "퀴리"


@pytest.mark.parametrize("question", ["", "   ", "?!", "쀍뛟", "zzzz", "😀"])
@pytest.mark.parametrize("engine", ["bm25s", "rank-bm25"])
def test_nothing_to_find(small_index: Path, question: str, engine: str):
    assert Index.open(small_index, engine=engine).search(question, 5) == []


def test_more_asked_for_than_there_are(small_index: Path):
    hits = Index.open(small_index).search("이순신", 1_000)
    assert {h.passage.title for h in hits} == {"이순신"} and len(hits) == 2


def test_ties_stand_in_corpus_order(tmp_path: Path):
    passages = [Passage(str(n), "", "같은 글이다") for n in range(30)]
    build_index(tmp_path / "kb", passages)
    assert [h.passage.id for h in Index.open(tmp_path / "kb").search("같은 글", 7)] == [str(n) for n in range(7)]


def test_composed_and_decomposed_questions_and_corpora(tmp_path: Path):
    from kofid.formats import read_corpus

    results = []
    for form in ("NFC", "NFD"):
        corpus = tmp_path / f"{form}.jsonl"
        lines = [{"id": str(n), "text": text} for n, text in enumerate(["이순신은 장군이다", "세종은 임금이다"])]
        corpus.write_text("".join(unicodedata.normalize(form, json.dumps(e, ensure_ascii=False)) + "\n" for e in lines))
        build_index(tmp_path / form, read_corpus([str(corpus)]))
        index = Index.open(tmp_path / form)
        results += [index.search(clean(unicodedata.normalize(asked, "이순신은 누구?")), 5) for asked in ("NFC", "NFD")]
    assert results[0] and all(result == results[0] for result in results)


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
    assert [h.passage.id for h in index.search("이순신", 5)] == ["2"]
    assert index.search("😀", 5) == []


@pytest.mark.parametrize("passages", [[], [Passage("1", "", "😀")]], ids=["no passage", "no term"])
def test_empty_corpus_is_refused(tmp_path: Path, passages: list[Passage]):
    with pytest.raises(InputError):
        build_index(tmp_path / "kb", passages)
    assert list(tmp_path.iterdir()) == []


def test_empty_corpus_leaves_the_index_that_was_there(tmp_path: Path, small_index: Path):
    path = tmp_path / "kb"
    shutil.copytree(small_index, path)
    with pytest.raises(InputError):
        build_index(path, [])
    assert Index.open(path).search("폴로늄", 1)


def test_settings_are_kept(tmp_path: Path):
    settings = build_index(tmp_path / "kb", [Passage("1", "", "이순신")], k1=2.0, b=0.5, notes={"note": "x"})
    kept = Index.open(tmp_path / "kb").artifact.settings
    assert kept == settings
    assert (kept["k1"], kept["b"], kept["n_passages"], kept["note"]) == (2.0, 0.5, 1, "x")
    assert kept["analyzer"] == Analyzer().settings()
    # one passage: length factor is 2 (0.5 + 0.5 · 1) = 2, idf ln(1 + 0.5 / 1.5); 3 terms of the question stand once
    assert Index.open(tmp_path / "kb").search("이순신", 1)[0].score == pytest.approx(3 * log(4 / 3) / 3, abs=1e-6)


def test_other_kiwi_is_refused_with_both_shown(small_index: Path, monkeypatch: pytest.MonkeyPatch):
    here = morphology.kiwi_version()
    monkeypatch.setattr(morphology, "kiwi_version", lambda: "kiwipiepy 99")
    with pytest.raises(IncompatibleArtifactError) as error:
        Index.open(small_index)
    assert here in str(error.value) and "kiwipiepy 99" in str(error.value)


@pytest.mark.parametrize("settings", [{}, {"name": "other"}, {"tags": ["NNG"]}])
def test_other_analyzer_is_refused(settings: dict[str, object]):
    with pytest.raises(IncompatibleArtifactError):
        Analyzer.from_settings(settings)


def test_index_without_vectors_says_how_to_make_them(small_index: Path):
    with pytest.raises(IncompatibleArtifactError, match="--dense") as error:
        _ = Index.open(small_index).dense
    assert str(small_index) in str(error.value)


def test_passage_store(tmp_path: Path):
    passages = [
        Passage("가", "제목", "첫 줄\n둘째 줄"),
        Passage("2", "", '따옴표 " 역빗금 \\ 😀'),
        Passage("3", "t", "x" * 10_000),
    ]
    assert list(PassageStore.write(tmp_path, passages)) == passages
    store = PassageStore(tmp_path)
    assert len(store) == 3 and list(store) == passages and store[1] == passages[1]
    assert store.positions == {"가": 0, "2": 1, "3": 2}


# --- fusion --------------------------------------------------------------------------------------------------


def scores(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_cross_by_hand():
    # 1.1 · 1 + 3 = 4.1; 1.1 · 2 + 0 = 2.2
    assert fuse.cross(scores(1, 2), scores(3, 0)) == pytest.approx([4.1, 2.2])
    assert fuse.cross(scores(1, 2), scores(3, 0), dense_weight=0.5, sparse_weight=2) == pytest.approx([6.5, 1.0])


def test_cross_normalised_by_hand():
    # dense 10, 20, 30 -> 0, 0.5, 1; sparse 0, 8, 2 -> 0, 1, 0.25: 1.1 · dense + sparse
    found = fuse.cross(scores(10, 20, 30), scores(0, 8, 2), normalize=True)
    assert found == pytest.approx([0, 0.55 + 1, 1.1 + 0.25])
    assert found.dtype == np.float32


def test_cross_normalised_without_any_difference():
    assert fuse.cross(scores(5, 5), scores(0, 2), normalize=True) == pytest.approx([0, 1])
    assert fuse.cross(scores(5), scores(3), normalize=True) == pytest.approx([0])


def test_cross_leaves_its_arguments():
    dense, sparse = scores(1, 2), scores(3, 0)
    fuse.cross(dense, sparse, normalize=True)
    assert dense.tolist() == [1, 2] and sparse.tolist() == [3, 0]


# --- measures ------------------------------------------------------------------------------------------------


def test_gold_rank():
    assert gold_rank(["a", "b", "c"], ["c", "b"]) == 2
    assert gold_rank(["a"], ["z"]) is None
    assert gold_rank([], ["a"]) is None and gold_rank(["a"], []) is None


def test_answer_metrics_by_hand():
    questions = [
        Question("q", answers=("이순신",)),
        Question("q", answers=("1592년",)),
        Question("q", answers=("세종", "세종대왕")),
    ]
    # EM 0, 0, 1; F1 6/7, 1, 1 (see test_text.py); robust EM 1, 1, 1
    found = answer_metrics(["이순신이", "1592 년", "세종대왕"], questions)
    assert found == pytest.approx({"n": 3, "em": 1 / 3, "f1": (6 / 7 + 2) / 3, "em_robust": 1.0})
    assert answer_metrics([], []) == {"n": 0, "em": 0.0, "f1": 0.0, "em_robust": 0.0}
    with pytest.raises(ValueError, match="argument"):
        answer_metrics(["하나"], [])
