"""Say what a user can do about a full disk, too little memory or a missing package."""

import errno
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from augean.errors import AugeanError, SetupError


def require_packages(*packages: str, extra: str) -> None:
    """Make sure that packages are installed, without importing them.

    Args:
        extra: the extra of Augean that installs them, as in `pip install 'augean[ray]'`.

    Raises:
        SetupError: with the command that installs them.
    """
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise SetupError(
            f"{', '.join(missing)}: not installed; install it with: pip install 'augean[{extra}]'"
        )


MENDABLE_ERRNOS = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.ENOTDIR,
    errno.EEXIST,
)
"""Refusals of the operating system that only the user can mend: rights, space, names in use."""
WRITABLE = "choose a folder that you can write to, with room: runtime.outputs=<folder>"
"""The end of a message about a folder that cannot be written."""

READABLE = "ask its owner for the right to read it, or name another folder"
"""The end of a message about what cannot be read."""


@contextmanager
def explaining_system_errors() -> Iterator[None]:
    """Turn exceptions that a user can do something about into an `AugeanError`.

    Their causes are too little memory, a disk that cannot be written, and a missing package.
    """
    try:
        yield
    except AugeanError:
        raise
    except Exception as error:
        message = explain_system_error(error)
        if message is None:
            raise
        raise AugeanError(message) from error


def explain_system_error(error: BaseException) -> str | None:
    """Return what a user can do about an exception; None where there is nothing to do."""
    text = str(error).split("\n")[0]
    # torch raises RuntimeError for the memory of CPU and GPU alike, so the text must be searched.
    is_about_memory = re.search(r"out of memory|allocate memory", text) is not None
    if isinstance(error, MemoryError) or (is_about_memory and isinstance(error, RuntimeError)):
        request = re.search(r"tried to allocate [\d.]+ \w+", text, re.IGNORECASE)
        size = f" ({request[0]})" if request else ""
        return (
            f"out of memory{size}: make the run smaller with trainer.batch_size or width.channels,"
            " take fewer runtime.workers, or free the device; nvidia-smi shows who uses a GPU,"
            " runtime.device=cuda:1 takes another"
        )
    if isinstance(error, ModuleNotFoundError):
        # A library that raises this by itself may leave the name out.
        install = f"pip install {error.name}, or " if error.name else ""
        return f"{text} in {sys.executable}: {install}`make setup` for all that Augean needs"
    if isinstance(error, OSError) and error.errno in MENDABLE_ERRNOS and error.filename:
        advice = READABLE if _is_unreadable(Path(str(error.filename))) else WRITABLE
        return f"{error.filename}: {error.strerror}; {advice}"
    return None


def _is_unreadable(path: Path) -> bool:
    """Return whether a path, or the nearest folder above it that can be seen, may not be read."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    needs = os.R_OK | os.X_OK if os.path.isdir(path) else os.R_OK
    return not os.access(path, needs)
