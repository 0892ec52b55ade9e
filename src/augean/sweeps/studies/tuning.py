"""Run a study to its number of trials, then its winner on the final seeds."""

import logging
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from hydra.errors import HydraException

from augean.config.run_id import CORE, SCHEMA
from augean.config.sweeper_options import SweepOptions
from augean.config.sweeper_schema import AugeanSweeperConfig
from augean.config.validation import flatten_config
from augean.errors import AugeanError, RunLocked, SetupError
from augean.runs.address import build_source, find_outcome
from augean.runs.code_snapshot import snapshot_code
from augean.runs.weights import find_weights
from augean.store.locks import folder_id
from augean.store.run_directory import runs_dir
from augean.sweeps.composition import Composition
from augean.sweeps.grid import POLL_SECONDS, account, share_work, work_on_jobs
from augean.sweeps.job import JobRunner
from augean.sweeps.planned_jobs import PlannedJob, SweepPlan, plan_jobs
from augean.sweeps.points import Point, without_seed
from augean.sweeps.slurm import check_submission
from augean.sweeps.studies.sampler import make_sampler, visits_all_points
from augean.sweeps.studies.study import Study, StudySetup
from augean.sweeps.studies.trial import make_pruner
from augean.sweeps.workers import WORKER, orphaned, run_worker

logger = logging.getLogger(__name__)


def run_study(
    plan: SweepPlan, composition: Composition, options: SweepOptions, runner: JobRunner
) -> list[float]:
    """Run a study; return the objectives of its winner's final seeds, or its best score.

    Raises:
        AugeanError: when the study cannot go on, or its winner cannot be trained.
        SystemExit: with status 1 when a final seed failed; with 0 in a worker, and when SLURM is to
            do the work.
    """
    is_submission = plan.config.runtime.launcher.name == "slurm" and WORKER not in os.environ
    if is_submission:
        check_submission(plan.config.runtime)  # before the study has a journal
    finished_before = _finished_runs(plan.outputs)
    make_pruner(options.sweeper.pruner)  # refuses here what every job would fail at
    setup = make_setup(plan, options.sweeper)
    is_new = not Path(setup.storage).exists()
    sampler = partial(make_sampler, options.sweeper.sampler, plan.space.distributions)
    study = Study(setup, plan.outputs, sampler)
    tuning = Tuning(
        plan=plan,
        composition=composition,
        study=study,
        runner=runner,
        num_final_seeds=options.sweeper.final_seeds,
    )
    if WORKER in os.environ:
        tuning.work(float(os.environ[WORKER]))
        raise SystemExit(0)
    logger.info(
        f"Study {setup.name}: {setup.num_trials} trials, {study.num_done()} of them over already."
    )
    if tuning.is_complete():
        tuning.write_record()
    else:
        try:
            _share_trials(plan, options, tuning)
        except AugeanError:
            # A refused submission leaves nothing behind, unless others use the journal already.
            if is_submission and is_new and setup.storage.endswith(".journal"):
                for file in (setup.storage, f"{setup.storage}.flock"):
                    Path(file).unlink(missing_ok=True)
            raise
    # Trials and final seeds have ended, here or elsewhere; `account` reports what is missing.
    final_jobs = tuning.write_winner()
    best_score = _log_best(plan, study)
    if not final_jobs:
        return [best_score]
    num_before = len({job.address.id for job in final_jobs if job.address.path in finished_before})
    return account(plan.record.name, final_jobs, num_before=num_before)


def _log_best(plan: SweepPlan, study: Study) -> float:
    """Log the winner with its values, and return its score."""
    best = study.best()
    score = best.score or 0.0
    logger.info(
        f"Study {study.setup.name}: {study.count()}; best {score:.2%} in trial {best.trial}:"
    )
    for assignment in plan.space.assignments(best.values):
        logger.info(f"  {assignment}")
    return score


def _finished_runs(outputs: Path) -> set[Path]:
    """Return the directories of all completed runs in the output folder."""
    return {summary.parent for summary in runs_dir(outputs).glob("*/summary.json")}


def _share_trials(plan: SweepPlan, options: SweepOptions, tuning: "Tuning") -> None:
    """Have the trials and the winner's runs done: here, by several processes, or on SLURM.

    Raises:
        SystemExit: when SLURM is to do them.
        AugeanError: when it does not take them.
    """
    # There is work for at most so many processes: one a trial, then one a final seed.
    name = plan.record.name
    num_jobs = tuning.study.setup.num_trials + options.sweeper.final_seeds
    num_workers = min(plan.config.runtime.workers, num_jobs)
    code = None
    if plan.config.runtime.launcher.name == "slurm":
        code = snapshot_code([plan.config], plan.outputs / "slurm" / "code")
    run_one = partial(run_worker, sys.argv, plan.config.runtime, time.time(), code)
    share_work(
        name,
        plan.config,
        on_slurm={f"{name} worker {index}": run_one for index in range(num_workers)},
        is_over=lambda _: tuning.is_complete(),
        write_record=tuning.write_record,
        work=tuning.work,
    )


