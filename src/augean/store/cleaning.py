"""Find what an outputs folder can do without, remove it, and record what was removed.

What cannot be judged is kept: directories that are not of a run, runs with a damaged summary and
the weights of their sweeps, weights of runs that belong to no sweep, and what lies behind links.
"""

import errno
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from augean.errors import AugeanError, RunLocked
from augean.regular_files import DATA_BYTES, read_regular
from augean.store.archive.packing import STAGING
from augean.store.checkpoints import CHECKPOINT_FILES, NEW_CHECKPOINT
from augean.store.files import list_folder, temporary_files
from augean.store.find_run import best_by_validation
from augean.store.locks import hold_lock
from augean.store.run_directory import runs_dir
from augean.store.run_files import STATE, SUMMARY, WEIGHTS, id_in_name
from augean.store.run_progress import read_progress
from augean.store.summary import RunState, RunSummary, read_summary
from augean.store.sweep_record import SweepRecord, read_records

Kind = Literal["weights", "states", "checkpoints", "outdated", "leftovers"]
KINDS: dict[Kind, str] = {
    "weights": "best.pt of a sweep's finished runs, save its best run's",
    "states": "state.pt, from which a longer training could go on",
    "checkpoints": "checkpoints of pruned and failed trials",
    "outdated": "runs, results and all, of other code, data, weights or mathematics than today's",
    "leftovers": "what killed processes left: temporary files, checkpoints of finished runs",
}
RESULTS: Kind = "outdated"
"""The kind that removes whole results. It is advised only to those who have named it."""
WEIGHTS_OF_RUN = re.compile(r"\brun:(?:[^\s\"',]*-)?([0-9a-f]{1,10})\b")
"""A value of `model.weights` that names a run, by the beginning of its id or its directory."""
BEST_OF_SWEEP = re.compile(r"\brun:best:([^\s\"',]+)")
"""A value of `model.weights` that names a sweep's best run, by the beginning of its name."""
WEIGHTS_FILE = re.compile(r"([^/\s\"',]+)/best\.pt\b")
"""A value of `model.weights` that names a run's file, by its directory."""
REMOVED = "removed.jsonl"
"""Lists in the outputs folder, a line each, what was removed."""
LEFTOVER_SECONDS = 3600.0
"""Age from which on a temporary file belongs to no living process."""
_FOLDERS = (
    "",
    "sweeps",
    "studies",
    "workers",
    "slurm",
    "report",
    "report/tables",
    "report/figures",
)
"""Folders in which Augean writes files, beside those of runs."""
_GIVEN_UP = ("pruned", "fail")
"""States of trials whose runs are not gone on with."""


@dataclass(frozen=True)
class Removable:
    """A file, or a directory, that can go."""

    kind: Kind
    path: Path
    run: str | None
    """Id of the run that it belongs to; None for what lies outside of runs."""
    num_bytes: int


@dataclass(frozen=True)
class Removal:
    """A line of the list of what was removed."""

    time: str
    """ISO 8601 in UTC."""
    kind: str
    path: str
    """Relative to the outputs folder."""
    num_bytes: int
    sha256: str | None = None
    """Of weights and states, as the run's summary has it."""


IsOutdated = Callable[[RunSummary], bool]


def find_removable(outputs: Path, is_outdated: IsOutdated) -> list[Removable]:
    """Return what the folder can do without, of all kinds; nothing of runs in training.

    Raises:
        AugeanError: when a sweep record is damaged: it may need what would be removed.
    """
    records, problems = read_records(outputs)
    if problems:
        raise AugeanError(f"{problems[0]}\nnothing is removed while it is not known what it needs")
    needs = _Needs.of(records, outputs)
    removables = list(_temporary_files(outputs))
    # `runs` itself may be a link, to a larger disk; a link in it may be to anything.
    for path in list_folder(runs_dir(outputs)):
        if path.is_symlink() or not path.is_dir():
            continue
        if path.name.startswith(STAGING):
            if _is_old(path):
                removables.append(_removable("leftovers", path, None))
            continue
        run_id = id_in_name(path.name)
        if run_id is None or _is_in_training(path):
            continue
        removables += _of_run(path, run_id, needs, is_outdated)
    return removables


