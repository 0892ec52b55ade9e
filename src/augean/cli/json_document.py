"""The one JSON document of `augean status`, `settle` and `report` with `--json`.

docs/reference/json.md describes it. Accuracies, their deviations and differences are fractions
from 0 to 1; what is not known is null.
"""

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augean.monitor.sweep_status import (
    RowStatus,
    RunStatus,
    StatusReader,
    SweepStatus,
    deviation,
    mean,
)
from augean.store.summary import RunState
from augean.version import version

if TYPE_CHECKING:
    from augean.analysis.comparison import Row, Table

SCHEMA = 1
"""Raised when a key changes its meaning or goes; new keys may come without."""

RUN_KEYS = ("epoch", "epochs", "seconds_left", "seconds", "val_accuracy", "test_accuracy")
"""What the document says of a run's training, from its progress file or its summary."""


def document(
    command: str,
    outputs: Path,
    sweeps: Sequence[dict[str, Any]],
    problems: Sequence[str],
    page: Path | None = None,
) -> str:
    """Return the document as text.

    Args:
        sweeps: entries of `sweep_entry`.
        problems: messages on files that were passed over.
        page: the report's page, where one was written.
    """
    content = {
        "schema": SCHEMA,
        "augean": version(),
        "command": command,
        "outputs": str(outputs),
        "page": None if page is None else str(page),
        "problems": list(problems),
        "sweeps": list(sweeps),
    }
    return json.dumps(_plain(content), indent=1, allow_nan=False)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: NaN and infinity are null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    # JSON has no NaN and no infinity, and strict readers refuse what Python writes for them.
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def sweep_entry(
    status: SweepStatus,
    table: "Table | None" = None,
    *,
    remarks: Sequence[str] = (),
    queue: str = "",
) -> dict[str, Any]:
    """Return what the document says of a sweep.

    Args:
        table: its statistics, where they were computed: then rows have intervals and verdicts.
        remarks: what the report warns of beside the table.
        queue: how much of it is in SLURM's queue.
    """
    record = status.record
    # By the rows' labels, which the status and the table share.
    statistics_of = {} if table is None else {row.label: row for row in table.rows}
    return {
        "name": record.name,
        "title": record.title,
        "kind": record.kind,
        "command": record.command,
        "overrides": record.overrides,
        "complete": status.is_complete,
        "states": {str(state): status.states[state] for state in RunState},
        "queue": queue or None,
        "study": _study_entry(status),
        "design": record.design or None,
        "baseline": record.baseline,
        "method": table.method if table is not None and table.method else None,
        "remarks": remarks,
        "rows": [_row_entry(row, statistics_of.get(row.label)) for row in status.rows],
        "runs": [_run_entry(run) for run in status.runs],
    }


def table_entry(outputs: Path, table: "Table") -> dict[str, Any]:
    """Return what the document says of a sweep whose statistics were computed."""
    from augean.report.tables import remarks

    # Only the runs of the table, which may be a selection of the sweep's. Trials are added: they
    # belong to the sweep, but are not rows of its table.
    jobs = [job for job, _ in table.sweep.job_runs]
    record = replace(table.sweep.record, jobs=[*jobs, *table.sweep.record.trials])
    status = StatusReader(outputs, by_lock=True).read(record)
    return sweep_entry(status, table, remarks=remarks(table))


def _study_entry(status: SweepStatus) -> dict[str, Any] | None:
    """Return the progress and the best trial of a study; None for a grid."""
    record = status.record
    if record.kind != "study":
        return None
    best = record.best_trial()
    return {
        "num_trials": record.num_trials,
        "done": record.num_trials_done,
        "timeout": record.timeout,
        "confirm": record.confirm,
        "direction": record.direction,
        "best": None if best is None else asdict(best),
        "winner": record.winner,
    }


def _row_entry(row: RowStatus, row_statistics: "Row | None") -> dict[str, Any]:
    """Return the means of a row; with its statistics also their interval and comparison."""
    finished = row.finished
    val_accuracies = [item.val_accuracy for item in finished if item.val_accuracy is not None]
    times = [item.seconds for item in finished if item.seconds is not None]
    entry: dict[str, Any] = {
        "row": row.label,
        "n": len(row.scores),
        "states": {str(state): row.states[state] for state in RunState},
        "test_accuracy": mean(row.scores),
        "sd": deviation(row.scores),
        "half_width_95": None,
        "val_accuracy": mean(val_accuracies),
        "seconds": statistics.median(times) if times else None,
        "difference": None,
    }
    # The report counts in percent and points, the document in fractions.
    if row_statistics is not None:
        entry["half_width_95"] = row_statistics.accuracy.half_width / 100
        entry["difference"] = _difference_entry(row_statistics)
    return entry


def _difference_entry(row: "Row") -> dict[str, Any] | None:
    """Return the comparison with the baseline; None for the baseline, or without a comparison."""
    difference = row.difference
    if difference.verdict in ("baseline", "-"):
        return None
    return {
        "value": difference.value / 100,
        "low": difference.low / 100,
        "high": difference.high / 100,
        "p": difference.p,
        "verdict": str(difference.verdict),
        "margin": difference.margin / 100,
        "n": difference.n,
        "num_diverged": row.num_diverged,
        "progress": None if difference.progress is None else str(difference.progress),
    }


def _run_entry(run: RunStatus) -> dict[str, Any]:
    """Return what the document says of one run."""
    # A run in training has a progress file, a completed one a summary. Their fields have the names
    # of the document. A summary has no `epoch`: its `epochs` is both.
    entry: dict[str, Any] = dict.fromkeys(RUN_KEYS)
    if run.progress is not None:
        entry |= asdict(run.progress)
    if run.summary is not None:
        entry |= vars(run.summary)
        entry["epoch"] = run.summary.epochs
    return {
        "id": run.job.id,
        "run": run.job.run,
        "row": run.job.row,
        "seed": run.job.seed,
        "trial": run.job.trial,
        "state": str(run.state),
        **{key: entry[key] for key in RUN_KEYS},
        "error": run.error or None,
    }
