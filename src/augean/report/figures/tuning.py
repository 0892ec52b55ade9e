"""Draw the figures of tuning: what to expect of a budget, and what trials scored by parameter."""

import math
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from augean.analysis.comparison import Table
from augean.analysis.load import Contents
from augean.analysis.studies import (
    Range,
    complete_trials,
    importances,
    is_number,
    keys_outside_space,
    range_of,
)
from augean.config.labels import row_label
from augean.report import study_table
from augean.report.figures.plotting import (
    COLOURS,
    Picture,
    finish_figure,
    save_figure,
    shorten_label,
    shorten_labels,
    style_of,
)
from augean.store.record_titles import distinct_titles
from augean.store.sweep_record import COMPLETE, SweepJob, SweepRecord
from augean.terminal import counted

TRIAL_COLOUR = "#8C959F"
"""The colour of trials as a background."""
PANELS_A_LINE = 3
"""Parameters side by side in the figure of slices."""
MAX_TICKS = 5
"""Values of a range of steps that are all named on its axis."""
MAX_PANELS = 12
"""Parameters that are drawn; of more only the first."""
TRIAL_LOOKS = {
    "complete": ("o", COLOURS[0], COLOURS[0]),
    "pruned": ("v", "none", COLOURS[1]),
    "fail": ("x", COLOURS[5], COLOURS[5]),
    "best": ("*", COLOURS[3], COLOURS[3]),
}
"""Marker, colour of its face and of its edge by a trial's state; the best trial has its own."""


def draw_tuning(contents: Contents, table: Table, folder: Path) -> list[Picture]:
    """Draw the tuning of a study, or of a table whose rows are winners of studies.

    Return no picture for other records, nor where no study has two trials with a score.

    Args:
        folder: where the files go.
    """
    record = table.sweep.record
    pictures = _draw_budgets(contents, record, folder)
    if record.kind == "study":
        pictures += _draw_slices(record, folder)
    return pictures


