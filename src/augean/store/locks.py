"""File locks of runs, studies and workers; the operating system frees them when their holder
dies.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from augean.errors import AugeanError, RunLocked
from augean.store.files import write_atomic


def folder_id(outputs: Path) -> str:
    """A random name that an output folder carries, so that two folders are told apart wherever they
    are mounted.
    """
    file = outputs / ".id"
    with hold_lock(outputs, "id", wait=True):
        if not file.exists():
            write_atomic(file, uuid.uuid4().hex[:10])
        return file.read_text()


def _lock_file(outputs: Path, identity: str) -> Path:
    return outputs / "locks" / f"{identity}.lock"


@contextmanager
def hold_lock(outputs: Path, identity: str, *, wait: bool) -> Iterator[None]:
    """Hold the run's lock; the operating system frees it when its holder dies.

    Raises:
        RunLocked: when another live process holds it and `wait` is false.
        AugeanError: when the folder cannot be written or its file system has no locks.
    """
    path = _lock_file(outputs, identity)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # No fall-back to a marker file: that would outlive a killed holder and block the run for
        # ever.
        held = FileLock(path, timeout=-1 if wait else 0, fallback_to_soft=False)
        held.acquire(poll_interval=0.2)
    except Timeout as error:
        raise RunLocked(f"run {identity} is being trained by another process") from error
    except (OSError, NotImplementedError) as error:
        raise AugeanError(
            f"cannot lock {path}: {error}; runtime.outputs={outputs} must be writable and on a file"
            " system with locks"
        ) from error
    try:
        yield
    finally:
        held.release()


def is_locked(outputs: Path, identity: str) -> bool:
    """Whether a live process holds the run's lock."""
    path = _lock_file(outputs, identity)
    if not path.exists():
        return False
    probe = FileLock(path, timeout=0, fallback_to_soft=False)
    try:
        probe.acquire()
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return False
    probe.release()
    return False
