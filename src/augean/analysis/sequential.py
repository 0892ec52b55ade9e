"""Compare the rows of a settled sweep with its baseline, look by look.

A verdict of an early look stays right however many looks follow. `sequential_design` has the
intervals, docs/internals/settling.md the reasons.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray
from scipy import special

from augean.analysis.run import Run
from augean.analysis.sequential_design import (
    SPENT,
    VERDICT_OF_CODE,
    Design,
    Looks,
    compare_looks,
    design_of,
    is_crowded,
    look_levels,
    verdicts,
)
from augean.analysis.verdict import Difference, RowProgress, Verdict, is_flattered
from augean.store.summary import RunState
from augean.store.sweep_record import SweepJob, SweepRecord

JobRuns = Sequence[tuple[SweepJob, Run]]
"""A sweep's jobs, each with its run."""


@dataclass(frozen=True)
class Course:
    """The comparisons of one row with the baseline, from the first look to the last one so far."""

    row: str
    n: int
    """Seeds that row and baseline both have, counted up to the first gap."""
    looks: list[int]
    """Seeds at each look, up to the one that settled the row. Later seeds change the means, not the
    verdict."""
    differences: list[float]
    """Row minus baseline at each look, in percentage points."""
    halves: list[float]
    """Half-widths of the intervals around the differences; infinite where there is none."""
    verdict: Verdict
    progress: RowProgress
    margin: float
    """Percentage points: what lies within it is equivalent."""
    diverged_rows: tuple[str, ...]
    """The row, the baseline or both, where they have diverged runs."""
    expected: int | None
    """Seeds at which it would be settled if means and deviations stayed as they are; None where the
    most seeds of the design would not settle it, or nothing is known of the deviations."""

    @property
    def open(self) -> bool:
        """Whether more seeds may settle it."""
        return self.progress is RowProgress.OPEN

    @property
    def difference(self) -> Difference:
        """The difference at the last look; its bounds are NaN where there is no interval."""
        value = math.nan
        half = math.nan
        if self.looks:
            value = self.differences[-1]
            half = self.halves[-1]
        if math.isinf(half):
            half = math.nan
        n = self.n
        if self.progress is RowProgress.SETTLED:
            # The verdict was reached with these seeds; the row may have more by now.
            n = self.looks[-1]
        return Difference(
            value=value,
            low=value - half,
            high=value + half,
            verdict=self.verdict,
            n=n,
            margin=self.margin,
            progress=self.progress,
            diverged_rows=self.diverged_rows,
        )


def follow(record: SweepRecord, job_runs: JobRuns) -> list[Course]:
    """Compare each row of a settled sweep with the baseline, in the order of their first jobs.

    What diverged runs forbid to say stays undecided, see `is_flattered`.
    """
    design = design_of(record)
    scores, diverged = _in_order(job_runs)
    baseline = record.baseline or ""
    baseline_scores = scores.pop(baseline, [])
    # Counted in the record, not among `job_runs`: a filter must not change the intervals.
    rows = {job.row for job in record.jobs if job.trial is None}
    num_rows = len(rows - {record.baseline})
    courses = []
    for row, row_scores in scores.items():
        course = _course(
            row,
            row_scores,
            baseline,
            baseline_scores,
            diverged=diverged & {row, baseline},
            design=design,
            num_rows=num_rows,
        )
        courses.append(course)
    return courses


def judge(record: SweepRecord, job_runs: JobRuns) -> tuple[dict[str, Difference], str]:
    """Return every row's difference to the baseline, and the design in words for the caption."""
    design = design_of(record)
    method = (
        f"a sequential design ({design.least} to {design.most} seeds, a look after each; Welch's t"
        f" with repeated confidence intervals that spend {100 * SPENT * design.alpha:g} % over all"
        f" looks and rows, so that few seeds keep within {100 * design.alpha:g} %): seeds were"
        " added only to rows that were undecided, and the intervals of all looks hold together"
        f" with {100 * (1 - design.alpha):g} %; each difference is over the first seeds of both"
        " rows, as many as its verdict took, and no seed after a missing one counts"
    )
    differences = {str(record.baseline): Difference(verdict=Verdict.BASELINE)}
    for course in follow(record, job_runs):
        # Without a score there is nothing to compare yet.
        differences[course.row] = course.difference if course.n else Difference()
    return differences, method


