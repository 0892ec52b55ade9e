"""Find the directory of a run by its path, its id or its sweep."""

from pathlib import Path

from augean.errors import AugeanError
from augean.store.run_directory import runs_dir
from augean.store.summary import RunState, read_summary
from augean.store.sweep_record import read_records

BEST = "best:"


def find_run(name: str, outputs: Path) -> Path:
    """The directory of the run that `name` means.

    Args:
        name: a path, the beginning of an id, or `best:<sweep>` for the run of a sweep, or of the
            trials of a study, with the highest validation accuracy (never the test's); ties go to
            the first.

    Raises:
        AugeanError: when that is no run, or several.
    """
    if name.startswith(BEST):
        return _best_of(name.removeprefix(BEST), outputs)
    if (Path(name) / "config.yaml").is_file():
        return Path(name)
    known = sorted(path for path in runs_dir(outputs).glob("*-*") if path.is_dir())
    found = [
        path
        for path in known
        if path.name == name or (name and path.name.rpartition("-")[2].startswith(name))
    ]
    if len(found) == 1:
        return found[0]
    listed = "".join(f"\n  {path.name}" for path in (found or known)[:8]) or " none"
    what = (
        f"{len(found)} runs begin with it"
        if found
        else "no run has an id that begins with it, nor is it a path"
    )
    raise AugeanError(f"{name}: {what}; those in {outputs}:{listed}")


def _best_of(sweep: str, outputs: Path) -> Path:
    known, _ = read_records(outputs)
    found = [record for record in known if record.name == sweep] or [
        r for r in known if r.name.startswith(sweep)
    ]
    if len(found) != 1:
        names = ", ".join(record.name for record in found or known) or "none"
        raise AugeanError(f"{BEST}{sweep}: names no single sweep; those in {outputs}: {names}")
    scores: dict[Path, float] = {}
    for job in found[0].jobs:
        path = runs_dir(outputs) / job.run
        summary = read_summary(path)
        if (
            summary is not None
            and summary.status == RunState.FINISHED
            and summary.val_accuracy is not None
        ):
            scores[path] = summary.val_accuracy
    if not scores:
        raise AugeanError(
            f"{BEST}{sweep}: none of its runs is finished with a validation accuracy; name a run"
            " instead"
        )
    return max(scores, key=lambda path: scores[path])
