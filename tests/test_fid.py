"""FiDT5 against Transformers' own T5 and against slow loops; the reader over hits."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from transformers import T5ForConditionalGeneration, T5Tokenizer

from kofid.reader.fid import FiDReader
from kofid.reader.fid_t5 import FiDT5, first_token_logits, fresh_config
from kofid.reader.inputs import encode_inputs, encode_targets, format_input
from kofid.training.tokenizer import train_tokenizer
from kofid.types import Hit, Passage

VOCABULARY = 50
LENGTH = 7
TEXTS = [
    "훈민정음은 세종이 만들었다. 백성을 가르치는 바른 소리라는 뜻이다.",
    "임진왜란은 1592년에 일어났다. 이순신은 바다에서 이겼다.",
    "석굴암은 경주 토함산에 있다. 신라 때 김대성이 지었다.",
    "한강은 서울을 가로질러 서해로 흐른다.",
    "question: 누가 만들었나? title: 훈민정음 context: 세종",
]


def tiny(seed: int = 0, vocab_size: int = VOCABULARY) -> FiDT5:
    """Return an untrained model, the same for the same seed."""
    torch.manual_seed(seed)
    return FiDT5(fresh_config("tiny", vocab_size)).eval()


def random_batch(n_questions: int, n_passages: int, length: int = LENGTH, seed: int = 1) -> dict[str, torch.Tensor]:
    """Return random ids (batch, n_passages, length) whose masks leave 1 to ``length`` tokens of each passage."""
    generator = torch.Generator().manual_seed(seed)
    shape = (n_questions, n_passages, length)
    ids = torch.randint(2, VOCABULARY, shape, generator=generator)
    lengths = torch.randint(1, length + 1, shape[:2], generator=generator)
    mask = (torch.arange(length) < lengths[..., None]).long()
    return {"input_ids": ids * mask, "attention_mask": mask}


LABELS = torch.tensor([[5, 9, 11, 1], [8, 3, 1, -100]])


@pytest.fixture(scope="module")
def model() -> FiDT5:
    return tiny()


@pytest.fixture(scope="module")
def tokenizer() -> T5Tokenizer:
    return train_tokenizer(TEXTS, 300)


# --- the model: fast path against slow twin -------------------------------------------------------------------


@torch.no_grad()
def test_one_passage_is_plain_t5(model: FiDT5) -> None:
    plain = T5ForConditionalGeneration(model.config).eval()
    plain.load_state_dict(model.state_dict())
    batch = random_batch(2, 1)
    ids, mask = batch["input_ids"][:, 0], batch["attention_mask"][:, 0]

    expected = plain(input_ids=ids, attention_mask=mask, labels=LABELS)
    fused = model(**batch, labels=LABELS)
    flat = model(input_ids=ids, attention_mask=mask, labels=LABELS)

    torch.testing.assert_close(fused.logits, expected.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(flat.logits, expected.logits, atol=1e-5, rtol=0)
    assert fused.loss.item() == pytest.approx(expected.loss.item(), abs=1e-5)


@torch.no_grad()
def test_without_a_mask_every_token_counts(model: FiDT5) -> None:
    ids = random_batch(2, 3)["input_ids"]
    expected = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=LABELS).logits
    assert torch.equal(model(input_ids=ids, labels=LABELS).logits, expected)


@torch.no_grad()
def test_passages_are_encoded_apart_and_joined_in_order(model: FiDT5) -> None:
    batch = random_batch(2, 3)
    states = model.fuse(**batch)[0].last_hidden_state
    mask = model.fuse(**batch)[1]

    assert states.shape == (2, 3 * LENGTH, 64)
    assert torch.equal(mask, batch["attention_mask"].flatten(1))
    for q in range(2):
        for p in range(3):
            alone = model.encoder(
                input_ids=batch["input_ids"][q, p : p + 1], attention_mask=batch["attention_mask"][q, p : p + 1]
            ).last_hidden_state[0]
            n = int(batch["attention_mask"][q, p].sum())
            found = states[q, p * LENGTH : (p + 1) * LENGTH]
            torch.testing.assert_close(found[:n], alone[:n], atol=1e-5, rtol=0)


@torch.no_grad()
def test_another_order_of_passages_moves_states_but_not_logits(model: FiDT5) -> None:
    # Cross-attention has no position bias, so the decoder sees a set of states.
    batch = random_batch(2, 3)
    turned = {name: tensor[:, [2, 0, 1]] for name, tensor in batch.items()}
    states = model.fuse(**batch)[0].last_hidden_state.unflatten(1, (3, LENGTH))
    moved = model.fuse(**turned)[0].last_hidden_state.unflatten(1, (3, LENGTH))
    torch.testing.assert_close(moved, states[:, [2, 0, 1]], atol=1e-5, rtol=0)
    torch.testing.assert_close(
        model(**turned, labels=LABELS).logits, model(**batch, labels=LABELS).logits, atol=1e-5, rtol=0
    )


@torch.no_grad()
def test_a_question_reads_all_its_passages_and_no_other_question_s(model: FiDT5) -> None:
    batch = random_batch(2, 3)
    before = model(**batch, labels=LABELS).logits
    changed = batch["input_ids"].clone()
    changed[1, 2, 0] = (changed[1, 2, 0] + 7) % VOCABULARY
    after = model(input_ids=changed, attention_mask=batch["attention_mask"], labels=LABELS).logits
    torch.testing.assert_close(after[0], before[0], atol=1e-6, rtol=0)
    assert (after[1] - before[1]).abs().max() > 1e-4


@torch.no_grad()
@pytest.mark.parametrize("filler", [0, 13])
def test_padding_passages_change_nothing(model: FiDT5, filler: int) -> None:
    batch = random_batch(2, 2)
    ids = torch.full((2, 4, LENGTH), filler)
    mask = torch.zeros_like(ids)
    ids[:, [0, 2]], mask[:, [0, 2]] = batch["input_ids"], batch["attention_mask"]

    expected = model(**batch, labels=LABELS).logits
    torch.testing.assert_close(
        model(input_ids=ids, attention_mask=mask, labels=LABELS).logits, expected, atol=1e-5, rtol=0
    )
    assert not model.fuse(ids, mask)[0].last_hidden_state[:, LENGTH : 2 * LENGTH].any()  # not encoded


@torch.no_grad()
@pytest.mark.parametrize("filler", [0, 13])
def test_padding_tokens_change_nothing(model: FiDT5, filler: int) -> None:
    batch = random_batch(2, 2)
    ids = torch.full((2, 2, LENGTH + 4), filler)
    mask = torch.zeros_like(ids)
    ids[..., :LENGTH], mask[..., :LENGTH] = batch["input_ids"], batch["attention_mask"]
    torch.testing.assert_close(
        model(input_ids=ids, attention_mask=mask, labels=LABELS).logits,
        model(**batch, labels=LABELS).logits,
        atol=1e-5,
        rtol=0,
    )


def test_training_gradients_reach_encoder_and_decoder_with_a_padding_passage() -> None:
    model = tiny().train()
    batch = random_batch(2, 3)
    batch["attention_mask"][1, 2] = 0
    loss = model(**batch, labels=LABELS).loss
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    assert model.encoder.block[0].layer[0].SelfAttention.q.weight.grad.abs().sum() > 0


# --- cross-attention scores -----------------------------------------------------------------------------------


def rms_norm(vector: torch.Tensor, weight: torch.Tensor, epsilon: float = 1e-6) -> torch.Tensor:
    """Return T5's layer norm: no mean taken off, no bias."""
    return vector / math.sqrt(sum(float(x) ** 2 for x in vector) / len(vector) + epsilon) * weight


