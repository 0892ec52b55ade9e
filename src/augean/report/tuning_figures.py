"""Draw figures of tuning: what a study's trials scored, and what to expect of a budget of so many
trials.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from augean.analysis.comparison import Array, Table
from augean.analysis.load import Contents
from augean.report.plotting import COLOURS, MARKERS, Picture, finish_figure, save_figure
from augean.store.sweep_record import SweepRecord


def draw_tuning(contents: Contents, table: Table, folder: Path) -> list[Picture]:
    """The tuning figure of a study, or of a table whose rows are winners of studies; none for other
    records, nor where no study has two finished trials, of which a budget could be drawn.
    """
    record = table.sweep.record
    records = {sweep.record.name: sweep.record for sweep in contents.sweeps}
    studies = (
        [record]
        if record.kind == "study"
        else [records[name] for name in record.studies if name in records]
    )
    scored = [(study, scores) for study in studies if len(scores := _scores(study)) > 1]
    if not scored:
        return []
    figure, looks = Figure(figsize=(5.6, 3.3)), {}
    axes = figure.subplots()
    for index, (study, scores) in enumerate(scored):
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
        looks[study.title] = (colour, marker)
        numbers = numpy.arange(1, len(scores) + 1)
        if len(scored) == 1:
            axes.plot(numbers, scores, "o", color="#8C959F", markersize=3)
        every = max(1, len(scores) // 6)
        axes.plot(
            numbers,
            expected_best(scores),
            color=colour,
            marker=marker,
            markersize=4,
            markevery=every,
        )
    axes.set_xlabel("trials")
    axes.set_title("expected best validation accuracy, %")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    finish_figure(figure, looks, {})
    dots = " Dots: the trials in their order." if len(scored) == 1 else ""
    caption = (
        "Expected best validation accuracy against tuning budget: the mean of the best of so many"
        f" trials, drawn with replacement from those that were finished (Dodge et al. 2019).{dots} "
        + " ".join(f"{study.title}: {_budget(study)}." for study, _ in scored)
    )
    return [
        save_figure(
            figure,
            folder / "figures",
            f"{record.name}_tuning",
            caption,
            f"{record.title}: tuning budget",
        )
    ]


def _scores(study: SweepRecord) -> Array:
    """Validation accuracy in percent of every finished trial, in their order."""
    return numpy.array(
        [
            100 * job.score
            for job in study.trials
            if job.state == "complete" and job.score is not None
        ]
    )


def _budget(study: SweepRecord) -> str:
    pruned = sum(job.state == "pruned" for job in study.trials)
    space = ", ".join(f"{key} {text}" for key, text in study.space.items())
    return (
        f"{study.num_trials} trials{f', {pruned} of them pruned' if pruned else ''}, over {space}"
    )


def expected_best(scores: Sequence[float] | Array) -> Array:
    """Expected maximum of 1, 2, ..., N draws with replacement from N scores (Dodge et al. 2019,
    equation 4).
    """
    ordered = numpy.sort(numpy.asarray(scores, dtype=float))
    ranks = numpy.arange(len(ordered) + 1) / len(ordered)
    budgets = numpy.arange(1, len(ordered) + 1)[:, None]
    result: Array = (numpy.diff(ranks[None, :] ** budgets, axis=1) * ordered).sum(1)
    return result
