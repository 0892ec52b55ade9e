"""Judge the statements of the course report by the tables of this one.

`augean.analysis` compares rows and gives verdicts. This module finds the rows that speak about a
statement, and says what their verdicts make of it: it holds, is within noise, is wrong, or cannot
be said here.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy
import pandas

from augean.analysis.comparison import Row, Table
from augean.analysis.load import Contents
from augean.analysis.recordings import read_probes
from augean.analysis.run import Run
from augean.analysis.simultaneous import compare
from augean.analysis.verdict import MARGIN, Difference, Verdict
from augean.report.tables import number
from augean.reproduction.likeness import same_hardware, same_test_set
from augean.reproduction.statements import (
    EXPECTATIONS,
    Judged,
    Judgement,
    Measure,
    Statement,
    course_report,
    num_last_epochs,
)

TABLES = ("table1_activation", "table2_weight_decay", "table3_width", "table4_optimizer")
"""Sweeps of the course report's own tables."""
BASE = "baseline"
"""Key of what the rows are compared with, beside their labels."""
# "dead units" is missing: that measure is judged without a difference.
UNITS: dict[Measure, str] = {
    "points": "points",
    "seconds": "seconds",
    "epochs": "epochs",
    "loss": "of loss",
}
"""The unit of a difference, by measure."""


class Comparison(NamedTuple):
    """A row beside what the statement compares it with."""

    difference: Difference
    n: int
    """The smaller number of values; 0 where one side has none."""
    other: str
    """What the row is compared with, in words."""
    base: Row | None = None
    """What the row is compared with; None where it is not there."""
    obstacle: str = ""
    """Why the two cannot be compared, in words; empty where they can."""


class Swing(NamedTuple):
    """How far the validation accuracy moves in the last epochs of a row's runs, in points."""

    least: float
    """Smallest distance of a run between its lowest and its highest epoch."""
    median: float
    most: float
    fall: float
    """Median of the runs' largest falls from one epoch to the next. Unlike the distances above, it
    does not grow where accuracy still rises."""

    @property
    def is_known(self) -> bool:
        """Whether every run has validation accuracies in these epochs."""
        return not math.isnan(self.median)


