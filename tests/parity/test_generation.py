"""Answers token by token against Transformers' generate and slow loops: greedy, beams, sampled."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from support.twins import PARTS, Twin, lively, questions_of, random_batch
from transformers.modeling_outputs import BaseModelOutput

from kofid.reader.fid.attention import pays_to_absorb
from kofid.reader.fid.batch import Batch
from kofid.reader.fid.config import Decoding, Variant
from kofid.reader.fid.generation import Decoded, _draw, generate, generate_n_best
from kofid.reader.fid.model import FusionReader

SEEDS = range(12)
LIGHT = Variant(first_k=3, cross_layers=(2,), n_kv_heads=2)


def sharp(seed: int, variant: Variant | None = None, *, skt: bool = False, bert: bool = False) -> FusionReader:
    """Return a reader of 14 words that is sure of many tokens, so that answers end at different lengths."""
    reader = lively(seed, variant, skt=skt, bert=bert, std=0.3, vocab_size=14)
    with torch.no_grad():
        tokens = reader.wte if skt else reader.shared
        tokens.weight.mul_(1.0 if skt else 6.0)
        tokens.weight[1] *= 4.0 if bert else 1.5  # the end
    return reader


def unsure(seed: int) -> FusionReader:
    """Return a reader of 14 words whose beams are often nearly as good as one another."""
    reader = lively(seed, std=0.3, vocab_size=14)
    with torch.no_grad():
        reader.shared.weight.mul_(3.0)
        reader.shared.weight[1] *= 1.2  # the end
    return reader


def asked(seed: int) -> Batch:
    batch = random_batch((3, 1, 2), seed)
    return replace(batch, input_ids=batch.input_ids % 14)


def answers(reader: FusionReader, batch: Batch, how: Decoding) -> list[Decoded]:
    return generate(reader, reader.encode(batch), how)


def transformers_answers(
    twin: Twin, batch: Batch, max_tokens: int, n_beams: int, n_answers: int = 1
) -> list[list[int]]:
    """Return what Transformers' own generate says, without start, end and what follows, ``n_answers`` a question."""
    states, mask = twin.states(batch)
    rows = twin.t5.generate(
        encoder_outputs=BaseModelOutput(states),
        attention_mask=mask,
        max_new_tokens=max_tokens,
        do_sample=False,
        num_beams=n_beams,
        num_return_sequences=n_answers,
    )
    return [until_the_end(row[1:]) for row in rows.tolist()]


def until_the_end(ids: list[int]) -> list[int]:
    return ids[: ids.index(1)] if 1 in ids else ids


# --- greedy ---------------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("absorbed", [False, True])
def test_greedy_answers_equal_transformers(absorbed: bool) -> None:
    lengths, said = set(), set()
    for seed in SEEDS:
        for variant in (Variant(), LIGHT):
            reader, batch = sharp(seed, variant), asked(seed)
            expected = transformers_answers(Twin(reader), batch, 8, 1)
            found = answers(reader, batch, Decoding(8, absorbed=absorbed))
            for answer, ids in zip(found, expected, strict=True):
                assert answer.ids == ids
                assert len(answer.log_probabilities) == min(8, len(answer.ids) + 1)
            lengths.update(len(answer.ids) for answer in found)
            said.update(token for answer in found for token in answer.ids)
    assert len(lengths) > 5 and len(said) > 10  # the comparison saw early ends and different tokens


@torch.no_grad()
@pytest.mark.parametrize(("skt", "bert"), PARTS)
def test_greedy_answers_equal_the_whole_beginning_read_again_each_time(skt: bool, bert: bool) -> None:
    lengths = set()
    for seed in SEEDS[:6]:
        reader, batch = sharp(seed, LIGHT, skt=skt, bert=bert), asked(seed)
        twin = Twin(reader)
        for answer, alone in zip(answers(reader, batch, Decoding(6)), questions_of(batch), strict=True):
            ids, shares = twin.greedy(alone, 6)
            assert answer.ids == ids
            assert answer.log_probabilities == pytest.approx(shares, abs=1e-4)
            assert answer.log_probability == pytest.approx(sum(shares), abs=1e-4)
            lengths.add(len(ids))
    assert len(lengths) > 1


# --- beams ----------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_one_beam_is_greedy() -> None:
    for seed in SEEDS:
        reader, batch = sharp(seed), asked(seed)
        assert answers(reader, batch, Decoding(8, n_beams=1)) == answers(reader, batch, Decoding(8))


