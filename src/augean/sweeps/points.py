"""List the points of a grid: the product of its overrides, its rows and the winners of studies."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override

from augean.errors import AugeanError, ConfigError
from augean.store.sweep_record import SweepRecord, read_record

RECORD_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,149}"
RECORD_NAME_RULE = "letters, digits, '_', '-', '+' and '.' only, as it names a file"
STUDY_PREFIX = "study:"
"""How a row begins that stands for the winner of a study."""


@dataclass(frozen=True)
class Point:
    """One job, before it is composed."""

    overrides: tuple[str, ...]
    row: str | None = None
    """Label of its row; None: the values of the row's keys, or of what is swept."""


def swept_keys(overrides: Sequence[Override]) -> list[str]:
    """List the keys with several values, as they are written."""
    return [override.get_key_element() for override in overrides if override.is_sweep_override()]


def expand(overrides: Sequence[Override]) -> list[tuple[str, ...]]:
    """List the product of all overrides, in the order written; the last override of a key counts,
    at the place of the first.

    Raises:
        AugeanError: for a sweep without a finite list of values.
    """
    axes: dict[str, list[str]] = {}
    for override in overrides:
        key = override.get_key_element()
        if not override.is_sweep_override():
            axes[key] = [str(override.input_line)]
        elif override.is_discrete_sweep():
            axes[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
        else:
            raise AugeanError(
                f"{override.input_line}: a grid needs a list of values such as {key}=a,b,c"
            )
    return list(product(*axes.values()))


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


def read_winner(outputs: Path, item: str, suffix: str) -> SweepRecord:
    """Read the record of a study whose winner is a row.

    Args:
        item: such as `study:tune_sgd`.
        suffix: of the record's name. A table of other settings needs studies of those settings.

    Raises:
        AugeanError: when there is no such record, or its study still goes on.
    """
    name = item.removeprefix(STUDY_PREFIX)
    if not re.fullmatch(RECORD_NAME, name):
        raise ConfigError(f"hydra.sweeper.rows: {item}: {RECORD_NAME_RULE}")
    path = outputs / "sweeps" / f"{name}{suffix}.json"
    if not path.exists():
        raise ConfigError(f"hydra.sweeper.rows: {item} has no record {path}; run that study first")
    record = read_record(path)
    if not record.winner:
        raise ConfigError(
            f"hydra.sweeper.rows: {item} has no winner yet; to go on: {record.command}"
        )
    return record


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
    return [item for item in overrides if not item.startswith("seed=")]


def refuse_settings(overrides: Iterable[str]) -> None:
    """Refuse rows that differ in a setting of the sweep as a whole.

    Args:
        overrides: keys that are swept, or the overrides of a row.

    Raises:
        ConfigError: for a key of `runtime`, which is in no run's address.
    """
    for text in overrides:
        key = text.partition("=")[0].lstrip("+~")
        if key.startswith("runtime."):
            raise ConfigError(
                f"{key}: is a setting of the sweep as a whole and takes one value, the same for all"
                f" of its runs; a text with commas needs two pairs of quotes: '{key}=\"a, b\"'"
            )
