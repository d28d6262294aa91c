"""Weights in four bits and in eight, against slow twins."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from kofid.encoder.weights import BLOCK, int8_columns, pack, unpack


def half(x: float) -> float:
    return struct.unpack("e", struct.pack("e", single(x)))[0]


def single(x: float) -> float:
    return struct.unpack("f", struct.pack("f", x))[0]


def coded(block: list[float], share: float) -> tuple[list[int], float, float]:
    """Return codes, scale and squared error of a block whose scale reaches ``share`` of its largest value."""
    extreme = max(block, key=abs)
    scale = half(extreme * single(share / -8)) or 1.0
    codes = [min(max(round(single(x / scale)) + 8, 0), 15) for x in block]
    return codes, scale, sum(((code - 8) * scale - x) ** 2 for code, x in zip(codes, block, strict=True))


def slow_pack(weights: np.ndarray) -> tuple[list[list[int]], list[list[float]]]:
    rows_codes, rows_scales = [], []
    for row in weights.astype(np.float32).tolist():
        row_codes, row_scales = [], []
        for at in range(0, len(row), BLOCK):
            codes, scale, _ = min(
                (coded(row[at : at + BLOCK], share) for share in (1.0, 0.95, 0.9, 0.85, 0.8, 0.75)), key=lambda c: c[2]
            )
            row_codes += [low + 16 * high for low, high in zip(codes[:16], codes[16:], strict=True)]
            row_scales.append(scale)
        rows_codes.append(row_codes)
        rows_scales.append(row_scales)
    return rows_codes, rows_scales


def some_weights(rows: int = 6, n: int = 96) -> np.ndarray:
    """Return rows of very unlike sizes; one has blocks of zeros, one blocks with a value far larger than the others."""
    rng = np.random.default_rng(11)
    weights = (rng.normal(size=(rows, n)) * 10.0 ** rng.integers(-3, 3, size=(rows, 1))).astype(np.float32)
    weights[1, :64] = 0
    weights[2, ::BLOCK] = 50 * np.abs(weights[2]).max()
    weights[3, :2] = [-9.0, 9.0]
    return weights


def test_packing_equals_the_slow_twin() -> None:
    weights = some_weights()
    codes, scales = pack(weights)
    slow_codes, slow_scales = slow_pack(weights)
    assert (codes.shape, codes.dtype, scales.shape, scales.dtype) == ((6, 48), "uint8", (6, 3), "float16")
    assert codes.tolist() == slow_codes
    assert scales.tolist() == slow_scales


def test_unpacking_equals_the_slow_twin() -> None:
    codes, scales = pack(some_weights())
    slow = [
        [
            (code - 8) * float(scale)
            for number, scale in enumerate(row_scales)
            for half_of in (lambda byte: byte % 16, lambda byte: byte // 16)
            for code in map(half_of, row[16 * number : 16 * number + 16])
        ]
        for row, row_scales in zip(codes.tolist(), scales, strict=True)
    ]
    weights = unpack(codes, scales)
    assert weights.dtype == np.float32 and weights.shape == (6, 96)
    assert weights.tolist() == np.array(slow, dtype=np.float32).tolist()


def test_what_was_packed_packs_to_the_same() -> None:
    packed = pack(some_weights(40, 320))
    again = pack(unpack(*packed))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(packed, again, strict=True))


def test_the_error_is_at_most_that_of_the_plain_scale() -> None:
    weights = some_weights(40, 320)
    blocks = weights.reshape(-1, BLOCK)
    errors = np.square(unpack(*pack(weights)).reshape(-1, BLOCK).astype(np.float64) - blocks).sum(axis=1)
    plain = np.array([coded(block, 1.0)[2] for block in blocks.tolist()])
    assert (errors <= plain * (1 + 1e-5) + 1e-12).all()
    assert (errors < 0.97 * plain).mean() > 0.3  # trying others is worth it
    # A plain step is 1/8 of the largest value, and no value is off by more than half a step; only one of the other sign that is
    # larger than 7.5 steps is, for there is no code for 8 steps on that side.
    extreme = blocks[np.arange(len(blocks)), np.abs(blocks).argmax(axis=1)]
    ordinary = (blocks / np.where(extreme == 0, 1, -extreme)[:, None]).max(axis=1) <= 7.5 / 8
    at_most = BLOCK * (extreme / 16) ** 2 * 1.01
    assert ordinary.sum() > 100 and (errors <= at_most)[ordinary].all()


def test_zeros_stay_zeros() -> None:
    codes, scales = pack(np.zeros((2, 64), dtype=np.float32))
    assert set(codes.ravel().tolist()) == {0x88} and np.isfinite(scales).all()
    assert not unpack(codes, scales).any()


@pytest.mark.parametrize("shape", [(3, 5), (1, 1), (7, 40)])
def test_bytes_with_a_scale_for_each_output_equal_the_slow_twin(shape: tuple[int, int]) -> None:
    weights = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    weights[0] = 0
    values, scales = int8_columns(weights)
    assert (values.shape, values.dtype, scales.dtype) == (shape[::-1], "int8", "float32")
    assert values.flags.c_contiguous
    for output, row in enumerate(weights.tolist()):
        scale = single(max(*map(abs, row), 1e-12)) / 127
        assert scales[output] == pytest.approx(scale, rel=1e-6)
        assert values[:, output].tolist() == [round(x / float(scales[output])) for x in row]
        assert values[:, output].astype(np.float64) * scale == pytest.approx(row, abs=scale * 0.501)
