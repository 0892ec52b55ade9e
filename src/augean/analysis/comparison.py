"""What a table may say about its rows: means over seeds with intervals, and a comparison with the
baseline.

Accuracies are in percent here, so differences are in percentage points.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy
from scipy import stats

from augean.analysis.images import CorrectImages, remarks_on_images, with_images
from augean.analysis.load import Sweep
from augean.analysis.measured_errors import skewed_share, two_seeds_share
from augean.analysis.run import Run
from augean.analysis.sequential import judge
from augean.analysis.sequential_design import is_crowded
from augean.analysis.simultaneous import LEVEL, Interval, simultaneous_intervals
from augean.analysis.verdict import Difference, Verdict, is_flattered, verdict_of_interval
from augean.store.summary import RunState, RunSummary

MARGIN = 0.5
"""Percentage points: differences within this margin are called equivalent."""
FEW_SEEDS = 5
FEW_TEXT = (
    "Measured with 3 seeds on real scores: 95 % intervals cover 87 to 96 %, and 2 to 7 % of tables"
    " have a false verdict."
)
"""Said below that number. From tests/analysis/test_comparison.py."""
SCATTERED = 10.0
SCATTERED_TEXT = (
    "Where seeds collapse, the mean describes none of them, and with few seeds its interval is too"
    " narrow."
)
"""Said of rows whose scores have a wider range, in percentage points."""
CROWDED_TEXT = "a bad seed would lie far below the others, and few seeds may have missed it"
"""Said of rows whose scores crowd below 100 %."""


class Estimate(NamedTuple):
    """A mean over seeds; NaN stands for what n values cannot tell."""

    n: int
    mean: float
    half_width: float
    """Of the 95 % t-interval."""
    sd: float


@dataclass(frozen=True)
class Row:
    """One row of a table: its runs and their statistics."""

    label: str
    runs: list[Run]
    """The finished runs, one a seed."""
    summaries: list[RunSummary]
    """The summaries of `runs`, in the same order."""
    scores: list[float]
    """The test accuracies of `runs` in percent."""
    diverged: list[Run]
    accuracy: Estimate
    """Test accuracy in percent."""
    val_accuracy: float
    """Mean in percent."""
    seconds: float
    """Median."""
    difference: Difference
    published: Mapping[str, float]
    states: Counter[RunState]
    """How many of the row's runs are in each state, every run once."""


@dataclass(eq=False)
class Table:
    """A sweep's rows with their statistics."""

    sweep: Sweep
    rows: list[Row]
    baseline: str | None
    """The row compared with, if it is there."""
    method: str
    """How differences were judged, in words for the caption; empty where none was."""
    warnings: list[str] = field(default_factory=list)

    @property
    def runs(self) -> list[Run]:
        """The runs that entered the means."""
        return [run for row in self.rows for run in row.runs]

    @property
    def summaries(self) -> list[RunSummary]:
        """The summaries of `runs`, in the same order."""
        return [summary for row in self.rows for summary in row.summaries]

    @property
    def states(self) -> Counter[RunState]:
        """How many runs of all rows are in each state."""
        total: Counter[RunState] = Counter()
        for row in self.rows:
            total += row.states
        return total


def estimate(values: Sequence[float], level: float = LEVEL) -> Estimate:
    """Return mean, t-interval at `level` and standard deviation.

    The last two are NaN for fewer than two values. Seeds that all gave one score say nothing about
    the spread: they get no interval, rather than one of width 0.
    """
    n = len(values)
    if n == 0:
        return Estimate(n=0, mean=math.nan, half_width=math.nan, sd=math.nan)
    mean = float(numpy.mean(values))
    if n == 1:
        return Estimate(n=1, mean=mean, half_width=math.nan, sd=math.nan)
    if min(values) == max(values):
        return Estimate(n=n, mean=mean, half_width=math.nan, sd=0.0)
    sd = float(numpy.std(values, ddof=1))
    quantile = float(stats.t.ppf((1 + level) / 2, n - 1))
    return Estimate(n=n, mean=mean, half_width=quantile * sd / math.sqrt(n), sd=sd)


