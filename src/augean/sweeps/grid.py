"""Run a grid: skip what is finished, share the rest among workers, account for every job."""

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial

from augean.config.schema import Config
from augean.errors import RunLocked
from augean.runs.address import RunAddress, RunOutcome, find_outcome
from augean.runs.code_snapshot import snapshot_code
from augean.runs.session import note_failure
from augean.store.locks import is_locked
from augean.store.run_directory import read_failure_line, run_state, runs_dir
from augean.store.run_files import FAILURE
from augean.store.summary import RunState
from augean.store.sweep_record import hold_record
from augean.sweeps.job import JobRunner
from augean.sweeps.plan import read_earlier_record, with_additions
from augean.sweeps.planned_jobs import PlannedJob, SweepPlan
from augean.sweeps.record_changes import describe_left_out
from augean.sweeps.slurm import submit, train_run
from augean.sweeps.workers import OTHER_PLAN, PLAN, WORKER, orphaned, supervise
from augean.terminal import readable_seconds

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""Wait before asking again for runs that other workers are training."""


def run_grid(plan: SweepPlan, runner: JobRunner) -> list[float]:
    """Run a grid; return the objectives of its jobs, in order.

    Raises:
        AugeanError: for what no run can do without.
        SystemExit: with status 1 when a job failed, after all others have run; with 0 in a worker,
            or `OTHER_PLAN`; with that of `augean.sweeps.slurm.submit` when SLURM is to do the work.
    """
    record, jobs = plan.record, plan.jobs
    if WORKER in os.environ:
        # A worker reads the sweep file again, and imports code and data again.
        if os.environ.get(PLAN, plan.runs_digest) != plan.runs_digest:
            raise SystemExit(OTHER_PLAN)
        work_on_jobs(jobs, runner, since=float(os.environ[WORKER]))
        raise SystemExit(0)
    # Jobs by run id: two rows may ask for the same run, which is trained and counted once.
    missing = {job.address.id: job for job in jobs if find_outcome(job.address) is None}
    num_runs = len({job.address.id for job in jobs})
    num_before = num_runs - len(missing)
    if missing:
        from augean.sweeps.first_check import check_jobs  # it loads torch

        check_jobs(missing.values())

    def write_record() -> None:
        # Read again: loops and `augean settle` may have added to the record since it was planned.
        with hold_record(plan.outputs, record.name):
            earlier = read_earlier_record(plan.outputs, record.name)
            new = with_additions(record, earlier)
            left_out = "" if earlier is None else describe_left_out(earlier, new, plan.outputs)
            new.write(plan.outputs)
        if left_out:
            logger.info(
                f"Sweep {record.name} leaves out {left_out}; the runs stay in"
                f" {runs_dir(plan.outputs)}"
            )
        logger.info(f"Sweep {record.name}: {num_runs} runs, {num_before} of them there already.")

    if missing:
        _set_back_failures(missing.values())
        share_work(
            record.name,
            plan.config,
            work_by_key=_work_by_run(plan, missing),
            may_pack=True,
            is_completed=lambda id_: find_outcome(missing[id_].address) is not None,
            write_record=write_record,
            work=lambda since: work_on_jobs(jobs, runner, since=since),
            since=time.time(),
            plan_digest=plan.runs_digest,
        )
    else:
        write_record()
    return account_for(record.name, jobs, num_before=num_before)


def _set_back_failures(jobs: Iterable[PlannedJob]) -> None:
    """Date notes of failures back that seem to come from the future, so that they are old ones.

    The clock may have been set back since, or the file server's may be ahead.
    """
    now = time.time()
    for job in jobs:
        path = job.address.path / FAILURE
        with suppress(OSError):
            if path.stat().st_mtime >= now:
                os.utime(path, (now - 1, now - 1))


def _work_by_run(
    plan: SweepPlan, missing: Mapping[str, PlannedJob]
) -> dict[str, Callable[[], None]]:
    """Return the work of the elements of an array, by run id."""
    # An element may start hours later, so it gets a copy of the user's code as it is now.
    code = None
    if plan.config.runtime.launcher.name == "slurm":
        configs = [job.config for job in missing.values()]
        code = snapshot_code(configs, plan.outputs / "slurm" / "code")
    return {id_: partial(train_run, job.config, id_, code) for id_, job in missing.items()}


def share_work(
    name: str,
    config: Config,
    *,
    work_by_key: Mapping[str, Callable[[], None]],
    may_pack: bool,
    is_completed: Callable[[str], bool],
    write_record: Callable[[], None],
    work: Callable[[float], None],
    since: float,
    plan_digest: str | None = None,
) -> None:
    """Do a sweep's work: here, in `runtime.workers` processes of this command, or on SLURM.

    Args:
        work_by_key: what an element of SLURM's array does, by a run's id or by the name of one of
            a study's workers. There are never more workers than these, without SLURM either.
        may_pack: whether these are runs, of which one element may do several.
        is_completed: returns whether the work of such a key is completed meanwhile.
        write_record: writes the sweep's record; called before any work, or once SLURM has taken it.
        work: does the work in this process; called with `since`.
        since: when the sweep began, in seconds since 1970.
        plan_digest: that of a grid's plan, which its workers must arrive at too.

    Raises:
        SystemExit: with the status of `augean.sweeps.slurm.submit`, when SLURM is to do it.
    """
    num_workers = min(config.runtime.workers, len(work_by_key))
    if config.runtime.launcher.name == "slurm":
        status = submit(
            name,
            config.runtime,
            work_by_key,
            may_pack=may_pack,
            is_completed=is_completed,
            write_record=write_record,
        )
        raise SystemExit(status)
    write_record()
    if num_workers > 1:
        supervise(name, num_workers, config.runtime, since=since, plan_digest=plan_digest)
    else:
        work(since)


def work_on_jobs(jobs: Sequence[PlannedJob], runner: JobRunner, *, since: float) -> None:
    """Run all jobs that are neither finished nor diverged.

    Runs that another worker is training are looked at again until they have ended.

    Args:
        since: when the sweep began, in seconds since 1970; a run that failed after that is not
            tried again.
    """
    pending = _PendingJobs(jobs, since)
    # One job at a time, so that other workers, and other commands, find the rest free.
    batch_size = pending.num_jobs if runner.takes_all_at_once else 1
    while pending.jobs:
        for batch in _split(list(pending.jobs.values()), batch_size):
            pending.forget_ended(batch)
            free = pending.list_free(batch)
            # Asked before each batch: without its supervisor nobody could stop this worker.
            if orphaned():
                return
            errors = runner.run(free, on_start=pending.announce)
            for job, error in zip(free, errors, strict=True):
                pending.note_end(job, error)
        if pending.jobs:
            time.sleep(POLL_SECONDS)


class _PendingJobs:
    """The jobs of a grid that still have to be trained, by this worker or another."""

    def __init__(self, jobs: Sequence[PlannedJob], since: float) -> None:
        self.since = since
        self.jobs = {job.address.id: job for job in jobs if find_outcome(job.address) is None}
        self.num_jobs = len(self.jobs)
        self.start = time.monotonic()

    def forget_ended(self, batch: Sequence[PlannedJob]) -> None:
        """Forget the jobs that have ended meanwhile, completed or failed."""
        for job in batch:
            if _has_failed(job.address, self.since) or find_outcome(job.address) is not None:
                del self.jobs[job.address.id]

    def list_free(self, batch: Sequence[PlannedJob]) -> list[PlannedJob]:
        """Return the pending jobs of a batch that nobody trains."""
        free = []
        for job in batch:
            is_pending = job.address.id in self.jobs
            if is_pending and not is_locked(job.address.outputs, job.address.id):
                free.append(job)
        return free

    def announce(self, job: PlannedJob) -> None:
        """Log which job begins, and about how long the rest will take."""
        # The jobs of all workers count: those that others train end here as well.
        num_left = len(self.jobs)
        num_ended = self.num_jobs - num_left
        progress = f"{num_left} left"
        if num_ended:
            seconds_per_job = (time.monotonic() - self.start) / num_ended
            progress += f", about {readable_seconds(seconds_per_job * num_left)}"
        logger.info(f"[{progress}] {job.row}, seed {job.config.seed}")

    def note_end(self, job: PlannedJob, error: Exception | None) -> None:
        """Note how a job ended; one that another worker has begun meanwhile stays pending."""
        if isinstance(error, RunLocked):
            return
        if error is not None and not _has_failed(job.address, self.since):
            # It failed before it had a directory. The note keeps other workers from trying again.
            job.address.path.mkdir(parents=True, exist_ok=True)
            note_failure(job.address.path, error)
        del self.jobs[job.address.id]


def _split(jobs: Sequence[PlannedJob], size: int) -> Iterator[Sequence[PlannedJob]]:
    for first in range(0, len(jobs), size):
        yield jobs[first : first + size]


def account_for(name: str, jobs: Sequence[PlannedJob], *, num_before: int) -> list[float]:
    """Log how the sweep ended; return the objectives of its jobs, in order.

    Args:
        num_before: runs that were there before the sweep began.

    Raises:
        SystemExit: with status 1 when a run is neither finished nor diverged.
    """
    # By run id, so that a run that several rows share is counted once.
    outcomes: dict[str, RunOutcome] = {}
    unfinished: dict[str, PlannedJob] = {}
    for job in jobs:
        outcome = find_outcome(job.address)
        if outcome is None:
            unfinished[job.address.id] = job
        else:
            outcomes[job.address.id] = outcome
    diverged = [item for item in outcomes.values() if item.summary.status == RunState.DIVERGED]
    states = Counter(
        run_state(job.address.outputs, job.address.path, id_) for id_, job in unfinished.items()
    )
    counts = [
        f"{len(outcomes) - len(diverged)} finished",
        f"{len(diverged)} diverged",
        f"{states[RunState.FAILED]} failed",
    ]
    # Finished, diverged and failed are always named; the other states only where they occur.
    for state in (RunState.RUNNING, RunState.INTERRUPTED, RunState.MISSING):
        if states[state]:
            counts.append(f"{states[state]} {state}")
    logger.info(f"Sweep {name}: {', '.join(counts)} ({num_before} were there before).")
    for outcome in diverged:
        logger.info(f"  diverged: {outcome.address.path}")
    for job in unfinished.values():
        reason = read_failure_line(job.address.path)
        if reason is not None:
            overrides = " ".join(job.overrides)
            logger.warning(f"  failed: {overrides}: {reason}")
            logger.warning(f"    see {job.address.path}")
    if unfinished:
        raise SystemExit(1)
    return [outcomes[job.address.id].objective for job in jobs]


def _has_failed(address: RunAddress, since: float) -> bool:
    """Return whether a run has failed after `since`, in seconds since 1970."""
    try:
        return (address.path / FAILURE).stat().st_mtime >= since
    except OSError:
        return False
