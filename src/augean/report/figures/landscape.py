"""Draw Part 2's figures: the band of losses over learning rates, and the paper's measures along a
trajectory.

Each has its numbers as CSV beside it. Bands are told apart by colour and hatching.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy
import pandas
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from augean.analysis.comparison import Table
from augean.analysis.load import Contents
from augean.analysis.recordings import read_probes, read_step_losses
from augean.config.labels import row_label
from augean.report.figures.plotting import Picture, finish_figure, save_figure, style_of
from augean.store.summary import RunState

HATCHES = ("", "////", "....", "xxxx")
SMOOTHED_SHARE = 100
"""A band is smoothed by a moving average over this fraction of its steps."""
MEDIAN_OF = 9
"""Probed steps that a running median of a measure is over."""


def draw_landscapes(contents: Contents, table: Table, folder: Path) -> list[Picture]:
    """Draw the band of a record that asks for one, and the probes of runs that have them.

    Args:
        folder: where the files go.
    """
    return [*_draw_band(contents, table, folder), *_draw_probes(contents, table, folder)]


@dataclass
class _Band:
    """The runs that form one band."""

    losses: list[NDArray[numpy.float64]] = field(default_factory=list)
    """Loss of every step, one array a run."""
    rates: list[str] = field(default_factory=list)
    """Learning rates of the runs."""

    def edges(self, num_steps: int, window: int) -> "_Edges":
        """Return the smallest and the largest loss over the runs, each run smoothed first.

        Args:
            num_steps: steps that all bands of the figure have.
            window: steps of the moving average.
        """
        smoothed = [_smooth(losses[:num_steps], window) for losses in self.losses]
        stacked = numpy.stack(smoothed)  # one line a run
        return _Edges(low=stacked.min(axis=0), high=stacked.max(axis=0))


class _Edges(NamedTuple):
    """The two edges of a band, step by step."""

    low: NDArray[numpy.float64]
    high: NDArray[numpy.float64]


def _draw_band(contents: Contents, table: Table, folder: Path) -> list[Picture]:
    """Draw the band of losses by the course's recipe.

    That is the smallest and the largest loss over the runs of a group, at each step.
    """
    record = table.sweep.record
    if record.band is None:
        return []
    bands = _read_bands(contents, table, record.band)
    if not bands:
        return []
    lengths = []
    for band in bands.values():
        lengths += [len(losses) for losses in band.losses]
    # Runs of fewer epochs end the band where they end.
    num_steps = min(lengths)
    window = max(1, num_steps // SMOOTHED_SHARE)
    edges = {name: band.edges(num_steps, window) for name, band in bands.items()}
    picture = save_figure(
        _band_figure(edges, window),
        folder,
        name=f"{record.name}_band",
        caption=_band_caption(table, bands, edges, window),
        alt=f"{record.title}: bands of losses",
        csv=_band_csv(edges),
    )
    return [picture]


def _band_caption(
    table: Table,
    bands: Mapping[str, _Band],
    edges: Mapping[str, _Edges],
    window: int,
) -> str:
    """Return what the band is, how wide it is, and which runs are not in it."""
    caption = "Loss landscape"
    if table.sweep.record.figure:
        caption += f", as in the published {table.sweep.record.figure}"
    caption += (
        ": band between the smallest and the largest loss of a step over the runs of a network."
    )
    if window > 1:
        caption += f" Moving average over {window} steps."
    widths = []
    for name, (low, high) in edges.items():
        # Several seeds share a rate.
        rates = ", ".join(dict.fromkeys(bands[name].rates))
        width = (high - low).mean()
        widths.append(f"{name} {width:.3f} (rates {rates})")
    caption += f" Mean width: {'; '.join(widths)}."
    # A diverged run would widen the band by its exploding loss, and end it early.
    diverged = []
    for job, run in table.sweep.job_runs:
        if run.state is RunState.DIVERGED:
            diverged.append(f"{job.row}, seed {job.seed}")
    if diverged:
        caption += f" Diverged and left out: {'; '.join(diverged)}."
    return caption


def _read_bands(contents: Contents, table: Table, key: str) -> dict[str, _Band]:
    """Return a band for each value at the config key `key`: the finished runs that have it.

    Runs that did not record the loss of their steps are left out.
    """
    bands: dict[str, _Band] = {}
    for _, run in table.sweep.job_runs:
        if run.state is not RunState.FINISHED:
            continue
        losses = read_step_losses(contents, run)
        if losses is None:
            continue
        band = bands.setdefault(str(run.config.get(key)), _Band())
        band.losses.append(losses)
        band.rates.append(row_label(run.config.get("optimizer.lr")))
    return bands


def _band_csv(edges: Mapping[str, _Edges]) -> str:
    """Return the numbers of the figure as CSV, two columns a band."""
    columns = {}
    for name, (low, high) in edges.items():
        columns[f"{name} lowest"] = low
        columns[f"{name} highest"] = high
    frame = pandas.DataFrame(columns).rename_axis("first step of the window").reset_index()
    return frame.to_csv(index=False, lineterminator="\n")


def _band_figure(edges: Mapping[str, _Edges], window: int) -> Figure:
    """Draw the bands over the steps.

    Args:
        window: steps of the moving average that smoothed them.
    """
    figure = Figure(figsize=(6.4, 3.8))
    axes = figure.subplots()
    styles = {}
    for index, (name, (low, high)) in enumerate(edges.items()):
        # A mean over a window stands at its middle.
        steps = numpy.arange(len(low), dtype=numpy.float64) + (window - 1) / 2
        _draw_edges(axes, steps, low, high, index)
        styles[name] = style_of(index)
    axes.set_xlabel("step")
    axes.set_title("training loss between its smallest and largest over the learning rates")
    axes.set_ylim(bottom=0)
    finish_figure(figure, styles, {})
    return figure


def _smooth(values: NDArray[numpy.float64], window: int) -> NDArray[numpy.float64]:
    """Return the moving average, which is `window - 1` values shorter."""
    # Double precision, as the running sum grows.
    running_sum = numpy.cumsum(values, dtype=numpy.float64)
    sums = numpy.concatenate([[0.0], running_sum])
    smoothed: NDArray[numpy.float64] = (sums[window:] - sums[:-window]) / window
    return smoothed


def _draw_edges(
    axes: Axes,
    steps: NDArray[numpy.float64],
    low: NDArray[numpy.float64],
    high: NDArray[numpy.float64],
    index: int,
) -> None:
    """Draw one hatched band with its edges.

    Args:
        index: place of the band among those of the figure, which decides its style.
    """
    colour, marker = style_of(index)
    axes.fill_between(
        steps,
        low,
        high,
        facecolor=colour,
        alpha=0.22,
        hatch=HATCHES[index % len(HATCHES)],
        edgecolor=colour,
        linewidth=0,
    )
    marker_distance = max(1, len(steps) // 6)
    # The edges take turns with their markers, so that both show where they are close.
    for edge, first in ((low, 0), (high, marker_distance // 2)):
        axes.plot(
            steps,
            edge,
            color=colour,
            lw=1,
            marker=marker,
            markersize=4,
            markevery=(first, marker_distance),
        )


def _draw_probes(contents: Contents, table: Table, folder: Path) -> list[Picture]:
    """Draw the measures of Santurkar et al. 2018, one line a row of the table."""
    record = table.sweep.record
    ranges = _read_probes(contents, table)
    if not ranges:
        return []
    # Over the seeds of a row.
    means = pandas.concat(ranges).groupby(["row", "step"], sort=False).mean()
    labels = means.index.get_level_values("row").unique()
    rows = {label: means.loc[label] for label in labels}
    texts = [_probe_text(label, measures) for label, measures in rows.items()]
    caption = (
        "Measures along a trajectory (Santurkar et al. 2018): at a step, on its batch, the weights"
        " are moved along the gradient. Faint: means over the seeds; strong: their median over"
        f" {MEDIAN_OF} probed steps. Means over all probed steps: {'; '.join(texts)}."
    )
    picture = save_figure(
        _probe_figure(rows),
        folder,
        name=f"{record.name}_probe",
        caption=caption,
        alt=f"{record.title}: measures of the loss landscape",
        csv=means.to_csv(lineterminator="\n"),
    )
    return [picture]


def _read_probes(contents: Contents, table: Table) -> list[pandas.DataFrame]:
    """Return the ranges of every run that was probed, with the label of its row."""
    ranges = []
    for row in table.rows:
        for run in row.runs:
            probes = read_probes(contents, run)
            if probes is not None:
                ranges.append(_ranges(probes).assign(row=row.label))
    return ranges


def _ranges(probes: pandas.DataFrame) -> pandas.DataFrame:
    """Return, per probed step of one run, the range of each measure over the points.

    The starting point counts for the loss, as in the paper; gradient change and cosine are those of
    the moved points.
    """
    moved = probes[probes.step_size > 0].groupby("step")
    loss = probes.groupby("step").loss
    return pandas.DataFrame(
        {
            "loss_lowest": loss.min(),
            "loss_highest": loss.max(),
            "distance_lowest": moved.gradient_distance.min(),
            "distance_highest": moved.gradient_distance.max(),
            "cosine_lowest": moved.gradient_cosine.min(),
            "smoothness": moved.smoothness.max(),
        }
    )


def _probe_text(label: str, measures: pandas.DataFrame) -> str:
    """Return a row's means over the probed steps, in words."""
    means = measures.mean()
    loss_range = means["loss_highest"] - means["loss_lowest"]
    return (
        f"{label}: range of the loss {loss_range:.3g}, largest change of the gradient"
        f" {means['distance_highest']:.3g}, smallest cosine {means['cosine_lowest']:.3f},"
        f" effective smoothness {means['smoothness']:.3g}"
    )


