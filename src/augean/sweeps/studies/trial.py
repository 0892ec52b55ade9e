"""Connect a job to the trial of a study that it is."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import Trial, TrialState

from augean.config.instantiate import find_class
from augean.errors import ConfigError
from augean.sweeps.job import TRIAL
from augean.sweeps.studies.storage import open_storage, reaching_storage

ERROR = "augean:error"
"""Attribute of a failed trial: the message of the exception that ended it."""


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

    @classmethod
    def from_environment(cls) -> "TrialReporter":
        """Make the reporter of the trial that the environment variable `TRIAL` names."""
        environment = json.loads(os.environ[TRIAL])
        study = optuna.load_study(
            study_name=environment["study"],
            storage=open_storage(environment["storage"]),
            pruner=make_pruner(environment["pruner"]),
        )
        return cls(study, Trial(study, environment["trial"]))

    @reaching_storage()
    def should_stop(self, epoch: int, val_accuracy: float | None) -> bool:
        """Report an epoch; return whether the pruner gives the trial up."""
        # None, without a validation split, counts as the worst score.
        self.trial.report(val_accuracy or 0.0, epoch)
        return self.trial.should_prune()

    @reaching_storage()
    def tell(self, score: float) -> None:
        """Tell the study that the trial is complete.

        Args:
            score: validation accuracy, a fraction.
        """
        # `skip_if_finished`: a worker that was taken for dead may find its trial told already.
        self.study.tell(self.trial, score, skip_if_finished=True)

    @reaching_storage()
    def tell_pruned(self) -> None:
        """Tell the study that the trial was given up; its last report is its score."""
        self.study.tell(self.trial, state=TrialState.PRUNED, skip_if_finished=True)

    @reaching_storage()
    def tell_failed(self, error: Exception) -> None:
        """Tell the study that the trial ended with an exception."""
        self.trial.set_user_attr(ERROR, str(error) or type(error).__name__)
        self.study.tell(self.trial, state=TrialState.FAIL, skip_if_finished=True)
