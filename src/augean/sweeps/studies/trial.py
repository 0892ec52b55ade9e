"""Connect a job to the trial of a study that it is."""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from augean.config.instantiate import find_class
from augean.errors import ConfigError
from augean.runs.address import WORST_SCORE
from augean.store.run_directory import training_seconds
from augean.sweeps.job import TRIAL
from augean.sweeps.studies.storage import open_storage, reaching_storage

ERROR = "augean:error"
"""Attribute of a failed trial: the message of the exception that ended it."""
REFUSED = "augean:refused"
"""Attribute of a failed trial whose config is refused; it would be at every try."""
COMMAND = "augean:command"
"""Attribute of a failed trial: the command it failed in, by the time at which that began. Compared
for equality alone, as clocks are set back."""
RUN = "augean:run"
"""Attribute of a trial: id, directory and seed of its run."""
SECONDS = "augean:seconds"
"""Attribute of a trial that has ended: seconds of its run's training steps."""


def make_pruner(options: Mapping[str, Any]) -> optuna.pruners.BasePruner:
    """Make the configured pruner.

    Args:
        options: class and arguments, as `hydra/sweeper/pruner` has them.

    Raises:
        ConfigError: for options that the pruner does not take.
    """
    arguments = dict(options)
    target = arguments.pop("_target_", None)
    base: Any = optuna.pruners.BasePruner  # mypy does not accept an abstract class as a type
    pruner_class = find_class("hydra.sweeper.pruner", str(target), base)
    try:
        pruner: optuna.pruners.BasePruner = pruner_class(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"hydra.sweeper.pruner: {error}") from error
    return pruner


@dataclass(frozen=True)
class TrialReporter:
    """Reports each epoch of a job to its trial, learns whether to stop, and tells the result."""

    study: optuna.Study
    trial: Trial
    command: float
    """When the command began that has the trial, see `COMMAND`."""

    @classmethod
    def from_environment(cls) -> "TrialReporter":
        """Make the reporter of the trial that the environment variable `TRIAL` names."""
        environment = json.loads(os.environ[TRIAL])
        study = optuna.load_study(
            study_name=environment["study"],
            storage=open_storage(environment["storage"]),
            pruner=make_pruner(environment["pruner"]),
        )
        trial = Trial(study, environment["trial"])
        return cls(study=study, trial=trial, command=environment["command"])

    @reaching_storage()
    def should_stop(self, epoch: int, val_accuracy: float | None) -> bool:
        """Report an epoch; return whether the pruner gives the trial up."""
        if val_accuracy is None:  # without a validation split
            val_accuracy = WORST_SCORE
        self.trial.report(val_accuracy, epoch)
        return self.trial.should_prune()

    @reaching_storage()
    def tell(self, score: float, seconds: float) -> None:
        """Tell the study that the trial is complete.

        Args:
            score: as `RunOutcome.objective` gives it, a fraction.
            seconds: of the training steps of its run; likewise below.
        """
        self._end(seconds, score)

    @reaching_storage()
    def tell_pruned(self, seconds: float) -> None:
        """Tell the study that the trial was given up; its last report is its score."""
        self._end(seconds, state=TrialState.PRUNED)

    @reaching_storage()
    def tell_failed(self, error: Exception, seconds: float) -> None:
        """Tell the study that the trial ended with an exception."""
        self._end(seconds, state=TrialState.FAIL, error=error)

    def _end(
        self,
        seconds: float,
        score: float | None = None,
        state: TrialState | None = None,
        error: Exception | None = None,
    ) -> None:
        # A worker that was taken for dead may find its trial told already, and queued again.
        with suppress(optuna.exceptions.UpdateFinishedTrialError):
            self.trial.set_user_attr(SECONDS, seconds)
            if error is not None:
                note_failure(self.trial, error, self.command)
            self.study.tell(self.trial, score, state=state, skip_if_finished=True)


def note_failure(trial: Trial, error: Exception, command: float) -> None:
    """Note on a trial, before it is told, which exception ends it in which command."""
    trial.set_user_attr(ERROR, str(error) or type(error).__name__)
    trial.set_user_attr(COMMAND, command)
    if isinstance(error, ConfigError):
        trial.set_user_attr(REFUSED, True)


def has_failed(trial: FrozenTrial, command: float | None = None) -> bool:
    """Return whether a trial has failed, in the command `command` if that is given.

    A trial without an error is one that was queued again, and says nothing of the setting.
    """
    if trial.state != TrialState.FAIL or ERROR not in trial.user_attrs:
        return False
    return command is None or trial.user_attrs.get(COMMAND) == command


def trained_seconds(trials: Sequence[FrozenTrial], runs: Path) -> float:
    """Return the seconds of the training steps of the trials' runs, each run counted once.

    Whoever has trained them: studies with equal budgets are to stay comparable, although one of
    them asks for runs that were there before.

    Args:
        runs: the folder of the runs' directories.
    """
    seconds: dict[str, float] = {}
    for trial in trials:
        if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL):
            continue
        run = trial.user_attrs.get(RUN, {})
        key = run.get("id", f"trial {trial.number}")
        spent = trial.user_attrs.get(SECONDS)
        # Neither earlier versions nor dead workers noted any. The time between begin and end of a
        # trial says nothing: its run may have been there before, or its worker long dead.
        if spent is None and run:
            spent = training_seconds(runs / run["run"])
        seconds[key] = max(seconds.get(key, 0.0), spent or 0.0)
    return sum(seconds.values())
