"""A tuning study: an Optuna study that several workers share, that outlives them, and that pays for
each trial once.

Optuna has heartbeats for its own loop on SQL storages only. Here a worker holds a file lock named
by a uuid that it writes on its trials, so a running trial whose owner's lock can be taken is dead,
on any storage.
"""

import json
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.trial import FrozenTrial, Trial, TrialState

from augean.errors import AugeanError, ConfigError, RunLocked
from augean.store.locks import hold_lock, is_locked
from augean.store.sweep_record import Direction, SweepJob, best_trial
from augean.sweeps.storage import open_storage, reaching_storage
from augean.sweeps.trial import ERROR

IDENTITY = "augean:identity"
OWNER = "augean:owner"
RUN = "augean:run"
AGAIN = "augean:again"
"""Of a trial that is queued again: the number of the one that died."""


optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class StudySetup:
    """What a study is: all of it but the storage and the number of trials is fixed once it has
    begun.
    """

    name: str
    storage: str
    space: Mapping[str, BaseDistribution]
    direction: Direction
    base: Mapping[str, Any]
    """What all trials have in common: the config without the searched keys, flat."""
    num_trials: int
    pruner: Mapping[str, Any]
    """Class and arguments of an Optuna pruner."""
    max_failures: int
    """Trials that may end with an exception before the study stops."""

    def identity(self) -> dict[str, str]:
        space = {
            f"space of {key}": distribution_to_json(value)
            for key, value in sorted(self.space.items())
        }
        base = {key: json.dumps(value, sort_keys=True) for key, value in self.base.items()}
        return {"direction": self.direction, **space, **base}


