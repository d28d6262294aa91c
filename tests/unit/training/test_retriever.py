"""Training retrievers: losses by hand, batches of any size, raw text, hard negatives, dev sets, interruptions."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.examples import CPU, EXAMPLES, PASSAGES, digest

from kofid.errors import InputError
from kofid.retrieval.dense.base import Encoder
from kofid.retrieval.dense.static import StaticEncoder
from kofid.retrieval.dense.transformer import TransformerEncoder
from kofid.training import encoder_fit
from kofid.training.contrast import contrastive_loss, in_batch_loss
from kofid.training.encoder import fresh_encoder, fresh_static
from kofid.training.encoder_fit import contrast_batch, dev_figures, fit_encoder, pretrain_encoder
from kofid.training.negatives import retriever_dataset
from kofid.training.options import Contrast
from kofid.training.raw_text_pairs import Pairs, sample_texts
from kofid.types import Hit, Passage

TEXTS = [p.text for p in PASSAGES] + [e.question.text for e in EXAMPLES]
UNIT = Contrast(temperature=0.05)


def static() -> StaticEncoder:
    return fresh_static(TEXTS, 48, vocab_size=300)


def bert() -> TransformerEncoder:
    return fresh_encoder("tiny", TEXTS, vocab_size=300)


# --- losses -----------------------------------------------------------------------------------------------------


def test_in_batch_loss_by_hand() -> None:
    questions = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    passages = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [3.0, 0.0]])
    # Inner products with [positive 1, positive 2, negative 1, negative 2]:
    #   question 1: [1, 0, 0, 3]   its own is the first:  -log(e^1 / (e^1 + 1 + 1 + e^3))
    #   question 2: [0, 2, 2, 0]   its own is the second: -log(e^2 / (1 + e^2 + e^2 + 1))
    first = -math.log(math.e / (math.e + 2 + math.e**3))  # 2.211
    second = -math.log(math.e**2 / (2 + 2 * math.e**2))  # 0.820
    assert (first + second) / 2 == pytest.approx(1.5155, abs=1e-4)
    keys = torch.arange(4)
    assert in_batch_loss(questions, passages, keys).item() == pytest.approx((first + second) / 2, abs=1e-6)
    # Half the temperature doubles what is compared.
    cold = -math.log(math.e**2 / (math.e**2 + 2 + math.e**6)), -math.log(math.e**4 / (2 + 2 * math.e**4))
    assert in_batch_loss(questions, passages, keys, 0.5).item() == pytest.approx(sum(cold) / 2, abs=1e-6)


def test_a_passage_that_is_one_s_own_is_no_negative() -> None:
    # Both questions have the same gold passage: each is told from the third alone. Inner products 1, 1, 0.
    questions, passages = torch.ones(2, 1), torch.tensor([[1.0], [1.0], [0.0]])
    loss = in_batch_loss(questions, passages, torch.tensor([7, 7, 8])).item()
    assert loss == pytest.approx(-math.log(math.e / (math.e + 1)), abs=1e-6)
    assert in_batch_loss(questions, passages, torch.tensor([7, 9, 8])).item() > loss + 0.3


@pytest.mark.parametrize("at_a_time", [1, 3, 100])
def test_a_batch_in_parts_has_the_gradient_of_the_whole(at_a_time: int) -> None:
    gradients = []
    for size in (0, at_a_time):
        encoder = bert()
        loss = contrastive_loss(encoder, Contrast(symmetric=True, at_a_time=size))
        rows = [encoder.pieces([e.question.text for e in EXAMPLES]), encoder.pieces([p.text for p in PASSAGES])]
        value = loss(encoder.model, contrast_batch(encoder, *rows, [p.id for p in PASSAGES]))
        value.backward()
        gradients.append([value.item(), *(p.grad.clone() for p in encoder.model.parameters() if p.grad is not None)])
    assert gradients[0][0] == pytest.approx(gradients[1][0], abs=1e-6)
    assert len(gradients[0]) == len(gradients[1]) > 20
    for whole, parts in zip(gradients[0][1:], gradients[1][1:], strict=True):
        torch.testing.assert_close(whole, parts, atol=1e-6, rtol=1e-4)


# --- examples ---------------------------------------------------------------------------------------------------


def test_rows_are_gold_and_others_that_say_no_answer() -> None:
    says = Passage("x", "소문", "가온 님이 지나갔다.")  # says the answer, is not gold
    hits = (Hit(says, 4.0), Hit(PASSAGES[5], 3.0), Hit(PASSAGES[0], 2.0), Hit(PASSAGES[6], 1.0))
    (row,) = retriever_dataset([replace(EXAMPLES[0], hits=hits)]).to_list()
    assert row["positives"] == [f"다리 {PASSAGES[0].text}"]
    assert row["negatives"] == [f"종이 {PASSAGES[5].text}", f"나침반 {PASSAGES[6].text}"]
    (row,) = retriever_dataset([replace(EXAMPLES[0], hits=(hits[0], hits[2]))]).to_list()
    assert row["negatives"] == [f"소문 {says.text}"]  # better than none
    with pytest.raises(InputError):
        retriever_dataset([replace(EXAMPLES[0], hits=EXAMPLES[0].hits[:1])])


def ranks_of(encoder: Encoder) -> list[int]:
    """Return the rank from 1 of each question's gold passage among all, by inner product."""
    scores = encoder.encode_questions([e.question.text for e in EXAMPLES]) @ encoder.encode_passages(PASSAGES).T
    return [1 + int((row > row[i]).sum()) for i, row in enumerate(scores)]


