"""Sweep records: which runs a launched sweep asked for, and how its table is laid out.

A record is a question about runs. Whether they are finished is read from their directories, never
stored here.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from augean.errors import AugeanError
from augean.store.files import content_digest, write_atomic
from augean.store.locks import hold_lock
from augean.store.run_directory import run_state, runs_dir
from augean.store.summary import RunState

RECORD_SCHEMA = 1
NOT_PART = re.compile(r"[+~]*(runtime\.|launcher=|hydra/|hydra\.(?!sweeper\.(params|rows|ablate)))")
"""Overrides that change neither a run nor the set of rows, and so make no other sweep."""
PLACE = re.compile(r"[+~]*(runtime|hydra|launcher)\b")
"""Overrides that say where and how a run is executed, not what it is."""
COMPLETE = "complete"
"""State of a trial that was trained to its end; a pruned or failed one has no part in who wins."""
Direction = Literal["maximize", "minimize"]
"""What a study looks for: the highest or the lowest validation accuracy."""
Kind = Literal["grid", "study"]


@dataclass(frozen=True)
class SweepJob:
    """One job of a sweep: the run that it asks for and the table row which that belongs to."""

    id: str
    run: str
    """Name of the run's directory."""
    row: str
    seed: int
    trial: int | None = None
    """Number of the trial in a study; None for a run of a grid, or of a study's winner."""
    state: str | None = None
    """State of the trial: running, complete, pruned, fail or waiting. Pruning is a fact of the
    study: its run is interrupted."""
    score: float | None = None
    """The trial's validation accuracy; of a pruned one that of its last epoch."""
    values: dict[str, Any] = field(default_factory=dict)
    """The trial's point in the search space."""


@dataclass(frozen=True)
class SweepRecord:
    """A question about runs: which a sweep asked for, and how its table is laid out."""

    name: str
    title: str
    command: str
    """What fills the gaps: the command that launched the sweep."""
    created: str
    jobs: list[SweepJob]
    kind: Kind = "grid"
    direction: Direction = "maximize"
    """Which score wins a study; records from before this field were all written by studies that
    were compared as `maximize`."""
    experiment: str | None = None
    """The experiment that the sweep starts from."""
    space: dict[str, str] = field(default_factory=dict)
    """What a study searches, as people read it."""
    winner: list[str] = field(default_factory=list)
    """The overrides of a study's best trial; empty until the study has all of its trials."""
    num_trials: int | None = None
    """A study's budget."""
    studies: list[str] = field(default_factory=list)
    """Records of the studies whose winners are rows of this one."""
    figure: str | None = None
    note: str | None = None
    overrides: list[str] = field(default_factory=list)
    row_keys: list[str] = field(default_factory=list)
    """Dotted keys whose values together are a row's label; empty where the label is made of the
    swept values."""
    band: str | None = None
    """Dotted key: runs that agree in it form one band of step losses."""
    baseline: str | None = None
    reference: dict[str, dict[str, float]] = field(default_factory=dict)
    """Per row the published numbers: test_accuracy in percent, seconds."""
    design: dict[str, Any] = field(default_factory=dict)
    """The sequential design of a table that is being settled and, as `seeds`, how many seeds each
    row is to have."""
    schema: int = RECORD_SCHEMA

    def write(self, outputs: Path) -> Path:
        """Write the record to `<outputs>/sweeps/<name>.json`; return that path.

        Raises:
            AugeanError: when the folder cannot be written, or a value is of a wrong type.
        """
        try:
            _check_types(self)
        except TypeError as error:
            raise AugeanError(f"sweep record {self.name}: {error}") from error
        folder = outputs / "sweeps"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AugeanError(
                f"runtime.outputs={outputs}: cannot make {folder} ({error.strerror})"
            ) from error
        path = folder / f"{self.name}.json"
        content = asdict(self)
        content["sha256"] = content_digest(content)
        write_atomic(path, json.dumps(content, indent=1) + "\n")
        return path

    def was_asked_as(self, name: str, overrides: Sequence[str]) -> bool:
        """Return whether the sweep's name begins so and, where overrides are given, whether it was
        launched with them.
        """
        same_overrides = self.overrides == identifying_overrides(overrides)
        return self.name.startswith(name) and (same_overrides or not overrides)

    @property
    def place(self) -> tuple[float, str]:
        """Where a report shows the record: by the number of its figure, then by name."""
        number = re.search(r"\d+", str(self.figure or ""))
        return float(number[0]) if number else math.inf, self.name

    @property
    def setting(self) -> list[str]:
        """The winner without where and how it ran: all of it that may go to other sweeps."""
        return [item for item in self.winner if not PLACE.match(item)]

    @property
    def trials(self) -> list[SweepJob]:
        """What a study tried, without the winner's seeds. The run of a pruned trial stays
        interrupted for good.
        """
        return [job for job in self.jobs if job.trial is not None]

    def best_trial(self) -> SweepJob | None:
        """Return the study's winner; None while no trial is complete."""
        return best_trial(self.trials, self.direction)

    def states(self, outputs: Path) -> "Counter[RunState]":
        """Count the record's runs in each state; trials are left out, see `trials`."""
        runs = {job.id: job.run for job in self.jobs if job.trial is None}
        return Counter(
            run_state(outputs, runs_dir(outputs) / run, id_) for id_, run in runs.items()
        )


