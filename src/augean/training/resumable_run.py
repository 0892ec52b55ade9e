"""A run that can be left after any epoch and resumed by another process."""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from augean.store.checkpoints import load_checkpoint, save_checkpoint
from augean.training.artifacts import log
from augean.training.build import TrainingContext
from augean.training.checkpoint import (
    Environment,
    Progress,
    decode_checkpoint,
    encode_checkpoint,
    refusing_foreign_checkpoint,
    restore_training,
    training_state,
)
from augean.training.device import device_title


class ResumableRun:
    """What of a run outlives its process: the weights, the optimizer's state and the progress."""

    def __init__(self, path: Path, identity: str, context: TrainingContext) -> None:
        """Begin a run from nothing.

        Args:
            path: the run's directory.
            identity: the run's id.
        """
        self.path = path
        self.identity = identity
        self.context = context
        self.progress = Progress()
        self.threads = context.config.runtime.threads or torch.get_num_threads()
        """Threads that the training must have."""
        self._session_start = time.perf_counter()
        self._last_saved = self._session_start

    @property
    def seconds(self) -> float:
        """The wall time of all sessions, this one included."""
        return self.progress.seconds + time.perf_counter() - self._session_start

    @property
    def last_epoch(self) -> int:
        """The number of the last epoch that was trained; 0 before the first."""
        return len(self.progress.rows)

    def save(self) -> None:
        """Write a checkpoint of the epochs so far."""
        save_checkpoint(self.path, self.encode())
        self._last_saved = time.perf_counter()

    def encode(self) -> bytes:
        """Return the content of a checkpoint of the epochs so far."""
        progress = replace(self.progress, seconds=self.seconds)
        state = training_state(self.context, progress, self._environment())
        return encode_checkpoint(self.identity, state)

    def save_if_due(self) -> None:
        """Write a checkpoint when `runtime.checkpoint_seconds` have passed since the last."""
        elapsed = time.perf_counter() - self._last_saved
        if elapsed >= self.context.config.runtime.checkpoint_seconds:
            self.save()

    def resume(self) -> None:
        """Go on from the newest good checkpoint, if there is one.

        Raises:
            AugeanError: when the checkpoint is not one of this run.
        """
        content, remark = load_checkpoint(self.path)
        if content is not None:
            with refusing_foreign_checkpoint(self.path):
                state = decode_checkpoint(content, self.identity)
                self._restore(state)
        if remark:
            self._note(remark)

    def _restore(self, state: dict[str, Any]) -> None:
        saved: dict[str, Any] = state["environment"]
        if self.context.device.type == "cpu":
            self.threads = saved["threads"]  # another number of threads gives other bits
        self.progress = restore_training(self.context, state)
        self.progress.num_resumes += 1
        now = vars(self._environment())
        changes = [name for name, value in now.items() if value != saved[name]]
        if changes:
            what = " and ".join(changes)
            self._note(f"resumed after epoch {self.last_epoch} with another {what}: not exact")
        log.info("resumed after epoch %d", self.last_epoch)

    def _environment(self) -> Environment:
        return Environment(
            device=device_title(self.context.device),
            torch=str(torch.__version__),
            threads=self.threads,
        )

    def _note(self, text: str) -> None:
        """Say a remark that belongs into the summary."""
        log.info(text)
        print(f"Run {self.identity}: {text}", file=sys.stderr)
        note = self.progress.note
        self.progress.note = f"{note}; {text}" if note else text
