"""What a table may say about its rows: means over seeds with intervals, and a comparison with the baseline.

Accuracies are in percent here, so differences are in percentage points.
"""

import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy
from scipy import stats

from augean.report.load import Run, Sweep

LEVEL = 0.95
MARGIN = 0.5
"""Percentage points: differences within this margin are called equivalent."""
MOST_DUNNETT = 30
"""Rows beyond which Dunnett's integral takes seconds; above it Welch and Holm are used."""
FEW_SEEDS = 5
"""Below this Levene's test misses unequal variances so often that a table says so."""
STATES = ("finished", "diverged", "running", "interrupted", "failed", "missing")


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds; NaN stands for what n values cannot tell."""

    n: int
    mean: float
    half_width: float
    """Of the 95 % t-interval."""
    sd: float


@dataclass(frozen=True)
class Difference:
    """A row minus the baseline, in percentage points."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    """Bounds of the simultaneous 95 % interval."""
    p: float = math.nan
    """Adjusted for the number of rows compared."""
    verdict: str = "-"


@dataclass(frozen=True)
class Comparison:
    """All rows against the baseline, and how it was done."""

    differences: dict[str, Difference]
    method: str
    """A sentence for the caption; empty where nothing was compared."""


@dataclass(frozen=True)
class Row:
    label: str
    runs: list[Run]
    """The finished runs, one a seed."""
    accuracy: Estimate
    """Test accuracy in percent."""
    val_accuracy: float
    seconds: float
    """Median."""
    difference: Difference
    published: Mapping[str, float]
    states: Counter[str]
    """How many of the row's runs are in each state, every run once."""


@dataclass
class Table:
    """A sweep's rows with their statistics."""

    sweep: Sweep
    rows: list[Row]
    baseline: str | None
    """The row compared with, if it is there."""
    method: str
    warnings: list[str] = field(default_factory=list)

    @property
    def runs(self) -> list[Run]:
        """The runs that entered the means."""
        return [run for row in self.rows for run in row.runs]


def estimate(values: Sequence[float]) -> Estimate:
    """Mean, 95 % t-interval and standard deviation; the last two are NaN for fewer than two values."""
    n = len(values)
    if n < 2:
        return Estimate(n, values[0] if n else math.nan, math.nan, math.nan)
    sd = float(numpy.std(values, ddof=1))
    # Seeds that all gave one score say nothing about the spread: no interval rather than one of width 0.
    half_width = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * sd / math.sqrt(n) if sd > 0 else math.nan
    return Estimate(n, float(numpy.mean(values)), half_width, sd)


def compare(
    scores: Mapping[str, Sequence[float]],
    baseline: str,
    *,
    diverged: Mapping[str, int] | None = None,
    margin: float = MARGIN,
) -> Comparison:
    """Compare every row with the baseline at a family-wise level of 5 %.

    Dunnett's test, which pools the variances; where Levene's test (mean-centred: the median-centred form never rejects
    with three seeds) finds them unequal, where a row has no spread or where there are very many rows, Welch's t-tests
    with Holm's p-values and, as Holm's procedure has no two-sided intervals, Bonferroni's. The verdict is what the
    interval says, so it is at most as bold as Holm's. Rows with one seed take no part.

    Args:
        scores: per row one number a seed.
        diverged: per row the number of diverged runs. Scores of a row with any are those of the survivors, so it is
            never better or equivalent; nor is a row worse than, or equivalent to, a baseline with any.
        margin: the half-width of what counts as equivalent.
    """
    rows = [label for label in scores if label != baseline and len(scores[label]) > 1]
    if len(scores[baseline]) < 2 or not rows:
        bounds, method = {}, ""
    else:
        bounds, method = _test([numpy.asarray(scores[label]) for label in (baseline, *rows)], rows)
    differences = {}
    for label, values in scores.items():
        lost, lost_baseline = (diverged or {}).get(label, 0), (diverged or {}).get(baseline, 0)
        suffix = f", {lost} diverged" if lost else ""
        if label == baseline:
            differences[label] = Difference(verdict="baseline" + suffix)
        elif not len(values) or not len(scores[baseline]):
            differences[label] = Difference(verdict=suffix.removeprefix(", ") or "-")
        else:
            low, high, p = bounds.get(label, (math.nan, math.nan, math.nan))
            value = float(numpy.mean(values) - numpy.mean(scores[baseline]))
            verdict = _verdict(low, high, margin)
            flattered = (lost and verdict != "worse") or (lost_baseline and verdict != "better")
            if verdict == "undecided" or flattered:
                verdict = f"undecided at n={min(len(values), len(scores[baseline]))}"
            differences[label] = Difference(value, low, high, p, verdict + suffix)
    return Comparison(differences, method)


def _verdict(low: float, high: float, margin: float) -> str:
    """What the interval says, so that a table never contradicts itself; NaN bounds leave it undecided."""
    if low > 0 or high < 0:
        return "better" if low > 0 else "worse"
    return f"equivalent (±{margin:g})" if -margin <= low and high <= margin else "undecided"


