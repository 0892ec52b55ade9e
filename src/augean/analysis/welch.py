"""Welch's t-intervals that hold for any two deviations.

Welch 1947, "The generalization of 'Student's' problem when several different population variances
are involved", Biometrika 34. With squared standard errors e_1 and e_2 of the two means, the
interval is

    difference +- t(f, level) * sqrt(e_1 + e_2)
    f = (e_1 + e_2)^2 / (e_1^2 / (n_1 - 1) + e_2^2 / (n_2 - 1))      (Satterthwaite 1946)

It misses more often than its level says where samples are small, the level is low and one deviation
is some times the other: at 3 seeds and a level of 0.1 % up to 4 times as often.

How often it misses can be computed. Let B be the first sample's share of all squares, each divided
by its true variance: B has a beta distribution, and it is independent of the sum of these squares,
which has a chi-squared distribution of n_1 + n_2 - 2 degrees of freedom. So, given B, the statistic
is a multiple of Student's t with these degrees of freedom, and the rest is an integral over B. The
level is lowered until the worst ratio of deviations misses only as often as was asked for.

Both samples are taken as normal.
"""

import math
from functools import lru_cache
from typing import Any

import numpy
from numpy.typing import NDArray
from scipy import optimize, special

NUM_NODES = 121
"""Of the quadrature; doubling them changes no result by more than one in a thousand."""
NEGLIGIBLE = 1e-12
"""Probability that is left out at each end of the quadrature."""
RATIOS = numpy.geomspace(1 / 1000, 1000, 45)
"""Ratios of the two deviations that are tried for the worst one."""
NUM_BETWEEN = 11
"""Ratios that are tried between the neighbours of the worst one of `RATIOS`."""


def degrees_of_freedom(
    first: NDArray[numpy.float64] | float,
    second: NDArray[numpy.float64] | float,
    num_first: NDArray[numpy.int64] | int,
    num_second: NDArray[numpy.int64] | int,
) -> Any:
    """Return Satterthwaite's degrees of freedom f; NaN in arrays where there is no spread.

    Args:
        first: squared standard errors of the means of the first samples.
        second: the same of the second samples.
        num_first: sizes of the first samples.
        num_second: sizes of the second samples.
    """
    with numpy.errstate(divide="ignore", invalid="ignore"):
        parts = first**2 / (num_first - 1) + second**2 / (num_second - 1)
        return (first + second) ** 2 / parts


def largest_miss(level: float, num_first: int, num_second: int) -> float:
    """Return how often Welch's interval misses at the worst ratio of deviations.

    Args:
        level: how often the interval claims to miss: two-sided, such as 0.05.
        num_first: size of one sample, at least 2.
        num_second: size of the other, at least 2.
    """
    misses = _misses(RATIOS, level, num_first, num_second)
    worst = int(misses.argmax())
    below = RATIOS[max(worst - 1, 0)]
    above = RATIOS[min(worst + 1, len(RATIOS) - 1)]
    between = numpy.geomspace(below, above, NUM_BETWEEN)
    misses_between = _misses(between, level, num_first, num_second)
    # Where the ratio is 0 or endless, one sample alone counts and its t-interval is exact.
    return max(level, float(misses.max()), float(misses_between.max()))


def _misses(
    ratios: NDArray[numpy.float64], level: float, num_first: int, num_second: int
) -> NDArray[numpy.float64]:
    """Return how often Welch's interval misses at each ratio of deviations: [ratios]."""
    shares, weights = _shares_of_first(num_first, num_second)  # B and its weights: [nodes]
    freedom = num_first + num_second - 2

    # Squared standard errors in units of the second deviation. First the true ones: [ratios, 1].
    true_first = ratios[:, None] ** 2 / num_first
    true_second = 1 / num_second

    # Then those that the samples show, where their squares sum up to what is expected. A larger sum
    # scales both alike, which leaves f as it is: [ratios, nodes].
    sample_first = true_first * shares * freedom / (num_first - 1)
    sample_second = true_second * (1 - shares) * freedom / (num_second - 1)
    sample_freedom = degrees_of_freedom(sample_first, sample_second, num_first, num_second)

    # The interval misses where |t| of n_1 + n_2 - 2 degrees of freedom exceeds this: [ratios,
    # nodes].
    bound = -special.stdtrit(sample_freedom, level / 2)
    bound *= numpy.sqrt((sample_first + sample_second) / (true_first + true_second))
    misses: NDArray[numpy.float64] = 2 * special.stdtr(freedom, -bound) @ weights
    return misses


@lru_cache(maxsize=1024)
def safe_level(level: float, num_first: int, num_second: int) -> float:
    """Return the level at which Welch's interval misses at most as often as `level` says.

    Args:
        level: how often the interval may miss: two-sided, such as 0.05.
        num_first: size of one sample, at least 2.
        num_second: size of the other, at least 2.
    """

    # On a log scale, as levels span many powers of ten.
    def excess(log_level: float) -> float:
        nominal = float(numpy.exp(log_level))
        return float(numpy.log(largest_miss(nominal, num_first, num_second) / level))

    highest = float(numpy.log(level))
    lowest = highest - 1
    while excess(lowest) > 0:
        lowest -= 2
    return float(numpy.exp(optimize.brentq(excess, lowest, highest, xtol=1e-9)))


@lru_cache(maxsize=256)
def _shares_of_first(
    num_first: int, num_second: int
) -> tuple[NDArray[numpy.float64], NDArray[numpy.float64]]:
    """Return nodes and weights of B, the first sample's share of all squares: two of [nodes].

    B has the density b^(x - 1) (1 - b)^(y - 1), where x and y are half the samples' degrees of
    freedom. The trapezoidal rule runs over the logit of B, where what the ratio of deviations does
    has one width at any ratio. There the density is b^x (1 - b)^y.
    """
    shape_first = (num_first - 1) / 2
    shape_second = (num_second - 1) / 2
    lowest = _lowest_logit(shape_first, shape_second)
    highest = -_lowest_logit(shape_second, shape_first)
    logits = numpy.linspace(lowest, highest, NUM_NODES)
    log_density = shape_first * special.log_expit(logits)
    log_density += shape_second * special.log_expit(-logits)
    # The largest is taken off first, as powers of many seeds would all round to 0.
    weights = numpy.exp(log_density - log_density.max())
    return special.expit(logits), weights / weights.sum()


def _lowest_logit(shape: float, other_shape: float) -> float:
    """Return the logit below which a beta distribution has about the negligible probability.

    By the first term of its distribution function, b^x / (x Beta(x, y)), which is exact in the
    limit: scipy's quantile does not converge so far out.
    """
    log_beta = float(special.betaln(shape, other_shape))
    log_share = (math.log(NEGLIGIBLE) + math.log(shape) + log_beta) / shape
    return log_share - math.log1p(-math.exp(log_share))
