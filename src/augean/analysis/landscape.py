"""Read what runs recorded of their loss landscape: the loss of each step, and the probes."""

import io
from pathlib import Path

import numpy
import pandas
from numpy.typing import NDArray

from augean.analysis.load import Contents
from augean.analysis.run import Run
from augean.errors import AugeanError
from augean.store.run_directory import read_verified, runs_dir
from augean.store.run_files import PROBES, STEP_LOSSES

UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    EOFError,
    MemoryError,
    AugeanError,
)
"""What reading a damaged file, or one of other content, may raise. MemoryError is among them, as
the header of an array may claim any size."""
PROBE_COLUMNS = frozenset(
    {"step", "step_size", "loss", "gradient_distance", "gradient_cosine", "smoothness"}
)
"""Columns of probe.csv that are read."""


def read_step_losses(contents: Contents, run: Run) -> NDArray[numpy.float64] | None:
    """Return the loss of every step of a run, [steps]; None where it has none that can be read."""
    path = _run_file(contents, run, STEP_LOSSES)
    try:
        file = io.BytesIO(read_verified(path.parent, path.name))
        array = numpy.load(file, allow_pickle=False)
        losses: NDArray[numpy.float64] = array.ravel().astype(numpy.float64)
        if not len(losses):
            raise ValueError("no losses")
    except FileNotFoundError:
        return None
    except UNREADABLE as error:
        contents.note(path, f"not the losses of a run's steps ({error})")
        return None
    return losses


def read_probes(contents: Contents, run: Run) -> pandas.DataFrame | None:
    """Return the probes of a run's loss landscape; None where it has none that can be read."""
    path = _run_file(contents, run, PROBES)
    try:
        file = io.BytesIO(read_verified(path.parent, path.name))
        probes = pandas.read_csv(file, dtype=float).astype({"step": int})
        absent = PROBE_COLUMNS - set(probes)
        if absent:
            raise ValueError(f"without {', '.join(sorted(absent))}")
    except FileNotFoundError:
        return None
    except UNREADABLE as error:
        contents.note(path, f"no probes of a loss landscape ({error})")
        return None
    return probes


def _run_file(contents: Contents, run: Run, name: str) -> Path:
    return runs_dir(contents.outputs) / run.directory / name
