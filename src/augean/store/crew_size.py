"""How many workers a running sweep is to have: others write a file, its supervisor reads it."""

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from augean.errors import AugeanError, RunLocked
from augean.store.files import write_atomic
from augean.store.locks import hold_lock, is_locked


@dataclass(frozen=True)
class CrewSize:
    """A request for a number of workers."""

    workers: int
    request: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Tells a request from an earlier one for the same number."""


def _file(outputs: Path, name: str) -> Path:
    return outputs / "workers" / f"{name}.json"


def _lock(name: str) -> str:
    return f"workers-{name}"


@contextmanager
def announce_crew(outputs: Path, name: str, workers: int) -> Iterator[Callable[[], CrewSize]]:
    """Let others change the number of a sweep's workers while the block runs.

    Yields:
        What returns the newest request. It is always the first where another supervisor of the same
        sweep, in another terminal, was there before.

    Args:
        name: of the sweep's record.

    Raises:
        AugeanError: when the folder cannot be written.
    """
    first = CrewSize(workers=workers)
    with ExitStack() as stack:
        try:
            stack.enter_context(hold_lock(outputs, _lock(name), wait=False))
            is_first = True
        except RunLocked:
            is_first = False
        if not is_first:
            yield lambda: first
            return
        path = _file(outputs, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, first)
        stack.callback(path.unlink, missing_ok=True)
        yield lambda: _read(path) or first


def _write(path: Path, size: CrewSize) -> None:
    write_atomic(path, json.dumps(asdict(size)) + "\n", sync=False)


def _read(path: Path) -> CrewSize | None:
    """Return the request in a file; None where there is none that can be understood."""
    try:
        size = CrewSize(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return size if isinstance(size.workers, int) and size.workers > 0 else None


def supervised_sweeps(outputs: Path) -> list[str]:
    """Return the names of the sweeps whose number of workers can be changed now."""
    names = [path.stem for path in sorted((outputs / "workers").glob("*.json"))]
    return [name for name in names if is_locked(outputs, _lock(name))]


def read_crew(outputs: Path, name: str) -> int:
    """Return how many workers a supervised sweep is to have.

    Raises:
        AugeanError: when its supervisor has just ended.
    """
    size = _read(_file(outputs, name))
    if size is None:
        raise AugeanError(f"{name}: has no workers any more")
    return size.workers


def request_crew(outputs: Path, name: str, workers: int) -> None:
    """Ask the supervisor of a sweep for another number of workers."""
    _write(_file(outputs, name), CrewSize(workers=workers))
