"""Make the table of a sweep: means over seeds with intervals, and the comparison with the baseline.

Accuracies are in percent here, so differences are in percentage points.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy
from scipy import stats

from augean.analysis.images import CorrectImages, remarks_on_images, with_images
from augean.analysis.load import Sweep
from augean.analysis.remarks import remarks_on_epochs, remarks_on_published, remarks_on_scores
from augean.analysis.run import Run
from augean.analysis.sequential import judge
from augean.analysis.sequential_design import design_of
from augean.analysis.simultaneous import LEVEL, compare, pools_untested
from augean.analysis.studies import remarks_on_ends
from augean.analysis.verdict import Difference
from augean.config.labels import find_key
from augean.store.summary import RunState, RunSummary


class Estimate(NamedTuple):
    """A mean over seeds; NaN stands for what n values cannot tell."""

    n: int
    mean: float
    half_width: float
    """Half the width of the 95 % t-interval around the mean."""
    sd: float
    """Standard deviation over seeds."""


@dataclass(frozen=True)
class Row:
    """One row of a table: its runs and their statistics."""

    label: str
    runs: list[Run]
    """The finished runs, one a seed."""
    diverged: list[Run]
    num_diverged: int
    """Diverged runs, with those that a selection left out."""
    accuracy: Estimate
    """Test accuracy in percent."""
    val_accuracy: float
    """Mean of the best validation accuracies, in percent."""
    seconds: float
    """Median over seeds of training and evaluation."""
    difference: Difference
    """This row minus the baseline."""
    published: Mapping[str, float]
    """Numbers that the sweep file quotes: `test_accuracy` in percent, `seconds`."""
    has_published_data: bool
    """Whether all of `runs` trained on all of the data that the published numbers are of."""
    states: Counter[RunState]
    """How many of the row's runs are in each state, every run once."""

    @property
    def summaries(self) -> list[RunSummary]:
        """The summaries of `runs`, in the same order."""
        return _summaries(self.runs)

    @property
    def scores(self) -> list[float]:
        """The test accuracies of `runs` in percent, in the same order."""
        return _scores(self.runs)

    @property
    def published_difference(self) -> float:
        """Test accuracy minus the published one, in percentage points.

        NaN where there is none, and where the data are others: then it would be a difference of the
        data too.
        """
        if not self.has_published_data:
            return math.nan
        return self.accuracy.mean - self.published.get("test_accuracy", math.nan)


@dataclass(eq=False)
class Table:
    """A sweep's rows with their statistics."""

    sweep: Sweep
    rows: list[Row]
    baseline: str | None
    """The row compared with, if it is there."""
    row_keys: list[str]
    """The dotted keys whose values are the labels of the rows; empty for rows of other names."""
    method: str
    """How differences were judged, in words for the caption; empty where none was."""
    remarks: list[str] = field(default_factory=list)

    @property
    def runs(self) -> list[Run]:
        """The runs that entered the means."""
        return [run for row in self.rows for run in row.runs]

    @property
    def summaries(self) -> list[RunSummary]:
        """The summaries of `runs`, in the same order."""
        return [summary for row in self.rows for summary in row.summaries]

    @property
    def num_splits(self) -> int:
        """How many ways the runs' training images were split; 0 where none was for validation."""
        splits = set()
        for summary in self.summaries:
            # A custom loop need not say how it split.
            if summary.num_val and "dataset.split_seed" in summary.config:
                splits.add(summary.config["dataset.split_seed"])
        return len(splits)

    @property
    def margin(self) -> float:
        """Percentage points: differences within this margin are called equivalent."""
        return design_of(self.sweep.record).margin

    @property
    def states(self) -> Counter[RunState]:
        """How many runs of all rows are in each state."""
        total: Counter[RunState] = Counter()
        for row in self.rows:
            total += row.states
        return total


