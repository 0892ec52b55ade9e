"""Merge the runs, records and journals of an unpacked archive into an outputs folder.

Nothing that is there is lost: each thing is read and written under the lock that its writers hold.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from filelock import FileLock

from augean.errors import RunLocked
from augean.store.archive_members import RUN_FILES
from augean.store.checkpoints import remove_checkpoints
from augean.store.files import write_atomic
from augean.store.locks import hold_lock
from augean.store.run_directory import clear_leftovers, run_state, runs_dir
from augean.store.run_progress import remove_progress
from augean.store.sweep_record import SweepJob, SweepRecord, hold_record, read_record


@dataclass
class Merged:
    """What `unpack` did."""

    runs: Counter[str] = field(default_factory=Counter)
    """How many runs were new, came instead of an unfinished one, or were there already."""
    remarks: list[str] = field(default_factory=list)
    """What was left as it is, and why."""


def merge(staged: Path, outputs: Path, completed: Mapping[str, bool]) -> Merged:
    """Merge what an archive held into `outputs`; runs are moved there.

    The caller lets only one process at a time merge into a folder.

    Args:
        staged: the folder that the archive was unpacked into, on the file system of the runs.
        completed: for each run, by its folder's name, whether it is completed.

    Raises:
        AugeanError: before anything is merged, when a record in `outputs` is damaged; later, when
            the folder cannot be written.
    """
    merged = Merged()
    records = sorted(staged.glob("sweeps/*.json"))
    for record in records:
        _read_ours(outputs / "sweeps" / record.name)
    # In this order: what a record names is then there.
    for name, is_completed in completed.items():
        try:
            change = _merge_run(staged / "runs" / name, outputs, is_completed)
            merged.runs[change] += 1
        except RunLocked:
            merged.remarks.append(f"{name}: is being trained here and was left alone")
    for folder in ("studies", "sweeps"):
        (outputs / folder).mkdir(exist_ok=True)
    for journal in sorted(staged.glob("studies/*")):
        _merge_journal(journal.read_bytes(), outputs / "studies" / journal.name, merged)
    for record in records:
        _merge_record(record, outputs, merged)
    return merged


def _merge_run(staged: Path, outputs: Path, is_completed: bool) -> str:
    """Merge one run and return what was done, as a key of `Merged.runs`."""
    target = runs_dir(outputs) / staged.name
    identity = target.name[-10:]
    with hold_lock(outputs, identity, wait=False):
        if not target.exists():
            staged.rename(target)
            return "new"
        if not is_completed or run_state(outputs, target, identity).is_completed:
            return "there already"
        clear_leftovers(target)
        for name in RUN_FILES:  # the summary is the last of them and completes the run
            if (staged / name).exists():
                (staged / name).replace(target / name)
        remove_checkpoints(target)
        remove_progress(target)
        return "instead of an unfinished one"


def _merge_journal(content: bytes, path: Path, merged: Merged) -> None:
    """Merge a study's journal. It only grows, so the longer of two is the later one if it begins
    with the other.
    """
    # The lock that workers hold while they write to the study.
    with FileLock(f"{path}.flock", fallback_to_soft=False):
        ours = path.read_bytes() if path.exists() else b""
        if content.startswith(ours):
            write_atomic(path, content)
        elif not ours.startswith(content):
            merged.remarks.append(f"{path}: another study of that name is here and stays")


def _merge_record(file: Path, outputs: Path, merged: Merged) -> None:
    name = file.stem
    path = outputs / "sweeps" / file.name
    # The record here is read within its locks, so that no job is lost that another process adds. A
    # custom loop notes its runs under the first, a study its trials under the second.
    with (
        hold_record(outputs, name),
        hold_lock(outputs, f"study-{name}", wait=True),
    ):
        ours = _read_ours(path)
        if ours is None:
            write_atomic(path, file.read_bytes())
            return
        theirs = read_record(file)
        if ours.kind != theirs.kind:
            merged.remarks.append(f"{path}: a {ours.kind} of that name is here and stays")
        elif ours.kind == "grid":
            _merge_grids(ours, theirs).write(outputs)
        elif _trials(ours) <= _trials(theirs) and _progress(ours) <= _progress(theirs):
            theirs.write(outputs)
        elif not _trials(theirs) <= _trials(ours):
            merged.remarks.append(f"{path}: another study of that name is here and stays")


def _read_ours(path: Path) -> SweepRecord | None:
    return read_record(path) if path.exists() else None


def _merge_grids(ours: SweepRecord, theirs: SweepRecord) -> SweepRecord:
    """Return our record with the jobs of both; of equal jobs ours stays."""
    jobs: dict[tuple[str, str], SweepJob] = {}
    for job in (*ours.jobs, *theirs.jobs):
        jobs.setdefault((job.id, job.row), job)
    return replace(ours, jobs=list(jobs.values()))


def _trials(record: SweepRecord) -> set[tuple[int | None, str]]:
    return {(job.trial, job.id) for job in record.jobs}


def _progress(record: SweepRecord) -> tuple[int, int, int]:
    """Return how far a study has come; the later of two states has the larger value."""
    states = Counter(job.state for job in record.trials)
    num_finished = states["complete"] + states["pruned"]
    return len(record.jobs), num_finished, len(record.winner)
