"""Readers that match and copy against slow twins: features word by word, distributions token by token, T5's own decoder."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from support.command_line import DEMO
from support.copiers import BOTH, copier, matched
from support.examples import CPU, EXAMPLES, PASSAGES, digest, tokenizer
from support.twins import Twin, close, enliven, gpt2_config, lively, t5_config
from transformers import T5ForConditionalGeneration, T5Tokenizer
from transformers.modeling_outputs import BaseModelOutput
from transformers.optimization import Adafactor

from kofid.errors import UsageError
from kofid.korean.kiwi import analyze_many
from kofid.reader.fid.batch import Batch, Encoded
from kofid.reader.fid.config import Decoding, Variant
from kofid.reader.fid.copying import Copying
from kofid.reader.fid.generation import generate
from kofid.reader.fid.init import fresh_reader_model
from kofid.reader.fid.inputs import encode_inputs, encode_targets
from kofid.reader.fid.lexical_match import N_FEATURES, Pieces
from kofid.reader.fid.model import FusionReader
from kofid.reader.fid.reader import FiDReader
from kofid.reader.fid.weights import from_t5, open_reader_model, save_reader_model
from kofid.training.fid import fit_fid, initial_reader
from kofid.training.tokenizers import train_tokenizer

VARIANTS = [BOTH, replace(BOTH, first_k=3), replace(BOTH, n_kv_heads=1, cross_layers=(2,)), Variant(copying=True)]

# --- lexical matches --------------------------------------------------------------------------------------------


def made_of(pieces: dict[int, str], n: int) -> T5Tokenizer:
    """Return a tokenizer of ``n`` pieces: those given, by rank, and others of no use."""
    rest = [pieces.get(i, f"x{i}") for i in range(3, n)]
    words = ["<pad>", "</s>", "<unk>", *rest]
    return T5Tokenizer(vocab=[(word, -float(i)) for i, word in enumerate(words)], extra_ids=0)


def test_features_by_hand() -> None:
    # Of 31 pieces that of rank r weighs (log(1 + r) / log 32)^2: 가 (3) 4/25 = 0.16, 나 (7) 9/25 = 0.36, 다 (15)
    # 16/25 = 0.64; 8 of these are 1.28, 2.88, 5.12, so shared they have levels 1 + 1, 1 + 2 and 1 + 5.
    pieces = Pieces(made_of({3: "가", 7: "나", 15: "다", 20: "▁가", 21: "▁나", 22: "▁다", 23: "▁라", 24: "."}, 31))
    assert pieces.same[[3, 20, 23, 1]].tolist() == [3, 3, 23, 1]
    assert pieces.weight[[3, 7, 15, 1]] == pytest.approx([0.16, 0.36, 0.64, 0.0])
    question = [20, 21, 22]  # ▁가 ▁나 ▁다: 0.16 + 0.36 + 0.64 = 1.16
    #          ▁가  ▁라  .    ▁나  다  ▁라 </s>   the first sentence has 0.16 / 1.16 of the question: 8 of these are 1.1
    passage = [20, 23, 24, 21, 15, 23, 1]  # the second 1.00 / 1.16: 6.9
    expected = [(9 + 2) * 8, (9 + 3) * 8, (9 + 6) * 8]  # (9 if of the question + level) x 8 + eighths of the question
    expected += [2 * 8 + 1, 0 * 8 + 1, 0 * 8 + 1, 3 * 8 + 6, 6 * 8 + 6, 0 * 8 + 6, 0 * 8 + 6]
    assert pieces.features(np.array(question + passage), 3).tolist() == expected
    # No 다 in the passage: it stands alone in the question, and the one sentence has 0.52 / 1.16: 3.6 eighths. What ends
    # a sentence does so before a space only.
    found = pieces.features(np.array([*question, 20, 24, 7, 1]), 3).tolist()
    assert found == [88, 96, 72, 2 * 8 + 3, 3, 3 * 8 + 3, 3]
    # The whole question counts as the last eighth; a question that takes all the room is alone.
    assert pieces.features(np.array([*question, 3, 7, 15]), 3).tolist() == [88, 96, 120, 2 * 8 + 7, 3 * 8 + 7, 55]
    assert pieces.features(np.array(question), 3).tolist() == [72, 72, 72]


def slow_features(words: list[str], vocabulary: list[str], n_question: int) -> list[int]:
    """Return ``Pieces.features`` of pieces, a word at a time."""

    def bare(word: str) -> str:
        return word[1:] if word[0] == "▁" and word[1:] in vocabulary else word

    def weight(word: str) -> float:
        rank = vocabulary.index(bare(word))
        return 0.0 if rank < 3 else (math.log(1 + rank) / math.log(1 + len(vocabulary))) ** 2

    sentence, sentences = 0, []
    for i, word in enumerate(words):
        cut = i > n_question and words[i - 1][-1] in ".?!" and word[0] == "▁"
        sentence += cut
        sentences.append(-1 if i < n_question else sentence)
    parts = [bare(w) for w in words[:n_question]], [bare(w) for w in words[n_question:]]
    total = sum(weight(w) for w in set(parts[0]))
    found = []
    for i, word in enumerate(words):
        asked = i < n_question
        shared = weight(word) > 0 and bare(word) in parts[asked]
        own = {bare(w) for w, s in zip(words, sentences, strict=True) if s == sentences[i]} & set(parts[0])
        share = 0 if asked or not total else min(7, math.floor(8 * sum(map(weight, own)) / total + 1e-9))
        found.append((9 * asked + (1 + min(7, math.floor(8 * weight(word))) if shared else 0)) * 8 + share)
    return found


def test_features_equal_a_slow_walk_over_words() -> None:
    chance = random.Random(1)
    letters = [*"가나다라마바사.?", "아!"]
    words = [*letters, *(f"▁{a}" for a in letters[:6]), "▁", "▁빈", "▁."]
    chance.shuffle(words)
    vocabulary = ["<pad>", "</s>", "<unk>", *words]
    pieces = Pieces(made_of(dict(enumerate(vocabulary)), len(vocabulary)))
    seen: set[int] = set()
    for _ in range(300):
        ids = [chance.randrange(1, len(vocabulary)) for _ in range(chance.randint(1, 25))]
        n_question = chance.randint(1, min(8, len(ids)))
        found = pieces.features(np.array(ids), n_question).tolist()
        assert found == slow_features([vocabulary[i] for i in ids], vocabulary, n_question)
        seen.update(found)
    assert len(seen) > 50 and min(seen) == 0 and max(seen) < N_FEATURES == 144


@pytest.mark.parametrize("max_tokens", [24, 48])
def test_inputs_have_the_features_of_each_passage(max_tokens: int) -> None:
    tokens, asked = tokenizer(), [e.question.text for e in EXAMPLES[:3]]
    vocabulary = tokens.convert_ids_to_tokens(list(range(len(tokens))))
    passages = [PASSAGES[:2], [], PASSAGES[2:5]]
    batch = encode_inputs(tokens, asked, passages, max_tokens, pieces=Pieces(tokens))
    owners = [question for question, row in zip(asked, passages, strict=True) for _ in row]
    rows, found = (t.split(batch.lengths) for t in (batch.input_ids, batch.matches))
    for question, ids, features in zip(owners, rows, found, strict=True):
        n = min(len(tokens(f"question: {question}").input_ids) - 1, len(ids))  # without the end
        assert features.tolist() == slow_features([vocabulary[i] for i in ids], vocabulary, n)
    assert len(batch.matches.unique()) > 5 and batch.matches.dtype == torch.long
    plain = encode_inputs(tokens, asked, passages, max_tokens)
    assert plain.matches is None and torch.equal(plain.input_ids, batch.input_ids)


# --- answers in the passages' tokens ------------------------------------------------------------------------------


def test_an_answer_has_the_tokens_of_the_first_place_where_it_stands() -> None:
    chance = random.Random(2)
    pieces = Pieces(made_of({3: "가", 4: "▁가", 5: "나", 6: "▁나", 7: "▁다"}, 8))
    bare = {4: 3, 6: 5}
    hits = 0
    for _ in range(500):
        passages = [chance.randrange(3, 8) for _ in range(chance.randint(0, 12))]
        target = [chance.randrange(3, 8) for _ in range(chance.randint(0, 3))]
        expected = target
        for start in reversed(range(len(passages) - len(target) + 1)):
            window = passages[start : start + len(target)]
            expected = window if [bare.get(t, t) for t in window] == [bare.get(t, t) for t in target] else expected
        found = pieces.as_in(np.array(target, dtype=np.int64), np.array(passages, dtype=np.int64)).tolist()
        assert found == expected
        hits += found != target
    assert hits > 50


def test_targets_are_written_as_the_question_s_own_passages_have_them() -> None:
    tokens = made_of({3: "(", 4: "가", 5: "▁가", 6: "나", 7: "▁나", 8: "▁"}, 20)
    pieces = Pieces(tokens)
    # Two questions; passages "▁나 (", "나 (가 나 </s>", "▁가 나".
    batch = Batch(torch.tensor([7, 3, 6, 3, 4, 6, 1, 5, 6]), [2, 5, 2], [2, 1], None)
    plain = encode_targets(tokens, ["가나", "가나"])
    assert plain.tolist() == [[5, 6, 1], [5, 6, 1]]
    assert encode_targets(tokens, ["가나", "가나"], batch=batch, pieces=pieces).tolist() == [[4, 6, 1], [5, 6, 1]]
    assert encode_targets(tokens, ["나가"] * 2, batch=batch, pieces=pieces).tolist() == [[7, 4, 1]] * 2  # nowhere
    found = encode_targets(tokens, ["나", "나"], max_tokens=2, batch=batch, pieces=pieces)
    assert found.tolist() == [[7, 1], [6, 1]]  # the first place in each question's own passages
    assert encode_targets(tokens, ["가", "나"], batch=batch).tolist() == [[5, 1], [7, 1]]


def test_a_question_without_passages_has_its_own_target() -> None:
    tokens = made_of({4: "가", 5: "▁가"}, 20)
    batch = Batch(torch.tensor([4, 1]), [2], [0, 1], None)
    found = encode_targets(tokens, ["가", "가"], batch=batch, pieces=Pieces(tokens))
    assert found.tolist() == [[5, 1], [4, 1]]


# --- the distribution ---------------------------------------------------------------------------------------------


def slow_copying(copying: Copying, hidden: torch.Tensor, logits: torch.Tensor, one: Encoded) -> list[float]:
    """Return the mixed distribution of one decoder state (d_model,), state by state of the passages."""
    gate = 1 / (1 + math.exp(-float(copying.gate.weight[0] @ hidden + copying.gate.bias[0])))
    query = copying.query.weight @ hidden
    attended = [math.exp(float(query @ state) / len(hidden) ** 0.5) for state in one.states]
    shares = [(1 - gate) * x for x in logits.double().softmax(0).tolist()]
    for token, x in zip(one.ids.tolist(), attended, strict=True):
        shares[token] += gate * x / sum(attended)
    return shares


@torch.no_grad()
def test_the_distribution_by_hand() -> None:
    # Width 1, the query is the state itself and the gate sigmoid(log 3) = 3/4. The decoder's state 1 gives the passage's
    # states log 2, 0, log 5 shares of 2/8, 1/8, 5/8; the vocabulary of 4 is written with shares of 1/4 each.
    copying = Copying(1)
    for weight, value in ((copying.query.weight, 1.0), (copying.gate.weight, 0.0), (copying.gate.bias, math.log(3))):
        weight.fill_(value)
    passage = Encoded(torch.tensor([[2.0], [1.0], [5.0]]).log(), [3], torch.tensor([2, 0, 2]))
    found = copying(torch.ones(1, 1, 1), torch.zeros(1, 1, 4), [passage]).exp()[0, 0]
    # Tokens 0: 1/16 + 3/4 x 1/8, 1 and 3: 1/16, 2: 1/16 + 3/4 x 7/8.
    close(found, torch.tensor([5 / 32, 1 / 16, 23 / 32, 1 / 16]), 1e-6)
    # A token of no share has a log probability that a loss can have.
    never = copying(torch.ones(1, 1, 1), torch.tensor([[[0.0, -1e4, 0.0, 0.0]]]), [passage])
    assert never[0, 0, 1].item() == pytest.approx(math.log(1e-9), abs=1e-3)


@torch.no_grad()
def test_distributions_equal_a_slow_computation_and_sum_to_one() -> None:
    torch.manual_seed(3)
    copying = enliven(Copying(16), 1, std=0.5)
    passages = [Encoded(torch.randn(n, 16), [n], torch.randint(0, 11, (n,))) for n in (5, 1, 9)]
    hidden, logits = torch.randn(6, 4, 16), 3 * torch.randn(6, 4, 11)  # two rows a question, as beams have
    found = copying(hidden, logits, passages)
    close(found.exp().sum(-1), torch.ones(6, 4), 1e-5)
    gates = torch.sigmoid(copying.gate(hidden))
    assert gates.min() < 0.3 and gates.max() > 0.7
    for row in range(6):
        one = passages[row // 2]
        close(copying(hidden[row : row + 1], logits[row : row + 1], [one])[0], found[row])
        for t in range(4):
            close(found[row, t].exp(), torch.tensor(slow_copying(copying, hidden[row, t], logits[row, t], one)))


# --- the whole reader ---------------------------------------------------------------------------------------------


class Slow:
    """The same reader: Transformers' T5 given one question's passages one by one, and what it copies by loops."""

    def __init__(self, reader: FusionReader, batch: Batch) -> None:
        self.reader, self.batch = reader, batch
        plain = FusionReader(reader.config, replace(reader.variant, match=False, copying=False))
        own = {n: w for n, w in reader.state_dict().items() if not n.startswith(("match.", "copying."))}
        plain.load_state_dict(own)
        self.t5 = Twin(plain.eval()).t5
        tokens = batch.input_ids.split(batch.lengths)
        embedded = reader.shared(batch.input_ids)
        embedded = embedded if reader.match is None else embedded + reader.match.weight[batch.matches]
        k = reader.variant.first_k or 99
        states = [
            self.t5.encoder(inputs_embeds=e[None]).last_hidden_state[0, :k] for e in embedded.split(batch.lengths)
        ]
        bounds = [0, *np.cumsum(batch.n_passages).tolist()]
        self.encoded = [
            Encoded(torch.cat(states[a:b]), [len(s) for s in states[a:b]], torch.cat([t[:k] for t in tokens[a:b]]))
            for a, b in pairwise(bounds)
        ]

    def shares(self, q: int, ids: list[int]) -> list[list[float]]:
        """Return the distribution after each of the decoder's ids, for the q-th question."""
        one = self.encoded[q]
        outputs = BaseModelOutput(one.states[None])
        given = torch.tensor([ids])
        read = self.t5(encoder_outputs=outputs, decoder_input_ids=given, use_cache=False, output_hidden_states=True)
        rows = zip(read.decoder_hidden_states[-1][0], read.logits[0], strict=True)
        return [slow_copying(self.reader.copying, hidden, logits, one) for hidden, logits in rows]

    def greedy(self, q: int, max_tokens: int) -> tuple[list[int], list[float]]:
        """Return the likeliest tokens, everything computed again at every step, and their log shares."""
        ids, logs = [0], []
        for _ in range(max_tokens):
            row = self.shares(q, ids)[-1]
            token = max(range(len(row)), key=row.__getitem__)
            logs.append(math.log(row[token]))
            if token == 1:
                break
            ids.append(token)
        return ids[1:], logs


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_batch_equals_the_slow_reader_question_by_question(variant: Variant, tmp_path: Path) -> None:
    reader, batch = copier(1, variant), matched()
    slow = Slow(reader, batch)
    for found, expected in zip(reader.encode(batch), slow.encoded, strict=True):
        close(found.states, expected.states)
        assert torch.equal(found.ids, expected.ids) and found.lengths == expected.lengths
    loss, logits = reader(batch)
    losses = []
    for q, labels in enumerate(batch.labels.tolist()):
        answer = [label for label in labels if label >= 0]
        rows = slow.shares(q, [0, *answer[:-1]])
        close(logits[q, : len(answer)].exp(), torch.tensor(rows))
        losses += [-math.log(row[label]) for row, label in zip(rows, answer, strict=True)]
    assert loss.item() == pytest.approx(sum(losses) / len(losses), abs=1e-4)
    assert logits.std() > 0.2
    save_reader_model(reader, tmp_path)
    opened = open_reader_model(str(tmp_path)).eval()
    assert opened.variant == variant and opened.state_dict().keys() == reader.state_dict().keys()
    assert all(torch.equal(weight, reader.state_dict()[name]) for name, weight in opened.state_dict().items())
    assert torch.equal(opened(batch)[1], logits)


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS[:2], ids=str)
def test_encoding_in_groups_equals_at_once(variant: Variant) -> None:
    reader, batch = copier(2, variant), matched((5, 0, 7))
    whole = reader.train().encode(batch)
    for at_a_time in (1, 9, 20, 10_000):
        for found, expected in zip(reader.eval().encode(batch, at_a_time), whole, strict=True):
            close(found.states, expected.states, 5e-5)
            assert torch.equal(found.ids, expected.ids) and found.lengths == expected.lengths
    other = replace(batch, matches=batch.matches.flip(0))
    assert (reader.encode(other)[0].states - whole[0].states).abs().max() > 1e-2  # matches matter
    with pytest.raises(ValueError, match="matches"):
        reader.encode(replace(batch, matches=None))


