"""The group-sequential design of `augean settle`: levels, intervals and verdicts of each look.

Look n compares the first n seeds of a row with the first n of the baseline, for n from `least` to
`most`. Each look has a two-sided level of its own, so chosen that all intervals of a row, of every
look, hold together with 1 - alpha / rows: repeated confidence intervals (Jennison and Turnbull
1989) by alpha spending (Lan and DeMets 1983). docs/internals/settling.md has the reasons.
"""

import math
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import NamedTuple

import numpy
from numpy.typing import NDArray
from scipy import optimize, special

from augean.analysis.verdict import MARGIN, Verdict
from augean.analysis.welch import degrees_of_freedom, safe_level
from augean.store.sweep_record import SweepRecord

METHOD = "Welch's t, equal spending"
SPENT = 0.8
"""Share of alpha that is spent. The levels are those of normal scores with known variances; t
statistics of few seeds cross them at more different looks, at worst 1.2 times as often, for any
number of rows, ratio of deviations, `least` and `most` (docs/internals/settling.md)."""
CROWDED = 2.0
"""Scores whose mean is less than so many standard deviations below 100 % are called crowded."""
NODES = 200
"""Of the quadrature; doubling them changes no level by more than 1e-9."""
VERDICT_OF_CODE = {
    0: Verdict.UNDECIDED,
    1: Verdict.BETTER,
    -1: Verdict.WORSE,
    2: Verdict.EQUIVALENT,
}
"""By the number that stands for it in arrays of verdicts."""


MAX_LOOKS = 200
"""Most seeds of a row: the levels of so many looks take a second to compute."""


@dataclass(frozen=True)
class Design:
    """What is fixed before the first look; the record of a settled sweep keeps it."""

    margin: float = MARGIN
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
    # The record also says there how many seeds each row is to have.
    names = {field.name for field in fields(Design)}
    settings = {name: value for name, value in record.design.items() if name in names}
    design = Design(**settings)
    seeds_fit = 2 < design.least <= design.most <= MAX_LOOKS
    numbers_fit = 0 < design.alpha < 1 and 0 < design.margin < math.inf
    if design.method != METHOD or not seeds_fit or not numbers_fit:
        raise ValueError(f"no design that can be judged: {design}")
    return design


@lru_cache(maxsize=64)
def levels(alpha: float, least: int, most: int) -> NDArray[numpy.float64]:
    """Return the two-sided level of each look, all looks together spending `alpha` in equal parts.

    For a sum of standard normal scores, by the recursion of Armitage, McPherson and Rowe (1969).
    Let f_k(s) be the density of the sum s at look k where no look before has decided. Then

        f_k(s) = integral over |r| < c_(k-1) of  f_(k-1)(r) * phi((s - r) / d_k) / d_k  dr

    with the bound c_k of look k and d_k^2 scores added since look k - 1. The bound c_k is the one
    that the sum crosses with probability alpha / looks, and the level is 2 Phi(-c_k / sqrt(n)).

    Returns:
        Shape (most - least + 1,).
    """
    share = alpha / (most - least + 1)
    abscissas, weights = numpy.polynomial.legendre.leggauss(NODES)
    # `nodes` are values of the sum and `masses` their probabilities, while no look has decided.
    # Before the first look all of it lies at 0.
    nodes = numpy.zeros(1)
    masses = numpy.ones(1)
    num_before = 0
    result = []
    for n in range(least, most + 1):
        scale = math.sqrt(n - num_before)  # d_k
        bound = _boundary(share, nodes, masses, scale, highest=40 * math.sqrt(n))
        result.append(2 * special.ndtr(-bound / math.sqrt(n)))

        # Only sums within the bound go on to the next look.
        steps = (bound * abscissas[:, None] - nodes) / scale  # [new nodes, nodes before]
        density = numpy.exp(-(steps**2) / 2) @ masses / (scale * math.sqrt(2 * math.pi))
        nodes = bound * abscissas
        masses = density * weights * bound
        num_before = n
    return numpy.array(result)


