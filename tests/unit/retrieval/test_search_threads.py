"""Eight threads that share an index get what one gets."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from support.examples import PASSAGES
from transformers import BertConfig, BertForSequenceClassification, BertModel

from kofid.korean import kiwi as morphology
from kofid.retrieval.build import add_vectors, build_index
from kofid.retrieval.correct import forgiving_search
from kofid.retrieval.dense.base import Encoder, NamedEncoder
from kofid.retrieval.dense.static import StaticEncoder
from kofid.retrieval.dense.transformer import TransformerEncoder
from kofid.retrieval.hybrid import VectorSearch
from kofid.retrieval.index import Index
from kofid.retrieval.reranker import CrossEncoder
from kofid.storage.bundled import resource
from kofid.training.encoder import fresh_static
from kofid.training.tokenizers import train_wordpiece
from kofid.types import Passage

N_THREADS = 8
SHAPE = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 48}


@pytest.fixture(autouse=True)
def quick_switches() -> Iterator[None]:
    """Let threads take turns a hundred times as often as usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(before / 100)
    yield
    sys.setswitchinterval(before)


@pytest.fixture(scope="module")
def questions() -> list[str]:
    lines = resource("demo/questions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["question"] for line in lines][::80]


def in_threads(work: Callable[[str], Any], items: list[str]) -> list[list[Any]]:
    """Return what each thread gets for all items; all begin at once, each at another item."""
    barrier = threading.Barrier(N_THREADS)

    def run(thread: int) -> list[Any]:
        order = [(thread + n) % len(items) for n in range(len(items))]
        barrier.wait()
        results = {i: work(items[i]) for i in order}
        return [results[i] for i in range(len(items))]

    with ThreadPoolExecutor(N_THREADS) as pool:
        return list(pool.map(run, range(N_THREADS)))


def test_searches_by_terms(demo_index: Index, questions: list[str]):
    """An index that was opened just now: nothing is in a cache yet; questions are misspelled, too."""
    path = demo_index.artifact.directory.parent
    texts = questions + [question.replace(" ", "", 2) for question in questions[::3]]

    def work(index: Index) -> Callable[[str], Any]:
        return lambda question: (forgiving_search(index, index.search, question, 10), index.query(question))

    expected = list(map(work(Index.open(path)), texts))
    assert any(corrected for (_, corrected), _ in expected)
    assert in_threads(work(Index.open(path)), texts) == [expected] * N_THREADS


def bert() -> TransformerEncoder:
    torch.manual_seed(1)
    tokenizer = train_wordpiece([p.text for p in PASSAGES], 300)
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=300, initializer_range=0.5, **SHAPE)
    return TransformerEncoder(BertModel(config).eval(), tokenizer)


def static() -> StaticEncoder:
    return fresh_static([p.text for p in PASSAGES], 24, vocab_size=300)


@pytest.mark.parametrize("make", [bert, static])
def test_searches_by_vectors(make: Callable[[], Encoder], questions: list[str], tmp_path: Path):
    """Passages are encoded by the same encoder meanwhile, as reordering does: they are cut elsewhere than questions."""
    build_index(tmp_path / "kb", PASSAGES)
    encoder = make()
    add_vectors(tmp_path / "kb", NamedEncoder(encoder, "tiny", "0"), faiss="IVF2,Flat")
    index = Index.open(tmp_path / "kb")
    search = VectorSearch(index, encoder, index.open_vectors())
    long = Passage("long", "긴 글", "다리 " * 300)
    texts = [passage.text for passage in PASSAGES[:4]] + [" ".join(questions * 2) + str(n) for n in range(4)]

    def work(text: str) -> Any:
        vectors = encoder.encode_passages([long, Passage("short", "", text)])
        hits = [search.dense(text, 3), search.sequential(text, 3), search.cross(text, 3)]
        return [[(hit.passage.id, hit.score) for hit in row] for row in hits], vectors.tolist()

    expected = list(map(work, texts))
    assert in_threads(work, texts) == [expected] * N_THREADS


def test_reranking(questions: list[str]):
    torch.manual_seed(1)
    tokenizer = train_wordpiece([p.text for p in PASSAGES], 300)
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=300, num_labels=1, **SHAPE)
    reranker = CrossEncoder(BertForSequenceClassification(config), tokenizer)
    texts = [" ".join(questions * 2)[n:] for n in range(0, 24, 3)]

    def work(text: str) -> Any:
        return reranker.score(text, PASSAGES).tolist()

    expected = list(map(work, texts))
    assert in_threads(work, texts) == [expected] * N_THREADS


def test_one_kiwi_is_loaded_however_many_come(monkeypatch: pytest.MonkeyPatch):
    import kiwipiepy

    loaded: list[object] = []

    class Counted:
        def __init__(self, num_workers: int) -> None:
            loaded.append(self)

        def tokenize(self, text: str) -> list[object]:
            return []

    monkeypatch.setattr(kiwipiepy, "Kiwi", Counted)
    morphology._load.cache_clear()
    try:
        kiwis = in_threads(lambda _: morphology.kiwi(), ["", ""])
    finally:
        morphology._load.cache_clear()
    assert len(loaded) == 1 and all(kiwi is loaded[0] for row in kiwis for kiwi in row)
