"""Draw a table's curves and a confusion matrix, each as PNG and SVG."""

import io
import math
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

import numpy
import pandas
import seaborn
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from augean.analysis.comparison import Row, Table
from augean.analysis.load import Contents
from augean.errors import AugeanError
from augean.report.plotting import (
    COLOURS,
    INK,
    MARKERS,
    Styles,
    Picture,
    draw_unnamed,
    finish_figure,
    style_of,
    save_figure,
    shorten_label,
)
from augean.store.run_directory import read_verified, runs_dir

SHARES = LinearSegmentedColormap.from_list("shares", [(COLOURS[0], 0.0), (COLOURS[0], 0.7)])
"""Of a confusion matrix; it lets the ground through, which is light or dark."""


def draw_figures(
    contents: Contents, table: Table, metrics: pandas.DataFrame, folder: Path
) -> list[Picture]:
    """Draw all figures of one table, in the order in which the page shows them.

    Args:
        metrics: as `load.read_metrics` returns it, for at least the runs of this table.
        folder: where the files go.
    """
    rows = {}
    for row in table.rows:
        # A row that always diverged is drawn as far as it came.
        for run in row.runs or row.diverged:
            rows[run.directory] = row.label
    labels = metrics.directory.map(rows).astype(object)
    own = metrics.assign(row=labels).dropna(subset="row")
    pictures = []
    if len(own):
        pictures += _draw_curves(table, own, folder)
    if len(table.rows) == 1 and table.runs:
        pictures += _draw_confusion(contents, table, folder)
    return pictures


def _draw_curves(table: Table, own: pandas.DataFrame, folder: Path) -> list[Picture]:
    """Draw accuracy and loss per epoch, and accuracy against time.

    Args:
        own: metrics of the table's runs, with the label of their row.
    """
    record = table.sweep.record
    styles, others = _looks(table, set(own.row))
    text = _legend_text(table, set(own.row), len(others))
    recorded = [part for part in ("accuracy", "loss") if _has(own, f"_{part}$")]
    # The curves of a single row are drawn larger, in figures of their own.
    panels = {"curves": recorded} if recorded else {}
    if len(table.rows) == 1:
        panels = {part: [part] for part in recorded}
    pictures = []
    for kind, parts in panels.items():
        what = f"{' and '.join(parts)} per epoch"
        caption = what.capitalize()
        # In a table with a band, the published figure is that of the band.
        if record.figure and not record.band:
            caption += f", as in the published {record.figure}"
        caption = f"{caption}. {text}"
        figure = _curves(own, styles, others, parts)
        picture = save_figure(
            figure,
            folder,
            name=f"{record.name}_{kind}",
            caption=caption.strip(),
            alt=f"{record.title}: {what}",
        )
        pictures.append(picture)
    if own.val_accuracy.notna().any():
        picture = save_figure(
            _against_time(own, styles, others),
            folder,
            name=f"{record.name}_time",
            caption="Best validation accuracy so far against training time.",
            alt=f"{record.title}: best validation accuracy so far against training time",
        )
        pictures.append(picture)
    return pictures


def _draw_confusion(contents: Contents, table: Table, folder: Path) -> list[Picture]:
    """Draw the confusion matrix of the table's best run, if it has one."""
    record = table.sweep.record
    pairs = zip(table.runs, table.summaries, strict=True)
    best, _ = max(pairs, key=lambda pair: pair[1].val_accuracy or 0.0)
    counts = _read_confusion(contents, best.directory)
    if counts is None:
        return []
    picture = save_figure(
        _confusion(counts),
        folder,
        name=f"{record.name}_confusion",
        caption=(
            "Confusion matrix on the test set."
            f" Of run {best.id}, the one with the best validation accuracy."
        ),
        alt=f"{record.title}: confusion matrix on the test set",
    )
    return [picture]


def _has(own: pandas.DataFrame, pattern: str) -> bool:
    """Tell whether any column of that name has a value."""
    return bool(own.filter(regex=pattern).notna().any(axis=None))


def _legend_text(table: Table, drawn: Set[str], num_others: int) -> str:
    most = max(row.accuracy.n for row in table.rows)
    text = "" if most > 1 else "One seed."
    broken = [row.label for row in table.rows if row.label in drawn and not row.runs]
    if broken:
        text += f" All runs diverged and are drawn up to where they broke off: {', '.join(broken)}."
    if num_others:
        text += f" Grey: {num_others} further rows of lower validation accuracy."
    return text


def _looks(table: Table, labels: Set[str]) -> tuple[Styles, list[str]]:
    """Return colour and marker of the best rows, in the table's order, and the other labels.

    Args:
        labels: rows that are drawn.
    """
    drawn = [row for row in table.rows if row.label in labels]
    best = sorted(drawn, key=_rank)
    best_labels = {row.label for row in best[: len(MARKERS)]}
    styles: dict[str, tuple[str, str]] = {}
    others = []
    for row in drawn:
        if row.label in best_labels:
            styles[row.label] = style_of(len(styles))
        else:
            others.append(row.label)
    return styles, others


def _rank(row: Row) -> float:
    """Return a key that sorts rows of high validation accuracy first and those without any last."""
    return math.inf if math.isnan(row.val_accuracy) else -row.val_accuracy


