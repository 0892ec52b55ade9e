"""Reads a folder of runs and sweep records. What cannot be read becomes a `Problem`, never an exception.

from augean.report import load_runs
runs = load_runs("outputs")
runs[runs.state == "finished"].groupby("optimizer.name").test_accuracy.agg(["mean", "std", "count"])
"""

import difflib
import hashlib
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pandas
from tqdm import tqdm

from augean import records, rundir
from augean.config import SCHEMA, row_label
from augean.errors import AugeanError
from augean.records import Job, Record

Run = dict[str, Any]
"""One run as flat keys: `id`, `directory`, `state`, the summary's scores and the config's dotted keys."""

_NOT_COLUMNS = ("schema", "sha256", "files", "status", "id", "config", "versions", "diverged")
_HEADER = ",".join(rundir.METRICS).encode()


@dataclass(frozen=True)
class Problem:
    """Something in the folder that the report could not use, or used with a remark."""

    path: str
    """Relative to the outputs folder."""
    message: str
    unreadable: bool = True
    """False for a remark, such as a foreign folder: all of the project's own files were read."""


@dataclass(frozen=True)
class Sweep:
    """A sweep record and, for each of its jobs, the run as it stands now."""

    record: Record
    cells: list[tuple[Job, Run]]


@dataclass
class Contents:
    """All that a folder of outputs holds, each run once."""

    outputs: Path
    runs: dict[str, Run] = field(default_factory=dict)
    """By id."""
    sweeps: list[Sweep] = field(default_factory=list)
    copies: list[tuple[str, str]] = field(default_factory=list)
    """(directory, id) of further directories that hold a run which is here already."""
    digests: dict[str, str] = field(default_factory=dict)
    """sha256 of metrics.csv by directory, from the summaries."""
    problems: list[Problem] = field(default_factory=list)

    def frame(self) -> pandas.DataFrame:
        """One row a run, by directory; `tables` names the tables and rows that it belongs to."""
        places: dict[str, dict[str, None]] = {}
        for sweep in self.sweeps:
            for job, _ in sweep.cells:
                places.setdefault(job.id, {})[f"{sweep.record.name}/{job.row}"] = None
        rows = [{**run, "tables": "; ".join(places.get(run["id"], ()))} for run in self.runs.values()]
        frame = pandas.DataFrame(rows, columns=None if rows else ["id", "directory", "state", "tables"])
        first = ["id", "directory", "state", "tables"]
        return frame[[*first, *(name for name in frame.columns if name not in first)]]


def load_runs(outputs: str | Path, select: str | None = None) -> pandas.DataFrame:
    """One row a run: id, directory, state, tables, scores (accuracies are fractions), seconds, config keys, versions.

    A run that lies in several directories is there once; unfinished runs have only the first four columns.

    Args:
        outputs: the folder that `runtime.outputs` named.
        select: such as `optimizer.name=sgd,adam trainer.epochs=35`, see `scan`.

    Raises:
        AugeanError: when there is no such folder, or `select` cannot be understood.
    """
    return scan(Path(outputs), select).frame()


def load_metrics(outputs: str | Path, select: str | None = None) -> pandas.DataFrame:
    """One row an epoch of every run, unfinished ones included: directory, then the columns of metrics.csv."""
    contents = scan(Path(outputs), select)
    return read_metrics(contents, [run["directory"] for run in contents.runs.values()])


def scan(outputs: Path, select: str | None = None) -> Contents:
    """Read all summaries and records below `outputs`.

    Args:
        select: terms `key=value` that must all hold, separated by spaces; a value may be a list `a,b` and have the
            wildcards `*` and `?`. Keys are the columns of `load_runs` and `table` for the name of a sweep record.

    Raises:
        AugeanError: when there is no such folder, or `select` cannot be understood.
    """
    if not outputs.is_dir():
        raise AugeanError(f"{outputs}: no such folder; name the one that runtime.outputs named when the runs were made")
    contents = Contents(outputs)
    _read_runs(contents)
    _read_records(contents)
    if select and select.strip():
        _select(contents, select)
    return contents


