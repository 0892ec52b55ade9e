"""Read a folder of runs and sweep records. What cannot be read becomes a `Problem`, never an
exception.

from augean.report import load_runs
runs = load_runs("outputs")
runs[runs.state == "finished"].groupby("optimizer.name").test_accuracy.agg(["mean", "std", "count"])
"""

import difflib
import hashlib
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import pandas
from tqdm import tqdm

from augean.analysis.sequential import design_of
from augean.config.labels import row_label
from augean.config.run_id import SCHEMA
from augean.errors import AugeanError
from augean.store.run_directory import METRICS, run_state, runs_dir
from augean.store.summary import RunState, RunSummary, read_summary
from augean.store.sweep_record import SweepJob, SweepRecord, read_record

Run = dict[str, Any]
"""One run as flat keys: `id`, `directory`, `state`, the summary's scores and the config's dotted
keys."""
_NOT_COLUMNS = ("schema", "sha256", "files", "status", "id", "config", "versions", "diverged")


class Problem(NamedTuple):
    """Something in the folder that the report could not use, or used with a remark."""

    path: str
    """Relative to the outputs folder."""
    message: str
    unreadable: bool = True
    """False for a remark, such as a foreign folder: all of the project's own files were read."""


class Sweep(NamedTuple):
    """A sweep record and, for each of its jobs, the run as it stands now."""

    record: SweepRecord
    cells: list[tuple[SweepJob, Run]]


@dataclass
class Contents:
    """All that a folder of outputs holds, each run once."""

    outputs: Path
    select: str = ""
    runs: dict[str, Run] = field(default_factory=dict)
    """By id."""
    sweeps: list[Sweep] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    """sha256 of metrics.csv by directory, from the summaries."""
    problems: list[Problem] = field(default_factory=list)

    def note(self, path: Path, message: object, *, unreadable: bool = True) -> None:
        """Add a problem with the file at `path`."""
        text = str(message).removeprefix(f"{path}: ")
        self.problems.append(Problem(str(path.relative_to(self.outputs)), text, unreadable))

    def places(self) -> dict[str, list[tuple[str, str]]]:
        """By run id the tables and rows that the run belongs to."""
        pairs = [
            (job.id, (sweep.record.name, job.row))
            for sweep in self.sweeps
            for job, _ in sweep.cells
        ]
        found: dict[str, list[tuple[str, str]]] = {}
        for id_, place in dict.fromkeys(pairs):
            found.setdefault(id_, []).append(place)
        return found

    def frame(self) -> pandas.DataFrame:
        """One row a run; `tables` names the tables and rows that it belongs to, such as
        "table1_activation/elu".
        """
        places, first = self.places(), {"id": "", "directory": "", "state": "", "tables": ""}
        tables = {
            id_: "; ".join("/".join(place) for place in places.get(id_, ())) for id_ in self.runs
        }
        rows = [first | run | {"tables": tables[id_]} for id_, run in self.runs.items()]
        return pandas.DataFrame(rows, columns=None if rows else list(first))


def load_runs(outputs: str | Path, select: str | None = None) -> pandas.DataFrame:
    """One row a run: id, directory, state, tables, scores (accuracies are fractions), seconds,
    config keys, versions.

    A run that lies in several directories is there once; unfinished runs have only the first four
    columns.

    Args:
        outputs: the folder that `runtime.outputs` named.
        select: such as `optimizer.name=sgd,adam trainer.epochs=35`, see `scan`.

    Raises:
        AugeanError: when there is no such folder, or `select` cannot be understood.
    """
    return scan(Path(outputs), select).frame()


def load_metrics(outputs: str | Path, select: str | None = None) -> pandas.DataFrame:
    """One row an epoch of every run, unfinished ones included: directory, then the columns of
    metrics.csv.
    """
    contents = scan(Path(outputs), select)
    return read_metrics(contents, [run["directory"] for run in contents.runs.values()])


