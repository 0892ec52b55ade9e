"""A table as text and as CSV: its columns, its facts, its gaps. Templates set them into files."""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import pandas

from augean.analysis.comparison import Estimate, Row, Table
from augean.config.override_text import command_in
from augean.report import outdated
from augean.report.row_names import baseline_name, row_heading
from augean.report.run_facts import FACTS, run_facts
from augean.store.summary import RunState
from augean.terminal import counted

STATES = tuple(RunState)
"""In the order in which reports name them."""
WITHOUT_SCORE = tuple(state for state in RunState if state is not RunState.FINISHED)
NOT_COMPLETED = tuple(state for state in RunState if not state.is_completed)
INTERVAL = "95 % interval"
SD = "sd"
NEW_IMAGES = "with new images"
"""Heading of the interval for new seeds and new test images."""
LONGEST_FLOAT = 30
"""Rows up to which a LaTeX table and its caption surely fit on a page."""
OURS = "ours\u00a0− published"


@dataclass(frozen=True)
class Column:
    """A column as people read it; the CSV has the numbers in full."""

    heading: str
    kind: Literal["text", "verdict", "number", "joined"]
    """joined: a number that belongs to the column before it, such as an interval to its mean."""
    cells: list[str]

    @property
    def is_text(self) -> bool:
        """Whether the column is set flush left."""
        return self.kind in ("text", "verdict")


def number(value: float | None, digits: int = 2, *, signed: bool = False) -> str:
    """Format a number for reading: "-" where there is none, a true minus sign, never "-0.00"."""
    if value is None or math.isnan(value):
        return "-"
    # Adding 0 turns -0.0 into 0.0.
    rounded = round(value, digits) + 0.0
    sign = "+" if signed and rounded else ""
    return f"{rounded:{sign},.{digits}f}".replace("-", "\u2212")


def amount(value: float, half_width: float, *, signed: bool = False) -> str:
    """Format a difference with its interval, such as "+4.4 ± 3.5"."""
    # A second digit where the interval is narrow enough to give it a meaning.
    digits = 1 if half_width >= 1 else 2
    text = number(value, digits, signed=signed)
    if math.isnan(half_width):
        return text
    return f"{text} ± {number(half_width, digits)}"


def around(half_width: float) -> str:
    """Format the half-width of an accuracy or a difference of two as it follows its mean.

    "-" where there is none. More than 100 points say nothing: two seeds beside others can give
    thousands.
    """
    if math.isnan(half_width):
        return "-"
    if half_width > 100:
        return "± >100"
    return f"± {number(half_width)}"


def interval(estimate: Estimate, ends: str = "{} to {}") -> str:
    """Format the interval of an accuracy in percent as it follows its mean.

    An interval that leaves 0 to 100 % is cut there, and shown by its two ends.

    Args:
        ends: how the two ends are written.
    """
    low = estimate.mean - estimate.half_width
    high = estimate.mean + estimate.half_width
    if low < 0 or high > 100:
        low = max(low, 0)
        high = min(high, 100)
        return ends.format(number(low), number(high))
    return around(estimate.half_width)


def percent(fraction: float | None) -> str:
    """Format a fraction as a percentage, without the % sign."""
    if fraction is None:
        return "-"
    return number(100 * fraction)


def seconds(value: float | None) -> str:
    """Format seconds, with a decimal below a hundred."""
    if value is not None and value < 100:
        return number(value, 1)
    return number(value, 0)


def columns(table: Table) -> list[Column]:
    """Return the columns of a table, without those that would be empty."""
    rows = table.rows
    heading = row_heading(table) or "row"
    shown = [
        Column(heading, "text", [row.label for row in rows]),
        Column("n", "number", [str(row.accuracy.n) for row in rows]),
        Column("test, %", "number", [number(row.accuracy.mean) for row in rows]),
    ]
    if not table.sweep.record.design:
        halves = [interval(row.accuracy) for row in rows]
        shown.append(Column(INTERVAL, "joined", halves))
    shown.append(Column(SD, "number", [number(row.accuracy.sd) for row in rows]))
    if table.baseline is not None and len(rows) > 1:
        shown += _comparison_columns(rows, baseline_name(table))
    shown.append(Column("validation, %", "number", [number(row.val_accuracy) for row in rows]))
    shown.append(Column("seconds", "number", [seconds(row.seconds) for row in rows]))
    if any(row.published for row in rows):
        shown += _published_columns(rows)
    num_outdated = outdated.counts(table)
    if num_outdated:
        # A count of 0 is shown as "-".
        cells = [str(num_outdated[row.label] or "-") for row in rows]
        shown.append(Column("outdated", "text", cells))
    if any(row.states.total() > row.states[RunState.FINISHED] for row in rows):
        gaps = [_counts_text(row.states, WITHOUT_SCORE) for row in rows]
        shown.append(Column("without a score", "text", gaps))
    return shown


def _comparison_columns(rows: Sequence[Row], baseline: str) -> list[Column]:
    """Return the columns that compare rows with the baseline."""
    values = []
    halves = []
    halves_with_images = []
    verdicts = []
    for row in rows:
        difference = row.difference
        values.append(number(difference.value, signed=True))
        halves.append(around(difference.half_width))
        halves_with_images.append(around((difference.images_high - difference.images_low) / 2))
        verdicts.append(difference.text)
    shown = [
        Column(f"to {baseline}", "number", values),
        Column("its interval", "joined", halves),
    ]
    if has_images(rows):
        shown.append(Column(NEW_IMAGES, "number", halves_with_images))
    shown.append(Column("verdict", "verdict", verdicts))
    return shown


def has_images(rows: Sequence[Row]) -> bool:
    """Tell whether any difference has an interval for new seeds and new test images."""
    return any(not math.isnan(row.difference.images_low) for row in rows)


