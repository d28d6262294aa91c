"""Significance: tests against slow twins and scipy, Holm by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from scipy import stats

from kofid.evaluation.significance import holm, randomization_test, t_test


def test_randomization_by_hand():
    # 1, 1, 1: of the 8 patterns of signs two reach |3|: +++ and ---. p = 2/8.
    assert randomization_test([1, 1, 1]) == 0.25
    # 2, -1, 0: the zero does nothing. Totals of 2 and -1 under signs: 1, 3, -3, -1; all reach |1|. p = 1.
    assert randomization_test([2, -1, 0]) == 1.0
    # 3, 1, -1: total 3. |±3 ±1 ±1|: 5, 3, 3, 1 and their mirrors; 6 of 8 reach 3.
    assert randomization_test([3, 1, -1]) == 0.75


def test_identical_systems_are_not_told_apart():
    assert randomization_test([0.0] * 50) == t_test([0.0] * 50) == 1.0
    assert randomization_test([]) == t_test([]) == t_test([0.5]) == 1.0


def slow_randomization(values: Sequence[float]) -> float:
    """Return p by going through every pattern of signs."""
    totals = [
        abs(math.fsum(s * v for s, v in zip(signs, values, strict=True)))
        for signs in product((1, -1), repeat=len(values))
    ]
    return sum(total >= abs(math.fsum(values)) - 1e-9 for total in totals) / len(totals)


def test_exact_randomization_equals_the_slow_twin():
    rng = np.random.default_rng(3)
    for _ in range(10):
        # fractions whose sums tie, however they round
        values = rng.choice([1 / 3, -1 / 3, 0.5, 0.1, -0.1, 1.0], size=10).tolist()
        assert randomization_test(values) == pytest.approx(slow_randomization(values), abs=1e-12)
        values = rng.normal(0.3, 1, size=8).tolist()
        assert randomization_test(values) == pytest.approx(slow_randomization(values), abs=1e-12)


def test_sampled_randomization_is_near_the_exact_one():
    values = np.random.default_rng(5).normal(0.4, 1, size=14).tolist()
    exact = randomization_test(values, n_permutations=2**14)
    sampled = randomization_test(values, n_permutations=10_000)
    # the standard error of a share p of 10,000 is sqrt(p (1 - p) / 10,000); four of them
    assert sampled == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 10_000)) and sampled != exact
    assert sampled == randomization_test(values, n_permutations=10_000), "the same seed gives the same p"
    assert sampled != randomization_test(values, n_permutations=10_000, seed=1)


def test_randomization_is_never_0_and_takes_many_questions():
    # all of 1,000 differences positive: nothing sampled reaches the total, only the pattern seen: 1 / 10,001
    assert randomization_test([1.0] * 1_000) == 1 / 10_001


def test_randomization_holds_its_level():
    # With no difference between systems, p < 0.05 must come about once in 20: 400 trials, 20 +- 4 * sqrt(19)
    rng = np.random.default_rng(11)
    rejected = sum(randomization_test(rng.normal(size=30).tolist(), n_permutations=400) < 0.05 for _ in range(400))
    assert 3 <= rejected <= 38


def test_t_test_equals_scipy():
    a, b = np.random.default_rng(2).random((2, 40))
    assert t_test((b - a).tolist()) == pytest.approx(stats.ttest_rel(a, b).pvalue)
    # 1, 2, 3: mean 2, standard error 1 / sqrt(3), t = 3.4641 with 2 degrees of freedom: p = 0.0742
    assert t_test([1, 2, 3]) == pytest.approx(0.0742, abs=1e-4)
    assert t_test([0.5, 0.5, 0.5]) == 0.0


def test_holm_by_hand():
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04; the last is raised to 0.06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([0.2]) == [0.2] and holm([]) == []
