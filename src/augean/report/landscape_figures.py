"""Draw Part 2's figures: the band of losses over learning rates, and the paper's three measures
along a trajectory.

Each has its numbers as CSV in tables/. Bands are told apart by colour and hatching.
"""

import io
from pathlib import Path

import numpy
import pandas
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from augean.analysis.comparison import Array, Table
from augean.analysis.load import Contents, Run
from augean.errors import AugeanError
from augean.report.plotting import COLOURS, MARKERS, Picture, finish_figure, save_figure
from augean.store.files import write_atomic
from augean.store.run_directory import read_verified, runs_dir

HATCHES = ("", "////", "....", "xxxx")
SMOOTHED_SHARE = 100
"""A band is smoothed by a moving average over this fraction of its steps."""


def draw_landscapes(contents: Contents, table: Table, folder: Path) -> list[Picture]:
    """The band of a record that asks for one, and the probes of runs that have them.

    Args:
        folder: of the report; the files go into its figures/ and tables/.
    """
    return [*_draw_band(contents, table, folder), *_draw_probes(contents, table, folder)]


def _file(contents: Contents, run: Run, name: str) -> Path:
    return runs_dir(contents.outputs) / str(run["directory"]) / name


def _draw_band(contents: Contents, table: Table, folder: Path) -> list[Picture]:
    """Figure 10 by the course's recipe: smallest and largest loss over the runs of a group, at each
    step.
    """
    record = table.sweep.record
    if record.band is None:
        return []
    losses: dict[str, list[Array]] = {}
    labels: dict[str, list[str]] = {}
    left_out = []
    for job, run in table.sweep.cells:
        if run["state"] == "diverged":
            # Up to where it broke off it would fill the band with its explosion, and leave it
            # without a word.
            left_out.append(f"{job.row}, seed {job.seed}")
        elif run["state"] == "finished" and (path := _file(contents, run, "steps.npy")).exists():
            try:
                file = io.BytesIO(read_verified(path.parent, path.name))
                values, rate = (
                    numpy.load(file, allow_pickle=False).ravel().astype(float),
                    float(run["optimizer.lr"]),
                )
                if not len(values):
                    raise ValueError("no losses")
            except (OSError, ValueError, TypeError, KeyError, EOFError, AugeanError) as error:
                contents.note(path, f"not the losses of a run's steps ({error})")
                continue
            losses.setdefault(str(run.get(record.band)), []).append(values)
            labels.setdefault(str(run.get(record.band)), []).append(f"{rate:g}")
    if not losses:
        return []
    num_steps = min(len(one) for group in losses.values() for one in group)
    window = max(1, num_steps // SMOOTHED_SHARE)
    figure, looks, words = Figure(figsize=(6.4, 3.8)), {}, []
    columns: dict[str, Array] = {}
    axes = figure.subplots()
    for index, (name, group) in enumerate(losses.items()):
        stacked = numpy.stack([_smoothed(one[:num_steps], window) for one in group])
        low, high = stacked.min(0), stacked.max(0)
        looks[name] = _band(axes, numpy.arange(len(low)) + (window - 1) / 2, low, high, index)
        columns |= {f"{name} lowest": low, f"{name} highest": high}
        words.append(
            f"{name} {(high - low).mean():.3f} (rates {', '.join(dict.fromkeys(labels[name]))})"
        )
    axes.set_xlabel("step")
    axes.set_title("training loss between its smallest and largest over the learning rates")
    axes.set_ylim(bottom=0)
    finish_figure(figure, looks, {})
    frame = pandas.DataFrame(columns).rename_axis("first step of the window").reset_index()
    write_atomic(
        folder / "tables" / f"{record.name}_band.csv",
        frame.to_csv(index=False, lineterminator="\n"),
    )
    smoothing = f"Moving average over {window} steps. " if window > 1 else ""
    warning = f" Diverged and left out: {'; '.join(left_out)}." if left_out else ""
    caption = (
        f"{record.figure or 'Loss landscape'}. Band between the smallest and the largest loss of a"
        " step over the runs"
    )
    caption += f" of a network. {smoothing}Mean width: {'; '.join(words)}.{warning}"
    return [
        save_figure(
            figure,
            folder / "figures",
            f"figure10_{record.name}",
            caption,
            f"{record.title}: bands of losses",
        )
    ]


def _smoothed(values: Array, window: int) -> Array:
    """Moving average, `window - 1` values shorter; in double precision, as the running sum
    grows.
    """
    sums = numpy.concatenate([[0.0], numpy.cumsum(values, dtype=numpy.float64)])
    smoothed: Array = (sums[window:] - sums[:-window]) / window
    return smoothed


def _band(axes: Axes, steps: Array, low: Array, high: Array, index: int) -> tuple[str, str]:
    """One hatched band with its edges; returns its colour and marker."""
    colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
    hatch = HATCHES[index % len(HATCHES)]
    axes.fill_between(
        steps, low, high, facecolor=colour, alpha=0.22, hatch=hatch, edgecolor=colour, linewidth=0
    )
    for turn, edge in enumerate((low, high)):
        every = max(1, len(steps) // 6)
        axes.plot(
            steps,
            edge,
            color=colour,
            lw=1,
            marker=marker,
            markersize=4,
            markevery=(turn * every // 2, every),
        )
    return colour, marker


def _draw_probes(contents: Contents, table: Table, folder: Path) -> list[Picture]:
    """The three measures of Santurkar et al. 2018, one panel each, one band or line a row of the
    table.
    """
    record, parts = table.sweep.record, []
    for row in table.rows:
        for run in row.runs:
            path = _file(contents, run, "probe.csv")
            if path.exists():
                try:
                    file = io.BytesIO(read_verified(path.parent, path.name))
                    probes = pandas.read_csv(file, dtype=float).astype({"step": int})
                    parts.append(_ranges(probes).assign(row=row.label))
                except (
                    OSError,
                    ValueError,
                    KeyError,
                    TypeError,
                    AttributeError,
                    AugeanError,
                ) as error:
                    contents.note(path, f"no probes of a loss landscape ({error})")
    if not parts:
        return []
    means = pandas.concat(parts).groupby(["row", "step"], sort=False).mean()
    write_atomic(folder / "tables" / f"{record.name}_probe.csv", means.to_csv(lineterminator="\n"))
    figure, looks, words = Figure(figsize=(11, 3.5)), {}, []
    panels = figure.subplots(1, 3)
    for index, label in enumerate(dict.fromkeys(means.index.get_level_values("row"))):
        own = means.loc[label]
        steps = own.index.to_numpy(float)
        for axes, name in zip(panels, ("loss", "distance"), strict=False):
            low, high = (
                own[f"{name}_lowest"].to_numpy(float),
                own[f"{name}_highest"].to_numpy(float),
            )
            looks[label] = _band(axes, steps, low, high, index)
        colour, marker = looks[label]
        every = max(1, len(steps) // 6)
        panels[2].plot(
            steps,
            own["smoothness"],
            color=colour,
            lw=1,
            marker=marker,
            markersize=4,
            markevery=every,
        )
        width = (own["loss_highest"] - own["loss_lowest"]).mean()
        words.append(
            f"{label}: range of the loss {width:.3g}, largest change of the gradient"
            f" {own['distance_highest'].mean():.3g}, smallest cosine"
            f" {own['cosine_lowest'].mean():.3f}, effective smoothness"
            f" {own['smoothness'].mean():.3g}"
        )
    titles = (
        "loss along the gradient",
        "l2 change of the gradient",
        "effective smoothness, log scale",
    )
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    panels[2].set_yscale("log")
    panels[2].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panels[2].yaxis.set_major_formatter("{x:g}")
    panels[2].yaxis.set_minor_formatter(NullFormatter())
    finish_figure(figure, looks, {})
    caption = (
        "Three measures along one trajectory (Santurkar et al. 2018): at a step, on its batch, the"
        f" weights are moved along the gradient. Means over the probed steps: {'; '.join(words)}."
    )
    return [
        save_figure(
            figure,
            folder / "figures",
            f"{record.name}_probe",
            caption,
            f"{record.title}: three measures",
        )
    ]


def _ranges(rows: pandas.DataFrame) -> pandas.DataFrame:
    """Of one run, per probed step: smallest and largest of loss, gradient change and cosine, and
    largest smoothness.

    The starting point counts for the loss, as in the paper; change and cosine are of the moved
    points.
    """
    moved = rows[rows.step_size > 0].groupby("step")
    loss = rows.groupby("step").loss
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
