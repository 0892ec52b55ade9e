"""Draw a table's curves as PNG and SVG."""

from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

import numpy
import pandas
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from augean.analysis.comparison import Table
from augean.report.figures.plotting import (
    Picture,
    Styles,
    draw_unnamed,
    finish_figure,
    save_figure,
)
from augean.report.figures.row_styles import row_styles
from augean.report.row_names import legend_title
from augean.terminal import counted


def draw_curves(table: Table, metrics: pandas.DataFrame, folder: Path) -> list[Picture]:
    """Draw the curves of one table.

    Args:
        metrics: as `recordings.read_metrics` returns it, for at least the runs of this table.
        folder: where the files go.
    """
    labels = []
    for row in table.rows:
        # A row that always diverged is drawn as far as it came.
        for run in row.runs or row.diverged:
            labels.append((run.directory, row.label))
    # A run that several rows share is in each of them.
    labels_by_run = pandas.DataFrame(labels, columns=["directory", "row"], dtype=object)
    table_metrics = metrics.merge(labels_by_run, on="directory")
    if table_metrics.empty:
        return []
    return _draw_row_curves(table, table_metrics, folder)


def _draw_row_curves(table: Table, metrics: pandas.DataFrame, folder: Path) -> list[Picture]:
    """Draw accuracy and loss per epoch, and accuracy against time.

    Args:
        metrics: of the table's runs, once for each row that has the run, with the row's label.
    """
    record = table.sweep.record
    labels = set(metrics.row)
    all_styles = row_styles(table)
    styles = {label: style for label, style in all_styles.items() if label in labels}
    grey_labels = [
        row.label for row in table.rows if row.label in labels and row.label not in styles
    ]
    num_lines = len(metrics)
    metrics = of_all_seeds(metrics)
    ends_differ = len(metrics) < num_lines
    remarks = _remarks(table, labels, num_grey=len(grey_labels), ends_differ=ends_differ)
    pictures = []
    for kind, parts in _figures_of_parts(table, metrics).items():
        title = f"{' and '.join(parts)} per epoch"
        caption = title.capitalize()
        # In a table with a band, the published figure is that of the band.
        if record.figure and not record.band:
            caption += f", as in the published {record.figure}"
        caption = f"{caption}. {remarks}"
        picture = save_figure(
            _curves(metrics, styles, grey_labels, parts, legend_title(table)),
            folder,
            name=f"{record.name}_{kind}",
            caption=caption.strip(),
            alt=f"{record.title}: {title}",
        )
        pictures.append(picture)
    if metrics.val_accuracy.notna().any():
        picture = save_figure(
            _against_time(metrics, styles, grey_labels, legend_title(table)),
            folder,
            name=f"{record.name}_time",
            caption="Best validation accuracy so far against training time.",
            alt=f"{record.title}: best validation accuracy so far against training time",
        )
        pictures.append(picture)
    return pictures


def of_all_seeds(metrics: pandas.DataFrame) -> pandas.DataFrame:
    """Leave out epochs that only some seeds of a row have: where one ends, the mean would jump."""
    num_seeds = metrics.groupby(["row", "epoch"]).epoch.transform("size")
    return metrics[num_seeds == num_seeds.groupby(metrics.row).transform("max")]


def _figures_of_parts(table: Table, metrics: pandas.DataFrame) -> dict[str, list[str]]:
    """Return the figures of curves by kind: of each its parts, "accuracy" or "loss".

    A custom loop may have recorded one part alone.
    """
    parts = []
    for part in ("accuracy", "loss"):
        if _has_values(metrics, f"_{part}$"):
            parts.append(part)
    if not parts:
        return {}
    # The curves of a single row are drawn larger, in figures of their own.
    if len(table.rows) == 1:
        return {part: [part] for part in parts}
    return {"curves": parts}


def _has_values(metrics: pandas.DataFrame, pattern: str) -> bool:
    """Tell whether any column whose name matches has a value."""
    return bool(metrics.filter(regex=pattern).notna().any(axis=None))


def _remarks(table: Table, labels: Set[str], *, num_grey: int, ends_differ: bool) -> str:
    """Return what the caption says of the rows that are drawn.

    Args:
        labels: of the rows that are drawn.
        num_grey: how many of them are drawn in grey.
        ends_differ: whether seeds of one row end at different epochs.
    """
    remarks = []
    if max(row.accuracy.n for row in table.rows) == 1:
        remarks.append("One seed.")
    broken_off = [row.label for row in table.rows if row.label in labels and not row.runs]
    if broken_off:
        rows = ", ".join(broken_off)
        remarks.append(f"All runs diverged and are drawn up to where they broke off: {rows}.")
    if ends_differ:
        remarks.append("Where seeds of a row end at different epochs, means end with the first.")
    if num_grey:
        remarks.append(
            f"Grey: {counted(num_grey, 'further row')} of lower validation accuracy, whose losses"
            " may lie above the axes."
        )
    return " ".join(remarks)


