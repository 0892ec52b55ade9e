"""Dunnett's test by quadrature: published values, exact special cases, agreement with itself."""

import numpy
import pytest
from scipy import stats

from augean.analysis import dunnett
from augean.analysis.dunnett import LargestStatistic, dunnett_test


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
    largest = LargestStatistic(numpy.full(num_rows, 0.5), freedom)
    assert largest.critical_value(level) == pytest.approx(expected, abs=0.0051)


@pytest.mark.parametrize("sizes", [(2, 2), (3, 3), (2, 40), (10, 3)])
def test_with_one_row_it_is_students_t_test(sizes: tuple[int, int]) -> None:
    generator = numpy.random.default_rng(0)
    control, row = (generator.normal(size=size) for size in sizes)
    result = dunnett_test(control, [row], 0.95)
    expected = stats.ttest_ind(row, control)
    interval = expected.confidence_interval(0.95)
    assert result.p_values[0] == pytest.approx(expected.pvalue, rel=1e-8)
    assert result.half_widths[0] == pytest.approx((interval.high - interval.low) / 2, rel=1e-8)
    assert result.differences[0] == pytest.approx(row.mean() - control.mean())


@pytest.mark.parametrize("sizes", [(3, 3, 3), (3, 30, 3, 2), (10, 2, 2, 2, 2), (2, 2, 5)])
def test_it_agrees_with_scipys_estimate_by_random_numbers(sizes: tuple[int, ...]) -> None:
    generator = numpy.random.default_rng(1)
    control, *rows = (generator.normal(size=size) for size in sizes)
    result = dunnett_test(control, rows, 0.95)
    estimate = stats.dunnett(*rows, control=control, rng=numpy.random.default_rng(0))
    assert result.p_values == pytest.approx(estimate.pvalue, abs=2e-3)


@pytest.mark.parametrize("num_rows", [1, 2, 7, 60])
@pytest.mark.parametrize("size", [2, 3, 10])
def test_interval_and_p_value_agree_at_the_border(num_rows: int, size: int) -> None:
    generator = numpy.random.default_rng(num_rows)
    control = generator.normal(size=size)
    noise = [generator.normal(size=size) for _ in range(num_rows)]
    half_widths = dunnett_test(control, noise, 0.95).half_widths
    for factor, excludes_zero in ((1 - 1e-6, False), (1 + 1e-6, True)):
        # A shift changes no deviation, so the half-widths stay.
        rows = [
            row - row.mean() + control.mean() + factor * width
            for row, width in zip(noise, half_widths, strict=True)
        ]
        result = dunnett_test(control, rows, 0.95)
        assert result.half_widths == pytest.approx(half_widths, rel=1e-9)
        assert ((result.p_values < 0.05) == excludes_zero).all()
        assert ((result.differences > result.half_widths) == excludes_zero).all()


@pytest.mark.parametrize("freedom", [1, 2, 4, 20, 500])
def test_more_nodes_change_no_digit_that_matters(
    freedom: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    correlations = numpy.array([0.1, 0.5, 0.9])
    value = LargestStatistic(correlations, freedom).critical_value(0.95)
    monkeypatch.setattr(dunnett, "NUM_NODES", 2 * dunnett.NUM_NODES)
    finer = LargestStatistic(correlations, freedom).critical_value(0.95)
    assert value == pytest.approx(finer, rel=1e-8)


def test_of_many_tables_without_effect_one_in_twenty_has_a_false_verdict() -> None:
    generator = numpy.random.default_rng(0)
    num_tables, num_rows, size = 4000, 3, 3
    critical = LargestStatistic(numpy.full(num_rows, 0.5), (num_rows + 1) * (size - 1))
    bound = critical.critical_value(0.95)
    scores = generator.normal(size=(num_tables, num_rows + 1, size))
    means = scores.mean(2)
    pooled = scores.var(2, ddof=1).mean(1)
    statistics = abs(means[:, 1:] - means[:, :1]) / numpy.sqrt(pooled * 2 / size)[:, None]
    share = (statistics.max(1) > bound).mean()
    # Four standard errors of a share of 5 % in 4,000
    assert share == pytest.approx(0.05, abs=4 * (0.05 * 0.95 / num_tables) ** 0.5)


def test_no_number_has_no_p_value() -> None:
    largest = LargestStatistic(numpy.array([0.5]), 10)
    p_values = largest.p_values(numpy.array([numpy.nan, 2.0]))
    assert numpy.isnan(p_values).tolist() == [True, False]