@torch.no_grad()
@pytest.mark.parametrize("absorbed", [False, True])
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_greedy_answers_equal_a_loop_that_computes_all_again(variant: Variant, absorbed: bool) -> None:
    lengths, copied = set(), 0
    for seed in range(3):
        reader, batch = copier(seed, variant, vocab_size=14), matched(seed=seed, n_words=14)
        slow = Slow(reader, batch)
        for q, answer in enumerate(generate(reader, reader.encode(batch), Decoding(5, absorbed=absorbed))):
            ids, logs = slow.greedy(q, 5)
            assert answer.ids == ids
            assert answer.log_probabilities == pytest.approx(logs, abs=1e-4)
            lengths.add(len(ids))
            copied += bool(set(ids) & set(slow.encoded[q].ids.tolist()))
    assert len(lengths) > 1 and copied > 2


@torch.no_grad()
def test_beams_have_the_log_probabilities_of_their_tokens_alone_and_together() -> None:
    reader, batch = copier(3, vocab_size=14), matched(seed=4, n_words=14)
    slow, encoded = Slow(reader, batch), reader.encode(batch)
    for q, answer in enumerate(generate(reader, encoded, Decoding(5, n_beams=3))):
        given = [*answer.ids, 1][:5]
        rows = slow.shares(q, [0, *given[:-1]])
        assert answer.log_probabilities == pytest.approx(
            [math.log(row[token]) for row, token in zip(rows, given, strict=True)], abs=1e-4
        )
        (alone,) = generate(reader, encoded[q : q + 1], Decoding(5, n_beams=3))
        assert alone.ids == answer.ids


