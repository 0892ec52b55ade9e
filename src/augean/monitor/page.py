"""The page of `augean watch --page`: one file that a browser reloads by itself."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, Template

from augean.errors import AugeanError
from augean.monitor.view import FAILURE_HEADINGS, ROW_HEADINGS, RUN_HEADINGS, SweepView
from augean.regular_files import DATA_BYTES, open_regular
from augean.store.files import write_atomic

MIN_RELOAD_SECONDS = 2
"""Least time between two reloads. While a browser reloads, it shows a blank page for a moment."""
MARK = b"<title>Augean watch</title>"
"""What the page has among its first bytes; a file without it is somebody else's."""
HEAD_BYTES = 4096
"""First bytes of a file that are searched for the mark."""


def write_watch_page(
    file: Path, views: Sequence[SweepView], remarks: Sequence[str], seconds: float | None
) -> None:
    """Write the page in one step, so that a browser never reads half of it.

    Args:
        remarks: lines below the sweeps, such as files that cannot be read.
        seconds: time until the command writes the page again; None for the last page, which does
            not reload any more.

    Raises:
        AugeanError: when the file cannot be written, or is there and not such a page.
    """
    if not _may_write(file):
        raise AugeanError(
            f"--page {file}: exists and is not a page of augean watch; remove it, or name another"
            " file"
        )
    reload_seconds = None
    if seconds is not None:
        reload_seconds = max(MIN_RELOAD_SECONDS, round(seconds))
    text = _template().render(
        views=views,
        remarks=remarks,
        written=datetime.now(UTC),
        reload_seconds=reload_seconds,
        run_headings=RUN_HEADINGS,
        failure_headings=FAILURE_HEADINGS,
        row_headings=ROW_HEADINGS,
    )
    # The name of a file may hold bytes that are not UTF-8; they become question marks.
    # The page is written every few seconds: after a power failure an old one does no harm, so no
    # write waits for the disk.
    write_atomic(file, text.encode("utf-8", "replace"), sync=False)


def _may_write(file: Path) -> bool:
    """Return whether there is no such file yet, or an older page."""
    try:
        with open_regular(file, DATA_BYTES) as page:
            return MARK in page.read(HEAD_BYTES)
    except FileNotFoundError:
        return True
    except OSError:  # such as a folder
        return False


@cache
def _template() -> Template:
    """Return watch.html, which lies beside this file."""
    # Escaped, as names and messages of runs may hold "<" and "&".
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    return environment.get_template("watch.html")
