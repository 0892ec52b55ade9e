"""Dunnett's test by quadrature: published values, exact special cases, agreement with itself."""

import numpy
import pytest
from scipy import stats

from augean.analysis import dunnett
from augean.analysis.dunnett import LargestStatistic
from augean.analysis.simultaneous import Interval, simultaneous_intervals


@pytest.mark.parametrize(
    ("num_rows", "freedom", "level", "expected"),
    # Dunnett 1964, "New Tables for Multiple Comparisons with a Control", two-sided
    [
        (2, 5, 0.95, 3.03),
        (2, 10, 0.95, 2.57),
        (3, 10, 0.95, 2.76),
        (9, 20, 0.95, 2.95),
        (5, 5, 0.95, 3.62),
        (2, 10, 0.99, 3.53),
        (4, 10_000, 0.95, 2.44),
    ],
)
def test_critical_values_are_those_of_dunnetts_tables(
    num_rows: int, freedom: int, level: float, expected: float
) -> None:
    largest = LargestStatistic(num_rows, freedom)
    assert largest.critical_value(level) == pytest.approx(expected, abs=0.0051)


def alike(num_rows: int, size: int) -> dict[str, numpy.ndarray]:
    """Return scores of a baseline and of rows whose deviations are so alike that they are pooled.

    They are of so many seeds each.
    """
    generator = numpy.random.default_rng(num_rows)
    base = generator.normal(size=size)
    scores = {"base": base}
    for index in range(num_rows):
        scores[f"row {index}"] = generator.uniform(0.9, 1.1) * base + generator.normal()
    return scores


def compare(scores: dict[str, numpy.ndarray]) -> dict[str, Interval]:
    """Return Dunnett's intervals of the rows."""
    intervals, method = simultaneous_intervals(scores, "base")
    assert method.startswith("Dunnett's test")
    return intervals


@pytest.mark.parametrize("size", [2, 3, 40])
def test_with_one_row_it_is_students_t_test(size: int) -> None:
    scores = alike(1, size)
    (interval,) = compare(scores).values()
    expected = stats.ttest_ind(scores["row 0"], scores["base"])
    bounds = expected.confidence_interval(0.95)
    assert interval.p == pytest.approx(expected.pvalue, rel=1e-8)
    assert (interval.low, interval.high) == pytest.approx((bounds.low, bounds.high), rel=1e-8)


@pytest.mark.parametrize(("num_rows", "size"), [(2, 3), (3, 30), (4, 2), (7, 5)])
def test_it_agrees_with_scipys_estimate_by_random_numbers(num_rows: int, size: int) -> None:
    scores = alike(num_rows, size)
    p_values = [interval.p for interval in compare(scores).values()]
    control = scores.pop("base")
    estimate = stats.dunnett(*scores.values(), control=control, rng=numpy.random.default_rng(0))
    assert p_values == pytest.approx(estimate.pvalue.tolist(), abs=2e-3)


@pytest.mark.parametrize("num_rows", [1, 2, 7, 60])
@pytest.mark.parametrize("size", [2, 3, 10])
def test_interval_and_p_value_agree_at_the_border(num_rows: int, size: int) -> None:
    scores = alike(num_rows, size)
    intervals = compare(scores)
    for factor, excludes_zero in ((1 - 1e-6, False), (1 + 1e-6, True)):
        # A shift changes no deviation, so the half-widths stay.
        shifted = {"base": scores["base"]}
        for label, interval in intervals.items():
            half_width = (interval.high - interval.low) / 2
            centred = scores[label] - scores[label].mean() + scores["base"].mean()
            shifted[label] = centred + factor * half_width
        for interval in compare(shifted).values():
            assert (interval.p < 0.05) == excludes_zero
            assert (interval.low > 0) == excludes_zero


@pytest.mark.parametrize("freedom", [1, 2, 4, 20, 500])
def test_more_nodes_change_no_digit_that_matters(
    freedom: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = LargestStatistic(3, freedom).critical_value(0.95)
    monkeypatch.setattr(dunnett, "NUM_NODES", 2 * dunnett.NUM_NODES)
    finer = LargestStatistic(3, freedom).critical_value(0.95)
    assert value == pytest.approx(finer, rel=1e-8)


def test_of_many_tables_without_effect_one_in_twenty_has_a_false_verdict() -> None:
    generator = numpy.random.default_rng(0)
    num_tables, num_rows, size = 4000, 3, 3
    critical = LargestStatistic(num_rows, (num_rows + 1) * (size - 1))
    bound = critical.critical_value(0.95)
    scores = generator.normal(size=(num_tables, num_rows + 1, size))
    means = scores.mean(2)
    pooled = scores.var(2, ddof=1).mean(1)
    statistics = abs(means[:, 1:] - means[:, :1]) / numpy.sqrt(pooled * 2 / size)[:, None]
    share = (statistics.max(1) > bound).mean()
    # Four standard errors of a share of 5 % in 4,000
    assert share == pytest.approx(0.05, abs=4 * (0.05 * 0.95 / num_tables) ** 0.5)


def test_no_number_has_no_p_value() -> None:
    scores = alike(2, 3)
    scores["row 0"][1] = numpy.nan
    assert numpy.isnan(compare(scores)["row 0"].p)
