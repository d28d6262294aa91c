"""Training: losses by hand, examples, runs that learn, repeat, resume and stop; dense encoders."""

from __future__ import annotations

import builtins
import hashlib
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertTokenizer, RobertaConfig, RobertaModel, T5Tokenizer

from kofid.errors import InputError, KofidError, ResourceError, UsageError
from kofid.formats import read_corpus
from kofid.reader.fid.batch import Batch
from kofid.reader.fid.config import Variant
from kofid.reader.fid.init import FRESH, fresh_reader_model
from kofid.reader.fid.inputs import format_input
from kofid.reader.fid.pointing import parse_target
from kofid.reader.fid.reader import FiDReader
from kofid.retrieval.build import build_index
from kofid.retrieval.dense import faiss_index as dense
from kofid.retrieval.dense.base import NamedEncoder
from kofid.retrieval.dense.faiss_index import DenseIndex, import_faiss
from kofid.retrieval.dense.transformer import TransformerEncoder
from kofid.retrieval.index import Index
from kofid.training.data import (
    attach_hits,
    distillation_dataset,
    is_positive,
    reader_dataset,
)
from kofid.training.distill_fit import fit_distilled, kl_loss
from kofid.training.encoder import fresh_encoder
from kofid.training.fid import fit_fid, fresh_reader, reader_batch
from kofid.training.options import FreshModel, TrainOptions
from kofid.training.run import run_settings
from kofid.training.teacher import score_examples
from kofid.training.tokenizers import train_tokenizer
from kofid.types import Example, Hit, Passage, Question

CORPUS = Path(__file__).parents[3] / "resources/demo/passages.jsonl"

# Made up: who made what. The answer stands in the first of two passages.
_MAKERS = [
    ("가온", "다리"), ("나래", "거울"), ("다솜", "우산"), ("라온", "지도"), ("마루", "시계"),
    ("바다", "종이"), ("새봄", "나침반"), ("아람", "물레"), ("자두", "화살"), ("차돌", "등불"),
    ("카람", "항아리"), ("타래", "비단"), ("파도", "벼루"), ("하늬", "가마"), ("가람", "수레"),
    ("누리", "북"), ("단비", "피리"), ("로운", "탑"), ("미르", "배"), ("보라", "연"),
]  # fmt: skip
PASSAGES = [Passage(f"p{i}", thing, f"{thing}은(는) {name}이(가) 만들었다.") for i, (name, thing) in enumerate(_MAKERS)]
EXAMPLES = [
    Example(
        Question(f"{thing}을(를) 만든 사람은?", id=f"q{i}", answers=(name,), positive_ids=(f"p{i}",)),
        (Hit(PASSAGES[i], 2.0), Hit(PASSAGES[(i + 1) % len(PASSAGES)], 1.0)),
    )
    for i, (name, thing) in enumerate(_MAKERS)
]
TEXTS = [p.text for p in PASSAGES] + [e.question.text for e in EXAMPLES]
CPU = TrainOptions(device="cpu", weight_decay=0.0)


@pytest.fixture(scope="module")
def tokenizer() -> T5Tokenizer:
    return train_tokenizer(TEXTS, 400)


@pytest.fixture
def reader(tokenizer: T5Tokenizer) -> FiDReader:
    return new_reader(tokenizer)


def new_reader(tokenizer: T5Tokenizer) -> FiDReader:
    torch.manual_seed(7)
    return FiDReader(fresh_reader_model("tiny", len(tokenizer)), tokenizer, max_tokens=64)


