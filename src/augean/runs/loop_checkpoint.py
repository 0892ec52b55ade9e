"""Keep, write and read the checkpoints of a custom loop."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from augean.errors import AugeanError
from augean.runs.address import RunAddress
from augean.store.checkpoints import foreign_checkpoint_error, load_checkpoint, save_checkpoint
from augean.training.provenance import History


@dataclass(frozen=True)
class LoopProgress:
    """What a checkpoint holds of a custom loop."""

    rows: list[dict[str, Any]]
    """Lines of metrics.csv, one an epoch."""
    state: Any
    """What the user gave to `run.save`."""
    history: History


class LoopCheckpoint:
    """The newest state of a custom loop: encoded at each save, and written where it is due."""

    def __init__(self, address: RunAddress, seconds: float) -> None:
        """Keep nothing yet.

        Args:
            seconds: least time between two writes.
        """
        self.address = address
        self.seconds = seconds
        self._unwritten: bytes | None = None
        """The newest state, where it is newer than the one on the disk."""
        self._is_read_back = False
        self._last_written = time.perf_counter()

    @property
    def is_due(self) -> bool:
        """Whether the newest state should be written by now."""
        return time.perf_counter() - self._last_written >= self.seconds

    def keep(
        self, rows: Sequence[Mapping[str, Any]], state: Any, history: Mapping[str, Any]
    ) -> None:
        """Encode a state, so that `write` writes it as it is now.

        Raises:
            AugeanError: when the state holds what could not be loaded.
        """
        import torch

        from augean.runs.plain_state import plain_state
        from augean.training.checkpoint import decode_checkpoint, encode_checkpoint

        plain = plain_state(state)
        try:
            # `read` reads these three keys. They are part of the file format.
            content_by_part = {"rows": rows, "state": plain, "past": history}
            content = encode_checkpoint(self.address.id, content_by_part)
            # Once, for what only torch knows.
            if not self._is_read_back:
                decode_checkpoint(content, self.address.id)
                self._is_read_back = True
        except (MemoryError, torch.OutOfMemoryError):
            raise  # it says nothing of the state
        except Exception as error:  # whatever torch raises
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise AugeanError(
                "run.save: only tensors, numbers, text, bytes, and lists and dictionaries of"
                f" them can be kept ({reason})"
            ) from error
        # Bytes and not the state itself, whose tensors the next step changes in place.
        self._unwritten = content

    def write(self) -> None:
        """Write the newest state, unless it is written already."""
        if self._unwritten is None:
            return
        save_checkpoint(self.address.path, self._unwritten)
        self._unwritten = None
        self._last_written = time.perf_counter()

    def read(self) -> tuple[LoopProgress | None, str]:
        """Return what the newest good checkpoint holds, and a remark on damaged ones.

        Raises:
            AugeanError: when the checkpoint cannot be loaded or is not this run's.
        """
        # Not earlier: the run may have waited for another process that trained it.
        self._last_written = time.perf_counter()
        content, remark = load_checkpoint(self.address.path)
        if content is None:
            return None, remark
        from augean.training.checkpoint import decode_checkpoint

        try:
            parts = decode_checkpoint(content, self.address.id)
            progress = LoopProgress(
                rows=parts["rows"], state=parts["state"], history=History(**parts["past"])
            )
        # A file that is not a checkpoint of this run makes torch raise almost anything.
        except Exception as error:
            raise foreign_checkpoint_error(self.address.path, error) from error
        return progress, remark
