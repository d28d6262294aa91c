"""Weights in four bits: blocks of 32 along a row share a scale, a quarter of the size of 16 bits.

Dettmers and Zettlemoyer 2023, "The case for 4-bit precision", section 2.2, say why blocks are small. A weight is
(code - 8) x scale, code 0 to 15, so that the value of largest size in a block, whichever its sign, has a code of its own.
"""

from __future__ import annotations

import numpy as np

BLOCK = 32
# Scales that are tried, as shares of the one that reaches the block's largest value: less reach, finer steps.
_SHRUNK = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75)


def pack(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return codes (rows, n / 2), uint8 of two each, and scales (rows, n / 32), float16, of weights (rows, n).

    Of some scales the one with the smallest squared error is kept. Weights that were packed before come out as they are.

    >>> codes, scales = pack(np.array([[-8.0, 7.0, *[0.0] * 30]]))
    >>> codes[0, :2].tolist(), scales.tolist()  # -8 and 0 make 0 + 16 x 8, 7 and 0 make 15 + 16 x 8
    ([128, 143], [[1.0]])
    """
    rows, n = weights.shape
    blocks = np.asarray(weights, dtype=np.float32).reshape(rows * n // BLOCK, BLOCK)
    extreme = blocks[np.arange(len(blocks)), np.abs(blocks).argmax(axis=1)]
    best_codes = np.zeros(blocks.shape, dtype=np.uint8)
    best_scales = np.zeros(len(blocks), dtype=np.float16)
    best_error = np.full(len(blocks), np.inf, dtype=np.float32)
    for share in _SHRUNK:
        scales = (extreme * np.float32(share / -8)).astype(np.float16)
        steps = np.where(scales == 0, np.float16(1), scales).astype(np.float32)[:, None]
        codes = np.clip(np.round(blocks / steps) + 8, 0, 15)
        error = np.square((codes - 8) * steps - blocks).sum(axis=1)
        better = error < best_error
        best_codes[better], best_scales[better], best_error[better] = codes[better], steps[better, 0], error[better]
    halves = best_codes[:, : BLOCK // 2] | best_codes[:, BLOCK // 2 :] << 4
    return halves.reshape(rows, n // 2), best_scales.reshape(rows, n // BLOCK)


def unpack(codes: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Return the weights (rows, n), float32, of codes (rows, n / 2) and scales (rows, n / 32).

    >>> unpack(np.array([[128, 143, *[136] * 14]], dtype=np.uint8), np.array([[1.0]], dtype=np.float16))[0, :3].tolist()
    [-8.0, 7.0, 0.0]
    """
    rows = len(codes)
    halves = codes.reshape(-1, BLOCK // 2)
    values = np.concatenate([halves & 15, halves >> 4], axis=1).astype(np.float32) - 8
    return (values * scales.reshape(-1, 1).astype(np.float32)).reshape(rows, -1)


def int8_columns(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return weights (n_out, n_in) as int8 (n_in, n_out), and the scale of each output, float32, (n_out,).

    >>> values, scales = int8_columns(np.array([[1.27, -0.5]], dtype=np.float32))
    >>> values.tolist(), round(float(scales[0]), 4)
    ([[127], [-50]], 0.01)
    """
    scales = np.maximum(np.abs(weights).max(axis=1), 1e-12).astype(np.float32) / 127
    return np.ascontiguousarray(np.round(weights / scales[:, None]).astype(np.int8).T), scales