def weights(model: torch.nn.Module) -> str:
    """Return a SHA-256 over all weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


# --- losses ---------------------------------------------------------------------------------------------------


def test_kl_loss_by_hand() -> None:
    # Dimension 4, so inner products are divided by 2.
    question = torch.tensor([[2.0, 0.0, 0.0, 0.0]])
    passages = torch.tensor([[[math.log(3), 0, 0, 0], [0.0, 1, 0, 0]]])
    # Retriever: 2 log 3 / 2 = log 3 and 0, softmax (3/4, 1/4). Reader: log 1 and log 1, softmax (1/2, 1/2).
    # KL = 1/2 log((1/2) / (3/4)) + 1/2 log((1/2) / (1/4)) = 1/2 log(2/3) + 1/2 log 2 = 1/2 log(4/3) = 0.1438
    found = kl_loss(question, passages, torch.tensor([[0.0, 0.0]]))
    assert found.item() == pytest.approx(0.5 * math.log(4 / 3), abs=1e-6)


def test_kl_loss_leaves_missing_passages_out() -> None:
    question = torch.tensor([[2.0, 0, 0, 0]], requires_grad=True)
    passages = torch.tensor([[[math.log(3), 0, 0, 0], [0.0, 1, 0, 0], [9.0, 9, 9, 9]]])
    scores = torch.tensor([[0.0, 0.0, -math.inf]])
    found = kl_loss(question, passages, scores)
    assert found.item() == pytest.approx(0.5 * math.log(4 / 3), abs=1e-6)  # as above: the third is not there
    found.backward()
    assert question.grad is not None and question.grad.isfinite().all()


def test_kl_loss_is_the_mean_over_questions() -> None:
    question = torch.tensor([[2.0, 0, 0, 0], [0.0, 0, 0, 0]])
    passages = torch.tensor([[[math.log(3), 0, 0, 0], [0.0, 1, 0, 0]], [[1.0, 0, 0, 0], [0.0, 1, 0, 0]]])
    # The second question scores both passages 0 and so does the reader: KL = 0. Mean = 1/2 x 1/2 log(4/3).
    found = kl_loss(question, passages, torch.zeros(2, 2))
    assert found.item() == pytest.approx(0.25 * math.log(4 / 3), abs=1e-6)


def test_kl_loss_temperature_flattens_the_reader() -> None:
    question, passages = torch.zeros(1, 4), torch.zeros(1, 2, 4)  # the retriever says (1/2, 1/2)
    scores = torch.tensor([[2 * math.log(3), 0.0]])
    # At temperature 2 the reader says (3/4, 1/4): KL = 3/4 log(3/2) + 1/4 log(1/2) = 0.1308
    found = kl_loss(question, passages, scores, temperature=2.0)
    assert found.item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5), abs=1e-6)


# --- examples -------------------------------------------------------------------------------------------------


def test_is_positive() -> None:
    passage = Passage("세종#2", "세종", "세종은 훈민정음을 만들었다.")
    assert is_positive(Question("?", positive_ids=("세종#2",)), passage)
    assert is_positive(Question("?", positive_ids=("세종",)), passage)  # the article it was cut from
    assert not is_positive(Question("?", answers=("훈민정음",), positive_ids=("세종#1",)), passage)  # gold is known
    assert is_positive(Question("?", answers=("훈민정음",)), passage)  # no gold known: says the answer
    assert not is_positive(Question("?", answers=("민정",)), passage)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    path = tmp_path_factory.mktemp("training") / "kb"
    article = [Passage("글#0", "글", "아무 말도 없다."), Passage("글#1", "글", "솔개가 하늘을 난다.")]
    build_index(path, [*PASSAGES, *article])
    return Index.open(path)


def test_attach_hits_puts_gold_in_for_the_last(index: Index) -> None:
    question = Question("다리를 만든 사람은?", answers=("보라",), positive_ids=("p19",))
    (found,) = attach_hits([question], index, 3, keep_gold=True)
    (plain,) = attach_hits([question], index, 3, keep_gold=False)
    assert [h.passage.id for h in plain.hits] == [h.passage.id for h in index.search(question.text, 3)]
    assert "p19" not in [h.passage.id for h in plain.hits]
    assert [h.passage.id for h in found.hits] == [*[h.passage.id for h in plain.hits[:2]], "p19"]
    assert (found.hits[-1].source, found.hits[-1].score) == ("gold", 0.0)
    assert found.target == "보라"


def test_attach_hits_leaves_found_gold_alone(index: Index) -> None:
    question = Question("다리를 만든 사람은?", answers=("가온",), positive_ids=("p0",))
    (found,) = attach_hits([question], index, 3, keep_gold=True)
    assert found.hits == tuple(index.search(question.text, 3))


def test_attach_hits_takes_the_gold_article_s_passage_that_says_an_answer(index: Index) -> None:
    question = Question("다리를 만든 사람은?", answers=("솔개",), positive_ids=("글",))
    (found,) = attach_hits([question], index, 2, keep_gold=True)
    assert found.hits[-1].passage.id == "글#1"


def test_attach_hits_without_gold_in_the_index(index: Index) -> None:
    question = Question("다리를 만든 사람은?", positive_ids=("없는 것",))
    (found,) = attach_hits([question], index, 3, keep_gold=True)
    assert [h.passage.id for h in found.hits] == [h.passage.id for h in index.search(question.text, len(found.hits))]
    assert found.target is None


def test_reader_rows_are_cut_at_n_context_and_need_an_answer() -> None:
    unanswered = Example(Question("누구?"), EXAMPLES[0].hits)
    no_hits = Example(Question("누구?", answers=("가온",)))
    targeted = replace(EXAMPLES[1], target="나래님")
    rows = reader_dataset([EXAMPLES[0], unanswered, no_hits, targeted], 1).to_list()
    assert [row["targets"] for row in rows] == [["가온"], ["나래님"]]
    assert rows[0]["titles"] == ["다리"] and rows[0]["texts"] == [PASSAGES[0].text]
    assert [row["positive"] for row in rows] == [[True], [True]]
    with pytest.raises(InputError):
        reader_dataset([unanswered, no_hits], 1)


def test_reader_rows_have_all_answers_and_say_which_passages_are_gold() -> None:
    several = replace(EXAMPLES[0], question=replace(EXAMPLES[0].question, answers=("가온", "가온님")))
    (row,) = reader_dataset([several], 2).to_list()
    assert row["targets"] == ["가온", "가온님"]
    assert row["positive"] == [True, False]


def targets_of(reader: FiDReader, batch: Batch) -> list[str]:
    assert batch.labels is not None
    rows = [[token for token in row if token != -100] for row in batch.labels.tolist()]
    return [str(reader.decoder_tokenizer.decode(row, skip_special_tokens=True)) for row in rows]


def test_reader_batch_is_packed_and_draws_one_of_the_answers(reader: FiDReader) -> None:
    several = replace(EXAMPLES[0], question=replace(EXAMPLES[0].question, answers=("가온", "나래")))
    rows = reader_dataset([several, EXAMPLES[1]], 2).to_list()
    torch.manual_seed(1)
    drawn = [targets_of(reader, reader_batch(reader, rows)) for _ in range(20)]
    assert {first for first, _ in drawn} == {"가온", "나래"} and {second for _, second in drawn} == {"나래"}
    torch.manual_seed(1)
    assert [targets_of(reader, reader_batch(reader, rows)) for _ in range(20)] == drawn
    batch = reader_batch(reader, rows)
    assert batch.n_passages == [2, 2] and sum(batch.lengths) == len(batch.input_ids)
    text = format_input(EXAMPLES[0].question.text, PASSAGES[0])
    assert batch.input_ids[: batch.lengths[0]].tolist() == reader.tokenizer(text)["input_ids"]


def test_a_pointing_reader_learns_its_sources() -> None:
    reader = fresh_reader("tiny", TEXTS, Variant(pointing=True), fresh=FreshModel(vocab_size=400))
    swapped = replace(EXAMPLES[1], hits=EXAMPLES[1].hits[::-1])
    both = replace(EXAMPLES[2], question=replace(EXAMPLES[2].question, positive_ids=("p2", "p3")))
    none = replace(EXAMPLES[3], question=replace(EXAMPLES[3].question, positive_ids=("p9",)))
    batch = reader_batch(reader, reader_dataset([swapped, both, none], 2).to_list())
    assert reader.tokenizer.unk_token_id not in (*batch.input_ids.tolist(), *batch.labels.flatten().tolist())
    # What is learned is what is read back: no word of the frame, which no passage has, is unknown.
    assert [parse_target(t, 2) for t in targets_of(reader, batch)] == [("나래", [2]), ("다솜", [1, 2]), ("라온", [])]
    texts = [reader.tokenizer.decode(i, skip_special_tokens=True) for i in batch.input_ids.split(batch.lengths)]
    assert texts[:2] == [format_input(EXAMPLES[1].question.text, h.passage, n) for n, h in enumerate(swapped.hits, 1)]


def test_distillation_needs_questions_with_two_passages() -> None:
    (row,) = distillation_dataset([EXAMPLES[0], Example(Question("?"), EXAMPLES[0].hits[:1])]).to_list()
    assert row["scores"] == [2.0, 1.0]


def test_distillation_of_nothing_is_refused(tmp_path: Path) -> None:
    encoder = fresh_encoder("tiny", TEXTS, vocab_size=400)
    with pytest.raises(KofidError):
        fit_distilled(encoder, [Example(Question("?"))], replace(CPU, max_steps=1), tmp_path / "c")


# --- readers that learn, repeat, resume -----------------------------------------------------------------------


def losses_of(
    reader: FiDReader, folder: Path, options: TrainOptions, examples: list[Example] = EXAMPLES, **more: Any
) -> list[float]:
    losses: list[float] = []

    def keep(step: int, steps: int, loss: float) -> None:
        assert step == len(losses) + 1 and steps == options.max_steps
        losses.append(loss)

    figures = fit_fid(reader, examples, options, folder, n_context=2, on_step=keep, **more)
    assert figures["steps"] == options.max_steps
    assert figures["loss"] == pytest.approx(sum(losses) / len(losses), abs=2e-3)
    return losses


def test_a_tiny_reader_learns_to_copy(reader: FiDReader, tmp_path: Path) -> None:
    options = replace(CPU, max_steps=60, batch_size=10, learning_rate=1e-2)
    losses = losses_of(reader, tmp_path / "c", options, examples=EXAMPLES[:10])
    assert losses[-1] < losses[0] / 20
    answers = [reader.read(e.question.text, e.hits) for e in EXAMPLES[:10]]
    right = sum(bool(a) and a[0].text == e.question.answers[0] for a, e in zip(answers, EXAMPLES, strict=False))
    assert right >= 9
    assert not (tmp_path / "c").exists()  # checkpoints are gone when all is done
    assert not reader.model.training


SHORT = replace(CPU, max_steps=8, batch_size=4, learning_rate=3e-3, save_steps=3, accumulate=2)


def test_the_same_seed_gives_bit_equal_weights_and_another_does_not(tokenizer: T5Tokenizer, tmp_path: Path) -> None:
    made = []
    for seed in (5, 5, 6):
        reader = new_reader(tokenizer)
        losses_of(reader, tmp_path / "c", replace(SHORT, seed=seed))
        made.append(weights(reader.model))
    assert made[0] == made[1] != made[2]


class Interrupted(Exception):
    """Stands for Ctrl-C or a kill between two steps."""


def interrupt_at(step: int) -> Callable[[int, int, float], None]:
    def on_step(now: int, steps: int, loss: float) -> None:
        if now == step:
            raise Interrupted

    return on_step


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(
    tokenizer: T5Tokenizer, tmp_path: Path, dropout: float
) -> None:
    def with_dropout() -> FiDReader:
        made = new_reader(tokenizer)
        for module in made.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = dropout
        return made

    whole = with_dropout()
    losses = losses_of(whole, tmp_path / "whole", SHORT)

    first = with_dropout()
    folder = tmp_path / "interrupted"
    with pytest.raises(Interrupted):
        fit_fid(first, EXAMPLES, SHORT, folder, n_context=2, on_step=interrupt_at(5))
    assert [p.name for p in folder.glob("checkpoint-*")] == ["checkpoint-3"]

    second = with_dropout()
    seen: list[float] = []
    fit_fid(second, EXAMPLES, SHORT, folder, n_context=2, resume=True, on_step=lambda s, n, loss: seen.append(loss))
    assert seen == losses[3:]
    assert weights(second.model) == weights(whole.model)
    assert weights(first.model) != weights(whole.model)
    assert not folder.exists()


def test_an_unfinished_run_is_not_overwritten(tokenizer: T5Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        fit_fid(new_reader(tokenizer), EXAMPLES, SHORT, tmp_path, n_context=2, on_step=interrupt_at(4))
    before = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*"))
    with pytest.raises(UsageError, match="resume"):
        fit_fid(new_reader(tokenizer), EXAMPLES, SHORT, tmp_path, n_context=2)
    assert sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*")) == before


def test_resume_without_checkpoints_starts_at_the_beginning(tokenizer: T5Tokenizer, tmp_path: Path) -> None:
    fresh, resumed = new_reader(tokenizer), new_reader(tokenizer)
    losses_of(fresh, tmp_path / "a", SHORT)
    losses_of(resumed, tmp_path / "b", SHORT, resume=True)
    assert weights(fresh.model) == weights(resumed.model)


def test_a_checkpoint_cut_off_while_saved_is_passed_over(tokenizer: T5Tokenizer, tmp_path: Path) -> None:
    whole = new_reader(tokenizer)
    losses_of(whole, tmp_path / "whole", SHORT)
    folder = tmp_path / "killed"
    with pytest.raises(Interrupted):
        fit_fid(new_reader(tokenizer), EXAMPLES, SHORT, folder, n_context=2, on_step=interrupt_at(7))
    last = max(folder.glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]))
    assert last.name == "checkpoint-6"
    for path in last.iterdir():  # killed after the weights: the trainer's own state was not written
        if path.name != "model.safetensors":
            path.unlink()
    resumed = new_reader(tokenizer)
    fit_fid(resumed, EXAMPLES, SHORT, folder, n_context=2, resume=True)
    assert weights(resumed.model) == weights(whole.model)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(reader: FiDReader, tmp_path: Path) -> None:
    plain = reader.model.forward
    calls = 0

    def forward(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal calls
        calls += 1
        loss, logits = plain(batch)
        return loss * math.nan if calls == 5 else loss, logits  # the 5th batch of steps of one batch each

    reader.model.forward = forward  # type: ignore[method-assign]
    steps: list[int] = []
    with pytest.raises(KofidError, match="5") as caught:
        fit_fid(
            reader,
            EXAMPLES,
            replace(SHORT, accumulate=1),
            tmp_path,
            n_context=2,
            on_step=lambda s, n, loss: steps.append(s),
        )
    assert "nan" in str(caught.value) and str(tmp_path) in str(caught.value)
    assert steps == [1, 2, 3, 4]
    assert [p.name for p in tmp_path.glob("checkpoint-*")] == ["checkpoint-3"]


def test_an_absurd_learning_rate_is_noticed(reader: FiDReader, tmp_path: Path) -> None:
    with pytest.raises(KofidError):
        fit_fid(reader, EXAMPLES, replace(SHORT, learning_rate=1e30, max_steps=30), tmp_path, n_context=2)


def test_a_fresh_reader_is_the_same_twice() -> None:
    # Otherwise --resume of a fresh model would go on with another vocabulary than the checkpoint's.
    first, second = (fresh_reader("tiny", TEXTS, fresh=FreshModel(vocab_size=400), seed=3) for _ in range(2))
    assert first.tokenizer.get_vocab() == second.tokenizer.get_vocab()
    assert [first.tokenizer(t)["input_ids"] for t in TEXTS] == [second.tokenizer(t)["input_ids"] for t in TEXTS]
    assert weights(first.model) == weights(second.model)


def test_unknown_fresh_sizes_name_the_known_ones() -> None:
    with pytest.raises(UsageError, match=", ".join(FRESH)):
        fresh_reader("huge", TEXTS)
    with pytest.raises(UsageError, match="tiny, mini"):
        fresh_encoder("huge", TEXTS)


def test_settings_keep_options_and_versions() -> None:
    kept = run_settings(SHORT, model="fresh:tiny")
    assert kept["training"]["learning_rate"] == 3e-3 and kept["model"] == "fresh:tiny"
    assert set(kept["versions"]) == {"torch", "transformers"}


# --- retrievers -----------------------------------------------------------------------------------------------


def kl_of(encoder: TransformerEncoder, examples: list[Example]) -> float:
    """Return KL(reader || retriever), averaged over the examples, from vectors: the slow twin of the loss."""
    total = 0.0
    for example in examples:
        question = encoder.encode_questions([example.question.text])[0]
        logits = encoder.encode_passages([h.passage for h in example.hits]) @ question / math.sqrt(encoder.dimension)
        own = torch.tensor(logits).double().softmax(0)
        reader = torch.tensor([h.score for h in example.hits]).double().softmax(0)
        total += float((reader * (reader.log() - own.log())).sum())
    return total / len(examples)


def test_distill_moves_the_retriever_toward_the_reader(tmp_path: Path) -> None:
    # The reader likes the second passage: the opposite of what gold says, so it is the scores that teach.
    examples = [
        replace(e, hits=(replace(e.hits[0], score=-2.0), replace(e.hits[1], score=2.0), *e.hits[2:]))
        for e in EXAMPLES[:10]
    ] + [replace(EXAMPLES[10], hits=(*EXAMPLES[10].hits, Hit(PASSAGES[15], -1.0)))]  # not all are equally many
    encoder = fresh_encoder("tiny", TEXTS, vocab_size=400)
    before = kl_of(encoder, examples)
    losses: list[float] = []
    fit_distilled(
        encoder,
        examples,
        replace(CPU, max_steps=40, batch_size=11, learning_rate=3e-3),
        tmp_path / "c",
        on_step=lambda s, n, loss: losses.append(loss),
    )
    after = kl_of(encoder, examples)
    assert losses[0] == pytest.approx(before, abs=1e-3)
    assert after < before / 3


def test_score_examples_takes_the_reader_s_scores(reader: FiDReader) -> None:
    scored = list(score_examples(reader, EXAMPLES[:5]))
    assert [e.question for e in scored] == [e.question for e in EXAMPLES[:5]]
    for example, kept in zip(scored, EXAMPLES[:5], strict=True):
        assert [h.passage for h in example.hits] == [h.passage for h in kept.hits]
        (alone,) = reader.score([(kept.question.text, kept.hits)])
        assert [h.score for h in example.hits] == pytest.approx([h.score for h in alone], abs=1e-5)


# --- encoders -------------------------------------------------------------------------------------------------


def test_mean_pooling_by_hand() -> None:
    # Two tokens and one of padding: the mean of the first two states only.
    states = torch.tensor([[[1.0, 3.0], [3.0, 5.0], [90.0, 90.0]]])
    mask = torch.tensor([[1, 1, 0]])

    class Fixed(torch.nn.Module):
        config = SimpleNamespace(hidden_size=2)

        def forward(self, **_: Any) -> SimpleNamespace:
            return SimpleNamespace(last_hidden_state=states)

    batch = {"input_ids": mask, "attention_mask": mask}
    assert TransformerEncoder(Fixed(), None).embed(batch).tolist() == [[2.0, 4.0]]  # type: ignore[arg-type]
    assert TransformerEncoder(Fixed(), None, "cls").embed(batch).tolist() == [[1.0, 3.0]]  # type: ignore[arg-type]


def test_a_roberta_with_a_bert_tokenizer_opens_as_an_encoder(tmp_path: Path) -> None:
    # As klue/roberta-base: RobertaModel weights, WordPiece vocabulary of BERT, 2 positions fewer than named.
    syllables = sorted({c for text in TEXTS for c in text if not c.isspace()})
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *syllables, *[f"##{c}" for c in syllables]]
    (tmp_path / "vocab.txt").write_text("\n".join(vocab) + "\n", encoding="utf-8")
    BertTokenizer.from_pretrained(tmp_path, do_lower_case=False).save_pretrained(tmp_path)
    torch.manual_seed(2)
    config = RobertaConfig(
        vocab_size=len(vocab),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=66,
        type_vocab_size=1,
        pad_token_id=0,
        tokenizer_class="BertTokenizer",
    )
    RobertaModel(config).save_pretrained(tmp_path)

    encoder = TransformerEncoder.load(str(tmp_path))
    assert encoder.tokenizer.convert_ids_to_tokens(encoder.tokenize(["다리"], 64)["input_ids"][0].tolist()) == [
        "[CLS]", "다", "##리", "[SEP]",
    ]  # fmt: skip
    vectors = encoder.encode_passages([*PASSAGES, Passage("long", "긴 글", "다리 " * 500)])  # cut at 64 tokens
    assert vectors.shape == (21, 32) and np.isfinite(vectors).all()
    encoder.save(tmp_path / "again")
    again = TransformerEncoder.load(str(tmp_path / "again"))
    assert np.array_equal(again.encode_passages(PASSAGES), encoder.encode_passages(PASSAGES))


def test_a_folder_that_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=str(tmp_path)):
        TransformerEncoder.load(str(tmp_path))
    with pytest.raises(InputError, match=str(tmp_path)):
        FiDReader.load(str(tmp_path))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_vectors_that_are_not_finite_are_refused(bad: float) -> None:
    vectors = np.zeros((3, 4), dtype=np.float32)
    vectors[1, 2] = bad
    with pytest.raises(InputError, match="NaN"):
        DenseIndex.build(iter([np.zeros((2, 4), dtype=np.float32), vectors]), 4)


def test_an_index_of_a_broken_encoder_is_not_written(tmp_path: Path) -> None:
    encoder = fresh_encoder("tiny", TEXTS, vocab_size=400)
    with torch.no_grad():
        encoder.model.embeddings.word_embeddings.weight.fill_(math.nan)
    build_index(tmp_path / "kb", PASSAGES)
    current = tmp_path / "kb" / "gen-1"
    before = {p: p.read_bytes() for p in current.rglob("*") if p.is_file()}
    with pytest.raises(InputError, match="NaN"):
        build_index(tmp_path / "kb", PASSAGES[:3], encoder=NamedEncoder(encoder, "broken", "0"))
    assert {p: p.read_bytes() for p in current.rglob("*") if p.is_file()} == before
    assert len(Index.open(tmp_path / "kb")) == len(PASSAGES)


def test_missing_faiss_is_named_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = builtins.__import__

    def without_faiss(name: str, *rest: Any, **more: Any) -> Any:
        if name == "faiss":
            raise ModuleNotFoundError("No module named 'faiss'", name="faiss")
        return plain(name, *rest, **more)

    monkeypatch.delitem(sys.modules, "faiss", raising=False)
    monkeypatch.setattr(builtins, "__import__", without_faiss)
    with pytest.raises(ResourceError) as caught:
        import_faiss()
    assert "pip install 'kofid[cpu]'" in str(caught.value)
    assert caught.value.exit_code == 6


def test_two_faiss_packages_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense, "_is_installed", lambda name: True)
    with pytest.raises(ResourceError, match="faiss-cpu"):
        import_faiss()


def test_dense_index_searches_exactly(tmp_path: Path) -> None:
    generator = np.random.default_rng(4)
    vectors = generator.normal(size=(30, 8)).astype(np.float32)
    questions = generator.normal(size=(3, 8)).astype(np.float32)
    built = DenseIndex.build(iter([vectors[:10], vectors[10:]]), 8)
    built.save(tmp_path / "dense.faiss")
    opened = DenseIndex.load(tmp_path / "dense.faiss")
    scores = questions @ vectors.T
    for found, row in zip(opened.search(questions, 5), scores, strict=True):
        assert [p for p, _ in found] == np.argsort(-row)[:5].tolist()
        assert [s for _, s in found] == pytest.approx(sorted(row.tolist(), reverse=True)[:5], abs=1e-5)
    np.testing.assert_allclose(opened.score_some(questions[0], range(len(opened))), scores[0], atol=1e-5)
    np.testing.assert_allclose(opened.score_some(questions[1], [4, 29, 0]), scores[1][[4, 29, 0]], atol=1e-5)
    assert len(opened.search(questions, 99)[0]) == 30


def test_the_demo_corpus_makes_a_tokenizer_without_unknowns() -> None:
    texts = [passage.text for passage in read_corpus([str(CORPUS)])]
    tokenizer = train_tokenizer(texts, 4_000)
    assert len(tokenizer) <= 4_000
    ids = [i for text in texts for i in tokenizer(text)["input_ids"]]
    assert ids.count(tokenizer.unk_token_id) < len(ids) / 500
