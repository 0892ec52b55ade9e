"""Compare several rows with one baseline, by simultaneous intervals of their differences.

All intervals of a table hold together with 95 %. Where all rows have equally many seeds and the
variances look equal by Levene's test (1960), they are those of Dunnett's test; else those of
Welch's t-tests, at a level divided by the number of rows (Bonferroni). docs/internals/verdicts.md
has the references.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy
from numpy.typing import NDArray
from scipy import special, stats

from augean.analysis.dunnett import LargestStatistic
from augean.analysis.verdict import (
    MARGIN,
    Difference,
    Verdict,
    is_flattered,
    verdict_of_interval,
)
from augean.analysis.welch import degrees_of_freedom, largest_miss, safe_level

LEVEL = 0.95
"""Probability that all intervals of a table hold together."""
LEVENE_LEVEL = 0.5
"""Variances are pooled only where Levene's p-value is at least this. At 5 %, few seeds hide
deviations that differ five times, and up to 14 % of tables had a false verdict; at 50 %, at most
5.5 % (docs/internals/verdicts.md)."""


class Interval(NamedTuple):
    """The simultaneous 95 % interval of a difference, and its adjusted p-value.

    NaN where nothing is known of chance.
    """

    low: float = math.nan
    high: float = math.nan
    p: float = math.nan


def compare(
    scores: Mapping[str, Sequence[float]],
    baseline: str,
    diverged: Mapping[str, int],
    margin: float = MARGIN,
) -> tuple[dict[str, Difference], str]:
    """Compare every row with the baseline, such that 5 % of tables have a false verdict at most.

    By `simultaneous_intervals`. Interval, p-value and verdict always agree, but for rows with
    diverged runs, see `is_flattered`. Rows with one seed take no part.

    Args:
        scores: per row one number a seed, in percent.
        baseline: the row compared with, one of `scores`.
        diverged: per row the number of diverged runs.
        margin: percentage points: a difference within it counts as equivalent.

    Returns:
        The difference of each row, and the method in words for the caption.
    """
    control = scores[baseline]
    intervals, method = simultaneous_intervals(scores, baseline)
    baseline_diverged = diverged.get(baseline, 0) > 0
    differences = {}
    for label, values in scores.items():
        num_diverged = diverged.get(label, 0)
        if label == baseline:
            differences[label] = Difference(verdict=Verdict.BASELINE, num_diverged=num_diverged)
            continue
        if not values or not control:
            differences[label] = Difference(num_diverged=num_diverged)
            continue
        # A row with one seed has no interval, so it stays undecided.
        interval = intervals.get(label, Interval())
        verdict = verdict_of_interval(interval.low, interval.high, margin)
        row_diverged = num_diverged > 0
        if is_flattered(verdict, row_diverged=row_diverged, baseline_diverged=baseline_diverged):
            verdict = Verdict.UNDECIDED
        differences[label] = Difference(
            value=float(numpy.mean(values) - numpy.mean(control)),
            low=interval.low,
            high=interval.high,
            p=interval.p,
            verdict=verdict,
            n=min(len(values), len(control)),
            num_diverged=num_diverged,
            margin=margin,
        )
    return differences, method


def simultaneous_intervals(
    scores: Mapping[str, Sequence[float]], baseline: str
) -> tuple[dict[str, Interval], str]:
    """Compare all rows that have several seeds with the baseline.

    Args:
        scores: per row one number a seed.
        baseline: the row that the others are compared with, one of `scores`.

    Returns:
        The intervals by row, and the method in words; neither where there is nothing to compare.
    """
    control = numpy.asarray(scores[baseline])
    rows = {}
    for label, values in scores.items():
        if label != baseline and len(values) > 1:
            rows[label] = numpy.asarray(values)
    if not rows or len(control) < 2:
        return {}, ""
    groups = list(rows.values())
    p = levene_p([control, *groups])
    reason = reason_against_pooling([control, *groups], p)
    intervals = _dunnett(control, groups) if reason is None else _welch(control, groups)
    return dict(zip(rows, intervals, strict=True)), _method(reason, p)


def levene_p(groups: Sequence[Sequence[float] | NDArray[numpy.float64]]) -> float:
    """Return the p-value of Levene's test of equal variances; NaN where it cannot be made.

    Two values always lie equally far from their mean, so the test says nothing of them.
    """
    if min(map(len, groups), default=0) < 3:
        return math.nan
    with warnings.catch_warnings():
        # scipy warns where no group has a spread: then p is NaN.
        warnings.simplefilter("ignore", RuntimeWarning)
        # Around means: with three seeds the form around medians never rejects.
        return float(stats.levene(*groups, center="mean").pvalue)


def pools_untested(groups: Sequence[Sequence[float]]) -> bool:
    """Return whether variances are pooled untested, as no row has the three seeds of a test."""
    p = levene_p(groups)
    return math.isnan(p) and reason_against_pooling(groups, p) is None


def reason_against_pooling(
    groups: Sequence[Sequence[float] | NDArray[numpy.float64]], p: float
) -> str | None:
    """Return why the variances of groups are not pooled; None where they are.

    Args:
        p: of Levene's test, NaN where it cannot be made.
    """
    if any(numpy.ptp(group) == 0 for group in groups):
        return "a row has no spread"
    # The few seeds of a wide row weigh little in the pooled variance, and so few escape Levene's
    # test: up to 11 % of such tables had a false verdict.
    if len({len(group) for group in groups}) > 1:
        return "not pooled, as the numbers of seeds differ"
    if p < LEVENE_LEVEL:
        return f"not pooled, as Levene's p = {p:.2g} is below {LEVENE_LEVEL:g}"
    return None


def _method(reason: str | None, p: float) -> str:
    """Return the test that was made, and why that one, in words for the caption."""
    if reason is not None:
        return (
            "Welch's t-tests with Bonferroni's simultaneous 95 % intervals, widened to hold for any"
            f" deviations ({reason})"
        )
    check = f"Levene's p = {p:.2g}"
    if math.isnan(p):
        check = "equal variances are assumed"
    return f"Dunnett's test with simultaneous 95 % intervals ({check})"


def _dunnett(
    control: NDArray[numpy.float64], rows: Sequence[NDArray[numpy.float64]]
) -> list[Interval]:
    """Return Dunnett's intervals and p-values, in the order of the rows.

    All have as many seeds as the baseline: others are not pooled.
    """
    n = len(control)
    # Groups of one size weigh the same.
    pooled_variance = numpy.mean([group.var(ddof=1) for group in (control, *rows)])
    standard_error = math.sqrt(2 * pooled_variance / n)
    largest = LargestStatistic(len(rows), freedom=(len(rows) + 1) * (n - 1))
    half_width = largest.critical_value(LEVEL) * standard_error
    intervals = []
    for row in rows:
        difference = float(row.mean() - control.mean())
        # Rounding may bring the distribution function a trifle above 1.
        p = float(numpy.maximum(0.0, 1 - largest.cdf(abs(difference) / standard_error)))
        intervals.append(Interval(low=difference - half_width, high=difference + half_width, p=p))
    return intervals


def _welch(
    control: NDArray[numpy.float64], rows: Sequence[NDArray[numpy.float64]]
) -> list[Interval]:
    """Return Welch's intervals and p-values after Bonferroni, which hold for any deviations."""
    return [_welch_interval(control, row, num_rows=len(rows)) for row in rows]


