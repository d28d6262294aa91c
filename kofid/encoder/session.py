"""The encoder at work, without torch: ONNX Runtime on all processors, a row of pieces on each.

Every row runs by itself. So nothing is padded, and what is said of a row does not depend on the rows beside it, though its
products are in 8-bit integers, rounded by the row's own largest value.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from kofid.encoder.pieces import PieceTokenizer
from kofid.encoder.weights import int8_columns, unpack
from kofid.errors import CorruptArtifactError
from kofid.language import say

GRAPH, WEIGHTS, TOKENIZER = "encoder.onnx", "weights.safetensors", "tokenizer.json"
# Parts of a name in the weights' file: of weights in four bits, and of the blocks' scales.
CODES, SCALES = ".codes", ".scales"
# And of how large the channels of a layer's inputs are.
SIZES = "sizes"


class Encoder:
    """States of pieces; several threads may share it."""

    def __init__(self, tokenizer: PieceTokenizer, graph: bytes, weights: dict[str, np.ndarray]) -> None:
        """Take a graph of ``kofid.encoder.graph`` and what ``load`` reads."""
        import onnxruntime

        self.tokenizer: Final = tokenizer
        self._positions: Final = _matrix(weights, "embeddings.position")
        self._types: Final = _matrix(weights, "embeddings.type")
        self._words: Final = (weights["embeddings.word" + CODES], weights["embeddings.word" + SCALES])
        given = _graph_weights(weights)
        self._given: Final = [onnxruntime.OrtValue.ortvalue_from_numpy(values) for values in given.values()]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # rows, not products, are shared out
        options.log_severity_level = 3
        options.add_external_initializers(list(given), self._given)
        self._session: Final = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    @classmethod
    def load(cls, directory: Path) -> Encoder:
        """Open an encoder that ``kofid.training.encoder_export`` wrote; raise CorruptArtifactError."""
        try:
            tokenizer = PieceTokenizer.load(directory / TOKENIZER)
            encoder = cls(tokenizer, (directory / GRAPH).read_bytes(), read_weights(directory / WEIGHTS))
            encoder.states(np.array([tokenizer.begin, tokenizer.end]), np.array([0, 1]))  # what does not fit fails here
            return encoder
        except Exception as error:  # the libraries have errors of many kinds
            raise CorruptArtifactError(
                say(
                    f"{directory}: 인코더를 열 수 없습니다 ({error})",
                    f"{directory}: the encoder cannot be opened ({error})",
                )
            ) from error

    @property
    def max_pieces(self) -> int:
        """The largest number of pieces in a row."""
        return len(self._positions)

    @property
    def hidden(self) -> int:
        """The size of a state."""
        return int(self._positions.shape[1])

    def states(self, ids: np.ndarray, types: np.ndarray | None = None) -> np.ndarray:
        """Return the last states, float32 (n, hidden), of a row of pieces ``ids`` and their ``types`` (all 0), (n,) each."""
        ids = ids[: self.max_pieces]
        codes, scales = self._words
        vectors = unpack(codes[ids], scales[ids]) + self._positions[: len(ids)]
        vectors += self._types[0] if types is None else self._types[types[: len(ids)]]
        (states,) = self._session.run(None, {"embeddings": vectors[None]})
        return np.asarray(states[0])

    def map(self, work: Callable[[Any], Any], rows: Sequence[Any]) -> list[Any]:
        """Return what ``work``, which asks for ``states``, makes of each row, using all processors."""
        if len(rows) < 2:
            return [work(row) for row in rows]
        return list(self._pool.map(work, rows))

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a safetensors file, by name."""
    from safetensors.numpy import load_file

    return load_file(path)


def _matrix(weights: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Return a matrix that is stored in four bits, or in 16."""
    if name + CODES in weights:
        return unpack(weights[name + CODES], weights[name + SCALES])
    return weights[name].astype(np.float32)


def _graph_weights(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what the graph wants: matrices as bytes with a scale for each output, all else in 32 bits."""
    given = {}
    for name, values in weights.items():
        base = name.removesuffix(CODES)
        is_vectors = base.startswith("embeddings.") and not base.startswith("embeddings.norm")
        if is_vectors or name.endswith((SCALES, SIZES)):
            continue
        if not base.startswith(("layer.", "embeddings.")):
            continue  # a head's
        if base != name:
            layer, matrix = base.removesuffix("weight"), _matrix(weights, base)
            if layer + SIZES in weights:  # of the inputs' channels
                sizes = weights[layer + SIZES].astype(np.float32)
                matrix, given[layer + "shrink"] = matrix * sizes, 1 / sizes
            given[base], given[layer + "scale"] = int8_columns(matrix)
        else:
            given[name] = values.astype(np.float32)
    return given
