"""Draw the figure of tuning: what trials scored, and what to expect of a budget of so many."""

from collections.abc import Sequence
from pathlib import Path

import numpy
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from augean.analysis.comparison import Table
from augean.analysis.load import Contents
from augean.analysis.simultaneous import Array
from augean.report.plotting import Picture, finish_figure, look_of, save_figure
from augean.store.sweep_record import SweepRecord

TRIAL_COLOUR = "#8C959F"


def draw_tuning(contents: Contents, table: Table, folder: Path) -> list[Picture]:
    """Draw the tuning of a study, or of a table whose rows are winners of studies.

    Nothing for other records, nor where no study has two finished trials to draw a budget of.

    Args:
        folder: where the files go.
    """
    record = table.sweep.record
    studies = []
    for study in _studies(contents, record):
        scores = _scores(study)
        if len(scores) > 1:
            studies.append((study, scores))
    if not studies:
        return []
    caption = (
        "Expected best validation accuracy against tuning budget: the mean of the best of so many"
        " trials, drawn with replacement from those that were finished (Dodge et al. 2019)."
    )
    if len(studies) == 1:
        caption += " Dots: the trials in their order."
    for study, _ in studies:
        caption += f" {study.title}: {_budget(study)}. {study.describe_confirmation()}".rstrip()
    picture = save_figure(
        _budgets(studies),
        folder,
        name=f"{record.name}_tuning",
        caption=caption,
        alt=f"{record.title}: tuning budget",
    )
    return [picture]


def _studies(contents: Contents, record: SweepRecord) -> list[SweepRecord]:
    """Return the record itself where it is a study, else the studies whose winners it has."""
    if record.kind == "study":
        return [record]
    records = {sweep.record.name: sweep.record for sweep in contents.sweeps}
    return [records[name] for name in record.studies if name in records]


def _budgets(studies: Sequence[tuple[SweepRecord, Array]]) -> Figure:
    figure = Figure(figsize=(5.6, 3.3))
    axes = figure.subplots()
    looks = {}
    for index, (study, scores) in enumerate(studies):
        colour, marker = look_of(index)
        looks[study.title] = (colour, marker)
        numbers = numpy.arange(1, len(scores) + 1)
        if len(studies) == 1:
            axes.plot(numbers, scores, "o", color=TRIAL_COLOUR, markersize=3)
        axes.plot(
            numbers,
            expected_best(scores),
            color=colour,
            marker=marker,
            markersize=4,
            markevery=max(1, len(scores) // 6),
        )
    axes.set_xlabel("trials")
    axes.set_title("expected best validation accuracy, %")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    finish_figure(figure, looks, {})
    return figure


def _scores(study: SweepRecord) -> Array:
    """Return validation accuracy in percent of every finished trial, in their order."""
    finished = [job for job in study.trials if job.state == "complete"]
    return numpy.array([100 * job.score for job in finished if job.score is not None])


def _budget(study: SweepRecord) -> str:
    """Return the number of trials and the space, in words."""
    num_pruned = sum(job.state == "pruned" for job in study.trials)
    pruned = f", {num_pruned} of them pruned" if num_pruned else ""
    space = ", ".join(f"{key} {text}" for key, text in study.space.items())
    return f"{study.describe_trials()}{pruned}, over {space}"


def expected_best(scores: Sequence[float] | Array) -> Array:
    """Return the expected maximum of 1, 2, ..., N draws with replacement from N scores.

    Equation 4 of Dodge et al. 2019.
    """
    ordered = numpy.sort(numpy.asarray(scores, dtype=float))
    ranks = numpy.arange(len(ordered) + 1) / len(ordered)
    budgets = numpy.arange(1, len(ordered) + 1)[:, None]
    result: Array = (numpy.diff(ranks[None, :] ** budgets, axis=1) * ordered).sum(1)
    return result