def _boundary(
    share: float,
    nodes: NDArray[numpy.float64],
    masses: NDArray[numpy.float64],
    scale: float,
    highest: float,
) -> float:
    """Return the bound that the sum crosses, on either side, with probability `share`.

    Args:
        share: probability, such as 0.01.
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


def look_levels(design: Design, num_rows: int) -> NDArray[numpy.float64]:
    """Return the level of Welch's interval at each look, whatever the deviations are.

    Args:
        design: its margin does not matter here.
        num_rows: compared with the baseline; each gets an equal part of alpha (Bonferroni).

    Returns:
        Shape (looks,).
    """
    alpha_of_row = SPENT * design.alpha / num_rows
    normal_levels = levels(alpha_of_row, design.least, design.most)
    result = []
    for n, level in enumerate(normal_levels.tolist(), start=design.least):
        result.append(safe_level(level, n, n))
    return numpy.array(result)


def intervals(
    row: NDArray[numpy.float64], baseline: NDArray[numpy.float64], design: Design, num_rows: int
) -> tuple[NDArray[numpy.float64], NDArray[numpy.float64]]:
    """Return the difference of the means, row minus baseline, and half its interval at each look.

    Welch's t-interval at the look's level. Where neither has any spread it is infinite.

    Args:
        row: scores in the order of their seeds, shape (..., n).
        baseline: the same shape.
        design: its margin does not matter here.
        num_rows: compared with the baseline.

    Returns:
        Two arrays of shape (..., looks).
    """
    n = _seeds_at_looks(row, design)
    level = look_levels(design, num_rows)[: len(n)]
    row_mean, row_squared_error = _running_means(row, n)
    baseline_mean, baseline_squared_error = _running_means(baseline, n)
    squared_error = row_squared_error + baseline_squared_error
    freedom = degrees_of_freedom(row_squared_error, baseline_squared_error, n, n)
    half_width = -special.stdtrit(freedom, level / 2) * numpy.sqrt(squared_error)
    half_width = numpy.where(squared_error > 0, half_width, numpy.inf)
    return row_mean - baseline_mean, half_width


def _seeds_at_looks(scores: NDArray[numpy.float64], design: Design) -> NDArray[numpy.int64]:
    """Return the number of seeds at each look that the scores, shape (..., n), are enough for."""
    last = min(scores.shape[-1], design.most)
    return numpy.arange(design.least, last + 1)


class Looks(NamedTuple):
    """What every look says of a row; arrays of shape (..., looks)."""

    difference: NDArray[numpy.float64]
    """Mean of the row minus that of the baseline."""
    half: NDArray[numpy.float64]
    """Half-width of its interval; infinite where there is none."""
    code: NDArray[numpy.int64]
    """The verdict, as a key of `VERDICT_OF_CODE`."""


def compare_looks(
    row: NDArray[numpy.float64], baseline: NDArray[numpy.float64], design: Design, num_rows: int
) -> Looks:
    """Compare a row with the baseline at each look; arguments as of `intervals`, in percent.

    Of crowded scores the bad seeds may not have been seen yet, and with them the mean would be
    lower. So crowded scores speak for nobody: such a row can only be worse, and to such a baseline
    a row can only be better. Where that is not so, there is no interval.
    """
    difference, half = intervals(row, baseline, design, num_rows)
    code = verdicts(difference, half, design.margin)
    n = _seeds_at_looks(row, design)
    flattered = is_crowded(row, n) & (code != -1)
    flattered |= is_crowded(baseline, n) & (code != 1)
    return Looks(
        difference=difference,
        half=numpy.where(flattered, numpy.inf, half),
        code=numpy.where(flattered, 0, code),
    )


def is_crowded(scores: NDArray[numpy.float64], n: NDArray[numpy.int64]) -> NDArray[numpy.bool_]:
    """Tell for each n whether the first n scores, in percent, crowd below 100 %.

    Their mean is then so close to 100 %, for their deviation, that they cannot lie evenly around
    it: most are nearly perfect and a few far below. Few seeds then often miss those few.

    Args:
        scores: shape (..., seeds).
        n: numbers of seeds, shape (looks,).

    Returns:
        Shape (..., looks).
    """
    mean, squared_error = _running_means(scores, n)
    deviation = numpy.sqrt(squared_error * n)
    crowded: NDArray[numpy.bool_] = 100 - mean <= CROWDED * deviation
    return crowded


def _running_means(
    scores: NDArray[numpy.float64], n: NDArray[numpy.int64]
) -> tuple[NDArray[numpy.float64], NDArray[numpy.float64]]:
    """Return the mean of the first n scores and its squared standard error, for each n.

    Two arrays of shape (..., looks).
    """
    # Less the first score, as equal scores must have a variance of exactly 0.
    first = scores[..., :1]
    offsets = scores - first
    mean = offsets.cumsum(-1)[..., n - 1] / n
    squares = (offsets**2).cumsum(-1)[..., n - 1] - n * mean**2
    # What is left of it is rounding.
    squares = numpy.where(squares > 1e-9, squares, 0)
    return mean + first, squares / ((n - 1) * n)


def verdicts(
    difference: NDArray[numpy.float64], half: NDArray[numpy.float64], margin: float
) -> NDArray[numpy.int64]:
    """Return what each interval says, as a key of `VERDICT_OF_CODE`; all of shape (..., looks)."""
    low = difference - half
    high = difference + half
    within = (-margin <= low) & (high <= margin)
    codes: NDArray[numpy.int64] = numpy.select([low > 0, high < 0, within], [1, -1, 2])
    return codes
