"""How many more runs would decide the undecided rows of a table, as far as its scores tell.

An estimate for planning: it takes means and deviations as they are now to be true ones.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy
from scipy import special

from augean.analysis.comparison import Row, Table
from augean.analysis.sequential import follow
from augean.analysis.simultaneous import LEVEL
from augean.analysis.verdict import Verdict

MOST_SEEDS = 400
"""Seeds of a row beyond which nobody waits for a verdict."""


@dataclass
class Outlook:
    """What it would take to decide the rows that are undecided."""

    num_runs: int = 0
    """Further runs, those of the baseline included."""
    hopeless: list[str] = field(default_factory=list)
    """Rows that the most seeds would probably leave undecided."""
    single: list[str] = field(default_factory=list)
    """Rows with one seed, or whose baseline has one: they tell nothing of the spread."""
    diverged: list[str] = field(default_factory=list)
    """Rows that stay undecided because runs of theirs or of the baseline diverged."""


def outlook(table: Table) -> Outlook:
    """Return what would decide the undecided rows of a table with a baseline."""
    rows = {row.label: row for row in table.rows}
    baseline = rows[str(table.baseline)]
    undecided = [row for row in table.rows if row.difference.verdict is Verdict.UNDECIDED]
    result = Outlook()
    targets: dict[str, int] = {}
    settled_targets = _settled_targets(table)
    num_compared = sum(row.accuracy.n > 1 for row in table.rows if row is not baseline)
    half_widths = _unit_half_widths(max(1, num_compared))
    for row in undecided:
        label = row.label
        if row.diverged or baseline.diverged or row.difference.diverged_rows:
            result.diverged.append(label)
        elif row.difference.n < 2:
            result.single.append(label)
        elif table.sweep.record.design:
            _note_target(result, targets, label, settled_targets.get(label))
        else:
            _note_target(result, targets, label, _seeds_to_decide(row, baseline, half_widths))
    result.num_runs = _further_runs(rows, baseline, targets)
    return result


def _note_target(result: Outlook, targets: dict[str, int], label: str, target: int | None) -> None:
    if target is None:
        result.hopeless.append(label)
    else:
        targets[label] = target


def _settled_targets(table: Table) -> Mapping[str, int | None]:
    """Return the seeds at which the sequential design would settle its open rows."""
    record = table.sweep.record
    if not record.design:
        return {}
    targets: dict[str, int | None] = {}
    for course in follow(record, table.sweep.cells):
        targets[course.row] = course.expected if course.open else None
    return targets


def _unit_half_widths(num_rows: int) -> numpy.ndarray[tuple[int], numpy.dtype[numpy.float64]]:
    """Return half-widths by seeds, from 2 on, where the variances of both rows sum up to 1.

    By Bonferroni, which is a little wider than Dunnett's test.
    """
    n = numpy.arange(2, MOST_SEEDS + 1)
    quantiles = -special.stdtrit(2 * (n - 1), (1 - LEVEL) / (2 * num_rows))
    widths: numpy.ndarray[tuple[int], numpy.dtype[numpy.float64]] = quantiles / numpy.sqrt(n)
    return widths


def _seeds_to_decide(
    row: Row,
    baseline: Row,
    half_widths: numpy.ndarray[tuple[int], numpy.dtype[numpy.float64]],
) -> int | None:
    """Return the seeds of both rows at which the interval would decide; None where none would."""
    spread = math.hypot(row.accuracy.sd, baseline.accuracy.sd)
    if not spread > 0:
        return None
    distance = abs(row.difference.value)
    halves = spread * half_widths
    decides = (halves < distance) | (halves <= row.difference.margin - distance)
    # Now it is undecided, so the number of seeds must grow.
    decides[: row.difference.n - 1] = False
    if not decides.any():
        return None
    return int(decides.argmax()) + 2


def _further_runs(rows: Mapping[str, Row], baseline: Row, targets: Mapping[str, int]) -> int:
    """Return how many runs bring every row, and the baseline, to its number of seeds."""
    missing: Counter[str] = Counter()
    for label, target in targets.items():
        missing[label] = max(0, target - rows[label].accuracy.n)
    most = max(targets.values(), default=0)
    missing[baseline.label] = max(0, most - baseline.accuracy.n)
    return missing.total()
