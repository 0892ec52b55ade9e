"""Compare several rows with one baseline by Dunnett's test, computed without random numbers.

Dunnett 1955, "A Multiple Comparison Procedure for Comparing Several Treatments with a Control",
JASA 50. With n seeds in each row and in the baseline, the t-statistic of row i is

    t_i = (mean_i - mean_0) / (s * sqrt(2 / n))

where s is the standard deviation pooled over all rows. All t_i share the baseline's mean and s.
Given these two the rows are independent, so the probability that no |t_i| of k rows exceeds a
bound b is a smooth integral over two variables only (Dunnett's equation for the two-sided case):

    P(b) = E_u E_z  [ Phi(z + sqrt(2) b u) - Phi(z - sqrt(2) b u) ]^k

    z    the baseline's mean in units of its own standard error: standard normal
    u    s in units of the true deviation: chi of f degrees of freedom, divided by sqrt(f)

Quadrature computes it to about ten digits. The critical value and the p-values come from this one
function, so they cannot disagree.
"""

import math

import numpy
from scipy import optimize, special, stats

NUM_NODES = 160
"""Nodes of each variable: twice as many change no digit that is printed anywhere."""
NEGLIGIBLE = 1e-13
"""Probability that is left out at each end of a variable's range."""


class LargestStatistic:
    """The distribution of the largest |t| of all rows, where no row truly differs."""

    def __init__(self, num_rows: int, freedom: int) -> None:
        """Prepare the quadrature: nodes and weights of both variables.

        Args:
            num_rows: rows beside the baseline.
            freedom: degrees of freedom of the pooled variance.
        """
        nodes, weights = numpy.polynomial.legendre.leggauss(NUM_NODES)
        self._num_rows = num_rows

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
        width = math.sqrt(2) * bound * self._deviations[:, None]  # [deviations, 1]
        # The probability for a single row, given deviation and mean: [deviations, means].
        inside = special.ndtr(self._means + width) - special.ndtr(self._means - width)
        return float((self._weights * inside**self._num_rows).sum())

    def critical_value(self, level: float) -> float:
        """Return the bound that no |t| exceeds with a probability of `level`."""

        def excess(bound: float) -> float:
            return self.cdf(bound) - level

        high = 4.0
        # With a single degree of freedom the tails are very long.
        while excess(high) < 0:
            high *= 2
        return float(optimize.brentq(excess, 0.0, high, xtol=1e-12))
