"""Say in a table which of its runs are outdated, and how to train them anew."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from augean.analysis.comparison import Table
from augean.analysis.freshness import Freshness, Outdated, command_anew
from augean.analysis.run import Run

MOST_PARTS = 8
"""Rows that a sentence names."""


def counts(table: Table) -> Counter[str]:
    """Return how many runs of each row are outdated."""
    return Counter(label for label, run in _row_runs(table) if is_outdated(run))


def is_outdated(run: Run) -> bool:
    """Return whether it is known that a run's code or data have changed since."""
    return run.freshness is not None and run.freshness.outdated == "yes"


def remarks(table: Table) -> list[str]:
    """Return a sentence for each change, and for each reason why a change is not known."""
    lines = []
    for finding, parts in _parts_by_finding(table, "yes").items():
        lines.append(f"Outdated: {finding.reason} since {_listed(parts)} trained.")
    for finding, parts in _parts_by_finding(table, "unknown").items():
        lines.append(
            f"Whether {_listed(parts)} trained before a change is unknown: {finding.reason}."
        )
    return lines


def command(table: Table) -> str:
    """Return the command that trains the outdated runs of a table anew; "" where none is."""
    if any(is_outdated(run) for _, run in _runs(table)):
        return command_anew(table.sweep.record)
    return ""


def _parts_by_finding(table: Table, outdated: Outdated) -> dict[Freshness, Counter[str]]:
    """Count the runs of each row, and of a study's trials, by what was found."""
    parts: defaultdict[Freshness, Counter[str]] = defaultdict(Counter)
    for part, run in _runs(table):
        if run.freshness is not None and run.freshness.outdated == outdated:
            parts[run.freshness][part] += 1
    return parts


def _runs(table: Table) -> Iterator[tuple[str, Run]]:
    """Yield the part of the sweep that it belongs to, and each run, once a part."""
    for label, run in _row_runs(table):
        yield f"row {label}", run
    for run in table.sweep.trial_runs:
        yield "the study's trials", run


def _row_runs(table: Table) -> Iterator[tuple[str, Run]]:
    """Yield the label of its row and each run, once a row."""
    runs = {(job.row, job.id): run for job, run in table.sweep.cells}
    for (label, _), run in runs.items():
        yield label, run


def _listed(parts: Counter[str]) -> str:
    """Return such as "3 runs of row elu, row relu were"."""
    text = ", ".join(list(parts)[:MOST_PARTS])
    if len(parts) > MOST_PARTS:
        text += f" and {len(parts) - MOST_PARTS} more"
    if parts.total() == 1:
        return f"1 run of {text} was"
    return f"{parts.total()} runs of {text} were"
