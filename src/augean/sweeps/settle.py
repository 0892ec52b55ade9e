"""Add seeds to a table's undecided rows, until all are decided or the budget is spent.

`augean.analysis.sequential` decides which rows get seeds (docs/internals/settling.md). The sweep's
record notes them, and the sweep's own command trains them as ordinary runs.
"""

import itertools
import logging
import math
import shlex
import statistics
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from augean.analysis.run import Run
from augean.analysis.sequential import JobRuns, follow
from augean.analysis.sequential_design import MAX_LOOKS, Design, design_of
from augean.config.override_text import override_text
from augean.config.paths import sweep_file, sweeps_dir
from augean.errors import AugeanError, DataError
from augean.override_key import outputs_override
from augean.signals import ChildProcesses
from augean.store.record_identity import identifying_overrides, same_overrides
from augean.store.run_directory import runs_dir
from augean.store.run_files import SUMMARY, id_in_name
from augean.store.summary import RunState, read_summary
from augean.store.sweep_record import SweepJob, SweepRecord, hold_record, read_records
from augean.sweeps.budget import read_budget
from augean.sweeps.plan import plan_for
from augean.sweeps.record_changes import compare_records
from augean.sweeps.settle_look import Look, seeds_of_row, show
from augean.sweeps.workers import program
from augean.terminal import counted

logger = logging.getLogger(__name__)