def _read_runs(contents: Contents) -> None:
    folder = rundir.runs_dir(contents.outputs)
    displaced = []
    for path in tqdm(sorted(folder.glob("*")), "reading runs", delay=1, leave=False, disable=None):
        named, place = re.fullmatch(r"(?:.*-)?([0-9a-f]{10})", path.name), f"{folder.name}/{path.name}"
        try:
            summary = rundir.read_summary(path)
            if summary is not None and summary.get("schema") != SCHEMA:
                raise AugeanError(f"a summary of schema {summary.get('schema')}; this Augean reads {SCHEMA}")
            if summary is not None and (summary.get("status") not in ("finished", "diverged") or "id" not in summary):
                raise AugeanError("not the summary of a run: id or status are absent or unknown")
        except AugeanError as error:
            message = str(error).removeprefix(f"{path / 'summary.json'}: ")
            contents.problems.append(Problem(f"{place}/summary.json", message))
            summary = None
        if summary is None:
            if named and path.is_dir():
                state = rundir.state(contents.outputs, path, named[1])
                state = "interrupted" if state in ("finished", "diverged") else state  # of a schema that is not ours
                contents.runs[named[1]] = {"id": named[1], "directory": path.name, "state": state}
            elif not path.name.startswith(".") and not (path / "summary.json").exists():
                contents.problems.append(Problem(place, "not the directory of a run; left out", unreadable=False))
            continue
        run = _flatten(path.name, summary)
        contents.digests[path.name] = str((summary.get("files") or {}).get("metrics.csv", ""))
        if named and named[1] == run["id"] and run["id"] not in contents.runs:
            contents.runs[run["id"]] = run
        else:
            displaced.append(run)
    for run in displaced:
        # A copy stands in for its original where that is gone, so that every run counts exactly once.
        if contents.runs.setdefault(run["id"], run) is not run:
            contents.copies.append((run["directory"], run["id"]))


def _flatten(directory: str, summary: Mapping[str, Any]) -> Run:
    return {
        "id": str(summary["id"]),
        "directory": directory,
        "state": str(summary["status"]),
        **{key: value for key, value in summary.items() if key not in _NOT_COLUMNS},
        "diverged_epoch": (summary.get("diverged") or {}).get("epoch"),
        **{str(key): value for key, value in summary["config"].items()},
        **{f"versions.{name}": value for name, value in (summary.get("versions") or {}).items()},
    }


def _read_records(contents: Contents) -> None:
    for path in sorted((contents.outputs / "sweeps").glob("*.json")):
        try:
            contents.sweeps.append(_join(contents, replace(records.read(path), name=path.stem)))
        except AugeanError as error:
            message = str(error).removeprefix(f"{path}: ")
            contents.problems.append(Problem(f"sweeps/{path.name}", message))
        except (TypeError, ValueError, AttributeError) as error:
            message = f"not a sweep record ({type(error).__name__}: {error})"
            contents.problems.append(Problem(f"sweeps/{path.name}", message))


def _join(contents: Contents, record: Record) -> Sweep:
    """Look up each job's run; TypeError, ValueError or AttributeError where the record's values are of wrong types."""
    text = {name: None if (value := getattr(record, name)) is None else str(value) for name in ("figure", "note")}
    baseline = None if record.baseline is None else row_label(record.baseline)
    reference = {
        row_label(label): {key: float(value) for key, value in numbers.items()}
        for label, numbers in record.reference.items()
    }
    jobs = [Job(id=str(job.id), run=str(job.run), row=str(job.row), seed=int(job.seed)) for job in record.jobs]
    record = replace(
        record, title=str(record.title), command=str(record.command), baseline=baseline, reference=reference, jobs=jobs
    )
    folder = rundir.runs_dir(contents.outputs)
    cells = []
    for job in jobs:
        run = contents.runs.get(job.id)
        if run is None:
            state = rundir.state(contents.outputs, folder / job.run, job.id)
            run = {"id": job.id, "directory": job.run, "state": state if state == "running" else "missing"}
        if "seed" not in run:  # what the record knows of a run without a summary
            run.update({"seed": job.seed} | ({record.row_key: job.row} if record.row_key else {}))
        cells.append((job, run))
    return Sweep(replace(record, **text), cells)