def _probe_figure(rows: Mapping[str, pandas.DataFrame]) -> Figure:
    """Draw one panel for each measure.

    Args:
        rows: ranges by step, by row.
    """
    # One above the other, so that each is as wide as the page also on a small screen.
    figure = Figure(figsize=(5.6, 8.4))
    loss, distance, cosine, smoothness = figure.subplots(4, 1, sharex=True)
    styles = {}
    for index, (label, measures) in enumerate(rows.items()):
        styles[label] = style_of(index)
        for axes, values in (
            (loss, measures["loss_highest"] - measures["loss_lowest"]),
            (distance, measures["distance_highest"]),
            (cosine, measures["cosine_lowest"]),
            (smoothness, measures["smoothness"]),
        ):
            _draw_measure(axes, values, styles[label])
    loss.set_title("range of the loss")
    distance.set_title("largest l2 change of the gradient")
    cosine.set_title("smallest cosine between the gradients")
    smoothness.set_title("effective smoothness, log scale")
    smoothness.set_xlabel("step")
    smoothness.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    smoothness.set_yscale("log")
    smoothness.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    smoothness.yaxis.set_major_formatter("{x:g}")
    smoothness.yaxis.set_minor_formatter(NullFormatter())
    finish_figure(figure, styles, {})
    figure.subplots_adjust(hspace=0.42)
    return figure


def _draw_measure(axes: Axes, values: pandas.Series, style: tuple[str, str]) -> None:
    """Draw the values at the probed steps faintly, and their running median over them."""
    colour, marker = style
    medians = values.rolling(MEDIAN_OF, center=True, min_periods=1).median()
    axes.plot(values.index, values, color=colour, lw=0.8, alpha=0.4)
    marker_distance = max(1, len(medians) // 6)
    axes.plot(
        medians.index,
        medians,
        color=colour,
        lw=1.6,
        marker=marker,
        markersize=4,
        markevery=marker_distance,
    )
