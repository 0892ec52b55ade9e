"""What the reference report claims, which rows of which table speak about it, and what they say.

The comparisons are those of `augean.analysis`. This module says what their verdicts make of a
statement: it holds, is within noise, is wrong, or cannot be said here.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, cached_property
from pathlib import Path
from statistics import median
from typing import Any, Literal, NamedTuple

import pandas
from omegaconf import OmegaConf

from augean.analysis.comparison import MARGIN, Row, Table, compare
from augean.analysis.load import Contents
from augean.analysis.run import Run
from augean.analysis.verdict import Difference, Verdict
from augean.report.landscape_figures import read_probes
from augean.report.tables import number, published

TABLES = ("table1_activation", "table2_weight_decay", "table3_width", "table4_optimizer")
"""Sweeps of the report's own tables."""
RIVALS = {"stock": "stock", "as reported": "final", "tuned": "tune_final"}
"""Sweeps of the final models and of the stock run, by what they are called."""
LAST_EPOCHS = 10
"""Of the report's 35; of a run with fewer epochs the same share, at least three."""
Measure = Literal["points", "seconds", "epochs", "loss", "dead units"]
UNITS: dict[Measure, str] = {
    "points": "points",
    "seconds": "seconds",
    "epochs": "epochs",
    "loss": "of loss",
}


class Finding(StrEnum):
    """What the tables make of a statement."""

    HOLDS = "holds"
    WITHIN_NOISE = "within noise"
    WRONG = "wrong"
    CANNOT_BE_SAID = "cannot be said here"


class Expectation(NamedTuple):
    """What a statement expects of a row."""

    holds: frozenset[Verdict]
    """The row's verdicts with which the statement holds."""
    wrong: frozenset[Verdict]
    """Those with which it is wrong."""


EXPECTATIONS = {
    "more": Expectation(
        holds=frozenset({Verdict.BETTER}),
        wrong=frozenset({Verdict.WORSE}),
    ),
    "less": Expectation(
        holds=frozenset({Verdict.WORSE}),
        wrong=frozenset({Verdict.BETTER}),
    ),
    "not more": Expectation(
        holds=frozenset({Verdict.WORSE, Verdict.EQUIVALENT}),
        wrong=frozenset({Verdict.BETTER}),
    ),
    "refuted by more": Expectation(
        holds=frozenset(),
        wrong=frozenset({Verdict.BETTER}),
    ),
}
"""By the word that claims.yaml has for it."""


@dataclass(frozen=True)
class Statement:
    """One thing that a claim says of a row of a sweep's table.

    claims.yaml explains the fields.
    """

    claim: int
    text: str
    sweep: str = ""
    row: str = ""
    expected: str = "more"
    measure: Measure = "points"
    against: str = ""
    unknown: str = ""


@cache
def reported() -> Any:
    """Return claims.yaml: statements, and what a full pass consists of."""
    content: Any = OmegaConf.to_container(OmegaConf.load(Path(__file__).with_name("claims.yaml")))
    return {**content, "statements": [Statement(**item) for item in content["statements"]]}


class Judged(NamedTuple):
    """A statement with what the tables make of it."""

    statement: Statement
    finding: Finding
    evidence: str
    """The number that says so."""


class Comparison(NamedTuple):
    """A row beside what the statement compares it with."""

    difference: Difference
    n: int
    """The smaller number of values; 0 where one side has none."""
    other: str
    """What the row is compared with, in words."""


class Swing(NamedTuple):
    """How far the validation accuracy moves in the last epochs of a row's runs, in points."""

    least: float
    """Smallest distance of a run between its lowest and its highest epoch."""
    median: float
    most: float
    fall: float
    """Median of the runs' largest falls from one epoch to the next: what is left of the movement
    where accuracy still rises."""


class Rival(NamedTuple):
    """A final model beside the stock run."""

    label: str
    row: Row
    difference: Difference
    share: float
    """Of the stock run's time."""


