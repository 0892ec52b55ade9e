"""The files that training leaves in a run's directory, beside metrics.csv and the summary."""

import io
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from augean.errors import AugeanError
from augean.store.files import write_atomic, write_csv
from augean.store.run_files import (
    CONFUSION,
    CORRECT,
    MODEL,
    PROBES,
    STATE,
    STEP_LOSSES,
    WEIGHTS,
)
from augean.training.loss_landscape import ProbeRow

train_log = logging.getLogger("augean.run")
"""The logger whose lines `logging_to` writes to a run's train.log."""


@contextmanager
def logging_to(file: Path) -> Iterator[None]:
    """Append the lines of `train_log` to a file, each with its time."""
    # Opening a named pipe would wait for ever for a process that reads from it.
    if file.exists() and not file.is_file():
        raise AugeanError(f"{file}: not a regular file; remove it, and give the command again")
    handler = logging.FileHandler(file, encoding="utf-8")
    # A log that cannot be written must not end the run. Should the disk be full, the metrics and
    # the checkpoint fail as well, and their errors are reported.
    handler.handleError = lambda _record: None  # type: ignore[assignment, method-assign]
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    train_log.addHandler(handler)
    train_log.setLevel(logging.INFO)
    # The terminal has a display of its own, see `augean.training.progress`.
    train_log.propagate = False
    try:
        yield
    finally:
        train_log.removeHandler(handler)
        handler.close()


def serialize(content: Any) -> bytes:
    """Return the bytes that `torch.save` would write to a file."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def write_model(path: Path, description: Mapping[str, Any]) -> None:
    """Write model.json, see `augean.training.model_summary`."""
    write_atomic(path / MODEL, json.dumps(description, indent=1) + "\n")


def write_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write the selected weights to best.pt, a plain state dict on the CPU."""
    on_cpu = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    write_atomic(path / WEIGHTS, serialize(on_cpu))


def write_state(path: Path, checkpoint: bytes) -> None:
    """Write the checkpoint of a run's last epoch to state.pt, which stays after the run's end."""
    write_atomic(path / STATE, checkpoint)


def write_confusion(path: Path, classes: Sequence[str], confusion: Tensor) -> None:
    """Write confusion.csv.

    Args:
        confusion: int64 [classes, classes]; rows are true labels, columns predictions.
    """
    rows: list[list[Any]] = [["true", *classes]]
    for name, counts in zip(classes, confusion.tolist(), strict=True):
        rows.append([name, *counts])
    write_csv(path / CONFUSION, rows)


def write_correct(path: Path, correct: Tensor) -> None:
    """Write to correct.npy which test images are classified right.

    One bit an image, as `numpy.packbits` packs them: 1.4 kB for 10,000 images.

    Args:
        correct: bool [N], in the order of the test set, on the CPU.
    """
    buffer = io.BytesIO()
    numpy.save(buffer, numpy.packbits(correct.numpy()))
    write_atomic(path / CORRECT, buffer.getvalue())


def write_step_losses(path: Path, step_losses: Sequence[float]) -> None:
    """Write the loss of each step to steps.npy, fp32."""
    buffer = io.BytesIO()
    numpy.save(buffer, numpy.asarray(step_losses, dtype=numpy.float32))
    write_atomic(path / STEP_LOSSES, buffer.getvalue())


def write_probes(path: Path, probes: Sequence[ProbeRow]) -> None:
    """Write the measures of the loss landscape to probe.csv.

    Args:
        probes: at least one.
    """
    # The keys of the first are the header: all probes have the same.
    rows: list[list[Any]] = [list(probes[0])]
    rows.extend(list(probe.values()) for probe in probes)
    write_csv(path / PROBES, rows)
