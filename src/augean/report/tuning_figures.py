"""Draw what the trials of studies scored, and the best score to expect of fewer trials."""

from collections.abc import Sequence
from pathlib import Path

import numpy
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from augean.analysis.comparison import Table
from augean.analysis.load import Contents
from augean.analysis.simultaneous import Array
from augean.report.plotting import Picture, finish_figure, save_figure, style_of
from augean.store.sweep_record import SweepRecord

TRIAL_COLOUR = "#8C959F"


def draw_tuning(contents: Contents, table: Table, folder: Path) -> list[Picture]:
    """Draw the tuning of a study, or of a table whose rows are winners of studies.

    Return no picture for other records, or where no study has two finished trials.

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
        caption += f" {study.title}: {_study_text(study)}. {study.describe_confirmation()}".rstrip()
    picture = save_figure(
        _budget_figure(studies),
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


def _budget_figure(studies: Sequence[tuple[SweepRecord, Array]]) -> Figure:
    """Draw the expected best score of each study by its number of trials.

    Args:
        studies: with the scores of their finished trials, in percent.
    """
    figure = Figure(figsize=(5.6, 3.3))
    axes = figure.subplots()
    styles = {}
    for index, (study, scores) in enumerate(studies):
        colour, marker = style_of(index)
        styles[study.title] = (colour, marker)
        num_trials = numpy.arange(1, len(scores) + 1)
        # The dots of several studies could not be told apart.
        if len(studies) == 1:
            axes.plot(num_trials, scores, "o", color=TRIAL_COLOUR, markersize=3)
        axes.plot(
            num_trials,
            expected_best(scores),
            color=colour,
            marker=marker,
            markersize=4,
            markevery=max(1, len(scores) // 6),
        )
    axes.set_xlabel("trials")
    axes.set_title("expected best validation accuracy, %")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    finish_figure(figure, styles, {})
    return figure


def _scores(study: SweepRecord) -> Array:
    """Return validation accuracy in percent of every finished trial, in their order."""
    scores = []
    for trial in study.trials:
        # The score of a pruned trial is one of fewer epochs.
        if trial.state == "complete" and trial.score is not None:
            scores.append(100 * trial.score)
    return numpy.array(scores)


def _study_text(study: SweepRecord) -> str:
    """Return the number of trials and the search space, in words."""
    text = study.describe_trials()
    num_pruned = sum(trial.state == "pruned" for trial in study.trials)
    if num_pruned:
        text += f", {num_pruned} of them pruned"
    space = ", ".join(f"{key} {values}" for key, values in study.space.items())
    return f"{text}, over {space}"


def expected_best(scores: Sequence[float] | Array) -> Array:
    """Return the expected maximum of 1, 2, ..., N draws with replacement from N scores.

    Equation 4 of Dodge et al. 2019.
    """
    ordered = numpy.sort(numpy.asarray(scores, dtype=float))
    # The chance that one draw is among the i lowest scores, for i = 0 to N.
    chances = numpy.arange(len(ordered) + 1) / len(ordered)
    budgets = numpy.arange(1, len(ordered) + 1)
    # The same for the best of so many draws: a line a budget, N + 1 columns.
    chances_of_best = chances[None, :] ** budgets[:, None]
    # The chance that the best is exactly the i-th lowest score.
    weights = numpy.diff(chances_of_best, axis=1)
    expected: Array = (weights * ordered).sum(axis=1)
    return expected
