"""Write for people: messages, colours of run states, readable durations and counts.

No training fails because of its output: where a terminal is closed, the disk behind stdout is full
or a locale lacks a letter, only text is lost.
"""

import errno
import io
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

STATE_COLOURS = {"finished": 32, "running": 36, "interrupted": 33, "failed": 31, "diverged": 35}
"""ANSI codes of the states of runs."""


def coloured(text: str, state: str) -> str:
    """Return the text in the colour of a state.

    The text stays without colour where the output is not a terminal, or its user has set NO_COLOR
    (https://no-color.org).
    """
    if state not in STATE_COLOURS or os.environ.get("NO_COLOR") or not sys.stdout.isatty():
        return text
    # ESC [ <code> m switches a colour on, ESC [ 0 m off.
    return f"\033[{STATE_COLOURS[state]}m{text}\033[0m"


def readable_seconds(seconds: float) -> str:
    """Return a duration such as `42 s`, `3 min 20 s` or `2 h 05 min`."""
    # Rounded first, so that 59.7 s is 1 min 00 s and not 60 s.
    whole_minutes, rest_seconds = divmod(round(seconds), 60)
    if whole_minutes == 0:
        return f"{rest_seconds} s"
    hours, minutes = divmod(whole_minutes, 60)
    if hours == 0:
        return f"{minutes} min {rest_seconds:02d} s"
    return f"{hours} h {minutes:02d} min"


def counted(number: int, noun: str) -> str:
    """Return a number with a noun of a regular plural, such as `1 run` or `1,200 runs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


class GuardedStream:
    """A text stream that drops its text, without an error, once it cannot be written any more."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None
        """The first error of writing; None while no text was lost."""

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
        except OSError as error:
            self._discard(error)
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._discard(error)

    def _discard(self, error: OSError) -> None:
        """Send the text that is still buffered, and all later text, to /dev/null."""
        self.error = self.error or error
        devnull = os.open(os.devnull, os.O_WRONLY)
        # Below the stream, so that libraries which write to the file descriptor are covered too.
        os.dup2(devnull, self._stream.fileno())
        os.close(devnull)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the stream itself, such as `isatty` or `encoding`."""
        return getattr(self._stream, name)


@contextmanager
def guarded_streams() -> Iterator[None]:
    """Guard stdout and stderr of a command, and show what the library logs."""
    show_messages()
    original_streams = sys.stdout, sys.stderr
    for name in ("stdout", "stderr"):
        # Started with this stream closed (`>&-`): its descriptor must not become that of a file.
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A letter that the locale lacks is written as \u2013.
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = GuardedStream(sys.stdout), GuardedStream(sys.stderr)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = original_streams


def exit_if_output_was_lost() -> None:
    """End a command whose whole purpose was its output, if not all of it was written.

    Raises:
        SystemExit: with the status of SIGPIPE, silently, where the reader closed the pipe, as
            before `| head`; else with a message.
    """
    sys.stdout.flush()
    error = getattr(sys.stdout, "error", None)
    if error is None:
        return
    if error.errno == errno.EPIPE:
        raise SystemExit(128 + signal.SIGPIPE)
    raise SystemExit(f"stdout: {error.strerror}; what was printed is not complete")


class MessageHandler(logging.Handler):
    """Write information to stdout and warnings to stderr, as plain text."""

    def emit(self, record: logging.LogRecord) -> None:
        # Looked up for each message: notebooks and tests exchange the streams.
        stream = sys.stdout if record.levelno < logging.WARNING else sys.stderr
        try:
            print(self.format(record), file=stream, flush=True)
        except (OSError, ValueError):  # a full disk; a closed stream, a letter it cannot encode
            return


def show_messages() -> None:
    """Show what the library logs, unless a program has set up handlers for it."""
    logger = logging.getLogger("augean")
    # A library must not take over the logging of a program that uses it.
    if not logger.handlers:
        logger.addHandler(MessageHandler())
        logger.setLevel(logging.INFO)
        logger.propagate = False
