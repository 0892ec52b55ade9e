"""What commands print: colours of run states, readable durations, the end of a closed pipe."""

import os
import signal
import sys
from typing import NoReturn

STATE_COLOURS = {"finished": 32, "running": 36, "interrupted": 33, "failed": 31, "diverged": 35}
"""ANSI codes of the states of runs."""


def coloured(text: str, state: str) -> str:
    """The text in the colour of a state, on a terminal whose user has not set NO_COLOR
    (https://no-color.org).
    """
    plain = state not in STATE_COLOURS or os.environ.get("NO_COLOR") or not sys.stdout.isatty()
    return text if plain else f"\033[{STATE_COLOURS[state]}m{text}\033[0m"


def readable_seconds(seconds: float) -> str:
    """`42 s`, `3 min 20 s`, `2 h 05 min`."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def exit_on_closed_pipe() -> NoReturn:
    """End as `head` and the like expect it of who writes to them: silently, with the status of
    SIGPIPE.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what is still buffered
    raise SystemExit(128 + signal.SIGPIPE)
