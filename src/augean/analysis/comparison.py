"""What a table may say about its rows: means over seeds with intervals, and a comparison with the
baseline.

Accuracies are in percent here, so differences are in percentage points.
"""

import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy
from scipy import stats

from augean.analysis.load import Run, Sweep
from augean.analysis.sequential import Difference, judge
from augean.store.summary import RunState

Array = numpy.ndarray[Any, Any]
LEVEL = 0.95
MARGIN = 0.5
"""Percentage points: differences within this margin are called equivalent."""
MOST_DUNNETT = 30
"""Rows beyond which Dunnett's integral takes seconds; above it Welch and Holm are used."""
FEW_SEEDS = 5
FEW_TEXT = (
    "Measured with 3 seeds: 95 % intervals cover 87 to 96 %, and 4 to 9 % of tables have a false"
    " verdict."
)
"""Said below that number: Levene's test then misses unequal variances. From
tests/analysis/test_comparison.py."""
SCATTERED = 10.0
SCATTERED_TEXT = (
    "Where seeds collapse, the mean describes none of them, and with few seeds its interval is too"
    " narrow."
)
"""Said of rows whose scores have a wider range, in percentage points."""
STATES = tuple(RunState)


class Estimate(NamedTuple):
    """A mean over seeds; NaN stands for what n values cannot tell."""

    n: int
    mean: float
    half_width: float
    """Of the 95 % t-interval."""
    sd: float


class Row(NamedTuple):
    label: str
    runs: list[Run]
    """The finished runs, one a seed."""
    diverged: list[Run]
    accuracy: Estimate
    """Test accuracy in percent."""
    val_accuracy: float
    seconds: float
    """Median."""
    difference: Difference
    published: Mapping[str, float]
    states: Counter[str]
    """How many of the row's runs are in each state, every run once."""


@dataclass(eq=False)
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

    @property
    def states(self) -> "Counter[str]":
        """How many runs of all rows are in each state."""
        return sum((row.states for row in self.rows), Counter())


def estimate(values: Sequence[float], level: float = LEVEL) -> Estimate:
    """Mean, t-interval at `level` and standard deviation; the last two are NaN for fewer than two
    values.
    """
    n, mean = len(values), float(numpy.mean(values)) if len(values) else math.nan
    # Seeds that all gave one score say nothing about the spread: no interval rather than one of
    # width 0.
    if n < 2 or min(values) == max(values):
        return Estimate(n, mean, math.nan, 0.0 if n > 1 else math.nan)
    sd = float(numpy.std(values, ddof=1))
    return Estimate(n, mean, float(stats.t.ppf((1 + level) / 2, n - 1)) * sd / math.sqrt(n), sd)


def compare(
    scores: Mapping[str, Sequence[float]],
    baseline: str,
    diverged: Mapping[str, int],
    margin: float = MARGIN,
) -> tuple[dict[str, Difference], str]:
    """Compare every row with the baseline at a family-wise level of 5 %; also says how, in words
    for the caption.

    Dunnett's test, which pools the variances; where Levene's test (mean-centred: the median-centred
    form never rejects with three seeds) finds them unequal, where a row has no spread or where
    there are very many rows, Welch's t-tests with Holm's p-values and, as Holm's procedure has no
    two-sided intervals, Bonferroni's. The verdict is what the interval says, so it is at most as
    bold as Holm's. Rows with one seed take no part.

    Args:
        scores: per row one number a seed.
        diverged: per row the number of diverged runs. Scores of a row with any are those of the
            survivors, so it is never better or equivalent; nor is a row worse than, or equivalent
            to, a baseline with any.
        margin: the half-width of what counts as equivalent.
    """
    control, bounds, method = scores[baseline], {}, ""
    rows = [
        label
        for label in scores
        if label != baseline and len(scores[label]) > 1 and len(control) > 1
    ]
    if rows:
        found, method = _test([numpy.asarray(scores[label]) for label in (baseline, *rows)])
        bounds = dict(zip(rows, found.T.tolist(), strict=True))
    differences = {}
    for label, values in scores.items():
        lost, suffix = (
            diverged.get(label, 0),
            f", {diverged[label]} diverged" if diverged.get(label) else "",
        )
        if label == baseline or not values or not control:
            verdict = "baseline" if label == baseline else "-"
            differences[label] = Difference(verdict=verdict + suffix)
            continue
        low, high, p = bounds.get(label, (math.nan,) * 3)
        verdict = "better" if low > 0 else "worse" if high < 0 else "undecided"
        if -margin <= low <= 0 <= high <= margin:
            verdict = f"equivalent (±{margin:g})"
        flattered = (lost and verdict != "worse") or (
            diverged.get(baseline) and verdict != "better"
        )
        if flattered or verdict == "undecided":
            verdict = f"undecided at n={min(len(values), len(control))}"
        difference = float(numpy.mean(values) - numpy.mean(control))
        differences[label] = Difference(difference, low, high, p, verdict + suffix)
    return differences, method