@pytest.mark.parametrize("kind", ["bert", "static"])
def test_training_puts_the_gold_passage_first(kind: str, tmp_path: Path) -> None:
    if kind == "bert":
        encoder, options, how = bert(), replace(CPU, max_steps=60, batch_size=12), Contrast()
    else:
        encoder, options, how = static(), replace(CPU, max_steps=40, batch_size=12, learning_rate=0.01), UNIT
        with torch.no_grad():  # at first no word is like itself in the passage
            encoder.model.weight.normal_()
            encoder.model.weight[:40] = encoder.model.weight[0]
    before = ranks_of(encoder)
    figures = fit_encoder(encoder, EXAMPLES, options, tmp_path / "c", contrast=how)
    ranks = ranks_of(encoder)
    assert figures["steps"] == options.max_steps and not encoder.model.training
    assert sum(rank == 1 for rank in ranks) >= 11
    assert sum(ranks) < sum(before)


def test_the_best_weights_on_dev_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = static()
    measured = dev_figures(encoder, EXAMPLES)
    assert measured["hit1"] == pytest.approx(sum(rank == 1 for rank in ranks_of(encoder)) / 12)
    assert measured["mrr"] == pytest.approx(sum(1 / rank for rank in ranks_of(encoder)) / 12)
    assert list(measured) == ["hit1", "mrr", "hit5"]
    seen: list[str] = []

    def second_is_best(*_: Any) -> dict[str, float]:
        seen.append(digest(encoder.model))
        return {"hit1": 0.5, "mrr": [0.1, 0.9, 0.4][len(seen) - 1], "hit5": 1.0}

    monkeypatch.setattr(encoder_fit, "dev_figures", second_is_best)
    options = replace(CPU, max_steps=6, eval_steps=2, learning_rate=0.05)
    figures = fit_encoder(encoder, EXAMPLES, options, tmp_path / "c", contrast=UNIT, dev=EXAMPLES)
    assert (figures["best_step"], figures["dev_mrr"]) == (4, 0.9)
    assert digest(encoder.model) == seen[1] != seen[2]


class Interrupted(Exception):
    """Stands for a kill between two steps."""


def interrupt_at(step: int) -> Any:
    def on_step(now: int, steps: int, loss: float) -> None:
        if now == step:
            raise Interrupted

    return on_step


@pytest.mark.parametrize("kind", ["bert", "static", "raw text"])
def test_a_resumed_run_has_the_same_bits(kind: str, tmp_path: Path) -> None:
    options = replace(CPU, max_steps=8, accumulate=2)

    def run(folder: str, **more: Any) -> str:
        encoder: Encoder = bert() if kind == "bert" else static()
        if kind == "raw text":
            pairs = Pairs(ARTICLES, encoder.pieces)
            pretrain_encoder(encoder, pairs, options, tmp_path / folder, contrast=UNIT, **more)
        else:
            fit_encoder(encoder, EXAMPLES, options, tmp_path / folder, **more)
        return digest(encoder.model)

    whole = run("a")
    with pytest.raises(Interrupted):
        run("b", on_step=interrupt_at(5))
    assert run("b", resume=True) == whole


