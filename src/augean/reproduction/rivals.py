"""Hold the final models against the stock run: their accuracy, and their share of its time."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from augean.analysis.comparison import Row, Table
from augean.analysis.simultaneous import compare
from augean.analysis.verdict import Difference
from augean.reproduction.likeness import same_hardware, same_test_set

STOCK = "stock"
RIVALS = {STOCK: "stock", "as reported": "final", "tuned": "tune_final"}
"""Sweep of the stock run and of each final model, by the label that the page shows."""


class Rival(NamedTuple):
    """The stock run, or a final model that is compared with it."""

    label: str
    row: Row
    difference: Difference
    time_share: float
    """Its time as a fraction of the stock run's; NaN without a stock run on the same hardware."""
    obstacle: str
    """Why the goal cannot be judged, in words; empty where it can."""


def read_rivals(tables: Mapping[str, Table]) -> list[Rival]:
    """Return the stock run, and the final model as reported and as tuned here beside it.

    Args:
        tables: by the name of their sweep file; each of these sweeps has one row.
    """
    rows = {}
    for label, sweep in RIVALS.items():
        table = tables.get(sweep)
        if table is not None and table.rows and table.rows[0].runs:
            rows[label] = table.rows[0]
    stock = rows.get(STOCK)
    # Without the stock run, or with other test images, there is nothing to compare.
    alike = {}
    for label, row in rows.items():
        if stock is not None and same_test_set(row, stock):
            alike[label] = row
    differences: dict[str, Difference] = {}
    if STOCK in alike:
        scores = {label: row.scores for label, row in alike.items()}
        diverged = {label: row.num_diverged for label, row in alike.items()}
        differences, _ = compare(scores, STOCK, diverged)
    rivals = []
    for label, row in rows.items():
        time_share = math.nan
        if stock is not None and same_hardware(row, stock):
            time_share = row.seconds / stock.seconds
        rival = Rival(
            label=label,
            row=row,
            difference=differences.get(label, Difference()),
            time_share=time_share,
            obstacle=_find_obstacle(row, stock),
        )
        rivals.append(rival)
    return rivals


def _find_obstacle(row: Row, stock: Row | None) -> str:
    """Return why a row's goal cannot be judged by the stock run, in words."""
    if stock is None:
        return "the stock run is not finished"
    if not same_test_set(row, stock):
        return "it was tested on other images than the stock run"
    if row.num_diverged or stock.num_diverged:
        return "runs diverged, and the means are those of the others"
    if row.accuracy.n < 2 or stock.accuracy.n < 2:
        return "one seed is too few"
    if math.isnan(row.accuracy.half_width):
        return "its seeds have one and the same score"
    if not same_hardware(row, stock):
        return "the times are those of different hardware"
    return ""
