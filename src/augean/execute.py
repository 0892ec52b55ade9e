"""Execute one run: find its address, skip it if it is finished, else lock it, train it, and account for a failure.

Imports no torch until a run is known to be needed.
"""

import gc
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augean import rundir
from augean.config import Config, directory_name, find_class, run_id
from augean.data import Source
from augean.errors import AugeanError, ConfigError, Pruned, RunLocked

TRIAL = "AUGEAN_TRIAL"
"""Environment variable that tells a job which trial of which study it is, see `augean.study.Reporter`."""


@dataclass(frozen=True)
class Address:
    """Where a run lives, whoever asks for it."""

    outputs: Path
    id: str
    path: Path


@dataclass(frozen=True)
class Outcome:
    address: Address
    summary: Mapping[str, Any]
    skipped: bool
    """Whether the run was already over when it was asked for."""

    @property
    def objective(self) -> float:
        """What a sweeper may see: the selected validation accuracy, 0 for a diverged run; never a test score."""
        return 0.0 if self.summary["status"] == "diverged" else float(self.summary["val_accuracy"] or 0.0)


def build_source(config: Config) -> Source:
    """The data set of a config, not yet read."""
    node, runtime = config.dataset, config.runtime
    cls = find_class("dataset._target_", node._target_, Source)  # type: ignore[type-abstract]
    root = Path(runtime.data)
    cache = Path(runtime.cache) if runtime.cache else root / ".augean"
    try:
        return cls(name=node.name, root=root, cache=cache, image_size=node.image_size, **node.arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"dataset: {error}") from error


def find_address(config: Config, loop: str | None = None) -> Address:
    """The run's address. Reads the data set's digest, and the data itself where that is not known yet.

    Args:
        loop: as for `augean.config.run_id`.
    """
    identity = run_id(config, build_source(config).digest(), loop)
    outputs = Path(config.runtime.outputs)
    return Address(outputs, identity, rundir.runs_dir(outputs) / directory_name(config, identity))


def finished(address: Address, *, say: bool = False) -> Outcome | None:
    """The outcome of a run that is over; None when it still has to be trained, with `say` also why again."""
    try:
        summary = rundir.read_summary(address.path, address.id)
    except AugeanError as error:
        if say:
            print(f"{error}; the run is made again", file=sys.stderr)
        return None
    return Outcome(address, summary, skipped=True) if summary else None


def execute(
    config: Config,
    *,
    wait: bool = True,
    should_stop: Callable[[int, float | None], bool] | None = None,
    begin: Callable[[], None] | None = None,
) -> Outcome:
    """Make sure that a run is over: at once if it is already, else by training or resuming it.

    Args:
        wait: for another process that trains the same run; otherwise that is an error.
        should_stop: asked after each epoch, with its number and validation accuracy, whether to prune the run.
        begin: called when it is known that this process, and no other, trains the run.

    Raises:
        AugeanError: for whatever the user can mend, RunLocked included; Pruned when `should_stop` said so.
        SystemExit: 128 + signal number after a stop signal, with the run's checkpoint written.
    """
    address = find_address(config)
    if outcome := finished(address):
        return outcome
    if wait and rundir.is_locked(address.outputs, address.id):
        print(f"Run {address.id} is being trained by another process; waiting for it.", flush=True)
    with rundir.lock(address.outputs, address.id, wait=wait):
        if outcome := finished(address, say=True):  # by whoever held the lock before
            return outcome
        if begin is not None:
            begin()
        from augean.training import train

        try:
            return Outcome(
                address, train(config, build_source(config), address.path, address.id, should_stop), skipped=False
            )
        except (RunLocked, Pruned):
            raise
        except Exception as error:
            note_failure(address.path, error)
            release(error)
            raise


def note_failure(path: Path, error: Exception) -> None:
    """Leave failure.txt in the run's directory, if the run got as far as having one and the disk takes it."""
    if path.is_dir():
        expected = isinstance(error, AugeanError)
        text = str(error) if expected else "".join(traceback.format_exception(error))
        with suppress(AugeanError):
            rundir.write(path / "failure.txt", text.rstrip() + "\n")


def release(error: BaseException | None) -> None:
    """Free the memory that an exception holds by the frames it came through: a sweep's next job needs it."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
    gc.collect()
