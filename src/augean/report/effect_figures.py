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

from augean.analysis.comparison import MARGIN, Row, Table
from augean.analysis.verdict import Verdict
from augean.report.plotting import GREY, MUTED, Picture, save_figure, shorten_label
from augean.report.tables import number

LOOKS = {
    Verdict.BETTER: ("#0072B2", "^"),
    Verdict.WORSE: ("#D55E00", "v"),
    Verdict.EQUIVALENT: ("#009E73", "s"),
    Verdict.UNDECIDED: (MUTED, "o"),
}
"""Colour and marker of each verdict."""
MOST_DRAWN = 10
"""Rows of a table that its figure shows."""
MOST_TOGETHER = 36
"""Rows that the figure of all tables shows."""
LONGEST_LABEL = 26
# All lengths are in inches; the figure is narrow, so that its text is readable on a telephone.
WIDTH = 4.3
LINE = 0.25
"""Height of a row."""
CHARACTER = 0.075
"""Width of a character of a label."""
AMOUNT_WIDTH = 1.05
"""Width of the column of numbers."""
REACH = 1.5
"""Intervals are cut where they leave the drawn differences by more than so many times the range of
these, and so many median half-widths: one row with few seeds would hide what the others say."""


@dataclass(frozen=True)
class _Line:
    """One line of a figure: the difference of a row, or the title of a table."""

    text: str
    row: Row | None = None


def draw_effects(table: Table, folder: Path) -> list[Picture]:
    """Draw the differences of a table's rows; nothing where none was compared.

    Args:
        folder: where the files go.
    """
    rows = _compared(table)
    if not rows:
        return []
    record = table.sweep.record
    drawn = _most_telling(rows, MOST_DRAWN)
    caption = f"Differences to {table.baseline}."
    if len(drawn) < len(rows):
        caption += _left_out(len(rows) - len(drawn))
    margin = drawn[0].difference.margin
    lines = [_Line(shorten_label(row.label, LONGEST_LABEL), row) for row in drawn]
    baseline = shorten_label(str(table.baseline), 20)
    picture = save_figure(
        _figure(lines, f"test accuracy minus that of {baseline}, points", margin),
        folder,
        name=f"{record.name}_effects",
        caption=caption,
        alt=f"{record.title}: differences to {table.baseline}",
    )
    return [picture]