def _published_columns(rows: Sequence[Row]) -> list[Column]:
    """Return the columns that compare rows with the numbers that the sweep file quotes."""
    accuracies = []
    gains = []
    times = []
    for row in rows:
        accuracies.append(number(published(row)))
        gains.append(row.published_difference)
        times.append(seconds(published(row, "seconds")))
    columns = [Column("published, %", "number", accuracies)]
    # Where the data are others, a remark says so.
    if not all(math.isnan(gain) for gain in gains):
        differences = [number(gain, signed=True) for gain in gains]
        columns.append(Column(OURS, "number", differences))
    if any("seconds" in row.published for row in rows):
        columns.append(Column("published seconds", "number", times))
    return columns


def file_kinds(table: Table) -> tuple[str, ...]:
    """Return the endings of a table's files; without rows, as of a study, there is only text."""
    return ("csv", "md", "tex") if table.rows else ("md",)


def csv(table: Table) -> str:
    """Return all numbers of the table in full; an empty cell is a number that does not exist."""
    num_outdated = outdated.counts(table)
    lines = []
    for row in table.rows:
        line = _csv_line(row)
        line["outdated"] = num_outdated[row.label]
        lines.append(line)
    frame = pandas.DataFrame(lines)
    return frame.to_csv(index=False, float_format="%.10g", lineterminator="\n")


def _csv_line(row: Row) -> dict[str, Any]:
    """Return the numbers of a row by their column, accuracies in percent."""
    line = {
        "row": row.label,
        "n": row.accuracy.n,
        "test_accuracy": row.accuracy.mean,
        "half_width_95": row.accuracy.half_width,
        "sd": row.accuracy.sd,
        "difference": row.difference.value,
        "difference_low": row.difference.low,
        "difference_high": row.difference.high,
        "difference_p": row.difference.p,
        "difference_low_new_images": row.difference.images_low,
        "difference_high_new_images": row.difference.images_high,
        "difference_verdict": row.difference.text,
        "val_accuracy": row.val_accuracy,
        "seconds": row.seconds,
        "published_test_accuracy": published(row),
        "published_difference": row.published_difference,
        "published_seconds": published(row, "seconds"),
    }
    for state in STATES:
        line[state] = row.states[state]
    return line


def published(row: Row, key: str = "test_accuracy") -> float:
    """Return the published number that the sweep file quotes for the row; NaN without one."""
    return row.published.get(key, math.nan)


# Cached, as the table's files, report.md and the page all ask for them, each more than once.
@lru_cache(maxsize=64)
def facts(table: Table) -> dict[str, Counter[str]]:
    """Return what the caption states of the runs: for each key of `FACTS` its values.

    Returns:
        How many runs have each value; an empty dictionary where no run is finished.
    """
    values_by_key: dict[str, Counter[str]] = {}
    for summary in table.summaries:
        for key, value in run_facts(summary).items():
            values = values_by_key.setdefault(key, Counter())
            # A value that is not known is not counted, and its key is there all the same.
            if value:
                values[value] += 1
    return values_by_key


def remarks(table: Table) -> list[str]:
    """Return what a reader must know before comparing the rows."""
    return mixed_facts(table, FACTS) + table.remarks + outdated.remarks(table)


def mixed_facts(table: Table, keys: Iterable[str]) -> list[str]:
    """Return a sentence for each of these facts in which the runs differ.

    Args:
        keys: some of `FACTS`.
    """
    mixed = []
    for key in keys:
        values = facts(table).get(key, Counter())
        # A table that sweeps a key has several values of it on purpose.
        is_swept = any(row_key.startswith(key) for row_key in table.row_keys)
        if len(values) < 2 or is_swept:
            continue
        texts = [f"{value} ({counted(count, 'run')})" for value, count in values.most_common()]
        mixed.append(f"Mixed {key}: {'; '.join(texts)}.")
    return mixed


def selected_epochs(table: Table) -> list[str]:
    """Return which epochs' weights the runs were tested with, in words, each kind once."""
    kinds = []
    for summary in table.summaries:
        if summary.loop:
            kinds.append("epoch that the loop chose")
        elif summary.num_val:
            kinds.append("epoch with the best validation accuracy")
        else:
            kinds.append("last epoch")
    return list(dict.fromkeys(kinds))


def gap(table: Table) -> str:
    """Return what is not finished, such as "1 failed, 2 missing"; "" where nothing is missing."""
    return _counts_text(table.states, NOT_COMPLETED)


def ways_on(table: Table, outputs: Path) -> list[str]:
    """Return the commands that train what is not finished.

    Args:
        outputs: folder of the runs.
    """
    jobs = [job for job, run in table.sweep.job_runs if run.state in NOT_COMPLETED]
    return [command_in(command, outputs) for command in table.sweep.record.commands_of(jobs)]


def all_diverged(states: Counter[RunState]) -> bool:
    """Tell whether there are runs and all of them diverged, so that no score will come."""
    return 0 < states.total() == states[RunState.DIVERGED]


def _counts_text(counts: Counter[RunState], states: Sequence[RunState]) -> str:
    """Return how many runs are in each of `states`; states without a run are left out."""
    texts = []
    for state in states:
        if counts[state]:
            texts.append(f"{counts[state]} {state}")
    return ", ".join(texts)


def anchor(name: str) -> str:
    """Return the name under which pages and documents link to the table of a record.

    Records of different names have different ones.
    """
    if re.fullmatch(r"[A-Za-z0-9]+(_[A-Za-z0-9]+)*", name):
        return f"table-{name.replace('_', '-')}"
    # A label of LaTeX may not have every character; without them other names would be the same.
    plain = re.sub(r"[^A-Za-z0-9]+", "-", name)
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"table-{plain}-{digest}"
