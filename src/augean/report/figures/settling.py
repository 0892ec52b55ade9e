"""Draw the figure of a table that is being settled: each row's interval by its number of seeds."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from augean.analysis.comparison import Table
from augean.analysis.sequential import Course, follow
from augean.analysis.sequential_design import design_of
from augean.report.figures.plotting import MUTED, Picture, Styles, finish_figure, save_figure
from augean.report.figures.row_styles import row_styles
from augean.report.row_names import baseline_name, legend_title

HIGHEST = 1000.0
"""Half-width in points at which longer ones are cut, as an infinite one cannot be drawn."""
WIDEST = 100.0
"""Ends of intervals beyond so many points do not set the scale."""


def draw_settling(table: Table, folder: Path) -> list[Picture]:
    """Draw the intervals of a settled table's rows, look by look of the sequential design.

    Return no picture for other tables.

    Args:
        folder: where the files go.
    """
    record = table.sweep.record
    if not record.design:
        return []
    courses = []
    for course in follow(record, table.sweep.all_job_runs):
        # A row with too few seeds has not been looked at yet.
        if course.looks:
            courses.append(course)
    styles = row_styles(table)
    drawn = [course for course in courses if course.row in styles]
    if not drawn:
        return []
    margin = design_of(record).margin
    caption = (
        f"Interval of each row's difference to {baseline_name(table)} at every look of the"
        f" sequential design, up to the one that settled the row. Grey: ±{margin:g}, within which a"
        " row is equivalent. Bars may leave the figure."
    )
    if len(drawn) < len(courses):
        caption += f" {len(drawn)} of {len(courses)} rows, those of the best validation accuracy."
    picture = save_figure(
        _intervals(table, drawn, styles, margin),
        folder,
        name=f"{record.name}_settling",
        caption=caption,
        alt=f"{record.title}: intervals by seeds",
    )
    return [picture]


def _intervals(
    table: Table, courses: Sequence[Course], all_styles: Styles, margin: float
) -> Figure:
    """Draw each row's difference to the baseline with its interval, by the number of seeds."""
    figure = Figure(figsize=(5.6, 3.3))
    axes = figure.subplots()
    axes.axhspan(-margin, margin, color=MUTED, alpha=0.15, linewidth=0)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    styles = {course.row: all_styles[course.row] for course in courses}
    for index, course in enumerate(courses):
        colour, marker = styles[course.row]
        # Side by side, so that rows of equal means do not hide each other.
        shift = 0.08 * (index - (len(courses) - 1) / 2)
        places = [num_seeds + shift for num_seeds in course.looks]
        halves = [min(half, HIGHEST) for half in course.halves]
        axes.errorbar(
            places,
            course.differences,
            halves,
            color=colour,
            marker=marker,
            markersize=4,
            linewidth=0.6,
        )
    axes.set_ylim(*_limits(courses, margin))
    axes.set_xlabel("seeds of the row and of the baseline")
    axes.set_title(f"test accuracy to {baseline_name(table)}, percentage points")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    first = min(course.looks[0] for course in courses)
    last = max(course.looks[-1] for course in courses)
    axes.set_xlim(first - 0.5, last + 0.5)
    finish_figure(figure, styles, {}, title=legend_title(table))
    return figure


def _limits(courses: Sequence[Course], margin: float) -> tuple[float, float]:
    """Return the ends of the axis, which hold all differences and each row's last interval.

    The first intervals, of few seeds, may be very wide, and may leave the figure.
    """
    values = [-2 * margin, 2 * margin]
    for course in courses:
        values += course.differences
        for bound in (course.difference.low, course.difference.high):
            # False for NaN, too.
            if abs(bound) < WIDEST:
                values.append(bound)
    room = 0.05 * (max(values) - min(values))
    return min(values) - room, max(values) + room