def slow_scores(model: FiDT5, ids: torch.Tensor, mask: torch.Tensor) -> list[list[float]]:
    """Compute score_passages one passage token, layer and head at a time, from the weights alone."""
    weights = {name: tensor.double() for name, tensor in model.state_dict().items()}
    n_heads, size = model.config.num_heads, model.config.d_kv
    states = model.fuse(ids, mask)[0].last_hidden_state.double()
    table = []
    for q in range(len(ids)):
        keys = [
            (p, states[q, p * ids.shape[2] + t])
            for p in range(ids.shape[1])
            for t in range(ids.shape[2])
            if mask[q, p, t]
        ]
        sums = [0.0] * ids.shape[1]
        hidden = weights["shared.weight"][0]  # <pad> starts the decoder
        for layer in range(model.config.num_decoder_layers):
            prefix = f"decoder.block.{layer}.layer"
            # Self-attention over one token: the softmax is 1, so the output is o(v(x)).
            normed = rms_norm(hidden, weights[f"{prefix}.0.layer_norm.weight"])
            value = weights[f"{prefix}.0.SelfAttention.v.weight"] @ normed
            hidden = hidden + weights[f"{prefix}.0.SelfAttention.o.weight"] @ value
            query = weights[f"{prefix}.1.EncDecAttention.q.weight"] @ rms_norm(
                hidden, weights[f"{prefix}.1.layer_norm.weight"]
            )
            context = torch.zeros(n_heads * size, dtype=torch.double)
            for head in range(n_heads):
                part = slice(head * size, (head + 1) * size)
                logits = []
                for p, state in keys:
                    logit = float(query[part] @ (weights[f"{prefix}.1.EncDecAttention.k.weight"][part] @ state))
                    logits.append(logit)
                    sums[p] += logit
                top = max(logits)
                total = sum(math.exp(x - top) for x in logits)
                for logit, (_, state) in zip(logits, keys, strict=True):
                    value = weights[f"{prefix}.1.EncDecAttention.v.weight"][part] @ state
                    context[part] += math.exp(logit - top) / total * value
            hidden = hidden + weights[f"{prefix}.1.EncDecAttention.o.weight"] @ context
            normed = rms_norm(hidden, weights[f"{prefix}.2.layer_norm.weight"])
            gate = torch.nn.functional.gelu(
                weights[f"{prefix}.2.DenseReluDense.wi_0.weight"] @ normed, approximate="tanh"
            )
            inner = gate * (weights[f"{prefix}.2.DenseReluDense.wi_1.weight"] @ normed)
            hidden = hidden + weights[f"{prefix}.2.DenseReluDense.wo.weight"] @ inner
        n_logits = model.config.num_decoder_layers * n_heads
        lengths = mask[q].sum(-1).tolist()
        table.append([s / (n * n_logits) if n else -math.inf for s, n in zip(sums, lengths, strict=True)])
    return table


