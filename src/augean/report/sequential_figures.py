"""Draw the figure of a table that is being settled: each row's interval against the number of
seeds.
"""

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from augean.analysis.comparison import Table
from augean.analysis.sequential import Course, design_of, follow
from augean.report.plotting import COLOURS, MARKERS, MUTED, Picture, finish_figure, save_figure


def draw_settling(table: Table, folder: Path) -> list[Picture]:
    """The intervals of a settled table's rows, look by look; none for other tables."""
    record = table.sweep.record
    courses = (
        [course for course in follow(record, table.sweep.cells) if course.looks]
        if record.design
        else []
    )
    if not courses:
        return []
    margin = design_of(record).margin
    figure, looks = Figure(figsize=(5.6, 3.3)), {}
    axes = figure.subplots()
    axes.axhspan(-margin, margin, color=MUTED, alpha=0.15, linewidth=0)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    for index, course in enumerate(courses[: len(MARKERS)]):
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index]
        looks[course.row] = (colour, marker)
        # Side by side, so that rows of equal means do not hide each other.
        places = [n + 0.08 * (index - (len(courses[: len(MARKERS)]) - 1) / 2) for n in course.looks]
        halves = [min(half, 1e3) for half in course.halves]
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
    axes.set_title(f"test accuracy to {record.baseline}, percentage points")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(
        min(course.looks[0] for course in courses) - 0.5,
        max(course.looks[-1] for course in courses) + 0.5,
    )
    finish_figure(figure, looks, {})
    over = (
        f" The first {len(MARKERS)} of {len(courses)} rows." if len(courses) > len(MARKERS) else ""
    )
    caption = (
        f"Interval of each row's difference to {record.baseline} at every look of the sequential"
        f" design, up to the one that settled the row. Grey: ±{margin:g}, within which a row is"
        f" equivalent. Bars may leave the figure.{over}"
    )
    return [
        save_figure(
            figure,
            folder / "figures",
            f"{record.name}_settling",
            caption,
            f"{record.title}: intervals by seeds",
        )
    ]


def _limits(courses: list[Course], margin: float) -> tuple[float, float]:
    """All differences and the last intervals, where they have any: the first ones, of few seeds,
    may be very wide.
    """
    values = [
        -2 * margin,
        2 * margin,
        *(value for course in courses for value in course.differences),
    ]
    values += [
        value for course in courses for value in course.difference[1:3] if abs(value) < 100
    ]  # not NaN either
    room = 0.05 * (max(values) - min(values))
    return min(values) - room, max(values) + room
