"""The live table of `augean watch` in a terminal."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from augean.monitor.view import FAILURE_HEADINGS, ROW_HEADINGS, RUN_HEADINGS, SweepView
from augean.store.summary import RunState

STYLES = {
    RunState.FINISHED: "green",
    RunState.RUNNING: "cyan",
    RunState.INTERRUPTED: "yellow",
    RunState.FAILED: "red",
    RunState.DIVERGED: "magenta",
}
TEXT_COLUMNS = ("row", "not finished", "in training", "failed", "message")


def render(
    views: Sequence[SweepView], remarks: Sequence[str], max_lines: int | None = None
) -> RenderableType:
    """Return what the terminal shows: what is in work first, as the screen may be short.

    Args:
        max_lines: lines of the screen, so that no time goes into what it cannot show; None for all.
    """
    # All texts come from files, so none is read as rich's markup.
    parts: list[RenderableType] = [Text(remark, style="dim") for remark in remarks]
    num_lines = len(parts)
    for view in sorted(views, key=lambda view: view.is_complete):
        if max_lines is not None and num_lines > max_lines:
            break
        parts += _render_sweep(view, max_lines)
        num_lines += 3 + len(view.training) + len(view.failures) + len(view.rows)
    return Group(*parts)


def _render_sweep(view: SweepView, max_lines: int | None) -> list[RenderableType]:
    head = Text(f"{view.name} ({view.title})  ", style="bold")
    for number, (text, state) in enumerate(view.counts):
        if number:
            head.append(", ")
        head.append(text, style=STYLES.get(state, ""))
    if view.study:
        head.append(f"  {view.study}")
    parts: list[RenderableType] = [head]
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
        justify = "left" if heading in TEXT_COLUMNS else "right"
        table.add_column(heading, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for cells in rows:
        table.add_row(*[Text(cell) for cell in cells], style=style)
    return table