@dataclass
class Evidence:
    """What an outputs folder holds to judge statements by: its tables and metrics."""

    contents: Contents
    tables: Mapping[str, Table]
    """By the name of their sweep file."""
    metrics: pandas.DataFrame
    """Of all runs, as `recordings.read_metrics` returns them."""

    def judge(self, statement: Statement) -> Judged:
        """Return what the tables make of the statement."""
        # 1. Find the row. Without one, say what is missing.
        table = self.tables.get(statement.sweep)
        row = None if table is None else _find_row(table, statement.row)
        if table is None or row is None:
            reason = statement.unknown or _describe_absence(statement, table)
            return Judged(statement=statement, judgement=Judgement.CANNOT_BE_SAID, evidence=reason)
        if statement.measure == "dead units":
            return _judge_dead_units(statement, row)
        # 2. Compare it, and give the numbers as evidence.
        comparison = self._compare(statement, table, row)
        judgement = _conclude(statement, row, comparison)
        if comparison.obstacle:
            evidence = f"{row.label} and {comparison.other}: {comparison.obstacle}"
        elif math.isnan(comparison.difference.value):
            states = ", ".join(f"{count} {state}" for state, count in row.states.items())
            evidence = f"{row.label}: {states}; nothing to compare"
        else:
            evidence = _describe_comparison(statement.measure, row, comparison)
            evidence += _describe_published(statement, table)
        return Judged(statement=statement, judgement=judgement, evidence=evidence)

    def _compare(self, statement: Statement, table: Table, row: Row) -> Comparison:
        """Compare the row with the baseline, or with the same row of another table."""
        # `rows` are compared in one family: the more there are, the wider each interval.
        if statement.against:
            other_table = self.tables.get(statement.against)
            base = None if other_table is None else _find_row(other_table, row.label)
            # All statements of this kind compare tuned optimizers with those of Table 4.
            other = f"the same at one learning rate for all ({statement.against})"
            rows = [row]
        else:
            base = _find_row(table, str(table.baseline))
            other = str(table.baseline)
            rows = [item for item in table.rows if item is not base]
        if base is None:
            return Comparison(difference=Difference(), n=0, other=other)
        obstacle = ""
        if statement.measure == "seconds" and not same_hardware(row, base):
            obstacle = "on different hardware"
        if statement.against and not same_test_set(row, base):
            obstacle = "on different test images"
        # A comparison of scores knows whom the survivors flatter. Of other measures it does not
        # hold that more is better.
        if statement.measure != "points" and (row.num_diverged or base.num_diverged):
            obstacle = "runs diverged, and the numbers are those of the others"
        if row.runs and base.runs and obstacle:
            return Comparison(Difference(), n=0, other=other, base=base, obstacle=obstacle)
        values = {item.label: self.measure(statement.measure, table, item) for item in rows}
        # Not by its label, which is the row's own where it is a row of another table.
        values[BASE] = self.measure(statement.measure, table, base)
        n = min(len(values[BASE]), len(values[row.label]))
        if n == 0:
            return Comparison(difference=Difference(), n=0, other=other, base=base)
        # The table has made this comparison already; a settled row has seeds that came later.
        if statement.measure == "points" and not statement.against:
            n = row.difference.n
            return Comparison(difference=row.difference, n=n, other=other, base=base)
        diverged = {item.label: item.num_diverged for item in rows}
        diverged[BASE] = base.num_diverged
        # The margin of equivalence is in points of accuracy; other measures have none.
        margin = MARGIN if statement.measure == "points" else 0.0
        differences, _ = compare(values, BASE, diverged, margin)
        return Comparison(difference=differences[row.label], n=n, other=other, base=base)

    def measure(self, measure: Measure, table: Table, row: Row) -> list[float]:
        """Return one number for each finished run of the row; runs without the measure have none.

        - points: test accuracy in percent.
        - seconds: time of the run.
        - epochs: to the validation accuracy that every run of the table reaches.
        - loss: range of the loss along the gradient, mean over the probed steps.
        """
        if measure == "points":
            return row.scores
        if measure == "seconds":
            times = [summary.seconds for summary in row.summaries]
            return [seconds for seconds in times if seconds is not None]
        if measure == "epochs":
            return self._epochs_to_goal(table, row)
        return self._loss_ranges(row.runs)

    def _epochs_to_goal(self, table: Table, row: Row) -> list[float]:
        """Return the epochs until an accuracy that every run of the table reaches, for each run."""
        # The lowest of the runs' best accuracies: the highest goal that every run reaches.
        best_accuracies = [curve.max() for curve in self.curves(table.runs)]
        goal = min(best_accuracies, default=0.0)
        epochs = []
        for curve in self.curves(row.runs):
            index = int((curve >= goal).argmax())  # of the first True; epochs count from 1
            epochs.append(float(index + 1))
        return epochs

    def _loss_ranges(self, runs: Iterable[Run]) -> list[float]:
        """Return the mean range of the loss along the gradient, for each run that was probed."""
        ranges = []
        for run in runs:
            probes = read_probes(self.contents, run)
            if probes is None:
                continue
            # A step has one line for each distance along its gradient.
            losses_by_step = probes.groupby("step").loss
            range_by_step = losses_by_step.max() - losses_by_step.min()
            ranges.append(float(range_by_step.mean()))
        return ranges

    def curves(self, runs: Iterable[Run]) -> "list[pandas.Series[float]]":
        """Return validation accuracy in percent by epoch, one curve for each run that has any."""
        curves = []
        for run in runs:
            accuracies = self._accuracies.get(run.directory)
            # Metrics of a run without a validation set have no accuracies.
            if accuracies is not None and accuracies.notna().any():
                curves.append(100 * accuracies)
        return curves

    @cached_property
    def _accuracies(self) -> "dict[str, pandas.Series[float]]":
        """Validation accuracies by epoch, as fractions, by directory."""
        return dict(iter(self.metrics.groupby("directory", observed=True).val_accuracy))

    def swing(self, row: Row) -> Swing:
        """Return how far the accuracies of the last epochs lie apart in the row's runs."""
        # A row without curves gives NaN instead of an error.
        curves = self.curves(row.runs) or [pandas.Series([math.nan])]
        swings = []
        falls = []
        for curve in curves:
            tail = curve.tail(num_last_epochs(len(curve)))
            swings.append(float(tail.max() - tail.min()))
            # A curve that only rises has a negative "fall".
            falls.append(float(numpy.maximum(0, -tail.diff().min())))
        return Swing(
            least=float(numpy.min(swings)),
            median=float(numpy.median(swings)),
            most=float(numpy.max(swings)),
            fall=float(numpy.median(falls)),
        )

    def published_effects(self) -> list[float]:
        """Return how far the course report's rows lie from their common baseline, in points.

        Without signs; the smallest comes first. Only tables that were launched here count.
        """
        # Each table: row to the numbers that the course report has for it.
        published_tables = []
        for name in TABLES:
            if name in self.tables:
                published_tables.append(self.tables[name].sweep.record.reference)
        # The common baseline is a row of Table 1 under this name.
        baseline = math.nan
        for rows in published_tables:
            if "leaky_relu" in rows:
                baseline = rows["leaky_relu"]["test_accuracy"]
                break
        effects = []
        for rows in published_tables:
            for row in rows.values():
                effects.append(abs(row["test_accuracy"] - baseline))
        # The baseline itself is in every table, with the effect 0. NaN is not above 0 either.
        return sorted(effect for effect in effects if effect > 0)

    def recipes(self) -> list[tuple[str, float]]:
        """Return the settings of the recipe sweep with their distance to the report's numbers.

        The distance is the root mean square over the two optimizers that the report has a number
        for; settings without both are left out, and so are runs on other data than the report's.
        The closest comes first.
        """
        if "recipe" not in self.tables:
            return []
        distances: dict[str, list[float]] = {}
        for row in self.tables["recipe"].rows:
            # Labels such as "sgd, 0, never": what follows the optimizer is the setting.
            setting = row.label.partition(", ")[2]
            distances.setdefault(setting, []).append(row.published_difference)
        complete = []
        for setting, values in distances.items():
            mean_square = sum(value**2 for value in values) / len(values)
            distance = math.sqrt(mean_square)
            # Two optimizers; NaN where a row has no finished run, or one on other data.
            if len(values) == 2 and not math.isnan(distance):
                complete.append((setting, distance))
        return sorted(complete, key=lambda item: item[1])


