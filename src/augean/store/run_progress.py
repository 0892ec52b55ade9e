"""Write and read how far a run in training has come: a small file, for `augean status` and others.

Readers look at this file because they must not test the run's lock: testing acquires it for a
moment, which would disturb workers. Writing does not wait for the disk. The file is removed when
the run ends.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from augean.regular_files import NOTE_BYTES, parse_json, read_regular
from augean.store.files import write_atomic
from augean.store.values import WrongValueError, as_amount, as_count, as_fraction

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
        content = parse_json(read_regular(directory / PROGRESS_FILE, NOTE_BYTES))
        values = {name: parse(content[name]) for name, parse in _PARSERS.items()}
        return RunProgress(**values)
    # The file may come from another version, or be damaged. Nothing depends on it but a display.
    except (OSError, ValueError, KeyError, TypeError, WrongValueError):
        return None


def _optional(parse: Callable[[Any], float]) -> Callable[[Any], float | None]:
    """Return a parser that also takes None."""
    return lambda value: None if value is None else parse(value)


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "epoch": as_count,
    "epochs": as_count,
    "fraction": as_fraction,
    "seconds_left": _optional(as_amount),
    "train_accuracy": _optional(as_fraction),
    "val_accuracy": _optional(as_fraction),
    "updated": as_amount,
}


def remove_progress(directory: Path) -> None:
    """Remove the progress file of the run in `directory`, if there is one."""
    (directory / PROGRESS_FILE).unlink(missing_ok=True)
