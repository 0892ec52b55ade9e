"""The group-sequential design of `augean settle`: levels, intervals and verdicts of each look.

Look n compares the first n seeds of a row with the first n of the baseline, for n from `least` to
`most`. Each look has a two-sided level of its own, so chosen that all intervals of a row, of every
look, hold together with 1 - alpha / rows: repeated confidence intervals (Jennison and Turnbull
1989) by alpha spending (Lan and DeMets 1983). docs/internals/settling.md has the reasons.
"""

import math
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, NamedTuple

import numpy
from scipy import optimize, special

from augean.analysis.verdict import Verdict
from augean.analysis.welch import degrees_of_freedom, safe_level
from augean.store.sweep_record import SweepRecord

Array = numpy.ndarray[Any, Any]
METHOD = "Welch's t, equal spending"
SPENT = 0.8
"""Share of alpha that is spent. The levels are those of normal scores with known variances; t
statistics of few seeds cross them at more different looks, at worst 1.2 times as often, for any
number of rows, ratio of deviations, `least` and `most` (docs/internals/settling.md)."""
CROWDED = 2.0
"""Scores whose mean is less than so many standard deviations below 100 % count as crowded."""
NODES = 200
"""Of the quadrature; doubling them changes no level by more than 1e-9."""
VERDICT_OF_CODE = {
    0: Verdict.UNDECIDED,
    1: Verdict.BETTER,
    -1: Verdict.WORSE,
    2: Verdict.EQUIVALENT,
}
"""By the number that stands for it in arrays of verdicts."""


@dataclass(frozen=True)
class Design:
    """What is fixed before the first look; the record of a settled sweep keeps it."""

    margin: float = 0.5
    """Percentage points: differences within it are called equivalent."""
    alpha: float = 0.05
    """Probability that any interval of the table, at any look, misses the true difference."""
    least: int = 3
    """Seeds of a row at its first look."""
    most: int = 20
    """Seeds after which a row stays undecided."""
    method: str = METHOD


def design_of(record: SweepRecord) -> Design:
    """Return the design of a settled sweep; for any other, the usual one.

    Raises:
        ValueError: when the record holds another one than this Augean can judge.
    """
    names = {field.name for field in fields(Design)}
    settings = {name: value for name, value in record.design.items() if name in names}
    design = Design(**settings)
    seeds_fit = 2 < design.least <= design.most
    numbers_fit = 0 < design.alpha < 1 and design.margin > 0
    if design.method != METHOD or not seeds_fit or not numbers_fit:
        raise ValueError(f"no design that can be judged: {design}")
    return design


@lru_cache(maxsize=64)
def levels(alpha: float, least: int, most: int) -> Array:
    """Two-sided level of each look, such that all looks together spend `alpha` in equal parts.

    The recursion of Armitage, McPherson and Rowe (1969) for a sum of normal scores, by
    Gauss-Legendre quadrature.

    Returns:
        Shape (most - least + 1,).
    """
    # `nodes` and `masses` are the distribution of the sum where no look has decided so far; before
    # the first look all of it lies at 0.
    x, weights = numpy.polynomial.legendre.leggauss(NODES)
    share = alpha / (most - least + 1)
    nodes = numpy.zeros(1)
    masses = numpy.ones(1)
    previous = 0
    look_levels = []
    for n in range(least, most + 1):
        scale = math.sqrt(n - previous)
        bound = _boundary(share, nodes, masses, scale, highest=40 * math.sqrt(n))
        look_levels.append(2 * special.ndtr(-bound / math.sqrt(n)))
        steps = (bound * x[:, None] - nodes) / scale
        density = numpy.exp(-(steps**2) / 2) @ masses / (scale * math.sqrt(2 * math.pi))
        nodes = bound * x
        masses = density * weights * bound
        previous = n
    return numpy.array(look_levels)


def _boundary(share: float, nodes: Array, masses: Array, scale: float, highest: float) -> float:
    """Return the bound that the sum crosses, on either side, with probability `share`.

    Args:
        nodes: sums at the look before, shape (nodes,).
        masses: their probabilities, the same shape.
        scale: standard deviation of what was added since.
        highest: where the search for the bound ends.
    """

    def excess(bound: float) -> float:
        below = special.ndtr((-bound - nodes) / scale)
        above = special.ndtr((nodes - bound) / scale)
        return float(masses @ (below + above)) - share

    return float(optimize.brentq(excess, 0, highest, xtol=1e-12))


