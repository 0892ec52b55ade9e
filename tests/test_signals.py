"""Stop signals: noted, obeyed at once at the second Ctrl-C or after the grace time, and passed on
to child processes.
"""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from augean.signals import (
    STOP_SIGNALS,
    ChildProcesses,
    Interrupted,
    StopSignals,
    exit_after_interrupt,
)

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in (*STOP_SIGNALS, signal.SIGALRM)]


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_stop_signal_is_noted_and_the_handlers_are_put_back(
    number: int, capfd: pytest.CaptureFixture[str]
) -> None:
    before = handlers()
    with StopSignals(grace_seconds=60) as stop:
        assert stop.signal is None
        send(number)
        assert stop.signal == number
        assert stop.exit_code == 128 + number
    assert handlers() == before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    assert "Stopping after this epoch, in 60 s" in capfd.readouterr().err


def test_the_second_ctrl_c_stops_at_once() -> None:
    with StopSignals(grace_seconds=60) as stop:
        send(signal.SIGTERM)
        send(signal.SIGTERM)
        with pytest.raises(Interrupted):
            send(signal.SIGINT)
    assert stop.signal == signal.SIGTERM


def test_the_end_of_the_grace_time_stops_at_once() -> None:
    def epoch() -> None:
        send(signal.SIGUSR1)
        time.sleep(10)

    with StopSignals(grace_seconds=0), pytest.raises(Interrupted):
        epoch()


def test_a_disarmed_run_only_notes_signals() -> None:
    with StopSignals(grace_seconds=0) as stop:
        stop.disarm()
        send(signal.SIGINT)
        send(signal.SIGINT)
        time.sleep(0.05)
    assert stop.signal == signal.SIGINT


def test_ctrl_c_in_a_library_s_clean_up_ends_the_command_with_130() -> None:
    def half_done() -> None:
        try:
            send(signal.SIGINT)
        finally:
            raise AttributeError("what the interrupted work had not set yet")

    before = handlers()
    with pytest.raises(SystemExit) as ended, exit_after_interrupt():
        half_done()
    assert ended.value.code == 130
    assert handlers() == before


def test_ctrl_c_within_an_import_ends_the_process_before_the_library_can(tmp_path: Path) -> None:
    # As torch does, whose C++ code aborts when an exception comes out of Python.
    library = """
        import os, signal

        try:
            os.kill(os.getpid(), signal.SIGINT)
        except BaseException:
            os.abort()
    """
    (tmp_path / "library.py").write_text(textwrap.dedent(library))
    code = "from augean.signals import *\nwith exit_after_interrupt(): import library"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, b"")


def test_an_error_without_ctrl_c_is_raised_as_it_is() -> None:
    with pytest.raises(AttributeError), exit_after_interrupt():
        raise AttributeError


def test_ctrl_c_stays_ignored_where_the_shell_has_it_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with exit_after_interrupt():
            send(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_thread_has_no_signals_to_handle() -> None:
    errors: list[BaseException] = []

    def enter() -> None:
        try:
            with StopSignals(grace_seconds=60), ChildProcesses():
                pass
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert errors == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_children_get_the_stop_signals_of_their_parent(number: int) -> None:
    before = handlers()
    with ChildProcesses() as children:
        first, second = children.start(SLEEP), children.start(SLEEP)
        assert children.signal is None
        send(number)
        assert (first.wait(30), second.wait(30)) == (-number, -number)
        send(signal.SIGTERM)  # to children that have ended
    assert children.signal == number
    assert handlers() == before


def test_a_child_that_is_just_starting_gets_the_signal_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[int] = []

    class Popen(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            send(signal.SIGTERM)  # nobody has this child in a list yet

        def send_signal(self, sig: int) -> None:
            sent.append(sig)
            super().send_signal(sig)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    with ChildProcesses() as children:
        assert children.start(SLEEP).wait(30) == -signal.SIGTERM
    assert sent == [signal.SIGTERM]


def test_a_command_that_cannot_be_started_leaves_the_others_reachable() -> None:
    with ChildProcesses() as children:
        child = children.start(SLEEP)
        with pytest.raises(FileNotFoundError):
            children.start(["/nowhere/program"])
        send(signal.SIGTERM)
        assert child.wait(30) == -signal.SIGTERM


def test_children_have_the_given_environment_and_a_group_of_their_own() -> None:
    script = "import os, sys; sys.exit(os.environ['ANSWER'] != '42' or os.getpgrp() != os.getpid())"
    with ChildProcesses() as children:
        child = children.start([sys.executable, "-c", script], env={**os.environ, "ANSWER": "42"})
        assert child.wait(30) == 0