def _draw_budgets(contents: Contents, record: SweepRecord, folder: Path) -> list[Picture]:
    """Draw the best score to expect of a budget, for each study."""
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
    titles = distinct_titles(sweep.record for sweep in contents.sweeps)
    for study, _ in studies:
        caption += (
            f" {titles[study.name]}: {_study_text(study)}. {study.describe_confirmation()}".rstrip()
        )
    picture = save_figure(
        _budget_figure(studies, titles),
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


def _budget_figure(
    studies: Sequence[tuple[SweepRecord, NDArray[numpy.float64]]], titles: Mapping[str, str]
) -> Figure:
    """Draw the expected best score of each study by its number of trials.

    Args:
        studies: with the scores of their finished trials, in percent.
        titles: that tell them apart, by their names.
    """
    figure = Figure(figsize=(5.6, 3.3))
    axes = figure.subplots()
    styles = {}
    # A legend has no room for the ends of long titles, in which they may differ.
    short = shorten_labels([titles[study.name] for study, _ in studies])
    labels = {study.name: short[titles[study.name]] for study, _ in studies}
    if len(set(labels.values())) < len(labels):
        labels = {name: name for name in labels}
    for index, (study, scores) in enumerate(studies):
        colour, marker = style_of(index)
        styles[labels[study.name]] = (colour, marker)
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


def _scores(study: SweepRecord) -> NDArray[numpy.float64]:
    """Return validation accuracy in percent of every finished trial, in their order."""
    scores = []
    for trial in study.trials:
        # The score of a pruned trial is one of fewer epochs.
        if trial.state == COMPLETE and trial.score is not None:
            scores.append(100 * trial.score)
    return numpy.array(scores)


def _study_text(study: SweepRecord) -> str:
    """Return the number of trials and the search space, in words."""
    space = ", ".join(f"{key} {values}" for key, values in study.space.items())
    return f"{study_table.progress(study)}, over {space}"


def expected_best(scores: Sequence[float] | NDArray[numpy.float64]) -> NDArray[numpy.float64]:
    """Return the expected best of 1, 2, ..., N draws with replacement from N scores.

    Equation 4 of Dodge et al. 2019.
    """
    # The worst first.
    ordered = numpy.sort(numpy.asarray(scores, dtype=float))
    # The chance that one draw is among the i worst scores, for i = 0 to N.
    chances = numpy.arange(len(ordered) + 1) / len(ordered)
    budgets = numpy.arange(1, len(ordered) + 1)
    # The same for the best of so many draws: a line a budget, N + 1 columns.
    chances_of_best = chances[None, :] ** budgets[:, None]
    # The chance that the best is exactly the i-th worst score.
    weights = numpy.diff(chances_of_best, axis=1)
    expected: NDArray[numpy.float64] = (weights * ordered).sum(axis=1)
    return expected


def _draw_slices(study: SweepRecord, folder: Path) -> list[Picture]:
    """Draw the score of every trial over the value of each parameter, a panel a parameter.

    Nothing where fewer than two trials have a score.
    """
    if sum(trial.score is not None for trial in study.trials) < 2:
        return []
    shares = importances(study)
    searched = {key: None for trial in study.trials for key in trial.values}
    # The most important one first; without importance as in the search space, which values of a
    # custom search-space function follow.
    keys = [key for key in dict.fromkeys([*shares, *study.space, *searched]) if key in searched]
    if not keys:
        return []
    caption = (
        f"{study.title}: a point is a trial, at its value of one parameter and its validation"
        " accuracy; its other values differ from those of its neighbours too. A pruned trial is"
        " drawn at its last score, a failed one without any at the bottom."
        " Dotted: the ends of a range; values outside are drawn there."
    )
    if shares:
        listed = ", ".join(f"{key} {share:.2f}" for key, share in shares.items())
        caption += (
            f" Importance for being among the best 10 % of {len(complete_trials(study))} trials, by"
            f" PED-ANOVA (Watanabe et al. 2023): {listed}."
        )
    outside = keys_outside_space(study)
    if outside:
        caption += (
            f" No importance, as the search space in the record lacks {', '.join(outside)}; numbers"
            " among these are drawn from the smallest to the largest."
        )
    shown = keys[:MAX_PANELS]
    if len(keys) > len(shown):
        num_others = len(keys) - len(shown)
        caption += f" Not drawn: {counted(num_others, 'further parameter')}."
    picture = save_figure(
        _slices(study, shown, shares),
        folder,
        name=f"{study.name}_slices",
        caption=caption,
        alt=f"{study.title}: validation accuracy by parameter",
        csv=study_table.csv(study),
    )
    return [picture]


def _slices(study: SweepRecord, keys: Sequence[str], shares: Mapping[str, float]) -> Figure:
    num_columns = min(PANELS_A_LINE, len(keys))
    num_lines = math.ceil(len(keys) / num_columns)
    # Inches; the strip at the bottom is the legend's.
    width = 2.5 * num_columns + 0.7
    height = 2.2 * num_lines + 0.35
    figure = Figure(figsize=(width, height))
    panels = figure.subplots(num_lines, num_columns, squeeze=False, sharey=True)
    best = study.best_trial()
    for index, axes in enumerate(panels.flat):
        if index >= len(keys):
            axes.set_visible(False)
            continue
        key = keys[index]
        _draw_panel(axes, study, key, best)
        axes.set_xlabel(shorten_label(key, 30))
        if key in shares:
            axes.set_title(f"importance {shares[key]:.2f}", fontsize=8.5, fontweight="normal")
    for axes in panels[:, 0]:
        axes.set_ylabel("validation, %")
    _add_legend(figure, {trial.state for trial in study.trials if trial is not best})
    # Inches: slanted labels of choices are taller, and only with importances there are titles.
    has_slanted = any(_is_slanted(axes) for axes in panels[-1])
    figure.subplots_adjust(
        left=0.6 / width,
        right=1 - 0.15 / width,
        bottom=(1.05 if has_slanted else 0.78) / height,
        top=1 - (0.3 if shares else 0.1) / height,
        wspace=0.12,
        hspace=0.75,
    )
    return figure


def _add_legend(figure: Figure, states: Set[str | None]) -> None:
    """Add the markers of the states, and of the best trial."""
    words = {"fail": "failed", "best": "best trial"}
    handles = []
    labels = []
    for name, (marker, face, edge) in TRIAL_LOOKS.items():
        if name in states or name == "best":
            style: dict[str, Any] = {"markerfacecolor": face, "markeredgecolor": edge}
            handles.append(Line2D([], [], ls="", marker=marker, **style))
            labels.append(words.get(name, name))
    figure.legend(handles, labels, loc="lower center", ncols=len(labels))


def _is_slanted(axes: Axes) -> bool:
    return any(label.get_rotation() > 0 for label in axes.get_xticklabels())


def _draw_panel(axes: Axes, study: SweepRecord, key: str, best: SweepJob | None) -> None:
    """Draw all trials that have a value of one parameter."""
    trials = [trial for trial in study.trials if key in trial.values]
    values = [trial.values[key] for trial in trials]
    searched = range_of(study.space.get(key), values)
    if searched is not None:
        _draw_range(axes, searched)
        places = [searched.nearest(value) for value in values]
    else:
        places = _draw_choices(axes, values)
    for trial, place in zip(trials, places, strict=True):
        look = "best" if trial is best else trial.state
        if look not in TRIAL_LOOKS:
            continue  # it is still running
        marker, face, edge = TRIAL_LOOKS[look]
        style: dict[str, Any] = {
            "ls": "",
            "marker": marker,
            "markerfacecolor": face,
            "markeredgecolor": edge,
            "markersize": 9 if look == "best" else 4.5,
            "zorder": 4 if look == "best" else 3,
        }
        if trial.score is None:
            # In units of the panel's height, so that it moves no scale.
            transform = axes.get_xaxis_transform()
            axes.plot([place], [0.03], transform=transform, clip_on=False, **style)
        else:
            axes.plot([place], [100 * trial.score], **style)


def _draw_range(axes: Axes, searched: Range) -> None:
    """Show the whole range that was searched, with its ends."""
    margin = 0.04
    if searched.is_log:
        axes.set_xscale("log")
        axes.set_xticks(*_decades(searched))
        axes.minorticks_off()
        factor = (searched.high / searched.low) ** margin
        axes.set_xlim(searched.low / factor, searched.high * factor)
    else:
        if searched.num_values <= MAX_TICKS:
            axes.set_xticks(numpy.linspace(searched.low, searched.high, int(searched.num_values)))
        else:
            axes.locator_params(axis="x", nbins=MAX_TICKS + 1)
        # The usual one writes a common factor beside the axis, over its name.
        axes.xaxis.set_major_formatter(lambda value, _: _tick_label(value))
        extent = margin * (searched.high - searched.low)
        axes.set_xlim(searched.low - extent, searched.high + extent)
    if not searched.is_recorded:
        return
    for end in (searched.low, searched.high):
        axes.axvline(end, color=TRIAL_COLOUR, lw=0.8, ls=":")


def _decades(searched: Range) -> tuple[list[float], list[str]]:
    """Return powers of ten as ticks, at most five, with their labels; else the ends of the range.

    matplotlib's own labels of such a scale are formulas, which the style does not set.
    """
    lowest = math.ceil(math.log10(searched.low))
    highest = math.floor(math.log10(searched.high))
    step = max(1, math.ceil((highest - lowest) / 4))
    exponents = range(lowest, highest + 1, step)
    ticks = [10.0**exponent for exponent in exponents]
    if len(ticks) < 2:
        ticks = [searched.low, searched.high]
    return ticks, [_tick_label(tick) for tick in ticks]


def _tick_label(value: float) -> str:
    """Return a number as short as it can be, such as 0.25 or 1e-7."""
    return f"{value:g}".replace("e-0", "e-")


def _draw_choices(axes: Axes, values: Sequence[Any]) -> list[float]:
    """Show choices side by side, numbers in their order; return the place of each value."""
    choices = list({row_label(value): value for value in sorted(values, key=_order)})
    names = [shorten_label(choice, 12) for choice in choices]
    slanted = len(choices) > 3
    axes.set_xticks(
        range(len(choices)),
        names,
        rotation=30 if slanted else 0,
        ha="right" if slanted else "center",
    )
    axes.set_xlim(-0.5, len(choices) - 0.5)
    return [float(choices.index(row_label(value))) for value in values]


def _order(value: Any) -> tuple[float, str]:
    """Return a key that sorts numbers by size, and after them all else by its label."""
    return float(value) if is_number(value) else math.inf, row_label(value)
