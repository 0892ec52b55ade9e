"""Say beside a table which of its runs are outdated, and how to train them anew."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from augean.analysis.comparison import Table
from augean.analysis.freshness import Freshness, Outdated, command_anew
from augean.analysis.run import Run
from augean.config.override_text import command_in

MAX_PARTS = 8
"""Parts of a sweep (its rows, a study's trials) that a sentence names."""


def counts(table: Table) -> Counter[str]:
    """Return how many runs of each row are outdated."""
    num_outdated: Counter[str] = Counter()
    for job, run in table.sweep.job_runs:
        if is_outdated(run):
            num_outdated[job.row] += 1
    return num_outdated


def is_outdated(run: Run) -> bool:
    """Tell whether a run's code, data or weights are known to have changed since it trained."""
    return run.freshness is not None and run.freshness.outdated == "yes"


def remarks(table: Table) -> list[str]:
    """Return a sentence for each change, and for each reason why a change is not known."""
    total = sum(1 for _ in _runs(table))
    # Runs that share a reason share a sentence.
    sentences = []
    for freshness, num_runs in _runs_by_freshness(table, "yes").items():
        runs = _runs_text(num_runs, total)
        sentences.append(f"Outdated: {freshness.reason} since {runs} trained.")
    for name in table.sweep.changed_studies:
        sentences.append(f"Outdated: another trial of {name} has won since its row was planned.")
    for freshness, num_runs in _runs_by_freshness(table, "unknown").items():
        runs = _runs_text(num_runs, total)
        sentences.append(f"Whether {runs} trained before a change is unknown: {freshness.reason}.")
    return sentences


def command(table: Table, outputs: Path) -> str:
    """Return the command that trains what is outdated anew; "" where nothing is.

    Args:
        outputs: folder of the runs.
    """
    is_needed = table.sweep.changed_studies or any(is_outdated(run) for _, run in _runs(table))
    return command_in(command_anew(table.sweep.record), outputs) if is_needed else ""


def _runs_by_freshness(table: Table, outdated: Outdated) -> dict[Freshness, Counter[str]]:
    """Count the runs of each part of the sweep that share a reason.

    Args:
        outdated: what is known of the runs that count.
    """
    counts_by_freshness: defaultdict[Freshness, Counter[str]] = defaultdict(Counter)
    for part, run in _runs(table):
        if run.freshness is not None and run.freshness.outdated == outdated:
            counts_by_freshness[run.freshness][part] += 1
    return counts_by_freshness


def _runs(table: Table) -> Iterator[tuple[str, Run]]:
    """Yield (part, run) for each run of each part: of a row, or of the study's trials."""
    for job, run in table.sweep.job_runs:
        yield f"row {job.row}", run
    for run in table.sweep.trial_runs:
        yield "the study's trials", run


def _runs_text(num_runs: Counter[str], total: int) -> str:
    """Return a text such as "3 runs of row elu, row relu were".

    Args:
        num_runs: of each part of the sweep.
        total: runs of all parts.
    """
    number = num_runs.total()
    if number == total > 1:
        return f"all {total} runs were"
    parts = list(num_runs)
    text = ", ".join(parts[:MAX_PARTS])
    if len(parts) > MAX_PARTS:
        text += f" and {len(parts) - MAX_PARTS} more"
    if number == 1:
        return f"1 run of {text} was"
    return f"{number} runs of {text} were"