# --- checkpoints --------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_a_t5_that_is_to_match_and_copy_answers_nearly_as_before(tmp_path: Path) -> None:
    plain = enliven(T5ForConditionalGeneration(t5_config()), 5, std=0.3)
    plain.save_pretrained(tmp_path)
    before, after = (open_reader_model(str(tmp_path), v).eval() for v in (Variant(), BOTH))
    batch = matched()
    # The gate starts at g = sigmoid(-4) = 0.018 whatever the state, and matches at zero: a share p becomes
    # (1 - g) p + g a with attention a of 0 to 1, so log p falls by at most -log(1 - g), and p moves by at most g.
    g = 1 / (1 + math.exp(4))
    old, new = before(batch)[1].log_softmax(-1), after(batch)[1]
    assert (new - old).min() >= math.log(1 - g) - 1e-5
    assert (new.exp() - old.exp()).abs().max() <= g + 1e-6
    assert (new - old).abs().max() > 1e-3  # it copies a little
    for found, expected in zip(after.encode(batch), before.encode(batch), strict=True):
        assert torch.equal(found.states, expected.states)
    assert torch.equal(from_t5(plain, BOTH).match.weight, torch.zeros(N_FEATURES, 32))
    back = open_reader_model(str(tmp_path), replace(BOTH, copying=False)).eval()
    assert torch.equal(back(batch)[1], before(batch)[1])


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_added_is_as_asked_and_the_same_each_time(dtype: torch.dtype, tmp_path: Path) -> None:
    save_reader_model(lively(1), tmp_path)
    one, other = (open_reader_model(str(tmp_path), BOTH, dtype) for _ in range(2))
    assert digest(one.float()) == digest(other.float())
    assert {weight.dtype for weight in open_reader_model(str(tmp_path), BOTH, dtype).parameters()} == {dtype}


