"""What `augean watch` shows of a sweep, as text: the same for the terminal and for the page."""

import math
import time
from dataclasses import dataclass

from augean.monitor.sweep_status import RowStatus, RunStatus, SweepStatus, deviation, mean
from augean.store.run_progress import RunProgress
from augean.store.summary import RunState
from augean.store.sweep_record import SweepRecord
from augean.terminal import readable_seconds

ROW_HEADINGS = ("row", "n", "test, %", "sd", "validation, %", "not finished")
RUN_HEADINGS = ("in training", "seed", "epoch", "validation, %", "time left", "last sign")
FAILURE_HEADINGS = ("failed", "seed", "message")
MAX_RUNS = 40
"""Runs in training, or failed, that are listed; the rest are counted."""
NOT_FINISHED = tuple(state for state in RunState if state != RunState.FINISHED)


@dataclass(frozen=True)
class SweepView:
    """A sweep as lines and cells of tables."""

    name: str
    title: str
    is_complete: bool
    counts: list[tuple[str, RunState]]
    """Texts such as "3 finished", each with the state that it is about."""
    study: str
    """How far a study is; empty for a grid."""
    rows: list[tuple[str, ...]]
    """Cells under `ROW_HEADINGS`."""
    training: list[tuple[str, ...]]
    """Cells under `RUN_HEADINGS`."""
    failures: list[tuple[str, ...]]
    """Cells under `FAILURE_HEADINGS`."""
    more: list[str]
    """Says how many runs are not listed."""


def view_sweep(status: SweepStatus) -> SweepView:
    """Return what is shown of a sweep."""
    record = status.record
    states = status.states
    running = status.in_state(RunState.RUNNING)
    failed = status.in_state(RunState.FAILED)
    more = []
    for runs, words in ((running, "in training"), (failed, "failed")):
        if len(runs) > MAX_RUNS:
            more.append(f"and {len(runs) - MAX_RUNS:,} more {words}")
    study = ""
    if record.kind == "study":
        study = describe_study(status.record)
    return SweepView(
        name=record.name,
        title=record.title,
        is_complete=status.is_complete,
        counts=[(f"{states[state]:,} {state}", state) for state in RunState if states[state]],
        study=study,
        rows=[_row_cells(row) for row in status.rows],
        training=[_training_cells(run) for run in running[:MAX_RUNS]],
        failures=[_failure_cells(run) for run in failed[:MAX_RUNS]],
        more=more,
    )


def describe_progress(record: SweepRecord) -> str:
    """Return how many of its trials a study has, and whether its time ended it."""
    num_done = record.num_trials_done
    num_trials = record.num_trials or 0
    if record.winner and record.timeout and num_done < num_trials:
        return f"{record.describe_trials()} done, its time is spent"
    if num_done > num_trials:  # the number was lowered since
        return f"{record.describe_trials()} done"
    return f"{num_done} of {num_trials} trials done"


def describe_study(record: SweepRecord) -> str:
    """Return how far a study is, and its best trial."""
    text = describe_progress(record)
    if best := record.describe_best():
        text += f", best validation {best}"
    return text


def _row_cells(row: RowStatus) -> tuple[str, ...]:
    states = row.states
    gaps = [f"{states[state]} {state}" for state in NOT_FINISHED if states[state]]
    val_accuracies = [run.val_accuracy for run in row.finished if run.val_accuracy is not None]
    return (
        row.label,
        str(len(row.scores)),
        _percent(mean(row.scores)),
        _percent(deviation(row.scores)),
        _percent(mean(val_accuracies)),
        ", ".join(gaps),
    )


def _training_cells(run: RunStatus) -> tuple[str, ...]:
    progress = run.progress
    if progress is None:
        return (run.job.row, str(run.job.seed), "begins", "-", "-", "-")
    left = "-"
    if progress.seconds_left is not None:
        left = readable_seconds(max(0.0, progress.seconds_left - age(progress)))
    return (
        run.job.row,
        str(run.job.seed),
        f"{progress.epoch} of {progress.epochs}",
        _percent(progress.val_accuracy),
        left,
        f"{readable_seconds(age(progress))} ago",
    )


def age(progress: RunProgress) -> float:
    """Return the seconds since a run last wrote its progress; clocks of hosts may differ."""
    return max(0.0, time.time() - progress.updated)


def _failure_cells(run: RunStatus) -> tuple[str, ...]:
    return (run.job.row, str(run.job.seed), run.error)


def _percent(fraction: float | None) -> str:
    """Format a fraction in percent; "-" for what is not known."""
    if fraction is None or math.isnan(fraction):
        return "-"
    return f"{100 * fraction:.2f}"
