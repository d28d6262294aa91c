"""Products in 8 bits against the same weights rounded in plain floats, and what they cost."""

from __future__ import annotations

import copy

import pytest
import torch
from support.twins import PARTS, VARIANTS, close, lively, random_batch

from kofid.errors import InputError
from kofid.reader.fid.config import Decoding, Variant
from kofid.reader.fid.generation import generate
from kofid.reader.fid.int8 import Int8Linear, quantize


def rounded_rows(values: torch.Tensor, levels: int) -> torch.Tensor:
    """Return each row as the nearest multiples of its largest value / levels."""
    scale = values.abs().amax(1, keepdim=True) / levels
    return (values / scale).round() * scale


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("n_rows", [1, 3, 70])
def test_a_product_is_that_of_rounded_numbers(n_rows: int, bias: bool) -> None:
    torch.manual_seed(n_rows)
    plain = torch.nn.Linear(48, 31, bias=bias)
    hidden = torch.randn(2, n_rows, 48) * torch.logspace(-2, 2, n_rows)[:, None]  # rows of very different sizes
    linear = Int8Linear(plain.weight, plain.bias)
    rows = rounded_rows(hidden.view(-1, 48), linear.levels) @ rounded_rows(plain.weight.detach(), 127).T
    expected = rows + (plain.bias.detach() if bias else 0)
    torch.testing.assert_close(linear(hidden), expected.view(2, n_rows, 31), atol=1e-5, rtol=1e-4)
    # By hand: the error of a number is at most half a step, 1 / 252 of the row's largest, here far below the numbers.
    error = (linear(hidden) - plain(hidden).detach()).abs().mean() / plain(hidden).abs().mean()
    assert 0 < error < 0.02


def test_one_row_by_hand() -> None:
    # Weights [[127, 0], [-127, 127]] / 127 are whole steps. The input [2, -1] is 126 and -63 steps of 2 / 126:
    # the products are 2 and -3.
    linear = Int8Linear(torch.tensor([[1.0, 0.0], [-1.0, 1.0]]))
    close(linear(torch.tensor([[2.0, -1.0]])), torch.tensor([[2.0, -3.0]]))
    close(linear(torch.zeros(1, 2)), torch.zeros(1, 2))


def test_sixteen_bits_stay_sixteen() -> None:
    torch.manual_seed(0)
    plain = torch.nn.Linear(64, 20, bias=False)
    hidden = torch.randn(5, 64)
    found = Int8Linear(plain.weight)(hidden.bfloat16())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), plain(hidden).detach(), atol=0.05, rtol=0.05)


@torch.no_grad()
@pytest.mark.parametrize(("skt", "bert"), PARTS)
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_reader_in_8_bits_says_nearly_the_same(variant: Variant, skt: bool, bert: bool) -> None:
    reader, batch = lively(3, variant, skt=skt, bert=bert, std=0.1), random_batch((3, 1))
    plain = reader(batch)[1]
    states = [encoded.states for encoded in reader.encode(batch)]
    half, whole = copy.deepcopy(reader), copy.deepcopy(reader)
    quantize(half, encoder=False)
    quantize(whole)
    for encoded, before in zip(half.encode(batch), states, strict=True):
        assert torch.equal(encoded.states, before)
    assert not any(isinstance(m, torch.nn.Linear) for m in whole.encoder.modules())
    for cross in whole.decoder.cross_attentions:
        assert cross is None or (isinstance(cross.k, torch.nn.Linear) and isinstance(cross.q, Int8Linear))
    for found in (half(batch)[1], whole(batch)[1]):
        assert not torch.equal(found, plain)
        assert torch.nn.functional.cosine_similarity(found.flatten(), plain.flatten(), dim=0) > 0.995
    answers = [generate(whole, whole.encode(batch), Decoding(6, n_beams=n)) for n in (1, 2)]
    assert all(0 < len(answer.log_probabilities) <= 6 for row in answers for answer in row)


def test_it_needs_a_cpu(english: None) -> None:
    reader = lively(0)
    reader.to("meta")
    with pytest.raises(InputError, match="device=cpu"):
        quantize(reader)
