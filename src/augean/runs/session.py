"""The session of a run: what Augean's own training and a custom loop have in common.

1. `claim_run`: take the run's lock, unless the run is completed.
2. `open_session`: make its directory, watch for stop signals, open the loggers.
3. `RunSession.complete`: write the summary. A run that does not get there leaves a checkpoint or,
   by `noting_failure`, its failure.txt.
"""

import logging
import socket
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augean.config.paths import cache_dir
from augean.config.run_id import SCHEMA
from augean.config.schema import RuntimeConfig
from augean.errors import AugeanError, Pruned
from augean.runs.address import RunAddress, RunOutcome, find_outcome
from augean.signals import Interrupted, Stopped, StopSignals
from augean.store.checkpoints import remove_checkpoints
from augean.store.files import write_atomic
from augean.store.locks import hold_lock, is_locked
from augean.store.run_directory import clear_leftovers, place_from
from augean.store.run_files import CONFIG, FAILURE
from augean.store.run_progress import remove_progress
from augean.store.summary import RunSummary, write_summary
from augean.training.provenance import timestamp

if TYPE_CHECKING:
    from augean.training.loggers import Loggers

logger = logging.getLogger(__name__)


@dataclass
class RunSession:
    """A run that this process trains; its directory exists and its lock is held."""

    address: RunAddress
    stop: StopSignals
    """Holds the signal that asked the process to end, once one has arrived."""
    loggers: "Loggers"
    places: Mapping[str, str]
    """Folders of the run's data and cache, and where it was started; see `RunSummary.places`."""

    def complete(self, summary: RunSummary) -> RunSummary:
        """Write the summary, which makes the run a finished one, and remove its checkpoints.

        Returns:
            The summary as written, with schema, places, host, time of the end and digests of files.
        """
        with_circumstances = replace(
            summary,
            schema=SCHEMA,
            # A custom loop adds a place of its own, from which its code is imported.
            places={**self.places, **(summary.places or {})},
            host=socket.gethostname(),
            finished=timestamp(),
        )
        written_summary = write_summary(self.address.path, with_circumstances)
        # Only now: without a summary the checkpoints are all that is left of the run.
        remove_checkpoints(self.address.path)
        return written_summary

    def exit_if_stopped(self) -> None:
        """End the process with status 128 + signal number if a stop signal came."""
        if self.stop.signal is not None:
            raise Stopped(self.stop.exit_code)


@contextmanager
def claim_run(address: RunAddress, *, wait: bool) -> Iterator[RunOutcome | None]:
    """Hold the lock of a run that still has to be trained.

    Yields:
        None where the caller is to train the run. For a completed run its outcome: then there is
        nothing to do, and the lock need not be held.

    Args:
        wait: whether to wait for another process that trains the same run.

    Raises:
        RunLocked: without `wait`, when another process trains it.
    """
    # Most runs of a sweep that is started again are completed: they need no lock.
    outcome = find_outcome(address)
    if outcome is not None:
        yield outcome
        return
    if wait and is_locked(address.outputs, address.id):
        logger.info(f"Run {address.id} is being trained by another process; waiting for it.")
    with hold_lock(address.outputs, address.id, wait=wait):
        # The process that held the lock before may have completed the run.
        yield find_outcome(address, warn=True)


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

    # Before the directory is made, as a missing package must not leave an empty run behind.
    loggers = Loggers(runtime, address.path, config)
    address.path.mkdir(parents=True, exist_ok=True)
    clear_leftovers(address.path)
    with StopSignals(runtime.grace_seconds) as stop:
        places = _places(address.outputs, runtime)
        session = RunSession(address=address, stop=stop, loggers=loggers, places=places)
        try:
            write_atomic(address.path / CONFIG, config_text)
            yield session
        # The training was left by a stop signal; the run can be resumed from its checkpoint.
        except Interrupted:
            raise Stopped(stop.exit_code) from None
        finally:
            loggers.close()
            remove_progress(address.path)
        # A signal that came after the last epoch, or while the summary was written.
        session.exit_if_stopped()


def _places(outputs: Path, runtime: RuntimeConfig) -> dict[str, str]:
    """Return the folders that the summary records, as seen from the outputs folder."""
    folders = {
        "start": Path.cwd(),
        "data": Path(runtime.data),
        "cache": cache_dir(runtime),
    }
    return {name: place_from(outputs, folder) for name, folder in folders.items()}


@contextmanager
def noting_failure(path: Path) -> Iterator[None]:
    """Write failure.txt when the block raises an error."""
    try:
        yield
    # A pruned run is interrupted: its study decided so, and nothing has failed.
    except Pruned:
        raise
    except Exception as error:
        note_failure(path, error)
        raise


def note_failure(path: Path, error: Exception) -> None:
    """Write failure.txt, if the run has a directory and the disk takes the file."""
    if not path.is_dir():
        return
    # The message of an AugeanError says all; any other error is a fault and needs its traceback.
    if isinstance(error, AugeanError):
        text = str(error)
    else:
        text = "".join(traceback.format_exception(error))
    # On a full disk the error itself matters, not that it could not be noted.
    with suppress(AugeanError):
        write_atomic(path / FAILURE, text.rstrip() + "\n")
