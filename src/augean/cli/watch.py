"""`augean watch`: a live table of the sweeps in a folder, in the terminal and as a page."""

import argparse
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from augean.cli.parser import (
    Commands,
    add_command,
    add_outputs_option,
    check_outputs,
    path_argument,
)

if TYPE_CHECKING:
    from augean.monitor.sweep_status import StatusReader
    from augean.monitor.view import SweepView

WATCH_EXAMPLES = """
augean watch                                   all sweeps of ./outputs, until Ctrl-C
augean watch table1                            those whose name begins so
augean watch --page                            outputs/watch.html too, which reloads itself
"""
DEFAULT_SECONDS = 2.0
"""Between two looks, which read the files of all sweeps."""
PAGE = "watch.html"
"""Name of the page in the folder of outputs, where no other is given."""


def add_commands(commands: Commands) -> None:
    parser = add_command(
        commands,
        "watch",
        run_watch,
        summary="a live table of sweeps: rows, means, epoch and time left of runs, failures",
        examples=WATCH_EXAMPLES,
    )
    parser.add_argument("sweep", nargs="?", default="", help="only sweeps whose name begins so")
    add_outputs_option(parser)
    parser.add_argument(
        "--page",
        type=page_file,
        nargs="?",
        const=Path(),
        help="write the same as a page that reloads itself (default: watch.html in the outputs)",
    )
    parser.add_argument(
        "--every",
        type=positive_seconds,
        default=DEFAULT_SECONDS,
        help=f"seconds between two looks (default: {DEFAULT_SECONDS:g})",
    )
    parser.add_argument("--once", action="store_true", help="look once")


def page_file(text: str) -> Path:
    """Read the name of the page's file, as the `type` of an option.

    Raises:
        argparse.ArgumentTypeError: for a name without .html: it may be that of a sweep.
    """
    path = path_argument(text)
    if path.suffix != ".html":
        raise argparse.ArgumentTypeError(
            f"{text}: takes a file such as watch.html; the name of a sweep goes before --page"
        )
    return path


def positive_seconds(text: str) -> float:
    """Read a number of seconds above 0, as the `type` of an option.

    Raises:
        argparse.ArgumentTypeError: for anything else; argparse adds the option's name.
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise argparse.ArgumentTypeError(f"{text}: must be a number of seconds above 0")
    return seconds


def run_watch(arguments: argparse.Namespace) -> int:
    """Show the sweeps until Ctrl-C; once where the output is neither a terminal nor a page."""
    from augean.monitor.sweep_status import StatusReader

    outputs: Path = arguments.outputs
    check_outputs(outputs)
    watch = Watch(StatusReader(outputs), arguments.sweep, arguments.every, arguments.page)
    is_terminal = sys.stdout.isatty()
    if arguments.once or not (is_terminal or arguments.page):
        watch.show_once()
    elif is_terminal:
        watch.show_live()
    else:
        watch.repeat(lambda: None)  # only the page is kept up to date
    return 0


class Watch:
    """Looks at the files of a folder again and again, and shows what they say."""

    def __init__(
        self, reader: "StatusReader", sweep: str, seconds: float, page: Path | None
    ) -> None:
        """Look at nothing yet.

        Args:
            sweep: beginning of the names of the sweeps that are shown.
            seconds: between two looks.
            page: file of the page; None for none, an empty path for that in the outputs.
        """
        self.reader = reader
        self.sweep = sweep
        self.seconds = seconds
        self.page = page
        if page == Path():
            self.page = reader.outputs / PAGE
        self.views: list[SweepView] = []
        self.remarks: list[str] = []

    def look(self, *, last: bool = False) -> None:
        """Read the files, and replace the page.

        Args:
            last: the page is not reloaded any more.
        """
        from augean.monitor.page import write_watch_page
        from augean.monitor.view import view_sweep

        # Everything comes from files, so a sweep of another machine on a shared disk is seen too.
        records = self.reader.read_records()
        chosen = [record for record in records if record.name.startswith(self.sweep)]
        self.views = [view_sweep(self.reader.read(record)) for record in chosen]
        self.remarks = list(self.reader.problems)
        if not chosen:
            which = f" whose name begins with {self.sweep}" if self.sweep else ""
            self.remarks.append(f"No sweep{which} in {self.reader.outputs} yet.")
        if self.page is not None:
            seconds = None if last else self.seconds
            write_watch_page(self.page, self.views, self.remarks, seconds)

    def show_once(self) -> None:
        """Print the table as it is now."""
        from rich.console import Console

        from augean.monitor.terminal import render

        self.look(last=True)
        Console(file=sys.stdout, highlight=False).print(render(self.views, self.remarks))

    def show_live(self) -> None:
        """Redraw the table in place until Ctrl-C; the last one stays on the screen."""
        from rich.console import Console
        from rich.live import Live

        from augean.monitor.terminal import render

        console = Console(file=sys.stdout, highlight=False)
        with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:

            def show() -> None:
                # One line more than the screen has, so that `Live` marks the table as cut.
                picture = render(self.views, self.remarks, console.height + 1)
                live.update(picture, refresh=True)

            self.repeat(show)

    def repeat(self, show: Callable[[], None]) -> None:
        """Look and show until Ctrl-C or SIGTERM, which is how a watch ends."""
        # Set for both: a shell starts a command of a script in the background without Ctrl-C.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        try:
            while True:
                self.look()
                show()
                time.sleep(self.seconds)
        except KeyboardInterrupt:
            # The page stops reloading, as nobody writes it any more.
            if self.page is not None:
                self.look(last=True)
