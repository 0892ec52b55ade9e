"""The sweeper as Hydra sees it: plan what the config and the command line ask for, and run it."""

import logging
import os
import sys
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from augean.config.paths import fix_places
from augean.config.sweeper_options import read_options
from augean.sweeps.composition import Composition
from augean.sweeps.grid import run_grid
from augean.sweeps.job import JobRunner
from augean.sweeps.plan import plan_sweep
from augean.sweeps.workers import WORKER, handed_on_places

logger = logging.getLogger(__name__)

OPTUNA_SWEEPER = "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper"
"""The class that would run a study in memory, without a record."""


def register_sweeper() -> None:
    """Make the sweeper known to Hydra.

    An entry point of the group `hydra.plugins` could do it, but would load this module in every
    single run. Tasks of Ray need no sweeper: they get a composed config.
    """
    Plugins.instance().register(AugeanSweeper)
    # Files for Optuna's sweeper often name its class too. Hydra knows classes by their names, so a
    # class of that name takes its place.
    module, _, name = OPTUNA_SWEEPER.rpartition(".")
    stand_in = type(name, (AugeanSweeper,), {"__module__": module})
    Plugins.instance().register(stand_in)
    setattr(sys.modules[module], name, stand_in)  # where Hydra looks the name up


class AugeanSweeper(Sweeper):
    """Runs grids and studies that leave a record and continue after any interruption."""

    def __init__(self, **_: Any) -> None:
        """Ignore the options: `setup` gets the whole config, in which they are too."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Prepare the sweep of a composed config."""
        fix_places(config, handed_on_places())
        self.composition = Composition(loader=hydra_context.config_loader, master=config)
        launcher = Plugins.instance().instantiate_launcher(
            config=config, hydra_context=hydra_context, task_function=task_function
        )
        self.runner = JobRunner(launcher, config)

    def sweep(self, arguments: list[str]) -> list[float]:
        """Run what the sweep asks for; return the objectives of its jobs, in order.

        Raises:
            AugeanError: for a sweep that cannot be planned, and for what no run can do without.
            SystemExit: with status 1 when a job failed, after all others have run.
        """
        options = read_options(self.composition.master)
        is_worker = WORKER in os.environ
        if options.notice and not is_worker:
            logger.info(options.notice)
        plan = plan_sweep(self.composition, options, arguments, with_samples=not is_worker)
        if plan.record.kind == "grid":
            return run_grid(plan, self.runner)
        from augean.sweeps.studies.tuning import (
            run_study,  # it imports Optuna, which a grid does not need
        )

        return run_study(plan, self.composition, options, self.runner)