def test_adapters_leave_what_is_added_to_learn(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    save_reader_model(fresh_reader_model("tiny", len(tokenizer())), tmp_path)
    tokenizer().save_pretrained(tmp_path)
    reader = FiDReader.load(str(tmp_path), variant=BOTH, max_tokens=48)
    before = {name: weight.clone() for name, weight in reader.model.state_dict().items()}
    fit_fid(reader, EXAMPLES, replace(CPU, max_steps=2, lora=2), tmp_path / "c", n_context=2)
    moved = {name for name, weight in reader.model.state_dict().items() if not torch.equal(weight, before[name])}
    assert {name for name in before if name.startswith(("match.", "copying."))} <= moved


def test_a_copier_that_is_trained_on_stays_one(tmp_path: Path) -> None:
    FiDReader(fresh_reader_model("tiny", len(tokenizer()), BOTH), tokenizer()).save(tmp_path)
    assert initial_reader(str(tmp_path), [], Variant(first_k=4)).model.variant == replace(BOTH, first_k=4)


def test_a_decoder_of_other_tokens_cannot_copy(english: None) -> None:
    for make in (
        lambda: FusionReader(t5_config(), Variant(copying=True), gpt2_config()),
        lambda: fresh_reader_model("tiny", 60, BOTH, skt=True),
    ):
        with pytest.raises(UsageError, match="not for skt"):
            make()
    assert fresh_reader_model("tiny", 60, Variant(match=True), skt=True).match is not None


# --- learning -----------------------------------------------------------------------------------------------------

KEYS, SEEN, UNSEEN = range(4, 20), range(20, 200), range(200, 260)


def names_batch(chance: random.Random, n_questions: int, names: range) -> Batch:
    """Return passages ``question : key name name``, each name of two tokens, and the features of the question's key."""
    rows, matches, answers = [], [], []
    for _ in range(n_questions):
        keys, gold = chance.sample(KEYS, 3), chance.randrange(3)
        values = [chance.sample(names, 2) for _ in keys]
        for i, key in enumerate(keys):
            rows += [keys[gold], 2, key, *values[i], 1]
            level, share = (40, 7) if i == gold else (0, 0)
            matches += [72 + level, 72, level + share, *[share] * 3]
        answers.append([*values[gold], 1])
    tensors = [torch.tensor(part) for part in (rows, answers, matches)]
    return Batch(tensors[0], [6] * 3 * n_questions, [3] * n_questions, *tensors[1:])


def share_right(model: FusionReader) -> float:
    batch = names_batch(random.Random(9), 100, UNSEEN)
    with torch.inference_mode():
        found = generate(model.eval(), model.encode(batch), Decoding(4))
    return sum(a.ids == gold[:2] for a, gold in zip(found, batch.labels.tolist(), strict=True)) / 100


def test_a_fresh_reader_learns_to_copy_names_that_it_never_wrote() -> None:
    torch.manual_seed(0)
    model = fresh_reader_model("tiny", 260, BOTH)
    optimizer = Adafactor(model.parameters(), lr=2e-2, scale_parameter=True, relative_step=False)
    chance = random.Random(1)
    for step in range(1, 241):
        loss, _ = model.train()(names_batch(chance, 8, SEEN))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 40 == 0 and share_right(model) > 0.95:
            break
    assert share_right(model) > 0.95
    # It does copy: where the pointer is shut it is lost.
    torch.nn.init.constant_(model.copying.gate.bias, -99.0)
    assert share_right(model) < 0.6


def test_a_reader_of_texts_trains_opens_and_answers(tmp_path: Path) -> None:
    torch.manual_seed(1)
    reader = FiDReader(fresh_reader_model("tiny", len(tokenizer()), BOTH), tokenizer(), max_tokens=48)
    options = replace(CPU, max_steps=40, batch_size=12, optimizer="adafactor", learning_rate=1e-2)
    single = [replace(e, target=e.question.answers[0]) for e in EXAMPLES]
    fit_fid(reader, single, options, tmp_path / "c", n_context=2)
    reader.save(tmp_path / "reader")
    opened = FiDReader.load(str(tmp_path / "reader"), max_tokens=48)
    assert digest(opened.model) == digest(reader.model)
    answers = [opened.read(e.question.text, e.hits) for e in single]
    assert answers == [reader.read(e.question.text, e.hits) for e in single]
    assert sum(a[0].text == e.target for a, e in zip(answers, single, strict=True) if a) >= 8


# --- vocabularies of morphemes --------------------------------------------------------------------------------------


def test_no_piece_goes_over_a_morpheme_s_border() -> None:
    lines = (DEMO / "passages.jsonl").read_text(encoding="utf-8").splitlines()[:150]
    texts = [json.loads(line)["text"] for line in lines]
    parts: set[str] = set()  # runs of characters between spaces and borders
    borders = []
    for text, found in zip(texts, analyze_many(texts), strict=True):
        borders.append({b.start: b.tag for a, b in pairwise(found) if a.end == b.start})
        cut = "".join("\n" * (i in borders[-1]) + character for i, character in enumerate(text))
        parts.update(cut.split())
    over, crossed = {}, {}
    for morphemes in (False, True):
        tokens = train_tokenizer(texts, 2000, morphemes=morphemes)
        pieces = [piece.removeprefix("▁") for piece in tokens.convert_ids_to_tokens(list(range(3, len(tokens))))]
        over[morphemes] = [piece for piece in pieces if not any(piece in part for part in parts)]
        assert not any("\ue000" in piece for piece in pieces)
        crossed[morphemes] = []
        for text, tags in zip(texts, borders, strict=True):
            spans = tokens(text, return_offsets_mapping=True)["offset_mapping"]
            inside = {i for start, end in spans for i in range(start + 1, end)}
            crossed[morphemes] += [tag for i, tag in tags.items() if i in inside]
    assert over[True] == [] and len(over[False]) > 100
    # Of 7,306 borders a few are within pieces that are one morpheme elsewhere; hardly any before a particle.
    assert len(crossed[True]) < 0.05 * len(crossed[False])
    assert sum(tag.startswith("J") for tag in crossed[True]) < 10  # of 3,108


def test_names_that_always_have_a_particle_become_pieces() -> None:
    names, particles = ["이순신", "장보고", "정약용", "홍대용", "김유신", "강감찬"], ["이", "은", "의", "과"]
    texts = [f"{name}{particle} 왔다. {name}{particle} 갔다." for name in names for particle in particles] * 10
    pieces = train_tokenizer(texts, 300, morphemes=True).get_vocab()
    assert {f"▁{name}" for name in names} <= pieces.keys()