@dataclass
class Evidence:
    """What a folder of outputs has to say."""

    contents: Contents
    tables: Mapping[str, Table]
    """By the name of their sweep file."""
    metrics: pandas.DataFrame
    """Of all runs, as `load.read_metrics` returns them."""

    def judge(self, statement: Statement) -> Judged:
        """Return what the tables make of the statement."""
        table = self.tables.get(statement.sweep)
        row = None if table is None else _find_row(table, statement.row)
        if table is None or row is None:
            reason = statement.unknown or _absence(statement, table)
            return Judged(statement, Finding.CANNOT_BE_SAID, reason)
        if statement.measure == "dead units":
            return _judge_dead_units(statement, row)
        comparison = self._compare(statement, table, row)
        finding = _find(statement, row, comparison)
        if math.isnan(comparison.difference.value):
            states = ", ".join(f"{count} {state}" for state, count in row.states.items())
            return Judged(statement, finding, f"{row.label}: {states}; nothing to compare")
        evidence = _evidence(statement.measure, row, comparison) + _published(statement, table)
        return Judged(statement=statement, finding=finding, evidence=evidence)

    def _compare(self, statement: Statement, table: Table, row: Row) -> Comparison:
        """Compare the row with the baseline, or with the same row of another table."""
        if statement.against:
            other = self.tables.get(statement.against)
            base = None if other is None else _find_row(other, row.label)
            name = f"the same at one learning rate for all ({statement.against})"
            rows = [row]
        else:
            base = _find_row(table, str(table.baseline))
            name = str(table.baseline)
            rows = [item for item in table.rows if item is not base]
        if base is None:
            return Comparison(difference=Difference(), n=0, other=name)
        values = {item.label: self.measured(statement.measure, table, item) for item in rows}
        values["baseline"] = self.measured(statement.measure, table, base)
        n = min(len(values["baseline"]), len(values[row.label]))
        if n == 0:
            return Comparison(difference=Difference(), n=0, other=name)
        if statement.measure == "points" and not statement.against:
            return Comparison(difference=row.difference, n=n, other=name)
        diverged = {item.label: len(item.diverged) for item in rows}
        diverged["baseline"] = len(base.diverged)
        # How much is equivalent is said of accuracies only.
        margin = MARGIN if statement.measure == "points" else 0.0
        differences, _ = compare(values, "baseline", diverged, margin)
        return Comparison(difference=differences[row.label], n=n, other=name)

    def measured(self, measure: Measure, table: Table, row: Row) -> list[float]:
        """Return one number for each finished run of the row.

        Points of test accuracy; seconds; epochs to the validation accuracy that every run of the
        table reaches; mean range of the loss along the gradient, over the probed steps.
        """
        if measure == "points":
            return row.scores
        if measure == "seconds":
            times = [summary.seconds for summary in row.summaries]
            return [seconds for seconds in times if seconds is not None]
        if measure == "epochs":
            goal = min((curve.max() for curve in self.curves(table.runs)), default=0.0)
            return [float((curve >= goal).argmax()) + 1 for curve in self.curves(row.runs)]
        return self._loss_ranges(row.runs)

    def _loss_ranges(self, runs: Iterable[Run]) -> list[float]:
        ranges = []
        for run in runs:
            probes = read_probes(self.contents, run)
            if probes is None:
                continue
            loss = probes.groupby("step").loss
            ranges.append(float((loss.max() - loss.min()).mean()))
        return ranges

    def curves(self, runs: Iterable[Run]) -> "list[pandas.Series[float]]":
        """Return validation accuracy in percent by epoch, one curve a run that has one."""
        accuracies = self._accuracies
        return [100 * accuracies[run.directory] for run in runs if run.directory in accuracies]

    @cached_property
    def _accuracies(self) -> "dict[str, pandas.Series[float]]":
        """Validation accuracies by epoch, as fractions, by directory."""
        return dict(iter(self.metrics.groupby("directory", observed=True).val_accuracy))

    def swing(self, row: Row) -> Swing:
        """Return how far the last epochs of one run lie apart."""
        curves = self.curves(row.runs) or [pandas.Series([math.nan])]
        swings = []
        falls = []
        for curve in curves:
            tail = curve.tail(num_last_epochs(len(curve)))
            swings.append(float(tail.max() - tail.min()))
            falls.append(max(0.0, float(-tail.diff().min())))
        return Swing(least=min(swings), median=median(swings), most=max(swings), fall=median(falls))

    def effects(self) -> list[float]:
        """Return the sizes of the differences that the report's four tables show, in points.

        Each is that of a row to the tables' common baseline; the smallest comes first.
        """
        cited = [self.tables[name].sweep.record.reference for name in TABLES if name in self.tables]
        baseline = math.nan
        for rows in cited:
            if "leaky_relu" in rows:
                baseline = rows["leaky_relu"]["test_accuracy"]
                break
        effects = [abs(row["test_accuracy"] - baseline) for rows in cited for row in rows.values()]
        return sorted(effect for effect in effects if effect > 0)

    def recipes(self) -> list[tuple[str, float]]:
        """Return the settings of the recipe sweep with their distance to the report's numbers.

        The distance is the root mean square over the two optimizers that the report has a number
        for; settings without both are left out. The closest comes first.
        """
        if "recipe" not in self.tables:
            return []
        distances: dict[str, list[float]] = {}
        for row in self.tables["recipe"].rows:
            # Labels such as "sgd, 0, never": what follows the optimizer is the setting.
            setting = row.label.partition(", ")[2]
            distances.setdefault(setting, []).append(row.accuracy.mean - published(row))
        complete = []
        for setting, values in distances.items():
            distance = math.sqrt(sum(value**2 for value in values) / len(values))
            if len(values) == 2 and not math.isnan(distance):
                complete.append((setting, distance))
        return sorted(complete, key=lambda item: item[1])

    def rivals(self) -> list[Rival]:
        """Return the stock run, and the final model as reported and as tuned here beside it."""
        rows = {}
        for label, sweep in RIVALS.items():
            table = self.tables.get(sweep)
            if table is not None and table.rows and table.rows[0].runs:
                rows[label] = table.rows[0]
        differences = {label: Difference() for label in rows}
        time = math.nan
        if "stock" in rows:
            scores = {label: row.scores for label, row in rows.items()}
            diverged = {label: len(row.diverged) for label, row in rows.items()}
            differences, _ = compare(scores, "stock", diverged)
            time = rows["stock"].seconds
        return [
            Rival(label=label, row=row, difference=differences[label], share=row.seconds / time)
            for label, row in rows.items()
        ]