def scan(outputs: Path, select: str | None = None) -> Contents:
    """Read all summaries and records below `outputs`.

    Args:
        select: terms `key=value` that must all hold, separated by spaces; a value may be a list
            `a,b` and have the wildcards `*` and `?`. Keys are the columns of `load_runs` and
            `table` for the name of a sweep record.

    Raises:
        AugeanError: when there is no such folder, or `select` cannot be understood.
    """
    if not outputs.is_dir():
        raise AugeanError(
            f"{outputs}: no such folder; name the one that runtime.outputs named when the runs were"
            " made"
        )
    contents = Contents(outputs, (select or "").strip())
    _read_runs(contents)
    _read_records(contents)
    if contents.select:
        _select(contents)
    return contents


def _read_runs(contents: Contents) -> None:
    displaced, folder = list[Run](), runs_dir(contents.outputs)
    for path in tqdm(
        sorted(folder.glob("[!.]*")), "reading runs", delay=1, leave=False, disable=None
    ):
        named = re.fullmatch(r"(?:.*-)?([0-9a-f]{10})", path.name)
        try:
            summary = _read_summary(path)
        except AugeanError as error:
            contents.note(path / "summary.json", error)
            summary = None
        if summary is not None:
            run = _flatten(path.name, summary)
            contents.digests[path.name] = summary.files.get("metrics.csv", "")
            if named and named[1] == run["id"] and run["id"] not in contents.runs:
                contents.runs[run["id"]] = run
            else:
                displaced.append(run)
        elif named and path.is_dir():
            state = run_state(contents.outputs, path, named[1])
            if state.is_completed:  # of a schema that is not ours
                state = RunState.INTERRUPTED
            contents.runs[named[1]] = {"id": named[1], "directory": path.name, "state": state}
        elif not (path / "summary.json").exists():
            contents.note(path, "not the directory of a run; left out", unreadable=False)
    for run in displaced:
        # A copy stands in for its original where that is gone, so that every run counts exactly
        # once.
        if contents.runs.setdefault(run["id"], run) is not run:
            copy = folder / run["directory"]
            contents.note(
                copy, f"a copy of run {run['id']}, which is counted once", unreadable=False
            )


def _read_summary(path: Path) -> RunSummary | None:
    summary = read_summary(path)
    if summary is not None and summary.schema != SCHEMA:
        raise AugeanError(f"a summary of schema {summary.schema}; this Augean reads {SCHEMA}")
    return summary


def _flatten(directory: str, summary: RunSummary) -> Run:
    run: Run = {"id": summary.id, "directory": directory, "state": summary.status}
    for key, value in summary.entries().items():
        if key not in _NOT_COLUMNS and key not in run:
            run[key] = value
    run["diverged_epoch"] = None if summary.diverged is None else summary.diverged.epoch
    for key, value in summary.config.items():
        run.setdefault(key, value)
    for name, value in summary.versions.items():
        run[f"versions.{name}"] = value
    return run


def _read_records(contents: Contents) -> None:
    for path in sorted((contents.outputs / "sweeps").glob("*.json")):
        try:
            contents.sweeps.append(
                _join(contents, replace(read_record(path), name=_safe(path.stem)))
            )
        except (AugeanError, TypeError, ValueError, AttributeError) as error:
            contents.note(
                path, error if isinstance(error, AugeanError) else f"not a sweep record ({error!r})"
            )


def _safe(name: str) -> str:
    """The name for files, links and `table=`: itself where that is harmless, else a part of it with
    a digest.
    """
    if re.fullmatch(r"(?a:\w)[\w.+=,-]{0,99}", name):
        return name
    return (
        re.sub(r"^\W+|[^\w.+=,-]+", "_", name)[:80]
        + f"--{hashlib.sha256(ascii(name).encode()).hexdigest()[:8]}"
    )


def _join(contents: Contents, record: SweepRecord) -> Sweep:
    """Look up each job's run; TypeError, ValueError or AttributeError where the record's values are
    of wrong types.
    """
    design_of(record)  # refuses what cannot be judged
    baseline = None if record.baseline is None else row_label(record.baseline)
    only_key = record.row_keys[0] if len(record.row_keys) == 1 else None
    published = record.reference.items()
    reference = {
        row_label(row): {key: float(value) for key, value in item.items()}
        for row, item in published
    }
    cells = []
    for job in (job for job in record.jobs if job.trial is None):  # trials are no rows
        job = SweepJob(id=str(job.id), run=str(job.run), row=str(job.row), seed=int(job.seed))
        run = contents.runs.get(job.id) or {"id": job.id, "directory": job.run}
        if "state" not in run:
            state = run_state(contents.outputs, runs_dir(contents.outputs) / job.run, job.id)
            run["state"] = state if state == "running" else "missing"
        if "seed" not in run:  # what the record knows of a run without a summary
            run["seed"] = job.seed
            if only_key is not None:
                run[only_key] = job.row
        cells.append((job, run))
    texts: dict[str, Any] = {"title": str(record.title), "command": str(record.command)}
    return Sweep(
        replace(record, **texts, baseline=baseline, reference=reference), cells
    )


