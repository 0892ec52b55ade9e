"""Stop signals: stop after the epoch, and pass the signal on to child processes.

The stop signals are SIGTERM (a cluster's or an operator's), SIGINT (Ctrl-C) and SIGUSR1 (SLURM's
notice before the time limit).
"""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

CANCEL = signal.SIGTERM
"""What a cluster sends to a job that it cancels."""
TIME_LIMIT_NEAR = signal.SIGUSR1
"""What SLURM sends before the time limit, as the job scripts ask it to."""
STOP_SIGNALS = (CANCEL, signal.SIGINT, TIME_LIMIT_NEAR)
SHORTEST_GRACE = 1e-3
"""Seconds; a timer of 0 would never ring."""


class Interrupted(BaseException):
    """A stop signal arrived; raised where a run can stop without losing what it has saved.

    A BaseException, so that no `except Exception` in the user's code takes it for an error.
    """


class Stopped(SystemExit):
    """A run has ended for a stop signal, with status 128 + signal number.

    Its own class, as code of the user's that calls `sys.exit` ends nothing but its run.
    """


Handler = Callable[[int, FrameType | None], None]


def handle_signals(handlers: Mapping[int, Handler]) -> dict[int, Any]:
    """Install signal handlers and return those that they replace.

    Outside the main thread nothing is installed.
    """
    # Python runs signal handlers in the main thread and lets no other one install them.
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.signal(number, handler) for number, handler in handlers.items()}


def _restore(handlers: Mapping[int, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


def ignore_signal(number: int) -> None:
    """Let a signal do nothing from here on."""
    signal.signal(number, signal.SIG_IGN)


@contextmanager
def exit_after_interrupt() -> Iterator[None]:
    """End a command with status 130 after Ctrl-C, whatever exception it ends in.

    A KeyboardInterrupt that arrives inside a library's clean-up can come out as another exception.
    While a module is imported, the process ends at once.

    Raises:
        SystemExit: 130, silently, in place of any exception after Ctrl-C.
    """
    arrived = False

    def note_and_raise(number: int, frame: FrameType | None) -> None:
        nonlocal arrived
        arrived = True
        if _is_importing(frame):
            # An exception in the middle of C++ code that sets itself up would end the process by
            # an abort (torch 2.14). A command that still imports has nothing to lose.
            os._exit(128 + signal.SIGINT)
        signal.default_int_handler(number, frame)

    # A shell starts the commands of a script in the background with Ctrl-C ignored: so it stays.
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    replaced = handle_signals({signal.SIGINT: note_and_raise}) if is_default else {}
    try:
        yield
    except BaseException as error:
        if arrived or isinstance(error, KeyboardInterrupt):
            raise SystemExit(128 + signal.SIGINT) from None
        raise
    finally:
        _restore(replaced)


def _is_importing(frame: FrameType | None) -> bool:
    """Return whether a frame is that of a module in import, or was called by one."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


class StopSignals:
    """Note stop signals within a `with` block, so that the training stops after its epoch.

    The training looks at `signal` after each epoch. A second Ctrl-C, or the end of the grace time,
    ends the epoch at once by raising `Interrupted` in the main thread.
    """

    def __init__(self, grace_seconds: float) -> None:
        self.grace_seconds = grace_seconds
        self.signal: int | None = None
        """The first stop signal that arrived."""
        self.disarmed = False
        self._replaced: dict[int, Any] = {}

    @property
    def exit_code(self) -> int:
        """Status that the process ends with: 128 + signal number, as shells have it."""
        return 128 + (self.signal or signal.SIGINT)

    def disarm(self) -> None:
        """From here on only note signals: none interrupts what is left of the run."""
        self.disarmed = True

    def __enter__(self) -> "StopSignals":
        # The system's timer of the grace time sends SIGALRM.
        handlers: dict[int, Handler] = dict.fromkeys(STOP_SIGNALS, self._on_signal)
        handlers[signal.SIGALRM] = self._on_grace_end
        self._replaced = handle_signals(handlers)
        return self

    def __exit__(self, *_: object) -> None:
        # A timer that still runs would end the process, once its handler is gone.
        if self._replaced:
            signal.setitimer(signal.ITIMER_REAL, 0)
        _restore(self._replaced)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # The first signal starts the grace time. Of later ones only Ctrl-C counts: a cluster may
        # send SIGTERM several times.
        if self.disarmed:
            self.signal = self.signal or number
        elif self.signal is not None and number == signal.SIGINT:
            raise Interrupted
        elif self.signal is None:
            self.signal = number
            signal.setitimer(signal.ITIMER_REAL, max(self.grace_seconds, SHORTEST_GRACE))
            text = (
                f"\nStopping after this epoch, in {self.grace_seconds:g} s at the latest; Ctrl-C"
                " again stops now.\n"
            )
            os.write(2, text.encode())  # print is not safe in a signal handler

    def _on_grace_end(self, number: int, frame: FrameType | None) -> None:
        if not self.disarmed:
            raise Interrupted


class ChildProcesses:
    """Pass stop signals on to child processes, within a `with` block.

        with ChildProcesses() as children:
            code = children.start(command).wait()
        if children.signal is not None:
            raise SystemExit(128 + children.signal)

    Leaving the block neither waits for the children nor ends them.
    """

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        self.signal: int | None = None
        """The first stop signal that arrived: start no more children then."""
        self._starting = False
        self._pending: list[int] = []
        """Signals that arrived while a child was being started."""
        self._replaced: dict[int, Any] = {}

    def start(
        self, command: Sequence[str], env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a child process, in a process group of its own.

        Its own group, so that a terminal's Ctrl-C reaches the child once: through this process.
        """
        # A signal that arrives meanwhile waits, so that the new child gets it too, and only once.
        self._starting = True
        try:
            process = subprocess.Popen(command, env=env, process_group=0)
            self.processes.append(process)
        finally:
            self._starting = False
            for number in self._pending:
                self._send(number)
            self._pending.clear()
        return process

    def __enter__(self) -> "ChildProcesses":
        self._replaced = handle_signals(dict.fromkeys(STOP_SIGNALS, self._on_signal))
        return self

    def __exit__(self, *_: object) -> None:
        _restore(self._replaced)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.signal = self.signal or number
        if self._starting:
            self._pending.append(number)
        else:
            self._send(number)

    def _send(self, number: int) -> None:
        for process in self.processes:
            process.send_signal(number)  # which does nothing where the child has ended
