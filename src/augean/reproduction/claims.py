"""What the reference report claims, which rows of which table speak about it, and what they say.

Verdicts are those of `augean.analysis.comparison`; this module translates them: a statement holds,
is within noise, is wrong, or cannot be said here.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import pandas
from omegaconf import OmegaConf

from augean.analysis.comparison import MARGIN, Row, Table, compare
from augean.analysis.load import Contents, Run
from augean.analysis.sequential import Difference
from augean.report.tables import number, published
from augean.store.run_directory import runs_dir

TABLES = ("table1_activation", "table2_weight_decay", "table3_width", "table4_optimizer")
"""The report's own."""
LAST_EPOCHS = 10
"""Of the report's 35; of a run with fewer the same share, at least three."""
VERDICTS = {
    "more": (("better",), ("worse",)),
    "less": (("worse",), ("better",)),
    "not more": (("worse", "equivalent"), ("better",)),
    "refuted by more": ((), ("better",)),
}
"""By what is expected of a row: the table's verdicts with which that holds, and those with which it
is wrong."""
UNITS = {"points": "points", "seconds": "seconds", "epochs": "epochs", "loss": "of loss"}


@dataclass(frozen=True)
class Statement:
    """One thing that a claim says of a row of a sweep's table; its fields are explained in
    claims.yaml.
    """

    claim: int
    text: str
    sweep: str = ""
    row: str = ""
    expected: str = "more"
    measure: str = "points"
    against: str = ""
    unknown: str = ""


@cache
def reported() -> Any:
    """claims.yaml: statements, and what a full pass consists of."""
    content: Any = OmegaConf.to_container(OmegaConf.load(Path(__file__).with_name("claims.yaml")))
    return {**content, "statements": [Statement(**item) for item in content["statements"]]}


class Judged(NamedTuple):
    statement: Statement
    verdict: str
    """holds, within noise, wrong, or cannot be said here."""
    evidence: str
    """The number that says so."""


