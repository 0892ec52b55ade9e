"""Run a study to its end, confirm its best trials, then train its winner on the final seeds."""

import logging
import os
import sys
import time
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from hydra.errors import HydraException

from augean.config.sweeper_options import SweepOptions
from augean.config.sweeper_schema import AugeanSweeperConfig
from augean.errors import AugeanError, RunLocked, SetupError
from augean.passwords import without_passwords
from augean.runs.address import find_outcome
from augean.runs.code_snapshot import snapshot_code
from augean.store.record_identity import record_path
from augean.store.run_directory import runs_dir
from augean.store.sweep_record import SweepJob, best_trial
from augean.sweeps.composition import Composition
from augean.sweeps.grid import POLL_SECONDS, account_for, share_work, work_on_jobs
from augean.sweeps.job import JobRunner
from augean.sweeps.planned_jobs import PlannedJob, SweepPlan, plan_jobs
from augean.sweeps.points import Point, without_seed
from augean.sweeps.slurm import check_submission
from augean.sweeps.studies.confirmation import Confirmation, find_candidates, new_seeds
from augean.sweeps.studies.planning import refuse_without_validation
from augean.sweeps.studies.sampler import make_sampler
from augean.sweeps.studies.setup import make_setup
from augean.sweeps.studies.storage import refuse_lost_trials
from augean.sweeps.studies.study import Study
from augean.sweeps.studies.trial import make_pruner
from augean.sweeps.workers import WORKER, keep_passwords, orphaned, run_worker

logger = logging.getLogger(__name__)


def run_study(
    plan: SweepPlan, composition: Composition, options: SweepOptions, runner: JobRunner
) -> list[float]:
    """Run a study; return the objectives of its winner's final seeds, or its best score.

    Raises:
        AugeanError: when the study cannot go on, or its winner cannot be trained.
        SystemExit: with status 1 when trials are missing or a further seed failed; with 0 in a
            worker; with that of `augean.sweeps.slurm.submit` when SLURM is to do the work.
    """
    since = float(os.environ.get(WORKER, time.time()))
    is_submission = plan.config.runtime.launcher.name == "slurm" and WORKER not in os.environ
    if is_submission:
        check_submission(plan.config.runtime)  # before the study has a journal
    finished_before = _finished_runs(plan.outputs)
    make_pruner(options.sweeper.pruner)  # refuses here what every job would fail at
    record_file = record_path(plan.outputs, plan.record.name)
    # Whoever started a worker has checked this and what follows.
    if WORKER not in os.environ and not record_file.exists():
        from augean.sweeps.first_check import check_samples  # it loads torch

        check_samples(plan.samples)  # before the study has a journal, in which a mistake would stay
    setup = make_setup(plan, options.sweeper)
    if WORKER not in os.environ:
        refuse_lost_trials(record_file, setup.name, setup.storage)
    had_journal = Path(setup.storage).exists()
    sampler = partial(make_sampler, options.sweeper.sampler, plan.space.distributions)
    study = Study(setup, plan.outputs, sampler, since)
    tuning = Tuning(
        plan=plan,
        composition=composition,
        study=study,
        runner=runner,
        options=options.sweeper,
    )
    if WORKER in os.environ:
        tuning.work(since)
        raise SystemExit(0)
    logger.info(
        f"Study {setup.name}: {setup.num_trials} trials, {study.num_done()} of them done already."
    )
    if study.is_begun_here and plan.remark:
        logger.info(plan.remark)
    if tuning.is_complete():
        tuning.write_record()
    else:
        try:
            _share_trials(plan, options, tuning)
        except AugeanError:
            # A refused submission leaves nothing behind, unless others use it already.
            if is_submission and study.is_begun_here:
                _command_file(plan).unlink(missing_ok=True)
            if is_submission and not had_journal and setup.storage.endswith(".journal"):
                for file in (setup.storage, f"{setup.storage}.flock"):
                    Path(file).unlink(missing_ok=True)
            raise
    return _account_for_study(tuning, finished_before)


