"""What users type, run as a process or, where no property hangs on one, in this process."""

import contextlib
import io
import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from augean.cli.main import main as augean_main
from augean.hydra_main import main as train_main
from conftest import ROOT

Done = subprocess.CompletedProcess[str]


def train_command(*arguments: str) -> list[str]:
    """Return the command of `python train.py`."""
    return [sys.executable, str(ROOT / "train.py"), *arguments]


def train_process(*arguments: str, **options: Any) -> Done:
    """Run `python train.py` as a process of its own."""
    command = train_command(*arguments)
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT, **options)


def train(*arguments: str, cwd: Path = ROOT) -> Done:
    """Run `python train.py` in this process, which saves the imports of another.

    What a process would have printed and its exit status are returned; an exception that would
    have ended it is a traceback in `stderr`, as there. Workers of a sweep are processes even so,
    and what they print goes to the streams of the tests.
    """
    return _run_here(train_main, str(ROOT / "train.py"), arguments, cwd)


def augean(*arguments: str, cwd: Path = ROOT) -> Done:
    """Run the command `augean` in this process, like `train`."""
    return _run_here(augean_main, "augean", arguments, cwd)


def _run_here(
    main: Callable[[], None], program: str, arguments: tuple[str, ...], cwd: Path
) -> Done:
    command = [program, *arguments]
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", command),
        # A command adds its working directory, in which later tests must find nothing.
        mock.patch.object(sys, "path", sys.path[:]),
        mock.patch.dict(os.environ),
        contextlib.chdir(cwd),
        _handlers_of_logging(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        status = _exit_status(main)
    return Done(command, status, out.getvalue(), err.getvalue())


def _exit_status(main: Callable[[], None]) -> int:
    """Call `main`; return the status with which a process would end, its message printed."""
    try:
        main()
    except SystemExit as stop:
        if stop.code is None or isinstance(stop.code, int):
            return stop.code or 0
        print(stop.code, file=sys.stderr)
        return 1
    except Exception:
        traceback.print_exc()
        return 1
    return 0


@contextlib.contextmanager
def _handlers_of_logging() -> Iterator[None]:
    """Put back how logging was set up, which Hydra does anew for each command."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    level = root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
