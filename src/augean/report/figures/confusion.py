"""Draw the confusion matrix of a table with a single row, as PNG and SVG."""

import io
from pathlib import Path
from typing import Any

import pandas
import seaborn
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from augean.analysis.comparison import Table
from augean.analysis.load import Contents
from augean.analysis.run import Run
from augean.report.figures.plotting import COLOURS, INK, Picture, save_figure, shorten_label
from augean.store.run_files import CONFUSION

NO_SHARE = (COLOURS[0], 0.0)
FULL_SHARE = (COLOURS[0], 0.7)
SHARES = LinearSegmentedColormap.from_list("shares", [NO_SHARE, FULL_SHARE])
"""Colours of a confusion matrix: transparent for no share, so that the page's ground, which is
light or dark, shows through."""


def draw_confusion(contents: Contents, table: Table, folder: Path) -> list[Picture]:
    """Draw the confusion matrix of a single row's best run, if it has one.

    Args:
        folder: where the files go.
    """
    if len(table.rows) != 1 or not table.runs:
        return []
    record = table.sweep.record
    best = max(table.runs, key=_validation)
    counts = contents.read_file(best, CONFUSION, _parse_confusion, "not a confusion matrix")
    if counts is None:
        return []
    caption = f"Confusion matrix on the test set. Of run {best.id}"
    if best.summary is not None and best.summary.val_accuracy is not None:
        caption += ", the one with the best validation accuracy"
    picture = save_figure(
        _confusion(counts),
        folder,
        name=f"{record.name}_confusion",
        caption=f"{caption}.",
        alt=f"{record.title}: confusion matrix on the test set",
    )
    return [picture]


def _validation(run: Run) -> float:
    """Return the accuracy by which the best run is chosen; 0 without a validation set."""
    if run.summary is None or run.summary.val_accuracy is None:
        return 0.0
    return run.summary.val_accuracy


def _parse_confusion(content: bytes) -> pandas.DataFrame:
    """Return counts with the true classes down and the predicted ones across."""
    # Names of classes stay text, "1" and "NA" included.
    counts = pandas.read_csv(
        io.BytesIO(content), index_col=0, dtype={0: str}, keep_default_na=False
    ).astype(int)
    if not len(counts) or len(counts) != len(counts.columns):
        raise ValueError(f"{len(counts)} x {len(counts.columns)} numbers")
    short = counts.rename(index=shorten_label, columns=shorten_label)
    return short.rename_axis(index="true", columns="predicted")


def _confusion(counts: pandas.DataFrame) -> Figure:
    """Draw a confusion matrix.

    Colours are shares of the true class, so that rare classes read as well as common ones.
    """
    num_classes = len(counts)
    size = 2.2 + 0.42 * min(num_classes, 12)
    figure = Figure(figsize=(size + 0.5, size), layout="tight")
    axes = figure.subplots()
    share = 100 * counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    # With more than 20 classes the counts would be too small to read.
    annotation: dict[str, Any] = {}
    if num_classes <= 20:
        font = {"size": 8 if num_classes <= 12 else 6, "color": INK}
        annotation = {"annot": counts, "fmt": "d", "annot_kws": font}
    seaborn.heatmap(
        share,
        cmap=SHARES,
        vmin=0,
        vmax=100,
        square=True,
        cbar_kws={"label": "share of the true class, %", "fraction": 0.045, "pad": 0.03},
        ax=axes,
        **annotation,
    )
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.tick_params(axis="y", rotation=0)
    return figure
