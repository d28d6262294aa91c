"""The encoder at work, without torch: ONNX Runtime on all processors, a row of pieces on each.

Every row runs by itself. So nothing is padded, and what is said of a row does not depend on the rows beside it, though its
products are in 8-bit integers, rounded by the row's own largest value.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np

from kofid.encoder.pieces import PieceTokenizer
from kofid.encoder.weights import unpack
from kofid.errors import CorruptArtifactError
from kofid.language import say

GRAPH, WEIGHTS, TOKENIZER = "encoder.onnx", "weights.safetensors", "tokenizer.json"
# The word vectors in the weights' file: in four bits, and the scales of their blocks.
WORD_CODES, WORD_SCALES = "embeddings.word.codes", "embeddings.word.scales"


class Encoder:
    """States of pieces; several threads may share it."""

    def __init__(self, tokenizer: PieceTokenizer, graph: bytes, weights: dict[str, np.ndarray]) -> None:
        """Take a graph of ``kofid.encoder.graph`` and what ``load`` reads."""
        import onnxruntime

        self.tokenizer: Final = tokenizer
        self._positions: Final = weights["embeddings.position"].astype(np.float32)
        self._types: Final = weights["embeddings.type"].astype(np.float32)
        self._words: Final = (weights[WORD_CODES], weights[WORD_SCALES])
        initializers = _graph_weights(weights)
        # The session uses them where they are.
        self._values: Final = [onnxruntime.OrtValue.ortvalue_from_numpy(values) for values in initializers.values()]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # rows, not products, are shared out
        options.log_severity_level = 3
        options.add_external_initializers(list(initializers), self._values)
        self._session: Final = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._pool: Final = ThreadPoolExecutor(n_processors())

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
        return [work(row) for row in rows] if len(rows) < 2 else list(self._pool.map(work, rows))


def n_processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a safetensors file, by name."""
    from safetensors.numpy import load_file

    return load_file(path)


def _graph_weights(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what the graph wants: everything of layers and the first norm, bytes as they are, all else in 32 bits."""
    return {
        name: values if values.dtype == np.int8 else values.astype(np.float32)
        for name, values in weights.items()
        if name.startswith(("layer.", "embeddings.norm."))
    }
