"""Shorter trainings of the same config, whose state a longer one can begin with."""

from dataclasses import dataclass
from pathlib import Path

from augean.errors import AugeanError
from augean.regular_files import WEIGHTS_BYTES
from augean.store.checkpoints import load_checkpoint
from augean.store.run_directory import read_verified
from augean.store.run_files import STATE
from augean.store.summary import RunState, read_summary


@dataclass(frozen=True)
class RunPrefix:
    """A run that differs from a longer one in its number of epochs alone."""

    id: str
    path: Path
    """The directory of the shorter run."""
    epochs: int
    """Epochs that the shorter run has when it is finished."""

    def read_state(self) -> bytes | None:
        """Return the newest state of the run, undamaged; None where it has none.

        A diverged run has none: its weights are those of the step that broke it.

        Raises:
            AugeanError: when there is a state that cannot be read or was altered after the run, or
                the run's summary is damaged.
        """
        summary = read_summary(self.path, self.id)
        if summary is None:
            return load_checkpoint(self.path)[0]
        if summary.status != RunState.FINISHED:
            return None
        try:
            return read_verified(self.path, STATE, WEIGHTS_BYTES)
        except FileNotFoundError:  # not kept, or removed since
            return None
        except OSError as error:
            raise AugeanError(f"cannot read {self.path / STATE}: {error.strerror}") from error