def compare(
    scores: Mapping[str, Sequence[float]],
    baseline: str,
    diverged: Mapping[str, int],
    margin: float = MARGIN,
) -> tuple[dict[str, Difference], str]:
    """Compare every row with the baseline at a family-wise level of 5 %.

    Dunnett's test, which pools the variances; where Levene's test (mean-centred: the median-centred
    form never rejects with three seeds) hints at unequal ones, or where a row has no spread,
    Welch's t-tests with Bonferroni, at a level that holds for any deviations. Interval, p-value and
    verdict always agree, but for rows with diverged runs. Rows with one seed take no part.

    Args:
        scores: per row one number a seed.
        diverged: per row the number of diverged runs. Scores of a row with any are those of the
            survivors, so it is never better or equivalent; nor is a row worse than, or equivalent
            to, a baseline with any.
        margin: the half-width of what counts as equivalent.

    Returns:
        The difference of each row, and the method in words for the caption.
    """
    control = scores[baseline]
    intervals, method = simultaneous_intervals(scores, baseline)
    differences = {}
    for label, values in scores.items():
        num_diverged = diverged.get(label, 0)
        if label == baseline:
            differences[label] = Difference(verdict=Verdict.BASELINE, num_diverged=num_diverged)
            continue
        if not values or not control:
            differences[label] = Difference(num_diverged=num_diverged)
            continue
        interval = intervals.get(label, Interval())
        verdict = verdict_of_interval(interval.low, interval.high, margin)
        if is_flattered(
            verdict,
            row_diverged=num_diverged > 0,
            baseline_diverged=diverged.get(baseline, 0) > 0,
        ):
            verdict = Verdict.UNDECIDED
        differences[label] = Difference(
            value=float(numpy.mean(values) - numpy.mean(control)),
            low=interval.low,
            high=interval.high,
            p=interval.p,
            verdict=verdict,
            n=min(len(values), len(control)),
            num_diverged=num_diverged,
            margin=margin,
        )
    return differences, method


@dataclass
class _RowRuns:
    """The runs of one row, as the jobs name them."""

    finished: dict[int, Run] = field(default_factory=dict)
    """By seed, those with a score; of several runs of one seed the first."""
    diverged: list[Run] = field(default_factory=list)
    states: Counter[RunState] = field(default_factory=Counter)

    @property
    def scores(self) -> list[float]:
        """Test accuracies in percent."""
        accuracies = [run.test_accuracy for run in self.finished.values()]
        return [100 * accuracy for accuracy in accuracies if accuracy is not None]


def summarise(sweep: Sweep, margin: float = MARGIN, correct: CorrectImages | None = None) -> Table:
    """Return the table of one sweep record, with rows in the order of their first job.

    Args:
        correct: reads which test images the runs have right; without it nothing is said of images.
    """
    groups, remarks = _group(sweep)
    baseline = sweep.record.baseline
    if baseline is not None and baseline not in groups:
        remarks.append(f"The baseline {baseline} is not among the rows: nothing is compared.")
        baseline = None
    differences: dict[str, Difference] = {}
    method = ""
    if baseline is not None:
        differences, method = _compare_groups(sweep, groups, baseline, margin)
    if baseline is not None and correct is not None:
        runs = {label: list(group.finished.values()) for label, group in groups.items()}
        differences = with_images(differences, baseline, runs, correct)
        remarks += remarks_on_images(differences, sweep.record.design.get("margin", margin))
    if baseline is not None and sweep.record.row_keys == ["trainer.epochs"]:
        remarks += _remarks_on_epochs(groups)
    remarks += _remarks(groups, is_settled=bool(sweep.record.design))
    rows = []
    for label, group in groups.items():
        difference = differences.get(label, Difference())
        rows.append(_row(sweep, label, group, difference))
    return Table(sweep=sweep, rows=rows, baseline=baseline, method=method, warnings=remarks)


def _compare_groups(
    sweep: Sweep, groups: Mapping[str, _RowRuns], baseline: str, margin: float
) -> tuple[dict[str, Difference], str]:
    """Compare all rows by the design of the sweep, or as for a fixed number of seeds."""
    if sweep.record.design:
        return judge(sweep.record, sweep.cells)
    scores = {label: group.scores for label, group in groups.items()}
    diverged = {label: len(group.diverged) for label, group in groups.items()}
    return compare(scores, baseline, diverged, margin)


def _row(sweep: Sweep, label: str, group: _RowRuns, difference: Difference) -> Row:
    runs = list(group.finished.values())
    summaries = [run.summary for run in runs if run.summary is not None]
    # Where the scores decided how many there are, an interval for a fixed number would be wrong.
    level = math.nan if sweep.record.design else LEVEL
    return Row(
        label=label,
        runs=runs,
        summaries=summaries,
        scores=group.scores,
        diverged=group.diverged,
        accuracy=estimate(group.scores, level),
        val_accuracy=_mean_val_accuracy(summaries),
        seconds=_median_seconds(summaries),
        difference=difference,
        published=sweep.record.reference.get(label, {}),
        states=group.states,
    )


