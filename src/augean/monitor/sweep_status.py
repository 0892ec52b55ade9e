"""How far a sweep is, from its files alone: the state of each run, and the means of its rows.

Readers that look every few seconds take no locks, which would disturb workers, and read again only
what may have changed.
"""

import math
import os
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from augean.errors import AugeanError
from augean.store.files import list_names
from augean.store.locks import is_locked
from augean.store.record_identity import check_file_name, record_paths
from augean.store.run_directory import explain_unreadable, read_failure_line, runs_dir
from augean.store.run_files import SUMMARY
from augean.store.run_progress import PROGRESS_FILE, RunProgress, read_progress
from augean.store.summary import RunState, RunSummary, read_summary
from augean.store.sweep_record import SweepJob, SweepRecord, read_record

SILENT_SECONDS = 120.0
"""Age of a progress file from which on its run no longer counts as running. A run writes it every
few seconds while it trains, but not while it reads its data or is evaluated."""
LONGEST_ERROR = 200
"""Characters of a failure's message."""


@dataclass(frozen=True)
class RunStatus:
    """One job of a sweep, and how its run stands."""

    job: SweepJob
    state: RunState
    summary: RunSummary | None = None
    """Of a finished or diverged run."""
    progress: RunProgress | None = None
    """Of a running run; None where it has not written any yet."""
    error: str = ""
    """The message of a failed run, one line."""


@dataclass(frozen=True)
class RowStatus:
    """One row of a sweep's table up to now, every run once."""

    label: str
    runs: list[RunStatus]

    @property
    def finished(self) -> list[RunSummary]:
        """The summaries of its finished runs with a score, the first of each seed: a seed that
        counted twice would make intervals too narrow.
        """
        first: dict[int, RunSummary] = {}
        for run in self.runs:
            if run.state != RunState.FINISHED or run.summary is None:
                continue
            if run.summary.test_accuracy is not None:
                first.setdefault(run.job.seed, run.summary)
        return list(first.values())

    @property
    def scores(self) -> list[float]:
        """The test accuracies of its finished runs, as fractions."""
        accuracies = [summary.test_accuracy for summary in self.finished]
        return [accuracy for accuracy in accuracies if accuracy is not None]

    @property
    def states(self) -> "Counter[RunState]":
        return Counter(run.state for run in self.runs)


@dataclass(frozen=True)
class SweepStatus:
    """A sweep record and the state of all that it asked for."""

    record: SweepRecord
    runs: list[RunStatus]
    """Every run once, trials of a study included."""
    rows: list[RowStatus]
    """In the order of their first job; a study's trials are no rows."""

    @property
    def states(self) -> "Counter[RunState]":
        """How many of the rows' runs are in each state. Trials have states of their own."""
        # By id: rows may share a run, and the winner's run may be that of its trial.
        state_by_id = {run.job.id: run.state for row in self.rows for run in row.runs}
        return Counter(state_by_id.values())

    @property
    def is_complete(self) -> bool:
        """Whether nothing of what the sweep asked for is left to do."""
        # The number of trials does not tell: a budget of time may have ended the study.
        if self.record.kind == "study" and not self.record.winner:
            return False
        return all(state.is_completed for state in self.states)

    @property
    def commands(self) -> list[str]:
        """The commands that train what is left."""
        jobs = [run.job for row in self.rows for run in row.runs if not run.state.is_completed]
        # A study may have no job left and still trials to begin.
        return self.record.commands_of(jobs) or [self.record.command]

    def in_state(self, state: RunState) -> list[RunStatus]:
        return [run for run in self.runs if run.state == state]


def mean(values: Sequence[float]) -> float:
    """Return the mean; NaN of nothing."""
    return statistics.fmean(values) if values else math.nan


def deviation(values: Sequence[float]) -> float:
    """Return the standard deviation; NaN of fewer than two values."""
    return statistics.stdev(values) if len(values) > 1 else math.nan


