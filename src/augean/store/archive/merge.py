"""Merge the runs, records and journals of an unpacked archive into an outputs folder.

Nothing in the folder is lost: each run, record and journal is read and written under the lock that
its other writers hold.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from filelock import FileLock

from augean.errors import RunLocked
from augean.regular_files import DATA_BYTES, JOURNAL_BYTES, digest_regular, read_regular
from augean.store.archive.members import RUN_FILES
from augean.store.checkpoints import remove_checkpoints
from augean.store.files import write_atomic
from augean.store.locks import hold_lock
from augean.store.record_identity import record_path, record_paths
from augean.store.run_directory import clear_leftovers, run_state, runs_dir
from augean.store.run_files import DIGESTED_FILES, UNPACKED, id_in_name
from augean.store.summary import read_summary
from augean.store.sweep_record import SweepJob, SweepRecord, hold_record, read_record

UNPACKED_TEXT = "This run came in an archive: it was trained elsewhere.\n"


class MergedRun(StrEnum):
    """What was done with a run of the archive."""

    ADDED = "added"
    """It was not here."""
    COMPLETED = "completed"
    """It took the place of an unfinished one."""
    KEPT = "kept"
    """The one that was here stayed as it was."""


@dataclass
class Merged:
    """Counts and remarks of what `unpack` did."""

    runs: Counter[MergedRun] = field(default_factory=Counter)
    """Number of runs by what was done with them."""
    remarks: list[str] = field(default_factory=list)
    """A line for each run, record or journal in the folder that was left as it is, with the
    reason."""


def merge(staged: Path, outputs: Path, completed: Mapping[str, bool]) -> Merged:
    """Merge the content of an archive into `outputs`; runs are moved there.

    The caller makes sure that only one process at a time merges into a folder.

    Args:
        staged: the folder that the archive was unpacked into, on the file system of `outputs`.
        completed: for each run, by the name of its directory, whether it is completed.

    Raises:
        AugeanError: before anything is merged, when a record in `outputs` is damaged; later, when
            the folder cannot be written.
    """
    merged = Merged()
    records = record_paths(staged)
    # A damaged record in `outputs` is found here, while nothing has been changed yet.
    for record in records:
        _read_if_there(record_path(outputs, record.stem))
    # Runs first and records last, so that a record never names a run that is not there yet.
    for name, is_completed in completed.items():
        try:
            outcome = _merge_run(staged / "runs" / name, outputs, is_completed)
            merged.runs[outcome] += 1
        except RunLocked:
            merged.remarks.append(f"{name}: is being trained here and was left alone")
    for folder in ("studies", "sweeps"):
        (outputs / folder).mkdir(exist_ok=True)
    for journal in sorted(staged.glob("studies/*")):
        content = read_regular(journal, DATA_BYTES)
        _merge_journal(content, outputs / "studies" / journal.name, merged)
    for record in records:
        _merge_record(record, outputs, merged)
    return merged


def _merge_run(staged: Path, outputs: Path, is_completed: bool) -> MergedRun:
    """Merge one run.

    Raises:
        RunLocked: when a process is training the run in `outputs`.
    """
    target = runs_dir(outputs) / staged.name
    # Names of other forms are refused in archives.
    run_id = id_in_name(target.name) or target.name
    with hold_lock(outputs, run_id, wait=False):
        if not target.exists():
            write_atomic(staged / UNPACKED, UNPACKED_TEXT)
            staged.rename(target)
            return MergedRun.ADDED
        if not is_completed or run_state(outputs, target, run_id).is_completed:
            return MergedRun.KEPT
        clear_leftovers(target)
        write_atomic(target / UNPACKED, UNPACKED_TEXT)
        _remove_other_results(target, staged)
        # In the order of RUN_FILES: the summary, which completes the run, is moved last.
        for name in RUN_FILES:
            if (staged / name).exists():
                (staged / name).replace(target / name)
        remove_checkpoints(target)
        return MergedRun.COMPLETED


def _remove_other_results(target: Path, staged: Path) -> None:
    """Remove files of an unfinished run that the summary of the packed one does not describe.

    A run that was killed while it ended has some. With them the merged run would count as altered.
    """
    summary = read_summary(staged)
    digests = {} if summary is None else summary.files
    for name in DIGESTED_FILES:
        file = target / name
        if file.is_file() and digest_regular(file) != digests.get(name):
            file.unlink()


def _merge_journal(content: bytes, path: Path, merged: Merged) -> None:
    """Replace a study's journal by a later state of the same study.

    A journal is only ever appended to: of two states of one study the later one begins with the
    earlier one. Where neither begins with the other they are of two studies, and the one in
    `outputs` stays.

    Args:
        content: of the journal in the archive.
        path: of the journal in `outputs`, which need not exist.
    """
    # Optuna's workers hold this lock while they write to the journal.
    with FileLock(f"{path}.flock", fallback_to_soft=False):
        # Every content begins with the empty one of a journal that does not exist.
        present = read_regular(path, JOURNAL_BYTES) if path.exists() else b""
        if content.startswith(present):
            write_atomic(path, content)
        elif not present.startswith(content):
            merged.remarks.append(f"{path}: another study of that name is here and stays")


def _merge_record(file: Path, outputs: Path, merged: Merged) -> None:
    """Merge a sweep record with the one of that name in `outputs`, if there is one.

    Grids are combined. Of two states of one study the later one stays.
    """
    name = file.stem
    path = record_path(outputs, name)
    # The record in `outputs` is read under both locks, so that no job is lost that another process
    # adds. A custom loop adds its runs under the first lock, a study its trials under the second.
    with (
        hold_record(outputs, name),
        hold_lock(outputs, f"study-{name}", wait=True),
    ):
        present = _read_if_there(path)
        if present is None:
            write_atomic(path, read_regular(file, DATA_BYTES))
            return
        packed = read_record(file)
        if present.kind != packed.kind:
            merged.remarks.append(f"{path}: a {present.kind} of that name is here and stays")
        elif present.kind == "grid":
            if present.design and packed.design and _rules(present) != _rules(packed):
                merged.remarks.append(
                    f"{path}: is being settled by another design here than in the archive; the one"
                    " here stays"
                )
            _merge_grids(present, packed).write(outputs)
        elif _is_later(packed, present):
            packed.write(outputs)
        elif not _trials(packed) <= _trials(present):
            # Neither has all trials of the other.
            merged.remarks.append(f"{path}: another study of that name is here and stays")


def _read_if_there(path: Path) -> SweepRecord | None:
    """Read a record in `outputs`; None where there is none of that name."""
    return read_record(path) if path.exists() else None


def _merge_grids(present: SweepRecord, packed: SweepRecord) -> SweepRecord:
    """Return the record in `outputs` with the jobs of both.

    Two jobs are the same when they have the same run and row; then the present one stays.
    """
    jobs: dict[tuple[str, str], SweepJob] = {}
    for job in (*present.jobs, *packed.jobs):
        jobs.setdefault((job.id, job.row), job)
    return replace(present, jobs=list(jobs.values()), design=_merge_designs(present, packed))


def _merge_designs(present: SweepRecord, packed: SweepRecord) -> dict[str, Any]:
    """Return the sequential design of both, with the larger number of seeds of each row.

    A table whose seeds were added by looking at it must be judged by the design that added them.
    """
    if not present.design or not packed.design:
        return present.design or packed.design
    seeds = dict(present.design.get("seeds", {}))
    for row, number in packed.design.get("seeds", {}).items():
        seeds[row] = max(number, seeds.get(row, 0))
    return {**present.design, "seeds": seeds}


def _rules(record: SweepRecord) -> dict[str, Any]:
    """Return a design without the numbers of seeds, which grow."""
    return {key: value for key, value in record.design.items() if key != "seeds"}


def _is_later(study: SweepRecord, other: SweepRecord) -> bool:
    """Return whether a record is a later state of another one's study, or the same state."""
    # `<=` of sets is "is a subset of": a later state has all trials of an earlier one.
    has_its_trials = _trials(other) <= _trials(study)
    return has_its_trials and _progress(other) <= _progress(study)


def _trials(record: SweepRecord) -> set[tuple[int | None, str]]:
    """Return number and run id of each trial.

    Further seeds of the best trials and of the winner say nothing: which those are changes with
    each trial, and how many seeds they get may change at any time.
    """
    return {(job.trial, job.id) for job in record.trials}


def _progress(record: SweepRecord) -> tuple[int, int, bool, int]:
    """Return how far a study has come; a later state has the larger value, or an equal one."""
    # Tuples compare by their first different items. The number of all jobs comes last: it grows by
    # the runs with further seeds, when the study has its trials.
    return (
        len(record.trials),
        record.num_trials_done,
        bool(record.winner),
        len(record.jobs),
    )
