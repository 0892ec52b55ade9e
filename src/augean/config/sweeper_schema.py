"""Define the typed schema of `hydra.sweeper`: Augean's own, and that of files for Optuna's sweeper.

It is not in `augean.sweeps`, beside the sweeper: Hydra composes it for a single run too, which must
load nothing from there.
"""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

SWEEPER_CLASS = "augean.sweeps.hydra_plugin.AugeanSweeper"
"""What Hydra constructs for either schema."""


@dataclass
class ConfirmConfig:
    """Further seeds for the best trials of a study, before its winner is chosen."""

    top: int = 3
    """How many trials."""
    seeds: int = 0
    """How many seeds each, other than the trial's own; 0: the best score decides."""


@dataclass
class AugeanSweeperConfig:
    """A grid; with `n_trials`, a study. Search spaces, samplers and their options are those of
    hydra-optuna-sweeper.
    """

    # `_self_` first, so that the options of the groups `sampler` and `pruner` replace the MISSING
    # values below.
    defaults: list[Any] = field(
        default_factory=lambda: ["_self_", {"sampler": "tpe"}, {"pruner": "none"}]
    )
    _target_: str = SWEEPER_CLASS
    params: dict[str, Any] = field(default_factory=dict)
    """Overrides, some with several values: the grid is their product; in a study, the search
    space."""
    rows: Any = None
    """Rows without a product: {label: [overrides]}; `study:<sweep>` stands for that study's
    winner."""
    ablate: Any = None
    """{key: [values]}: after the base run one row per value, which differs in that key alone."""
    n_trials: int | None = None
    """Trials of the whole study, whoever ran them; null: a grid."""
    timeout: Any = None
    """Training time after which a study begins no more trials: seconds, or such as 90min or 1.5h;
    null: n_trials alone ends it."""
    confirm: ConfirmConfig = field(default_factory=ConfirmConfig)
    final_seeds: int = 0
    """Seeds that a study's winner is trained with, as rows of its table."""
    max_failures: int = 10
    """Trials of one command that may raise before it stops."""
    sampler: Any = MISSING
    pruner: Any = MISSING
    direction: str = "maximize"
    """No other is taken: the score of a trial is its validation accuracy."""
    storage: str | None = None
    """SQLAlchemy URL; null: a journal file in <outputs>/studies."""
    study_name: str | None = None
    """null: the name of the sweep's record."""
    custom_search_space: str | None = None
    """Dotted name of a function (config, trial) of an allowed package, which asks a study's trials
    for further values."""


@dataclass
class OptunaSweeperConfig:
    """Options of a sweep file with `override hydra/sweeper: optuna`.

    `augean.config.sweeper_options` translates them.
    """

    defaults: list[Any] = field(default_factory=lambda: ["_self_", {"sampler": "tpe"}])
    # Optuna's own sweeper would run a study in memory, without a record.
    _target_: str = SWEEPER_CLASS
    sampler: Any = MISSING
    direction: Any = None
    """null: maximize, as the objective is always the validation accuracy; Optuna's own default
    would look for the worst."""
    storage: Any = None
    study_name: str | None = None
    n_trials: int = 20
    n_jobs: int = 2
    """Trials at one time."""
    max_failure_rate: float = 0.0
    """Share of the trials that may fail."""
    params: dict[str, Any] | None = None
    custom_search_space: str | None = None


SWEEPERS: dict[str, type] = {"augean": AugeanSweeperConfig, "optuna": OptunaSweeperConfig}
"""Options of the config group `hydra/sweeper`."""
SAMPLER_DEFAULTS: dict[str, dict[str, Any]] = {
    "tpe": {"multivariate": True, "constant_liar": True},
}
"""Options of `hydra/sweeper/sampler` that are Optuna's own defaults, and better in a replay of real
curves (benchmarks/README.md); hydra-optuna-sweeper sets them to false."""
# After one or two epochs the order of trials says little of their order at the end
# (benchmarks/README.md), so no pruner judges before the third.
PRUNERS: dict[str, dict[str, Any]] = {
    "none": {"_target_": "optuna.pruners.NopPruner"},
    "median": {
        "_target_": "optuna.pruners.MedianPruner",
        "n_startup_trials": 5,
        "n_warmup_steps": 3,
    },
    "percentile": {
        "_target_": "optuna.pruners.PercentilePruner",
        "percentile": 25.0,
        "n_startup_trials": 5,
        "n_warmup_steps": 3,
    },
    "halving": {
        "_target_": "optuna.pruners.SuccessiveHalvingPruner",
        "min_resource": 3,
        "reduction_factor": 3,
    },
    "hyperband": {
        "_target_": "optuna.pruners.HyperbandPruner",
        "min_resource": 3,
        "reduction_factor": 3,
    },
}
"""Options of the config group `hydra/sweeper/pruner`."""
