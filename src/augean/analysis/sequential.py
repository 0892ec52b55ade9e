"""Verdicts that survive peeking: a group-sequential design for rows against one baseline. See
docs/settle.md.

Look n compares the first n seeds of a row with the first n of the baseline, for n from `least` to
`most`. Each look has a two-sided level of its own, so chosen that all intervals of a row, of every
look, hold together with 1 - alpha / rows: repeated confidence intervals (Jennison and Turnbull
1989) by alpha spending (Lan and DeMets 1983).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy
from scipy import optimize, special

from augean.analysis.run import Run
from augean.analysis.verdict import Difference, Progress, Verdict, is_flattered
from augean.store.summary import RunState
from augean.store.sweep_record import SweepJob, SweepRecord

Array = numpy.ndarray[Any, Any]
Cells = Sequence[tuple[SweepJob, Run]]
"""A sweep's jobs, each with its run."""
METHOD = "Welch's t, equal spending"
SPENT = 0.65
"""Share of alpha that is spent. The levels are those of normal scores with known variances; t
statistics of few seeds cross them more often, at worst 1.5 times as often, where one variance is
far above the other (docs/settle.md)."""
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


@dataclass(frozen=True)
class Course:
    """A row's comparison with the baseline up to now."""

    row: str
    n: int
    """Seeds that both have, in an unbroken order."""
    looks: list[int]
    """Seeds at each look, up to the one that settled the row: later seeds change the means, not the
    verdict."""
    differences: list[float]
    """Row minus baseline at each look, in percentage points."""
    halves: list[float]
    """Half-widths of the intervals around them."""
    verdict: Verdict
    progress: Progress
    margin: float
    """Percentage points: what lies within it is equivalent."""
    diverged_rows: tuple[str, ...]
    """The row, the baseline or both, where they have diverged runs."""
    expected: int
    """Seeds at which it would be settled if means and deviations stayed as they are; `most` where
    it would not be."""

    @property
    def open(self) -> bool:
        """Whether more seeds may settle it."""
        return self.progress is Progress.OPEN

    @property
    def difference(self) -> Difference:
        """The last look; without bounds where no interval was to be had."""
        value = self.differences[-1] if self.looks else math.nan
        half = self.halves[-1] if self.looks else math.nan
        if math.isinf(half):
            half = math.nan
        settled = self.progress is Progress.SETTLED
        return Difference(
            value=value,
            low=value - half,
            high=value + half,
            verdict=self.verdict,
            n=self.looks[-1] if settled else self.n,
            margin=self.margin,
            progress=self.progress,
            diverged_rows=self.diverged_rows,
        )

    @property
    def text(self) -> str:
        """The verdict in words, with the seeds that it took."""
        return self.difference.text


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


def intervals(row: Array, baseline: Array, design: Design, num_rows: int) -> tuple[Array, Array]:
    """Difference of the means, row minus baseline, and half-width of its interval, at each look.

    Welch's t-interval (1947) at the look's level. Where neither has any spread it is infinite.

    Args:
        row: scores in the order of their seeds, shape (..., n).
        baseline: the same shape.
        design: of which `margin` plays no part here.
        num_rows: compared with the baseline; each gets an equal part of alpha (Bonferroni).

    Returns:
        Two arrays of shape (..., looks).
    """
    n = numpy.arange(design.least, min(row.shape[-1], design.most) + 1)
    level = levels(SPENT * design.alpha / num_rows, design.least, design.most)[: len(n)]
    mean, square = _running(row, n)
    mean0, square0 = _running(baseline, n)
    with numpy.errstate(divide="ignore", invalid="ignore"):
        freedom = (square + square0) ** 2 / ((square**2 + square0**2) / (n - 1))
        half = special.stdtrit(freedom, 1 - level / 2) * numpy.sqrt(square + square0)
    return mean - mean0, numpy.where(square + square0 > 0, half, numpy.inf)


def _running(scores: Array, n: Array) -> tuple[Array, Array]:
    """Mean and squared standard error of the first n scores, for each n."""
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


def follow(record: SweepRecord, cells: Cells) -> list[Course]:
    """Compare each row of a settled sweep with the baseline, in the order of their first jobs.

    A row with a diverged run is never better or equivalent, nor is one worse than, or equivalent
    to, a baseline with any: its scores are those of the survivors.
    """
    design = design_of(record)
    scores, diverged = _in_order(cells)
    rows = {job.row for job in record.jobs if job.trial is None} - {record.baseline}
    baseline = record.baseline or ""
    baseline_scores = scores.pop(baseline, [])
    return [
        _course(
            row,
            own,
            baseline,
            baseline_scores,
            diverged=diverged & {row, baseline},
            design=design,
            num_rows=len(rows),
        )
        for row, own in scores.items()
    ]