def make_setup(plan: SweepPlan, options: AugeanSweeperConfig) -> StudySetup:
    """Return the setting of a study."""
    name = plan.record.name
    # What all trials share. The searched keys are in it by their distributions.
    flat = flatten_config(plan.config)
    base = {key: value for key, value in flat.items() if key not in plan.space.distributions}
    base["data"] = build_source(plan.config).digest()
    weights = find_weights(plan.config)
    if weights is not None and "model.weights" not in plan.space.distributions:
        base["model.weights"] = weights.digest
    # The lock by which a worker shows that it lives is in the output folder. A worker with another
    # folder would be taken for dead.
    base["runtime.outputs"] = f".id {folder_id(plan.outputs)}"
    base["schema"] = SCHEMA
    base["core"] = CORE
    points = plan.space.points() if visits_all_points(options.sampler) else None
    journal = (plan.outputs / "studies" / f"{name}.journal").absolute()
    return StudySetup(
        name=name,
        storage=options.storage or str(journal),
        space=plan.space.distributions,
        direction=plan.record.direction,
        base=base,
        num_trials=plan.record.num_trials or 0,
        max_failures=options.max_failures,
        pruner=dict(options.pruner),
        points=points,
    )


@dataclass(frozen=True)
class Tuning:
    """One process's part in a study: its trials, then the winner's final seeds."""

    plan: SweepPlan
    composition: Composition
    study: Study
    runner: JobRunner
    num_final_seeds: int

    def work(self, since: float) -> None:
        """Run trials until the study has all of its own, then what is missing of the winner.

        Args:
            since: when the study began, in seconds of the epoch.
        """
        with self.study.working():
            self._run_trials()
        work_on_jobs(self.write_winner(), self.runner, since=since)

    def is_complete(self) -> bool:
        """Return whether the study has its trials and the winner all of its runs."""
        if not self.study.is_complete():
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
            point = self.plan.space.assignments(trial.params)
            try:
                job = self._plan_one(point, f"trial {trial.number}")
                # The record names the run before it begins, so that `status` can show it.
                self.study.note_run(trial, job.as_sweep_job())
                self.write_record()
                logger.info(f"[trial {trial.number}] {' '.join(point)}")
                environment = self.study.environment(trial)
                error = self.runner.run([job], trial=environment)[0]
            except SetupError:
                raise  # no other trial could do better
            except (AugeanError, HydraException) as refused:
                error = refused
            if error is not None:
                logger.warning(f"[trial {trial.number}] failed: {error}")
                self.study.give_up(trial, error)
            self.write_record()

    def _plan_one(self, point: Sequence[str], row: str) -> PlannedJob:
        overrides = (*self.plan.jobs[0].overrides, *point)
        return plan_jobs(self.composition, [Point(overrides=overrides, row=row)])[0]

    def _winner(self) -> list[str]:
        """Return the overrides of the best trial."""
        point = self.plan.space.assignments(self.study.best().values)
        return [*self.plan.jobs[0].overrides, *point]

    def _plan_final_jobs(self) -> list[PlannedJob]:
        shared = without_seed(self._winner())
        points = []
        for seed in range(self.num_final_seeds):
            points.append(Point(overrides=(*shared, f"seed={seed}"), row="winner"))
        return plan_jobs(self.composition, points)

    def write_winner(self) -> list[PlannedJob]:
        """Write the winner into the record; return its jobs on the final seeds.

        Raises:
            AugeanError: when no trial is complete.
        """
        jobs = self._plan_final_jobs()
        self.write_record(self._winner(), jobs)
        return jobs

    def write_record(
        self, winner: Sequence[str] = (), final_jobs: Sequence[PlannedJob] = ()
    ) -> None:
        """Write the sweep's record with the trials as they stand."""
        # Under the study's lock, so that no worker overwrites what another has seen later.
        with self.study.locked():
            jobs = [*self.study.jobs(), *(job.as_sweep_job() for job in final_jobs)]
            record = replace(self.plan.record, winner=list(winner), jobs=jobs)
            record.write(self.study.outputs)
