"""The files of one run's directory and the state that they prove."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from augean.errors import AugeanError
from augean.store.files import write_csv
from augean.store.locks import is_locked
from augean.store.run_progress import PROGRESS_FILE
from augean.store.summary import RunState, read_summary

METRICS = (
    "epoch",
    "lr",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "seconds",
    "images_per_second",
)
"""Columns of metrics.csv: accuracies are fractions, seconds and rate are of training only."""


def runs_dir(outputs: Path) -> Path:
    return outputs / "runs"


def read_verified(path: Path, name: str) -> bytes:
    """The content of one of a run's files, as the run wrote it.

    Raises:
        OSError: when there is no such file, or it cannot be read.
        AugeanError: when its digest is not the one that the summary has, or there is no sound
            summary.
    """
    content = (path / name).read_bytes()
    summary = read_summary(path)
    if summary is not None and hashlib.sha256(content).hexdigest() != summary.files.get(name):
        raise AugeanError(
            f"{path / name}: was truncated or altered after the run; without"
            f" {path / 'summary.json'} it is made again"
        )
    return content


def run_state(outputs: Path, path: Path, identity: str) -> RunState:
    """Return the state of the run `identity` at `path`.

    A run with a damaged summary is interrupted or failed: it has no result that can be believed.
    """
    try:
        summary = read_summary(path, identity)
    except AugeanError:
        summary = None
    if summary is not None:
        return summary.status
    if is_locked(outputs, identity):
        return RunState.RUNNING
    if (path / "failure.txt").exists():
        return RunState.FAILED
    if path.is_dir():
        return RunState.INTERRUPTED
    return RunState.MISSING


def write_metrics(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write metrics.csv whole; None and missing values become empty cells, floats keep all
    digits.
    """
    write_csv(
        path / "metrics.csv",
        [METRICS, *([row[name] for name in METRICS] for row in rows)],
        sync=False,
    )


def clear_leftovers(path: Path) -> None:
    """Remove what an earlier try left: its failure note, and the progress and temporary files of a
    process that was killed.
    """
    for leftover in [path / "failure.txt", path / PROGRESS_FILE, *path.glob(".*.tmp")]:
        leftover.unlink(missing_ok=True)