def _account_for_study(tuning: "Tuning", finished_before: Set[Path]) -> list[float]:
    """Write the winner, say what became of everything; return what `run_study` does.

    Args:
        finished_before: directories of the runs that were completed before this command.

    Raises:
        SystemExit: with status 1 when trials are missing, or a further seed failed.
    """
    study = tuning.study
    name = tuning.plan.record.name
    # Workers that failed, or were told to leave, may have left trials: there is no winner yet.
    if not study.is_complete():
        tuning.write_record()
        logger.warning(
            f"Study {name}: {study.count()}; trials are missing. {study.describe_way_on()}"
        )
        raise SystemExit(1)
    confirmation = tuning.confirmation()
    if not confirmation.is_complete():
        tuning.write_record()
        # It raises, and says which of the further seeds are missing.
        further_jobs = confirmation.all_jobs
        account_for(name, further_jobs, num_before=_count_before(further_jobs, finished_before))
    final_jobs = tuning.write_winner()
    best_score = _log_best(tuning)
    if not final_jobs:
        return [best_score]
    return account_for(name, final_jobs, num_before=_count_before(final_jobs, finished_before))


def _count_before(jobs: Sequence[PlannedJob], finished_before: Set[Path]) -> int:
    """Return how many runs of the jobs were completed before this command."""
    return len({job.address.id for job in jobs if job.address.path in finished_before})


def _log_best(tuning: "Tuning") -> float:
    """Log the winner with its values; return its score, or its mean over new seeds."""
    study = tuning.study
    record = replace(tuning.plan.record, jobs=tuning.trials())
    best = tuning.best()
    logger.info(f"Study {study.setup.name}: {study.count()}; best {record.describe_best()}:")
    for assignment in tuning.plan.space.assignments(best.values):
        logger.info(f"  {assignment}")
    if confirmation := record.describe_confirmation():
        logger.info(confirmation)
    default = study.default_job()
    if default is not None:
        logger.info(f"The default configuration, trial {default.trial}: {default.score:.2%}")
    return (best.score if best.confirmed_score is None else best.confirmed_score) or 0.0


def _finished_runs(outputs: Path) -> set[Path]:
    """Return the directories of all completed runs in the output folder."""
    return {summary.parent for summary in runs_dir(outputs).glob("*/summary.json")}


def _share_trials(plan: SweepPlan, options: SweepOptions, tuning: "Tuning") -> None:
    """Have the trials and the winner's runs done: here, by several processes, or on SLURM.

    Raises:
        SystemExit: when SLURM is to do them.
        AugeanError: when it does not take them.
    """
    name = plan.record.name
    # Trials, confirmation and final seeds follow each other: the largest says how many processes
    # can have work.
    num_trials = tuning.study.setup.num_trials
    confirm = options.sweeper.confirm
    most_jobs = max(num_trials, confirm.top * confirm.seeds, options.sweeper.final_seeds)
    num_workers = min(plan.config.runtime.workers, most_jobs)
    code = None
    command_file = None
    if plan.config.runtime.launcher.name == "slurm":
        code = snapshot_code([plan.config], plan.outputs / "slurm" / "code")
        command_file = keep_passwords(sys.argv, _command_file(plan))
    # This is pickled into files that other users may be able to read.
    arguments = [without_passwords(word) for word in sys.argv]
    since = tuning.study.command
    run_one = partial(run_worker, arguments, plan.config.runtime, since, code, command_file)
    share_work(
        name,
        plan.config,
        work_by_key={f"{name} worker {index}": run_one for index in range(num_workers)},
        may_pack=False,
        is_completed=lambda _: tuning.is_complete(),
        write_record=tuning.write_record,
        work=tuning.work,
        since=since,
    )


def _command_file(plan: SweepPlan) -> Path:
    """Return where the command is kept while SLURM has the study, if it holds a password."""
    return plan.outputs / "studies" / f"{plan.record.name}.command"


