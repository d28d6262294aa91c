"""Cross-encoders: scores, training, the files they are kept in, and the commands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.command_line import PASSAGES as DEMO
from support.command_line import QUESTIONS, kofid
from support.examples import CPU, EXAMPLES, digest
from transformers import BertConfig, BertForSequenceClassification, RobertaConfig, RobertaForSequenceClassification

from kofid.errors import InputError
from kofid.retrieval.dense.base import dense_text
from kofid.retrieval.reranker import CrossEncoder, open_cross_encoder
from kofid.training.data import is_positive
from kofid.training.reranker import dev_figures, fit_reranker, fresh_cross_encoder
from kofid.types import Hit, Passage

TEXTS = [hit.passage.text for e in EXAMPLES for hit in e.hits] + [e.question.text for e in EXAMPLES]
PASSAGES = list({hit.passage: None for e in EXAMPLES for hit in e.hits})


def fresh() -> CrossEncoder:
    return fresh_cross_encoder("tiny", TEXTS, vocab_size=400)


def with_model(config: BertConfig, model: type) -> CrossEncoder:
    """A classifier with weights large enough for scores to differ."""
    torch.manual_seed(5)
    made = model(config)
    for weight in made.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.5)
    return CrossEncoder(made, fresh().tokenizer)


@pytest.mark.parametrize("kind", ["bert", "roberta", "two"])
def test_scores_are_the_classifiers_own_pair_by_pair(kind: str) -> None:
    size = {"vocab_size": 400, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    size |= {"intermediate_size": 64, "pad_token_id": 0, "num_labels": 2 if kind == "two" else 1}
    if kind == "roberta":  # klue/roberta: BERT's tokenizer, one segment
        config = RobertaConfig(**size, type_vocab_size=1, max_position_embeddings=512)
        reranker = with_model(config, RobertaForSequenceClassification)
    else:
        reranker = with_model(BertConfig(**size), BertForSequenceClassification)
    question = "세종은 언제 태어났나?"
    scores = reranker.score(question, PASSAGES)
    alone = []
    for passage in PASSAGES:
        pair = reranker.tokenizer(question, dense_text(passage), return_tensors="pt")
        if kind == "roberta":
            del pair["token_type_ids"]
        with torch.no_grad():
            (logits,) = reranker.model(**pair).logits
        alone.append((logits[1] - logits[0] if kind == "two" else logits[0]).item())
    np.testing.assert_allclose(scores, alone, atol=2e-5)
    assert np.std(scores) > 0.01
    hits = reranker.rerank(question, [Hit(p, 0.0) for p in PASSAGES])
    assert [hit.passage for hit in hits] == [PASSAGES[i] for i in np.argsort(-scores, kind="stable")]
    assert reranker.rerank(question, []) == []


def test_long_questions_and_passages_are_cut() -> None:
    reranker = fresh()
    long = Passage("1", "제목", "아주 긴 글입니다. " * 500)
    (pair,) = reranker.pairs("아주 긴 질문 " * 300, [dense_text(long)])
    assert len(pair) == reranker.max_tokens
    ends = [i for i, token in enumerate(pair) if token == reranker.tokenizer.sep_token_id]
    assert ends == [65, len(pair) - 1]  # [CLS], 64 tokens, [SEP]
    assert np.isfinite(reranker.score("", [long, Passage("2", "", "")])).all()


def test_training_puts_gold_first_and_survives_an_interruption(tmp_path: Path) -> None:
    options = replace(CPU, max_steps=40, batch_size=6, learning_rate=1e-3, save_steps=15)
    whole = fresh()
    before = dev_figures(whole, EXAMPLES)
    figures = fit_reranker(whole, EXAMPLES, options, tmp_path / "a", dev=EXAMPLES)
    after = dev_figures(whole, EXAMPLES)
    assert after["mrr"] > before["mrr"] + 0.1 and after["hit1"] == pytest.approx(figures["dev_hit1"], abs=1e-5)

    class Stop(Exception):
        """The process ends here."""

    def stop(step: int, *_: object) -> None:
        if step == 20:
            raise Stop

    parted = fresh()
    with pytest.raises(Stop):
        fit_reranker(parted, EXAMPLES, options, tmp_path / "b", on_step=stop)
    parted, straight = fresh(), fresh()
    fit_reranker(parted, EXAMPLES, options, tmp_path / "b", resume=True)
    fit_reranker(straight, EXAMPLES, options, tmp_path / "c")
    assert digest(parted.model) == digest(straight.model) != digest(fresh().model)


def test_dev_figures_by_hand() -> None:
    reranker = fresh()
    ranks = []
    for example in EXAMPLES:
        scores = reranker.score(example.question.text, [h.passage for h in example.hits])
        order = sorted(range(len(scores)), key=lambda i: -scores[i])
        gold = [is_positive(example.question, example.hits[i].passage) for i in order]
        ranks.append(1 + gold.index(True) if any(gold) else None)
    found = dev_figures(reranker, EXAMPLES)
    assert found["hit1"] == sum(rank == 1 for rank in ranks) / len(ranks)
    assert found["mrr"] == pytest.approx(sum(1 / rank for rank in ranks if rank) / len(ranks))


def test_what_is_saved_opens_here_and_in_sentence_transformers(tmp_path: Path) -> None:
    reranker = fresh()
    for weight in reranker.model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    reranker.save(tmp_path / "m")
    again = open_cross_encoder(str(tmp_path / "m"), "cpu")
    assert digest(again.model) == digest(reranker.model)
    scores = reranker.score("세종은 누구인가?", PASSAGES)
    assert (again.score("세종은 누구인가?", PASSAGES) == scores).all()
    library = pytest.importorskip("sentence_transformers")
    theirs = library.CrossEncoder(str(tmp_path / "m"), device="cpu", activation_fn=torch.nn.Identity())
    theirs = theirs.predict([("세종은 누구인가?", dense_text(p)) for p in PASSAGES])
    np.testing.assert_allclose(scores, theirs, atol=1e-4)


def test_what_is_no_reranker_is_refused(tmp_path: Path) -> None:
    reranker = fresh()
    reranker.model.bert.save_pretrained(tmp_path / "encoder")
    reranker.tokenizer.save_pretrained(tmp_path / "encoder")
    with pytest.raises(InputError, match="ForSequenceClassification"):
        open_cross_encoder(str(tmp_path / "encoder"))
    assert open_cross_encoder(str(tmp_path / "encoder"), new_head=True).model.config.num_labels == 1
    config = BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, num_labels=3)
    BertForSequenceClassification(config).save_pretrained(tmp_path / "three")
    reranker.tokenizer.save_pretrained(tmp_path / "three")
    with pytest.raises(InputError, match="3"):
        open_cross_encoder(str(tmp_path / "three"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError):
        open_cross_encoder(str(tmp_path / "empty"))


def test_the_commands(tmp_path: Path) -> None:
    kb, model = tmp_path / "kb", tmp_path / "reranker"
    assert kofid("index", DEMO, "-o", kb).code == 0
    made = ("--model", "fresh:tiny", "--limit", 16, "--max-steps", 2, "--n-context", 6)
    done = kofid("train-reranker", "-i", kb, QUESTIONS, *made, "-o", model)
    assert done.code == 0 and done.object["steps"] == 2, done.err

    def hits(*arguments: object) -> list[tuple[str, float]]:
        found = kofid("rerank", *arguments)
        assert found.code == 0, found.err
        return [(c["id"], c["score"]) for c in found.object["ctxs"]]

    asked = "한산도 대첩은 언제 일어났나?"
    found = kofid("retrieve", "-i", kb, asked, "-k", 6, "-o", tmp_path / "found.jsonl")
    assert found.code == 0
    top = hits("-i", kb, asked, "--cross-encoder", model, "--depth", 6, "-k", 6)
    assert [score for _, score in top] == sorted((score for _, score in top), reverse=True)
    assert hits("--from", tmp_path / "found.jsonl", "--cross-encoder", model, "-k", 6) == top  # needs no index
    first = hits("-i", kb, asked, "--cross-encoder", model, "--depth", 1, "-k", 6)
    sparse = [c["id"] for c in kofid("retrieve", "-i", kb, asked, "-k", 6).object["ctxs"]]
    assert [i for i, _ in first] == sparse  # what lies below the depth stays where it was
    read = hits("-i", kb, asked, "--reader", "t5", "--depth", 3, "-k", 3)
    assert sorted(i for i, _ in read) == sorted(sparse[:3])

    assert kofid("retrieve", "-i", kb, QUESTIONS, "--limit", 4, "-k", 5, "-o", tmp_path / "run.trec").code == 0
    more = ("--from", tmp_path / "run.trec", "--limit", 4, "--cross-encoder", model, "-k", 5)
    again = kofid("rerank", "-i", kb, QUESTIONS, *more, "-o", tmp_path / "again.trec")
    assert again.code == 0, again.err
    rows = [(tmp_path / name).read_text(encoding="utf-8").split("\n") for name in ("run.trec", "again.trec")]
    ids = [sorted(line.split()[2] for line in lines if line) for lines in rows]
    assert ids[0] == ids[1] and rows[0] != rows[1]
    for wrong in ([asked, "--cross-encoder", model], ["-i", kb, asked, "--cross-encoder", model, "--reader", "t5"]):
        assert kofid("rerank", *wrong).code == 2
    assert kofid("rerank", "-i", kb, asked, "--reader", "span").code == 2
    assert kofid("rerank", "-i", kb, asked, "--cross-encoder", tmp_path / "none").code == 3
