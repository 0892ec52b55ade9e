"""A tuning study: an Optuna study that several workers share and that outlives them.

A trial whose worker died is run again. Optuna notices such deaths only in its own loop and on SQL
storages. Here each worker holds a file lock that is named by a uuid, and writes the uuid on its
trials. A running trial is dead when the lock of its owner is free; this works with any storage.
"""

import json
import math
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from augean.config.run_id import neutral_values
from augean.errors import AugeanError, ConfigError, RunLocked
from augean.store.locks import hold_lock, is_locked
from augean.store.run_directory import runs_dir
from augean.store.sweep_record import SweepJob
from augean.sweeps.studies.grid_points import GridPoints
from augean.sweeps.studies.sampler import plain_values
from augean.sweeps.studies.setup import StudySetup, displayed_value, identity_text
from augean.sweeps.studies.storage import open_storage, reaching_storage
from augean.sweeps.studies.trial import (
    ERROR,
    REFUSED,
    RUN,
    has_failed,
    note_failure,
    trained_seconds,
)
from augean.terminal import counted

IDENTITY = "augean:identity"
"""Attribute of a study: the setting that it has begun with, see `StudySetup.identity`."""
CODE = ("code of ", "content of ")
"""Beginnings of the parts of an identity that are digests of the user's own code."""
OWNER = "augean:owner"
"""Attribute of a trial: the worker that runs it."""
DEFAULT = "augean:default"
"""Attribute of the trial of the default configuration."""
AGAIN = "augean:again"
"""Attribute of a trial that is queued again: the number of the one that died."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Study:
    """One worker's view of a study; trials are counted and asked for under the study's lock."""

    def __init__(
        self,
        setup: StudySetup,
        outputs: Path,
        make_sampler: Callable[[int], optuna.samplers.BaseSampler],
        command: float = 0.0,
    ) -> None:
        """Open or create the study.

        Args:
            make_sampler: called with the number of trials so far before each one, so that a seeded
                sampler, shifted by it, never replays old points.
            command: when this command began, in seconds since 1970, the same number for all of its
                workers; failures of other commands count no more.

        Raises:
            ConfigError: when the study exists with another space or base config.
        """
        self.setup = setup
        self.outputs = outputs
        self.make_sampler = make_sampler
        self.command = command
        self.owner = uuid.uuid4().hex
        """Names this worker on its trials, and the lock that it holds."""
        if setup.storage.endswith(".journal"):
            Path(setup.storage).parent.mkdir(parents=True, exist_ok=True)
        with self.locked():
            self.study = optuna.create_study(
                storage=open_storage(setup.storage),
                study_name=setup.name,
                direction="maximize",
                load_if_exists=True,
            )
            # The first worker writes down what the study is; all later ones must agree.
            identity = self.study.user_attrs.get(IDENTITY)
            self.is_begun_here = identity is None
            """Whether this process has begun the study."""
            if identity is None:
                self._begin()
            else:
                self._refuse_difference(identity)

    def _begin(self) -> None:
        """Queue the default configuration as trial 0, and write down what the study is."""
        # A process that was killed between the two may have queued it already.
        if self.setup.default is not None and not self.trials():
            self.study.enqueue_trial(dict(self.setup.default), user_attrs={DEFAULT: True})
        self.study.set_user_attr(IDENTITY, self.setup.identity())

    def _refuse_difference(self, old: Mapping[str, str]) -> None:
        new = self.setup.identity()
        # A key that a release did not have yet is what it is by default.
        defaults = {key: identity_text(value) for key, value in neutral_values().items()}
        lines = []
        keys = {*old, *new}
        # Code is compared where both know it: studies of earlier versions hold none, and a worker
        # knows only that of the base config. Another class is another base or another space.
        keys -= {key for key in keys if key.startswith(CODE) and not (key in old and key in new)}
        # A journal in the outputs folder goes where that is copied or unpacked.
        if Path(self.setup.storage).parent == (self.outputs / "studies").absolute():
            keys.discard("runtime.outputs")
        for key in sorted(keys):
            before = old.get(key, defaults.get(key, "absent"))
            now = new.get(key, defaults.get(key, "absent"))
            if before != now:
                texts = [displayed_value(key, text) for text in (before, now)]
                lines.append(f"  {key}: was {texts[0]}, is {texts[1]}")
        if lines:
            raise ConfigError(
                f"study {self.setup.name} has begun with another setting:\n"
                + "\n".join(lines)
                + "\nGive the old setting again, or start another study with"
                " hydra.sweeper.study_name=<a new name>"
            )

    def locked(self) -> AbstractContextManager[None]:
        """Hold the study's lock, under which trials are counted and asked for."""
        return hold_lock(self.outputs, f"study-{self.setup.name}", wait=True)

    def working(self) -> AbstractContextManager[None]:
        """Hold this worker's lock, the sign that it lives, for as long as it works on the study."""
        return hold_lock(self.outputs, _worker_lock(self.owner), wait=False)

    @reaching_storage()
    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Read the trials that are in one of the states, by default all."""
        return self.study.get_trials(deepcopy=False, states=states or None)

    def _dead_trials(self) -> list[FrozenTrial]:
        """Read the running trials that no living worker owns."""
        dead = []
        for trial in self.trials(TrialState.RUNNING):
            owner = trial.user_attrs.get(OWNER)
            if not is_locked(self.outputs, _worker_lock(owner)):
                dead.append(trial)
        return dead

    def _requeue_dead(self) -> None:
        """Queue the trials of dead workers again: the next to ask gets the same points."""
        queued = {trial.user_attrs.get(AGAIN) for trial in self.trials()}
        if not self._dead_trials():
            return
        # Read a second time: a worker may have told its trial and died after the trials were read
        # and before its lock was looked at.
        for trial in self._dead_trials():
            # It may be queued already, by a worker that died before the call of `tell`.
            if trial.number not in queued:
                # A worker that died while it asked for the trial has not noted all of its values.
                queued_values = trial.system_attrs.get("fixed_params", {})
                attributes: dict[str, Any] = {AGAIN: trial.number}
                # With its run, as that has a checkpoint to go on from: the record shows that it
                # waits, and is not given up.
                for name in (DEFAULT, RUN):
                    if name in trial.user_attrs:
                        attributes[name] = trial.user_attrs[name]
                self.study.enqueue_trial({**queued_values, **trial.params}, user_attrs=attributes)
            self.study.tell(trial.number, state=TrialState.FAIL)

    @reaching_storage()
    def next(self) -> Trial | None:
        """Return the next trial, now this worker's own; None when this command has none left.

        Raises:
            RunLocked: when the rest of the study is being worked on by others.
            AugeanError: when too many trials have failed, or a user's function fails.
        """
        with self.locked():
            self._requeue_dead()
            # Read only once: jobs tell their trials at any moment, and between two readings one
            # could be missed or counted twice.
            trials = self.trials()
            self._refuse_failures(trials)
            num_running = sum(trial.state == TrialState.RUNNING for trial in trials)
            if not (_has_requeued_trials(trials) or self._may_begin_another(trials, num_running)):
                if num_running == 0:
                    return None
                # Every trial is taken, but workers may still die: the caller is to ask again.
                raise RunLocked(f"the last trials of study {self.setup.name} are being worked on")
            self._queue_point(trials)
            self.study.sampler = self.make_sampler(len(trials))
            trial = self.study.ask(dict(self.setup.space))
            # Before the function of a user: where that fails, this worker gives the trial up.
            trial.set_user_attr(OWNER, self.owner)
            if self.setup.extend is not None:
                self._extend(trial)
            return trial

    def _may_begin_another(self, trials: Sequence[FrozenTrial], num_running: int) -> bool:
        """Return whether a trial is left beside those that run."""
        if self._has_enough_trials(trials):
            return False
        grid = self._grid(trials)
        if grid is None:
            return self._count_done(trials) + num_running < self.setup.num_trials
        num_taken = len(grid.visited | grid.running)
        return num_taken < self.setup.num_trials and grid.next() is not None

    def _queue_point(self, trials: Sequence[FrozenTrial]) -> None:
        """Queue the next point of a grid, unless a trial waits already."""
        grid = self._grid(trials)
        if grid is None or any(trial.state == TrialState.WAITING for trial in trials):
            return
        point = grid.next()
        assert point is not None, "asked only where a point is left"
        self.study.enqueue_trial(dict(point))

    def _extend(self, trial: Trial) -> None:
        """Ask a trial for the values of the user's function.

        Raises:
            ConfigError: when that fails, which blames no trial.
        """
        assert self.setup.extend is not None
        try:
            self.setup.extend(trial)
        except ConfigError:
            self.study.tell(trial, state=TrialState.FAIL)
            raise

    def _grid(self, trials: Sequence[FrozenTrial]) -> GridPoints | None:
        """Return the points of a grid by what became of them; None where there is no grid."""
        if self.setup.points is None:
            return None
        return GridPoints(self.setup.points, trials, self.values, self.command)

    def values(self, trial: FrozenTrial | Trial) -> dict[str, Any]:
        """Return a trial's point, the steps of its ranges counted in decimal numbers."""
        return plain_values(trial.params, {**trial.distributions, **self.setup.space})

    def is_complete(self) -> bool:
        """Return whether no trial is left to run, and none is running."""
        trials = self.trials()
        is_running = any(trial.state == TrialState.RUNNING for trial in trials)
        return self._has_enough_trials(trials) and not is_running

    def _count_done(self, trials: Sequence[FrozenTrial]) -> int:
        """Return how many trials count towards the study's number: complete and pruned ones."""
        grid = self._grid(trials)
        # Earlier versions evaluated some points of a grid twice, which visits one point.
        if grid is not None:
            return len(grid.visited)
        return sum(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials)

    def _has_enough_trials(self, trials: Sequence[FrozenTrial]) -> bool:
        """Return whether the study asks for no more trials."""
        if _has_requeued_trials(trials):
            return False
        if self._count_done(trials) >= self.setup.num_trials:
            return True
        grid = self._grid(trials)
        if grid is not None and not grid.has_left():
            return True
        if self.setup.max_seconds == math.inf:
            return False
        return trained_seconds(trials, runs_dir(self.outputs)) >= self.setup.max_seconds

    def _refuse_failures(self, trials: Sequence[FrozenTrial]) -> None:
        """Raise an AugeanError when more trials have failed than one command may have."""
        errors = []
        for trial in trials:
            # A grid has a limited number of points to refuse; other samplers could go on for ever.
            if self.setup.points is not None and REFUSED in trial.user_attrs:
                continue
            if has_failed(trial, self.command):
                errors.append(trial.user_attrs[ERROR])
        if len(errors) > self.setup.max_failures:
            raise AugeanError(
                f"study {self.setup.name}: {counted(len(errors), 'trial')} failed, more than"
                f" hydra.sweeper.max_failures={self.setup.max_failures}; the last: {errors[-1]}\n"
                "Once their cause is mended, the same command goes on"
            )

    @reaching_storage()
    def note_run(self, trial: Trial, job: SweepJob) -> None:
        """Note on a trial which run it is."""
        trial.set_user_attr(RUN, {"id": job.id, "run": job.run, "seed": job.seed})

    @reaching_storage()
    def give_up(self, trial: Trial, error: Exception) -> None:
        """Tell a trial that never became a job, for example because its config is refused."""
        # Optuna raises this where the job itself has told how its trial ended.
        with suppress(optuna.exceptions.UpdateFinishedTrialError):
            note_failure(trial, error, self.command)
            self.study.tell(trial, state=TrialState.FAIL)

    def environment(self, trial: Trial) -> str:
        """Return the value of the environment variable `TRIAL` for the trial's job."""
        return json.dumps(
            {
                "storage": self.setup.storage,
                "study": self.setup.name,
                "trial": trial._trial_id,
                "pruner": self.setup.pruner,
                "command": self.command,
            }
        )

    def num_done(self) -> int:
        """Return how many trials count towards the study's number."""
        return self._count_done(self.trials())

    def describe_way_on(self) -> str:
        """Say how a study goes on that lacks trials."""
        text = "The same command goes on."
        grid = self._grid(self.trials())
        if grid is None or grid.next() is not None:
            return text
        num_failed = len(grid.failed - grid.visited - grid.refused)
        if num_failed and grid.visited:
            text = (
                f"The same command tries {counted(num_failed, 'failed point')} again;"
                f" hydra.sweeper.n_trials={len(grid.visited)} ends the study as it is."
            )
        return text

    def count(self) -> str:
        """Return the number of trials in each state, as text for people."""
        trials = self.trials()
        queued = {trial.user_attrs.get(AGAIN) for trial in trials}
        states: Counter[str] = Counter()
        for trial in trials:
            # Optuna calls a trial failed whose worker was stopped; its point has a trial anew.
            states["queued again" if trial.number in queued else trial.state.name.lower()] += 1
        return ", ".join(f"{count} {state}" for state, count in states.items())

    def default_job(self) -> SweepJob | None:
        """Return the trial of the default configuration; None where it is not complete."""
        numbers = [item.number for item in self.trials() if DEFAULT in item.user_attrs]
        jobs = [job for job in self.jobs() if job.trial in numbers and job.score is not None]
        return jobs[-1] if jobs else None

    def jobs(self) -> list[SweepJob]:
        """Return the trials that became runs, for the sweep's record."""
        jobs = []
        for trial in self.trials():
            run = trial.user_attrs.get(RUN)
            if run is None:
                continue
            job = SweepJob(
                id=run["id"],
                run=run["run"],
                row=f"trial {trial.number}",
                seed=run["seed"],
                trial=trial.number,
                state=trial.state.name.lower(),
                score=trial.value,
                values=self.values(trial),
            )
            jobs.append(job)
        return jobs


def _has_requeued_trials(trials: Sequence[FrozenTrial]) -> bool:
    """Return whether trials of dead workers wait, which the study runs whatever else ends it."""
    waiting = [trial for trial in trials if trial.state == TrialState.WAITING]
    return any(AGAIN in trial.user_attrs for trial in waiting)


def _worker_lock(owner: str | None) -> str:
    """Return the name of the lock that a living worker holds."""
    return f"worker-{owner}"
