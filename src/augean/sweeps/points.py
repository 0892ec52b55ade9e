"""List the points of a grid: the product of its overrides, its rows and the winners of studies."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override

from augean.errors import AugeanError, ConfigError
from augean.override_text import override_key
from augean.store.sweep_record import PLACE, SweepRecord, read_record, same_overrides

RECORD_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,149}"
RECORD_NAME_RULE = "letters, digits, '_', '-', '+' and '.' only, as it names a file"
STUDY_PREFIX = "study:"
"""How a row begins that stands for the winner of a study."""
LUCK_KEYS = ("seed", "dataset.split_seed")
"""Keys whose values are neither better nor worse than others."""
EMPTY_SWEEP = "the sweep is empty: one of its keys has no values"


@dataclass(frozen=True)
class Point:
    """One job, before it is composed."""

    overrides: tuple[str, ...]
    row: str | None = None
    """Label of its row; None: the values of the row's keys, or of what is swept."""


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
        places = []
        for place, item in enumerate(effective_overrides):
            if bare_key(item) == key and not item.is_delete():
                places.append(place)
        if not places or override.is_delete() or _merges(override):
            effective_overrides.append(override)
            continue
        following = effective_overrides[places[0] :]
        others = [item for place, item in enumerate(effective_overrides) if place not in places]
        # After `a.b=1 a={b:2}` the value `a.b=3` is the last word.
        is_crossed = any(_nests(bare_key(item), key) for item in following)
        others.insert(len(others) if is_crossed else places[0], override)
        effective_overrides = others
    return effective_overrides


def _merges(override: Override) -> bool:
    if override.is_list_extend():
        return True
    if not override.is_sweep_override():
        return isinstance(override.value(), dict)
    if not override.is_choice_sweep():
        return False
    values = list(override.sweep_iterator())
    return bool(values) and all(isinstance(value, dict) for value in values)


def _nests(first: str, second: str) -> bool:
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
    axes: list[list[str]] = []
    for override in effective(overrides):
        key = override.get_key_element()
        if not override.is_sweep_override():
            axes.append([str(override.input_line)])
        elif override.is_discrete_sweep():
            axes.append([f"{key}={value}" for value in override.sweep_string_iterator()])
        else:
            raise AugeanError(
                f"{override.input_line}: a grid needs a list of values such as {key}=a,b,c"
            )
    return list(product(*axes))


def read_rows(rows: Any, ablate: Any) -> dict[str | None, list[str]]:
    """Read `hydra.sweeper.rows` and `ablate` as label to overrides; without them there is one row,
    which adds nothing and has no label of its own.

    Raises:
        ConfigError: for a value that is not a list.
    """
    by_label: dict[str | None, list[str]] = {}
    for label, items in (rows or {}).items():
        by_label[label] = _check_list(f"hydra.sweeper.rows.{label}", items)
    if ablate:
        by_label["base"] = []
    for key, values in (ablate or {}).items():
        for value in _check_list(f"hydra.sweeper.ablate.{key}", values):
            by_label[f"{key}={value}"] = [f"{key}={value}"]
    return by_label or {None: []}


def _check_list(key: str, items: Any) -> list[Any]:
    if not isinstance(items, list):
        raise ConfigError(f"{key}: must be a list, [{'' if items is None else items}]")
    return items


def read_winner(
    outputs: Path, item: str, suffix: str, overrides: Sequence[str] = ()
) -> SweepRecord:
    """Read the record of a study whose winner is a row.

    Args:
        item: such as `study:tune_sgd`.
        suffix: of the record's name. A table of other settings needs studies of those settings.
        overrides: of the table. A study with a name of its own has no suffix, and must have them.

    Raises:
        AugeanError: when there is no such record, or its study still goes on.
    """
    name = item.removeprefix(STUDY_PREFIX)
    if not re.fullmatch(RECORD_NAME, name):
        raise ConfigError(f"hydra.sweeper.rows: {item}: {RECORD_NAME_RULE}")
    path = outputs / "sweeps" / f"{name}{suffix}.json"
    record = None
    if path.exists():
        record = read_record(path)
    elif path.with_name(f"{name}.json").exists():
        named = read_record(path.with_name(f"{name}.json"))
        record = named if same_overrides(named.overrides, overrides) else None
    if record is None:
        raise ConfigError(f"hydra.sweeper.rows: {item} has no record {path}; run that study first")
    if not record.winner:
        raise ConfigError(
            f"hydra.sweeper.rows: {item} has no winner yet; to go on: {record.command}"
        )
    return record


def check_study_name(outputs: Path, name: str | None) -> None:
    """Check a study's own name, which its record has too.

    Raises:
        AugeanError: for a name that cannot name a file, or that a grid has.
    """
    if name is None:
        return
    if not re.fullmatch(RECORD_NAME, name):
        raise ConfigError(f"hydra.sweeper.study_name={name}: {RECORD_NAME_RULE}")
    path = outputs / "sweeps" / f"{name}.json"
    if path.exists() and read_record(path).kind != "study":
        raise ConfigError(f"hydra.sweeper.study_name={name}: a grid has this name; take another")


def insert_winners(items: Sequence[str], winners: Mapping[str, SweepRecord]) -> list[str]:
    """Return a row's overrides with those of the winners in place of their names."""
    overrides: list[str] = []
    for item in items:
        if item in winners:
            overrides += without_seed(winners[item].setting)
        else:
            overrides.append(item)
    return overrides


def describe_budget(study: SweepRecord) -> str:
    """Return what a study was given, for the caption of a table that has its winner."""
    space = ", ".join(f"{key} {text}" for key, text in study.space.items())
    return f"{study.title}: {study.num_trials} trials over {space}."


def without_seed(overrides: Iterable[str]) -> list[str]:
    """Return overrides less the one of the seed."""
    return [item for item in overrides if override_key(item) != "seed"]


def refuse_settings(overrides: Iterable[str]) -> None:
    """Refuse rows that differ in a setting of the sweep as a whole.

    Args:
        overrides: keys that are swept, or the overrides of a row.

    Raises:
        ConfigError: for a key of `runtime` or `hydra`, which is in no run's address.
    """
    for text in overrides:
        if PLACE.match(text):
            key = override_key(text)
            raise ConfigError(
                f"{key}: is a setting of the sweep as a whole and takes one value, the same for all"
                f" of its runs; a text with commas needs two pairs of quotes: '{key}=\"a, b\"'"
            )


def refuse_luck(space: Mapping[str, str]) -> None:
    """Refuse a study that would choose the seed on which its runs happen to be best.

    Args:
        space: searched key to its values, as they are written.

    Raises:
        ConfigError: for a seed, with what to write instead.
    """
    for key in LUCK_KEYS:
        if key in space:
            raise ConfigError(
                f"{key}={space[key]}: a study would choose the luckiest seed; give {key} one value,"
                " and train the winner on several seeds with hydra.sweeper.final_seeds=3"
            )