def hold_record(outputs: Path, name: str) -> AbstractContextManager[None]:
    """Hold the lock of a record, under which it is read and written, or merged from an archive.

    Raises:
        AugeanError: when the folder cannot be written.
    """
    return hold_lock(outputs, f"sweep-{name}", wait=True)


def best_trial(trials: Iterable[SweepJob], direction: Direction) -> SweepJob | None:
    """Return the complete trial of the best score by `direction`, of equal ones the earliest; None
    where none is complete.

    This is the only place that decides who wins a study.
    """
    sign = 1.0 if direction == "maximize" else -1.0
    complete = [job for job in trials if job.state == COMPLETE and job.score is not None]

    def rank(job: SweepJob) -> tuple[float, int]:
        return sign * (job.score or 0.0), -(job.trial or 0)

    return max(complete, key=rank, default=None)


def identifying_overrides(overrides: Iterable[str]) -> list[str]:
    """Return those of a sweep's extra overrides that change a run or the set of rows, and so the
    record's name.
    """
    return sorted(item for item in overrides if not NOT_PART.match(item))


def split_row_keys(text: str | None) -> list[str]:
    """Return the dotted keys in the text of `runtime.table.row`, which has commas between them."""
    parts = (part.strip() for part in (text or "").split(","))
    return [part for part in parts if part]


def read_record(path: Path) -> SweepRecord:
    """Read one record.

    Raises:
        AugeanError: when the file is not a record, is of another schema, or was altered after it
            was written.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        if content["schema"] != RECORD_SCHEMA:
            raise AugeanError(
                f"{path}: sweep record of schema {content['schema']}, this Augean reads"
                f" {RECORD_SCHEMA}"
            )
        digest = content.pop("sha256", None)
        if digest not in (None, content_digest(content)):
            raise AugeanError(
                f"{path}: was altered or damaged; the sweep's own command writes it again"
            )
        if "row_key" in content:
            # How records were written before `row_keys`: one text, with commas.
            row_key = content.pop("row_key")
            content["row_keys"] = [] if row_key is None else split_row_keys(str(row_key))
        content["jobs"] = [SweepJob(**job) for job in content["jobs"]]
        record = SweepRecord(**content)
        _check_types(record)
        return record
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise AugeanError(
            f"{path}: not a sweep record ({type(error).__name__}: {error})"
        ) from error


def _check_types(record: SweepRecord) -> None:
    """Check the values that decisions rest on; what is only shown is shown as it is.

    Raises:
        TypeError: names the first field whose value is of another type.
    """
    if record.kind not in get_args(Kind):
        raise TypeError(f"kind={record.kind!r}: must be one of {', '.join(get_args(Kind))}")
    if record.direction not in get_args(Direction):
        choices = ", ".join(get_args(Direction))
        raise TypeError(f"direction={record.direction!r}: must be one of {choices}")
    for name in ("overrides", "winner", "studies", "row_keys"):
        items = getattr(record, name)
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise TypeError(f"{name}={items!r}: must be a list of texts")
    _check_number("num_trials", record.num_trials, optional=True)
    for job in record.jobs:
        for name in ("id", "run", "row"):
            if not isinstance(getattr(job, name), str):
                raise TypeError(f"{name}={getattr(job, name)!r} of a job: must be a text")
        _check_number("seed", job.seed)
        _check_number("trial", job.trial, optional=True)
        _check_number("score", job.score, optional=True)


def _check_number(name: str, value: object, *, optional: bool = False) -> None:
    if optional and value is None:
        return
    if not isinstance(value, int | float):
        raise TypeError(f"{name}={value!r}: must be a number")


def read_records(outputs: Path) -> tuple[list[SweepRecord], list[str]]:
    """Read all records below `outputs`, by name, with a message for each file that is not one."""
    records: list[SweepRecord] = []
    problems: list[str] = []
    for path in sorted((outputs / "sweeps").glob("*.json")):
        try:
            records.append(read_record(path))
        except AugeanError as error:
            problems.append(str(error))
    return records, problems
