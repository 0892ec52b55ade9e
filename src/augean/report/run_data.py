"""Gather all runs of a report as one JSON, which the page's list of runs and its charts read.

Each run is there once. Its entries stand at the same place in several lists, one list for each kind
of entry, so that names of entries are not repeated for thousands of runs.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy
import pandas

from augean.analysis.comparison import Table
from augean.analysis.run import Run
from augean.report import outdated, tables
from augean.report.figures.plotting import COLOURS, style_of
from augean.report.figures.row_styles import colour_number, row_styles
from augean.report.page_svg import DARK

MAX_CURVES = 10_000
"""Runs beyond which the JSON has no curves: they would make the page too large to open."""
MAX_POINTS = 400_000
"""Points of all curves; with more of them each curve keeps every second or third point."""
MAX_KEYS = 12
"""Config keys beside the rows; all others are in runs.csv."""
HIGHEST_EPOCH = 10**9
"""Metrics may name any number, and JavaScript counts no further than this without loss."""


def gather_runs(
    runs: Sequence[Run],
    all_tables: Sequence[Table],
    titles: Mapping[str, str],
    metrics: pandas.DataFrame,
    command: Callable[[Run], str],
) -> str:
    """Return the JSON, in which "<" is escaped so that it may stand in a page.

    Args:
        runs: each once, those in tables first.
        titles: of the tables, by the name of their record.
        metrics: of the runs in tables, one line an epoch.
        command: gives what trains a run again; "" where nothing does.
    """
    places = {run.id: place for place, run in enumerate(runs)}
    data = _scores(runs)
    # Many commands differ in the id alone, which the page puts back in.
    data["command"] = _repeated([tuple(command(run).split(run.id)) for run in runs])
    data["keys"] = _key_values(runs, all_tables)
    data["palettes"] = _palettes()
    data["tables"] = [_table(table, titles, places) for table in all_tables]
    data |= _curves(runs, metrics)
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # "</script>" in a label would end the script, and "<!--" would change how its end is read.
    return text.replace("<", "\\u003c")


def _palettes() -> dict[str, list[str]]:
    """Return the colours of the figures for both themes, so that a row has one in the whole page.

    They are in the order of `COLOURS`.
    """
    light = [colour.lower() for colour in COLOURS]
    return {"light": light, "dark": [DARK.get(colour, colour) for colour in light]}


def _scores(runs: Sequence[Run]) -> dict[str, Any]:
    """Return what the list of runs shows of each, but for its command and its tables."""
    seeds = []
    states = []
    validation: list[float | None] = []
    test: list[float | None] = []
    seconds: list[float | None] = []
    outdated_reasons = {}
    for place, run in enumerate(runs):
        seeds.append(run.seed)
        states.append(str(run.state))
        test.append(_percent(run.test_accuracy))
        if run.summary is None:
            validation.append(None)
            seconds.append(None)
        else:
            validation.append(_percent(run.summary.val_accuracy))
            seconds.append(_rounded_seconds(run.summary.seconds))
        if run.freshness is not None and outdated.is_outdated(run):
            outdated_reasons[place] = run.freshness.reason
    return {
        "id": [run.id for run in runs],
        "seed": seeds,
        "state": _repeated(states),
        "validation": validation,
        "test": test,
        "seconds": seconds,
        "outdated": outdated_reasons,
    }


def _repeated(values: Sequence[Any]) -> dict[str, Any]:
    """Return values that repeat as a list of the different ones, and each one's place in it."""
    numbers: dict[Any, int] = {}
    places = [numbers.setdefault(value, len(numbers)) for value in values]
    return {"values": list(numbers), "of": places}


def _percent(fraction: float | None) -> float | None:
    """Return a fraction as a percentage, with the digits that the page shows."""
    if fraction is None or not math.isfinite(fraction):
        return None
    return round(100 * fraction, 2)


def _rounded_seconds(seconds: float | None) -> float | None:
    """Return seconds with the digits that the page shows."""
    if seconds is None or not math.isfinite(seconds):
        return None
    if seconds < 100:
        return round(seconds, 1)
    return round(seconds)


def _key_values(runs: Sequence[Run], all_tables: Sequence[Table]) -> dict[str, Any]:
    """Return the values of config keys in which runs of one table differ, the rows' keys first."""
    keys: dict[str, None] = {}
    for table in all_tables:
        keys |= dict.fromkeys(table.sweep.record.row_keys)
    for table in all_tables:
        keys |= dict.fromkeys(_differing_keys(table))
    # It has a list of its own.
    keys.pop("seed", None)
    columns = {}
    for key in keys:
        values = [_plain_value(run.config.get(key)) for run in runs]
        if len(set(values)) > 1:
            columns[key] = _repeated(values)
        if len(columns) == MAX_KEYS:
            break
    return columns