def _in_order(job_runs: JobRuns) -> tuple[dict[str, list[float]], set[str]]:
    """Return scores in percent by row, in the order of the seeds, and the rows with diverged runs.

    A row's scores end before its first seed that is not finished: which seeds count must not depend
    on which were done first, as a slow run may be a bad one.
    """
    scores: dict[str, list[float]] = {job.row: [] for job, _ in job_runs}
    diverged: set[str] = set()
    broken: set[str] = set()
    counted: set[tuple[str, int]] = set()
    for job, run in sorted(job_runs, key=lambda pair: pair[0].seed):
        if run.state is RunState.DIVERGED:
            # Its seed has no score, and later ones still count: the row is marked instead.
            diverged.add(job.row)
        elif run.test_accuracy is None:
            broken.add(job.row)
        elif job.row not in broken and (job.row, job.seed) not in counted:
            counted.add((job.row, job.seed))
            scores[job.row].append(100 * run.test_accuracy)
    return scores, diverged


def _course(
    row: str,
    row_scores: Sequence[float],
    baseline: str,
    baseline_scores: Sequence[float],
    *,
    diverged: set[str],
    design: Design,
    num_rows: int,
) -> Course:
    """Follow one row from its first look to the one that settles it, or to the last."""
    # Look n compares the first n seeds of both.
    n = min(len(row_scores), len(baseline_scores), design.most)
    row_array = numpy.array(row_scores[:n], float)
    baseline_array = numpy.array(baseline_scores[:n], float)
    looks, verdict = _looks_to_verdict(row_array, baseline_array, design, num_rows)
    unfair = is_flattered(
        verdict, row_diverged=row in diverged, baseline_diverged=baseline in diverged
    )
    if unfair:
        verdict = Verdict.UNDECIDED
    expected: int | None = n
    if verdict is Verdict.UNDECIDED:
        expected = _expected(row_array, baseline_array, design, num_rows)
    return Course(
        row=row,
        n=n,
        looks=list(range(design.least, design.least + len(looks.half))),
        differences=looks.difference.tolist(),
        halves=looks.half.tolist(),
        verdict=verdict,
        progress=_progress_of(verdict, unfair=unfair, is_last=n == design.most),
        margin=design.margin,
        diverged_rows=tuple(label for label in (row, baseline) if label in diverged),
        expected=expected,
    )


def _looks_to_verdict(
    row: NDArray[numpy.float64], baseline: NDArray[numpy.float64], design: Design, num_rows: int
) -> tuple[Looks, Verdict]:
    """Return the looks up to the first that decides, and its verdict; all of them where none does.

    That look has settled the row: later seeds do not change the verdict.
    """
    looks = compare_looks(row, baseline, design, num_rows)
    if not looks.code.any():
        return looks, Verdict.UNDECIDED
    deciding = int(looks.code.nonzero()[0][0])
    up_to_verdict = slice(deciding + 1)
    looks = Looks(
        difference=looks.difference[up_to_verdict],
        half=looks.half[up_to_verdict],
        code=looks.code[up_to_verdict],
    )
    return looks, VERDICT_OF_CODE[int(looks.code[deciding])]


def _progress_of(verdict: Verdict, *, unfair: bool, is_last: bool) -> RowProgress:
    """Return how far the design has come with a row.

    Args:
        verdict: what is said of the row.
        unfair: diverged runs have taken another verdict away.
        is_last: the row has the most seeds that the design allows.
    """
    if unfair:
        return RowProgress.DIVERGED
    if verdict is not Verdict.UNDECIDED:
        return RowProgress.SETTLED
    if is_last:
        return RowProgress.EXHAUSTED
    return RowProgress.OPEN


def _expected(
    row: NDArray[numpy.float64], baseline: NDArray[numpy.float64], design: Design, num_rows: int
) -> int | None:
    """Return the look at which means and deviations as they are now would decide, if one would."""
    if len(row) < 2:
        return None
    n = numpy.arange(design.least, design.most + 1)
    variance = row.var(ddof=1) + baseline.var(ddof=1)
    level = look_levels(design, num_rows)
    quantile = -special.stdtrit(2 * (n - 1), level / 2)
    half = quantile * numpy.sqrt(variance / n)  # [looks]
    code = verdicts(row.mean() - baseline.mean(), half, design.margin)
    # Crowded scores stay crowded, if means and deviations stay: see `compare_looks`.
    last = numpy.array([len(row)])
    code[is_crowded(row, last) & (code != -1)] = 0
    code[is_crowded(baseline, last) & (code != 1)] = 0
    decided = (code != 0) & (n > len(row)) & (variance > 0)
    if not decided.any():
        return None
    return int(n[decided.argmax()])
