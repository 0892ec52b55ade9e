"""Read the overrides of a sweep: which of them count, which have several values, their product."""

import math
from collections.abc import Sequence
from decimal import Decimal
from itertools import product

from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep, Sweep

from augean.config.labels import row_label
from augean.errors import AugeanError, ConfigError

EMPTY_SWEEP = "the sweep is empty: one of its keys has no values"
MAX_RUNS = 100_000
"""Most runs of one sweep, before its rows multiply them."""


def bare_key(override: Override) -> str:
    """Return the key of an override without `+`, `++` or `~`: none of them makes another key."""
    key = override.key_or_group
    return key if override.package is None else f"{key}@{override.package}"


def effective(overrides: Sequence[Override]) -> list[Override]:
    """Return the overrides that count, in the order in which Hydra applies them.

    A later override of a key replaces an earlier one, at its place. Dictionaries and added list
    items do not: Hydra merges them with what is there.
    """
    effective_overrides: list[Override] = []
    for override in overrides:
        key = bare_key(override)
        # Where earlier overrides of the same key stand. A deletion is no value, so it stays.
        indices = []
        for index, item in enumerate(effective_overrides):
            if bare_key(item) == key and not item.is_delete():
                indices.append(index)
        if not indices or override.is_delete() or _merges(override):
            effective_overrides.append(override)
            continue
        # The override takes the place of the first of them, and the others go.
        following = effective_overrides[indices[0] :]
        others = [item for index, item in enumerate(effective_overrides) if index not in indices]
        # Unless a key around or inside it was set since: after `a.b=1 a={b:2}` the override `a.b=3`
        # must come last, or it would be lost.
        is_crossed = any(_nests(bare_key(item), key) for item in following)
        others.insert(len(others) if is_crossed else indices[0], override)
        effective_overrides = others
    return effective_overrides


def _merges(override: Override) -> bool:
    """Return whether Hydra adds the override's value to what is there, instead of replacing it."""
    if override.is_list_extend():
        return True
    if not override.is_sweep_override():
        return isinstance(override.value(), dict)
    if not override.is_choice_sweep():
        return False
    values = list(override.sweep_iterator())
    return bool(values) and all(isinstance(value, dict) for value in values)


def _nests(first: str, second: str) -> bool:
    """Return whether one of two dotted keys lies inside the other."""
    return first.startswith(f"{second}.") or second.startswith(f"{first}.")


def swept_keys(overrides: Sequence[Override]) -> list[str]:
    """List the keys that have several values, in the order in which those are written.

    Args:
        overrides: all of them; a key whose last value is a single one is not swept.
    """
    swept = {bare_key(item) for item in effective(overrides) if item.is_sweep_override()}
    keys = [bare_key(item) for item in overrides if item.is_sweep_override()]
    return [key for key in dict.fromkeys(keys) if key in swept]


def expand(overrides: Sequence[Override]) -> list[tuple[str, ...]]:
    """List the product of all overrides, in the order written.

    Raises:
        AugeanError: for a sweep without a finite list of values.
    """
    effective_overrides = effective(overrides)
    _refuse_too_many_runs(effective_overrides)
    # One list for each override: a single value is a list of one.
    axes: list[list[str]] = []
    for override in effective_overrides:
        key = override.get_key_element()
        if not override.is_sweep_override():
            axes.append([str(override.input_line)])
        elif override.is_discrete_sweep():
            axes.append([f"{key}={text}" for text in _sweep_texts(override)])
        else:
            raise AugeanError(
                f"{override.input_line}: a grid needs a list of values such as {key}=a,b,c"
            )
    return list(product(*axes))


def refuse_functions_among_values(overrides: Sequence[Override]) -> None:
    """Refuse `sort(2,1),3`, which Hydra reads as two values, the first of them a whole sweep.

    Raises:
        ConfigError: with how the values are written.
    """
    for override in overrides:
        value = override.value()
        if isinstance(value, ChoiceSweep) and any(isinstance(item, Sweep) for item in value.list):
            key = override.get_key_element()
            raise ConfigError(
                f"{override.input_line}: a function with several values stands among others; write"
                f" the values alone, {key}=a,b,c, or all of them in the function"
            )


def _refuse_too_many_runs(overrides: Sequence[Override]) -> None:
    """Refuse a product that would fill the memory before anybody sees how large it is.

    Raises:
        ConfigError: with the override that has the most values.
    """
    num_values = {str(item.input_line): count_values(item) for item in overrides}
    num_runs = math.prod(num_values.values())
    if num_runs > MAX_RUNS:
        largest = max(num_values, key=lambda line: num_values[line])
        number = "endlessly many" if num_runs == math.inf else f"{num_runs:,}"
        raise ConfigError(
            f"{largest}: makes a sweep of {number} runs, and one may have {MAX_RUNS:,}; give fewer"
            " values"
        )


def count_values(override: Override) -> float:
    """Return how many values an override has; those of a range, which may have no end, are not
    listed for that.
    """
    value = override.value()
    if isinstance(value, RangeSweep):
        start, stop, step = (Decimal(str(item)) for item in (value.start, value.stop, value.step))
        if not step:
            return 0  # listing it says what is wrong
        if not (start.is_finite() and stop.is_finite() and step.is_finite()):
            return math.inf
        return max(0, math.ceil((stop - start) / step))
    if override.is_discrete_sweep():
        return sum(1 for _ in override.sweep_iterator())
    return 1


def _sweep_texts(override: Override) -> list[str]:
    """Return the values of a sweep as the right-hand sides of overrides."""
    texts = []
    values = override.sweep_iterator()
    for value, text in zip(values, override.sweep_string_iterator(), strict=True):
        # Hydra writes True for what a user writes as true, and a row's label is made of it.
        texts.append(row_label(value) if isinstance(value, bool) else text)
    return texts
