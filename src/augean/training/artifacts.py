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
from augean.training.loss_landscape import ProbeRow

train_log = logging.getLogger("augean.run")
"""What a run notes in its train.log."""


@contextmanager
def logging_to(file: Path) -> Iterator[None]:
    """Append what is said to `train_log` to a file, with the time of each line."""
    # Opening a named pipe would wait for ever for a process that reads from it.
    if file.exists() and not file.is_file():
        raise AugeanError(f"{file}: not a regular file; remove it, and give the command again")
    handler = logging.FileHandler(file, encoding="utf-8")
    # A full disk shows in the files that matter.
    handler.handleError = lambda _record: None  # type: ignore[assignment, method-assign]
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    train_log.addHandler(handler)
    train_log.setLevel(logging.INFO)
    train_log.propagate = False
    try:
        yield
    finally:
        train_log.removeHandler(handler)
        handler.close()


def serialize(content: Any) -> bytes:
    """Return what `torch.save` writes."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def write_model(path: Path, description: Mapping[str, Any]) -> None:
    """Write model.json, see `augean.training.model_summary`."""
    write_atomic(path / "model.json", json.dumps(description, indent=1) + "\n")


def write_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write the selected weights to best.pt, a plain state dict on the CPU."""
    on_cpu = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    write_atomic(path / "best.pt", serialize(on_cpu))


def write_state(path: Path, checkpoint: bytes) -> None:
    """Write the checkpoint of a run's last epoch to state.pt, which stays when the run is over."""
    write_atomic(path / "state.pt", checkpoint)


def write_confusion(path: Path, classes: Sequence[str], confusion: Tensor) -> None:
    """Write confusion.csv.

    Args:
        confusion: int64 [classes, classes]; rows are true labels, columns predictions.
    """
    rows: list[list[Any]] = [["true", *classes]]
    for name, counts in zip(classes, confusion.tolist(), strict=True):
        rows.append([name, *counts])
    write_csv(path / "confusion.csv", rows)


def write_correct(path: Path, correct: Tensor) -> None:
    """Write to correct.npy which test images are classified right.

    Eight images a byte, as `numpy.packbits` has them: of 10,000 images 1.4 kB.

    Args:
        correct: bool [N], in the order of the test set, on the CPU.
    """
    buffer = io.BytesIO()
    numpy.save(buffer, numpy.packbits(correct.numpy()))
    write_atomic(path / "correct.npy", buffer.getvalue())


def write_step_losses(path: Path, step_losses: Sequence[float]) -> None:
    """Write the loss of each step to steps.npy, fp32."""
    buffer = io.BytesIO()
    numpy.save(buffer, numpy.asarray(step_losses, dtype=numpy.float32))
    write_atomic(path / "steps.npy", buffer.getvalue())


def write_probes(path: Path, probes: Sequence[ProbeRow]) -> None:
    """Write the measures of the loss landscape to probe.csv.

    Args:
        probes: at least one.
    """
    rows: list[list[Any]] = [list(probes[0])]
    rows.extend(list(probe.values()) for probe in probes)
    write_csv(path / "probe.csv", rows)
