"""Find the directory of a run by its path, its id or its sweep."""

from pathlib import Path

from augean.errors import AugeanError
from augean.store.run_directory import runs_dir
from augean.store.summary import RunState, read_summary
from augean.store.sweep_record import SweepRecord, read_records

BEST = "best:"
"""Prefix of a sweep's name that stands for its best run."""
MOST_LISTED = 8
"""Runs that a message lists."""


def find_run(name: str, outputs: Path) -> Path:
    """Return the directory of the run that `name` means.

    Args:
        name: a path, the beginning of an id, or `best:<sweep>`: the winner of a study, or the run
            of a grid with the highest validation accuracy (never the test's), of equal ones the
            first.

    Raises:
        AugeanError: when that is not a run, or several.
    """
    if name.startswith(BEST):
        return _best_run(name.removeprefix(BEST), outputs)
    if (Path(name) / "config.yaml").is_file():
        return Path(name)
    runs = sorted(path for path in runs_dir(outputs).glob("*-*") if path.is_dir())
    matches = [path for path in runs if _is_meant(name, path)]
    if len(matches) == 1:
        return matches[0]
    reason = "no run has an id that begins with it, nor is it a path"
    if matches:
        reason = f"{len(matches)} runs begin with it"
    listed = "".join(f"\n  {path.name}" for path in (matches or runs)[:MOST_LISTED])
    raise AugeanError(f"{name}: {reason}; those in {outputs}:{listed or ' none'}")


def _is_meant(name: str, path: Path) -> bool:
    """Return whether `name` is a run's directory or the beginning of its id."""
    run_id = path.name.rpartition("-")[2]
    return name != "" and (path.name == name or run_id.startswith(name))


def _best_run(sweep: str, outputs: Path) -> Path:
    record = _find_sweep(sweep, outputs)
    jobs = record.jobs
    if record.kind == "study":
        winner = record.best_trial()
        jobs = [] if winner is None else [winner]
    scores: dict[Path, float] = {}
    for job in jobs:
        path = runs_dir(outputs) / job.run
        summary = read_summary(path)
        if summary is None or summary.status != RunState.FINISHED:
            continue
        if summary.val_accuracy is not None:
            scores[path] = summary.val_accuracy
    if not scores:
        raise AugeanError(
            f"{BEST}{sweep}: none of its runs is finished with a validation accuracy; name a run"
            " instead"
        )
    return max(scores, key=lambda path: scores[path])


def _find_sweep(name: str, outputs: Path) -> SweepRecord:
    """Read the record of that name, or else the only one whose name begins so."""
    records, _ = read_records(outputs)
    matches = [record for record in records if record.name == name]
    if not matches:
        matches = [record for record in records if record.name.startswith(name)]
    if len(matches) != 1:
        names = ", ".join(record.name for record in matches or records) or "none"
        raise AugeanError(f"{BEST}{name}: names no single sweep; those in {outputs}: {names}")
    return matches[0]
