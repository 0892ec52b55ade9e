"""Read and write the files of one run's directory, and tell the run's state by them."""

import csv
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from augean.errors import AugeanError
from augean.regular_files import DATA_BYTES, NOTE_BYTES, read_regular
from augean.store.files import temporary_files, write_csv
from augean.store.locks import is_locked
from augean.store.run_files import FAILURE, METRICS_FILE, UNPACKED
from augean.store.run_progress import PROGRESS_FILE
from augean.store.summary import RunState, read_summary
from augean.system_errors import READABLE

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
"""Columns of metrics.csv: accuracies are fractions; `seconds` and `images_per_second` are those of
the training alone, without evaluation."""


def runs_dir(outputs: Path) -> Path:
    """Return the folder below `outputs` that holds the run directories."""
    return outputs / "runs"


def place_from(outputs: Path, folder: Path) -> str:
    """Return the path of a folder relative to the outputs folder, as `RunSummary.places` has it.

    Relative paths stay right when a project is moved as a whole.
    """
    return os.path.relpath(folder, outputs)


def place_at(outputs: Path, place: str) -> Path:
    """Return the absolute path of what `place_from` returned."""
    # Joined as text: where `outputs` is a link, "../data" lies beside the link and not beside its
    # target.
    return Path(os.path.normpath(os.path.join(os.path.abspath(outputs), place)))


def read_verified(path: Path, name: str, max_bytes: int = DATA_BYTES) -> bytes:
    """Return the content of a run's file and check it against its digest in the summary.

    A run without a summary is not completed: its files have no digests yet and are not checked.

    Args:
        path: the run's directory.
        name: of the file in it.
        max_bytes: largest size of the file.

    Raises:
        OSError: when the file is missing, cannot be read or is too large.
        AugeanError: when the file was altered after the run, or the summary is damaged.
    """
    content = read_regular(path / name, max_bytes)
    summary = read_summary(path)
    if summary is None:
        return content
    try:
        check_digest(content, summary.files.get(name))
    except ValueError as error:
        raise AugeanError(
            f"{path / name}: was {error}; bring the file from where the run was trained, or train"
            " it once more into another runtime.outputs"
        ) from None
    return content


def check_digest(content: bytes, digest: str | None) -> None:
    """Check the content of a run's file against its digest in the summary.

    Raises:
        ValueError: when they do not match, or the summary has no digest of the file.
    """
    if hashlib.sha256(content).hexdigest() != digest:
        raise ValueError("truncated or altered after the run")


def run_state(outputs: Path, path: Path, run_id: str) -> RunState:
    """Return the state of the run `run_id` at `path`.

    A run with a damaged summary has no result to trust: it counts as one without a summary. So does
    one whose directory may not be read, see `explain_unreadable`.
    """
    try:
        summary = read_summary(path, run_id)
    except AugeanError:
        summary = None
    if summary is not None:
        return summary.status
    # The lock before failure.txt: a process that trains the run again may not have removed it yet.
    if is_locked(outputs, run_id):
        return RunState.RUNNING
    # Not by methods of Path, which raise where the directory may not be read.
    if os.path.exists(path / FAILURE):
        return RunState.FAILED
    # Begun, but neither completed nor failed: stopped by a signal, pruned, or killed.
    if os.path.isdir(path):
        return RunState.INTERRUPTED
    return RunState.MISSING


def explain_unreadable(path: Path) -> str | None:
    """Return a message on a run directory that this user may not read; None where he may."""
    if os.access(path, os.R_OK | os.X_OK):
        return None
    return f"{path}: may not be read, so its result is left out; {READABLE}"


def read_failure_line(path: Path) -> str | None:
    """Return why a run failed, in one line; None where it has no failure.txt.

    Args:
        path: the run's directory.
    """
    try:
        text = read_regular(path / FAILURE, NOTE_BYTES).decode(errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return f"{FAILURE} cannot be read ({error.strerror})"
    lines = text.strip().splitlines() or [""]
    # Of several lines of a message the first says most.
    if not lines[0].startswith("Traceback"):
        return lines[0]
    # Of exceptions that follow each other the last one counts. Its message stands after its frames,
    # which are indented.
    starts = [index for index, line in enumerate(lines) if line.startswith("Traceback")]
    for line in lines[starts[-1] + 1 :]:
        if not line.startswith(" "):
            return line
    return lines[-1]


def write_metrics(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the whole of metrics.csv.

    None becomes an empty cell; floats keep all digits.

    Args:
        path: the run's directory.
        rows: one per epoch, with a value for each name in `METRICS`.
    """
    lines: list[Sequence[Any]] = [METRICS]
    for row in rows:
        lines.append([row[name] for name in METRICS])
    # Written anew in each epoch and rebuilt on resume, so no write needs to wait for the disk.
    write_csv(path / METRICS_FILE, lines, sync=False)


def training_seconds(path: Path) -> float:
    """Return the seconds of a run's training steps so far, as metrics.csv has them; 0 without it.

    Args:
        path: the run's directory.
    """
    try:
        lines = read_regular(path / METRICS_FILE, DATA_BYTES).decode().splitlines()
        return sum(float(row["seconds"]) for row in csv.DictReader(lines))
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return 0.0


def clear_leftovers(path: Path) -> None:
    """Remove what an earlier process left in the run's directory.

    That is the note of its failure, its progress file, the temporary files of a killed process, and
    the mark of an unfinished run that came in an archive.
    """
    names = (FAILURE, PROGRESS_FILE, UNPACKED)
    for leftover in (*(path / name for name in names), *temporary_files(path)):
        leftover.unlink(missing_ok=True)
