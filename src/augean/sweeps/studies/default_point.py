"""Find the point of the default configuration in a search space: a study's trial 0."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from augean.config.labels import value_label
from augean.config.schema import Config
from augean.config.validation import flatten_config
from augean.sweeps.composition import read_values
from augean.sweeps.studies.sampler import SearchSpace


@dataclass(frozen=True)
class DefaultPoint:
    """The searched keys as they are in the config that the space is searched around."""

    params: Mapping[str, Any] | None
    """Optuna's value of each key; None where one of them lies outside the space."""
    outside: str = ""
    """The first key outside with its value and its space, as text for people."""


def find_default(
    space: SearchSpace, config: Config, choices: Mapping[str, str | None]
) -> DefaultPoint:
    """Return the default configuration's point.

    Args:
        config: with the overrides that all trials share, and none of the space.
        choices: option of each config group in it.
    """
    flat = flatten_config(config)
    params = {}
    for key, distribution in space.distributions.items():
        value = choices[key] if key in choices else flat.get(key)
        is_choice = hasattr(distribution, "choices")
        values = _equal_choices(key, distribution, value) if is_choice else [value]
        if not values or not (is_choice or _is_within(distribution, value)):
            label = value_label(key, value)
            return DefaultPoint(params=None, outside=f"{key}={label} is not in {space.texts[key]}")
        params[key] = values[0]
    return DefaultPoint(params=params)


def _equal_choices(key: str, distribution: Any, value: Any) -> list[Any]:
    """List the choices that are the value; text among them is in the notation of overrides."""
    equal = []
    for choice in distribution.choices:
        meaning = choice
        if isinstance(choice, str):
            ((_, meaning),) = read_values([f"{key}={choice}"])
        # True is 1 for Python, but another value of a config.
        if meaning == value and isinstance(meaning, bool) == isinstance(value, bool):
            equal.append(choice)
    return equal


def _is_within(distribution: Any, value: Any) -> bool:
    """Return whether a range, and its steps, contain a value."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    if not distribution.low <= value <= distribution.high:
        return False
    if distribution.step is None:
        return True
    num_steps = (value - distribution.low) / distribution.step
    return bool(abs(num_steps - round(num_steps)) < 1e-8)
