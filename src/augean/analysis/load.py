"""Read a folder of runs and sweep records.

What cannot be read becomes a `Problem`, never an exception. In a notebook:

    from augean.report import load_runs

    runs = load_runs("outputs")
    finished = runs[runs.state == "finished"]
    finished.groupby("optimizer.name").test_accuracy.agg(["mean", "std", "count"])
"""

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import pandas
from tqdm import tqdm

from augean.analysis.freshness import FreshnessCheck, changed_studies
from augean.analysis.run import Run, matches, parse_terms
from augean.analysis.sequential_design import design_of
from augean.analysis.studies import without_repeated_trials
from augean.config.labels import find_label
from augean.config.run_id import SCHEMA
from augean.errors import AugeanError
from augean.regular_files import DATA_BYTES, read_regular
from augean.store.cleaning import runs_without_weights
from augean.store.files import list_folder
from augean.store.record_identity import check_file_name, record_paths
from augean.store.run_directory import check_digest, run_state, runs_dir
from augean.store.run_files import SUMMARY, id_in_name
from augean.store.summary import RunState, RunSummary, read_summary
from augean.store.sweep_record import SweepJob, SweepRecord, read_record

T = TypeVar("T")
FRAME_COLUMNS = ["id", "directory", "state", "tables"]
"""The first columns of `load_runs`, which every run has."""


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
    job_runs: list[tuple[SweepJob, Run]]
    """Each run once in a row, even if the record asks for it twice."""
    trial_runs: Sequence[Run] = ()
    """Runs of a study's trials, which are no rows of its table."""
    left_out: Sequence[tuple[SweepJob, Run]] = ()
    """Jobs that a selection left out, of rows that it keeps. They are not shown, but what they
    forbid to conclude holds all the same."""
    changed_studies: Sequence[str] = ()
    """Names of studies whose winners are rows, and that have other winners by now."""

    @property
    def all_job_runs(self) -> list[tuple[SweepJob, Run]]:
        """The jobs of the rows, whether or not a selection left them out."""
        return [*self.job_runs, *self.left_out]


@dataclass
class Contents:
    """All that a folder of outputs holds, each run once."""

    outputs: Path
    select: str = ""
    runs: dict[str, Run] = field(default_factory=dict)
    """By id."""
    sweeps: list[Sweep] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def note(self, path: Path, message: object, *, unreadable: bool = True) -> None:
        """Add a problem with the file at `path`."""
        # Messages of errors often begin with the path, which the problem has as its place.
        text = str(message).removeprefix(f"{path}: ")
        place = str(path.relative_to(self.outputs))
        self.problems.append(Problem(path=place, message=text, unreadable=unreadable))

    def read_file(
        self, run: Run, name: str, parse: Callable[[bytes], T], complaint: str
    ) -> T | None:
        """Return what a file of a run says; None where there is none that can be used.

        What cannot be used becomes a problem.

        Args:
            parse: makes something of the file's content, which may be anything.
            complaint: what the problem's message begins with.
        """
        path = runs_dir(self.outputs) / run.directory / name
        try:
            content = read_regular(path, DATA_BYTES)
            # A run without a summary is not completed: its files have no digests yet.
            if run.summary is not None:
                check_digest(content, run.summary.files.get(name))
            return parse(content)
        except FileNotFoundError:
            return None
        except Exception as error:  # readers of a format raise many kinds for other content
            # The text of other errors, such as "'name'", says too little by itself.
            says_why = isinstance(error, OSError | ValueError)
            reason = error if says_why else f"{type(error).__name__}: {error}"
            self.note(path, f"{complaint} ({reason})")
            return None

    def places(self) -> dict[str, list[tuple[str, str]]]:
        """Return by run id the tables and rows that the run belongs to, each once."""
        places: dict[str, list[tuple[str, str]]] = {}
        for sweep in self.sweeps:
            for job, _ in sweep.job_runs:
                places.setdefault(job.id, []).append((sweep.record.name, job.row))
        return places

    def frame(self) -> pandas.DataFrame:
        """Return one row a run.

        `tables` names the tables and rows that it belongs to, such as "table1_activation/elu".
        """
        places = self.places()
        rows = []
        for id_, run in self.runs.items():
            row = dict.fromkeys(FRAME_COLUMNS, "") | run.columns()
            tables = [f"{table}/{label}" for table, label in places.get(id_, [])]
            row["tables"] = "; ".join(tables)
            rows.append(row)
        if not rows:
            return pandas.DataFrame(columns=FRAME_COLUMNS)
        return pandas.DataFrame(rows)


