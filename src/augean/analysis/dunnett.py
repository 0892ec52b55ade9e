"""Compare several rows with one baseline by Dunnett's test, computed without random numbers.

Dunnett 1955, "A Multiple Comparison Procedure for Comparing Several Treatments with a Control",
JASA 50. The t-statistic of row i, with n_i seeds beside a baseline of n_0 seeds, is

    t_i = (mean_i - mean_0) / (s * sqrt(1 / n_i + 1 / n_0))

where s is the standard deviation pooled over all rows. All t_i share the baseline's mean and s.
Given these two the rows are independent, so the probability that no |t_i| exceeds a bound b is a
smooth integral over two variables only (Dunnett's equation for the two-sided case):

    P(b) = E_u E_z  prod_i [ Phi((r_i z + b u) / q_i) - Phi((r_i z - b u) / q_i) ]

    z    the baseline's mean in units of its own standard error: standard normal
    u    s in units of the true deviation: chi of f degrees of freedom, divided by sqrt(f)
    r_i  sqrt(n_i / (n_i + n_0)), and q_i = sqrt(1 - r_i^2)

Quadrature computes it to about ten digits. The critical value and the p-values come from this one
function, so they cannot disagree.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray
from scipy import optimize, special, stats

NUM_NODES = 160
"""Nodes of each variable: twice as many change no digit that is printed anywhere."""
NEGLIGIBLE = 1e-13
"""Probability that is left out at each end of a variable's range."""


@dataclass(frozen=True)
class DunnettResult:
    """Differences of the rows to the baseline, in the order of the rows."""

    differences: NDArray[numpy.float64]
    """Mean of each row minus that of the baseline: float [rows]."""
    half_widths: NDArray[numpy.float64]
    """Of the intervals, which together hold with the level that was asked for: float [rows]."""
    p_values: NDArray[numpy.float64]
    """Adjusted for the number of rows: float [rows]."""


def dunnett_test(
    control: NDArray[numpy.float64], rows: Sequence[NDArray[numpy.float64]], level: float
) -> DunnettResult:
    """Compare each row with the baseline, assuming normal scores of one variance.

    Args:
        control: scores of the baseline, float [seeds].
        rows: scores of each row, float [seeds]; at least one row, or the baseline, must have
            scores that differ.
        level: probability that all intervals hold together, such as 0.95.
    """
    groups = [control, *rows]
    freedom = 0
    squares = 0.0
    for group in groups:
        freedom += len(group) - 1
        squares += float(((group - group.mean()) ** 2).sum())
    pooled_variance = squares / freedom

    row_sizes = numpy.array([len(row) for row in rows])
    standard_errors = numpy.sqrt(pooled_variance * (1 / row_sizes + 1 / len(control)))  # [rows]
    differences = numpy.array([row.mean() - control.mean() for row in rows])
    statistics = abs(differences / standard_errors)

    shares = row_sizes / (row_sizes + len(control))
    largest = LargestStatistic(shares, freedom)
    return DunnettResult(
        differences=differences,
        half_widths=largest.critical_value(level) * standard_errors,
        p_values=largest.p_values(statistics),
    )


class LargestStatistic:
    """The distribution of the largest |t| of all rows, where no row truly differs."""

    def __init__(self, shares: NDArray[numpy.float64], freedom: int) -> None:
        """Prepare the quadrature: nodes and weights of both variables.

        Args:
            shares: r_i squared, n_i / (n_i + n_0), float [rows]. Two rows' statistics correlate
                with r_i r_j.
            freedom: degrees of freedom of the pooled variance.
        """
        nodes, weights = numpy.polynomial.legendre.leggauss(NUM_NODES)
        # Rows of equal size have equal factors in the product, and most tables have one size.
        self._shares, self._counts = numpy.unique(shares, return_counts=True)

        # u, the pooled deviation in units of the true one.
        chi = stats.chi(freedom, scale=freedom**-0.5)
        low = chi.ppf(NEGLIGIBLE)
        high = chi.isf(NEGLIGIBLE)
        # Gauss-Legendre nodes lie in -1 to 1: stretched to low to high.
        half_range = (high - low) / 2
        self._deviations = half_range * nodes + (high + low) / 2  # [nodes]
        deviation_weights = half_range * weights * chi.pdf(self._deviations)

        # z, the baseline's mean.
        limit = stats.norm.isf(NEGLIGIBLE)
        self._means = limit * nodes  # [nodes]
        mean_weights = limit * weights * stats.norm.pdf(self._means)

        self._weights = numpy.outer(deviation_weights, mean_weights)  # [deviations, means]

    def cdf(self, bound: float) -> float:
        """Return P(bound), the probability that no |t| exceeds the bound."""
        width = bound * self._deviations[:, None]  # b u: [deviations, 1]
        inside = numpy.ones_like(self._weights)
        for share, count in zip(self._shares, self._counts, strict=True):
            centre = share**0.5 * self._means[None, :]  # r z: [1, means]
            scale = (1 - share) ** 0.5  # q
            upper = special.ndtr((centre + width) / scale)
            lower = special.ndtr((centre - width) / scale)
            inside *= (upper - lower) ** count
        return float((self._weights * inside).sum())

    def p_values(self, statistics: NDArray[numpy.float64]) -> NDArray[numpy.float64]:
        """Return for each |t| the probability that any row's is larger by chance.

        Args:
            statistics: |t| of each row, float [rows].
        """
        inside = numpy.array([self.cdf(value) for value in statistics.tolist()])
        # Rounding may bring the distribution function a trifle above 1.
        p_values: NDArray[numpy.float64] = numpy.maximum(0.0, 1 - inside)
        return p_values

    def critical_value(self, level: float) -> float:
        """Return the bound that no |t| exceeds with a probability of `level`."""

        def excess(bound: float) -> float:
            return self.cdf(bound) - level

        high = 4.0
        # With a single degree of freedom the tails are very long.
        while excess(high) < 0:
            high *= 2
        return float(optimize.brentq(excess, 0.0, high, xtol=1e-12))
