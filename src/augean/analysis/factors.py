"""Compare two factors: a table by row and column, and whether one's effect depends on the other.

Let m(r, c) be the mean of the cell in row r and column c, where 0 is the first row or column. The
effect of a row in a column is m(r, c) - m(0, c). A contrast is how much that effect differs from
the one in the first column:

    contrast(r, c) = m(r, c) - m(0, c) - m(r, 0) + m(0, 0)

Its variance is the sum of s^2 / n over these four cells. All contrasts hold together with 95 %
(Bonferroni). Two kinds of intervals, chosen as in `simultaneous`:

- Where variances look equal, and no cell is without a spread, Student's t, with s^2 pooled over all
  cells.
- Else each cell has its own s^2, and the degrees of freedom are those of the smallest cell. That is
  safe for any deviations (Hajek 1962, "Inequalities for the generalized Student's distribution").
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray
from scipy import stats

from augean.analysis.comparison import Table
from augean.analysis.simultaneous import LEVEL, levene_p, reason_against_pooling
from augean.analysis.verdict import MARGIN, Verdict, verdict_of_interval
from augean.terminal import counted

Cell = tuple[str, str]
"""Labels of a row and a column."""


@dataclass(frozen=True)
class Contrast:
    """How much the effect of a row in one column differs from that in the first column."""

    row: str
    column: str
    value: float
    """Percentage points."""
    low: float
    high: float
    """Bounds of the simultaneous 95 % interval."""

    @property
    def verdict(self) -> Verdict:
        """EQUIVALENT: the effects are alike; BETTER or WORSE: they differ."""
        return verdict_of_interval(self.low, self.high, MARGIN)


@dataclass(frozen=True)
class Factors:
    """A table by row and column."""

    rows: list[str]
    columns: list[str]
    means: NDArray[numpy.float64]
    """Test accuracy in percent, [rows, columns]; NaN where no run has a score."""
    contrasts: list[Contrast]
    """Empty where there is an obstacle."""
    method: str
    """How the contrasts were judged, in words for the caption."""
    obstacle: str = ""
    """Why there are no contrasts, in words."""

    @property
    def row_means(self) -> NDArray[numpy.float64]:
        """Mean over the columns, all cells equally; NaN where a cell is empty."""
        means: NDArray[numpy.float64] = self.means.mean(axis=1)
        return means

    @property
    def column_means(self) -> NDArray[numpy.float64]:
        """Mean over the rows, all cells equally; NaN where a cell is empty."""
        means: NDArray[numpy.float64] = self.means.mean(axis=0)
        return means

    @property
    def verdict_in_words(self) -> str:
        """Whether the effect of the row depends on the column."""
        if not self.contrasts:
            return (
                "Whether the effect of the row depends on the column is not judged:"
                f" {self.obstacle}."
            )
        verdicts = {item.verdict for item in self.contrasts}
        if verdicts & {Verdict.BETTER, Verdict.WORSE}:
            return self._largest_in_words()
        if verdicts == {Verdict.EQUIVALENT}:
            return f"The effect of the row is the same in all columns, within ±{MARGIN:g} points."
        return "Whether the effect of the row depends on the column is undecided."

    def _largest_in_words(self) -> str:
        """Return the largest of the contrasts whose interval excludes 0, in words."""
        shown = [item for item in self.contrasts if item.verdict in (Verdict.BETTER, Verdict.WORSE)]
        largest = max(shown, key=lambda item: abs(item.value))
        direction = "more" if largest.value > 0 else "fewer"
        return (
            f"The effect of the row depends on the column: {largest.row} beside {self.rows[0]}"
            f" gains {abs(largest.value):.2f} points {direction} at {largest.column} than at"
            f" {self.columns[0]} (interval {largest.low:+.2f} to {largest.high:+.2f})."
        )


def two_factors(table: Table) -> Factors | None:
    """Return a table by row and column; None where it has not at least two of each."""
    cells: dict[str, Cell] = {}
    for job, _ in table.sweep.job_runs:
        if job.column is None:
            return None
        # The label of a line is "sgd, 0.1".
        cells[job.row] = (job.row.removesuffix(f", {job.column}"), job.column)
    rows = list(dict.fromkeys(row for row, _ in cells.values()))
    columns = list(dict.fromkeys(column for _, column in cells.values()))
    if len(rows) < 2 or len(columns) < 2:
        return None
    scores: dict[Cell, list[float]] = {}
    means = numpy.full((len(rows), len(columns)), math.nan)
    diverged = []
    for line in table.rows:
        row, column = cells[line.label]
        scores[row, column] = line.scores
        means[rows.index(row), columns.index(column)] = line.accuracy.mean
        if line.num_diverged:
            diverged.append(line.label)
    if table.sweep.record.design:
        obstacle = "the scores decided how many seeds each cell has"
    else:
        obstacle = _find_obstacle(scores, diverged, len(rows) * len(columns))
    contrasts: list[Contrast] = []
    method = ""
    if not obstacle:
        contrasts, method = interaction(scores, rows, columns)
    return Factors(
        rows=rows,
        columns=columns,
        means=means,
        contrasts=contrasts,
        method=method,
        obstacle=obstacle,
    )


def _find_obstacle(
    scores: Mapping[Cell, list[float]], diverged: Sequence[str], num_cells: int
) -> str:
    """Return why the contrasts cannot be judged, in words; empty where they can.

    Args:
        diverged: labels of cells with diverged runs.
    """
    if diverged:
        # The other scores of such a cell are those of the survivors.
        return f"runs of {diverged[0]} diverged"
    if len(scores) < num_cells or min(len(values) for values in scores.values()) < 2:
        return "each cell needs two finished runs"
    if all(min(values) == max(values) for values in scores.values()):
        return "the seeds of each cell have one and the same score"
    return ""


def interaction(
    scores: Mapping[Cell, list[float]], rows: list[str], columns: list[str]
) -> tuple[list[Contrast], str]:
    """Return every contrast with the first row and the first column, and the method in words.

    Args:
        scores: of each cell, at least two; those of one cell at least differ.
    """
    num_contrasts = (len(rows) - 1) * (len(columns) - 1)
    spread = _spread(scores)
    error_per_contrast = (1 - LEVEL) / num_contrasts  # two-sided, by Bonferroni
    quantile = float(stats.t.ppf(1 - error_per_contrast / 2, spread.freedom))
    contrasts = []
    for row in rows[1:]:
        for column in columns[1:]:
            signs = _signs(row, column, rows[0], columns[0])
            value = 0.0
            squared_error = 0.0
            for cell, sign in signs.items():
                value += sign * float(numpy.mean(scores[cell]))
                squared_error += spread.variances[cell] / len(scores[cell])
            # Four cells without any spread say nothing about it.
            half = quantile * math.sqrt(squared_error) if squared_error else math.nan
            contrast = Contrast(
                row=row, column=column, value=value, low=value - half, high=value + half
            )
            contrasts.append(contrast)
    contrasts_text = counted(num_contrasts, "contrast")
    method = f"{contrasts_text}, by Student's t with {spread.kind} at Bonferroni's level"
    return contrasts, method


@dataclass(frozen=True)
class _Spread:
    """What is assumed about the variances of the cells."""

    variances: dict[Cell, float]
    freedom: int
    kind: str
    """In words."""


def _spread(scores: Mapping[Cell, list[float]]) -> _Spread:
    """Return one variance for all cells where pooling is sound, else each cell's own."""
    smallest = min(len(values) for values in scores.values())
    own = {}
    for cell, values in scores.items():
        # Rounding would leave equal scores a tiny variance, and so an interval.
        is_constant = min(values) == max(values)
        own[cell] = 0.0 if is_constant else float(numpy.var(values, ddof=1))
    groups = list(scores.values())
    if reason_against_pooling(groups, levene_p(groups)) is not None:
        return _Spread(variances=own, freedom=smallest - 1, kind="variances of their own")
    freedom = 0
    squares = 0.0
    for cell, values in scores.items():
        freedom += len(values) - 1
        squares += (len(values) - 1) * own[cell]
    pooled = dict.fromkeys(scores, squares / freedom)
    return _Spread(variances=pooled, freedom=freedom, kind="the pooled variance")


def _signs(row: str, column: str, first_row: str, first_column: str) -> dict[Cell, int]:
    """Return the sign of each of the four cells of a contrast."""
    return {
        (row, column): 1,
        (first_row, column): -1,
        (row, first_column): -1,
        (first_row, first_column): 1,
    }