@torch.no_grad()
@pytest.mark.parametrize("max_tokens", [3, 10])
def test_beams_equal_transformers(max_tokens: int) -> None:
    """All of a question's answers, best first; of 3 tokens most are cut off."""
    different, early, several = 0, 0, 0
    for seed in range(20 if max_tokens == 10 else 5):
        for n_beams in (2, 4):
            reader, batch = sharp(seed, Variant() if seed % 2 else LIGHT), asked(seed)
            n_best = generate_n_best(reader, reader.encode(batch), Decoding(max_tokens, n_beams=n_beams))
            # No two answers tie within what float32 can tell, so none need be let pass.
            expected = transformers_answers(Twin(reader), batch, max_tokens, n_beams, n_answers=n_beams)
            assert [answer.ids for answers in n_best for answer in answers] == expected, (seed, n_beams)
            for answers_of_one in n_best:
                means = [answer.mean_log_probability for answer in answers_of_one]
                assert len(means) == n_beams and means == sorted(means, reverse=True)
                several += len({tuple(answer.ids) for answer in answers_of_one}) > 1
            best = answers(reader, batch, Decoding(max_tokens, n_beams=n_beams))
            assert best == [answers_of_one[0] for answers_of_one in n_best]
            greedy = answers(reader, batch, Decoding(max_tokens))
            different += sum(one.ids != other.ids for one, other in zip(best, greedy, strict=True))
            early += sum(len(answer.ids) < max_tokens for answer in best)
    # The comparison saw other answers than greedy ones, early ends, and several answers to a question.
    assert (different > 20 and early > 10 and several > 100) if max_tokens == 10 else several > 25


@torch.no_grad()
def test_an_end_counts_only_among_the_best_beams() -> None:
    # With these seeds an end that is no better than third would win with two beams, if it counted.
    for seed in (55, 95, 133, 151, 221, 225):
        reader, batch = unsure(seed), asked(seed)
        found = [answer.ids for answer in answers(reader, batch, Decoding(10, n_beams=2))]
        assert found == transformers_answers(Twin(reader), batch, 10, 2)


def mean_log_share(twin: Twin, batch: Batch, ids: list[int], max_tokens: int) -> float:
    """Return the mean log share of an answer's tokens, the end's too where it fits."""
    given = [*ids, 1][:max_tokens]
    logits = twin.decode(*twin.states(batch), torch.tensor([[0, *given[:-1]]]))[0].double().log_softmax(-1)
    return float(logits.gather(1, torch.tensor(given)[:, None]).mean())


@torch.no_grad()
@pytest.mark.parametrize("skt", [False, True])
def test_a_beam_s_log_probabilities_are_those_of_its_tokens(skt: bool) -> None:
    for seed in SEEDS:
        reader, batch = sharp(seed, skt=skt), asked(seed)
        twin = Twin(reader)
        for answer, one in zip(answers(reader, batch, Decoding(6, n_beams=3)), questions_of(batch), strict=True):
            scores = answer.log_probabilities
            assert sum(scores) / len(scores) == pytest.approx(mean_log_share(twin, one, answer.ids, 6), abs=1e-4)


