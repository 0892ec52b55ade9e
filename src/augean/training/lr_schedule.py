"""Learning-rate schedules: a pure function of the step.

Only the plateau rule looks at the validation loss.
"""

import math
from dataclasses import dataclass
from typing import Any

from augean.config.schema import LENGTH_FREE_SCHEDULES, ScheduleConfig


@dataclass
class LRSchedule:
    """The learning rate of every step.

    plateau follows `torch.optim.lr_scheduler.ReduceLROnPlateau` (mode min, relative threshold, no
    cooldown): after more than `patience` epochs without a new minimum the rate is multiplied by
    `factor`; the minimum is never reset.
    """

    config: ScheduleConfig
    initial: float
    """Learning rate of the config; the peak for cosine and onecycle."""
    num_steps: int
    """Optimizer steps of the whole run."""
    # The state, which plateau alone changes:
    scale: float = 1.0
    """Product of the reductions so far."""
    best: float = math.inf
    """Smallest validation loss so far."""
    num_bad_epochs: int = 0
    """Epochs without a new minimum since the last minimum or reduction."""

    def lr_at(self, step: int) -> float:
        """Return the learning rate of step `step`, 0-based."""
        name = self.config.name
        if name in LENGTH_FREE_SCHEDULES:
            return self.initial * self.scale
        warmup = round(self.config.warmup * self.num_steps)
        # The warm-up rises in a straight line, and reaches the full rate at its last step.
        if step < warmup:
            return self.initial * (step + 1) / warmup
        # From 0 at the first step after the warm-up towards 1 at the end of the run.
        progress = (step - warmup) / max(1, self.num_steps - warmup)
        if name == "cosine":
            return self.initial * 0.5 * (1 + math.cos(math.pi * progress))
        # onecycle falls in a straight line.
        return self.initial * (1 - progress)

    def end_epoch(self, val_loss: float | None) -> None:
        """Take note of an epoch's validation loss; only plateau looks at it."""
        if self.config.name != "plateau" or val_loss is None:
            return
        # The threshold is relative: a smaller improvement does not count as a new minimum.
        if val_loss < self.best * (1 - self.config.threshold):
            self.best = val_loss
            self.num_bad_epochs = 0
            return
        self.num_bad_epochs += 1
        if self.num_bad_epochs > self.config.patience:
            self.scale *= self.config.factor
            self.num_bad_epochs = 0

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs to go on from here."""
        return {"scale": self.scale, "best": self.best, "num_bad_epochs": self.num_bad_epochs}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self.scale = state["scale"]
        self.best = state["best"]
        self.num_bad_epochs = state["num_bad_epochs"]