@dataclass(frozen=True)
class Tuning:
    """One process's part in a study: its trials, further seeds of the best, the final seeds."""

    plan: SweepPlan
    composition: Composition
    study: Study
    runner: JobRunner
    options: AugeanSweeperConfig

    def work(self, since: float) -> None:
        """Run trials until the study has all of its own, then what is missing of the seeds.

        Args:
            since: when this command began, in seconds since 1970; runs that failed before that are
                tried again.
        """
        with self.study.working():
            self._run_trials()
        if not self.study.is_complete():
            return  # points of a grid failed, or this worker's supervisor was killed
        confirmation = self.confirmation()
        if not confirmation.is_complete():
            self.write_record()
            work_on_jobs(confirmation.all_jobs, self.runner, since=since)
        if confirmation.is_complete():
            work_on_jobs(self.write_winner(), self.runner, since=since)

    def is_complete(self) -> bool:
        """Return whether the study has its trials, and all further seeds are trained."""
        if not self.study.is_complete() or not self.confirmation().is_complete():
            return False
        return all(find_outcome(job.address) is not None for job in self._plan_final_jobs())

    def _run_trials(self) -> None:
        while not orphaned():
            try:
                trial = self.study.next()
            except RunLocked:  # others run the last trials; if one dies, there is work again
                time.sleep(POLL_SECONDS)
                continue
            if trial is None:
                return
            point = self.plan.space.assignments(self.study.values(trial))
            try:
                job = self._plan_one(point, f"trial {trial.number}")
                refuse_without_validation(job.config)
                # The record names the run before it begins, so that `status` can show it.
                self.study.note_run(trial, job.as_sweep_job())
                self.write_record()
                logger.info(f"[trial {trial.number}] {' '.join(point)}")
                trial_json = self.study.environment(trial)
                error = self.runner.run([job], trial_json=trial_json)[0]
            except SetupError:
                raise  # no other trial could do better
            except (AugeanError, HydraException) as refused:
                error = refused
            if error is not None:
                logger.warning(f"[trial {trial.number}] failed: {error}")
                self.study.give_up(trial, error)
            self.write_record()

    def _plan_one(self, point: Sequence[str], row: str) -> PlannedJob:
        overrides = (*self.plan.base.overrides, *point)
        return plan_jobs(self.composition, [Point(overrides=overrides, row=row)])[0]

    def confirmation(self) -> Confirmation:
        """Plan the runs with further seeds of the best trials."""
        confirm = self.options.confirm
        jobs = {}
        for job in find_candidates(self.study.jobs(), confirm):
            seeds = new_seeds(job.seed, confirm.seeds)
            row = f"trial {job.trial}, new seeds"
            jobs[job.trial or 0] = self._plan_seeds(job, seeds, row)
        return Confirmation(jobs=jobs)

    def trials(self) -> list[SweepJob]:
        """Return the trials that became runs; the confirmed ones, once the study has all of them,
        with their means.
        """
        trials = self.study.jobs()
        if not self.study.is_complete():
            return trials
        return self.confirmation().confirmed(trials)

    def best(self) -> SweepJob:
        """Return the winner, as `augean.store.sweep_record.best_trial` decides.

        Raises:
            AugeanError: when no trial is complete.
        """
        best = best_trial(self.trials())
        if best is None:
            raise AugeanError(
                f"study {self.study.setup.name}: no trial was finished, so there is no winner"
            )
        return best

    def _setting(self, job: SweepJob) -> list[str]:
        """Return the overrides of a trial."""
        return [*self.plan.base.overrides, *self.plan.space.assignments(job.values)]

    def _plan_seeds(self, job: SweepJob, seeds: Iterable[int], row: str) -> list[PlannedJob]:
        """Plan the runs of a trial's setting with other seeds."""
        shared = without_seed(self._setting(job))
        points = [Point(overrides=(*shared, f"seed={seed}"), row=row) for seed in seeds]
        return plan_jobs(self.composition, points)

    def _plan_final_jobs(self) -> list[PlannedJob]:
        return self._plan_seeds(self.best(), range(self.options.final_seeds), "winner")

    def write_winner(self) -> list[PlannedJob]:
        """Write the winner into the record; return its jobs on the final seeds.

        Raises:
            AugeanError: when no trial is complete.
        """
        jobs = self._plan_final_jobs()
        self.write_record(self._setting(self.best()), jobs)
        return jobs

    def write_record(
        self, winner: Sequence[str] = (), final_jobs: Sequence[PlannedJob] = ()
    ) -> None:
        """Write the sweep's record with the trials as they stand."""
        # Under the study's lock, so that no worker overwrites what another has seen later.
        with self.study.locked():
            planned_jobs = [*final_jobs]
            if self.study.is_complete():
                planned_jobs = [*self.confirmation().all_jobs, *final_jobs]
            jobs = [*self.trials(), *(job.as_sweep_job() for job in planned_jobs)]
            record = replace(self.plan.record, winner=list(winner), jobs=jobs)
            if winner:
                # The caption of the study's table says how the winner was chosen.
                notes = [record.note, record.describe_confirmation()]
                record = replace(record, note=" ".join(note for note in notes if note) or None)
            record.write(self.study.outputs)