def _curves(
    own: pandas.DataFrame, styles: Styles, others: Sequence[str], parts: Sequence[str]
) -> Figure:
    """Draw one panel for each of `parts`, "accuracy" or "loss", by epoch.

    Args:
        own: metrics of the table's runs, with the label of their row.
        styles: the rows that are told apart by colour.
        others: the rows in grey.
    """
    figure = Figure(figsize=(9.2 if len(parts) > 1 else 5.6, 3.3))
    names = [f"{kind}_{part}" for part in parts for kind in ("train", "val")]
    grouped = own.groupby(["row", "epoch"])[names].agg(["mean", "min", "max"])
    panels = figure.subplots(1, len(parts), squeeze=False)[0]
    for axes, part in zip(panels, parts, strict=True):
        scale = 100.0 if part == "accuracy" else 1.0
        train = grouped[f"train_{part}"].unstack("row") * scale
        val = grouped[f"val_{part}"].unstack("row") * scale
        _draw_rows(axes, train, val, styles)
        epochs = val.index.to_numpy(float)
        means = val["mean"]
        draw_unnamed(axes, [numpy.column_stack((epochs, means[row])) for row in others])
        axes.set_xlabel("epoch")
        axes.locator_params(axis="x", integer=True, nbins=7)
        if part == "accuracy":
            axes.set_title("accuracy, %")
        else:
            _scale_loss(axes, own)
    dashes = {"training": "--"}
    if _has(own, "^val_"):
        dashes["validation"] = "-"
    finish_figure(figure, styles, dashes)
    return figure


def _draw_rows(axes: Axes, train: pandas.DataFrame, val: pandas.DataFrame, styles: Styles) -> None:
    """Draw each named row's means, and the range of its seeds in validation.

    Args:
        train: by epoch; the columns are mean, min and max, each by row.
        val: the same of validation.
    """
    epochs = val.index.to_numpy(float)
    for curves, dash, size in ((train, "--", 3.2), (val, "-", 4.5)):
        means = curves["mean"]
        lows = curves["min"]
        highs = curves["max"]
        for index, (row, (colour, marker)) in enumerate(styles.items()):
            style: dict[str, Any] = {"color": colour}
            if len(styles) > 1:
                # Rows take turns with their markers, so that a line below another one still shows.
                every = max(len(styles), len(epochs) // 6)
                first = index * every // len(styles) % len(epochs)
                style |= {"marker": marker, "ms": size, "markevery": (first, every)}
            axes.plot(epochs, means[row], dash, **style)
            if curves is val and (highs[row] > lows[row]).any():
                axes.fill_between(epochs, lows[row], highs[row], color=colour, alpha=0.13, lw=0)


def _scale_loss(axes: Axes, own: pandas.DataFrame) -> None:
    """Set the scale and the title of an axis of losses.

    A loss that starts in the hundreds, or ends near 0, hides everything else on a linear scale.
    """
    losses = own[["train_loss", "val_loss"]].to_numpy(float)
    losses = losses[numpy.isfinite(losses) & (losses > 0)]
    if len(losses) and losses.max() > 25 * numpy.median(losses):
        axes.set_title("cross-entropy loss, log scale")
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    else:
        axes.set_title("cross-entropy loss")
        axes.set_ylim(bottom=0)


def _against_time(own: pandas.DataFrame, styles: Styles, others: Sequence[str]) -> Figure:
    runs = own.groupby("directory", observed=True, sort=False)
    elapsed = own.assign(elapsed=runs.seconds.cumsum(), best=100 * runs.val_accuracy.cummax())
    means = elapsed.groupby(["row", "epoch"])[["elapsed", "best"]].mean()
    lines = {str(row): line.to_numpy() for row, line in means.groupby("row")}
    figure = Figure(figsize=(5.6, 3.3))
    axes = figure.subplots()
    draw_unnamed(axes, [lines[row] for row in others])
    for row, (colour, marker) in styles.items():
        seconds, best = lines[row].T
        axes.plot(seconds, best, color=colour, marker=marker, markevery=[-1], markersize=7)
    axes.set_xlim(left=0)
    axes.set_xlabel("training time, seconds")
    axes.set_title("best validation accuracy so far, %")
    finish_figure(figure, styles, {})
    return figure


def _read_confusion(contents: Contents, directory: str) -> pandas.DataFrame | None:
    """Return counts with the true classes down and the predicted ones across."""
    path = runs_dir(contents.outputs) / directory / "confusion.csv"
    try:
        file = io.BytesIO(read_verified(path.parent, path.name))
        # Names of classes stay text, "1" and "NA" included.
        counts = pandas.read_csv(file, index_col=0, dtype={0: str}, keep_default_na=False)
        counts = counts.astype(int)
        if not len(counts) or len(counts) != len(counts.columns):
            raise ValueError(f"{len(counts)} x {len(counts.columns)} numbers")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AugeanError) as error:
        contents.note(path, f"not a confusion matrix ({error})")
        return None
    short = counts.rename(index=shorten_label, columns=shorten_label)
    return short.rename_axis(index="true", columns="predicted")


def _confusion(counts: pandas.DataFrame) -> Figure:
    """Colour by the share of the true class, so that rare classes read as well as common ones."""
    num_classes = len(counts)
    size = 2.2 + 0.42 * min(num_classes, 12)
    figure = Figure(figsize=(size + 0.5, size), layout="tight")
    axes = figure.subplots()
    share = 100 * counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    # With more than 20 classes the counts would be too small to read.
    numbers: dict[str, Any] = {}
    if num_classes <= 20:
        font = {"size": 8 if num_classes <= 12 else 6, "color": INK}
        numbers = {"annot": counts, "fmt": "d", "annot_kws": font}
    seaborn.heatmap(
        share,
        cmap=SHARES,
        vmin=0,
        vmax=100,
        square=True,
        cbar_kws={"label": "share of the true class, %", "fraction": 0.045, "pad": 0.03},
        ax=axes,
        **numbers,
    )
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.tick_params(axis="y", rotation=0)
    return figure