class StatusReader:
    """Reads the status of sweeps in a folder, again and again.

    What is completed is read once: the summary of a run does not change.
    """

    def __init__(self, outputs: Path, *, by_lock: bool = False) -> None:
        """Begin without having read anything.

        Args:
            by_lock: tell by the lock of a run whether it is in training, not by its progress file.
                Looking at a lock acquires it for a moment, so it is not for readers that look again
                and again.
        """
        self.outputs = outputs
        self.by_lock = by_lock
        self.problems: list[str] = []
        """Messages on records and runs that could not be read at the last look."""
        self._records: dict[Path, tuple[tuple[int, int], SweepRecord]] = {}
        self._summaries: dict[str, RunSummary] = {}
        """By the name of the run's directory."""

    def read_records(self) -> list[SweepRecord]:
        """Return all records, sorted by their file names; unchanged ones are not read again."""
        records = []
        self.problems = []
        for path in record_paths(self.outputs):
            try:
                status = path.stat()
                stamp = (status.st_mtime_ns, status.st_size)
                if path not in self._records or self._records[path][0] != stamp:
                    record = read_record(path)
                    check_file_name(path, record.name)
                    self._records[path] = (stamp, record)
                records.append(self._records[path][1])
            except (OSError, AugeanError) as error:
                self.problems.append(str(error))
        return records

    def read(self, record: SweepRecord) -> SweepStatus:
        """Return the status of a sweep as its files are now."""
        present = self._directories()
        runs: dict[str, RunStatus] = {}
        rows: dict[str, dict[str, RunStatus]] = {}
        for job in record.jobs:
            if job.id not in runs:
                runs[job.id] = self._read_run(job, present)
            if job.trial is None:
                rows.setdefault(job.row, {})[job.id] = runs[job.id]
        return SweepStatus(
            record=record,
            runs=list(runs.values()),
            rows=[RowStatus(label=label, runs=list(row.values())) for label, row in rows.items()],
        )

    def _directories(self) -> set[str]:
        """Return the names of all run directories, so that missing ones cost nothing.

        Raises:
            AugeanError: when the folder may not be read.
        """
        return set(list_names(runs_dir(self.outputs)))

    def _read_run(self, job: SweepJob, present: set[str]) -> RunStatus:
        path = runs_dir(self.outputs) / job.run
        if job.run not in present:
            self._summaries.pop(job.run, None)
            is_begun = self._is_running(job.id, None)
            return RunStatus(job=job, state=RunState.RUNNING if is_begun else RunState.MISSING)
        summary = self._read_summary(job, path)
        if summary is not None:
            return RunStatus(job=job, state=summary.status, summary=summary)
        # It counts as one with a damaged summary.
        problem = explain_unreadable(path)
        if problem is not None:
            if problem not in self.problems:
                self.problems.append(problem)
            return RunStatus(job=job, state=RunState.INTERRUPTED)
        progress = read_progress(path) if os.path.exists(path / PROGRESS_FILE) else None
        # Looked at before failure.txt, which the next process may not have removed yet.
        if self._is_running(job.id, progress):
            return RunStatus(job=job, state=RunState.RUNNING, progress=progress)
        error = read_failure_line(path)
        if error is not None:
            return RunStatus(job=job, state=RunState.FAILED, error=error[:LONGEST_ERROR])
        return RunStatus(job=job, state=RunState.INTERRUPTED)

    def _is_running(self, run_id: str, progress: RunProgress | None) -> bool:
        if self.by_lock:
            return is_locked(self.outputs, run_id)
        return progress is not None and time.time() - progress.updated < SILENT_SECONDS

    def _read_summary(self, job: SweepJob, path: Path) -> RunSummary | None:
        """Return a run's summary; None where it has none yet, or a damaged one."""
        known = self._summaries.get(job.run)
        if known is not None:
            return known
        # Path.exists raises where the directory may not be read.
        if not os.path.exists(path / SUMMARY):
            return None
        try:
            summary = read_summary(path, job.id)
        except AugeanError:
            return None
        if summary is not None:
            self._summaries[job.run] = summary
        return summary
