"""Welch's intervals at a safe level: exact special cases, and samples of unequal deviations."""

import numpy
import pytest
from scipy import special

from augean.analysis.welch import degrees_of_freedom, largest_miss, safe_level


@pytest.mark.parametrize(("num_first", "num_second"), [(2, 2), (3, 3), (3, 10), (20, 20)])
@pytest.mark.parametrize("level", [0.05, 0.001])
def test_the_safe_level_is_the_one_that_misses_as_often_as_was_asked(
    num_first: int, num_second: int, level: float
) -> None:
    safe = safe_level(level, num_first, num_second)
    assert safe <= level
    assert largest_miss(safe, num_first, num_second) == pytest.approx(level, rel=1e-6)
    assert safe_level(level, num_second, num_first) == pytest.approx(safe, rel=1e-3)


def test_with_many_seeds_the_safe_level_is_the_level() -> None:
    assert safe_level(0.05, 200, 200) == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize(("num_first", "num_second"), [(3, 3), (2, 5)])
@pytest.mark.parametrize("ratio", [1.0, 4.0, 20.0])
def test_samples_miss_at_most_as_often_and_plain_welch_more(
    num_first: int, num_second: int, ratio: float
) -> None:
    generator = numpy.random.default_rng(0)
    first = ratio * generator.normal(size=(100_000, num_first))
    second = generator.normal(size=(100_000, num_second))
    first_error = first.var(-1, ddof=1) / num_first
    second_error = second.var(-1, ddof=1) / num_second
    statistic = abs(first.mean(-1) - second.mean(-1)) / numpy.sqrt(first_error + second_error)
    freedom = degrees_of_freedom(first_error, second_error, num_first, num_second)
    p = 2 * special.stdtr(freedom, -statistic)
    level = 0.01
    error = (level / len(p)) ** 0.5
    assert (p < safe_level(level, num_first, num_second)).mean() <= level + 4 * error
    # What the quadrature says is the worst ratio's, so no ratio misses more often.
    plain = (p < level).mean()
    assert plain <= largest_miss(level, num_first, num_second) + 4 * error
    if (num_first, ratio) == (3, 4.0):
        assert plain > level + 4 * error