def load_runs(outputs: str | Path, select: str | None = None) -> pandas.DataFrame:
    """Return one row a run.

    The columns are id, directory, state, tables, outdated (yes, no or unknown), scores (accuracies
    are fractions), seconds, config keys and versions. A run that lies in several directories is
    there once; unfinished runs have only the first four columns.

    Args:
        outputs: the folder that `runtime.outputs` named.
        select: such as `optimizer.name=sgd,adam trainer.epochs=35`, see `scan`.

    Raises:
        AugeanError: when there is no such folder, or `select` cannot be understood.
    """
    return scan(Path(outputs), select).frame()


def scan(outputs: Path, select: str | None = None, *, check_freshness: bool = True) -> Contents:
    """Read all summaries and records below `outputs`.

    Args:
        select: terms `key=value` that must all hold, separated by spaces; a value may be a list
            `a,b` and have the wildcards `*` and `?`. Keys are the columns of `load_runs` and
            `table` for the name of a sweep record.
        check_freshness: whether to find out which runs are outdated.

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
    if check_freshness:
        _check_freshness(contents)
    if contents.select:
        _select(contents)
    return contents


def _check_freshness(contents: Contents) -> None:
    check = FreshnessCheck(contents.outputs)
    for run in contents.runs.values():
        if run.summary is not None:
            run.freshness = check.check(run.summary)
    for index, sweep in enumerate(contents.sweeps):
        changed = changed_studies(sweep.record, contents.outputs)
        contents.sweeps[index] = sweep._replace(changed_studies=changed)


def _read_runs(contents: Contents) -> None:
    """Read all directories of runs.

    A copy of a run stands in for its original where that is gone or unfinished, so that every run
    counts exactly once.
    """
    copies = []
    without_weights = runs_without_weights(contents.outputs)
    paths = list_folder(runs_dir(contents.outputs), "[!.]*")
    for path in tqdm(paths, "reading runs", delay=1, leave=False, disable=None):
        run = _read_run(contents, path)
        if run is None:
            continue
        run.weights_removed = path.name in without_weights
        # A directory that was copied or renamed has another id in its name than in its summary.
        is_original = run.id == id_in_name(path.name)
        earlier = contents.runs.get(run.id)
        if run.summary is None:
            contents.runs.setdefault(run.id, run)
        elif is_original and (earlier is None or earlier.summary is None):
            contents.runs[run.id] = run
        else:
            copies.append(run)
    for run in copies:
        earlier = contents.runs.get(run.id)
        if earlier is None or earlier.summary is None:
            contents.runs[run.id] = run
        else:
            message = f"a copy of run {run.id}, which is counted once"
            contents.note(runs_dir(contents.outputs) / run.directory, message, unreadable=False)


def _read_run(contents: Contents, path: Path) -> Run | None:
    """Return the run in a directory; None where it holds none.

    What cannot be used becomes a problem of the contents.
    """
    summary = None
    try:
        summary = _read_summary(path)
    except AugeanError as error:
        contents.note(path / SUMMARY, error)
    if summary is not None:
        return Run(
            id=summary.id,
            directory=path.name,
            state=summary.status,
            seed=summary.config.get("seed"),
            summary=summary,
        )
    id_ = id_in_name(path.name)
    if id_ is not None and path.is_dir():
        state = run_state(contents.outputs, path, id_)
        if state.is_completed:
            # The summary is sound, but of another schema: this Augean would train the run again.
            state = RunState.INTERRUPTED
        return Run(id=id_, directory=path.name, state=state)
    if not os.path.exists(path / SUMMARY):  # Path.exists raises where it may not look
        contents.note(path, "not the directory of a run; left out", unreadable=False)
    return None


def _read_summary(path: Path) -> RunSummary | None:
    summary = read_summary(path)
    if summary is not None and summary.schema != SCHEMA:
        raise AugeanError(f"a summary of schema {summary.schema}; this Augean reads {SCHEMA}")
    return summary


def _read_records(contents: Contents) -> None:
    for path in record_paths(contents.outputs):
        try:
            record = read_record(path)
            check_file_name(path, record.name)
            record = replace(record, name=_harmless_name(path.stem))
            contents.sweeps.append(_join(contents, record))
        except AugeanError as error:
            contents.note(path, error)
        except (TypeError, ValueError, AttributeError) as error:
            contents.note(path, f"not a sweep record ({error!r})")


def _harmless_name(name: str) -> str:
    """Return the name itself where it is harmless in files, links and `table=`, else a part of it
    with a digest.
    """
    if re.fullmatch(r"(?a:\w)[\w.+=,-]{0,99}", name):
        return name
    part = re.sub(r"^\W+|[^\w.+=,-]+", "_", name)[:80]
    digest = hashlib.sha256(ascii(name).encode()).hexdigest()[:8]
    return f"{part}--{digest}"


def _join(contents: Contents, record: SweepRecord) -> Sweep:
    """Look up each job's run, and tell runs without a summary what the record knows of them.

    These runs are the contents' own: `seed` and `recorded_config` are set in place.

    Raises:
        TypeError, ValueError, AttributeError: where values are of wrong types, or a design cannot
            be judged.
    """
    record = without_repeated_trials(record)
    design_of(record)  # only to find out now whether it can be judged
    # A job that is asked for twice is one job; the last one stands at the place of the first.
    job_runs: dict[tuple[str, str], tuple[SweepJob, Run]] = {}
    trial_runs: dict[str, Run] = {}
    for job in record.jobs:
        # The trials of a study are no rows of its table.
        if job.trial is not None:
            if job.id in contents.runs:
                trial_runs[job.id] = contents.runs[job.id]
            continue
        # Seeds are compared and sorted: a record of another program may have 1.0.
        job = replace(job, seed=int(job.seed))
        run = contents.runs.get(job.id) or _absent_run(contents, job)
        # Without a summary, the record knows more of the run than its directory does.
        if run.seed is None:
            run.seed = job.seed
            if len(record.row_keys) == 1:
                run.recorded_config = {record.row_keys[0]: job.row}
        job_runs[job.row, job.id] = (job, run)
    rows = [row for row, _ in job_runs]
    return Sweep(
        record=_with_labels(record, rows),
        job_runs=list(job_runs.values()),
        trial_runs=list(trial_runs.values()),
    )


def _with_labels(record: SweepRecord, rows: Sequence[str]) -> SweepRecord:
    """Return the record with its baseline and published numbers named by the labels of its rows.

    A sweep file may name a row in another way, such as 1e-4 for 0.0001.
    """
    reference = {}
    for row, numbers in record.reference.items():
        label = find_label(row, rows) or row
        reference[label] = {key: float(value) for key, value in numbers.items()}
    baseline = record.baseline
    if baseline is not None:
        baseline = find_label(baseline, rows) or str(baseline)
    return replace(record, baseline=baseline, reference=reference)


def _absent_run(contents: Contents, job: SweepJob) -> Run:
    """Return a run without a directory: missing, or just being begun."""
    state = run_state(contents.outputs, runs_dir(contents.outputs) / job.run, job.id)
    if state is not RunState.RUNNING:
        state = RunState.MISSING
    return Run(id=job.id, directory=job.run, state=state)


def _select(contents: Contents) -> None:
    """Keep only the runs and tables that `contents.select` names."""
    runs = list(contents.runs.values())
    for sweep in contents.sweeps:
        runs += [*(run for _, run in sweep.job_runs), *sweep.trial_runs]
    keys = {"table"}
    for run in runs:
        keys.update(run.columns())
    terms = parse_terms(contents.select, keys)
    tables = terms.pop("table", None)
    sweeps = []
    for sweep in contents.sweeps:
        if tables is not None and not matches(sweep.record.name, tables):
            continue
        job_runs = [(job, run) for job, run in sweep.job_runs if run.is_selected(terms)]
        trial_runs = [run for run in sweep.trial_runs if run.is_selected(terms)]
        rows = {job.row for job, _ in job_runs}
        left_out = []
        for job, run in sweep.job_runs:
            if job.row in rows and not run.is_selected(terms):
                left_out.append((job, run))
        if job_runs or trial_runs:
            chosen = Sweep(sweep.record, job_runs, trial_runs, left_out, sweep.changed_studies)
            sweeps.append(chosen)
    contents.sweeps = sweeps
    ids_in_tables = set(contents.runs)
    if tables is not None:
        ids_in_tables = set()
        for sweep in sweeps:
            ids_in_tables.update(job.id for job, _ in sweep.job_runs)
            ids_in_tables.update(run.id for run in sweep.trial_runs)
    selected = {}
    for id_, run in contents.runs.items():
        if id_ in ids_in_tables and run.is_selected(terms):
            selected[id_] = run
    contents.runs = selected
