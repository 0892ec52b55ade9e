"""Simultaneous intervals of the differences between several rows and one baseline.

All intervals of a table hold together with 95 %: Dunnett's test where the variances look equal,
else Welch's t-tests. docs/reference/report.md has the references.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy
from scipy import special, stats

from augean.analysis.dunnett import dunnett_test
from augean.analysis.welch import degrees_of_freedom, largest_miss, safe_level

Array = numpy.ndarray[Any, Any]
LEVEL = 0.95
LEVENE_LEVEL = 0.5
"""Variances are pooled only where Levene's p-value is at least this. At 5 %, few seeds hide
deviations that differ five times, and up to 14 % of tables had a false verdict; at 50 %, at most
5.5 % (docs/reference/report.md)."""


class Interval(NamedTuple):
    """Simultaneous 95 % interval of a difference, and its adjusted p-value."""

    low: float = math.nan
    high: float = math.nan
    p: float = math.nan


def simultaneous_intervals(
    scores: Mapping[str, Sequence[float]], baseline: str
) -> tuple[dict[str, Interval], str]:
    """Compare all rows that have several seeds with the baseline.

    Args:
        scores: per row one number a seed.

    Returns:
        The intervals by row, and the method in words; neither where there is nothing to compare.
    """
    several = [label for label, values in scores.items() if len(values) > 1 and label != baseline]
    if not several or len(scores[baseline]) < 2:
        return {}, ""
    control = numpy.asarray(scores[baseline])
    others = [numpy.asarray(scores[label]) for label in several]
    with warnings.catch_warnings():
        # scipy's, for groups without spread: their p stays NaN.
        warnings.simplefilter("ignore", RuntimeWarning)
        # Two values always lie equally far from their mean, so with n=2 the test would reject
        # whatever the data.
        levene = math.nan
        if min(len(group) for group in [control, *others]) > 2:
            levene = float(stats.levene(control, *others, center="mean").pvalue)
        reason = _reason_against_dunnett(control, others, levene)
        if reason is None:
            intervals = _dunnett(control, others)
            checked = f"Levene's p = {levene:.2g}"
            if math.isnan(levene):
                checked = "equal variances are assumed"
            method = f"Dunnett's test with simultaneous 95 % intervals ({checked})"
        else:
            intervals = _welch(control, others)
            method = (
                "Welch's t-tests with Bonferroni's simultaneous 95 % intervals, widened to hold for"
                f" any deviations ({reason})"
            )
    return dict(zip(several, intervals, strict=True)), method


def _reason_against_dunnett(control: Array, others: Sequence[Array], levene: float) -> str | None:
    """Return why Dunnett's test does not apply; None where it does.

    Args:
        levene: p-value of Levene's test, NaN where it cannot be made.
    """
    if any(numpy.ptp(group) == 0 for group in [control, *others]):
        return "a row has no spread"
    if levene < LEVENE_LEVEL:
        return f"variances do not look equal, Levene's p = {levene:.2g}"
    return None


def _dunnett(control: Array, others: Sequence[Array]) -> list[Interval]:
    result = dunnett_test(control, others, LEVEL)
    return [
        Interval(low=difference - half_width, high=difference + half_width, p=p)
        for difference, half_width, p in zip(
            result.differences.tolist(),
            result.half_widths.tolist(),
            result.p_values.tolist(),
            strict=True,
        )
    ]


def _welch(control: Array, others: Sequence[Array]) -> list[Interval]:
    """Return Welch's intervals and p-values after Bonferroni, which hold for any deviations.

    Two rows without spread say nothing about chance: theirs is NaN.
    """
    return [_welch_interval(control, other, num_rows=len(others)) for other in others]


def _welch_interval(control: Array, other: Array, num_rows: int) -> Interval:
    control_squared_error = _squared_error(control)
    other_squared_error = _squared_error(other)
    # By Welch and Satterthwaite
    squared_error = other_squared_error + control_squared_error
    if squared_error == 0:
        return Interval()
    freedom = degrees_of_freedom(
        other_squared_error, control_squared_error, len(other), len(control)
    )
    level = safe_level((1 - LEVEL) / num_rows, len(other), len(control))
    difference = float(other.mean() - control.mean())
    half = -float(special.stdtrit(freedom, level / 2)) * math.sqrt(squared_error)
    # The level of the interval that ends at 0, and how often that one misses at worst: interval and
    # p-value agree.
    own_level = 2 * float(special.stdtr(freedom, -abs(difference) / math.sqrt(squared_error)))
    p = num_rows * largest_miss(own_level, len(other), len(control))
    return Interval(low=difference - half, high=difference + half, p=min(1.0, p))


def _squared_error(scores: Array) -> float:
    """Return the squared standard error of the mean; 0 for equal scores, without rounding."""
    if numpy.ptp(scores) == 0:
        return 0.0
    return float(scores.var(ddof=1)) / len(scores)