@dataclass(frozen=True)
class _Needs:
    """What sweeps and other runs need of a run, by its id."""

    listed: frozenset[str]
    """Runs of sweeps."""
    best: frozenset[str]
    """Runs of sweeps whose weights are kept."""
    given_up: frozenset[str]
    """Runs of pruned and failed trials that nobody else asked for."""
    named: tuple[str, ...]
    """Beginnings of the ids of runs that others begin from."""

    @classmethod
    def of(cls, records: Sequence[SweepRecord], outputs: Path) -> "_Needs":
        listed: set[str] = set()
        best: set[str] = set()
        given_up: set[str] = set()
        wanted: set[str] = set()
        for record in records:
            listed.update(job.id for job in record.jobs)
            best.update(_best_runs(record, outputs))
            for job in record.jobs:
                if job.trial is not None and job.state in _GIVEN_UP:
                    given_up.add(job.id)
                else:
                    wanted.add(job.id)
        return cls(
            listed=frozenset(listed),
            best=frozenset(best),
            given_up=frozenset(given_up - wanted),
            named=tuple(_named_beginnings(records, outputs)),
        )


def _best_runs(record: SweepRecord, outputs: Path) -> list[str]:
    """Return the id of a sweep's best run; those of all its runs where that is not known."""
    try:
        best = best_by_validation(record, outputs)
    except AugeanError:  # a damaged summary, which may be the best run's
        return [job.id for job in record.jobs]
    # None has a validation accuracy: nothing was held out, or a custom loop reports none.
    if best is None:
        return [job.id for job in record.jobs]
    return [best.id]


def _named_beginnings(records: Sequence[SweepRecord], outputs: Path) -> set[str]:
    """Return the ids, or beginnings of ids, that `model.weights` names in this folder.

    A sweep that begins from a run's weights needs them until its own last run is trained.
    """
    texts = [json.dumps(asdict(record)) for record in records]
    for path in runs_dir(outputs).glob("*/config.yaml"):
        try:
            texts.append(read_regular(path, DATA_BYTES).decode(errors="replace"))
        except OSError:
            continue
    names = set()
    for text in texts:
        names.update(WEIGHTS_OF_RUN.findall(text))
        names.update(id_in_name(directory) or directory for directory in WEIGHTS_FILE.findall(text))
        for sweep in BEST_OF_SWEEP.findall(text):
            for record in records:
                if record.name.startswith(sweep):
                    names.update(_best_runs(record, outputs))
    return names


def _of_run(path: Path, run_id: str, needs: _Needs, is_outdated: IsOutdated) -> Iterator[Removable]:
    try:
        summary = read_summary(path, run_id)
    except AugeanError:
        return
    is_named = run_id.startswith(needs.named)
    if summary is not None and is_outdated(summary) and not is_named:
        yield _removable("outdated", path, run_id)  # with all that is in the directory
        return
    for file in temporary_files(path):
        if _is_old(file):
            yield _removable("leftovers", file, run_id)
    if summary is None:
        if run_id in needs.given_up:
            yield from _files("checkpoints", path, run_id, CHECKPOINT_FILES)
        elif _is_old(path / NEW_CHECKPOINT):
            yield from _files("leftovers", path, run_id, [NEW_CHECKPOINT])
        return
    is_kept = is_named or run_id in needs.best
    if summary.status == RunState.FINISHED and run_id in needs.listed and not is_kept:
        yield from _files("weights", path, run_id, [WEIGHTS])
    yield from _files("states", path, run_id, [STATE])
    yield from _files("leftovers", path, run_id, CHECKPOINT_FILES)


def _files(kind: Kind, path: Path, run_id: str, names: Iterable[str]) -> Iterator[Removable]:
    for name in names:
        if (path / name).is_file():
            yield _removable(kind, path / name, run_id)


def _temporary_files(outputs: Path) -> Iterator[Removable]:
    """Yield what killed processes left of files outside of runs that they were writing."""
    root = outputs.resolve()
    for name in _FOLDERS:
        # Behind a link lies a folder of something else.
        if (root / name).resolve() != root / name:
            continue
        for file in temporary_files(outputs / name):
            if _is_old(file):
                yield _removable("leftovers", file, None)


def _removable(kind: Kind, path: Path, run: str | None) -> Removable:
    return Removable(kind=kind, path=path, run=run, num_bytes=_size(path))


