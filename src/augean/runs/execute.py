"""Execute one run: find its address, skip it if it is finished, else lock it, train it, and account
for a failure.

Imports no torch until a run is known to be needed.
"""

import gc
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from augean.config.schema import Config
from augean.errors import AugeanError, Pruned, RunLocked
from augean.runs.address import RunOutcome, build_source, find_address, find_outcome
from augean.store.files import write_atomic
from augean.store.locks import hold_lock, is_locked


def execute(
    config: Config,
    *,
    wait: bool = True,
    should_stop: Callable[[int, float | None], bool] | None = None,
    begin: Callable[[], None] | None = None,
) -> RunOutcome:
    """Make sure that a run is over: at once if it is already, else by training or resuming it.

    Args:
        wait: for another process that trains the same run; otherwise that is an error.
        should_stop: asked after each epoch, with its number and validation accuracy, whether to
            prune the run.
        begin: called when it is known that this process, and no other, trains the run.

    Raises:
        AugeanError: for whatever the user can mend, RunLocked included; Pruned when `should_stop`
            said so.
        SystemExit: 128 + signal number after a stop signal, with the run's checkpoint written.
    """
    address = find_address(config)
    if outcome := find_outcome(address):
        return outcome
    if wait and is_locked(address.outputs, address.id):
        print(f"Run {address.id} is being trained by another process; waiting for it.", flush=True)
    with hold_lock(address.outputs, address.id, wait=wait):
        if outcome := find_outcome(address, say=True):  # by whoever held the lock before
            return outcome
        if begin is not None:
            begin()
        from augean.training.trainer import train

        try:
            return RunOutcome(
                address,
                train(config, build_source(config), address.path, address.id, should_stop),
                skipped=False,
            )
        except (RunLocked, Pruned):
            raise
        except Exception as error:
            note_failure(address.path, error)
            release(error)
            raise


def note_failure(path: Path, error: Exception) -> None:
    """Leave failure.txt in the run's directory, if the run got as far as having one and the disk
    takes it.
    """
    if path.is_dir():
        expected = isinstance(error, AugeanError)
        text = str(error) if expected else "".join(traceback.format_exception(error))
        with suppress(AugeanError):
            write_atomic(path / "failure.txt", text.rstrip() + "\n")


def release(error: BaseException | None) -> None:
    """Free the memory that an exception holds by the frames it came through: a sweep's next job
    needs it.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
    gc.collect()


def print_outcome(outcome: RunOutcome) -> None:
    """Say where the run is and how it scored."""
    summary = outcome.summary
    title = "finished"
    if summary.diverged is not None:
        title = f"diverged in epoch {summary.diverged.epoch}"
        if summary.diverged.step:
            title += f", step {summary.diverged.step}"
        if outcome.skipped:
            title += " (earlier)"
    elif outcome.skipped:
        title = "already finished, not trained again"
    print(f"Run {outcome.address.id} {title}: {outcome.address.path}")
    if summary.diverged is not None:
        return
    scores = []
    if summary.val_accuracy is not None:
        scores.append(f"validation {summary.val_accuracy:.2%}")
    if summary.test_accuracy is not None:
        scores.append(f"test {summary.test_accuracy:.2%}")
    print(
        f"  {', '.join(scores)} with the weights of epoch {summary.selected_epoch};"
        f" {summary.seconds or 0:.1f} s, {summary.images_per_second or 0:,.0f} images/s"
    )
