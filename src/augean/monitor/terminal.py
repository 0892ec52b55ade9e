"""The live table of `augean watch` in a terminal."""

from collections.abc import Sequence

from rich.console import Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from augean.monitor.view import FAILURE_HEADINGS, ROW_HEADINGS, RUN_HEADINGS, SweepView
from augean.store.summary import RunState

STATE_STYLES = {
    RunState.FINISHED: "green",
    RunState.RUNNING: "cyan",
    RunState.INTERRUPTED: "yellow",
    RunState.FAILED: "red",
    RunState.DIVERGED: "magenta",
}
"""Colour of a count of runs; states that are not here have none."""
TEXT_COLUMNS = ("row", "not finished", "in training", "failed", "message")
"""Headings of columns that hold words, which are aligned left. Numbers are aligned right."""
LINES_AROUND = 3
"""Lines of a sweep besides those of its tables: its name, the first headings, an empty line."""


def render(
    views: Sequence[SweepView], remarks: Sequence[str], max_lines: int | None = None
) -> RenderableType:
    """Return what the terminal shows of all sweeps.

    Args:
        remarks: lines above the sweeps, such as files that cannot be read.
        max_lines: lines of the screen, so that no time goes into what it cannot show; None for all.
    """
    # As `Text`: rich would read a "[" in a plain string, such as a message, as markup.
    parts: list[RenderableType] = [Text(remark, style="dim") for remark in remarks]
    # A lower bound, which is enough to stop early.
    num_lines = len(parts)
    # Incomplete sweeps come first (False sorts before True), as the screen may end before the rest.
    for view in sorted(views, key=lambda view: view.is_complete):
        if max_lines is not None and num_lines > max_lines:
            break
        parts += _render_sweep(view, max_lines)
        num_lines += LINES_AROUND + len(view.training) + len(view.failures) + len(view.rows)
    return Group(*parts)


def _render_sweep(view: SweepView, max_lines: int | None) -> list[RenderableType]:
    """Return a sweep's line of counts, its tables and an empty line."""
    counts = [Text(text, style=STATE_STYLES.get(state, "")) for text, state in view.counts]
    head = Text(f"{view.name} ({view.title})  ", style="bold")
    head.append_text(Text(", ").join(counts))
    if view.study:
        head.append(f"  {view.study}")
    parts: list[RenderableType] = [head]
    # What is in training or failed comes before the results, as a person may have to act on it.
    tables = (
        (RUN_HEADINGS, view.training, "cyan"),
        (FAILURE_HEADINGS, view.failures, "red"),
        (ROW_HEADINGS, view.rows, ""),
    )
    for headings, rows, style in tables:
        if rows:
            parts.append(_table(headings, rows[:max_lines], style))
    parts += [Text(f"  {line}", style="dim") for line in view.more]
    parts.append(Text(""))
    return parts


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], style: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2), header_style="dim")
    for heading in headings:
        justify: JustifyMethod = "left" if heading in TEXT_COLUMNS else "right"
        # Long words are folded: a message that is cut off at the edge would lose its end.
        table.add_column(heading, justify=justify, overflow="fold")
    for cells in rows:
        table.add_row(*[Text(cell) for cell in cells], style=style)
    return table
