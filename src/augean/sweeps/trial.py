"""A job's connection to its own trial: report each epoch, learn whether to stop, tell the
result.
"""

import json
import os
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import Trial, TrialState

from augean.config.instantiate import find_class
from augean.sweeps.job import TRIAL
from augean.sweeps.storage import open_storage, reaching_storage

ERROR = "augean:error"


@dataclass(frozen=True)
class TrialReporter:
    """A job's connection to its own trial: reports each epoch, learns whether to stop, tells the
    result.
    """

    study: optuna.Study
    trial: Trial

    @classmethod
    def from_environment(cls) -> "TrialReporter":
        """The reporter of the trial that this process is."""
        told = json.loads(os.environ[TRIAL])
        target = told["pruner"].pop("_target_")
        base: Any = optuna.pruners.BasePruner  # abstract, which mypy takes for no class
        make_pruner = find_class("hydra.sweeper.pruner", target, base)
        study = optuna.load_study(
            study_name=told["study"],
            storage=open_storage(told["storage"]),
            pruner=make_pruner(**told["pruner"]),
        )
        return cls(study, Trial(study, told["trial"]))

    @reaching_storage()
    def should_stop(self, epoch: int, val_accuracy: float | None) -> bool:
        self.trial.report(val_accuracy or 0.0, epoch)
        return self.trial.should_prune()

    @reaching_storage()
    def tell(self, score: float) -> None:
        self.study.tell(self.trial, score, skip_if_finished=True)

    @reaching_storage()
    def tell_pruned(self) -> None:
        self.study.tell(self.trial, state=TrialState.PRUNED, skip_if_finished=True)

    @reaching_storage()
    def tell_failed(self, error: Exception) -> None:
        self.trial.set_user_attr(ERROR, str(error) or type(error).__name__)
        self.study.tell(self.trial, state=TrialState.FAIL, skip_if_finished=True)
