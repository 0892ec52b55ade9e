"""The table for a paper: fewer columns than the page has, and notes instead of a long caption."""

from dataclasses import replace

from augean.analysis.comparison import Table
from augean.report import escape, outdated, tables
from augean.report.tables import Column

LEFT_OUT = {
    tables.NEW_IMAGES,
    tables.SD,
    "validation, %",
    "seconds",
    "published seconds",
    "outdated",
}
"""Headings of columns that only page and CSV have, so that the table is as wide as a page."""
SETTING = ("dataset", "trainer.epochs", "trainer.batch_size", "trainer.precision")
"""What the caption states of the runs."""
MACHINE = ("device", "versions")
"""What only a comment in the file states of them."""


def columns(table: Table) -> list[Column]:
    """Return the columns that a reader needs to judge the rows."""
    row_column, *others = tables.columns(table)
    shown = [row_column]
    for column in others:
        # Rows of a settled table have no interval of their own.
        stands_for_interval = column.heading == tables.SD and table.sweep.record.design
        if column.heading in LEFT_OUT and not stands_for_interval:
            continue
        cells = column.cells
        if column.heading == tables.INTERVAL:
            # In brackets, as there is no rule between a mean and its interval.
            cells = [tables.interval(row.accuracy, ends="[{}, {}]") for row in table.rows]
        if column.kind == "joined":
            # One dash is enough for a number and its interval.
            cells = ["" if cell == "-" else cell for cell in cells]
        shown.append(replace(column, cells=cells))
    return shown


def notes(table: Table) -> list[str]:
    """Return what stands below the table: what may mislead in its numbers."""
    return tables.mixed_facts(table, (*SETTING, "loop")) + table.remarks


def comments(table: Table) -> list[str]:
    """Return what stands in the file alone: machine, versions, and what has changed since."""
    lines = []
    for key in MACHINE:
        values = tables.facts(table).get(key)
        if values:
            lines.append(f"{key.capitalize()}: {' / '.join(values)}.")
    return lines + outdated.remarks(table)


def head(source: str) -> str:
    """Return the comments that begin the file: what the LaTeX source needs.

    Args:
        source: the rest of the file.
    """
    packages = ["booktabs", "longtable" if r"\begin{longtable}" in source else "graphicx"]
    needs = rf"\usepackage{{{','.join(packages)}}}"
    printed = "\n".join(line for line in source.splitlines() if not line.startswith("%"))
    if set(printed) & set(escape.T1_LETTERS):
        needs += r" and \usepackage[T1]{fontenc}"
    lines = [f"% Made by Augean. Needs {needs}."]
    letters = escape.beyond_pdflatex(printed)
    if letters:
        lines.append(f"% Needs lualatex or xelatex, and a font that has these: {letters}")
    return "\n".join(lines) + "\n"