def _judge_dead_units(statement: Statement, row: Row) -> Judged:
    """Judge whether dead units may be a cause.

    Without any they are not. That there are some does not prove that they are.
    """
    recorded = [summary.dead_units for summary in row.summaries if summary.dead_units is not None]
    if not recorded:
        evidence = "no run records which units are dead"
        return Judged(statement=statement, judgement=Judgement.CANNOT_BE_SAID, evidence=evidence)
    # A run records the share of dead channels by layer; the worst layer of any run counts.
    shares: list[float] = []
    for share_by_layer in recorded:
        shares += share_by_layer.values()
    most = max(shares, default=0.0)
    if most > 0:
        judgement = Judgement.CANNOT_BE_SAID
        channels = f"up to {most:.1%} of a layer's channels are"
    else:
        judgement = Judgement.WRONG
        channels = "no channel of any layer is"
    evidence = f"{row.label}: {channels} zero on every test image (n = {len(recorded)})"
    return Judged(statement=statement, judgement=judgement, evidence=evidence)


def _conclude(statement: Statement, row: Row, comparison: Comparison) -> Judgement:
    """Return the judgement that follows from the row's verdict."""
    verdict = comparison.difference.verdict
    expectation = EXPECTATIONS[statement.expected]
    # Where every seed diverged there is no mean to compare, yet the row does not converge.
    says_less_accurate = statement.measure == "points" and statement.expected == "less"
    if says_less_accurate and _never_converges(row) and _always_converges(comparison.base):
        return Judgement.HOLDS
    if comparison.n < 2 or verdict is Verdict.NOT_COMPARED:
        return Judgement.CANNOT_BE_SAID
    if verdict in expectation.holds:
        return Judgement.HOLDS
    if verdict in expectation.wrong:
        return Judgement.WRONG
    # "Within noise" means that more seeds could prove the statement; nothing could prove this one.
    if not expectation.holds:
        return Judgement.CANNOT_BE_SAID
    return Judgement.WITHIN_NOISE


def _never_converges(row: Row) -> bool:
    """Return whether all runs of a row, at least two, have diverged."""
    return len(row.diverged) == row.states.total() >= 2


def _always_converges(row: Row | None) -> bool:
    """Return whether a row has at least two finished runs, and none that diverged."""
    return row is not None and row.accuracy.n >= 2 and not row.num_diverged


def _describe_absence(statement: Statement, table: Table | None) -> str:
    """Say what is missing, and the target of the Makefile that makes it."""
    if table is not None:
        rows = ", ".join(row.label for row in table.rows)
        return f"{statement.sweep} has no row {statement.row}; it has {rows}"
    target = course_report().sweeps[statement.sweep].make
    return f"not run: make {target}"


def _describe_comparison(measure: Measure, row: Row, comparison: Comparison) -> str:
    """Return the difference with its interval and number of runs, in words."""
    difference = comparison.difference
    digits = 4 if measure == "loss" else 2  # losses differ in later digits than the rest
    value = number(difference.value, digits, signed=True)
    interval = "no interval"
    if not math.isnan(difference.low) and not math.isnan(difference.high):
        low = number(difference.low, digits, signed=True)
        high = number(difference.high, digits, signed=True)
        interval = f"{low} to {high}"
    text = f"{row.label} against {comparison.other}: {value} {UNITS[measure]}"
    return f"{text} ({interval}, n = {comparison.n})"


def _find_row(table: Table, label: str) -> Row | None:
    """Return the row of that label; for "<" and ">" the one before or after the baseline."""
    target_label = _neighbour(table, label) if label in ("<", ">") else label
    for row in table.rows:
        if row.label == target_label:
            return row
    return None


def _neighbour(table: Table, side: str) -> str | None:
    """Return the label next to the baseline's by number; None where labels are not numbers."""
    # ValueError: a label is not a number, or the baseline is not among the labels.
    try:
        labels = sorted((row.label for row in table.rows), key=float)
        place = labels.index(str(table.baseline))
    except ValueError:
        return None
    place += 1 if side == ">" else -1
    if place < 0 or place >= len(labels):
        return None
    return labels[place]


def _describe_published(statement: Statement, table: Table) -> str:
    """Return what the course report has for the same difference, in words."""
    key = {"points": "test_accuracy", "seconds": "seconds"}.get(statement.measure)
    if statement.against or key is None:
        return ""
    published_rows = table.sweep.record.reference
    row = _find_row(table, statement.row)
    published = {} if row is None else published_rows.get(row.label, {})
    published_baseline = published_rows.get(str(table.baseline), {})
    if key not in published or key not in published_baseline:
        return ""
    difference = published[key] - published_baseline[key]
    return f"; published {number(difference, signed=True)}"