@torch.no_grad()
def test_wide_beams_find_the_best_of_all_answers() -> None:
    """Against every answer of at most 3 tokens: 14 + 14^2 beginnings fit in the beams."""
    for seed in SEEDS[:3]:
        reader = sharp(seed)
        (one, *_) = questions_of(asked(seed))
        twin = Twin(reader)
        words = [w for w in range(14) if w != 1]
        every = [[], *([a] for a in words), *([a, b] for a in words for b in words)]
        every += [[a, b, c] for a in words for b in words for c in words]
        given = torch.tensor([[0, *ids, *[1] * (3 - len(ids))] for ids in every])[:, :3]
        states, mask = twin.states(one)
        n = len(every)
        shares = twin.decode(states.expand(n, -1, -1), mask.expand(n, -1), given).log_softmax(-1)
        ends = [[*ids, 1][:3] for ids in every]
        means = [sum(float(shares[i, t, w]) for t, w in enumerate(row)) / len(row) for i, row in enumerate(ends)]
        (found,) = answers(reader, one, Decoding(3, n_beams=196))
        best = max(range(n), key=means.__getitem__)
        assert found.ids == every[best]
        assert found.log_probability / len(found.log_probabilities) == pytest.approx(means[best], abs=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("how", [Decoding(12), Decoding(12, n_beams=4)], ids=["greedy", "beams"])
def test_an_answer_does_not_depend_on_the_other_questions(how: Decoding) -> None:
    # With seeds 12 and 20 a question is settled long before the others of its batch, and its last beams go on.
    for seed in (3, 12, 20, 31):
        reader, batch = unsure(seed), asked(seed)
        together = answers(reader, batch, how)
        for answer, one in zip(together, questions_of(batch), strict=True):
            (alone,) = answers(reader, one, how)
            assert answer.ids == alone.ids
            assert answer.log_probabilities == pytest.approx(alone.log_probabilities, abs=1e-4)


# --- sampled --------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_a_sample_of_the_likeliest_token_alone_is_greedy() -> None:
    for seed in SEEDS[:4]:
        reader, batch = sharp(seed), asked(seed)
        greedy = answers(reader, batch, Decoding(8))
        assert answers(reader, batch, Decoding(8, sample=True, top_p=1e-6)) == greedy
        assert answers(reader, batch, Decoding(8, sample=True, temperature=1e-4)) == greedy


@torch.no_grad()
def test_the_same_seed_draws_the_same_answers() -> None:
    reader, batch = lively(1, std=0.3), random_batch()
    how = {s: Decoding(8, sample=True, seed=s) for s in (1, 2)}
    torch.manual_seed(0)
    first = answers(reader, batch, how[1])
    torch.manual_seed(99)  # the world's chance does not matter
    assert answers(reader, batch, how[1]) == first
    assert answers(reader, batch, how[2]) != first


def test_draws_follow_the_shares_of_the_nucleus() -> None:
    # Shares 1/2, 1/4, 1/8, 1/8. The smallest set that makes up 0.7 is the first two: 2/3 and 1/3 of the draws.
    logits = torch.tensor([0.125, 0.5, 0.125, 0.25]).log().expand(6_000, 4)
    chance = torch.Generator().manual_seed(1)
    drawn = Counter(_draw(logits, Decoding(top_p=0.7), chance)[:, 0].tolist())
    assert set(drawn) == {1, 3}
    assert drawn[1] / 6_000 == pytest.approx(2 / 3, abs=0.03)  # deviation sqrt(2/9 / 6000) = 0.006
    assert set(Counter(_draw(logits, Decoding(top_p=0.5), chance)[:, 0].tolist())) == {
        1
    }  # one half is all of the first
    drawn = Counter(_draw(logits, Decoding(), chance)[:, 0].tolist())
    assert [drawn[i] / 6_000 for i in range(4)] == pytest.approx([0.125, 0.5, 0.125, 0.25], abs=0.03)
    # At temperature 1/2 shares are squared: 16 : 4 : 1 : 1, so 16/22 of the first.
    drawn = Counter(_draw(logits, Decoding(temperature=0.5), chance)[:, 0].tolist())
    assert drawn[1] / 6_000 == pytest.approx(16 / 22, abs=0.03)


# --- odds and ends --------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("how", [Decoding(4), Decoding(4, n_beams=3), Decoding(4, sample=True)])
def test_questions_without_passages_have_no_answer(how: Decoding) -> None:
    reader = lively(1, std=0.3)
    found = generate(reader, reader.encode(random_batch((0, 2, 0, 1))), how)
    assert [answer.ids for answer in (found[0], found[2])] == [[], []]
    assert found[0].log_probabilities == []
    expected = generate(reader, reader.encode(random_batch((2, 1))), how)
    assert [answer.ids for answer in (found[1], found[3])] == [answer.ids for answer in expected]
    assert generate(reader, reader.encode(random_batch(())), how) == []
    assert generate(reader, reader.encode(random_batch((0,))), how) == [Decoded([], [])]


def test_answers_stop_at_the_end_or_at_max_tokens() -> None:
    reader, batch = sharp(0), asked(0)
    with torch.no_grad():
        reader.shared.weight[1] = 0.0  # never the likeliest
    for n_beams in (1, 3):
        assert all(len(a.ids) == len(a.log_probabilities) == 5 for a in answers(reader, batch, Decoding(5, n_beams)))
    assert all(math.isfinite(a.log_probability) for a in answers(reader, batch, Decoding(5)))


def test_absorbing_pays_for_short_answers_and_many_keys() -> None:
    # d_model 32, 4 heads of 8. Keys and values of a state cost 2 x 4 x 8 x 32 = 2048 once; absorbed, each token costs
    # 2 x 4 x (32 - 8) = 192 more: worth it up to 10 tokens (1920), not for 11 (2112).
    assert [pays_to_absorb(lively().decoder.cross_attentions, n) for n in (1, 10, 11)] == [True, True, False]
    # One key-value head: 2 x 8 x 32 = 512 once, 192 more for each token: up to 2 tokens (384).
    shared = lively(variant=Variant(n_kv_heads=1))
    assert [pays_to_absorb(shared.decoder.cross_attentions, n) for n in (2, 3)] == [True, False]
