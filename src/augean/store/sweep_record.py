"""Sweep records: which runs a launched sweep asked for, and how its table is laid out.

A record is a question about runs. Whether they are finished is read from their directories, never
stored here.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from augean.errors import AugeanError
from augean.store.files import content_digest, write_atomic
from augean.store.run_directory import run_state, runs_dir
from augean.store.summary import RunState

RECORD_SCHEMA = 1
NOT_PART = re.compile(r"[+~]*(runtime\.|launcher=|hydra/|hydra\.(?!sweeper\.(params|rows|ablate)))")
"""Overrides that change neither a run nor the set of rows, and so make no other sweep."""
PLACE = re.compile(r"[+~]*(runtime|hydra|launcher)\b")
"""Overrides that say where and how a run is executed, not what it is."""
STATES = tuple(RunState)


@dataclass(frozen=True)
class SweepJob:
    """One cell of a sweep: the run that was asked for and the table row it belongs to."""

    id: str
    run: str
    """Name of the run's directory."""
    row: str
    seed: int
    trial: int | None = None
    """Number of the trial in a study; None for a run of a grid, or of a study's winner."""
    state: str | None = None
    """Of the trial: running, complete, pruned or fail. Pruning is a fact of the study: its run is
    interrupted."""
    score: float | None = None
    """The trial's validation accuracy."""
    values: dict[str, Any] = field(default_factory=dict)
    """The trial's point in the search space."""


@dataclass(frozen=True)
class SweepRecord:
    name: str
    title: str
    command: str
    """What fills the gaps: the command that launched the sweep."""
    created: str
    jobs: list[SweepJob]
    kind: str = "grid"
    """grid or study."""
    experiment: str | None = None
    """The experiment that the sweep starts from."""
    space: dict[str, str] = field(default_factory=dict)
    """Of a study: what is searched, as people read it."""
    winner: list[str] = field(default_factory=list)
    """Of a study that is over: the overrides of its best trial."""
    num_trials: int | None = None
    """Of a study: its budget."""
    studies: list[str] = field(default_factory=list)
    """Records of the studies whose winners are rows of this one."""
    figure: str | None = None
    note: str | None = None
    overrides: list[str] = field(default_factory=list)
    row_key: str | None = None
    band: str | None = None
    """Dotted key: runs that agree in it form one band of step losses."""
    baseline: str | None = None
    reference: dict[str, dict[str, float]] = field(default_factory=dict)
    """Per row the published numbers: test_accuracy in percent, seconds."""
    design: dict[str, Any] = field(default_factory=dict)
    """Of a table that is being settled: its sequential design and, as `seeds`, how many seeds each
    row is to have."""
    schema: int = RECORD_SCHEMA

    def write(self, outputs: Path) -> Path:
        folder = outputs / "sweeps"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AugeanError(
                f"runtime.outputs={outputs}: cannot make {folder} ({error.strerror})"
            ) from error
        path, content = folder / f"{self.name}.json", asdict(self)
        write_atomic(
            path, json.dumps({**content, "sha256": content_digest(content)}, indent=1) + "\n"
        )
        return path

    def was_asked_as(self, name: str, overrides: Sequence[str]) -> bool:
        """Whether it is a sweep whose name begins so, launched with these overrides if any are
        given.
        """
        told = identifying_overrides(overrides)
        return self.name.startswith(name) and (not overrides or self.overrides == told)

    @property
    def place(self) -> tuple[float, str]:
        """Where a report shows the record: by the number of its figure, then by name."""
        number = re.search(r"\d+", str(self.figure or ""))
        return float(number[0]) if number else math.inf, self.name

    @property
    def setting(self) -> list[str]:
        """Of a study that is over: what its best trial is, wherever it ran; nothing else may go to
        other sweeps.
        """
        return [item for item in self.winner if not PLACE.match(item)]

    @property
    def trials(self) -> list[SweepJob]:
        """Of a study: what was tried, without the winner's seeds. A pruned one's run stays
        interrupted for good.
        """
        return [job for job in self.jobs if job.trial is not None]

    def states(self, outputs: Path) -> "Counter[str]":
        """How many of the record's runs are in each state of `STATES`; trials are left out, see
        `trials`.
        """
        runs = {job.id: job.run for job in self.jobs if job.trial is None}
        return Counter(
            run_state(outputs, runs_dir(outputs) / run, id_) for id_, run in runs.items()
        )


def identifying_overrides(overrides: Iterable[str]) -> list[str]:
    """Of a sweep's extra overrides those that change a run or the set of rows, and so the record's
    name.
    """
    return sorted(item for item in overrides if not NOT_PART.match(item))


def read_record(path: Path) -> SweepRecord:
    """Read one record.

    Raises:
        AugeanError: when the file is no record, of another schema, or was altered after it was
            written.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        if content["schema"] != RECORD_SCHEMA:
            raise AugeanError(
                f"{path}: sweep record of schema {content['schema']}, this Augean reads"
                f" {RECORD_SCHEMA}"
            )
        if content.get("sha256") not in (None, content_digest(content)):
            raise AugeanError(
                f"{path}: was altered or damaged; the sweep's own command writes it again"
            )
        content.pop("sha256", None)
        record = SweepRecord(**{**content, "jobs": [SweepJob(**job) for job in content["jobs"]]})
        texts = (item for job in record.jobs for item in (job.id, job.run, job.row))
        numbers = (
            record.num_trials or 0,
            *(item for job in record.jobs for item in (job.seed, job.score or 0)),
        )
        if not all(isinstance(item, str) for item in texts) or not all(
            isinstance(n, int | float) for n in numbers
        ):
            raise TypeError("a value of another type")
        return record
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise AugeanError(
            f"{path}: not a sweep record ({type(error).__name__}: {error})"
        ) from error


def read_records(outputs: Path) -> tuple[list[SweepRecord], list[str]]:
    """All records below `outputs`, by name, and a message for each file that is none."""
    found, problems = [], []
    for path in sorted((outputs / "sweeps").glob("*.json")):
        try:
            found.append(read_record(path))
        except AugeanError as error:
            problems.append(str(error))
    return found, problems
