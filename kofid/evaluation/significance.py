"""Whether two systems differ by more than chance: paired tests, and Holm's correction for many of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

N_PERMUTATIONS = 10_000
SEED = 13
_BATCH = 2**22  # signs held in memory at a time
_DECIMALS = 9  # sums in another order round differently below this


def randomization_test(
    differences: Sequence[float], *, n_permutations: int = N_PERMUTATIONS, seed: int = SEED
) -> float:
    """Return the two-sided p of paired ``differences`` by flipping their signs (Fisher 1935; Smucker et al. 2007), by scipy.

    Under the null hypothesis the two systems could be swapped on any question, so every pattern of signs is as likely
    as the one seen. p is the share of patterns whose total is at least as far from 0: of all 2^m patterns over the m
    differences that are not 0 where there are no more than ``n_permutations``, else of that many random ones, the one
    seen counted among them (Phipson and Smyth 2010), so that p is never 0. No difference at all gives 1.

    >>> randomization_test([1, 1, 1])  # of 8 patterns, +++ and --- reach a total of 3
    0.25
    """
    values = np.asarray(differences, dtype=np.float64)
    values = values[values != 0]  # a flipped 0 is still 0
    if len(values) < 2:
        return 1.0
    from scipy import stats

    result = stats.permutation_test(
        (values,),
        lambda x, axis: np.round(np.abs(x.sum(axis)), _DECIMALS),
        permutation_type="samples",
        vectorized=True,
        alternative="greater",
        n_resamples=n_permutations,
        batch=max(1, _BATCH // len(values)),
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def t_test(differences: Sequence[float]) -> float:
    """Return the two-sided p of Student's paired t-test, by scipy.

    1 where there is nothing to test: no difference at all, or fewer than two questions. Differences that are all the
    same have no variance: p is then 0.

    >>> t_test([0.0, 0.0]), round(t_test([1.0, 0.0, 1.0, 0.0, 1.0]), 3)
    (1.0, 0.07)
    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) < 2 or not values.any():
        return 1.0
    if np.ptp(values) == 0:
        return 0.0
    from scipy import stats

    return float(stats.ttest_rel(values, np.zeros_like(values)).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p values corrected for being several (Holm 1979), in the order given.

    The smallest of m is multiplied by m, the next by m - 1, and so on; none falls below a smaller one's, none over 1.
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for place, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[i]))
        adjusted[i] = highest
    return adjusted
