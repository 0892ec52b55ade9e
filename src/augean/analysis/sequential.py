"""Verdicts that survive peeking: a group-sequential design for rows against one baseline. See
docs/settle.md.

Look n compares the first n seeds of a row with the first n of the baseline, for n from `least` to
`most`. Each look has a two-sided level of its own, so chosen that all intervals of a row, of every
look, hold together with 1 - alpha / rows: repeated confidence intervals (Jennison and Turnbull
1989) by alpha spending (Lan and DeMets 1983).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, NamedTuple

import numpy
from scipy import optimize, special

from augean.store.sweep_record import SweepJob, SweepRecord

Array = numpy.ndarray[Any, Any]
Cells = Sequence[tuple[SweepJob, Mapping[str, Any]]]
"""A sweep's jobs, each with its run as `augean.report.load` has it."""
METHOD = "Welch's t, equal spending"
SPENT = 0.65
"""Share of alpha that is spent. The levels are those of normal scores with known variances; t
statistics of few seeds cross them more often, at worst 1.5 times as often, where one variance is
far above the other (docs/settle.md)."""
NODES = 200
"""Of the quadrature; doubling them changes no level by more than 1e-9."""


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


class Difference(NamedTuple):
    """A row minus the baseline, in percentage points."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    """Bounds of the simultaneous 95 % interval."""
    p: float = math.nan
    """Adjusted for the number of rows compared."""
    verdict: str = "-"


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
    verdict: str
    """better, worse, equivalent or undecided."""
    settled: bool
    stuck: str = ""
    """Why more seeds would not help an undecided row."""
    expected: int = 0
    """Seeds at which it would be settled if means and deviations stayed as they are; `most` where
    it would not be."""

    @property
    def open(self) -> bool:
        """Whether more seeds may settle it."""
        return not self.settled and not self.stuck

    @property
    def difference(self) -> Difference:
        """At the last look; without bounds where no interval was to be had."""
        value, half = (
            (self.differences[-1], self.halves[-1]) if self.looks else (math.nan, math.nan)
        )
        half = math.nan if math.isinf(half) else half
        return Difference(value, value - half, value + half, verdict=self.text)

    @property
    def text(self) -> str:
        """The verdict, with the seeds that it took."""
        state = (
            f"settled at n={self.looks[-1]}"
            if self.settled
            else self.stuck or f"not settled, n={self.n}"
        )
        return f"{self.verdict} ({state})"


def design_of(record: SweepRecord) -> Design:
    """The design of a settled sweep, the usual one for any other.

    Raises:
        ValueError: when the record holds another one than this Augean can judge.
    """
    kept = {
        field.name: record.design[field.name]
        for field in fields(Design)
        if field.name in record.design
    }
    design = Design(**kept)
    if (
        design.method != METHOD
        or not 2 < design.least <= design.most
        or not 0 < design.alpha < 1
        or design.margin <= 0
    ):
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
    x, weights = numpy.polynomial.legendre.leggauss(NODES)
    part, found = alpha / (most - least + 1), []
    nodes, masses, before = numpy.zeros(1), numpy.ones(1), 0
    for n in range(least, most + 1):
        scale = math.sqrt(n - before)

        def crossing(
            bound: float, scale: float = scale, nodes: Array = nodes, masses: Array = masses
        ) -> float:
            outside = special.ndtr((-bound - nodes) / scale) + special.ndtr((nodes - bound) / scale)
            return float(masses @ outside) - part

        bound = optimize.brentq(crossing, 0, 40 * math.sqrt(n), xtol=1e-12)
        found.append(2 * special.ndtr(-bound / math.sqrt(n)))
        steps = (bound * x[:, None] - nodes) / scale
        density = numpy.exp(-(steps**2) / 2) @ masses / (scale * math.sqrt(2 * math.pi))
        nodes, masses, before = bound * x, density * weights * bound, n
    return numpy.array(found)


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
    (mean, square), (mean0, square0) = _running(row, n), _running(baseline, n)
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
    """What each interval says: 0 undecided, 1 better, -1 worse, 2 equivalent."""
    low, high = difference - half, difference + half
    found: Array = numpy.select(
        [low > 0, high < 0, (-margin <= low) & (high <= margin)], [1, -1, 2]
    )
    return found


def follow(record: SweepRecord, cells: Cells) -> list[Course]:
    """Each row of a settled sweep but the baseline, in the order of their first jobs.

    A row with a diverged run is never better or equivalent, nor is one worse than, or equivalent
    to, a baseline with
    any: its scores are those of the survivors.
    """
    design, (scores, diverged) = design_of(record), _in_order(cells)
    rows = {job.row for job in record.jobs if job.trial is None} - {record.baseline}
    baseline = scores.pop(record.baseline or "", [])
    return [
        _course(row, own, baseline, record.baseline, diverged, design, len(rows))
        for row, own in scores.items()
    ]


def judge(record: SweepRecord, cells: Cells) -> tuple[dict[str, Difference], str]:
    """Every row's difference to the baseline with its verdict, and the design in words for the
    table's caption.
    """
    design = design_of(record)
    method = (
        f"a sequential design ({design.least} to {design.most} seeds, a look after each; Welch's t"
        f" with repeated confidence intervals that spend {design.alpha:.0%} over all looks and"
        " rows): seeds were added only to rows that were undecided, and the intervals of all looks"
        f" hold together with {1 - design.alpha:.0%}"
    )
    rows = {course.row: course.difference for course in follow(record, cells)}
    return {str(record.baseline): Difference(verdict="baseline"), **rows}, method


def _in_order(cells: Cells) -> tuple[dict[str, list[float]], set[str]]:
    """Scores in percent by row, by seed up to the first one that is not over; and the rows with
    diverged runs.

    Which seeds count must not depend on which were done first: a slow run may be a bad one.
    """
    scores: dict[str, list[float]] = {job.row: [] for job, _ in cells}
    diverged, broken, seen = set[str](), set[str](), set[tuple[str, int]]()
    for job, run in sorted(cells, key=lambda cell: cell[0].seed):
        score = run.get("test_accuracy") if run["state"] == "finished" else None
        if run["state"] == "diverged":
            diverged.add(job.row)
        elif score is None:
            broken.add(job.row)
        elif job.row not in broken and (job.row, job.seed) not in seen:
            seen.add((job.row, job.seed))
            scores[job.row].append(100 * score)
    return scores, diverged


def _course(
    row: str,
    own: Sequence[float],
    control: Sequence[float],
    baseline: str | None,
    diverged: set[str],
    design: Design,
    num_rows: int,
) -> Course:
    n = min(len(own), len(control), design.most)
    a, b = numpy.array(own[:n], float), numpy.array(control[:n], float)
    looks = list(range(design.least, n + 1))
    difference, half = (
        intervals(a, b, design, num_rows) if looks else (numpy.empty(0), numpy.empty(0))
    )
    found = verdicts(difference, half, design.margin).tolist()
    end = next((index for index, value in enumerate(found) if value), len(found) - 1)
    verdict, lost = (
        found[end] if found else 0,
        [label for label in (row, baseline) if label in diverged],
    )
    if (row in lost and verdict != -1) or (baseline in lost and verdict != 1):
        verdict, stuck = 0, f"{' and '.join(map(str, lost))} diverged"
    else:
        stuck = f"{n} seeds, the most" if n == design.most and not verdict else ""
    names = {0: "undecided", 1: "better", -1: "worse", 2: f"equivalent within ±{design.margin:g}"}
    course = (
        looks[: end + 1],
        difference[: end + 1].tolist(),
        half[: end + 1].tolist(),
        names[verdict],
    )
    return Course(
        row, n, *course, bool(verdict), stuck, n if verdict else _expected(a, b, design, num_rows)
    )


def _expected(row: Array, baseline: Array, design: Design, num_rows: int) -> int:
    """The look at which means and deviations as they are now would decide."""
    if len(row) < 2:
        return design.most
    level = levels(SPENT * design.alpha / num_rows, design.least, design.most)
    n = numpy.arange(design.least, design.most + 1)
    spread = row.var(ddof=1) + baseline.var(ddof=1)
    half = special.stdtrit(2 * (n - 1), 1 - level / 2) * numpy.sqrt(spread / n)
    decided = verdicts(row.mean() - baseline.mean(), half, design.margin) != 0
    decided &= (n > len(row)) & (spread > 0)
    return int(n[decided.argmax()]) if decided.any() else design.most
