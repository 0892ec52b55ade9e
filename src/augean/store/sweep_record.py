"""Define sweep records: which runs a launched sweep asked for, and how its table is laid out.

A record does not hold the results or states of its runs: those are read from the runs' directories.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from augean.errors import AugeanError
from augean.passwords import command_without_passwords
from augean.regular_files import DATA_BYTES, parse_json, read_regular
from augean.store.files import json_digest, write_atomic
from augean.store.locks import hold_lock
from augean.store.record_identity import (
    EXECUTION_KEY,
    check_file_name,
    identifying_overrides,
    record_name,
    record_path,
    record_paths,
    same_overrides,
)
from augean.store.record_values import JOB_PARSERS, RECORD_PARSERS, check_values, split_row_keys
from augean.store.run_directory import run_state, runs_dir
from augean.store.summary import RunState
from augean.terminal import counted

RECORD_SCHEMA = 1
"""Number of the file format. A record with another number is refused."""
COMPLETE = "complete"
"""State of a trial that was trained to its end. Only such trials can win a study."""
Kind = Literal["grid", "study"]
"""What chose the runs of a sweep: the values in its file, or Optuna."""
Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class SweepJob:
    """One job of a sweep: a run, and the row of the table that it belongs to."""

    id: str
    """The run's id."""
    run: str
    """Name of the run's directory."""
    row: str
    """Label of the row."""
    seed: int
    trial: int | None = None
    """Number of the trial in its study; None for runs of a grid, and for those that train a study's
    winner with further seeds."""
    state: str | None = None
    """State of the trial in Optuna's words: running, complete, pruned, fail or waiting. A pruned
    trial leaves an interrupted run."""
    score: float | None = None
    """The trial's validation accuracy, as a fraction; that of the last epoch for a pruned trial."""
    values: dict[str, Any] = field(default_factory=dict)
    """The trial's point in the search space: a value for each dotted key."""
    confirmed_score: float | None = None
    """The trial's mean validation accuracy over further seeds, its own not among them; None for
    trials that were not among the best, and in studies that confirm none."""
    column: str | None = None
    """Label of the column, where the table has columns; then it ends the row's label too."""
    command: str | None = None
    """The command of the custom loop that trains the run; None where that of the record does."""