@torch.no_grad()
def test_score_passages_equals_a_slow_walk_through_the_weights(model: FiDT5) -> None:
    batch = random_batch(2, 3)
    batch["attention_mask"][1, 1] = 0  # a hole, not only a tail
    found = model.score_passages(**batch)
    expected = torch.tensor(slow_scores(model, **{"ids": batch["input_ids"], "mask": batch["attention_mask"]}))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert found[0].std() > 1e-3  # the comparison is of numbers that differ


@torch.no_grad()
def test_first_token_logits_give_transformers_own_cross_attentions(model: FiDT5) -> None:
    eager = T5ForConditionalGeneration(model.config).eval()
    eager.load_state_dict(model.state_dict())
    eager.set_attn_implementation("eager")
    batch = random_batch(2, 3)
    batch["attention_mask"][1, 2] = 0
    fused, mask = model.fuse(**batch)

    logits = first_token_logits(model, fused.last_hidden_state, mask)
    assert logits.shape == (2, 2, 4, 3 * LENGTH)  # batch, layers, heads, states
    weights = logits.masked_fill(mask[:, None, None, :] == 0, -torch.inf).softmax(-1)
    output = eager(
        encoder_outputs=fused,
        attention_mask=mask,
        decoder_input_ids=torch.zeros(2, 1, dtype=torch.long),
        output_attentions=True,
    )
    for layer, expected in enumerate(output.cross_attentions):  # (batch, heads, 1, states)
        torch.testing.assert_close(weights[:, layer], expected[:, :, 0], atol=1e-5, rtol=0)


def test_an_absent_passage_scores_minus_infinity(model: FiDT5) -> None:
    batch = random_batch(2, 3)
    full = model.score_passages(**batch)
    assert full.isfinite().all()
    batch["attention_mask"][0, 1:] = 0
    scores = model.score_passages(**batch)
    assert scores[0, 1:].tolist() == [-math.inf, -math.inf]
    assert scores[1].tolist() == pytest.approx(full[1].tolist(), abs=1e-5)


def test_scores_do_not_depend_on_padding(model: FiDT5) -> None:
    batch = random_batch(1, 2)
    wide = {name: torch.nn.functional.pad(tensor, (0, 5, 0, 1)) for name, tensor in batch.items()}
    found = model.score_passages(**wide)[0].tolist()
    assert found[:2] == pytest.approx(model.score_passages(**batch)[0].tolist(), abs=1e-5)
    assert found[2] == -math.inf