def _test(groups: Sequence[Array]) -> tuple[Array, str]:
    """Rows low, high and adjusted p, a column for each group after the first, which is the
    baseline; and the method.
    """
    control, others = groups[0], groups[1:]
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", RuntimeWarning
        )  # scipy's, for groups without spread: their p stays NaN
        # Two values always lie equally far from their mean, so with n=2 the test would reject
        # whatever the data.
        few = min(map(len, groups)) < 3
        levene = math.nan if few else float(stats.levene(*groups, center="mean").pvalue)
        reasons = {
            "a row has no spread": any(numpy.ptp(group) == 0 for group in groups),
            "Levene's test rejects equal variances": levene < 1 - LEVEL,
            f"more than {MOST_DUNNETT} rows": len(others) > MOST_DUNNETT,
        }
        reason = next((reason for reason, holds in reasons.items() if holds), None)
        if reason is None:
            result = stats.dunnett(*others, control=control, rng=numpy.random.default_rng(0))
            interval = result.confidence_interval(LEVEL)
            checked = "equal variances are assumed" if few else f"Levene's p = {levene:.2g}"
            method = f"Dunnett's test with simultaneous 95 % intervals ({checked})"
            return numpy.array([interval.low, interval.high, result.pvalue]), method
        tests = [stats.ttest_ind(other, control, equal_var=False) for other in others]
        intervals = [test.confidence_interval(1 - (1 - LEVEL) / len(tests)) for test in tests]
    p = numpy.array([test.pvalue for test in tests])
    order = p.argsort()  # Holm's steps; NaN comes last and still counts as a comparison
    p[order] = numpy.minimum(1, numpy.maximum.accumulate(p[order] * numpy.arange(len(p), 0, -1)))
    method = (
        f"Welch's t-tests (p after Holm) with Bonferroni's simultaneous 95 % intervals ({reason})"
    )
    found = numpy.array([[item.low for item in intervals], [item.high for item in intervals], p])
    # Two rows without spread say nothing about chance, though scipy gives an interval of width 0.
    found[:, [numpy.ptp(group) + numpy.ptp(control) == 0 for group in others]] = math.nan
    return found, method


def summarise(sweep: Sweep, margin: float = MARGIN) -> Table:
    """The table of one sweep record; rows in the order of their first job."""
    counted: dict[str, dict[int, Run]] = {}
    states, diverged, remarks = dict[str, Counter[str]](), dict[str, list[Run]](), list[str]()
    for job, run in {(job.row, job.id): (job, run) for job, run in sweep.cells}.values():
        row = counted.setdefault(job.row, {})
        states.setdefault(job.row, Counter())[run["state"]] += 1
        if run["state"] == "diverged":
            diverged.setdefault(job.row, []).append(run)
        if run["state"] == "finished" and run.get("test_accuracy") is not None:
            first = row.setdefault(job.seed, run)
            if first is not run:
                remarks.append(
                    f"Row {job.row}, seed {job.seed}: several runs; only {first['id']} counts."
                )
    scores = {
        label: [100 * run["test_accuracy"] for run in row.values()]
        for label, row in counted.items()
    }
    lost = {label: len(runs) for label, runs in diverged.items()}
    baseline, differences, method = sweep.record.baseline, dict[str, Difference](), ""
    settled = bool(sweep.record.design)
    if baseline in scores:
        compared = (
            judge(sweep.record, sweep.cells) if settled else compare(scores, baseline, lost, margin)
        )
        differences, method = compared
    elif baseline is not None:
        remarks.append(f"The baseline {baseline} is not among the rows: nothing is compared.")
    for label, number in lost.items():
        remarks.append(
            f"Row {label}: {number} of {states[label].total()} runs diverged and are not in the"
            " mean."
        )
    several = {
        label: (min(values), max(values)) for label, values in scores.items() if len(values) > 1
    }
    if flat := [label for label, (low, high) in several.items() if low == high]:
        remarks.append(
            f"All seeds gave one and the same score, so there is no interval: {', '.join(flat)}."
        )
    if wide := [
        f"{label} ({low:.1f} to {high:.1f})"
        for label, (low, high) in several.items()
        if high - low > SCATTERED
    ]:
        remarks.append(f"Seeds lie far apart: {', '.join(wide)}. {SCATTERED_TEXT}")
    if (
        several
        and not settled
        and (smallest := min(len(scores[label]) for label in several)) < FEW_SEEDS
    ):
        remarks.append(f"n={smallest} is few. {FEW_TEXT}")
    # Where the scores decided how many there are, an interval for a fixed number would be wrong.
    rows, level = list[Row](), math.nan if settled else LEVEL
    for label, row in counted.items():
        runs, difference = list(row.values()), differences.get(label, Difference())
        pairs = [(run.get("val_accuracy"), run.get("seconds")) for run in runs] or [(None, None)]
        numbers = numpy.array(pairs, float)
        found = (
            estimate(scores[label], level),
            100 * float(numbers[:, 0].mean()),
            float(numpy.median(numbers[:, 1])),
        )
        known = (difference, sweep.record.reference.get(label, {}), states[label])
        rows.append(Row(label, runs, diverged.get(label, []), *found, *known))
    return Table(sweep, rows, baseline if baseline in scores else None, method, remarks)