def judge(record: SweepRecord, cells: Cells) -> tuple[dict[str, Difference], str]:
    """Return every row's difference to the baseline, and the design in words for the caption."""
    design = design_of(record)
    method = (
        f"a sequential design ({design.least} to {design.most} seeds, a look after each; Welch's t"
        f" with repeated confidence intervals that spend {design.alpha:.0%} over all looks and"
        " rows): seeds were added only to rows that were undecided, and the intervals of all looks"
        f" hold together with {1 - design.alpha:.0%}"
    )
    differences = {str(record.baseline): Difference(verdict=Verdict.BASELINE)}
    for course in follow(record, cells):
        differences[course.row] = course.difference
    return differences, method


def _in_order(cells: Cells) -> tuple[dict[str, list[float]], set[str]]:
    """Return scores in percent by row, in the order of the seeds, and the rows with diverged runs.

    A row's scores end before its first seed that is not finished: which seeds count must not depend
    on which were done first, as a slow run may be a bad one.
    """
    scores: dict[str, list[float]] = {job.row: [] for job, _ in cells}
    diverged: set[str] = set()
    broken: set[str] = set()
    counted: set[tuple[str, int]] = set()
    for job, run in sorted(cells, key=lambda cell: cell[0].seed):
        if run.state is RunState.DIVERGED:
            diverged.add(job.row)
        elif run.test_accuracy is None:
            broken.add(job.row)
        elif job.row not in broken and (job.row, job.seed) not in counted:
            counted.add((job.row, job.seed))
            scores[job.row].append(100 * run.test_accuracy)
    return scores, diverged


def _course(
    row: str,
    own: Sequence[float],
    baseline: str,
    control: Sequence[float],
    *,
    diverged: set[str],
    design: Design,
    num_rows: int,
) -> Course:
    n = min(len(own), len(control), design.most)
    scores = numpy.array(own[:n], float)
    control_scores = numpy.array(control[:n], float)
    looks = list(range(design.least, n + 1))
    difference = numpy.empty(0)
    half = numpy.empty(0)
    if looks:
        difference, half = intervals(scores, control_scores, design, num_rows)
    # The first look that decides has settled the row: later seeds do not change the verdict.
    codes = verdicts(difference, half, design.margin)
    num_looks = len(looks)
    verdict = Verdict.UNDECIDED
    if codes.any():
        first = int(codes.nonzero()[0][0])
        num_looks = first + 1
        verdict = VERDICT_OF_CODE[int(codes[first])]
    if is_flattered(verdict, row_diverged=row in diverged, baseline_diverged=baseline in diverged):
        verdict = Verdict.UNDECIDED
        progress = Progress.DIVERGED
    elif verdict is not Verdict.UNDECIDED:
        progress = Progress.SETTLED
    elif n == design.most:
        progress = Progress.EXHAUSTED
    else:
        progress = Progress.OPEN
    expected = n
    if verdict is Verdict.UNDECIDED:
        expected = _expected(scores, control_scores, design, num_rows)
    return Course(
        row=row,
        n=n,
        looks=looks[:num_looks],
        differences=difference[:num_looks].tolist(),
        halves=half[:num_looks].tolist(),
        verdict=verdict,
        progress=progress,
        margin=design.margin,
        diverged_rows=tuple(label for label in (row, baseline) if label in diverged),
        expected=expected,
    )


def _expected(row: Array, baseline: Array, design: Design, num_rows: int) -> int:
    """Return the look at which means and deviations as they are now would decide."""
    if len(row) < 2:
        return design.most
    level = levels(SPENT * design.alpha / num_rows, design.least, design.most)
    n = numpy.arange(design.least, design.most + 1)
    spread = row.var(ddof=1) + baseline.var(ddof=1)
    half = special.stdtrit(2 * (n - 1), 1 - level / 2) * numpy.sqrt(spread / n)
    decided = verdicts(row.mean() - baseline.mean(), half, design.margin) != 0
    decided &= (n > len(row)) & (spread > 0)
    if not decided.any():
        return design.most
    return int(n[decided.argmax()])
