"""What training yields: scores, results of an epoch, divergence."""

from dataclasses import dataclass

from torch import Tensor

from augean.training.loss_landscape import ProbeRow


@dataclass(frozen=True)
class Score:
    loss: float
    """Mean cross-entropy, without label smoothing."""
    accuracy: float
    """Fraction of images."""
    confusion: Tensor
    """int64 [classes, classes] on the CPU: rows are true labels, columns predictions."""


@dataclass(frozen=True)
class EpochResult:
    epoch: int
    """1-based."""
    lr: float
    """Learning rate of the epoch's first step."""
    train_loss: float
    """Mean over the epoch's augmented batches, as optimised (with label smoothing and mixup)."""
    train_accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    seconds: float
    """Of training only."""
    images_per_second: float
    step_losses: list[float]
    probes: list[ProbeRow]
    """Rows of `landscape.probe` with their `step` (from 0, of the run) and `lr`."""


class DivergedError(Exception):
    """The training loss, or the validation loss after an epoch, became NaN or infinite."""

    def __init__(self, epoch: int, step_losses: list[float], probes: list[ProbeRow]) -> None:
        """Args: the epoch's finite losses up to the first that is not, and its probes."""
        self.epoch, self.step = epoch, len(step_losses) + 1
        self.last_loss = step_losses[-1] if step_losses else None
        self.step_losses, self.probes = step_losses, probes
        super().__init__(
            f"loss not finite in epoch {epoch}, step {self.step}; last finite loss {self.last_loss}"
        )