def _group(sweep: Sweep) -> tuple[dict[str, _RowRuns], list[str]]:
    """Return the runs of each row, every run once, and remarks on seeds with several runs."""
    groups: dict[str, _RowRuns] = {}
    remarks = []
    # A job that is asked for twice is one job; the last one stands at the place of the first.
    jobs = {(job.row, job.id): (job, run) for job, run in sweep.cells}
    for job, run in jobs.values():
        group = groups.setdefault(job.row, _RowRuns())
        group.states[run.state] += 1
        if run.state is RunState.DIVERGED:
            group.diverged.append(run)
        elif run.test_accuracy is not None:
            counted = group.finished.setdefault(job.seed, run)
            if counted is not run:
                remarks.append(
                    f"Row {job.row}, seed {job.seed}: several runs; only {counted.id} counts."
                )
    return groups, remarks


def _remarks(groups: Mapping[str, _RowRuns], *, is_settled: bool) -> list[str]:
    """Return what a reader must know of the rows.

    Args:
        is_settled: the number of seeds was decided by a sequential design.
    """
    remarks = []
    flat = []
    scattered = []
    scores_of_rows = {label: group.scores for label, group in groups.items()}
    for label, group in groups.items():
        if group.diverged:
            remarks.append(
                f"Row {label}: {len(group.diverged)} of {group.states.total()} runs diverged and"
                " are not in the mean."
            )
        scores = group.scores
        if len(scores) < 2:
            continue
        low = min(scores)
        high = max(scores)
        if low == high:
            flat.append(label)
        if high - low > SCATTERED:
            scattered.append(f"{label} ({low:.1f} to {high:.1f})")
    if flat:
        remarks.append(
            f"All seeds gave one and the same score, so there is no interval: {', '.join(flat)}."
        )
    if scattered:
        remarks.append(f"Seeds lie far apart: {', '.join(scattered)}. {SCATTERED_TEXT}")
    several = {label: scores for label, scores in scores_of_rows.items() if len(scores) > 1}
    return remarks + _remarks_on_errors(several, is_settled=is_settled)


def _remarks_on_epochs(groups: Mapping[str, _RowRuns]) -> list[str]:
    """Return what it means that rows differ in their number of epochs alone."""
    schedules = set()
    for group in groups.values():
        for run in group.finished.values():
            schedules.add(run.config.get("schedule.name"))
    # Others stretch over all epochs, so that no two lengths begin alike.
    if not schedules or not schedules <= {"constant", "plateau"}:
        return []
    return [
        "Rows differ in their number of epochs alone, and runs of one seed begin with the same"
        " epochs. They are compared as if they were independent: where they move together, the"
        " intervals are wider than they need be."
    ]


def _remarks_on_errors(scores: Mapping[str, Sequence[float]], *, is_settled: bool) -> list[str]:
    """Return how often tables like this one have a false verdict, where that is above 5 %.

    Args:
        scores: of each row with several seeds, in percent.
        is_settled: the number of seeds was decided by a sequential design.
    """
    remarks = []
    smallest = min((len(values) for values in scores.values()), default=FEW_SEEDS)
    num_rows = max(1, len(scores) - 1)
    crowded = []
    for label, values in scores.items():
        # A row that lies far apart has a remark of its own.
        is_scattered = max(values) - min(values) > SCATTERED
        if _is_crowded(values) and (is_settled or not is_scattered):
            crowded.append(label)
    if crowded:
        text = f"Scores crowd below 100 %: {', '.join(crowded)}; {CROWDED_TEXT}."
        share = skewed_share(smallest, num_rows)
        figure = (
            f" Of simulated tables with rows like Beta(20, 0.4) beside a steady baseline (n="
            f"{smallest}, {num_rows} rows or about as many) {share:.0%} had a false verdict."
        )
        withheld = " So such a row can only be worse, and to such a baseline only better."
        remarks.append(text + (withheld if is_settled else figure))
    if smallest < FEW_SEEDS and not is_settled:
        remarks.append(f"n={smallest} is few. {FEW_TEXT}")
    if smallest == 2 and not is_settled:
        share = two_seeds_share(num_rows)
        remarks.append(
            "Two seeds cannot show that deviations differ, so they are taken as equal: where one is"
            f" up to ten times another, up to {share:.0%} of simulated tables with about as many"
            " rows had a false verdict."
        )
    return remarks


def _is_crowded(scores: Sequence[float]) -> bool:
    values = numpy.array(scores, float)
    return bool(is_crowded(values, numpy.array([len(values)]))[0])


def _mean_val_accuracy(summaries: Sequence[RunSummary]) -> float:
    """Return the mean in percent; NaN where a run has none."""
    if not summaries:
        return math.nan
    values = [summary.val_accuracy for summary in summaries]
    return 100 * float(numpy.array(values, float).mean())


def _median_seconds(summaries: Sequence[RunSummary]) -> float:
    """Return the median; NaN where a run has none."""
    if not summaries:
        return math.nan
    values = [summary.seconds for summary in summaries]
    return float(numpy.median(numpy.array(values, float)))
