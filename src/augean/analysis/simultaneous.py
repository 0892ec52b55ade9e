"""Simultaneous intervals of the differences between several rows and one baseline.

All intervals of a table hold together with 95 %: Dunnett's test, or Welch's t-tests where its
assumptions fail. docs/report.md has the references.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy
from scipy import special, stats

from augean.analysis.dunnett import dunnett_test

Array = numpy.ndarray[Any, Any]
LEVEL = 0.95


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
                "Welch's t-tests (p after Holm) with Bonferroni's simultaneous 95 % intervals"
                f" ({reason})"
            )
    return dict(zip(several, intervals, strict=True)), method


def _reason_against_dunnett(control: Array, others: Sequence[Array], levene: float) -> str | None:
    """Return why Dunnett's test does not apply; None where it does.

    Args:
        levene: p-value of Levene's test, NaN where it cannot be made.
    """
    if any(numpy.ptp(group) == 0 for group in [control, *others]):
        return "a row has no spread"
    if levene < 1 - LEVEL:
        return "Levene's test rejects equal variances"
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
    """Return Welch's intervals after Bonferroni, with p-values after Holm.

    Two rows without spread say nothing about chance: theirs is NaN.
    """
    level = (1 - LEVEL) / len(others)
    difference = numpy.array([other.mean() - control.mean() for other in others])
    error = numpy.array([_squared_error(other) for other in others])
    control_error = _squared_error(control)
    num = numpy.array([len(other) for other in others])
    with numpy.errstate(divide="ignore", invalid="ignore"):
        parts = error**2 / (num - 1) + control_error**2 / (len(control) - 1)
        freedom = (error + control_error) ** 2 / parts
        scale = numpy.sqrt(error + control_error)
        p_values = _holm(2 * special.stdtr(freedom, -abs(difference / scale)))
        half = special.stdtrit(freedom, 1 - level / 2) * scale
    return [
        Interval(low=value - width, high=value + width, p=p)
        for value, width, p in zip(
            difference.tolist(), half.tolist(), p_values.tolist(), strict=True
        )
    ]


def _squared_error(scores: Array) -> float:
    """Return the squared standard error of the mean; 0 for equal scores, without rounding."""
    if numpy.ptp(scores) == 0:
        return 0.0
    return float(scores.var(ddof=1)) / len(scores)


def _holm(p_values: Array) -> Array:
    """Adjust p-values for their number; NaN comes last and still counts as a comparison."""
    order = p_values.argsort()
    steps = numpy.arange(len(p_values), 0, -1)
    adjusted = p_values.copy()
    adjusted[order] = numpy.minimum(1, numpy.maximum.accumulate(p_values[order] * steps))
    return adjusted