# --- files ----------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_a_saved_model_gives_bit_equal_logits_and_opens_as_plain_t5(model: FiDT5, tmp_path: Path) -> None:
    batch = random_batch(2, 3)
    expected = model(**batch, labels=LABELS).logits
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    assert not list(tmp_path.glob("*.bin"))

    opened = FiDT5.from_pretrained(tmp_path).eval()
    assert torch.equal(opened(**batch, labels=LABELS).logits, expected)

    plain = T5ForConditionalGeneration.from_pretrained(tmp_path).eval()
    assert plain.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(plain.state_dict()[name], tensor) for name, tensor in model.state_dict().items())


@torch.no_grad()
def test_a_plain_t5_folder_opens_as_fid(tmp_path: Path) -> None:
    torch.manual_seed(3)
    plain = T5ForConditionalGeneration(fresh_config("tiny", VOCABULARY)).eval()
    plain.save_pretrained(tmp_path)
    opened = FiDT5.from_pretrained(tmp_path, use_safetensors=True).eval()
    batch = random_batch(2, 1)
    expected = plain(input_ids=batch["input_ids"][:, 0], attention_mask=batch["attention_mask"][:, 0], labels=LABELS)
    torch.testing.assert_close(opened(**batch, labels=LABELS).logits, expected.logits, atol=1e-5, rtol=0)


# --- answers --------------------------------------------------------------------------------------------------


@torch.no_grad()
def greedy(model: FiDT5, ids: torch.Tensor, mask: torch.Tensor, steps: int) -> tuple[list[int], float]:
    """Decode one question by hand, no cache: the whole prefix again at every step, the likeliest token taken."""
    tokens, probability = [0], 1.0
    for _ in range(steps):
        logits = model(input_ids=ids, attention_mask=mask, decoder_input_ids=torch.tensor([tokens])).logits[0, -1]
        chosen = int(logits.argmax())
        probability *= float(logits.double().softmax(-1)[chosen])
        tokens.append(chosen)
        if chosen == 1:  # </s>
            break
    return tokens, probability