def _size(path: Path) -> int:
    try:
        if path.is_dir() and not path.is_symlink():
            return sum(_size(inner) for inner in path.iterdir())
        return path.lstat().st_size
    except OSError:  # gone meanwhile
        return 0


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.lstat().st_mtime > LEFTOVER_SECONDS
    except OSError:
        return False


def _is_in_training(path: Path) -> bool:
    """Tell by its progress file whether a run trains; the removal itself asks for its lock."""
    progress = read_progress(path)
    return progress is not None and time.time() - progress.updated < LEFTOVER_SECONDS


@dataclass
class CleaningResult:
    """What a removal did."""

    removed: list[Removable] = field(default_factory=list)
    unlisted: list[Removable] = field(default_factory=list)
    """Those of the removed that `REMOVED` lacks, as the disk was full even without them."""
    locked: list[Removable] = field(default_factory=list)
    """Left, as another process holds the lock of their run."""


def remove(outputs: Path, removables: Iterable[Removable]) -> CleaningResult:
    """Remove files and directories, each under the lock of its run, and list them in `REMOVED`.

    Raises:
        AugeanError: when the folder cannot be written, for another reason than a full disk.
    """
    result = CleaningResult()
    for item in removables:
        try:
            if item.run is None:
                is_listed = _remove_one(outputs, item)
            else:
                with hold_lock(outputs, item.run, wait=False):
                    is_listed = _remove_one(outputs, item)
        except RunLocked:
            result.locked.append(item)
            continue
        except OSError as error:
            raise AugeanError(f"cannot remove {item.path}: {error.strerror}") from error
        result.removed.append(item)
        if not is_listed:
            result.unlisted.append(item)
    return result


def _remove_one(outputs: Path, item: Removable) -> bool:
    """Remove a file or a directory; return whether `REMOVED` lists it."""
    removal = _describe_removal(outputs, item)  # before the removal, as it reads the summary
    # Listed first: a process that dies in between has listed a file that is still there, and the
    # next call removes it. On a full disk the removal makes room for its line.
    is_listed = _list_removal(outputs, removal)
    if item.path.is_dir() and not item.path.is_symlink():
        # Without its summary the run is not finished, however much of the rest is left.
        (item.path / SUMMARY).unlink(missing_ok=True)
        shutil.rmtree(item.path)
    else:
        item.path.unlink(missing_ok=True)
    return is_listed or _list_removal(outputs, removal)


def _describe_removal(outputs: Path, item: Removable) -> Removal:
    digest = None
    if item.path.name in (WEIGHTS, STATE):
        summary = read_summary(item.path.parent)
        digest = None if summary is None else summary.files.get(item.path.name)
    return Removal(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        kind=item.kind,
        path=str(item.path.relative_to(outputs)),
        num_bytes=item.num_bytes,
        sha256=digest,
    )


def _list_removal(outputs: Path, removal: Removal) -> bool:
    """Add a line to `REMOVED`.

    Returns:
        False on a full disk, where it may have written a part of the line.

    Raises:
        AugeanError: when it cannot be written for another reason.
    """
    list_file = outputs / REMOVED
    try:
        with hold_lock(outputs, "removed", wait=True), list_file.open("a+b") as file:
            # A process that was killed may have left half a line, which must not spoil this one.
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")
            file.write(f"{json.dumps(asdict(removal))}\n".encode())
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return False
        raise AugeanError(f"cannot write {list_file}: {error.strerror}") from error
    return True


def read_removals(outputs: Path) -> list[Removal]:
    """Return what was removed from a folder; lines that cannot be read are passed over."""
    try:
        lines = read_regular(outputs / REMOVED, DATA_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return []
    removals = []
    for line in lines:
        try:
            removal = Removal(**json.loads(line))
        except (ValueError, TypeError):  # half a line of a killed process
            continue
        if isinstance(removal.path, str):
            removals.append(removal)
    return removals


def runs_without_weights(outputs: Path) -> set[str]:
    """Return the names of the run directories whose weights were removed and have not come back."""
    names = set()
    for removal in read_removals(outputs):
        path = outputs / removal.path
        if path.name == WEIGHTS and not path.exists():
            names.add(path.parent.name)
    return names