def look_levels(design: Design, num_rows: int) -> Array:
    """Return the level of Welch's interval at each look, whatever the deviations are.

    Args:
        design: of which `margin` plays no part here.
        num_rows: compared with the baseline; each gets an equal part of alpha (Bonferroni).

    Returns:
        Shape (looks,).
    """
    of_normal_scores = levels(SPENT * design.alpha / num_rows, design.least, design.most)
    looks = range(design.least, design.most + 1)
    pairs = zip(looks, of_normal_scores.tolist(), strict=True)
    return numpy.array([safe_level(level, n, n) for n, level in pairs])


def intervals(row: Array, baseline: Array, design: Design, num_rows: int) -> tuple[Array, Array]:
    """Return the difference of the means, row minus baseline, and half its interval at each look.

    Welch's t-interval at the look's level. Where neither has any spread it is infinite.

    Args:
        row: scores in the order of their seeds, shape (..., n).
        baseline: the same shape.
        design: of which `margin` plays no part here.
        num_rows: compared with the baseline.

    Returns:
        Two arrays of shape (..., looks).
    """
    n = numpy.arange(design.least, min(row.shape[-1], design.most) + 1)
    level = look_levels(design, num_rows)[: len(n)]
    row_mean, row_squared_error = _running(row, n)
    baseline_mean, baseline_squared_error = _running(baseline, n)
    squared_error = row_squared_error + baseline_squared_error
    freedom = degrees_of_freedom(row_squared_error, baseline_squared_error, n, n)
    half = -special.stdtrit(freedom, level / 2) * numpy.sqrt(squared_error)
    return row_mean - baseline_mean, numpy.where(squared_error > 0, half, numpy.inf)


class Looks(NamedTuple):
    """What every look says of a row; arrays of shape (..., looks)."""

    difference: Array
    """Mean of the row minus that of the baseline."""
    half: Array
    """Half-width of its interval; infinite where there is none."""
    code: Array
    """The verdict, as a key of `VERDICT_OF_CODE`."""


def compare_looks(row: Array, baseline: Array, design: Design, num_rows: int) -> Looks:
    """Compare a row with the baseline at each look; arguments as of `intervals`, in percent.

    Of crowded scores the bad seeds may not have been seen yet, and with them the mean would be
    lower. So crowded scores speak for nobody: such a row can only be worse, and to such a baseline
    a row can only be better. Where that is not so, there is no interval.
    """
    difference, half = intervals(row, baseline, design, num_rows)
    code = verdicts(difference, half, design.margin)
    n = numpy.arange(design.least, min(row.shape[-1], design.most) + 1)
    flattered = is_crowded(row, n) & (code != -1)
    flattered |= is_crowded(baseline, n) & (code != 1)
    return Looks(
        difference=difference,
        half=numpy.where(flattered, numpy.inf, half),
        code=numpy.where(flattered, 0, code),
    )


def is_crowded(scores: Array, n: Array) -> Array:
    """Tell for each n whether the first n scores, in percent, crowd below 100 %.

    Their mean is then so close to 100 %, for their deviation, that they cannot lie evenly around
    it: most are nearly perfect and a few far below. Few seeds then often miss those few.
    """
    mean, squared_error = _running(scores, n)
    crowded: Array = 100 - mean <= CROWDED * numpy.sqrt(squared_error * n)
    return crowded


def _running(scores: Array, n: Array) -> tuple[Array, Array]:
    """Return mean and squared standard error of the first n scores, for each n."""
    first = scores[..., :1]
    moved = scores - first  # equal scores must have a variance of exactly 0
    mean = moved.cumsum(-1)[..., n - 1] / n
    squares = (moved**2).cumsum(-1)[..., n - 1] - n * mean**2
    return mean + first, numpy.where(squares > 1e-9, squares, 0) / ((n - 1) * n)


def verdicts(difference: Array, half: Array, margin: float) -> Array:
    """Return what each interval says, as a key of `VERDICT_OF_CODE`."""
    low = difference - half
    high = difference + half
    within = (-margin <= low) & (high <= margin)
    codes: Array = numpy.select([low > 0, high < 0, within], [1, -1, 2])
    return codes