class Study:
    """One worker's view of a study; counting and asking happen under the study's lock."""

    def __init__(
        self,
        setup: StudySetup,
        outputs: Path,
        make_sampler: Callable[[int], optuna.samplers.BaseSampler],
    ) -> None:
        """Open or create the study.

        Args:
            make_sampler: called with the number of trials so far before each one, so that a seeded
                sampler, shifted by it, never replays old points.

        Raises:
            ConfigError: when the study exists with another space, direction or base config.
        """
        self.setup, self.outputs, self.make_sampler = setup, outputs, make_sampler
        self.owner = uuid.uuid4().hex
        if setup.storage.endswith(".journal"):
            Path(setup.storage).parent.mkdir(parents=True, exist_ok=True)
        with self.locked():
            self.study = optuna.create_study(
                storage=open_storage(setup.storage),
                study_name=setup.name,
                direction=setup.direction,
                load_if_exists=True,
            )
            known = self.study.user_attrs.get(IDENTITY)
            if known is None:
                self.study.set_user_attr(IDENTITY, setup.identity())
            else:
                self._refuse_difference(known)

    def _refuse_difference(self, known: Mapping[str, str]) -> None:
        wanted = self.setup.identity()
        lines = [
            f"  {key}: was {known.get(key, 'absent')}, is {wanted.get(key, 'absent')}"
            for key in sorted({*known, *wanted})
            if known.get(key) != wanted.get(key)
        ]
        if lines:
            raise ConfigError(
                f"study {self.setup.name} has begun with another setting:\n"
                + "\n".join(lines)
                + "\nGive the old setting again, or start another study with"
                " hydra.sweeper.study_name=<a new name>"
            )

    @contextmanager
    def locked(self) -> Any:
        with hold_lock(self.outputs, f"study-{self.setup.name}", wait=True):
            yield

    def working(self) -> Any:
        """Hold this worker's lock, the sign that it lives, for as long as it works on the study."""
        return hold_lock(self.outputs, f"worker-{self.owner}", wait=False)

    @reaching_storage()
    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states or None)

    def _requeue_dead(self) -> None:
        def dead() -> list[FrozenTrial]:
            running = self.trials(TrialState.RUNNING)
            return [
                t
                for t in running
                if not is_locked(self.outputs, f"worker-{t.user_attrs.get(OWNER)}")
            ]

        queued = {trial.user_attrs.get(AGAIN) for trial in self.trials()}
        # Asked twice: a worker may have told its trial and died between the reading of trials and
        # of locks.
        for trial in dead() and dead():
            if trial.number not in queued:  # by one who died before the next line but one
                self.study.enqueue_trial(trial.params, user_attrs={AGAIN: trial.number})
            self.study.tell(trial.number, state=TrialState.FAIL)

    @reaching_storage()
    def next(self) -> Trial | None:
        """The next trial, which is this worker's own now; None when the study's trials are all
        over.

        Raises:
            RunLocked: when the rest of the study is being worked on by others.
            AugeanError: when too many trials have failed.
        """
        with self.locked():
            self._requeue_dead()
            trials = (
                self.trials()
            )  # read once: jobs tell theirs at any moment, and none may be missed or counted twice
            failures = [
                trial
                for trial in trials
                if trial.state == TrialState.FAIL and ERROR in trial.user_attrs
            ]
            if len(failures) > self.setup.max_failures:
                raise AugeanError(
                    f"study {self.setup.name}: {len(failures)} trials failed, more than"
                    f" hydra.sweeper.max_failures={self.setup.max_failures}; the last:"
                    f" {failures[-1].user_attrs[ERROR]}"
                )
            states = Counter(trial.state for trial in trials)
            num_over = states[TrialState.COMPLETE] + states[TrialState.PRUNED]
            if num_over >= self.setup.num_trials:
                return None
            if num_over + states[TrialState.RUNNING] >= self.setup.num_trials:
                raise RunLocked(f"the last trials of study {self.setup.name} are being worked on")
            self.study.sampler = self.make_sampler(len(trials))
            trial = self.study.ask(dict(self.setup.space))
            trial.set_user_attr(OWNER, self.owner)
            return trial

    @reaching_storage()
    def note_run(self, trial: Trial, identity: str, run: str, seed: int) -> None:
        trial.set_user_attr(RUN, {"id": identity, "run": run, "seed": seed})

    @reaching_storage()
    def give_up(self, trial: Trial, error: Exception) -> None:
        """Tell a trial that never became a job, for example because its config is refused."""
        with suppress(
            optuna.exceptions.UpdateFinishedTrialError
        ):  # when the job has told it itself
            trial.set_user_attr(ERROR, str(error) or type(error).__name__)
            self.study.tell(trial, state=TrialState.FAIL)

    def environment(self, trial: Trial) -> str:
        """The value of the environment variable `TRIAL` for the trial's job."""
        return json.dumps(
            {
                "storage": self.setup.storage,
                "study": self.setup.name,
                "trial": trial._trial_id,
                "pruner": self.setup.pruner,
            }
        )

    def num_over(self) -> int:
        """Trials that count towards the study's number: finished and pruned ones."""
        return len(self.trials(TrialState.COMPLETE, TrialState.PRUNED))

    def count(self) -> str:
        """How many trials are in which state, for people."""
        states = Counter(trial.state.name.lower() for trial in self.trials())
        return ", ".join(f"{count} {state}" for state, count in states.items())

    def best(self) -> SweepJob:
        """Return the winner, as `augean.store.sweep_record.best_trial` decides.

        Raises:
            AugeanError: when no trial is complete.
        """
        best = best_trial(self.jobs(), self.setup.direction)
        if best is None:
            raise AugeanError(
                f"study {self.setup.name}: no trial was finished, so there is no winner"
            )
        return best

    def jobs(self) -> list[SweepJob]:
        """The trials that became runs, for the sweep's record."""
        return [
            SweepJob(
                **trial.user_attrs[RUN],
                row=f"trial {trial.number}",
                trial=trial.number,
                state=trial.state.name.lower(),
                score=trial.value,
                values=dict(trial.params),
            )
            for trial in self.trials()
            if RUN in trial.user_attrs
        ]
