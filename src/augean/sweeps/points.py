"""List the points of a grid: the product of its overrides, its rows and the winners of studies."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from hydra.core.override_parser.types import Override

from augean.config.labels import find_label, row_label
from augean.config.override_text import runtime_text_keys, text_override
from augean.config.sweep_rows import STUDY_PREFIX
from augean.errors import AugeanError, ConfigError
from augean.store.sweep_record import SweepRecord, read_record

RECORD_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,149}"
RECORD_NAME_RULE = "letters, digits, '_', '-', '+' and '.' only, as it names a file"


@dataclass(frozen=True)
class Point:
    """One job, before it is composed."""

    overrides: tuple[str, ...]
    row: str | None = None
    """Label of its row, before the values of what is swept; None: the values of the row's keys, or
    of what is swept."""


def swept_keys(overrides: Sequence[Override]) -> list[str]:
    """List the keys with several values, as they are written."""
    return [override.get_key_element() for override in overrides if override.is_sweep_override()]


def keep_text(overrides: Sequence[Override]) -> list[str]:
    """Return overrides as lines, with free text below `runtime` in quotes: a comma in a title does
    not make two values.
    """
    text_keys = runtime_text_keys()
    lines = []
    for override in overrides:
        line = str(override.input_line)
        key = override.get_key_element()
        if override.is_sweep_override() and key.lstrip("+") in text_keys:
            line = text_override(key, line.partition("=")[2])
        lines.append(line)
    return lines


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
            axes[key] = [f"{key}={text}" for text in _sweep_texts(override)]
        else:
            raise AugeanError(
                f"{override.input_line}: a grid needs a list of values such as {key}=a,b,c"
            )
    return list(product(*axes.values()))


def _sweep_texts(override: Override) -> list[str]:
    """Return the values of a sweep as the right-hand sides of overrides."""
    texts = []
    values = override.sweep_iterator()
    for value, text in zip(values, override.sweep_string_iterator(), strict=True):
        # Hydra writes True for what a user writes as true, and a row's label is made of it.
        texts.append(row_label(value) if isinstance(value, bool) else text)
    return texts


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


def refuse_several_values(label: str | None, overrides: Sequence[Override]) -> None:
    """Refuse a row that would be several.

    Raises:
        ConfigError: for an override with several values.
    """
    for override in overrides:
        if override.is_sweep_override():
            raise ConfigError(
                f"hydra.sweeper.rows.{label}: {override.input_line} has several values; a row takes"
                " one: write a row for each, or sweep the key in hydra.sweeper.params"
            )


def with_row_labels(record: SweepRecord, rows: Sequence[str]) -> SweepRecord:
    """Return the record with the labels of its rows wherever a row is named, however it is written
    there: `baseline: no` is the row `false`.

    Raises:
        ConfigError: for a baseline that is not among the rows.
    """
    baseline = record.baseline
    if baseline is not None:
        baseline = find_label(baseline, rows)
        if baseline is None:
            raise ConfigError(
                f"runtime.table.baseline={record.baseline}: not among the rows"
                f" {', '.join(dict.fromkeys(rows))}; choose one of them with"
                " runtime.table.baseline=..., or none with runtime.table.baseline=null"
            )
    # Published numbers may be of rows that this launch leaves out.
    reference = {find_label(row, rows) or row: item for row, item in record.reference.items()}
    design = dict(record.design)
    if "seeds" in design:
        seeds: Mapping[str, int] = design["seeds"]
        design["seeds"] = {find_label(row, rows) or row: number for row, number in seeds.items()}
    return replace(record, baseline=baseline, reference=reference, design=design)