def draw_all_effects(tables: Sequence[Table], folder: Path) -> list[Picture]:
    """Draw the differences of all tables in one figure; nothing where fewer than two have any."""
    compared = {table: rows for table in tables if (rows := _compared(table))}
    if len(compared) < 2:
        return []
    share = max(1, MOST_TOGETHER // len(compared))
    num_left_out = 0
    lines = []
    margins = set()
    for table, rows in list(compared.items())[:MOST_TOGETHER]:
        drawn = _most_telling(rows, share)
        num_left_out += len(rows) - len(drawn)
        lines.append(_Line(f"{table.sweep.record.title} (to {table.baseline})"))
        lines += [_Line(shorten_label(row.label, LONGEST_LABEL), row) for row in drawn]
        margins.add(drawn[0].difference.margin)
    for rows in list(compared.values())[MOST_TOGETHER:]:
        num_left_out += len(rows)
    caption = "Differences to the baseline of each table."
    if num_left_out:
        caption += _left_out(num_left_out)
    margin = margins.pop() if len(margins) == 1 else MARGIN
    picture = save_figure(
        _figure(lines, "test accuracy minus the baseline's, points", margin),
        folder,
        name="effects",
        caption=caption,
        alt="All tables: differences to the baselines",
    )
    return [picture]


def _compared(table: Table) -> list[Row]:
    return [row for row in table.rows if not math.isnan(row.difference.value)]


def _most_telling(rows: Sequence[Row], number_drawn: int) -> list[Row]:
    """Return decided rows first, then those of the largest difference, in the table's order."""

    def key(row: Row) -> tuple[bool, float]:
        is_open = row.difference.verdict is Verdict.UNDECIDED
        return (is_open, -abs(row.difference.value))

    labels = {row.label for row in sorted(rows, key=key)[:number_drawn]}
    return [row for row in rows if row.label in labels]


def _left_out(count: int) -> str:
    rows = "1 row" if count == 1 else f"{count} rows"
    return f" {rows} left out: undecided before decided, small differences before large ones."


def _figure(lines: Sequence[_Line], title: str, margin: float) -> Figure:
    rows = [line.row for line in lines if line.row is not None]
    longest = max(len(line.text) for line in lines if line.row is not None)
    left = 0.2 + CHARACTER * longest
    verdicts = [verdict for verdict in LOOKS if any(_verdict(row) is verdict for row in rows)]
    bottom = 0.62
    height = bottom + LINE * len(lines) + 0.36
    width = WIDTH + CHARACTER * max(0, longest - 12)
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes(
        (
            left / width,
            bottom / height,
            1 - (left + AMOUNT_WIDTH + 0.1) / width,
            LINE * len(lines) / height,
        )
    )
    low, high = _limits(rows, margin)
    axes.set_xlim(low, high)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.axvspan(-margin, margin, color=GREY, alpha=0.35, linewidth=0)
    axes.axvline(0, color=MUTED, linewidth=1)
    axes.spines["left"].set_visible(False)
    _draw_lines(axes, lines)
    _draw_intervals(axes, lines, verdicts)
    figure.text(0.1 / width, 1 - 0.18 / height, title, weight="bold", size=10, va="center")
    handles = []
    for verdict in verdicts:
        colour, marker = LOOKS[verdict]
        handles.append(Line2D([], [], color=colour, marker=marker, markersize=6, label=verdict))
    figure.legend(handles=handles, loc="lower center", ncols=len(handles), handlelength=1.6)
    return figure


def _verdict(row: Row) -> Verdict:
    verdict = row.difference.verdict
    return verdict if verdict in LOOKS else Verdict.UNDECIDED


def _limits(rows: Sequence[Row], margin: float) -> tuple[float, float]:
    """Return the ends of the axis: all differences, and of their intervals what is not cut."""
    values = [row.difference.value for row in rows] + [-margin, margin]
    halves = [row.difference.high - row.difference.value for row in rows]
    known = [half for half in halves if not math.isnan(half)]
    reach = REACH * max(max(values) - min(values), median(known or [0.0]))
    lows = [row.difference.low for row in rows if not math.isnan(row.difference.low)]
    highs = [row.difference.high for row in rows if not math.isnan(row.difference.high)]
    low = max(min([*values, *lows]), min(values) - reach)
    high = min(max([*values, *highs]), max(values) + reach)
    room = 0.04 * (high - low)
    return low - room, high + room


def _draw_lines(axes: Axes, lines: Sequence[_Line]) -> None:
    """Write labels to the left, numbers to the right, and titles of tables across."""
    # Ticks would take twice as long to draw as plain text.
    axes.set_yticks([])
    numbers = axes.get_yaxis_transform()
    for place, line in enumerate(lines):
        if line.row is None:
            axes.annotate(
                shorten_label(line.text, 60),
                (0, place),
                xycoords=("figure fraction", "data"),
                xytext=(7, 0),
                textcoords="offset points",
                va="center",
                weight="bold",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
            )
            continue
        axes.text(-0.03, place, line.text, transform=numbers, ha="right", va="center", size=8.5)
        text = _amount(line.row)
        axes.text(1.03, place, text, transform=numbers, va="center", size=8.5)


def _amount(row: Row) -> str:
    difference = row.difference
    half = (difference.high - difference.low) / 2
    digits = 1 if half >= 1 else 2
    text = number(difference.value, digits, signed=True)
    if math.isnan(half):
        return text
    return f"{text} ± {number(half, digits)}"


def _draw_intervals(axes: Axes, lines: Sequence[_Line], verdicts: Sequence[Verdict]) -> None:
    """Draw points and intervals, one call a verdict; an arrow where an interval is cut."""
    low_end, high_end = axes.get_xlim()
    for verdict in verdicts:
        colour, marker = LOOKS[verdict]
        places = []
        values = []
        intervals: list[tuple[int, float, float]] = []
        for place, line in enumerate(lines):
            if line.row is None or _verdict(line.row) is not verdict:
                continue
            difference = line.row.difference
            places.append(place)
            values.append(difference.value)
            if math.isnan(difference.low):
                continue
            low = max(difference.low, low_end)
            high = min(difference.high, high_end)
            intervals.append((place, low, high))
            for end, bound, arrow in ((low, difference.low, "<"), (high, difference.high, ">")):
                if end != bound:
                    axes.plot([end], [place], arrow, color=colour, markersize=6, clip_on=False)
        axes.hlines(
            [place for place, _, _ in intervals],
            [low for _, low, _ in intervals],
            [high for _, _, high in intervals],
            color=colour,
            linewidth=2,
        )
        axes.plot(values, places, marker, color=colour, markersize=7, linestyle="none")
