"""The search space of a study, its points, and the configured sampler."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import product
from typing import TYPE_CHECKING, Any

from augean.config.override_text import written_value
from augean.errors import ConfigError
from augean.override_key import override_key
from augean.sweeps.sweep_overrides import MAX_RUNS

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

TRUSTED = ("hydra_plugins.hydra_optuna_sweeper.*", "optuna.samplers.*")
"""Modules whose classes a config may name as its sampler."""
LUCK_KEYS = ("seed", "dataset.split_seed", "dataset.num_val")
"""Keys that decide by which images or random choices a trial is judged: a value of theirs that
scores better does so by luck."""


@dataclass(frozen=True)
class SearchSpace:
    """The overrides of a study, sorted by what they do."""

    distributions: "Mapping[str, BaseDistribution]" = field(default_factory=dict)
    """The values that may be searched, by key; a key has no `+` here."""
    keys_as_written: Mapping[str, str] = field(default_factory=dict)
    """Key to the key of its overrides, which may begin with `+` or `++`."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """Key to its values as they are written, such as `range(8,33,8)`."""
    fixed: tuple[str, ...] = ()
    """Overrides that all trials share."""

    def assignments(self, params: Mapping[str, Any]) -> list[str]:
        """Return a trial's point as overrides."""
        values = self.values(params)
        overrides = []
        for key, value in values.items():
            # Choices that are text are in Hydra's own notation: it was parsed from an override.
            text = written_value(value, key)
            overrides.append(f"{self.keys_as_written.get(key, key)}={text}")
        return overrides

    def values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return a trial's point, the steps of its ranges counted in decimal numbers."""
        return plain_values(params, self.distributions)

    def points(self) -> list[dict[str, Any]]:
        """List every point of the space.

        Raises:
            ConfigError: for a continuous range.
        """
        values = grid_values(self.distributions)
        return [dict(zip(values, point, strict=True)) for point in product(*values.values())]


def plain_values(
    params: Mapping[str, Any], space: "Mapping[str, BaseDistribution]"
) -> dict[str, Any]:
    """Return a trial's point with 0.3 in place of 0.1 + 0.1 + 0.1 = 0.30000000000000004.

    The two would be different runs, as a run's id is made of its values.

    Args:
        params: Optuna's; studies begun by earlier versions have keys with a `+`.
    """
    values = {}
    for written_key, value in params.items():
        key = override_key(written_key)
        if key not in space:
            # A key of the user's custom_search_space keeps its `+`, which marks a new config key.
            key = written_key
        distribution = space.get(key)
        # Choices and continuous ranges have no step, so their values stay as they are.
        step = getattr(distribution, "step", None)
        if isinstance(value, float) and step is not None:
            low = getattr(distribution, "low", 0.0)
            value = _step_from(low, step, round((value - low) / step))
        values[key] = value
    return values


def _step_from(low: float, step: float, number: int) -> Any:
    """Return `low + number * step`, added in decimal numbers, of the type of `low`."""
    # `str` gives the decimal that a user wrote: Decimal(0.1) would have all binary digits.
    return type(low)(Decimal(str(low)) + number * Decimal(str(step)))


def make_sampler(
    options: Mapping[str, Any], space: "Mapping[str, BaseDistribution]", num_trials: int
) -> "BaseSampler":
    """Make the configured sampler.

    Args:
        options: class and arguments, as `hydra/sweeper/sampler` has them.
        num_trials: trials of the study so far. A seed is shifted by it, so that a sampler that is
            made anew never proposes the old points again.

    Raises:
        ConfigError: for options that the sampler does not take, and for the sampler of a grid and a
            range without steps.
    """
    import optuna  # a grid of runs needs none of it
    from hydra.utils import instantiate  # with Hydra's check of what may be constructed

    # That of a grid proposes nothing new, so its seed stays.
    is_grid = visits_all_points(options)
    seeded = dict(options)
    if seeded.get("seed") is not None and not is_grid:
        seeded["seed"] += num_trials
    grid = grid_values(space) if is_grid else {}
    # Hydra wraps whatever is wrong with the options into one kind of exception; samplers of Optuna
    # raise many kinds.
    try:
        sampler_or_factory = instantiate(seeded, _execution_whitelist_=TRUSTED)
        # Hydra's `_partial_` returns a factory, which takes the points of a grid.
        sampler: BaseSampler = sampler_or_factory(grid) if is_grid else sampler_or_factory
    except Exception as error:
        reason = str(error.__cause__ or error).partition("\n")[0] or type(error).__name__
        raise ConfigError(f"hydra.sweeper.sampler: {reason}") from error
    # The study queues the points of a grid itself, so that of Optuna served as a check alone.
    return optuna.samplers.RandomSampler() if is_grid else sampler


def visits_all_points(options: Mapping[str, Any]) -> bool:
    """Return whether a sampler is that of a grid, which visits each point once."""
    # It alone is made in two steps, as its points are not known when its options are written.
    return bool(options.get("_partial_", False))


def grid_values(space: "Mapping[str, BaseDistribution]") -> dict[str, list[Any]]:
    """List every value of every key.

    Raises:
        ConfigError: for a continuous range, and for more points than a sweep may have runs.
    """
    num_points = math.prod(_count_values(key, item) for key, item in space.items())
    if num_points > MAX_RUNS:
        raise ConfigError(
            f"hydra/sweeper/sampler=grid: the space has {num_points:,} points, and a sweep may have"
            f" {MAX_RUNS:,} runs; give fewer values to {', '.join(space)}"
        )
    return {key: _list_values(key, distribution) for key, distribution in space.items()}


def _count_values(key: str, distribution: Any) -> int:
    if hasattr(distribution, "choices"):
        return len(distribution.choices)
    if distribution.step is None:
        raise ConfigError(
            f"hydra/sweeper/sampler=grid: {key} needs a list of values such as {key}=a,b,c"
        )
    num_steps: int = round((distribution.high - distribution.low) / distribution.step)
    return num_steps + 1


def _list_values(key: str, distribution: Any) -> list[Any]:
    if hasattr(distribution, "choices"):
        return list(distribution.choices)
    low, step = distribution.low, distribution.step
    return [_step_from(low, step, index) for index in range(_count_values(key, distribution))]


def written_space(distribution: Any, key: str) -> str:
    """Return the values of a distribution as an override writes them.

    Args:
        key: that the values are for.
    """
    if hasattr(distribution, "choices"):
        return ",".join(written_value(choice, key) for choice in distribution.choices)
    low, high, step = distribution.low, distribution.high, distribution.step
    if step not in (None, 1):
        # The end of a range is not among its values.
        end = _step_from(low, step, _count_values(key, distribution))
        return f"range({low},{end},{step})"
    return f"tag(log,interval({low},{high}))" if distribution.log else f"interval({low},{high})"


def spanning_points(space: "Mapping[str, BaseDistribution]") -> list[dict[str, Any]]:
    """List few points that together have every choice and both ends of every range."""
    values = {key: _extremes(distribution) for key, distribution in space.items()}
    # As many points as the longest list has values; shorter lists begin again.
    num_points = max(len(items) for items in values.values())
    points = []
    for number in range(num_points):
        points.append({key: items[number % len(items)] for key, items in values.items()})
    return points


def _extremes(distribution: Any) -> list[Any]:
    if hasattr(distribution, "choices"):
        return list(distribution.choices)
    return [distribution.low, distribution.high]
