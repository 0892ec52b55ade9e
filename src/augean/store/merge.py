"""Merge an archive of runs into an outputs folder, without harm to what is there."""

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock

from augean.errors import AugeanError, RunLocked
from augean.store.archive import RUN_FILES, check_record, check_run, extract
from augean.store.checkpoints import remove_checkpoints
from augean.store.files import write_atomic
from augean.store.locks import hold_lock
from augean.store.run_directory import clear_leftovers, run_state, runs_dir
from augean.store.sweep_record import SweepRecord, read_record


@dataclass
class Merged:
    """What `unpack` did."""

    runs: Counter[str] = field(default_factory=Counter)
    """How many runs were new, came instead of an unfinished one, or were there already."""
    remarks: list[str] = field(default_factory=list)
    """What was left as it is, and why."""


def unpack(archive: Path, outputs: Path) -> Merged:
    """Merge an archive into `outputs`.

    A completed run there stays, an unfinished one gives way to a completed one. Grids of one name
    become one with the jobs of both; of two states of one study the later one stays. Several calls
    at once into one folder take turns.

    Raises:
        AugeanError: before anything is merged, when the archive is damaged or too large, or holds
            a foreign name or a damaged run; while merging, when the folder cannot be written.
    """
    runs = runs_dir(outputs)
    merged = Merged()
    try:
        runs.mkdir(parents=True, exist_ok=True)
        # On the file system of the runs, so that a run is moved there in one step.
        with TemporaryDirectory(prefix=".unpack-", dir=runs) as temporary:
            staged = Path(temporary)
            extract(archive, staged)
            completed = _check_staged(archive, staged)
            # Without it one call would take a run that another one is merging for a run in training
            # and leave it alone, even if it were the completed one of the two.
            with hold_lock(outputs, "merge", wait=True):
                _merge_staged(staged, outputs, completed, merged)
    except OSError as error:
        raise AugeanError(f"{outputs}: cannot unpack there ({error.strerror})") from error
    return merged


def _check_staged(archive: Path, staged: Path) -> dict[str, bool]:
    """Check the unpacked runs and records, and return for each run whether it is completed."""
    completed = {}
    try:
        for run in sorted(staged.glob("runs/*")):
            completed[run.name] = check_run(run)
        for record in sorted(staged.glob("sweeps/*.json")):
            check_record(record)
    except AugeanError as error:
        # The staged copy is gone when the message is read: name the file as the archive does.
        reason = str(error).replace(f"{staged}/", "")
        raise AugeanError(
            f"{archive}: {reason}; not unpacked, nothing was changed; pack the runs again"
        ) from error
    return completed


def _merge_staged(staged: Path, outputs: Path, completed: dict[str, bool], merged: Merged) -> None:
    """Merge runs, journals and records, in this order: what a record names is then there."""
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
    for record in sorted(staged.glob("sweeps/*.json")):
        _merge_record(record, outputs, merged)


def _merge_run(staged: Path, outputs: Path, is_completed: bool) -> str:
    """Merge one run and return what was done, as a key of `Merged.runs`."""
    target = runs_dir(outputs) / staged.name
    identity = target.name[-10:]
    with hold_lock(outputs, identity, wait=False):
        if not target.exists():
            staged.rename(target)
            return "new"
        if not is_completed or run_state(outputs, target, identity) in ("finished", "diverged"):
            return "there already"
        clear_leftovers(target)
        for name in RUN_FILES:  # the summary is the last of them and completes the run
            if (staged / name).exists():
                (staged / name).replace(target / name)
        remove_checkpoints(target)
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
    path = outputs / "sweeps" / file.name
    # `augean.run` notes its tables under the same lock. The record is read within it, so that no
    # job is lost that another process adds.
    with hold_lock(outputs, f"sweep-{path.stem}", wait=True):
        if not path.exists():
            write_atomic(path, file.read_bytes())
            return
        ours = read_record(path)
        theirs = read_record(file)
        if ours.kind == "grid":
            jobs = {(job.id, job.row): job for job in (*ours.jobs, *theirs.jobs)}
            replace(ours, jobs=list(jobs.values())).write(outputs)
        elif _trials(ours) <= _trials(theirs) and _progress(ours) <= _progress(theirs):
            theirs.write(outputs)
        elif not _trials(theirs) <= _trials(ours):
            merged.remarks.append(f"{path}: another study of that name is here and stays")


def _trials(record: SweepRecord) -> set[tuple[int | None, str]]:
    return {(job.trial, job.id) for job in record.jobs}


def _progress(record: SweepRecord) -> tuple[int, int, int]:
    """Return how far a study has come; the later of two states has the larger value."""
    states: Counter[str | None] = Counter(job.state for job in record.trials)
    return len(record.jobs), states["complete"] + states["pruned"], len(record.winner)
