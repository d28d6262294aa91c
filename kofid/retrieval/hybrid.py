"""Searches of an index by mode: by terms, by vectors, by one after the other, or by both at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kofid.retrieval.fusion import Fusion
from kofid.retrieval.index import Index
from kofid.retrieval.modes import SearchMode
from kofid.types import Example, Hit, Search


def open_search(
    index: Index,
    mode: SearchMode = SearchMode.AUTO,
    *,
    device: str = "auto",
    fusion: Fusion | None = None,
    depth: int = 200,
) -> Search:
    """Return the search of ``mode`` over ``index``; ``depth`` passages of each kind are weighed where two are.

    Raises IncompatibleArtifactError where the index has no vectors and the mode needs them, or another encoder made them.
    """
    mode = SearchMode(mode).resolve(has_vectors=index.has_vectors)
    if mode is SearchMode.SPARSE:
        return index.search
    from kofid.devices import choose_device
    from kofid.retrieval.dense.encoders import open_index_encoder

    encoder = open_index_encoder(index, device=device)
    place = choose_device(device)
    if place.type != "cpu":
        index.move_vectors(place)
    if mode is SearchMode.DENSE:
        return lambda question, k: index.search_dense(question, k, encoder)
    if mode is SearchMode.SEQUENTIAL:
        return lambda question, k: index.search_sequential(question, k, encoder, max(depth, k))
    return lambda question, k: index.search_cross(question, k, encoder, fusion, depth)


def open_reordering(
    index: Index, mode: SearchMode, *, device: str = "auto", fusion: Fusion | None = None
) -> Callable[[Example], list[Hit]]:
    """Return a function that orders an example's own passages anew, whether or not the index holds them.

    ``sequential`` orders by inner product; ``cross`` fuses it with the score that the example's hits came with.
    """
    from kofid.retrieval.dense.encoders import open_index_encoder

    encoder = open_index_encoder(index, device=device)
    fuse = fusion or Fusion()

    def reorder(example: Example) -> list[Hit]:
        if not example.hits:
            return []
        question = encoder.encode_questions([example.question.text])[0]
        scores = encoder.encode_passages([hit.passage for hit in example.hits]) @ question
        if mode is SearchMode.CROSS:
            scores = fuse(scores, np.array([hit.score for hit in example.hits], dtype=np.float32))
        order = np.argsort(-scores, kind="stable")
        return [Hit(example.hits[i].passage, float(scores[i]), mode) for i in order]

    return reorder