# --- raw text ---------------------------------------------------------------------------------------------------

ARTICLES = [
    Passage(
        f"{i}#{n}",
        thing,
        f"{thing}은 {name}이 만들었다. 그 {thing}과 {also}을 {name}이 좋아했다. 사람들이 {also}에 놀랐다.",
    )
    for i, (thing, name) in enumerate([("다리", "가온"), ("거울", "나래"), ("우산", "다솜"), ("지도", "라온")])
    for n, also in enumerate(["종이", "물레", "화살"])
]


def test_pairs_are_of_one_article(tmp_path: Path) -> None:
    encoder = static()
    pairs = Pairs([*ARTICLES, Passage("empty", "빈 글", " ")], encoder.pieces)
    assert len(pairs) == len(ARTICLES)
    chance = np.random.default_rng(1)
    seen: Counter[str] = Counter()
    for number, passage in enumerate(ARTICLES):
        title, *sentences = (tuple(row) for row in encoder.pieces([passage.title, *_sentences(passage)]))
        whole = sum(sentences, title)
        for _ in range(300):
            question, other = (tuple(part.tolist()) for part in pairs.draw(number, chance))
            titled = question[: len(title)] == title
            seen["titled"] += titled
            left = question[len(title) :] if titled else question
            assert any(_is_part(left, sentence) for sentence in sentences)
            if other == whole:
                seen["whole"] += 1
            elif other in [tuple(t for s in (title, *sentences[:i], *sentences[i + 1 :]) for t in s) for i in range(3)]:
                seen["taken out"] += 1
            else:
                following = ARTICLES[number + 1]
                assert following.title == passage.title
                assert other == tuple(
                    t for row in encoder.pieces([following.title, *_sentences(following)]) for t in row
                )
                seen["neighbour"] += 1
    n = 300 * len(ARTICLES)
    # The last of an article's three passages has no neighbour: 2/3 of 0.1. Of the rest 0.7 lose the sentence.
    assert seen["neighbour"] / n == pytest.approx(0.067, abs=0.02)
    assert seen["taken out"] / n == pytest.approx(0.7 * (1 - 0.067), abs=0.04)
    assert seen["titled"] / n == pytest.approx(0.5, abs=0.2)  # sentences that begin with the title too


def _sentences(passage: Passage) -> list[str]:
    return [s + "." for s in passage.text.split(".") if s.strip()]


def _is_part(some: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """Tell whether tokens stand in this order among others."""
    rest = iter(whole)
    return all(token in rest for token in some)


def test_raw_text_teaches_to_find_the_passage(tmp_path: Path) -> None:
    encoder = static()
    with torch.no_grad():
        encoder.model.weight.normal_()
    pairs = Pairs(PASSAGES, encoder.pieces)
    before = dev_figures(encoder, EXAMPLES)
    options = replace(CPU, max_steps=40, batch_size=12, learning_rate=0.02)
    figures = pretrain_encoder(encoder, pairs, options, tmp_path / "c", contrast=replace(UNIT, symmetric=True))
    assert figures["steps"] == 40
    assert dev_figures(encoder, EXAMPLES)["mrr"] > before["mrr"]


def test_text_without_a_sentence_is_refused() -> None:
    with pytest.raises(InputError):
        Pairs([Passage("a", "제목", "")], static().pieces)


def test_each_passage_is_as_likely_in_a_sample() -> None:
    found: Counter[str] = Counter()
    for seed in range(300):
        chosen = sample_texts(PASSAGES, 3, seed)
        assert len(set(chosen)) == 3
        found.update(chosen)
    assert len(found) == 12 and all(count == pytest.approx(75, abs=30) for count in found.values())  # 300 · 3 / 12
    assert sample_texts(PASSAGES, 99) == [f"{p.title} {p.text}" for p in PASSAGES]
    assert sample_texts(PASSAGES, 3, 1) == sample_texts(PASSAGES, 3, 1)