def _curves(
    metrics: pandas.DataFrame,
    styles: Styles,
    grey_labels: Sequence[str],
    parts: Sequence[str],
    title: str,
) -> Figure:
    """Draw one panel for each of `parts`, "accuracy" or "loss", by epoch.

    Args:
        metrics: of the table's runs, with the label of their row.
        styles: the rows that are told apart by colour.
        grey_labels: the rows in grey.
        title: of the legend.
    """
    figure = Figure(figsize=(9.2 if len(parts) > 1 else 5.6, 3.3))
    panels = figure.subplots(1, len(parts), squeeze=False)[0]
    by_epoch = metrics.groupby(["row", "epoch"])
    for axes, part in zip(panels, parts, strict=True):
        train_name = f"train_{part}"
        val_name = f"val_{part}"
        over_seeds = by_epoch[[train_name, val_name]].agg(["mean", "min", "max"])
        scale = 100.0 if part == "accuracy" else 1.0
        train = over_seeds[train_name].unstack("row") * scale
        val = over_seeds[val_name].unstack("row") * scale
        _draw_rows(axes, train, val, styles)
        epochs = val.index.to_numpy(float)
        means = val["mean"]
        draw_unnamed(axes, [numpy.column_stack((epochs, means[row])) for row in grey_labels])
        axes.set_xlabel("epoch")
        if len(epochs) == 1:
            # Else the ticks are fractions of the only epoch.
            axes.set_xticks(epochs)
        else:
            axes.locator_params(axis="x", integer=True, nbins=7)
        if part == "accuracy":
            axes.set_title("accuracy, %")
        else:
            scale_loss(axes, metrics[metrics.row.isin(styles)])
    dashes = {}
    if _has_values(metrics, "^train_"):
        dashes["training"] = "--"
    if _has_values(metrics, "^val_"):
        dashes["validation"] = "-"
    finish_figure(figure, styles, dashes, title)
    return figure


def _draw_rows(axes: Axes, train: pandas.DataFrame, val: pandas.DataFrame, styles: Styles) -> None:
    """Draw each named row's means, and the range of its seeds in validation.

    Args:
        train: by epoch; the columns are mean, min and max, each by row.
        val: the same of validation.
    """
    epochs = val.index.to_numpy(float)
    marker_distance = max(len(styles), len(epochs) // 6)
    for curves, dash, marker_size in ((train, "--", 3.2), (val, "-", 4.5)):
        means = curves["mean"]
        lows = curves["min"]
        highs = curves["max"]
        for index, (row, (colour, marker)) in enumerate(styles.items()):
            options: dict[str, Any] = {"color": colour}
            if len(styles) > 1:
                # Rows take turns with their markers, so that a line below another one still shows.
                first = index * marker_distance // len(styles) % len(epochs)
                options["marker"] = marker
                options["markersize"] = marker_size
                options["markevery"] = (first, marker_distance)
            axes.plot(epochs, means[row], dash, **options)
            has_range = (highs[row] > lows[row]).any()
            if curves is val and has_range:
                axes.fill_between(epochs, lows[row], highs[row], color=colour, alpha=0.13, lw=0)


def scale_loss(axes: Axes, metrics: pandas.DataFrame) -> None:
    """Set the scale and the title of an axis of losses.

    A loss that starts in the hundreds, or ends near 0, hides everything else on a linear scale.

    Args:
        metrics: of the named rows. Losses of the others may lie outside the axes.
    """
    losses = metrics[["train_loss", "val_loss"]].to_numpy(float)
    # A logarithm exists of these alone.
    losses = losses[numpy.isfinite(losses) & (losses > 0)]
    if len(losses) and losses.max() > 25 * numpy.median(losses):
        axes.set_title("cross-entropy loss, log scale")
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        # The usual one writes formulas, which are drawn as they are spelt.
        axes.yaxis.set_minor_formatter(LogFormatter())
        axes.set_ylim(top=1.2 * losses.max())
    else:
        axes.set_title("cross-entropy loss")
        axes.set_ylim(bottom=0)
        if len(losses):
            axes.set_ylim(top=1.05 * losses.max())


def _against_time(
    metrics: pandas.DataFrame, styles: Styles, grey_labels: Sequence[str], title: str
) -> Figure:
    """Draw the best validation accuracy so far against the training time so far.

    Both are means over the seeds of a row, epoch by epoch.
    """
    # A run may be in several rows.
    runs = metrics.groupby(["row", "directory"], observed=True, sort=False)
    so_far = metrics.assign(elapsed=runs.seconds.cumsum(), best=100 * runs.val_accuracy.cummax())
    means = so_far.groupby(["row", "epoch"])[["elapsed", "best"]].mean()
    lines = {str(row): line.to_numpy() for row, line in means.groupby("row")}
    figure = Figure(figsize=(5.6, 3.3))
    axes = figure.subplots()
    draw_unnamed(axes, [lines[row] for row in grey_labels])
    for row, (colour, marker) in styles.items():
        seconds, best = lines[row].T
        # One marker, at the end of the line, which may lie at the edge of the axes.
        end: dict[str, Any] = {
            "marker": marker,
            "markevery": [-1],
            "markersize": 7,
            "clip_on": False,
        }
        axes.plot(seconds, best, color=colour, **end)
    axes.set_xlim(left=0)
    axes.set_xlabel("training time, seconds")
    axes.set_title("best validation accuracy so far, %")
    finish_figure(figure, styles, {}, title)
    return figure
