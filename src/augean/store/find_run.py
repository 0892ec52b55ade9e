"""Find the directory of a run by its path, its id or the sweep whose best run it is."""

import math
from pathlib import Path

from augean.errors import AugeanError
from augean.store.files import list_folder
from augean.store.run_directory import runs_dir
from augean.store.run_files import CONFIG, id_in_name
from augean.store.summary import RunState, read_summary
from augean.store.sweep_record import SweepJob, SweepRecord, read_records
from augean.suggestions import choose_by_name

BEST = "best:"
"""`best:<sweep>` stands for the best run of a sweep."""
MAX_LISTED = 8
"""Most runs that a message lists."""


def find_run(name: str, outputs: Path) -> Path:
    """Return the directory of the run that `name` stands for.

    Args:
        name: a path, the name of a run's directory, the beginning of an id, or `best:<sweep>`. The
            best run is the winner of a study, or the run of a grid with the highest validation
            accuracy; the first of several. Test accuracies play no part.

    Raises:
        AugeanError: when no run has that name, or several have it.
    """
    if name.startswith(BEST):
        return _best_run(name.removeprefix(BEST), outputs)
    # Every run directory has a config.yaml, an interrupted one too.
    if (Path(name) / CONFIG).is_file():
        return Path(name)
    runs = [path for path in list_folder(runs_dir(outputs), "[!.]*-*") if path.is_dir()]
    matches = [path for path in runs if _is_called(name, path)]
    if len(matches) == 1:
        return matches[0]
    reason = "no run has an id that begins with it, nor is it a path"
    if matches:
        reason = f"{len(matches)} runs begin with it"
    # The runs that fit, or any of the folder, to choose from.
    candidates = (matches or runs)[:MAX_LISTED]
    listing = "".join(f"\n  {path.name}" for path in candidates)
    raise AugeanError(f"{name}: {reason}; those in {outputs}:{listing or ' none'}")


def _is_called(name: str, path: Path) -> bool:
    """Return whether `name` is the name of the directory `path` or the beginning of its id."""
    if name == "":  # with which every id begins
        return False
    run_id = id_in_name(path.name) or ""
    return path.name == name or run_id.startswith(name)


def _best_run(sweep: str, outputs: Path) -> Path:
    """Return the directory of a sweep's best run.

    Raises:
        AugeanError: when none of its runs is finished with a validation accuracy.
    """
    best = best_by_validation(_find_sweep(sweep, outputs), outputs)
    if best is None:
        raise AugeanError(
            f"{BEST}{sweep}: none of its runs is finished with a validation accuracy; name a run"
            " instead"
        )
    return runs_dir(outputs) / best.run


def best_by_validation(record: SweepRecord, outputs: Path) -> SweepJob | None:
    """Return the best run of a sweep: a study's winner, else the highest validation accuracy.

    Returns:
        The first of several; None where none is finished with a validation accuracy.

    Raises:
        AugeanError: when the summary of a run is damaged.
    """
    jobs = record.jobs
    if record.kind == "study":
        # Only the winner, which further seeds may have chosen.
        winner = record.best_trial()
        jobs = [] if winner is None else [winner]
    best = None
    best_score = -math.inf
    for job in jobs:
        score = _validation_score(runs_dir(outputs) / job.run)
        if score is not None and score > best_score:
            best = job
            best_score = score
    return best


def _validation_score(path: Path) -> float | None:
    """Return the validation accuracy of a run; None where it is not finished or has none.

    Args:
        path: of the run's directory.
    """
    summary = read_summary(path)
    # A diverged run has the accuracy of its best epoch, and no weights.
    if summary is None or summary.status != RunState.FINISHED:
        return None
    return summary.val_accuracy


def _find_sweep(name: str, outputs: Path) -> SweepRecord:
    """Read the record with that name, or else the only one whose name begins with it."""
    records, problems = read_records(outputs)
    by_name = {record.name: record for record in records}
    if name == "":  # with which every name begins
        names = ", ".join(by_name) or "none"
        raise AugeanError(f"{BEST}: name a sweep, as in {BEST}<sweep>; those in {outputs}: {names}")
    things = f"sweeps in {outputs}"
    return by_name[choose_by_name(name, list(by_name), things, prefix=BEST, remarks=problems)]
