"""Studies without runs, whose trials are told by hand."""

from pathlib import Path
from typing import Any

import optuna

from augean.sweeps.studies.setup import StudySetup
from augean.sweeps.studies.study import Study
from augean.sweeps.studies.trial import SECONDS

SPACE = {"x": optuna.distributions.FloatDistribution(0, 1)}


def open_study(folder: Path, *, command: float = 0.0, **options: Any) -> Study:
    setup = StudySetup(
        name="mine",
        storage=f"{folder}/mine.journal",
        space=SPACE,
        **{"base": {}, "num_trials": 3, "pruner": {}, "max_failures": 0, **options},
    )
    return Study(setup, folder, lambda _: optuna.samplers.RandomSampler(), command)


def run_trials(study: Study, seconds: float = 0.0) -> list[float]:
    """Run all that are left; return their points."""
    points = []
    with study.working():
        while (trial := study.next()) is not None:
            trial.set_user_attr(SECONDS, seconds)
            points.append(trial.params["x"])
            study.study.tell(trial, 0.5)
    return points
