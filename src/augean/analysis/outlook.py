"""Estimate how many more runs would decide the undecided rows of a table.

An estimate for planning: it takes means and deviations as they are now to be the true ones.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy
from numpy.typing import NDArray
from scipy import special

from augean.analysis.comparison import Row, Table
from augean.analysis.sequential import follow
from augean.analysis.sequential_design import design_of
from augean.analysis.simultaneous import LEVEL
from augean.analysis.verdict import Verdict, is_flattered

MAX_SEEDS = 400
"""Seeds of a row beyond which nobody waits for a verdict."""


@dataclass
class Outlook:
    """What it would take to decide the rows that are undecided."""

    num_runs: int = 0
    """Further runs, including those of the baseline."""
    most: int = MAX_SEEDS
    """The largest number of seeds that is thought of, or that the sequential design allows."""
    hopeless: list[str] = field(default_factory=list)
    """Rows that would probably stay undecided even with `most` seeds."""
    exhausted: list[str] = field(default_factory=list)
    """Rows that have all the seeds that their sequential design allows."""
    single: list[str] = field(default_factory=list)
    """Rows, the baseline among them, that have too few seeds for any interval."""
    diverged: list[str] = field(default_factory=list)
    """Rows that stay undecided, as the means lie now, because runs of theirs or of the baseline
    diverged."""


def outlook(table: Table) -> Outlook:
    """Return what would decide the undecided rows of a table with a baseline."""
    rows = {row.label: row for row in table.rows}
    baseline = rows[str(table.baseline)]
    record = table.sweep.record
    courses = {}
    if record.design:
        courses = {item.row: item for item in follow(record, table.sweep.all_job_runs)}
        result = Outlook(most=design_of(record).most)
        seeds_needed = {row: course.expected for row, course in courses.items()}
    else:
        result = Outlook()
        seeds_needed = _seeds_needed(table, baseline)
    targets: dict[str, int] = {}
    for label, row in rows.items():
        if row.difference.verdict is not Verdict.UNDECIDED:
            continue
        # The reasons that more seeds do not help come first.
        if _stays_flattered(row, baseline):
            result.diverged.append(label)
        elif row.difference.n < 2:
            for item in _of_one_seed(row, baseline):
                if item not in result.single:
                    result.single.append(item)
        elif label in courses and not courses[label].open:
            result.exhausted.append(label)
        else:
            target = seeds_needed.get(label)
            if target is None:
                result.hopeless.append(label)
            else:
                targets[label] = target
    if targets and not record.design:
        # One row alone with more seeds would leave the table unequal, and its variances unpooled:
        # rows that are decided could become undecided.
        most = max(targets.values())
        targets = {label: most for label, row in rows.items() if row.accuracy.n > 1}
    result.num_runs = _further_runs(rows, baseline, targets)
    return result


def _of_one_seed(row: Row, baseline: Row) -> list[str]:
    """Return which of a row and its baseline has too few seeds to know anything of its spread."""
    labels = [item.label for item in (row, baseline) if item.accuracy.n < 2]
    # In a sequential design seeds after a missing one do not count, however many there are.
    return labels or [row.label]


def _stays_flattered(row: Row, baseline: Row) -> bool:
    """Return whether diverged runs forbid the verdict that more seeds would give the row."""
    # In a sequential design they end the comparison.
    if row.difference.diverged_rows:
        return True
    likely = Verdict.BETTER if row.difference.value > 0 else Verdict.WORSE
    return is_flattered(
        likely, row_diverged=row.num_diverged > 0, baseline_diverged=baseline.num_diverged > 0
    )


def _seeds_needed(table: Table, baseline: Row) -> dict[str, int | None]:
    """Return the number of seeds at which each undecided row would be decided; None beyond
    `MAX_SEEDS`.
    """
    num_compared = sum(row.accuracy.n > 1 for row in table.rows if row is not baseline)
    half_widths = _unit_half_widths(max(1, num_compared))
    result = {}
    for row in table.rows:
        if row.difference.verdict is Verdict.UNDECIDED and row.difference.n > 1:
            result[row.label] = _seeds_to_decide(row, baseline, half_widths)
    return result


def _unit_half_widths(num_rows: int) -> NDArray[numpy.float64]:
    """Return half-widths for 2, 3, ... seeds where the variances of both rows sum up to 1.

    By Bonferroni, which is a little wider than Dunnett's test: t(2 n - 2) / sqrt(n).

    Returns:
        Float [MAX_SEEDS - 1].
    """
    n = numpy.arange(2, MAX_SEEDS + 1)
    error_per_row = (1 - LEVEL) / num_rows  # two-sided, by Bonferroni
    quantiles = -special.stdtrit(2 * (n - 1), error_per_row / 2)
    half_widths: NDArray[numpy.float64] = quantiles / numpy.sqrt(n)
    return half_widths


def _seeds_to_decide(row: Row, baseline: Row, half_widths: NDArray[numpy.float64]) -> int | None:
    """Return the seeds of both rows at which the interval would decide; None where none would.

    Args:
        half_widths: see `_unit_half_widths`.
    """
    spread = math.hypot(row.accuracy.sd, baseline.accuracy.sd)
    # Not "<= 0": the spread may be NaN.
    if not spread > 0:
        return None
    distance = abs(row.difference.value)
    expected_halves = spread * half_widths
    excludes_zero = expected_halves < distance
    lies_within_margin = expected_halves <= row.difference.margin - distance
    decides = excludes_zero | lies_within_margin
    # The row is undecided now, so only more seeds than it has can decide. Index 0 means 2 seeds.
    decides[: row.difference.n - 1] = False
    if not decides.any():
        return None
    return int(decides.argmax()) + 2


def _further_runs(rows: Mapping[str, Row], baseline: Row, targets: Mapping[str, int]) -> int:
    """Return how many runs bring every row, and the baseline, to its number of seeds.

    Args:
        targets: seeds of each row that is to have more.
    """
    missing: Counter[str] = Counter()
    for label, target in targets.items():
        missing[label] = max(0, target - rows[label].accuracy.n)
    # The baseline needs as many seeds as the row that needs most.
    most = max(targets.values(), default=0)
    missing[baseline.label] = max(0, most - baseline.accuracy.n)
    return missing.total()
