"""Say in which setting the runs of a pass were made, and where it is not the course report's."""

import math
import numbers
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas

from augean.analysis.comparison import Row, Table
from augean.analysis.load import Contents
from augean.report.tables import STATES
from augean.reproduction.claims import TABLES
from augean.reproduction.statements import course_report
from augean.store.summary import RunSummary
from augean.store.sweep_record import SweepRecord
from augean.terminal import counted

PRUNED = "pruned"
"""How the runs of pruned trials are counted, which are interrupted on purpose."""
SETTING_COLUMNS = (
    "dataset_title",
    "num_train",
    "num_val",
    "num_test",
    "width.channels",
    "trainer.epochs",
    "trainer.batch_size",
    "precision",
    "device",
    "threads",
    "git_commit",
)
"""Columns of runs.csv that the section on the setting shows; versions of packages are added."""


def describe_setting(contents: Contents, chosen: Mapping[str, Table]) -> dict[str, Any]:
    """Return the template's variables on the runs and the setting in which they were made."""
    runs = contents.frame()
    common = _common(chosen)
    example = common.summaries[0] if common else None
    keys = [*SETTING_COLUMNS, *runs.filter(like="versions.")]
    summaries = [run.summary for run in contents.runs.values() if run.summary is not None]
    # Without the time of shorter trainings that a run continues: each hour counts once.
    seconds = sum(summary.own_seconds or 0.0 for summary in summaries)
    return {
        "common": common,
        "reduced": _describe_reductions(example, chosen) if example else [],
        "official": example is not None and example.config["dataset.name"] == "cifar10",
        "facts": {key: _values(runs, key) for key in keys},
        "states": _count_states(contents),
        "states_in_order": [*STATES, PRUNED],
        "hours": seconds / 3600,
    }


def name_stand_ins(record: SweepRecord) -> SweepRecord:
    """Return the record with each published number at the row that stands for the published one.

    A reduced setting has other widths than the course report; those at the same places of the table
    are taken for one another. By their labels alone, C = 32 would be the narrowest network of one
    and the widest of the other.
    """
    published_widths = course_report().widths
    widths = list(dict.fromkeys(job.row for job in record.jobs))
    if not record.is_of("table3_width") or len(widths) != len(published_widths):
        return record
    widths.sort(key=_as_number)
    if widths == published_widths:
        return record
    pairs = zip(widths, published_widths, strict=True)
    reference = {ours: record.reference.get(theirs, {}) for ours, theirs in pairs}
    stand_ins = f"C = {', '.join(widths)} stand for the published {', '.join(published_widths)}."
    note = f"{record.note} {stand_ins}" if record.note else stand_ins
    return replace(record, reference=reference, note=note)


def _as_number(label: str) -> float:
    """Return a width for sorting; a label that is no number, as of a custom loop, comes last."""
    try:
        return float(label)
    except ValueError:
        return math.inf


def pruned_runs(contents: Contents) -> set[str]:
    """Return the ids of the runs of pruned trials, which are not finished on purpose."""
    ids = set()
    for sweep in contents.sweeps:
        ids |= {job.id for job in sweep.record.trials if job.state == "pruned"}
    return {key for key in ids & set(contents.runs) if not contents.runs[key].state.is_completed}


def _count_states(contents: Contents) -> Counter[str]:
    """Return how many runs are in each state, where `pruned` is one of its own."""
    pruned = pruned_runs(contents)
    states: Counter[str] = Counter()
    for run_id, run in contents.runs.items():
        states[PRUNED if run_id in pruned else run.state] += 1
    return states


def describe_seeds(tables: Sequence[Table]) -> str:
    """Return the least and the most seeds of a row, such as "3 to 5"; "0" where nothing ran."""
    counts = []
    for table in tables:
        counts += [row.accuracy.n for row in table.rows if row.runs]
    low = min(counts, default=0)
    high = max(counts, default=0)
    if low == high:
        return str(low)
    return f"{low} to {high}"


def _common(chosen: Mapping[str, Table]) -> Row | None:
    """Return the row in the common setting, which Tables 1 to 4 share.

    None where none of its runs is finished.
    """
    for key in TABLES:
        table = chosen.get(key)
        if table is None:
            continue
        for row in table.rows:
            if row.label == table.baseline and row.runs:
                return row
    return None


def _describe_reductions(summary: RunSummary, chosen: Mapping[str, Table]) -> list[str]:
    """Return what stands in for the course report's setting, in words; empty where nothing does.

    Args:
        summary: of a run in the common setting.
    """
    report = course_report()
    words = []
    # 1. The common setting: data, epochs, batch size and the like.
    if summary.config["dataset.name"] != "cifar10":
        words.append(f"{summary.dataset_title} in place of CIFAR-10")
    setting = summary.config | {"num_train": summary.num_train}
    for key, value in report.common.items():
        value_here = setting.get(key, value)  # a custom loop may lack the key
        if value_here != value:
            words.append(f"{key.split('.')[-1]} {_number_text(value_here)} in place of {value:,}")
    # 2. The sweeps that have a setting of their own: widths, then epochs.
    if "table3_width" in chosen:
        widths = [row.label for row in chosen["table3_width"].rows]
        if widths != report.widths:
            words.append(
                f"in Table 3 C = {', '.join(widths)} in place of {', '.join(report.widths)}"
            )
    for key, sweep in report.sweeps.items():
        if key not in chosen or sweep.epochs is None:
            continue  # it has the common number, which was compared above
        epochs = {run.config["trainer.epochs"] for run in chosen[key].runs}
        differs = any(count != sweep.epochs for count in epochs)
        if differs:
            text = " / ".join(str(count) for count in sorted(epochs))
            words.append(f"{key}: {text} epochs in place of {sweep.epochs}")
    return words


def _values(runs: pandas.DataFrame, key: str) -> str:
    """Return all values of a column, the most frequent first.

    Where there are several, each has its number of runs.
    """
    if key not in runs:
        return ""
    counts = {}
    for value, count in runs[key].dropna().value_counts().items():
        counts[_number_text(value)] = count
    if len(counts) == 1:
        return next(iter(counts))
    return " / ".join(f"{text} ({counted(count, 'run')})" for text, count in counts.items())


def _number_text(value: Any) -> str:
    """Return a value as text, a whole number with commas; a column with gaps has it as a float."""
    if value is None:
        return "none"
    return f"{value:,.0f}" if isinstance(value, numbers.Real) else str(value)
