"""Settings by name: put where they belong, turned into what they should be, or refused."""

from __future__ import annotations

import doctest

import pytest

from kofid.errors import UsageError
from kofid.experiments import settings
from kofid.experiments.settings import assign_settings
from kofid.retrieval.fusion import Fusion
from kofid.retrieval.modes import FusionMethod
from kofid.training.options import Contrast, FreshModel, ReadingLengths, TrainOptions


def test_doctests():
    assert doctest.testmod(settings).failed == 0


def test_options_of_commands_find_their_dataclass():
    values = {"lr": "0.01", "negatives": 3, "symmetric": "", "batch-size": 16, "bf16": True, "optimizer": "adafactor"}
    options, contrast = assign_settings(values, TrainOptions(), Contrast())
    assert options == TrainOptions(learning_rate=0.01, batch_size=16, bf16=True, optimizer="adafactor")
    assert contrast == Contrast(n_negatives=3, symmetric=True)


def test_values_that_may_be_nothing():
    lengths, fresh = assign_settings({"max-tokens": "64", "n-decoder-layers": 2}, ReadingLengths(), FreshModel())
    assert (lengths.max_tokens, fresh.n_decoder_layers) == (64, 2)
    assert assign_settings({"method": "rrf", "dense-weight": 1}, Fusion()) == (Fusion(FusionMethod.RRF, 1.0),)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch-size", "many"),
        ("batch-size", 2.5),
        ("batch-size", True),
        ("bf16", "perhaps"),
        ("optimizer", "sgd"),
        ("batch", 3),
    ],
)
def test_what_does_not_suit_is_named(name: str, value: object):
    with pytest.raises(UsageError, match=name.replace("-", ".")):
        assign_settings({name: value}, TrainOptions())