def _select(contents: Contents) -> None:
    """Keep only what the terms name."""
    known = {"table"}.union(
        *contents.runs.values(), *(run for sweep in contents.sweeps for _, run in sweep.cells)
    )
    terms: dict[str, list[str]] = {}
    for term in contents.select.split():
        key, equals, values = term.partition("=")
        key = f"{key}.name" if key not in known and f"{key}.name" in known else key
        if not equals or key not in known:
            close = difflib.get_close_matches(key, sorted(known), 3) or sorted(known)[:12]
            raise AugeanError(
                f"select {term!r}: not key=value with a key of the runs, such as {', '.join(close)}"
            )
        terms[key] = values.split(",")
    tables = terms.pop("table", ["*"])

    def chosen(run: Run) -> bool:
        return all(
            key in run and _matches(row_label(run[key]), values) for key, values in terms.items()
        )

    sweeps = [sweep for sweep in contents.sweeps if _matches(sweep.record.name, tables)]
    sweeps = [
        Sweep(sweep.record, [cell for cell in sweep.cells if chosen(cell[1])]) for sweep in sweeps
    ]
    contents.sweeps = [sweep for sweep in sweeps if sweep.cells]
    kept = (
        {job.id for sweep in contents.sweeps for job, _ in sweep.cells}
        if tables != ["*"]
        else contents.runs.keys()
    )
    contents.runs = {key: run for key, run in contents.runs.items() if key in kept and chosen(run)}


def _matches(value: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(value, row_label(pattern)) for pattern in patterns)


_NUMBER = rb"(?:-?[0-9]++(?:[.][0-9]++)?(?:e[-+]?[0-9]++)?)?"
_ROWS = re.compile(rb"(?:(?:%b,){%d}%b\n)*+" % (_NUMBER, len(METRICS) - 1, _NUMBER))
"""Lines of numbers or nothing; a blank line or a quoted break would shift all rows that are parsed
after it."""


def read_metrics(contents: Contents, directories: Iterable[str]) -> pandas.DataFrame:
    """The metrics.csv of the given run directories as one table, `directory` first; an absent file
    is no problem.

    Files with the digest of their summary are parsed together where they are as Augean writes them,
    others one by one.
    """
    names, bodies, frames, columns = (
        list[str](),
        list[bytes](),
        list[pandas.DataFrame](),
        list(METRICS),
    )
    for directory in tqdm(
        list(dict.fromkeys(directories)), "reading metrics", delay=1, leave=False, disable=None
    ):
        path, digest = (
            runs_dir(contents.outputs) / directory / "metrics.csv",
            contents.digests.get(directory),
        )
        try:
            content = path.read_bytes()
            head, _, body = content.partition(b"\n")
            if digest and hashlib.sha256(content).hexdigest() != digest:
                raise ValueError("truncated or altered after the run")
            if digest and head.decode() == ",".join(columns) and _ROWS.fullmatch(body):
                names += [directory] * body.count(b"\n")
                bodies.append(body)
            else:
                frame = pandas.read_csv(io.BytesIO(content), usecols=columns, dtype=float)
                frames.append(frame.assign(directory=directory))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            contents.note(path, f"not the metrics of a run, so no curve is drawn ({error})")
    if bodies:
        frame = pandas.read_csv(
            io.BytesIO(b"".join(bodies)), header=None, names=columns, dtype=float
        )
        frames.append(frame.assign(directory=pandas.Categorical(names)))
    frames = frames or [pandas.DataFrame(columns=["directory", *columns])]
    return pandas.concat(frames, ignore_index=True)[["directory", *columns]]
