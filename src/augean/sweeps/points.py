"""Say what the points of a grid are made of: its rows, their labels and the winners of studies."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hydra.core.override_parser.types import Override

from augean.config.labels import find_label, value_label
from augean.config.override_text import command_in
from augean.config.schema import Config, TableConfig
from augean.config.sweep_rows import STUDY_PREFIX
from augean.config.validation import flatten_config
from augean.errors import ConfigError
from augean.override_key import override_key
from augean.store.record_identity import EXECUTION_KEY, record_path
from augean.store.record_values import split_row_keys
from augean.store.sweep_record import SweepRecord, read_record

# At most 150 characters, and no dot in front: record names become file names.
RECORD_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,149}"
RECORD_NAME_RULE = "letters, digits, '_', '-', '+' and '.' only, as it names a file"


@dataclass(frozen=True)
class Point:
    """One job, before it is composed."""

    overrides: tuple[str, ...]
    row: str | None = None
    """Label of the job's row, which values of swept keys may follow. None where the whole label is
    made of values: those of the row keys, or of the swept keys."""


def read_finished_study(
    outputs: Path, item: str, suffix: str, overrides: Sequence[str] = ()
) -> SweepRecord:
    """Read the record of a study whose winner is a row.

    Args:
        item: such as `study:tune_sgd`.
        suffix: of the table's record, which stands for its overrides.
        overrides: of the table.

    Raises:
        AugeanError: when there is no such record, or its study still goes on.
    """
    name = item.removeprefix(STUDY_PREFIX)
    if not re.fullmatch(RECORD_NAME, name):
        raise ConfigError(f"hydra.sweeper.rows: {item}: {RECORD_NAME_RULE}")
    # The study of the same settings has the table's suffix. One with a name of its own has no
    # suffix, so its overrides are compared instead.
    path = record_path(outputs, f"{name}{suffix}")
    record = None
    if path.exists():
        record = read_record(path)
    elif record_path(outputs, name).exists():
        record = read_record(record_path(outputs, name))
        _refuse_other_settings(item, record, overrides)
    if record is None:
        raise ConfigError(f"hydra.sweeper.rows: {item} has no record {path}; run that study first")
    if not record.winner:
        command = command_in(record.command, outputs)
        raise ConfigError(f"hydra.sweeper.rows: {item} has no winner yet; to go on: {command}")
    return record


def _refuse_other_settings(item: str, study: SweepRecord, overrides: Sequence[str]) -> None:
    """Refuse the winner of a study of other settings than the table's.

    Args:
        item: as in the row, for messages.
        overrides: of the table.

    Raises:
        ConfigError: with what differs.
    """
    theirs = _shared_settings(study.overrides, study)
    ours = _shared_settings(overrides, study)
    if theirs == ours:
        return
    lines = []
    for name, items, others in (("the study", theirs, ours), ("the table", ours, theirs)):
        if own := sorted(items - others):
            lines.append(f"{name} has {' '.join(own)}")
    raise ConfigError(
        f"hydra.sweeper.rows: {item} has no record of the table's settings:"
        f" {', '.join(lines)}; give both the same"
    )


def refuse_other_choices(item: str, study: SweepRecord, choices: Mapping[str, str]) -> None:
    """Refuse the winner of a study whose file chooses other options than the table's.

    Args:
        item: as in the row, for messages.
        choices: option of each config group, as the table's file has it.

    Raises:
        ConfigError: with what differs.
    """
    # What the winner sets itself is set in the table's row too.
    set_by_winner = {override_key(setting) for setting in study.setting}
    theirs = []
    ours = []
    for group, option in study.choices.items():
        if group not in set_by_winner and option != choices.get(group):
            theirs.append(f"{group}={option}")
            ours.append(f"{group}={choices.get(group)}")
    if theirs:
        raise ConfigError(
            f"hydra.sweeper.rows: {item} was tuned for {' '.join(theirs)}, and the table has"
            f" {' '.join(ours)}; choose the same in both files"
        )


def _shared_settings(overrides: Sequence[str], study: SweepRecord) -> set[str]:
    """Return the overrides in which a study and a table that has its winner must agree: without
    the searched keys, the seeds and the table's rows.
    """
    settings = {}
    for text in overrides:
        setting = text.lstrip("+").removeprefix("hydra.sweeper.params.")
        key = override_key(setting)
        if key not in study.space and key != "seed" and not EXECUTION_KEY.match(setting):
            settings[key] = setting  # the last one of a key counts, whatever the order of others
    return set(settings.values())


def insert_settings(items: Sequence[str], studies: Mapping[str, SweepRecord]) -> list[str]:
    """Replace the name of each study in a row by the overrides of its winner."""
    overrides: list[str] = []
    for item in items:
        if item in studies:
            overrides += without_seed(studies[item].setting)
        else:
            overrides.append(item)
    return overrides


def describe_budget(study: SweepRecord) -> str:
    """Return what a study was given, for the caption of a table that has its winner."""
    space = ", ".join(f"{key} {text}" for key, text in study.space.items())
    budget = f"{study.title}: {study.describe_trials()} over {space}."
    return f"{budget} {study.describe_confirmation()}".rstrip()


def without_seed(overrides: Iterable[str]) -> list[str]:
    """Return the overrides without that of the seed."""
    return [item for item in overrides if override_key(item) != "seed"]


def refuse_settings(overrides: Iterable[str]) -> None:
    """Refuse rows that differ in a setting of the sweep as a whole.

    Args:
        overrides: keys that are swept, or the overrides of a row.

    Raises:
        ConfigError: for a key of `runtime` or `hydra`, which is in no run's address.
    """
    for text in overrides:
        if EXECUTION_KEY.match(text):
            key = override_key(text)
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


def table_keys(table: TableConfig, *, has_rows: bool = False) -> list[str]:
    """Return the keys whose values are a row's label: those of the row, then that of the column.

    Args:
        has_rows: the sweep names its rows in `hydra.sweeper.rows` or `ablate`.

    Raises:
        ConfigError: for a column without a row beside it.
    """
    row_keys = split_row_keys(table.row)
    if table.column is None:
        return row_keys
    if not row_keys or has_rows or table.column in row_keys:
        raise ConfigError(
            f"runtime.table.column={table.column}: needs another key as runtime.table.row, and"
            " neither hydra.sweeper.rows nor ablate"
        )
    return [*row_keys, table.column]


def column_label(config: Config) -> str | None:
    """Return the label of a job's column; None where the table has no columns."""
    key = config.runtime.table.column
    return None if key is None else value_label(key, flatten_config(config)[key])


def with_row_labels(record: SweepRecord) -> SweepRecord:
    """Return the record with the labels of its rows wherever a row is named, however it is written
    there: `baseline: no` is the row `false`.

    Raises:
        ConfigError: for a baseline that is not among the rows.
    """
    rows = [job.row for job in record.jobs]
    baseline = record.baseline
    if baseline is not None:
        baseline = find_label(baseline, rows)
        if baseline is None:
            # The rows of two factors have commas of their own.
            separator = "; " if any("," in row for row in rows) else ", "
            raise ConfigError(
                f"runtime.table.baseline={record.baseline}: not among the rows"
                f" {separator.join(dict.fromkeys(rows))}; choose one of them with"
                " runtime.table.baseline=..., or none with runtime.table.baseline=null"
            )
    # Published numbers may be of rows that this launch leaves out.
    reference = {find_label(row, rows) or row: item for row, item in record.reference.items()}
    # `augean settle` notes its seeds by row as well.
    design = dict(record.design)
    if "seeds" in design:
        seeds: Mapping[str, int] = design["seeds"]
        design["seeds"] = {find_label(row, rows) or row: number for row, number in seeds.items()}
    return replace(record, baseline=baseline, reference=reference, design=design)
