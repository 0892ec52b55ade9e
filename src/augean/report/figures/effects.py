"""Draw effects: every row's difference to the baseline with its simultaneous interval.

One figure a table, and one of all tables together for the top of the report.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from augean.analysis.comparison import Row, Table
from augean.analysis.verdict import Verdict
from augean.report.figures.plotting import (
    COLOURS,
    GREY,
    MUTED,
    Picture,
    save_figure,
    shorten_label,
    shorten_labels,
)
from augean.report.row_names import baseline_name
from augean.report.tables import amount
from augean.store.record_titles import distinct_titles
from augean.terminal import counted

STYLES = {
    Verdict.BETTER: (COLOURS[0], "^"),
    Verdict.WORSE: (COLOURS[5], "v"),
    Verdict.EQUIVALENT: (COLOURS[4], "s"),
    Verdict.UNDECIDED: (MUTED, "o"),
}
"""Colour and marker of each verdict."""
MAX_DRAWN = 10
"""Rows of a table that its figure shows."""
MAX_TOGETHER = 36
"""Rows that the figure of all tables shows."""
LONGEST_LABEL = 26
LONGEST_TITLE = 60
# All lengths are in inches; the figure is narrow, so that its text is readable on a telephone.
WIDTH = 4.3
LINE = 0.25
"""Height of a row."""
CHARACTER = 0.075
"""Width of a character of a label."""
AMOUNT_WIDTH = 1.05
"""Width of the column of numbers."""
REACH = 1.5
"""How far an interval is drawn beyond the lowest and the highest difference before it is cut. The
unit is the range of the differences, or the median half-width where that is larger. A row with few
seeds would otherwise set a scale on which the other rows cannot be read."""

LARGEST = 100.0
"""Difference of two accuracies beyond which none can lie, in percentage points."""


@dataclass(frozen=True)
class _Line:
    """One line of a figure: the difference of a row, or the title of a table."""

    text: str
    row: Row | None = None


def draw_effects(table: Table, folder: Path) -> list[Picture]:
    """Draw the differences of a table's rows; return no picture where none was compared.

    Args:
        folder: where the files go.
    """
    rows = _compared(table)
    if not rows:
        return []
    record = table.sweep.record
    drawn = _most_telling(rows, MAX_DRAWN)
    caption = f"Differences to {baseline_name(table)}."
    if len(drawn) < len(rows):
        caption += _left_out(len(rows) - len(drawn))
    margin = drawn[0].difference.margin
    baseline = shorten_label(baseline_name(table), 20)
    title = f"test accuracy minus that of {baseline}, points"
    picture = save_figure(
        _figure(_row_lines(drawn), title, margin),
        folder,
        name=f"{record.name}_effects",
        caption=caption,
        alt=f"{record.title}: differences to {baseline_name(table)}",
    )
    return [picture]


def draw_all_effects(tables: Sequence[Table], folder: Path) -> list[Picture]:
    """Draw the differences of all tables in one figure.

    Return no picture where fewer than two tables have any.
    """
    compared = []
    for table in tables:
        rows = _compared(table)
        if rows:
            compared.append((table, rows))
    if len(compared) < 2:
        return []
    rows_a_table = max(1, MAX_TOGETHER // len(compared))
    num_rows = sum(len(rows) for _, rows in compared)
    num_drawn = 0
    lines = []
    margins = set()
    titles = distinct_titles(table.sweep.record for table in tables)
    for table, rows in compared[:MAX_TOGETHER]:
        drawn = _most_telling(rows, rows_a_table)
        num_drawn += len(drawn)
        # The baseline stays whole as far as possible: without it a difference says nothing.
        baseline = shorten_label(f"(to {baseline_name(table)})", LONGEST_TITLE // 2)
        title = shorten_label(titles[table.sweep.record.name], LONGEST_TITLE - len(baseline) - 1)
        lines.append(_Line(f"{title} {baseline}"))
        lines += _row_lines(drawn)
        margins.add(drawn[0].difference.margin)
    caption = "Differences to the baseline of each table."
    if num_drawn < num_rows:
        caption += _left_out(num_rows - num_drawn)
    margin = 0.0
    if len(margins) == 1:
        margin = margins.pop()
    else:
        caption += " Margins of equivalence differ and are drawn in the tables' own figures."
    picture = save_figure(
        _figure(lines, "test accuracy minus the baseline's, points", margin),
        folder,
        name="effects",
        caption=caption,
        alt="All tables: differences to the baselines",
    )
    return [picture]


def _compared(table: Table) -> list[Row]:
    """Return the rows that have a difference to the baseline."""
    return [row for row in table.rows if not math.isnan(row.difference.value)]


def _row_lines(rows: Sequence[Row]) -> list[_Line]:
    labels = shorten_labels([row.label for row in rows], LONGEST_LABEL)
    return [_Line(labels[row.label], row) for row in rows]


def _most_telling(rows: Sequence[Row], most: int) -> list[Row]:
    """Return at most so many rows, in the table's order.

    Decided rows come before undecided ones, and large differences before small ones.
    """

    def rank(row: Row) -> tuple[bool, float]:
        is_undecided = row.difference.verdict is Verdict.UNDECIDED
        return (is_undecided, -abs(row.difference.value))

    labels = {row.label for row in sorted(rows, key=rank)[:most]}
    return [row for row in rows if row.label in labels]


def _left_out(count: int) -> str:
    return f" {counted(count, 'row')} left out; decided rows and large differences are drawn first."


def _figure(lines: Sequence[_Line], title: str, margin: float) -> Figure:
    """Draw all lines, one below the other."""
    rows = []
    longest = 0
    for line in lines:
        if line.row is not None:
            rows.append(line.row)
            longest = max(longest, len(line.text))
    left = 0.2 + CHARACTER * longest
    bottom = 0.62
    height = bottom + LINE * len(lines) + 0.36
    width = WIDTH + CHARACTER * max(0, longest - 12)
    figure = Figure(figsize=(width, height))
    # Matplotlib places axes in fractions of the figure.
    axes_width = width - left - AMOUNT_WIDTH - 0.1
    axes_height = LINE * len(lines)
    rectangle = (
        left / width,
        bottom / height,
        axes_width / width,
        axes_height / height,
    )
    axes = figure.add_axes(rectangle)
    low, high = _limits(rows, margin)
    axes.set_xlim(low, high)
    # Line 0 stands at the top.
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.axvspan(-margin, margin, color=GREY, alpha=0.35, linewidth=0)
    axes.axvline(0, color=MUTED, linewidth=1)
    axes.spines["left"].set_visible(False)
    _write_lines(axes, lines)
    handles = []
    for verdict, (colour, marker) in STYLES.items():
        if any(_drawn_verdict(row) is verdict for row in rows):
            _draw_intervals(axes, lines, verdict)
            handles.append(Line2D([], [], color=colour, marker=marker, markersize=6, label=verdict))
    figure.text(0.1 / width, 1 - 0.18 / height, title, weight="bold", size=10, va="center")
    figure.legend(handles=handles, loc="lower center", ncols=len(handles), handlelength=1.6)
    return figure


def _drawn_verdict(row: Row) -> Verdict:
    """Return the verdict that a row is drawn as: undecided where its own has no style."""
    verdict = row.difference.verdict
    return verdict if verdict in STYLES else Verdict.UNDECIDED


def _limits(rows: Sequence[Row], margin: float) -> tuple[float, float]:
    """Return the ends of the axis.

    They hold all differences, and their intervals as far as `REACH` allows.
    """
    values = [-margin, margin]
    ends = [-margin, margin]
    halves = []
    for row in rows:
        difference = row.difference
        values.append(difference.value)
        ends.append(difference.value)
        # One seed has a difference and no interval.
        if not math.isnan(difference.low):
            ends += [difference.low, difference.high]
            halves.append(difference.high - difference.value)
    unit = max(values) - min(values)
    if halves:
        unit = max(unit, median(halves))
    low = max(min(ends), min(values) - REACH * unit, -LARGEST)
    high = min(max(ends), max(values) + REACH * unit, LARGEST)
    room = 0.04 * (high - low)
    return low - room, high + room


def _write_lines(axes: Axes, lines: Sequence[_Line]) -> None:
    """Write labels to the left, numbers to the right, and titles of tables across."""
    # Ticks would take twice as long to draw as plain text.
    axes.set_yticks([])
    # Across in fractions of the axes, down in lines.
    beside = axes.get_yaxis_transform()
    for place, line in enumerate(lines):
        if line.row is None:
            _write_title(axes, place, line.text)
        else:
            axes.text(-0.05, place, line.text, transform=beside, ha="right", va="center", size=8.5)
            difference = line.row.difference
            numbers = amount(difference.value, difference.half_width, signed=True)
            axes.text(1.05, place, numbers, transform=beside, va="center", size=8.5)


def _write_title(axes: Axes, place: int, title: str) -> None:
    """Write the title of a table from the left edge of the figure, over what lies behind it."""
    axes.annotate(
        title,
        (0, place),
        xycoords=("figure fraction", "data"),
        xytext=(7, 0),
        textcoords="offset points",
        va="center",
        weight="bold",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
    )


def _draw_intervals(axes: Axes, lines: Sequence[_Line], verdict: Verdict) -> None:
    """Draw the rows of one verdict: points, and intervals with an arrow where they are cut."""
    colour, marker = STYLES[verdict]
    left_end, right_end = axes.get_xlim()
    # Collected first, as one call for all rows draws faster than one for each.
    values = []
    places = []
    interval_places = []
    lows = []
    highs = []
    for place, line in enumerate(lines):
        if line.row is None or _drawn_verdict(line.row) is not verdict:
            continue
        difference = line.row.difference
        values.append(difference.value)
        places.append(place)
        if math.isnan(difference.low):
            continue
        interval_places.append(place)
        lows.append(max(difference.low, left_end))
        highs.append(min(difference.high, right_end))
        if difference.low < left_end:
            axes.plot([left_end], [place], "<", color=colour, markersize=6, clip_on=False)
        if difference.high > right_end:
            axes.plot([right_end], [place], ">", color=colour, markersize=6, clip_on=False)
    axes.hlines(interval_places, lows, highs, color=colour, linewidth=2)
    axes.plot(values, places, marker, color=colour, markersize=7, linestyle="none")
