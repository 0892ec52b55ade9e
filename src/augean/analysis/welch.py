"""Welch's t-intervals (1947) that hold for any two deviations.

Welch's t with Satterthwaite's degrees of freedom misses more often than its level says where
samples are small, the level is low and one deviation is some times the other: at 3 seeds and a
level of 0.1 % up to 4 times as often. How often it misses can be computed: given how the two sample
variances share their sum, the statistic is a multiple of Student's t. So the level is lowered until
the worst ratio of deviations misses as often as was asked. Both samples are taken as normal.
"""

import math
from functools import lru_cache
from typing import Any

import numpy
from scipy import optimize, special

Array = numpy.ndarray[Any, Any]
NUM_NODES = 121
"""Of the quadrature; doubling them changes no result by more than one in a thousand."""
NEGLIGIBLE = 1e-12
"""Probability that is left out at each end of the quadrature."""
RATIOS = numpy.geomspace(1 / 1000, 1000, 45)
"""Ratios of the two deviations that are tried for the worst one, which is a broad maximum."""


def degrees_of_freedom(
    first: Array | float, second: Array | float, num_first: Array | int, num_second: Array | int
) -> Any:
    """Return the degrees of freedom of Welch and Satterthwaite; NaN in arrays without any spread.

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
        level: that the interval claims: two-sided, such as 0.05.
        num_first: size of one sample, at least 2.
        num_second: size of the other, at least 2.
    """
    shares, weights = _shares_of_first(num_first, num_second)
    freedom = num_first + num_second - 2
    # Squared standard errors in units of the second deviation: true ones, then those that samples
    # of the given sum of squares would show. Shapes: [ratios, 1] and [ratios, nodes].
    true_first = RATIOS[:, None] ** 2 / num_first
    true_second = 1 / num_second
    seen_first = true_first * shares * freedom / (num_first - 1)
    seen_second = true_second * (1 - shares) * freedom / (num_second - 1)
    seen_freedom = degrees_of_freedom(seen_first, seen_second, num_first, num_second)
    bound = -special.stdtrit(seen_freedom, level / 2)
    bound *= numpy.sqrt((seen_first + seen_second) / (true_first + true_second))
    misses = 2 * special.stdtr(freedom, -bound) @ weights  # [ratios]
    # At the ends of all ratios one sample alone counts, and its t-interval is exact.
    return max(level, float(misses.max()))


@lru_cache(maxsize=1024)
def safe_level(level: float, num_first: int, num_second: int) -> float:
    """Return the level at which Welch's interval misses at most as often as `level` says."""

    def excess(log_level: float) -> float:
        claimed = float(numpy.exp(log_level))
        return float(numpy.log(largest_miss(claimed, num_first, num_second) / level))

    highest = float(numpy.log(level))
    lowest = highest - 1
    while excess(lowest) > 0:
        lowest -= 2
    return float(numpy.exp(optimize.brentq(excess, lowest, highest, xtol=1e-9)))


@lru_cache(maxsize=256)
def _shares_of_first(num_first: int, num_second: int) -> tuple[Array, Array]:
    """Return nodes and weights for the first sample's share of all squares.

    In units of the samples' own variances that share has a beta distribution. The trapezoidal rule
    runs over its logit, where what the ratio of deviations does has one width at any ratio.
    """
    shape_first = (num_first - 1) / 2
    shape_second = (num_second - 1) / 2
    lowest = _lowest_logit(shape_first, shape_second)
    highest = -_lowest_logit(shape_second, shape_first)
    logits = numpy.linspace(lowest, highest, NUM_NODES)
    log_density = shape_first * special.log_expit(logits)
    log_density += shape_second * special.log_expit(-logits)
    weights = numpy.exp(log_density - log_density.max())
    return special.expit(logits), weights / weights.sum()


def _lowest_logit(shape: float, other_shape: float) -> float:
    """Return the logit below which a beta distribution has about the negligible probability.

    By the first term of its distribution function, which is exact in the limit: scipy's quantile
    does not converge so far out.
    """
    log_beta = float(special.betaln(shape, other_shape))
    log_share = (math.log(NEGLIGIBLE) + math.log(shape) + log_beta) / shape
    return log_share - math.log1p(-math.exp(log_share))
