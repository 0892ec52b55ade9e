"""File locks of runs, studies and workers.

The operating system frees a lock when the process that holds it dies.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from augean.errors import AugeanError, RunLocked
from augean.regular_files import NOTE_BYTES, read_regular
from augean.store.files import write_atomic


def folder_id(outputs: Path) -> str:
    """Return the random id of an outputs folder, made and stored in it at the first call.

    A path does not identify a folder, which may be mounted elsewhere on another machine.

    Raises:
        AugeanError: when the folder cannot be written, or the file of the id is damaged.
    """
    file = outputs / ".id"
    with hold_lock(outputs, "id", wait=True):
        if not file.exists():
            write_atomic(file, uuid.uuid4().hex[:10])
        try:
            return read_regular(file, NOTE_BYTES).decode("ascii")
        except (OSError, ValueError) as error:
            raise AugeanError(
                f"{file}: damaged ({error}); remove it to have another made"
            ) from error


def _lock_file(outputs: Path, name: str) -> Path:
    return outputs / "locks" / f"{name}.lock"


@contextmanager
def hold_lock(outputs: Path, name: str, *, wait: bool) -> Iterator[None]:
    """Hold a lock in the outputs folder.

    Args:
        name: what is locked, such as the id of a run or `sweep-<name>`.
        wait: whether to wait while another process holds it.

    Raises:
        RunLocked: when another live process holds it and `wait` is false.
        AugeanError: when the folder cannot be written or its file system has no locks, or when
            this thread holds the lock and would wait for itself.
    """
    path = _lock_file(outputs, name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # In seconds; -1 waits without end.
        timeout = -1 if wait else 0
        # No fall-back to a marker file: that would outlive a killed holder and block the run for
        # ever.
        lock = FileLock(path, timeout=timeout, fallback_to_soft=False)
        lock.acquire(poll_interval=0.2)
    except Timeout as error:
        raise RunLocked(f"run {name} is being trained by another process") from error
    except (OSError, NotImplementedError) as error:
        raise AugeanError(
            f"cannot lock {path}: {error}; runtime.outputs={outputs} must be writable and on a file"
            " system with locks"
        ) from error
    # filelock's own error where this thread would wait for itself.
    except RuntimeError as error:
        raise AugeanError(
            f"run {name} is already open in this process; end its block before it is opened again"
        ) from error
    try:
        yield
    finally:
        lock.release()


def is_locked(outputs: Path, name: str) -> bool:
    """Return whether a live process holds a lock.

    The answer is found by acquiring the lock for a moment. A lock that cannot be opened counts as
    free.
    """
    path = _lock_file(outputs, name)
    # Without the file nobody has locked it yet, and asking must not make files.
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
