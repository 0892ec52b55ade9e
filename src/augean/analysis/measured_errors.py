"""How often a table has a false verdict where no method that we know holds the 5 %: for remarks.

Measured by benchmarks/verdict_errors.py on tables whose rows are all equal.
"""

from collections.abc import Mapping

SKEWED_SHARES = {
    3: {1: 0.21, 3: 0.31, 6: 0.32, 12: 0.31, 20: 0.26},
    5: {1: 0.18, 3: 0.35, 6: 0.50, 12: 0.65, 20: 0.78},
    10: {1: 0.13, 3: 0.26, 6: 0.40, 12: 0.55, 20: 0.69},
    20: {1: 0.11, 3: 0.20, 6: 0.28, 12: 0.41, 20: 0.53},
}
"""By seeds a row, then rows beside the baseline: rows that crowd below 100 % (Beta(20, 0.4), mean
98 %), the baseline steady."""
TWO_SEEDS_SHARES = {1: 0.13, 3: 0.23, 6: 0.31, 12: 0.43, 20: 0.49}
"""By rows beside the baseline: two seeds a row, normal scores, the worst ratio of deviations up to
ten. Two seeds cannot show that deviations differ, so they are taken as equal."""


def skewed_share(n: int, num_rows: int) -> float:
    """Return the share for tables of about so many seeds and rows."""
    return _nearest_above(_nearest_below(SKEWED_SHARES, n), num_rows)


def two_seeds_share(num_rows: int) -> float:
    """Return the share for tables of two seeds and about so many rows."""
    return _nearest_above(TWO_SEEDS_SHARES, num_rows)


def _nearest_below(table: Mapping[int, Mapping[int, float]], key: int) -> Mapping[int, float]:
    """Return the entry of the largest measured key up to `key`, or else of the smallest."""
    measured = [candidate for candidate in table if candidate <= key]
    return table[max(measured, default=min(table))]


def _nearest_above(table: Mapping[int, float], key: int) -> float:
    """Return the entry of the smallest measured key from `key` on, or else of the largest."""
    measured = [candidate for candidate in table if candidate >= key]
    return table[min(measured, default=max(table))]