def _welch_interval(
    control: NDArray[numpy.float64], row: NDArray[numpy.float64], num_rows: int
) -> Interval:
    """Return Welch's interval of row minus control, with its p-value.

    Two rows without spread say nothing about chance: theirs is NaN.
    """
    control_squared_error = _squared_error(control)
    row_squared_error = _squared_error(row)
    squared_error = row_squared_error + control_squared_error
    if squared_error == 0:
        return Interval()
    standard_error = math.sqrt(squared_error)
    n = len(row)
    num_control = len(control)
    freedom = degrees_of_freedom(row_squared_error, control_squared_error, n, num_control)

    level = safe_level((1 - LEVEL) / num_rows, n, num_control)
    quantile = -float(special.stdtrit(freedom, level / 2))
    half_width = quantile * standard_error
    difference = float(row.mean() - control.mean())

    # The level whose interval ends at 0, and how often that interval misses at worst. The p-value
    # is made from it, so that interval and p-value agree.
    level_at_zero = 2 * float(special.stdtr(freedom, -abs(difference) / standard_error))
    p = num_rows * largest_miss(level_at_zero, n, num_control)
    return Interval(low=difference - half_width, high=difference + half_width, p=min(1.0, p))


def _squared_error(scores: NDArray[numpy.float64]) -> float:
    """Return the squared standard error of the mean; exactly 0 for equal scores."""
    # Rounding would leave a tiny variance.
    if numpy.ptp(scores) == 0:
        return 0.0
    return float(scores.var(ddof=1)) / len(scores)