def _test(
    groups: list["numpy.ndarray[Any, Any]"], rows: list[str]
) -> tuple[dict[str, tuple[float, float, float]], str]:
    """(low, high, adjusted p) per row, and the method; `groups` is the baseline followed by the rows."""
    control, others = groups[0], groups[1:]
    spreads, smallest = [float(numpy.ptp(group)) for group in groups], min(len(group) for group in groups)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # scipy's, for groups without spread: their p stays NaN
        # Two values always lie equally far from their mean, so with n=2 the test would reject whatever the data.
        levene = float(stats.levene(*groups, center="mean").pvalue) if smallest > 2 else math.nan
        reason = (
            "a row has no spread"
            if min(spreads) == 0
            else "Levene's test rejects equal variances"
            if levene < 1 - LEVEL
            else f"more than {MOST_DUNNETT} rows"
            if len(others) > MOST_DUNNETT
            else ""
        )
        if not reason:
            result = stats.dunnett(*others, control=control, rng=numpy.random.default_rng(0))
            interval = result.confidence_interval(LEVEL)
            found = {
                label: (float(low), float(high), float(p))
                for label, low, high, p in zip(rows, interval.low, interval.high, result.pvalue, strict=True)
            }
            checked = "equal variances are assumed" if math.isnan(levene) else f"Levene's p = {levene:.2g}"
            return found, f"Dunnett's test with simultaneous 95 % intervals ({checked})"
        tests = [stats.ttest_ind(other, control, equal_var=False) for other in others]
        intervals = [test.confidence_interval(1 - (1 - LEVEL) / len(tests)) for test in tests]
    adjusted = _holm([float(test.pvalue) for test in tests])
    found = {
        label: (float(interval.low), float(interval.high), p)
        for label, interval, p in zip(rows, intervals, adjusted, strict=True)
    }
    return found, f"Welch's t-tests (p after Holm) with Bonferroni's simultaneous 95 % intervals ({reason})"


def _holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment; NaN stays NaN and still counts as a comparison."""
    adjusted, highest = [math.nan] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: (math.isnan(p_values[i]), p_values[i]))):
        if not math.isnan(p_values[index]):
            highest = max(highest, min(1.0, p_values[index] * (len(p_values) - rank)))
            adjusted[index] = highest
    return adjusted


def summarise(sweep: Sweep, margin: float = MARGIN) -> Table:
    """The table of one sweep record; rows in the order of their first job."""
    record = sweep.record
    labels = list(dict.fromkeys(job.row for job, _ in sweep.cells))
    counted: dict[str, dict[int, Run]] = {label: {} for label in labels}
    runs: dict[str, dict[str, Run]] = {label: {} for label in labels}
    remarks = []
    for job, run in sweep.cells:
        runs[job.row][job.id] = run
        if run["state"] == "finished" and run.get("test_accuracy") is not None:
            first = counted[job.row].setdefault(job.seed, run)
            if first["id"] != run["id"]:
                remarks.append(f"Row {job.row}, seed {job.seed}: several runs; only {first['id']} counts.")
    scores = {label: [100 * run["test_accuracy"] for run in counted[label].values()] for label in labels}
    states = {label: Counter(run["state"] for run in runs[label].values()) for label in labels}
    lost = {label: states[label]["diverged"] for label in labels}
    baseline = record.baseline if record.baseline in scores else None
    comparison = Comparison({}, "")
    if baseline is not None:
        comparison = compare(scores, baseline, diverged=lost, margin=margin)
    elif record.baseline is not None:
        remarks.append(f"The baseline {record.baseline} is not among the rows: nothing is compared.")
    for label in (label for label in labels if lost[label]):
        remarks.append(f"Row {label}: {lost[label]} of {states[label].total()} runs diverged; the mean is of the rest.")
    flat = [label for label, values in scores.items() if len(values) > 1 and len(set(values)) == 1]
    if flat:
        remarks.append(f"All seeds gave one and the same score, so there is no interval: {', '.join(flat)}.")
    smallest = min((len(values) for values in scores.values() if len(values) > 1), default=FEW_SEEDS)
    if comparison.method.startswith("Dunnett") and smallest < FEW_SEEDS:
        remarks.append(
            f"With n={smallest} unequal variances can go unnoticed; then more than 5 % of such tables hold a false verdict."
        )
    rows = [
        Row(
            label=label,
            runs=list(counted[label].values()),
            accuracy=estimate(scores[label]),
            val_accuracy=_mean([run.get("val_accuracy") for run in counted[label].values()]),
            seconds=_median([run.get("seconds") for run in counted[label].values()]),
            difference=comparison.differences.get(label, Difference()),
            published=record.reference.get(label, {}),
            states=states[label],
        )
        for label in labels
    ]
    return Table(sweep, rows, baseline, comparison.method, remarks)


def _mean(fractions: Sequence[float | None]) -> float:
    values = [100 * value for value in fractions if value is not None]
    return float(numpy.mean(values)) if values else math.nan


def _median(seconds: Sequence[float | None]) -> float:
    values = [value for value in seconds if value is not None]
    return float(numpy.median(values)) if values else math.nan
