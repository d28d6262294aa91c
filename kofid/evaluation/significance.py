"""Whether two systems differ by more than chance: paired tests, and Holm's correction for many of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

N_PERMUTATIONS = 10_000
SEED = 13
_BATCH = 2**22  # signs held in memory at a time


def randomization_test(
    differences: Sequence[float], *, n_permutations: int = N_PERMUTATIONS, seed: int = SEED
) -> float:
    """Return the two-sided p of paired ``differences`` by flipping their signs (Fisher 1935; Smucker et al. 2007).

    Under the null hypothesis the two systems could be swapped on any question, so every pattern of signs is as likely
    as the one seen. p is the share of patterns whose total is at least as far from 0: of all 2^m patterns over the m
    differences that are not 0 where there are no more than ``n_permutations``, else of that many random ones, the one
    seen counted among them (Phipson and Smyth 2010), so that p is never 0. No difference at all gives 1.
    """
    values = np.asarray(differences, dtype=np.float64)
    values = values[values != 0]  # a flipped 0 is still 0
    if not len(values):
        return 1.0
    exact = len(values) < 60 and 2 ** len(values) <= n_permutations
    if exact:
        patterns = np.arange(2 ** len(values))
        totals = _signs(patterns[:, None] >> np.arange(len(values)) & 1) @ values
    else:
        totals = _random_totals(values, n_permutations, np.random.default_rng(seed))
    seen = abs(values.sum())
    extreme = int(np.count_nonzero(np.abs(totals) >= seen - 1e-9 * np.abs(values).sum()))  # sums round differently
    return extreme / len(totals) if exact else (extreme + 1) / (n_permutations + 1)


def _signs(bits: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return 1.0 for each 0 and -1.0 for each 1."""
    return np.where(bits == 1, -1.0, 1.0)


def _random_totals(values: NDArray[np.float64], n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return ``n`` sums of ``values`` under random signs."""
    rows = max(1, _BATCH // len(values))
    sizes = [min(rows, n - start) for start in range(0, n, rows)]
    return np.concatenate(
        [_signs(rng.integers(0, 2, size=(size, len(values)), dtype=np.int8)) @ values for size in sizes]
    )


def t_test(differences: Sequence[float]) -> float:
    """Return the two-sided p of Student's paired t-test, by scipy.

    1 where there is nothing to test: no difference at all, or fewer than two questions. Differences that are all the
    same have no variance: p is then 0.
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
