"""Small readers that match and copy, and batches for them."""

from __future__ import annotations

from dataclasses import replace

import torch

from kofid.reader.fid.batch import Batch
from kofid.reader.fid.config import Variant
from kofid.reader.fid.lexical_match import N_FEATURES
from kofid.reader.fid.model import FusionReader
from support.twins import VOCABULARY, lively, random_batch

BOTH = Variant(match=True, copying=True)


def copier(seed: int, variant: Variant = BOTH, **t5: object) -> FusionReader:
    """Return a small reader whose answers vary; its own words and copied ones both count."""
    return lively(seed, variant, std=0.3, **t5)


def matched(n_passages: tuple[int, ...] = (3, 1, 2), seed: int = 1, n_words: int = VOCABULARY) -> Batch:
    """Return a random batch with lexical matches by chance."""
    batch = random_batch(n_passages, seed)
    rng = torch.Generator().manual_seed(seed)
    matches = torch.randint(0, N_FEATURES, batch.input_ids.shape, generator=rng)
    return replace(batch, input_ids=batch.input_ids % n_words, matches=matches)