def _differing_keys(table: Table) -> list[str]:
    """Return the config keys in which a table's runs differ, in the order of the config."""
    configs: list[Mapping[str, Any]] = []
    for run in runs_of(table):
        if run.summary is not None:
            configs.append(run.summary.config)
    if not configs:
        return []
    first = configs[0]
    differing = set()
    for config in configs[1:]:
        # Most configs are alike, which one comparison of all values tells.
        if config == first:
            continue
        for key, value in config.items():
            if first.get(key) != value:
                differing.add(key)
    return [key for key in first if key in differing]


def _plain_value(value: object) -> str | float | None:
    """Return a config's value as JSON and a chart know it; a list or a mapping becomes text."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return str(value)


def runs_of(table: Table) -> list[Run]:
    """Return the runs of a table, or of a study's trials, which are no rows of its table."""
    if table.sweep.job_runs:
        return [run for _, run in table.sweep.job_runs]
    return list(table.sweep.trial_runs)


def _table(table: Table, titles: Mapping[str, str], places: Mapping[str, int]) -> dict[str, Any]:
    """Return a table's name and title, its rows, and the places of its runs in the other lists.

    The colours of its rows are places in the palettes; grey rows have none.
    """
    record = table.sweep.record
    pairs = [(job.row, job.id) for job, _ in table.sweep.job_runs]
    if not pairs:
        # A filter leaves some of them out of the report.
        pairs = [("trials", run.id) for run in table.sweep.trial_runs if run.id in places]
    labels = _repeated([label for label, _ in pairs])
    # The trials of a study are all of one colour, the first.
    styles = row_styles(table) if table.rows else {"trials": style_of(0)}
    baseline = None
    for row in table.rows:
        if row.label == table.baseline and math.isfinite(row.accuracy.mean):
            baseline = row.accuracy.mean
    return {
        "name": record.name,
        "title": titles[record.name],
        "anchor": tables.anchor(record.name),
        "trials": not table.sweep.job_runs,
        "baseline": baseline,
        "rows": labels["values"],
        "row": labels["of"],
        "colours": [colour_number(styles, label) for label in labels["values"]],
        "runs": [places[id_] for _, id_ in pairs],
    }


def _curves(runs: Sequence[Run], metrics: pandas.DataFrame) -> dict[str, Any]:
    """Return the validation accuracy of each run by epoch.

    Returns:
        "curves": by run the first value in hundredths of a percent, then the change from each
        value to the next, which takes half the room of the values; None for a run without any.
        "epochs": by the place of a run the epochs of its values, as differences likewise, where
        they are not 1, 2, 3 and so on.
    """
    values = metrics.val_accuracy.to_numpy(float)
    epochs = metrics.epoch.to_numpy(float)
    is_usable = numpy.isfinite(values) & numpy.isfinite(epochs)
    if len(runs) > MAX_CURVES or not is_usable.any():
        return {"curves": None, "epochs": {}}
    # By directory the places of the run's lines among the usable ones.
    lines_of = metrics[is_usable].groupby("directory", observed=True).indices
    fractions = numpy.clip(values[is_usable], 0, 1)
    hundredths = (10_000 * fractions).round().astype(int)
    bounded_epochs = numpy.clip(epochs[is_usable], 0, HIGHEST_EPOCH)
    whole_epochs = bounded_epochs.astype(int)
    stride = math.ceil(len(hundredths) / MAX_POINTS)
    curves: list[list[int] | None] = []
    uneven_epochs = {}
    for place, run in enumerate(runs):
        if run.directory not in lines_of:
            curves.append(None)
            continue
        # Counted from the end, so that the last epoch is always there.
        points = lines_of[run.directory][::-stride][::-1]
        curves.append(_changes(hundredths[points]))
        steps = _changes(whole_epochs[points])
        if steps != [1] * len(steps):
            uneven_epochs[place] = steps
    return {"curves": curves, "epochs": uneven_epochs}


def _changes(values: "numpy.typing.NDArray[numpy.int_]") -> list[int]:
    """Return the first value, then the change from each value to the next."""
    changes: list[int] = numpy.diff(values, prepend=0).tolist()
    return changes