def _select(contents: Contents, select: str) -> None:
    """Keep only what the terms name."""
    known = {"table"}.union(*(run for run in contents.runs.values()))
    known.update(*(run for sweep in contents.sweeps for _, run in sweep.cells))
    terms: list[tuple[str, list[str]]] = []
    for term in select.split():
        key, equals, values = term.partition("=")
        if not equals:
            raise AugeanError(f"select {term!r}: not of the form key=value, such as optimizer.name=sgd,adam")
        if key not in known:
            key = f"{key}.name" if f"{key}.name" in known else key
        if key not in known:
            close = difflib.get_close_matches(key, sorted(known), 3) or sorted(known)[:12]
            raise AugeanError(f"select {term!r}: no run has the key {key}; did you mean {', '.join(close)}?")
        terms.append((key, values.split(",")))
    tables = [values for key, values in terms if key == "table"]
    terms = [term for term in terms if term[0] != "table"]

    def chosen(run: Run) -> bool:
        return all(key in run and _matches(row_label(run[key]), values) for key, values in terms)

    contents.sweeps = [
        Sweep(sweep.record, cells)
        for sweep in contents.sweeps
        if all(_matches(sweep.record.name, values) for values in tables)
        and (cells := [cell for cell in sweep.cells if chosen(cell[1])])
    ]
    in_tables = {job.id for sweep in contents.sweeps for job, _ in sweep.cells}
    contents.runs = {key: run for key, run in contents.runs.items() if chosen(run) and (not tables or key in in_tables)}
    contents.copies = [copy for copy in contents.copies if copy[1] in contents.runs]


def _matches(value: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(value, row_label(pattern)) for pattern in patterns)


def read_metrics(contents: Contents, directories: Iterable[str]) -> pandas.DataFrame:
    """The metrics.csv of the given run directories as one table, `directory` first; an absent file is no problem.

    A file that has the digest of its summary was written by Augean and is parsed together with all others of its kind;
    only files of unfinished runs are looked at one by one.
    """
    names, lengths, bodies, frames = [], [], [], []
    for directory in tqdm(list(dict.fromkeys(directories)), "reading metrics", delay=1, leave=False, disable=None):
        path = rundir.runs_dir(contents.outputs) / directory / "metrics.csv"
        try:
            content = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            contents.problems.append(_metrics_problem(directory, f"cannot be read ({error.strerror})"))
            continue
        digest = contents.digests.get(directory)
        head, _, body = content.partition(b"\n")
        if digest and hashlib.sha256(content).hexdigest() != digest:
            contents.problems.append(_metrics_problem(directory, "was truncated or altered after the run; not drawn"))
        elif digest and head == _HEADER:
            names.append(directory)
            lengths.append(body.count(b"\n"))
            bodies.append(body)
        else:
            try:
                frame = pandas.read_csv(io.BytesIO(content), usecols=list(rundir.METRICS), dtype=float)
                frames.append(frame.assign(directory=directory))
            except (ValueError, OverflowError) as error:
                contents.problems.append(_metrics_problem(directory, f"not the metrics of a run ({error})"))
    if bodies:
        frame = pandas.read_csv(io.BytesIO(b"".join(bodies)), header=None, names=list(rundir.METRICS), dtype=float)
        codes = pandas.Series(range(len(names))).repeat(pandas.Series(lengths)).to_numpy()
        frames.append(frame.assign(directory=pandas.Categorical.from_codes(codes, categories=names)))
    if not frames:
        return pandas.DataFrame(columns=["directory", *rundir.METRICS])
    return pandas.concat(frames, ignore_index=True)[["directory", *rundir.METRICS]]


def _metrics_problem(directory: str, message: str) -> Problem:
    return Problem(f"runs/{directory}/metrics.csv", message)
