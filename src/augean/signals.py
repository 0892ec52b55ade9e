"""Turn stop signals into a wish to stop after the epoch."""

import os
import signal
import threading
from types import FrameType
from typing import Any


class Interrupted(BaseException):
    """A stop signal arrived; raised where the run can be left."""


class StopSignals:
    """Turns SIGTERM, SIGINT and SIGUSR1 into a wish to stop after the epoch.

    The second Ctrl-C, or the end of the grace time, ends the epoch at once by raising `Interrupted`
    in the main thread.
    """

    def __init__(self, grace_seconds: float) -> None:
        self.grace_seconds = grace_seconds
        self.signal: int | None = None
        self.before: dict[int, Any] = {}
        self.disarmed = False

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.disarmed:
            self.signal = self.signal or number
        elif self.signal is not None and number == signal.SIGINT:
            raise Interrupted
        elif self.signal is None:
            self.signal = number
            signal.setitimer(signal.ITIMER_REAL, max(self.grace_seconds, 1e-3))
            text = (
                f"\nStopping after this epoch, in {self.grace_seconds:g} s at the latest; Ctrl-C"
                " again stops now.\n"
            )
            os.write(2, text.encode())  # print is not safe in a signal handler

    def _on_grace_over(self, number: int, frame: FrameType | None) -> None:
        if not self.disarmed:
            raise Interrupted

    def disarm(self) -> None:
        """From here on a signal is only noted."""
        self.disarmed = True

    def __enter__(self) -> "StopSignals":
        if (
            threading.current_thread() is threading.main_thread()
        ):  # signals reach the main thread alone
            handlers = dict.fromkeys(
                (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1), self._on_signal
            )
            handlers[signal.SIGALRM] = self._on_grace_over
            self.before = {
                number: signal.signal(number, handler) for number, handler in handlers.items()
            }
        return self

    def __exit__(self, *_: object) -> None:
        if self.before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self.before.items():
            signal.signal(number, handler)
