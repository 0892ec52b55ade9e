"""The page of `augean watch --page`: one file that a browser reloads by itself."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, Template

from augean.monitor.view import FAILURE_HEADINGS, ROW_HEADINGS, RUN_HEADINGS, SweepView
from augean.store.files import write_atomic

SHORTEST_RELOAD = 2
"""Seconds between two reloads, at least: a browser shows a page blank for a moment."""


def write_watch_page(
    file: Path, views: Sequence[SweepView], remarks: Sequence[str], seconds: float | None
) -> None:
    """Replace the page, whole at any moment.

    Args:
        seconds: between two looks; None for the last page, which is not reloaded any more.

    Raises:
        AugeanError: when the file cannot be written.
    """
    reload_seconds = None
    if seconds is not None:
        reload_seconds = max(SHORTEST_RELOAD, round(seconds))
    text = _template().render(
        views=views,
        remarks=remarks,
        made=datetime.now(UTC),
        reload_seconds=reload_seconds,
        headings=(RUN_HEADINGS, FAILURE_HEADINGS, ROW_HEADINGS),
    )
    # Names of files may hold bytes that are no text; they become question marks.
    write_atomic(file, text.encode("utf-8", "replace"), sync=False)


@cache
def _template() -> Template:
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    return environment.get_template("watch.html")
