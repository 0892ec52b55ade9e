"""Draw a table of two factors: rows by columns with their means, as a heat map."""

from pathlib import Path

import numpy
import pandas
import seaborn
from matplotlib.figure import Figure

from augean.analysis.comparison import Table
from augean.analysis.factors import Factors, two_factors
from augean.report.figures.plotting import Picture, save_figure, shorten_labels

MARGINS = "mean"
"""Label of the last row and the last column."""


def draw_factors(table: Table, folder: Path) -> list[Picture]:
    """Draw the means by row and column, and write them as CSV.

    Return no picture where the table has no two factors, or no score yet.

    Args:
        folder: where the files go.
    """
    factors = two_factors(table)
    if factors is None or numpy.isnan(factors.means).all():
        return []
    record = table.sweep.record
    grid = with_margins(factors)
    caption = (
        f"Test accuracy in percent by row and column ({record.column}). {factors.verdict_in_words}"
    )
    if factors.method:
        caption += f" {factors.method}."
    row_keys = ", ".join(key for key in record.row_keys if key != record.column)
    picture = save_figure(
        _heat_map(grid, row_keys, record.column),
        folder,
        name=f"{record.name}_grid",
        caption=caption,
        alt=f"{record.title}: test accuracy by row and column",
        csv=grid.to_csv(float_format="%.10g", lineterminator="\n"),
    )
    return [picture]


def with_margins(factors: Factors) -> pandas.DataFrame:
    """Return the means of the cells, with those of rows and columns as last column and row."""
    label = MARGINS
    # A row or a column may be named so.
    while label in factors.rows or label in factors.columns:
        label = f"({label})"
    cells = numpy.vstack([factors.means, factors.column_means])
    margin = numpy.append(factors.row_means, factors.means.mean())
    grid = pandas.DataFrame(
        numpy.column_stack([cells, margin]),
        index=[*factors.rows, label],
        columns=[*factors.columns, label],
    )
    return grid.rename_axis("row")


def _heat_map(grid: pandas.DataFrame, row_keys: str, column_key: str | None) -> Figure:
    """Draw a grid of means with its margins.

    Args:
        row_keys, column_key: dotted keys, the titles of the axes.
    """
    num_rows, num_columns = grid.shape
    figure = Figure(figsize=(2.2 + 0.7 * num_columns, 1.2 + 0.4 * num_rows), layout="tight")
    axes = figure.subplots()
    short_labels = grid.rename(
        index=shorten_labels(grid.index), columns=shorten_labels(grid.columns)
    )
    seaborn.heatmap(
        short_labels,
        cmap="Blues",
        # Each number is a text of its own, which is slow to draw.
        annot=num_rows * num_columns <= 200,
        fmt=".2f",
        linewidths=0.5,
        cbar_kws={"label": "test accuracy, %"},
        ax=axes,
    )
    # A white line sets the margins off from the cells.
    axes.axhline(num_rows - 1, color="white", lw=4)
    axes.axvline(num_columns - 1, color="white", lw=4)
    axes.set_ylabel(row_keys)
    axes.set_xlabel(column_key or "")
    axes.tick_params(length=0)
    axes.tick_params(axis="y", rotation=0)
    return figure
