"""Two factors: a table by row and column, and whether the effect of one depends on the other.

The effect of a row in a column is its mean minus that of the first row. A contrast is how much that
effect differs from the one in the first column. All contrasts hold together with 95 % (Bonferroni).
Where Levene's test shows nothing, Student's t with the pooled variance of all cells; else the
contrast's own variance with the degrees of freedom of the smallest cell, which is safe for any
deviations (Hajek 1962, "Inequalities for the generalized Student's distribution").
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy
from scipy import stats

from augean.analysis.comparison import MARGIN, Table
from augean.analysis.simultaneous import LEVEL, LEVENE_LEVEL, Array
from augean.analysis.verdict import Verdict, verdict_of_interval

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
    means: Array
    """Test accuracy in percent, [rows, columns]; NaN where no run has a score."""
    contrasts: list[Contrast]
    """Empty where a cell has fewer than two scores, or a run diverged."""
    method: str

    @property
    def row_means(self) -> Array:
        """Mean over the columns, all cells equally; NaN where a cell is empty."""
        means: Array = self.means.mean(axis=1)
        return means

    @property
    def column_means(self) -> Array:
        """Mean over the rows, all cells equally; NaN where a cell is empty."""
        means: Array = self.means.mean(axis=0)
        return means

    @property
    def verdict(self) -> str:
        """Whether the effect of the row depends on the column, in words."""
        where = [item for item in self.contrasts if item.verdict in (Verdict.BETTER, Verdict.WORSE)]
        if where:
            most = max(where, key=lambda item: abs(item.value))
            return (
                f"The effect of the row depends on the column: {most.row} beside {self.rows[0]}"
                f" gains {most.value:+.2f} points more at {most.column} than at {self.columns[0]}"
                f" ({most.low:+.2f} to {most.high:+.2f})."
            )
        if not self.contrasts:
            return (
                "Whether the effect of the row depends on the column is not judged: each cell needs"
                " two scores, and no diverged run."
            )
        if all(item.verdict is Verdict.EQUIVALENT for item in self.contrasts):
            return f"The effect of the row is the same in all columns, within ±{MARGIN:g} points."
        return "Whether the effect of the row depends on the column is undecided."


def two_factors(table: Table) -> Factors | None:
    """Return a table by row and column; None where it has not at least two of each."""
    cells: dict[str, Cell] = {}
    for job, _ in table.sweep.cells:
        if job.column is None:
            return None
        cells[job.row] = (job.row.removesuffix(f", {job.column}"), job.column)
    rows = list(dict.fromkeys(row for row, _ in cells.values()))
    columns = list(dict.fromkeys(column for _, column in cells.values()))
    if len(rows) < 2 or len(columns) < 2:
        return None
    scores: dict[Cell, list[float]] = {}
    means = numpy.full((len(rows), len(columns)), math.nan)
    num_diverged = 0
    for item in table.rows:
        row, column = cells[item.label]
        scores[row, column] = item.scores
        means[rows.index(row), columns.index(column)] = item.accuracy.mean
        num_diverged += len(item.diverged)
    contrasts: list[Contrast] = []
    method = ""
    if not num_diverged and _all_repeated(scores, len(rows) * len(columns)):
        contrasts, method = interaction(scores, rows, columns)
    return Factors(rows=rows, columns=columns, means=means, contrasts=contrasts, method=method)


def _all_repeated(scores: Mapping[Cell, list[float]], num_cells: int) -> bool:
    """Tell whether every cell is there and has scores that differ."""
    if len(scores) < num_cells:
        return False
    return all(len(values) > 1 and min(values) < max(values) for values in scores.values())


def interaction(
    scores: Mapping[Cell, list[float]], rows: list[str], columns: list[str]
) -> tuple[list[Contrast], str]:
    """Return every contrast with the first row and the first column, and the method in words.

    Args:
        scores: of each cell, at least two that differ.
    """
    num_contrasts = (len(rows) - 1) * (len(columns) - 1)
    level = 1 - (1 - LEVEL) / num_contrasts / 2
    smallest = min(len(values) for values in scores.values())
    levene = math.nan
    if smallest > 2:
        levene = float(stats.levene(*scores.values(), center="mean").pvalue)
    is_pooled = math.isnan(levene) or levene >= LEVENE_LEVEL
    pooled_freedom = sum(len(values) - 1 for values in scores.values())
    squares = sum((len(values) - 1) * numpy.var(values, ddof=1) for values in scores.values())
    freedom = pooled_freedom if is_pooled else smallest - 1
    quantile = float(stats.t.ppf(level, freedom))
    contrasts = []
    for row in rows[1:]:
        for column in columns[1:]:
            value = 0.0
            variance = 0.0
            for cell, sign in _signs(row, column, rows[0], columns[0]).items():
                values = scores[cell]
                own = squares / pooled_freedom if is_pooled else numpy.var(values, ddof=1)
                value += sign * float(numpy.mean(values))
                variance += float(own) / len(values)
            half = quantile * math.sqrt(variance)
            contrasts.append(
                Contrast(row=row, column=column, value=value, low=value - half, high=value + half)
            )
    kind = "the pooled variance" if is_pooled else "variances of their own"
    return contrasts, f"{num_contrasts} contrasts by Student's t with {kind}, Bonferroni's level"


def _signs(row: str, column: str, first_row: str, first_column: str) -> dict[Cell, int]:
    return {
        (row, column): 1,
        (first_row, column): -1,
        (row, first_column): -1,
        (first_row, first_column): 1,
    }
