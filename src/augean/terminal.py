"""Print for people: colours of run states, readable durations, the end of a closed pipe."""

import os
import signal
import sys
from typing import NoReturn

STATE_COLOURS = {"finished": 32, "running": 36, "interrupted": 33, "failed": 31, "diverged": 35}
"""ANSI codes of the states of runs."""


def coloured(text: str, state: str) -> str:
    """Return the text in the colour of a state.

    Without colour where the output is not a terminal, or its user has set NO_COLOR
    (https://no-color.org).
    """
    if state not in STATE_COLOURS or os.environ.get("NO_COLOR") or not sys.stdout.isatty():
        return text
    return f"\033[{STATE_COLOURS[state]}m{text}\033[0m"


def readable_seconds(seconds: float) -> str:
    """Return a duration such as `42 s`, `3 min 20 s` or `2 h 05 min`."""
    whole_minutes, rest_seconds = divmod(round(seconds), 60)
    if whole_minutes == 0:
        return f"{rest_seconds} s"
    hours, minutes = divmod(whole_minutes, 60)
    if hours == 0:
        return f"{minutes} min {rest_seconds:02d} s"
    return f"{hours} h {minutes:02d} min"


def exit_on_closed_pipe() -> NoReturn:
    """End silently with the status of SIGPIPE, as a program before `| head` is expected to."""
    # What is still buffered goes nowhere, without another error.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    raise SystemExit(128 + signal.SIGPIPE)