def lively(seed: int) -> FiDT5:
    """Return a model whose weights are so large that greedy answers vary in tokens and length."""
    model = tiny(seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        model.lm_head.weight.copy_(torch.randn(model.lm_head.weight.shape, generator=generator))
        model.lm_head.weight[1] *= 1.5  # </s> comes now and then
        model.lm_head.weight[0] = 0.0  # <pad> is no word of an answer
    return model


def test_greedy_answers_equal_argmax_step_by_step() -> None:
    lengths, tokens_seen = set(), set()
    for seed in range(6):
        model = lively(seed)
        batch = random_batch(3, 2, seed=seed)
        sequences, probabilities = model.answer(**batch, max_new_tokens=6)
        for q in range(3):
            tokens, probability = greedy(
                model, batch["input_ids"][q : q + 1], batch["attention_mask"][q : q + 1], steps=6
            )
            found = sequences[q].tolist()
            assert found[: len(tokens)] == tokens
            assert not any(found[len(tokens) :])  # <pad> after </s>
            assert float(probabilities[q]) == pytest.approx(probability, rel=1e-4)
            lengths.add(len(tokens))
            tokens_seen.update(tokens)
    assert len(lengths) > 1 and len(tokens_seen) > 5  # the comparison saw early ends and different tokens


def test_a_beam_s_probability_is_the_product_of_its_tokens() -> None:
    for seed in range(4):
        model = lively(seed)
        batch = random_batch(1, 2, seed=seed)
        sequences, probability = model.answer(**batch, max_new_tokens=4, num_beams=5)
        tokens = [t for t in sequences[0].tolist()[1:] if t != 0]
        expected, prefix = 1.0, [0]
        for token in tokens:
            with torch.no_grad():
                logits = model(**batch, decoder_input_ids=torch.tensor([prefix])).logits[0, -1]
            expected *= float(logits.softmax(-1)[token])
            prefix.append(token)
        assert float(probability[0]) == pytest.approx(expected, rel=1e-3)


# --- inputs ---------------------------------------------------------------------------------------------------

PASSAGES = [
    Passage("p1", "훈민정음", "세종이 만들었다."),
    Passage("p2", "석굴암", "경주 토함산에 있다. 신라 때 김대성이 지었다."),
    Passage("p3", "한강", "서해로 흐른다."),
]


def hits_of(passages: Sequence[Passage]) -> list[Hit]:
    return [Hit(passage, 5.0 - i) for i, passage in enumerate(passages)]


def test_input_text() -> None:
    assert format_input("누가?", PASSAGES[0]) == "question: 누가? title: 훈민정음 context: 세종이 만들었다."


def test_inputs_are_cut_on_the_right_and_end_with_eos(tokenizer: T5Tokenizer) -> None:
    text = format_input("어디에 있나?", PASSAGES[1])
    whole = tokenizer(text)["input_ids"]
    batch = encode_inputs(tokenizer, ["어디에 있나?"], [[PASSAGES[1]]], max_tokens=12)
    assert batch["input_ids"].shape == (1, 1, 12)
    assert batch["input_ids"][0, 0].tolist() == [*whole[:11], tokenizer.eos_token_id]
    assert batch["attention_mask"].all()


def test_questions_with_fewer_passages_get_masked_ones(tokenizer: T5Tokenizer) -> None:
    questions = ["누가?", "어디?"]
    batch = encode_inputs(tokenizer, questions, [PASSAGES[:1], PASSAGES])
    assert batch["input_ids"].shape[:2] == (2, 3)
    assert not batch["attention_mask"][0, 1:].any()
    assert (batch["input_ids"][0, 1:] == tokenizer.pad_token_id).all()
    for q, p in [(0, 0), (1, 0), (1, 1), (1, 2)]:
        kept = batch["input_ids"][q, p][batch["attention_mask"][q, p].bool()].tolist()
        assert kept == tokenizer(format_input(questions[q], PASSAGES[p]))["input_ids"]


def test_labels_leave_padding_out(tokenizer: T5Tokenizer) -> None:
    labels = encode_targets(tokenizer, ["세종", "경주 토함산에 있다"])
    short = tokenizer("세종")["input_ids"]
    assert labels[0].tolist() == short + [-100] * (labels.shape[1] - len(short))
    assert labels[1].tolist() == tokenizer("경주 토함산에 있다")["input_ids"]
    assert encode_targets(tokenizer, ["경주 토함산에 있다"], max_tokens=3)[0, -1] == tokenizer.eos_token_id


# --- the reader -----------------------------------------------------------------------------------------------


class Scripted:
    """A model that says ``text`` and attends to passages as ``attended`` says."""

    device = torch.device("cpu")

    def __init__(self, tokenizer: T5Tokenizer, text: str, attended: Sequence[float]) -> None:
        self.tokenizer, self.text, self.attended = tokenizer, text, attended
        self.seen: list[str] = []

    def eval(self) -> Scripted:
        return self

    def answer(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, max_new_tokens: int, num_beams: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.seen = [self.tokenizer.decode(row, skip_special_tokens=True) for row in input_ids[0]]
        return torch.tensor([[0, *self.tokenizer(self.text)["input_ids"]]]), torch.tensor([0.25])

    def score_passages(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return torch.tensor([self.attended[: input_ids.shape[1]]])


def scripted(tokenizer: T5Tokenizer, text: str, attended: Sequence[float], n_context: int = 10) -> FiDReader:
    return FiDReader(Scripted(tokenizer, text, attended), tokenizer, n_context=n_context)  # type: ignore[arg-type]


def test_an_answer_comes_with_the_passage_that_says_it(tokenizer: T5Tokenizer) -> None:
    # The model attends most to the last passage, but only the second says 김대성.
    reader = scripted(tokenizer, "김대성", (0.1, 0.2, 0.9))
    (answer,) = reader.read("석굴암은 누가 지었나?", hits_of(PASSAGES))
    assert (answer.text, answer.confidence, answer.passage) == ("김대성", 0.25, PASSAGES[1])
    assert PASSAGES[1].text[answer.start : answer.end] == "김대성"


def test_an_answer_that_no_passage_says_has_no_span(tokenizer: T5Tokenizer) -> None:
    reader = scripted(tokenizer, "이순신", (0.1, 0.9, 0.2))
    (answer,) = reader.read("누구인가?", hits_of(PASSAGES))
    assert (answer.passage, answer.start, answer.end) == (PASSAGES[1], None, None)


def test_only_the_first_passages_are_read(tokenizer: T5Tokenizer) -> None:
    reader = scripted(tokenizer, "세종", (0.1, 0.9, 0.2), n_context=2)
    (answer,) = reader.read("누가?", hits_of(PASSAGES))
    assert answer.passage == PASSAGES[0]
    assert len(reader.model.seen) == 2
    assert reader.model.seen[0].replace(" ", "") == format_input("누가?", PASSAGES[0]).replace(" ", "")


def test_nothing_to_read_is_no_answer(tokenizer: T5Tokenizer) -> None:
    assert scripted(tokenizer, "세종", (0.1,)).read("누가?", []) == []
    assert scripted(tokenizer, "세종", (0.1,)).read("  ", hits_of(PASSAGES[:1])) == []
    assert scripted(tokenizer, "", (0.1,)).read("누가?", hits_of(PASSAGES[:1])) == []


def test_a_real_reader_answers_alike_after_saving(tokenizer: T5Tokenizer, tmp_path: Path) -> None:
    reader = FiDReader(tiny(vocab_size=len(tokenizer)), tokenizer)
    with torch.no_grad():  # a fresh model's answer may be empty; with these weights it says words
        reader.model.lm_head.weight.normal_(generator=torch.Generator().manual_seed(5))
        reader.model.lm_head.weight[:3] = 0.0  # <pad>, </s>, <unk>
    answers = reader.read("누가 만들었나?", hits_of(PASSAGES))
    assert answers and answers[0].text
    assert 0.0 < answers[0].confidence <= 1.0

    reader.save(tmp_path / "reader")
    opened = FiDReader.load(str(tmp_path / "reader"))
    assert opened.read("누가 만들었나?", hits_of(PASSAGES)) == answers
    assert opened.tokenizer("훈민정음은 세종이")["input_ids"] == tokenizer("훈민정음은 세종이")["input_ids"]


def test_score_keeps_order_and_batches_agree(tokenizer: T5Tokenizer) -> None:
    reader = FiDReader(tiny(vocab_size=len(tokenizer)), tokenizer)
    pairs = [("누가?", hits_of(PASSAGES[:1])), ("어디?", hits_of(PASSAGES)), ("무엇?", hits_of(PASSAGES[1:]))]
    together = list(reader.score(pairs, batch_size=3))
    alone = list(reader.score(pairs, batch_size=1))
    for (_, hits), row, other in zip(pairs, together, alone, strict=True):
        assert [h.passage for h in row] == [h.passage for h in hits]
        assert all(h.source == "reader" and math.isfinite(h.score) for h in row)
        assert [h.score for h in row] == pytest.approx([h.score for h in other], abs=1e-5)


def test_score_of_questions_without_hits(tokenizer: T5Tokenizer) -> None:
    reader = FiDReader(tiny(vocab_size=len(tokenizer)), tokenizer)
    assert [len(row) for row in reader.score([("누가?", hits_of(PASSAGES)), ("모름", [])])] == [3, 0]
    assert list(reader.score([("모름", [])])) == [[]]
    assert list(reader.score([])) == []


# --- tokenizers -----------------------------------------------------------------------------------------------


def test_a_tokenizer_of_our_own_has_t5_s_layout(tokenizer: T5Tokenizer) -> None:
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 1, 2)
    for text in TEXTS[:4]:
        ids = tokenizer(text)["input_ids"]
        assert ids[-1] == 1
        assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_a_sentencepiece_model_works_too(tmp_path: Path) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(TEXTS * 4), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(tmp_path / "spiece"),
        vocab_size=120,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    folder = tmp_path / "t5"  # a folder as Google's T5 checkpoints are: spiece.model and no tokenizer.json
    folder.mkdir()
    shutil.copy(tmp_path / "spiece.model", folder / "spiece.model")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "T5Tokenizer", "extra_ids": 0}')
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    tiny(vocab_size=pieces.get_piece_size()).save_pretrained(folder)

    reader = FiDReader.load(str(folder))
    for text in TEXTS[:4]:
        assert reader.tokenizer(text)["input_ids"] == [*pieces.encode(text), 1]
    assert [len(row) for row in reader.score([("누가?", hits_of(PASSAGES))])] == [3]
    assert len(reader.read("누가?", hits_of(PASSAGES))) <= 1
