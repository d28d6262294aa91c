"""Confidences: logistic regression whose weights may not be negative."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from kofid.training.calibration import fit_logistic


def predicted(inputs: np.ndarray, weights: list[float]) -> np.ndarray:
    return 1 / (1 + np.exp(-(weights[0] + inputs @ weights[1:])))


def test_an_input_that_may_not_count_leaves_the_true_rate() -> None:
    # More of the input means less often right: not allowed, so its weight is 0 and the intercept alone says how often an
    # answer is right: 1 in 4, log odds log(1/3) = -1.0986. The best fit of both, its weight clipped to 0, would keep an
    # intercept near +1 and predict far more than half.
    inputs = np.array([[0.0], [1.0], [2.0], [3.0]] * 5)
    right = [True, False, False, False] * 5
    intercept, weight = fit_logistic(inputs, right)
    assert weight == 0
    assert intercept == pytest.approx(math.log(1 / 3), abs=1e-4)


def test_the_others_are_fitted_without_it() -> None:
    rng = np.random.default_rng(3)
    good = rng.normal(size=400)
    right = rng.random(400) < 1 / (1 + np.exp(-(2 * good - 1)))
    misleading = np.where(right, -1.0, 1.0) + rng.normal(size=400)
    both, alone = np.stack([good, misleading], axis=1), good[:, None]
    intercept, weight, none = fit_logistic(both, right.tolist())
    assert none == 0 and [intercept, weight] == fit_logistic(alone, right.tolist())
    assert predicted(both, [intercept, weight, none]).mean() == pytest.approx(right.mean(), abs=1e-5)


@pytest.mark.parametrize("seed", range(12))
def test_no_allowed_weights_are_likelier(seed: int) -> None:
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(60, 3)) @ rng.normal(
        size=(3, 3)
    )  # correlated, so that one weight's sign hangs on another
    right = rng.random(60) < 1 / (1 + np.exp(-(inputs @ rng.normal(size=3) + rng.normal())))

    def cost(weights: np.ndarray) -> float:
        log_odds = weights[0] + inputs @ weights[1:]
        return float(np.logaddexp(0, log_odds).sum() - log_odds[right].sum() + (weights[1:] ** 2).sum() / 2)

    bounds = [(None, None), *[(0, None)] * 3]
    best = minimize(cost, np.zeros(4), method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-14, "gtol": 1e-9})
    weights = fit_logistic(inputs, right.tolist())
    assert min(weights[1:]) >= 0
    assert cost(np.array(weights)) <= best.fun + 1e-6
    assert weights == pytest.approx(best.x.tolist(), abs=1e-3)
