"""Give each row of a table one colour and one marker, for all of its figures and charts."""

import math

from augean.analysis.comparison import Row, Table
from augean.report.figures.plotting import COLOURS, Styles, style_of


def row_styles(table: Table) -> Styles:
    """Return the styles of the rows with the best validation accuracy, in the table's order.

    The other rows are grey. Rows without a run that could be drawn take no style from another.
    """
    rows = [row for row in table.rows if row.runs or row.diverged]
    best = sorted(rows, key=_rank)[: len(COLOURS)]
    best_labels = {row.label for row in best}
    labels = [row.label for row in rows if row.label in best_labels]
    return {label: style_of(index) for index, label in enumerate(labels)}


def colour_number(styles: Styles, label: str) -> int | None:
    """Return the place of a row's colour among `COLOURS`; None for a grey row."""
    if label not in styles:
        return None
    colour, _ = styles[label]
    return COLOURS.index(colour)


def _rank(row: Row) -> float:
    """Return a key that sorts rows of high validation accuracy first and those without any last."""
    return math.inf if math.isnan(row.val_accuracy) else -row.val_accuracy