class Settling:
    """One call of `augean settle`."""

    def __init__(
        self,
        sweep: str,
        folder: Path | None,
        outputs: Path,
        overrides: Sequence[str],
        design: Mapping[str, Any],
        budget: str | None,
    ) -> None:
        """Take the arguments of the call.

        Args:
            sweep: name of the sweep file.
            folder: where that file lies; None for those that come with Augean.
            outputs: as `runtime.outputs`.
            overrides: of the sweep, as its own command takes them.
            design: the fields of `Design` that the call sets.
            budget: such as 30runs; None is endless.

        Raises:
            AugeanError: for a wrong budget, or an output folder among the overrides.
        """
        place = outputs_override(overrides)
        if place is not None:
            raise AugeanError(f"runtime.outputs={place}: name the folder with --outputs")
        self.sweep = sweep
        self.folder = folder
        self.outputs = outputs
        self.overrides = overrides
        self.design = design
        self.budget_text = budget
        self.budget = read_budget(budget)
        self.start = time.monotonic()
        self.num_workers = 1
        """Runs that a launch trains at once: `runtime.workers` of its plan."""
        folder_text = override_text(str(outputs), "runtime.outputs")
        words = ["-cn", sweep, *overrides, f"runtime.outputs={folder_text}"]
        if folder:
            words = ["-cd", str(folder), *words]
        self.command = [*program(sys.argv), *words]
        summaries = runs_dir(outputs).glob(f"*/{SUMMARY}")
        self.completed_before = {id_in_name(summary.parent.name) for summary in summaries}
        """Ids of the runs that cost this call nothing, those of other tables included."""

    def find_record(self) -> SweepRecord | None:
        """Return the sweep's record; None where it was not launched yet."""
        overrides = identifying_overrides(self.overrides)
        records, _ = read_records(self.outputs)
        for record in records:
            if record.is_of(self.sweep) and same_overrides(record.overrides, overrides):
                return record
        return None

    def read_job_runs(self, record: SweepRecord) -> JobRuns:
        """Return the record's jobs, each with the summary of its run."""
        folder = runs_dir(self.outputs)
        job_runs: list[tuple[SweepJob, Run]] = []
        for job in record.jobs:
            try:
                summary = read_summary(folder / job.run)
            except AugeanError as error:
                logger.warning(f"{error}; the run counts as missing")
                summary = None
            state = RunState.MISSING if summary is None else summary.status
            run = Run(id=job.id, directory=job.run, state=state, seed=job.seed, summary=summary)
            job_runs.append((job, run))
        return job_runs

    def run(self, *, dry: bool) -> int:
        """Settle the table; with `dry` only say what is undecided. Return the exit status.

        Raises:
            AugeanError: when the table cannot be settled.
            SystemExit: with the sweep's own exit status, when a run failed or a stop signal came.
        """
        earlier = self.find_record()
        # Planned although there is a record, as the file may ask for other runs by now. A table
        # that cannot be settled is refused before anything is trained.
        record = _with_design(self.plan_record(earlier, dry=dry), self.design)
        is_changed = False
        if earlier is not None:
            has_other_jobs = compare_records(earlier, record).has_other_jobs
            is_changed = has_other_jobs or earlier.baseline != record.baseline
        if dry:
            self._show_dry(record, is_launched=earlier is not None, is_changed=is_changed)
            return 0
        is_launched = earlier is None or is_changed
        if is_launched:
            self.launch()
            launched = self.find_record()
            if launched is None:
                raise AugeanError(f"{self.sweep} left no record in {self.outputs}")
            record = _with_design(launched, self.design)
        elif sweep_file(self.sweep, self.folder) is None:
            self._refuse_training(record)
        self._settle(record, is_launched=is_launched)
        return 0

    def plan_record(self, earlier: SweepRecord | None, *, dry: bool) -> SweepRecord:
        """Return the record that a launch would write now; the earlier one where none is possible.

        Raises:
            AugeanError: for whatever a launch would refuse, where runs are to be trained.
        """
        has_file = sweep_file(self.sweep, self.folder) is not None
        # To look at a record alone takes no file.
        if earlier is not None and self.folder is None and (has_file or not dry):
            _refuse_other_file(earlier, self.sweep)
        # A record alone, such as an unpacked one, is settled as it is.
        if earlier is not None and not has_file:
            return earlier
        try:
            plan = plan_for(self.outputs, self.sweep, self.overrides, self.folder)
        except AugeanError as error:
            # Without the data, or own code, no run can be addressed, but the scores are all here.
            if earlier is None or not (dry or isinstance(error, DataError)):
                raise
            logger.warning(f"{error}; the record is taken as it is")
            return earlier
        self.num_workers = plan.config.runtime.workers
        return plan.record

    def _refuse_training(self, record: SweepRecord) -> None:
        """Refuse a table without its sweep file where seeds are to be trained.

        Its design is not noted then: the call with the file may set another.

        Raises:
            AugeanError: with the option that names the file's folder.
        """
        look = self.look(record)
        if self.lacks_runs(record) or self.next_seeds(record, look):
            show(record, look)
            raise AugeanError(
                f"{self.sweep}: seeds are to be trained, and there is no sweep file of that name;"
                " name its folder with -cd, or only look at the table with --dry-run"
            )

    def _show_dry(self, record: SweepRecord, *, is_launched: bool, is_changed: bool) -> None:
        """Say what settling would begin with."""
        if not is_launched:
            logger.info(
                f"{self.sweep} was not launched yet: settling begins with the runs that it names"
                " itself."
            )
            return
        if is_changed:
            num_missing = len(self._missing_runs(record))
            logger.info(
                f"{self.sweep}: the file, or code or data of its runs, has changed since:"
                f" {counted(num_missing, 'run')} missing, with which settling begins."
            )
        show(record, self.look(record))

    def _settle(self, record: SweepRecord, *, is_launched: bool) -> None:
        """Train seeds round by round, until nothing is undecided or the budget is spent.

        A launcher that trains later, such as SLURM, ends it after a round.

        Args:
            is_launched: this call has launched the sweep already.
        """
        while True:
            with hold_record(self.outputs, record.name):
                # Read again: a custom loop may have joined meanwhile.
                record = replace(self.find_record() or record, design=record.design)
                record.write(self.outputs)
            if self.lacks_runs(record) and not is_launched:
                self.launch()
                record = self.find_record() or record
            is_launched = False
            if num_missing := len(self._missing_runs(record)):
                logger.info(
                    f"{record.name}: {counted(num_missing, 'run')} still to be trained by the"
                    " launcher; when they are done, the same command goes on."
                )
                return
            look = self.look(record)
            show(record, look)
            additions = self.next_seeds(record, look)
            if not additions:
                break
            seeds = {**record.design.get("seeds", {}), **additions}
            record = replace(record, design={**record.design, "seeds": seeds})
        joined = _joined_rows(record)
        for row in joined:
            logger.info(f"{row} is a row of a custom loop: its own command trains its seeds.")
        undecided = [item.row for item in look.courses if item.open and item.row not in joined]
        if undecided and record.baseline not in joined:
            logger.info(
                f"The budget of {self.budget_text} reaches no further. Undecided:"
                f" {', '.join(undecided)}; the same command goes on."
            )

    def look(self, record: SweepRecord) -> Look:
        """Read the scores, and compare every row with the baseline."""
        job_runs = self.read_job_runs(record)
        finished = [run for _, run in job_runs if run.state is RunState.FINISHED]
        return Look(
            job_runs=job_runs,
            courses=follow(record, job_runs),
            seconds=statistics.median(_seconds(finished) or [math.nan]),
        )

    def lacks_runs(self, record: SweepRecord) -> bool:
        """Return whether runs that were asked for are not completed, or not in the record yet."""
        seeds: Mapping[str, int] = record.design.get("seeds", {})
        for row, number in seeds.items():
            # A row without any seed is not part of this launch.
            if 0 < len(seeds_of_row(record, row)) < number:
                return True
        return bool(self._missing_runs(record))

    def _missing_runs(self, record: SweepRecord) -> set[str]:
        """Return the ids of the runs that the sweep's own command has to complete."""
        missing = set()
        for job, run in self.read_job_runs(record):
            if job.command is None and not run.state.is_completed:
                missing.add(job.id)
        return missing

    def next_seeds(self, record: SweepRecord, look: Look) -> dict[str, int]:
        """Return how many seeds rows, and the baseline, are to have after the next round."""
        design = design_of(record)
        joined = _joined_rows(record)
        if record.baseline in joined:
            return {}
        undecided = [item for item in look.courses if item.open and item.row not in joined]
        # Several seeds a row at once keep all workers busy; the last ones may prove unneeded.
        ahead = max(1, self.num_workers // (len(undecided) + 1))
        seeds: dict[str, int] = {}
        num_runs = 0
        for course in undecided:
            target = min(max(course.n + ahead, design.least), design.most)
            additions: dict[str, int] = {}
            for row in (course.row, str(record.baseline)):
                number = seeds.get(row, len(seeds_of_row(record, row)))
                if number < target:
                    additions[row] = target - number
            num_runs_with_row = num_runs + sum(additions.values())
            if self._spent(look, num_runs_with_row) <= self.budget.amount:
                seeds |= dict.fromkeys(additions, target)
                num_runs = num_runs_with_row
        return seeds

    def _spent(self, look: Look, num_runs: int) -> float:
        """Predict what this call will have spent after `num_runs` more, in the budget's unit."""
        new_runs: dict[str, Run] = {}
        for job, run in look.job_runs:
            if run.state.is_completed and job.id not in self.completed_before:
                new_runs[job.id] = run
        if self.budget.unit == "runs":
            return len(new_runs) + num_runs
        # The workers train at once; device seconds, below, are the sum over all runs.
        if self.budget.unit == "clock seconds":
            num_rounds = math.ceil(num_runs / self.num_workers)
            return time.monotonic() - self.start + num_rounds * look.seconds
        # What a run continues was paid for when that was trained.
        spent = sum(run.summary.own_seconds or 0.0 for run in new_runs.values() if run.summary)
        return spent + num_runs * look.seconds

    def launch(self) -> None:
        """Run the sweep's own command to its end; a stop signal is passed on to it.

        Raises:
            SystemExit: with its exit status, when that is not 0.
        """
        with ChildProcesses() as children:
            status = children.start(self.command).wait()
        if children.signal is not None:
            raise SystemExit(128 + children.signal)
        if status:
            raise SystemExit(status)


def _refuse_other_file(record: SweepRecord, sweep: str) -> None:
    """Refuse a sweep without its folder where the record is of a file in the user's own.

    Raises:
        AugeanError: with the option that names the user's folder.
    """
    words = shlex.split(record.command)
    for option, value in itertools.pairwise(words):
        folder = Path(value)
        is_users = folder.resolve() != sweeps_dir().resolve()
        if option in ("-cd", "--config-dir") and is_users and (folder / f"{sweep}.yaml").is_file():
            raise AugeanError(f"{record.name}: was launched with -cd {value}; add that")


def _joined_rows(record: SweepRecord) -> list[str]:
    """Return the rows of custom loops, for which the sweep's own command trains no seeds."""
    own = {job.row for job in record.jobs if job.command is None}
    return list(dict.fromkeys(job.row for job in record.jobs if job.row not in own))


def _seconds(runs: Iterable[Run]) -> list[float]:
    """List the training times that are known, in seconds."""
    summaries = [run.summary for run in runs if run.summary is not None]
    return [summary.seconds for summary in summaries if summary.seconds is not None]


def _check_has_baseline(record: SweepRecord) -> None:
    """Raise AugeanError where a record has no rows to compare with a baseline."""
    if record.kind == "study":
        raise AugeanError(
            f"{record.name}: is a study, and settling adds seeds to the rows of a table; promote"
            " its winner, or confirm it by hydra.sweeper.confirm"
        )
    rows = list(dict.fromkeys(job.row for job in record.jobs))
    listing = ", ".join(str(row) for row in rows)
    if record.baseline is None:
        raise AugeanError(
            f"{record.name}: settling compares rows with a baseline; name one of them by"
            f" runtime.table.baseline: {listing}"
        )
    if record.baseline not in rows:
        raise AugeanError(
            f"{record.name}: runtime.table.baseline={record.baseline} is none of its rows, with"
            f" which settling would compare them: {listing}"
        )
    if len(rows) < 2:
        raise AugeanError(
            f"{record.name}: has the baseline {record.baseline} as its only row, so there is"
            " nothing to settle"
        )


def _with_design(record: SweepRecord, options: Mapping[str, Any]) -> SweepRecord:
    """Return the record with its own design; one without gets that of the call.

    Raises:
        AugeanError: when the call sets another design, or the table cannot be settled.
    """
    _check_has_baseline(record)
    if not record.design:
        # Noted with it is what it compares, which must not change either.
        rows = [job.row for job in record.jobs if job.command is None]
        comparison = {"baseline": record.baseline, "rows": list(dict.fromkeys(rows))}
        record = replace(record, design={**asdict(Design(**options)), **comparison})
    words = [f"--{key} {value}" for key, value in options.items()]
    try:
        design = asdict(design_of(record))
    except (TypeError, ValueError) as error:
        design_text = " ".join(words) or f"the design {record.design}"
        raise AugeanError(
            f"{record.name}: {design_text} cannot be judged; it needs a margin above 0 and"
            f" 3 <= least <= most <= {MAX_LOOKS}; the defaults are --margin 0.5 --least 3 --most 20"
        ) from error
    changed = [f"--{key} {design[key]}" for key, value in options.items() if design[key] != value]
    if changed:
        raise AugeanError(
            f"{record.name} is being settled with {', '.join(changed)}: a design that changes once"
            " results were seen keeps no error rate. Give that, or settle a copy of the sweep file"
            " under a name of its own"
        )
    return record
