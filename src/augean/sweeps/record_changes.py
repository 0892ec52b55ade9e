"""Compare the record of a grid with what its sweep file asks for by now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from augean.store.run_directory import run_state, runs_dir
from augean.store.sweep_record import SweepJob, SweepRecord
from augean.terminal import counted


@dataclass(frozen=True)
class RecordChanges:
    """The jobs in which a record and a new plan of its sweep differ.

    Runs of custom loops are in neither: no sweep file asks for them.
    """

    new: Sequence[SweepJob]
    """Jobs that the plan has and the record lacks."""
    dropped: Sequence[SweepJob]
    """Jobs of the record that the plan leaves out."""
    num_pending: int
    """Seeds that `augean settle` has asked for and not trained yet; the plan has them."""

    @property
    def has_other_jobs(self) -> bool:
        """Return whether the plan differs by more than the seeds that are pending."""
        return bool(self.dropped) or len(self.new) > self.num_pending


def compare_records(earlier: SweepRecord, planned: SweepRecord) -> RecordChanges:
    """Compare a record with the one that a launch would write now.

    Args:
        earlier: as it lies on the disk.
        planned: of a plan that was made of the same sweep file and overrides.
    """
    before = _own_jobs(earlier)
    now = _own_jobs(planned)
    seeds: Mapping[str, int] = earlier.design.get("seeds", {})
    num_pending = 0
    for row, number in seeds.items():
        num_in_record = len({job.seed for job in before.values() if job.row == row})
        if num_in_record:
            num_pending += max(0, number - num_in_record)
    return RecordChanges(
        new=[job for key, job in now.items() if key not in before],
        dropped=[job for key, job in before.items() if key not in now],
        num_pending=num_pending,
    )


def describe_left_out(earlier: SweepRecord, planned: SweepRecord, outputs: Path) -> str:
    """Say which completed runs of a record are not in what a launch writes; "" where all are."""
    remaining = {job.row for job in planned.jobs}
    folder = runs_dir(outputs)
    rows: dict[str, None] = {}
    num_replaced = 0
    for job in compare_records(earlier, planned).dropped:
        if not run_state(outputs, folder / job.run, job.id).is_completed:
            continue
        if job.row in remaining:
            num_replaced += 1
        else:
            rows[job.row] = None
    parts = []
    if rows:
        parts.append(f"{counted(len(rows), 'row')} of its record: {'; '.join(rows)}")
    if num_replaced:
        parts.append(
            f"{counted(num_replaced, 'finished run')} of rows that stay, of which other seeds,"
            " code, data or weights are asked for"
        )
    return "; and ".join(parts)


def _own_jobs(record: SweepRecord) -> dict[tuple[str, str], SweepJob]:
    """Return the jobs that the sweep's own command trains, by row and run id."""
    return {(job.row, job.id): job for job in record.jobs if job.command is None}
