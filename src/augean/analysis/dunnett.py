"""Compare several rows with one baseline by Dunnett's test, computed without random numbers.

Dunnett 1955, "A Multiple Comparison Procedure for Comparing Several Treatments with a Control".
Each row's t-statistic shares the baseline's mean and the pooled deviation, so given these two the
rows are independent. That leaves a smooth integral over two variables, which quadrature computes to
about ten digits. Critical value and p-values come from the one function, so they cannot disagree.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from scipy import optimize, special, stats

Array = numpy.ndarray[Any, Any]
NUM_NODES = 160
"""Nodes of each variable: twice as many change no digit that is printed anywhere."""
NEGLIGIBLE = 1e-13
"""Probability that is left out at each end of a variable's range."""


@dataclass(frozen=True)
class DunnettResult:
    """Differences of the rows to the baseline, in the order of the rows."""

    differences: Array
    """[rows]"""
    half_widths: Array
    """[rows]; all intervals together hold with the level."""
    p_values: Array
    """[rows], adjusted for the number of rows."""


def dunnett_test(control: Array, rows: Sequence[Array], level: float) -> DunnettResult:
    """Compare each row with the control, assuming normal scores of one variance.

    Args:
        control: scores of the baseline.
        rows: scores of each row; some group must have scores that differ.
        level: of the intervals together, such as 0.95.
    """
    groups = [control, *rows]
    freedom = sum(len(group) - 1 for group in groups)
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
    num = numpy.array([len(row) for row in rows])
    errors = numpy.sqrt(squares / freedom * (1 / num + 1 / len(control)))  # [rows]
    differences = numpy.array([row.mean() - control.mean() for row in rows])
    largest = LargestStatistic(num / (num + len(control)), freedom)
    return DunnettResult(
        differences=differences,
        half_widths=largest.critical_value(level) * errors,
        p_values=largest.p_values(abs(differences / errors)),
    )


class LargestStatistic:
    """The distribution of the largest absolute t-statistic of all rows, if no row differs."""

    def __init__(self, correlations: Array, freedom: int) -> None:
        """Prepare the quadrature.

        Args:
            correlations: [rows], n / (n + n of the baseline): the statistics of two rows correlate
                with the root of the product of theirs.
            freedom: degrees of freedom of the pooled variance.
        """
        nodes, weights = numpy.polynomial.legendre.leggauss(NUM_NODES)
        # Rows of equal size have equal factors, and most tables have one size.
        self._correlations, self._counts = numpy.unique(correlations, return_counts=True)

        # The pooled deviation in units of the true one: chi over the root of its freedom.
        chi = stats.chi(freedom, scale=freedom**-0.5)
        low, high = chi.ppf(NEGLIGIBLE), chi.isf(NEGLIGIBLE)
        self._deviations = (high - low) / 2 * nodes + (high + low) / 2  # [nodes]
        deviation_weights = (high - low) / 2 * weights * chi.pdf(self._deviations)

        # The baseline's mean, standard normal.
        limit = stats.norm.isf(NEGLIGIBLE)
        self._means = limit * nodes  # [nodes]
        mean_weights = limit * weights * stats.norm.pdf(self._means)
        self._weights = numpy.outer(deviation_weights, mean_weights)  # [deviations, means]

    def cdf(self, bound: float) -> float:
        """Return the probability that all absolute statistics are below a bound."""
        width = bound * self._deviations[:, None]  # [deviations, 1]
        inside = numpy.ones_like(self._weights)
        for correlation, count in zip(self._correlations, self._counts, strict=True):
            centre = correlation**0.5 * self._means[None, :]  # [1, means]
            scale = (1 - correlation) ** 0.5
            upper = special.ndtr((centre + width) / scale)
            lower = special.ndtr((centre - width) / scale)
            inside *= (upper - lower) ** count
        return float((self._weights * inside).sum())

    def p_values(self, statistics: Array) -> Array:
        """Return for each absolute statistic the probability of a larger one in any row."""
        return numpy.array([max(0.0, 1 - self.cdf(value)) for value in statistics.tolist()])

    def critical_value(self, level: float) -> float:
        """Return the bound that no absolute statistic exceeds with a probability of `level`."""
        high = 4.0
        while self.cdf(high) < level:
            high *= 2  # a single degree of freedom has very long tails
        return float(optimize.brentq(lambda bound: self.cdf(bound) - level, 0.0, high, xtol=1e-12))
