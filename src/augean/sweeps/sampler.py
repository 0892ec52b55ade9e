"""Make the configured sampler of a study, and list points of its search space."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from augean.config.override_text import written_value
from augean.errors import ConfigError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

TRUSTED = ("hydra_plugins.hydra_optuna_sweeper.*", "optuna.samplers.*")
"""What a config may name as its sampler."""


def make_sampler(
    options: Mapping[str, Any], space: "Mapping[str, BaseDistribution]", num_trials: int
) -> "BaseSampler":
    """Make the configured sampler.

    Args:
        options: class and arguments, as `hydra/sweeper/sampler` has them.
        num_trials: trials of the study so far. A seed is shifted by it, so that a sampler that is
            made anew never proposes the old points again.

    Raises:
        ConfigError: for the sampler of a grid and a range without steps.
    """
    from hydra.utils import instantiate  # with Hydra's check of what may be constructed

    # The sampler of a grid is the only one that wants its points; it counts the trials itself.
    is_grid = options.get("_partial_", False)
    seeded = dict(options)
    if seeded.get("seed") is not None and not is_grid:
        seeded["seed"] += num_trials
    # Hydra's `_partial_` returns a factory, which takes the points of a grid.
    sampler_or_factory = instantiate(seeded, _execution_whitelist_=TRUSTED)
    sampler: BaseSampler = sampler_or_factory(grid_values(space)) if is_grid else sampler_or_factory
    return sampler


def grid_values(space: "Mapping[str, BaseDistribution]") -> dict[str, list[Any]]:
    """List every value of every key.

    Raises:
        ConfigError: for a continuous range.
    """
    return {key: _list_values(key, distribution) for key, distribution in space.items()}


def _list_values(key: str, distribution: Any) -> list[Any]:
    if hasattr(distribution, "choices"):
        return list(distribution.choices)
    low, high, step = distribution.low, distribution.high, distribution.step
    if step is None:
        raise ConfigError(
            f"hydra/sweeper/sampler=grid: {key} needs a list of values such as {key}=a,b,c"
        )
    num_steps = round((high - low) / step)
    return [low + index * step for index in range(num_steps + 1)]


def spanning_points(space: "Mapping[str, BaseDistribution]") -> list[dict[str, Any]]:
    """List few points that together have every choice and both ends of every range."""
    values = {key: _extremes(distribution) for key, distribution in space.items()}
    num_points = max(len(items) for items in values.values())
    points = []
    for number in range(num_points):
        points.append({key: items[number % len(items)] for key, items in values.items()})
    return points


def _extremes(distribution: Any) -> list[Any]:
    if hasattr(distribution, "choices"):
        return list(distribution.choices)
    return [distribution.low, distribution.high]


def assignments(params: Mapping[str, Any]) -> list[str]:
    """Return a trial's point as overrides.

    Choices that are text are in Hydra's own notation: it was parsed from an override.
    """
    return [f"{key}={written_value(value, key)}" for key, value in params.items()]