def num_last_epochs(epochs: int) -> int:
    """Return how many of a run's epochs are its end, in which its accuracy has mostly risen."""
    whole: int = reported()["common"]["trainer.epochs"]
    return min(LAST_EPOCHS, max(3, round(LAST_EPOCHS * epochs / whole)))


def _judge_dead_units(statement: Statement, row: Row) -> Judged:
    """Judge whether dead units may be the cause: without any they are not; with some, who knows."""
    recorded = [summary.dead_units for summary in row.summaries if summary.dead_units is not None]
    if not recorded:
        return Judged(statement, Finding.CANNOT_BE_SAID, "no run records which units are dead")
    most = max((share for layers in recorded for share in layers.values()), default=0.0)
    if most > 0:
        finding = Finding.CANNOT_BE_SAID
        channels = f"up to {most:.1%} of a layer's channels are"
    else:
        finding = Finding.WRONG
        channels = "no channel of any layer is"
    evidence = f"{row.label}: {channels} zero on every test image (n = {len(recorded)})"
    return Judged(statement, finding, evidence)


def _find(statement: Statement, row: Row, comparison: Comparison) -> Finding:
    verdict = comparison.difference.verdict
    expectation = EXPECTATIONS[statement.expected]
    # Where every seed diverged there is no mean to compare, yet the row does not converge.
    never_converges = bool(row.diverged) and not row.runs
    if never_converges and statement.measure == "points" and statement.expected == "less":
        return Finding.HOLDS
    if comparison.n < 2 or verdict is Verdict.NOT_COMPARED:
        return Finding.CANNOT_BE_SAID
    if verdict in expectation.holds:
        return Finding.HOLDS
    if verdict in expectation.wrong:
        return Finding.WRONG
    # "Within noise" means that more seeds could prove the statement; nothing could prove this one.
    if not expectation.holds:
        return Finding.CANNOT_BE_SAID
    return Finding.WITHIN_NOISE


def _absence(statement: Statement, table: Table | None) -> str:
    """Return what is missing, and the target that makes it."""
    if table is not None:
        return f"{statement.sweep} has no such row"
    target = reported()["sweeps"].get(statement.sweep, {}).get("make")
    return f"not run: make {target}"


def _evidence(measure: Measure, row: Row, comparison: Comparison) -> str:
    difference = comparison.difference
    digits = 4 if measure == "loss" else 2
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
    try:
        labels = sorted((row.label for row in table.rows), key=float)
        place = labels.index(str(table.baseline))
    except ValueError:
        return None
    place += 1 if side == ">" else -1
    if place < 0 or place >= len(labels):
        return None
    return labels[place]


def _published(statement: Statement, table: Table) -> str:
    """Return what the report has for the same difference, in words.

    The report's widths are others where the setting is reduced: those in the same places count.
    """
    key = {"points": "test_accuracy", "seconds": "seconds"}.get(statement.measure)
    if statement.against or key is None:
        return ""
    cited = table.sweep.record.reference
    label = statement.row
    base = str(table.baseline)
    if label in ("<", ">") and len(cited) == 3:
        low, base, high = sorted(cited, key=float)
        label = low if label == "<" else high
    if key not in cited.get(label, {}) or key not in cited.get(base, {}):
        return ""
    return f"; published {number(cited[label][key] - cited[base][key], signed=True)}"