@dataclass(frozen=True)
class SweepRecord:
    """The runs that a sweep asked for, and the layout of its table."""

    name: str
    title: str
    command: str
    """The command that launched the sweep. The same command trains the runs that are missing."""
    created: str
    jobs: list[SweepJob]
    kind: Kind = "grid"
    direction: Direction = "maximize"
    """Nothing is decided by it; studies of earlier versions could look for the lowest score."""
    experiment: str | None = None
    """The experiment that the sweep starts from."""
    choices: dict[str, str] = field(default_factory=dict)
    """The option that the sweep file chooses of each config group; empty in records of before."""
    space: dict[str, str] = field(default_factory=dict)
    """A study's search space, as text for people: the values or range of each dotted key."""
    winner: list[str] = field(default_factory=list)
    """The overrides of a study's best trial; empty until the study has all of its trials."""
    num_trials: int | None = None
    """Number of trials that a study is to have."""
    timeout: str | None = None
    """Training time that ends a study with fewer trials, such as 1.5h."""
    confirm: dict[str, int] = field(default_factory=dict)
    """How many of the best trials (`top`) get how many further seeds (`seeds`) before the winner is
    chosen; empty where the best score decides."""
    studies: list[str] = field(default_factory=list)
    """Names of the studies' records whose winners are rows of this one."""
    winners: dict[str, str] = field(default_factory=dict)
    """By these names the run ids of the trials that had won when the rows were planned."""
    figure: str | None = None
    """Name of the figure in the course report, such as "Figure 2". It orders the sections of a
    report."""
    note: str | None = None
    overrides: list[str] = field(default_factory=list)
    row_keys: list[str] = field(default_factory=list)
    """Dotted keys whose values together are a row's label. Where there are none, the label is made
    of the swept values."""
    column: str | None = None
    """Dotted key of a second factor, the last of `row_keys`."""
    band: str | None = None
    """Dotted key. Runs with the same value of it form one band of step losses in a figure."""
    baseline: str | None = None
    """Label of the row that the others are compared with."""
    reference: dict[str, dict[str, float]] = field(default_factory=dict)
    """Published numbers by row: `test_accuracy` in percent, `seconds`."""
    reference_dataset: str = "cifar10"
    """Name of the data set that the published numbers are of. The default is that of the course
    report, whose numbers the records have that were written before there was this field."""
    design: dict[str, Any] = field(default_factory=dict)
    """The sequential design of a table that is being settled. Its key `seeds` says how many seeds
    each row is to have."""
    schema: int = RECORD_SCHEMA

    def write(self, outputs: Path) -> Path:
        """Write the record to `<outputs>/sweeps/<name>.json`; return that path.

        Raises:
            AugeanError: when the folder cannot be written, or a value is of a wrong type.
        """
        text = self._as_text()
        path = record_path(outputs, self.name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AugeanError(
                f"runtime.outputs={outputs}: cannot make {path.parent} ({error.strerror})"
            ) from error
        write_atomic(path, text)
        return path

    def _as_text(self) -> str:
        """Return the content of the record's file, after reading it back as a check.

        Raises:
            AugeanError: when reading it would refuse it, so that no run is trained for a record
                that has no table.
        """
        try:
            _check_types(self)
            content = asdict(self)
            content["sha256"] = json_digest(content)
            text = json.dumps(content, indent=1) + "\n"
            _parse_record(text.encode(), f"sweep record {self.name}")
        except (TypeError, ValueError) as error:
            raise AugeanError(f"sweep record {self.name}: {error}") from error
        return text

    def was_asked_as(self, name: str, overrides: Sequence[str]) -> bool:
        """Return whether this is the record of a sweep that is named on the command line.

        Args:
            name: the beginning of the record's name.
            overrides: those that the sweep was launched with; none stands for any.
        """
        if not self.name.startswith(name):
            return False
        return not overrides or same_overrides(self.overrides, identifying_overrides(overrides))

    def is_of(self, sweep: str) -> bool:
        """Return whether this is a record of a sweep file, launched with whatever overrides."""
        name = record_name(sweep)
        # With overrides it has a hash of them, as in "table1--1a2b3c4d".
        return self.name == name or self.name.startswith(f"{name}--")

    @property
    def report_order(self) -> tuple[float, str]:
        """Sort key of a report's sections: the number of the figure, then the name.

        Records without a number come last.
        """
        number = re.search(r"\d+", str(self.figure or ""))
        return float(number[0]) if number else math.inf, self.name

    @property
    def setting(self) -> list[str]:
        """The winner's overrides without those for its execution, for use in other sweeps."""
        return [item for item in self.winner if not EXECUTION_KEY.match(item)]

    @property
    def trials(self) -> list[SweepJob]:
        """The trials of a study, without the runs of its winner with further seeds.

        The run of a pruned trial is never finished.
        """
        return [job for job in self.jobs if job.trial is not None]

    @property
    def num_trials_done(self) -> int:
        """How many trials count towards the study's number: complete and pruned ones."""
        return sum(job.state in (COMPLETE, "pruned") for job in self.trials)

    def commands_of(self, jobs: Iterable[SweepJob]) -> list[str]:
        """Return the commands that train these jobs, each once; a custom loop's have their own."""
        return list(dict.fromkeys(job.command or self.command for job in jobs))

    def best_trial(self) -> SweepJob | None:
        """Return the trial that wins the study; None while no trial is complete."""
        return best_trial(self.trials)

    def describe_best(self) -> str | None:
        """Return the score of the best trial, as text; None while no trial is complete."""
        best = self.best_trial()
        if best is None:
            return None
        if best.confirmed_score is None:
            return f"{best.score:.2%} by trial {best.trial}"
        seeds = counted(self.confirm.get("seeds", 0), "new seed")
        return (
            f"{best.confirmed_score:.2%} over {seeds} by trial"
            f" {best.trial}, {best.score:.2%} with its own"
        )

    def describe_trials(self) -> str:
        """Return how many trials the study was given, as text for captions."""
        # The number may have been lowered since.
        num_trials = max(self.num_trials or 0, self.num_trials_done)
        if self.winner and self.timeout and self.num_trials_done < num_trials:
            return f"{counted(self.num_trials_done, 'trial')} in {self.timeout} of training"
        return counted(num_trials, "trial")

    def describe_confirmation(self) -> str:
        """Return how the winner was confirmed, and how its own score flattered it; may be empty."""
        best = self.best_trial()
        if best is None or best.score is None or best.confirmed_score is None:
            return ""
        flattery = 100 * (best.score - best.confirmed_score)
        comparative = "better" if flattery > 0 else "worse"
        num_confirmed = sum(job.confirmed_score is not None for job in self.trials)
        seeds = counted(self.confirm.get("seeds", 0), "new seed")
        return (
            f"Trial {best.trial} was chosen among the {num_confirmed} best by its mean validation"
            f" accuracy over {seeds}, {best.confirmed_score:.2%}; its own seed's {best.score:.2%}"
            f" was {abs(flattery):.2f} points {comparative}."
        )

    def states(self, outputs: Path) -> "Counter[RunState]":
        """Count the record's runs by their state.

        Trials are left out: a study is complete although those that it pruned are interrupted.
        """
        # By id, as one run may be the job of several rows.
        runs = {job.id: job.run for job in self.jobs if job.trial is None}
        counts: Counter[RunState] = Counter()
        for id_, directory in runs.items():
            counts[run_state(outputs, runs_dir(outputs) / directory, id_)] += 1
        return counts


def hold_record(outputs: Path, name: str) -> AbstractContextManager[None]:
    """Hold the lock of a record while it is read and written, or merged from an archive.

    Raises:
        AugeanError: when the folder cannot be written.
    """
    return hold_lock(outputs, f"sweep-{name}", wait=True)


def best_trial(trials: Iterable[SweepJob]) -> SweepJob | None:
    """Return the complete trial that wins; None where no trial is complete.

    Where trials were confirmed with further seeds, the best mean over those wins, else the best
    score. This is the only place that decides who wins a study.
    """
    ranking = rank_trials(trials)
    confirmed = [job for job in ranking if job.confirmed_score is not None]
    if confirmed:
        # Of equal means `max` returns the first, which has the better score of its own.
        return max(confirmed, key=lambda job: job.confirmed_score or 0.0)
    return ranking[0] if ranking else None


def rank_trials(trials: Iterable[SweepJob]) -> list[SweepJob]:
    """Return the complete trials by their own scores, the best first.

    Of equal scores the earlier trial comes first.
    """
    complete = [job for job in trials if job.state == COMPLETE and job.score is not None]
    return sorted(complete, key=lambda job: (-(job.score or 0.0), job.trial or 0))


def read_record(path: Path) -> SweepRecord:
    """Read one record.

    Raises:
        AugeanError: when the file cannot be read, is not a record, has another schema, or was
            altered after it was written.
    """
    try:
        content = read_regular(path, DATA_BYTES)
    except OSError as error:
        raise AugeanError(f"{path}: cannot be read ({error.strerror})") from error
    return _parse_record(content, str(path))


def _parse_record(text: bytes, place: str) -> SweepRecord:
    """Read the content of a record's file.

    Args:
        place: for messages, such as the file's path.

    Raises:
        AugeanError: as `read_record`.
    """
    try:
        content: dict[str, Any] = parse_json(text)
        if content["schema"] != RECORD_SCHEMA:
            raise AugeanError(
                f"{place}: sweep record of schema {content['schema']}, this Augean reads"
                f" {RECORD_SCHEMA}"
            )
        # Early records have no digest. It is not a field, so it is taken out either way.
        digest = content.pop("sha256", None)
        if digest not in (None, json_digest(content)):
            raise AugeanError(
                f"{place}: was altered or damaged; move it away, and the sweep's own command"
                " writes it anew"
            )
        if "row_key" in content:
            # Records from before `row_keys` hold one text with commas, or null.
            row_key = content.pop("row_key")
            content["row_keys"] = [] if row_key is None else split_row_keys(str(row_key))
        # Earlier versions wrote some passwords into the command.
        content["command"] = command_without_passwords(str(content["command"]))
        content["jobs"] = [_read_job(job) for job in content["jobs"]]
        record = _with_texts(SweepRecord(**content))
        _check_types(record)
        return record
    # Not JSON, not a mapping, or with other keys or values than those of a record.
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AugeanError(
            f"{place}: not a sweep record ({type(error).__name__}: {error})"
        ) from error


def _read_job(values: dict[str, Any]) -> SweepJob:
    job = SweepJob(**values)
    if job.command is None:
        return job
    return replace(job, command=command_without_passwords(str(job.command)))


def _with_texts(record: SweepRecord) -> SweepRecord:
    """Return a record whose displayed values are texts: early ones and edited ones hold others."""
    texts: dict[str, Any] = {}
    for name in ("name", "title", "command", "created"):
        texts[name] = str(getattr(record, name))
    for name in ("figure", "note", "experiment", "timeout"):
        value = getattr(record, name)
        texts[name] = None if value is None else str(value)
    return replace(record, **texts)


def _check_types(record: SweepRecord) -> None:
    """Check the types of a record's values.

    Raises:
        TypeError: names the first field with a wrong value.
    """
    if record.kind not in get_args(Kind):
        raise TypeError(f"kind={record.kind!r}: must be one of {', '.join(get_args(Kind))}")
    if record.direction not in get_args(Direction):
        choices = ", ".join(get_args(Direction))
        raise TypeError(f"direction={record.direction!r}: must be one of {choices}")
    check_values(record, RECORD_PARSERS)
    for job in record.jobs:
        check_values(job, JOB_PARSERS, "of a job")


def read_records(outputs: Path) -> tuple[list[SweepRecord], list[str]]:
    """Read all records below `outputs`.

    Returns:
        The records, sorted by their file names; and a message for each file that is not a record.
    """
    records: list[SweepRecord] = []
    problems: list[str] = []
    for path in record_paths(outputs):
        try:
            record = read_record(path)
            check_file_name(path, record.name)
            records.append(record)
        except AugeanError as error:
            problems.append(str(error))
    return records, problems