def estimate(values: Sequence[float], level: float = LEVEL) -> Estimate:
    """Return mean, standard deviation s and Student's t-interval: mean +- t(n - 1) * s / sqrt(n).

    The last two are NaN for fewer than two values. Seeds that all gave one score say nothing about
    the spread: they get no interval, rather than one of width 0.

    Args:
        values: one number a seed.
        level: how often such intervals hold the true mean. NaN: the interval is NaN.
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


@dataclass
class _RowRuns:
    """The runs of one row, as the jobs name them."""

    finished: dict[int, Run] = field(default_factory=dict)
    """By seed, those with a score; of several runs of one seed the first."""
    diverged: list[Run] = field(default_factory=list)
    num_diverged_left_out: int = 0
    """Diverged runs that a selection left out."""
    states: Counter[RunState] = field(default_factory=Counter)

    @property
    def num_diverged(self) -> int:
        """All diverged runs: the others flatter the row."""
        return len(self.diverged) + self.num_diverged_left_out

    @property
    def scores(self) -> list[float]:
        """Test accuracies of `finished`, in percent."""
        return _scores(self.finished.values())


def _summaries(runs: Iterable[Run]) -> list[RunSummary]:
    """Return the summaries of finished runs, all of which have one."""
    return [run.summary for run in runs if run.summary is not None]


def _scores(runs: Iterable[Run]) -> list[float]:
    """Return the test accuracies of finished runs in percent; all of these have one."""
    return [100 * run.test_accuracy for run in runs if run.test_accuracy is not None]


def summarise(sweep: Sweep, correct: CorrectImages | None = None) -> Table:
    """Return the table of one sweep record, with rows in the order of their first job.

    Args:
        correct: reads which test images the runs have right; without it nothing is said of images.
    """
    groups, remarks = _group(sweep)
    baseline = sweep.record.baseline
    # A filter may have left it out, or none of its runs may be there.
    if baseline is not None and baseline not in groups:
        remarks.append(f"The baseline {baseline} is not among the rows: nothing is compared.")
        baseline = None

    # The comparison: over seeds, then over test images too.
    differences: dict[str, Difference] = {}
    method = ""
    if baseline is not None:
        shared = _rows_of_the_same_runs(groups, baseline)
        # The intervals suppose that rows are independent.
        compared = {label: group for label, group in groups.items() if label not in shared}
        differences, method = _compare_groups(sweep, compared, baseline)
        for label in shared:
            remarks.append(f"Rows {label} and {baseline} share runs, so they are not compared.")
    if baseline is not None and correct is not None:
        runs = {label: list(group.finished.values()) for label, group in groups.items()}
        differences = with_images(differences, baseline, runs, correct)
        remarks += remarks_on_images(differences, design_of(sweep.record).margin)
    row_keys = _row_keys(sweep, groups)
    if baseline is not None and row_keys == ["trainer.epochs"]:
        remarks += remarks_on_epochs(_schedules(groups))
    remarks += _remarks(sweep, groups, is_compared=bool(method))
    if sweep.record.kind == "study":
        remarks += remarks_on_ends(sweep.record)

    rows = []
    for label, group in groups.items():
        difference = differences.get(label, Difference())
        rows.append(_row(sweep, label, group, difference))
    remarks += remarks_on_published(sweep.record.reference_dataset, _other_data(rows))
    return Table(
        sweep=sweep,
        rows=rows,
        baseline=baseline,
        row_keys=row_keys,
        method=method,
        remarks=remarks,
    )


def _compare_groups(
    sweep: Sweep, groups: Mapping[str, _RowRuns], baseline: str
) -> tuple[dict[str, Difference], str]:
    """Compare rows by the design of the sweep, or as for a fixed number of seeds."""
    # A sequential design is one of all seeds, in their order.
    if sweep.record.design:
        differences, method = judge(sweep.record, sweep.all_job_runs)
        return {label: differences[label] for label in differences if label in groups}, method
    scores = {label: group.scores for label, group in groups.items()}
    diverged = {label: group.num_diverged for label, group in groups.items()}
    return compare(scores, baseline, diverged)


def _row_keys(sweep: Sweep, groups: Mapping[str, _RowRuns]) -> list[str]:
    """Return the keys whose values are the labels of the rows; none for rows of other names."""
    if sweep.record.row_keys:
        return sweep.record.row_keys
    # The record of a sweep from the command line names none.
    configs = {}
    for label, group in groups.items():
        configs[label] = [run.config for run in group.finished.values()]
    key = find_key(configs)
    return [] if key is None else [key]


def _rows_of_the_same_runs(groups: Mapping[str, _RowRuns], baseline: str) -> list[str]:
    """Return the rows that share runs with the baseline: what they differ in changes no run."""
    base_ids = {run.id for run in groups[baseline].finished.values()}
    shared = []
    for label, group in groups.items():
        ids = {run.id for run in group.finished.values()}
        if label != baseline and ids & base_ids:
            shared.append(label)
    return shared


def _row(sweep: Sweep, label: str, group: _RowRuns, difference: Difference) -> Row:
    """Return a row with its statistics."""
    runs = list(group.finished.values())
    summaries = _summaries(runs)
    # Where the scores decided how many there are, an interval for a fixed number would be wrong.
    level = math.nan if sweep.record.design else LEVEL
    return Row(
        label=label,
        runs=runs,
        diverged=group.diverged,
        num_diverged=group.num_diverged,
        accuracy=estimate(group.scores, level),
        val_accuracy=_mean_val_accuracy(summaries),
        seconds=_median_seconds(summaries),
        difference=difference,
        published=sweep.record.reference.get(label, {}),
        has_published_data=all(
            _has_all_of(summary, sweep.record.reference_dataset) for summary in summaries
        ),
        states=group.states,
    )


def _has_all_of(summary: RunSummary, dataset: str) -> bool:
    """Tell whether a run trained on a data set, and on all images but those for validation."""
    # The config of a custom loop need not have these keys.
    name = summary.config.get("dataset.name", summary.dataset_title)
    return name == dataset and summary.config.get("dataset.num_train") is None


def _other_data(rows: Sequence[Row]) -> set[str]:
    """Return the titles of the data that published numbers stand beside, where they are others."""
    titles = set()
    for row in rows:
        if "test_accuracy" in row.published and not row.has_published_data:
            titles |= {summary.dataset_title or "unnamed data" for summary in row.summaries}
    return titles


def _group(sweep: Sweep) -> tuple[dict[str, _RowRuns], list[str]]:
    """Return the runs of each row, every run once, and remarks on seeds with several runs."""
    groups: dict[str, _RowRuns] = {}
    remarks = []
    for job, run in sweep.job_runs:
        group = groups.setdefault(job.row, _RowRuns())
        group.states[run.state] += 1
        if run.state is RunState.DIVERGED:
            group.diverged.append(run)
        elif run.test_accuracy is not None:
            # A seed that counted twice would make the interval too narrow.
            first_run = group.finished.setdefault(job.seed, run)
            if first_run is not run:
                remarks.append(
                    f"Row {job.row}, seed {job.seed}: several runs; only {first_run.id} counts."
                )
    for job, run in sweep.left_out:
        if job.row in groups and run.state is RunState.DIVERGED:
            groups[job.row].num_diverged_left_out += 1
    return groups, remarks


def _remarks(sweep: Sweep, groups: Mapping[str, _RowRuns], *, is_compared: bool) -> list[str]:
    """Return what a reader must know of the rows."""
    remarks = []
    scores = {}
    for label, group in groups.items():
        if group.num_diverged_left_out:
            remarks.append(
                f"Row {label}: diverged runs that were not selected"
                f" ({group.num_diverged_left_out}) count against it all the same."
            )
        if group.diverged:
            end = "; the mean is that of the others" if group.finished else ", so there is no mean"
            share = f"{len(group.diverged)} of {group.states.total()} runs"
            remarks.append(f"Row {label}: {share} diverged{end}.")
        if len(group.scores) > 1:
            scores[label] = group.scores
    least = design_of(sweep.record).least if sweep.record.design else None
    assumes_equal = is_compared and pools_untested(list(scores.values()))
    return remarks + remarks_on_scores(
        scores, least=least, is_compared=is_compared, assumes_equal=assumes_equal
    )


def _schedules(groups: Mapping[str, _RowRuns]) -> set[str | None]:
    """Return the names of the learning rate schedules that the rows' runs had."""
    schedules = set()
    for group in groups.values():
        for run in group.finished.values():
            schedules.add(run.config.get("schedule.name"))
    return schedules


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
