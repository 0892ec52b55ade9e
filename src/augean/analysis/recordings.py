"""Read what runs recorded while they trained: metrics by epoch, losses by step, and probes."""

import io
import re
from collections.abc import Iterable
from pathlib import Path

import numpy
import pandas
from numpy.typing import NDArray
from tqdm import tqdm

from augean.analysis.load import Contents, scan
from augean.analysis.run import Run
from augean.regular_files import DATA_BYTES, read_regular
from augean.store.run_directory import METRICS, check_digest, runs_dir
from augean.store.run_files import METRICS_FILE, PROBES, STEP_LOSSES

PROBE_COLUMNS = frozenset(
    {"step", "step_size", "loss", "gradient_distance", "gradient_cosine", "smoothness"}
)
"""Columns of probe.csv that are read."""
_HEADER = ",".join(METRICS).encode()
_NUMBER = rb"(?:-?[0-9]++(?:[.][0-9]++)?(?:e[-+]?[0-9]++)?)?"
_LINES = re.compile(rb"(?:(?:%b,){%d}%b\n)*+" % (_NUMBER, len(METRICS) - 1, _NUMBER))
"""Lines of numbers or nothing: a blank line or a quoted break would shift all lines that follow. It
has no backtracking (`++`), so that no file takes for ever."""


def load_metrics(outputs: str | Path, select: str | None = None) -> pandas.DataFrame:
    """Return one row an epoch of every run: directory, then the columns of metrics.csv.

    Unfinished runs are among them.
    """
    contents = scan(Path(outputs), select)
    return read_metrics(contents, contents.runs.values())


def read_metrics(contents: Contents, runs: Iterable[Run]) -> pandas.DataFrame:
    """Return the metrics.csv of the given runs as one table, `directory` first.

    An absent file is not a problem.
    """
    # Parsing one long text is many times faster than parsing thousands of short files. So files
    # that are as Augean writes them are joined, and others are parsed one by one.
    directories: list[str] = []
    bodies = []
    frames = []
    by_directory = {run.directory: run for run in runs}
    progress = tqdm(by_directory.items(), "reading metrics", delay=1, leave=False, disable=None)
    for directory, run in progress:
        path = runs_dir(contents.outputs) / directory / METRICS_FILE
        digest = None if run.summary is None else run.summary.files.get(METRICS_FILE)
        try:
            content = read_regular(path, DATA_BYTES)
            if digest:
                check_digest(content, digest)
            header, _, body = content.partition(b"\n")
            if digest and header == _HEADER and _LINES.fullmatch(body):
                directories += [directory] * body.count(b"\n")
                bodies.append(body)
            else:
                frame = pandas.read_csv(io.BytesIO(content), usecols=list(METRICS), dtype=float)
                frames.append(frame.assign(directory=directory))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            contents.note(path, f"not the metrics of a run, so no curve is drawn ({error})")
    if bodies:
        file = io.BytesIO(b"".join(bodies))
        frame = pandas.read_csv(file, header=None, names=list(METRICS), dtype=float)
        frames.append(frame.assign(directory=pandas.Categorical(directories)))
    columns = ["directory", *METRICS]
    if not frames:
        return pandas.DataFrame(columns=columns)
    return pandas.concat(frames, ignore_index=True)[columns]


def read_step_losses(contents: Contents, run: Run) -> NDArray[numpy.float64] | None:
    """Return the loss of every step of a run, [steps]; None where it has none that can be read."""
    return contents.read_file(run, STEP_LOSSES, _parse_losses, "not the losses of a run's steps")


def _parse_losses(content: bytes) -> NDArray[numpy.float64]:
    array = numpy.load(io.BytesIO(content), allow_pickle=False)
    losses: NDArray[numpy.float64] = array.ravel().astype(numpy.float64)
    if not len(losses):
        raise ValueError("no losses")
    return losses


def read_probes(contents: Contents, run: Run) -> pandas.DataFrame | None:
    """Return the probes of a run's loss landscape; None where it has none that can be read."""
    return contents.read_file(run, PROBES, _parse_probes, "no probes of a loss landscape")


def _parse_probes(content: bytes) -> pandas.DataFrame:
    probes = pandas.read_csv(io.BytesIO(content), dtype=float).astype({"step": int})
    absent = PROBE_COLUMNS - set(probes)
    if absent:
        raise ValueError(f"without {', '.join(sorted(absent))}")
    return probes
