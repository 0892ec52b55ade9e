"""Run jobs of a sweep; one that is a trial reports its validation accuracy to the study."""

import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from hydra.core.utils import env_override
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig

from augean.config.override_text import override_text, place_overrides
from augean.config.schema import Config
from augean.errors import AugeanError, Pruned, SetupError
from augean.runs.address import find_address
from augean.runs.execute import execute, log_outcome
from augean.store.run_directory import training_seconds
from augean.sweeps.composition import job_error, runs_jobs_here

if TYPE_CHECKING:
    from augean.sweeps.planned_jobs import PlannedJob

logger = logging.getLogger(__name__)

TRIAL = "AUGEAN_TRIAL"
"""Environment variable that tells a job which trial it is; JSON, see `Study.environment`."""


def run_job(config: Config, on_start: Callable[[], None] | None = None) -> float:
    """Run one job of a sweep; return its validation accuracy, the only result that Hydra passes on.

    Args:
        on_start: called once this process has the run to itself, before it trains.

    Raises:
        AugeanError: as `augean.runs.execute.execute`; but a pruned trial raises nothing.
    """
    if TRIAL not in os.environ:
        # `wait=False`: in a grid a worker has other runs to train while another holds this one.
        outcome = execute(config, wait=False, on_start=on_start)
        log_outcome(outcome)
        return outcome.objective
    return _run_trial(config, on_start)


def _run_trial(config: Config, on_start: Callable[[], None] | None) -> float:
    from augean.sweeps.studies.trial import TrialReporter  # it imports Optuna

    # The study is told how the job ended, or else the trial would look like one of a dead worker.
    reporter = TrialReporter.from_environment()
    try:
        outcome = execute(config, should_stop=reporter.should_stop, on_start=on_start)
    except Pruned as pruned:
        reporter.tell_pruned(_seconds_so_far(config))
        logger.info(pruned)
        return 0.0
    except SetupError:  # nothing is wrong with the trial: it will be queued again
        raise
    except Exception as error:
        reporter.tell_failed(error, _seconds_so_far(config))
        raise
    reporter.tell(outcome.objective, training_seconds(outcome.address.path))
    log_outcome(outcome)
    return outcome.objective


def _seconds_so_far(config: Config) -> float:
    """Return the seconds that the training of a run took, which may have failed at any point."""
    try:
        return training_seconds(find_address(config).path)
    except AugeanError:  # it failed for what its address is made of, such as its data
        return 0.0


class JobRunner:
    """Runs jobs in this process, or through the launcher that the sweep's config chooses."""

    def __init__(self, launcher: Launcher, config: DictConfig) -> None:
        """Decide whether jobs run in this process.

        Args:
            config: of the sweep as a whole, with the node `hydra`.
        """
        self.launcher = launcher
        self.takes_all_at_once = config.runtime.launcher.name == "ray"
        """Whether the launcher is to get all jobs in one call, as it distributes them itself."""
        # Hydra's own launcher composes each job anew, which takes longer than a tiny run. It is
        # used only where a job needs what Hydra alone does: variables, folders, callbacks.
        job = config.hydra.job
        needs_hydra = bool(job.env_set or job.chdir or config.hydra.callbacks)
        self.runs_here = runs_jobs_here(launcher) and not needs_hydra

    def run(
        self,
        jobs: "Sequence[PlannedJob]",
        *,
        trial_json: str | None = None,
        on_start: "Callable[[PlannedJob], None] | None" = None,
    ) -> list[Exception | None]:
        """Run jobs; return the exception that ended each, None for one that ended well.

        Args:
            trial_json: value of the environment variable `TRIAL`; None outside a study.
            on_start: called with a job that is really trained, where that can be known.

        Raises:
            SetupError: when a job ended by one, which ends the sweep: no other job can do better.
        """
        if not jobs:
            return []
        if self.runs_here:
            errors = [_run_here(job, trial_json, on_start) for job in jobs]
        else:
            errors = self._launch(jobs, trial_json, on_start)
        for error in errors:
            if isinstance(error, SetupError):
                raise error
        return errors

    def _launch(
        self,
        jobs: "Sequence[PlannedJob]",
        trial_json: str | None,
        on_start: "Callable[[PlannedJob], None] | None",
    ) -> list[Exception | None]:
        # A launched job may run elsewhere, so the variable travels as an override of Hydra's own.
        trial_overrides = []
        if trial_json is not None:
            key = f"hydra.job.env_set.{TRIAL}"
            trial_overrides = [f"+{key}={override_text(trial_json, key)}"]
        if on_start is not None:
            for job in jobs:
                on_start(job)
        overrides = []
        for job in jobs:
            # Hydra composes the job anew, maybe in another working directory (hydra.job.chdir): it
            # gets the sweep's folders as absolute paths.
            folders = place_overrides(job.config.runtime)
            overrides.append([*job.overrides, *folders, *trial_overrides])
        results = self.launcher.launch(overrides, initial_job_idx=0)
        return [job_error(result) for result in results]


def _run_here(
    job: "PlannedJob", trial_json: str | None, on_start: "Callable[[PlannedJob], None] | None"
) -> Exception | None:
    """Run a job in this process; return the exception that ended it, None if there was none."""
    variables = {} if trial_json is None else {TRIAL: trial_json}
    start = None if on_start is None else partial(on_start, job)
    try:
        with env_override(variables):
            run_job(job.config, start)
    except Exception as error:
        return error
    return None
