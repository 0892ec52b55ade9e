"""Run one job of a sweep and report its validation accuracy to the study, if it is a trial."""

import os
from collections.abc import Callable

from augean.config.schema import Config
from augean.errors import Pruned, SetupError
from augean.runs.execute import execute, print_outcome

TRIAL = "AUGEAN_TRIAL"
"""Environment variable that tells a job which trial of which study it is."""


def run_job(config: Config, begin: Callable[[], None] | None = None) -> float:
    """One job of a sweep: returns the validation accuracy, which is all that a sweeper sees.

    Args:
        begin: as for `augean.runs.execute.execute`.
    """
    reporter = None
    if TRIAL in os.environ:
        from augean.sweeps.trial import TrialReporter

        reporter = TrialReporter.from_environment()
    try:
        # In a grid a run that another worker trains is left to it for now: there is other work. A
        # trial has to wait.
        should_stop = reporter.should_stop if reporter else None
        outcome = execute(config, wait=reporter is not None, should_stop=should_stop, begin=begin)
    except Exception as error:
        if reporter is not None and isinstance(error, Pruned):
            reporter.tell_pruned()
            print(error)
            return 0.0
        if reporter is not None and not isinstance(
            error, SetupError
        ):  # which says nothing of the trial
            reporter.tell_failed(error)
        raise
    if reporter is not None:
        reporter.tell(outcome.objective)
    print_outcome(outcome)
    return outcome.objective