class Swing(NamedTuple):
    """Of the validation accuracy in a run's last epochs, in points; over the runs of a row."""

    least: float
    """Of the distances between lowest and highest epoch."""
    median: float
    most: float
    fall: float
    """Median of the runs' largest falls from one epoch to the next: what is left of it where
    accuracy still rises."""


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

    def judge(self, statement: Statement) -> Judged:
        """Ask the tables for their verdict and say what that makes of the statement."""
        table = self.tables.get(statement.sweep)
        row = None if table is None else _row(table, statement.row)
        if table is None or row is None:
            target = reported()["sweeps"].get(statement.sweep, {}).get("make")
            absent = f"{statement.sweep} has no such row" if table else f"not run: make {target}"
            return Judged(statement, "cannot be said here", statement.unknown or absent)
        found, n, method = self._compare(statement, table, row)
        word, (holds, wrong) = (
            found.verdict.split(",")[0].split(" ")[0],
            VERDICTS[statement.expected],
        )
        # Where every seed diverged there is no mean to compare; that the row does not converge is
        # plain all the same.
        lost = (
            row.diverged
            and not row.runs
            and (statement.measure, statement.expected) == ("points", "less")
        )
        verdict = "holds" if lost or word in holds else "wrong" if word in wrong else "within noise"
        if not lost and (n < 2 or word == "-" or (word not in wrong and not holds)):
            verdict = "cannot be said here"
        if math.isnan(found.value):
            states = ", ".join(f"{count} {state}" for state, count in row.states.items())
            return Judged(statement, verdict, f"{row.label}: {states}; nothing to compare")
        digits = 4 if statement.measure == "loss" else 2
        value, *bounds = (
            number(item, digits, signed=True) for item in (found.value, found.low, found.high)
        )
        interval = "no interval" if "-" in bounds else f"{bounds[0]} to {bounds[1]}"
        text = f"{row.label} against {method}: {value} {UNITS[statement.measure]}"
        return Judged(
            statement, verdict, f"{text} ({interval}, n = {n}){_published(statement, table)}"
        )

    def _compare(self, statement: Statement, table: Table, row: Row) -> tuple[Difference, int, str]:
        """The row's difference to what the statement compares it with, the smaller n, and that
        other's name.
        """
        if statement.against:
            other = self.tables.get(statement.against)
            base = None if other is None else _row(other, row.label)
            name, rows = f"the same at one learning rate for all ({statement.against})", [row]
        else:
            base, name, rows = _row(table, str(table.baseline)), str(table.baseline), table.rows
        if base is None:
            return Difference(), 0, name
        values = {
            item.label: self.measured(statement.measure, table, item.runs)
            for item in rows
            if item is not base
        }
        values["baseline"] = self.measured(statement.measure, table, base.runs)
        if not values["baseline"] or not values[row.label]:
            return Difference(), 0, name
        found = row.difference
        if statement.against or statement.measure != "points":
            diverged = {"baseline": len(base.diverged)} | {
                item.label: len(item.diverged) for item in rows
            }
            margin = MARGIN if statement.measure == "points" else 0.0
            found = compare(
                values, "baseline", {key: n for key, n in diverged.items() if n}, margin
            )[0][row.label]
        return found, min(len(values["baseline"]), len(values[row.label])), name

    def measured(self, measure: str, table: Table, runs: Sequence[Run]) -> list[float]:
        """One number a run.

        Points of test accuracy; seconds; epochs to the validation accuracy that every run of the
        table reaches; mean range of the loss along the gradient, over the probed steps.
        """
        if measure == "epochs":
            goal = min((curve.max() for curve in self.curves(table.runs)), default=0.0)
            return [float((curve >= goal).argmax()) + 1 for curve in self.curves(runs)]
        if measure == "loss":
            folder = runs_dir(self.contents.outputs)
            files = [folder / run["directory"] / "probe.csv" for run in runs]
            losses = [pandas.read_csv(file).groupby("step").loss for file in files if file.exists()]
            return [float((loss.max() - loss.min()).mean()) for loss in losses]
        return [
            run["seconds"] if measure == "seconds" else 100 * run["test_accuracy"] for run in runs
        ]

    def curves(self, runs: Iterable[Run]) -> "list[pandas.Series[float]]":
        """Validation accuracy in percent by epoch, one curve a run."""
        known = dict(iter(self.metrics.groupby("directory", observed=True).val_accuracy))
        return [100 * known[run["directory"]] for run in runs if run["directory"] in known]

    def swing(self, row: Row) -> Swing:
        """How far the last epochs of one run lie apart."""
        curves = self.curves(row.runs) or [pandas.Series([math.nan])]
        tails = [curve.tail(num_last_epochs(len(curve))) for curve in curves]
        swings = [float(tail.max() - tail.min()) for tail in tails]
        falls = [max(0.0, float(-tail.diff().min())) for tail in tails]
        return Swing(min(swings), median(swings), max(swings), median(falls))

    def effects(self) -> list[float]:
        """The differences to their common baseline that the report's four tables show, in
        points.
        """
        cited = [self.tables[name].sweep.record.reference for name in TABLES if name in self.tables]
        baseline = next(
            (rows["leaky_relu"]["test_accuracy"] for rows in cited if "leaky_relu" in rows),
            math.nan,
        )
        effects = [abs(row["test_accuracy"] - baseline) for rows in cited for row in rows.values()]
        return sorted(effect for effect in effects if effect > 0)

    def recipes(self) -> list[tuple[str, float]]:
        """Settings of the recipe sweep and the root mean square of their distances to the report,
        the closest first.
        """
        distances: dict[str, list[float]] = {}
        for row in self.tables["recipe"].rows if "recipe" in self.tables else ():
            distances.setdefault(row.label.partition(", ")[2], []).append(
                row.accuracy.mean - published(row)
            )
        rms = {
            key: math.sqrt(sum(value**2 for value in items) / len(items))
            for key, items in distances.items()
        }
        full = [
            (key, value)
            for key, value in rms.items()
            if len(distances[key]) == 2 and not math.isnan(value)
        ]
        return sorted(full, key=lambda item: item[1])

    def rivals(self) -> list[Rival]:
        """The final model as reported and as tuned here, and the stock run that both are compared
        with.
        """
        names = {"stock": "stock", "as reported": "final", "tuned": "tune_final"}
        rows = {
            key: self.tables[name].rows[:1] for key, name in names.items() if name in self.tables
        }
        found = {key: own[0] for key, own in rows.items() if own and own[0].runs}
        differences = dict.fromkeys(found, Difference())
        if "stock" in found:
            scores = {
                key: [100 * run["test_accuracy"] for run in row.runs] for key, row in found.items()
            }
            lost = {key: len(row.diverged) for key, row in found.items() if row.diverged}
            differences = compare(scores, "stock", lost)[0]
        time = found["stock"].seconds if "stock" in found else math.nan
        return [Rival(key, row, differences[key], row.seconds / time) for key, row in found.items()]


def num_last_epochs(epochs: int) -> int:
    """Of a run of so many epochs, those in which its accuracy has mostly risen; see
    `LAST_EPOCHS`.
    """
    whole: int = reported()["common"]["trainer.epochs"]
    return min(LAST_EPOCHS, max(3, round(LAST_EPOCHS * epochs / whole)))


def _row(table: Table, label: str) -> Row | None:
    if label in ("<", ">"):
        try:
            ordered = sorted((float(row.label), row.label) for row in table.rows)
            place = [name for _, name in ordered].index(str(table.baseline)) + (
                1 if label == ">" else -1
            )
            label = ordered[place][1] if place >= 0 else ""
        except (ValueError, IndexError):
            return None
    return next((row for row in table.rows if row.label == label), None)


def _published(statement: Statement, table: Table) -> str:
    """What the report has for the same difference; of widths, for those that stand in the same
    places.
    """
    key = {"points": "test_accuracy", "seconds": "seconds"}.get(statement.measure)
    cited, label, base = table.sweep.record.reference, statement.row, str(table.baseline)
    if label in ("<", ">") and len(cited) == 3:
        low, base, high = sorted(cited, key=float)
        label = low if label == "<" else high
    if statement.against or key not in cited.get(label, {}) or key not in cited.get(base, {}):
        return ""
    return f"; published {number(cited[label][key] - cited[base][key], signed=True)}"
