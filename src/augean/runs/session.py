"""The session of a run: what Augean's own training and a custom loop have in common.

One process claims the run, unless it is over; opens its directory; and either completes it with a
summary, or leaves a checkpoint or failure.txt behind.
"""

import logging
import signal
import socket
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augean.config.run_id import SCHEMA
from augean.config.schema import RuntimeConfig
from augean.errors import AugeanError, Pruned
from augean.runs.address import RunAddress, RunOutcome, find_outcome
from augean.signals import Interrupted, StopSignals
from augean.store.checkpoints import remove_checkpoints
from augean.store.files import write_atomic
from augean.store.locks import hold_lock, is_locked
from augean.store.run_directory import clear_leftovers, place_from
from augean.store.run_progress import remove_progress
from augean.store.summary import RunSummary, write_summary
from augean.training.provenance import timestamp

if TYPE_CHECKING:
    from augean.training.loggers import Loggers

logger = logging.getLogger(__name__)


@dataclass
class RunSession:
    """A run in the hands of this process, its directory made and its lock held."""

    address: RunAddress
    stop: StopSignals
    """Whether a signal asked the process to end."""
    loggers: "Loggers"
    places: Mapping[str, str]
    """Where its code and data lie, see `RunSummary.places`."""

    def complete(self, summary: RunSummary) -> RunSummary:
        """Write the summary, which makes the run a finished one, and remove its checkpoints.

        Returns:
            The summary as written, with schema, places, host, time of the end and digests of files.
        """
        ended = replace(
            summary,
            schema=SCHEMA,
            places={**self.places, **(summary.places or {})},
            host=socket.gethostname(),
            finished=timestamp(),
        )
        written = write_summary(self.address.path, ended)
        remove_checkpoints(self.address.path)
        return written

    def exit_if_stopped(self) -> None:
        """End the process with status 128 + signal number if a stop signal came."""
        if self.stop.signal is not None:
            raise SystemExit(128 + self.stop.signal)


@contextmanager
def claim_run(address: RunAddress, *, wait: bool) -> Iterator[RunOutcome | None]:
    """Hold the lock of a run that is still to be trained.

    Yields:
        None; or the outcome of a run that is over, then without the lock.

    Args:
        wait: for another process that trains the same run.

    Raises:
        RunLocked: without `wait`, when another process trains it.
    """
    outcome = find_outcome(address)
    if outcome is not None:
        yield outcome
        return
    if wait and is_locked(address.outputs, address.id):
        logger.info(f"Run {address.id} is being trained by another process; waiting for it.")
    with hold_lock(address.outputs, address.id, wait=wait):
        # Whoever held the lock before may have finished it.
        yield find_outcome(address, say=True)


@contextmanager
def open_session(
    address: RunAddress, runtime: RuntimeConfig, config: Mapping[str, Any], config_text: str
) -> Iterator[RunSession]:
    """Make the directory of a claimed run, watch for stop signals and open its loggers.

    Args:
        config: the config, flat, as loggers show it.
        config_text: content of config.yaml.

    Raises:
        SystemExit: 128 + signal number, on leaving the block after a stop signal.
        SetupError: when the package of a logger is not installed.
    """
    from augean.training.loggers import Loggers

    loggers = Loggers(runtime, address.path, config)
    address.path.mkdir(parents=True, exist_ok=True)
    clear_leftovers(address.path)
    with StopSignals(runtime.grace_seconds) as stop:
        places = _places(address.outputs, runtime)
        session = RunSession(address=address, stop=stop, loggers=loggers, places=places)
        try:
            write_atomic(address.path / "config.yaml", config_text)
            yield session
        except Interrupted:
            raise SystemExit(128 + (stop.signal or signal.SIGINT)) from None
        finally:
            loggers.close()
            remove_progress(address.path)
        session.exit_if_stopped()


def _places(outputs: Path, runtime: RuntimeConfig) -> dict[str, str]:
    data = Path(runtime.data)
    cache = Path(runtime.cache) if runtime.cache else data / ".augean"
    folders = {"start": Path.cwd(), "data": data, "cache": cache}
    return {name: place_from(outputs, folder) for name, folder in folders.items()}


@contextmanager
def noting_failure(path: Path) -> Iterator[None]:
    """Leave failure.txt when the block raises; the pruning of a run is not a failure."""
    try:
        yield
    except Pruned:
        raise
    except Exception as error:
        note_failure(path, error)
        raise


def note_failure(path: Path, error: Exception) -> None:
    """Write failure.txt, if the run has a directory and the disk takes the file."""
    if not path.is_dir():
        return
    if isinstance(error, AugeanError):
        text = str(error)
    else:
        text = "".join(traceback.format_exception(error))
    with suppress(AugeanError):
        write_atomic(path / "failure.txt", text.rstrip() + "\n")
