"""How far a run in training has come: a small file for `augean status` and other readers.

Readers look at this file because they must not test the run's lock: testing acquires it for a
moment, which would disturb workers. Writing does not wait for the disk. The file is removed when
the run ends.
"""

import json
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from augean.store.files import write_atomic

PROGRESS_FILE = "progress.json"
WRITE_SECONDS = 2.0
"""Least time between two writes by one run: readers look every few seconds."""


@dataclass(frozen=True, kw_only=True)
class RunProgress:
    """The progress of one run in training."""

    epoch: int
    """The epoch in training, from 1."""
    epochs: int
    """Epochs of the whole run."""
    fraction: float
    """Completed share of the run's steps, 0 to 1."""
    seconds_left: float | None
    """Estimate for the rest of the run; None while there is nothing to estimate it from."""
    train_accuracy: float | None = None
    """Of the last full epoch, as a fraction."""
    val_accuracy: float | None = None
    best_val_accuracy: float | None = None
    updated: float = field(default_factory=time.time)
    """Seconds since 1970."""

    def write(self, directory: Path) -> None:
        """Replace the progress file of the run in `directory`."""
        content = json.dumps(asdict(self)) + "\n"
        write_atomic(directory / PROGRESS_FILE, content, sync=False)


def read_progress(directory: Path) -> RunProgress | None:
    """Return the progress of the run in `directory`; None where no readable file is there.

    It says how far the run was at `updated`, not whether it is still in training: a process that
    was killed leaves its file behind.
    """
    try:
        content = json.loads((directory / PROGRESS_FILE).read_bytes())
        values = {item.name: content[item.name] for item in fields(RunProgress)}
        numbers = [value for value in values.values() if value is not None]
        # The file may come from another version, or be damaged.
        if not all(isinstance(number, int | float) for number in numbers):
            return None
        return RunProgress(**values)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def remove_progress(directory: Path) -> None:
    """Remove the progress file of the run in `directory`, if there is one."""
    (directory / PROGRESS_FILE).unlink(missing_ok=True)
