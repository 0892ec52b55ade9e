"""Say what a user can do about a full disk, too little memory or a missing package."""

import errno
import importlib.util
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from augean.errors import AugeanError, SetupError


def require_packages(*packages: str, extra: str) -> None:
    """Make sure that packages are installed, without importing them.

    Raises:
        SetupError: with the line that installs them.
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
"""What an operating system refuses and only its user can mend."""
WRITABLE = "choose a folder that you can write to, with room: runtime.outputs=<folder>"


@contextmanager
def explaining_system_errors() -> Iterator[None]:
    """Give Augean's words to exceptions of libraries that a user can mend: memory, disk, a missing
    package.
    """
    try:
        yield
    except AugeanError:
        raise
    except Exception as error:
        if text := explain_system_error(error):
            raise AugeanError(text) from error
        raise


def explain_system_error(error: BaseException) -> str | None:
    text = str(error).split("\n")[0]
    full = re.search(r"out of memory|allocate memory", text)
    if isinstance(error, MemoryError) or (full and isinstance(error, RuntimeError)):
        asked = re.search(r"tried to allocate [\d.]+ \w+", text, re.IGNORECASE)
        return (
            f"out of memory{f' ({asked[0]})' if asked else ''}: make the run smaller with"
            " trainer.batch_size or width.channels, take fewer runtime.workers, or free the"
            " device; nvidia-smi shows who uses a GPU, runtime.device=cuda:1 takes another"
        )
    if isinstance(error, ModuleNotFoundError):
        return (
            f"{text} in {sys.executable}: pip install {error.name}, or `make setup` for all that"
            " Augean needs"
        )
    if isinstance(error, OSError) and error.errno in MENDABLE_ERRNOS and error.filename:
        return f"{error.filename}: {error.strerror}; {WRITABLE}"
    return None
