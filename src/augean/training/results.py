"""What training yields: scores, results of an epoch, divergence."""

from dataclasses import dataclass

from torch import Tensor

from augean.training.loss_landscape import ProbeRow


@dataclass(frozen=True)
class Score:
    """What an evaluation on a split gives."""

    loss: float
    """Mean cross-entropy, without label smoothing."""
    accuracy: float
    """Fraction of images."""
    correct: Tensor
    """bool [N], in the order of the split, on the CPU: which images are classified right."""
    confusion: Tensor
    """int64 [classes, classes] on the CPU: rows are true labels, columns predictions."""
    dead_units: dict[str, float] | None = None
    """Share of the channels that are zero on every image, by layer, for activations that can be
    zero; None where they were not counted."""


@dataclass(frozen=True)
class EpochResult:
    """The numbers of one epoch of training and of the validation after it."""

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
    """Rows of `loss_landscape.probe` with their `step` (from 0, of the run) and `lr`."""


class DivergedError(Exception):
    """The training loss, or the validation loss after an epoch, became NaN or infinite."""

    def __init__(
        self, epoch: int, step: int | None, step_losses: list[float], probes: list[ProbeRow]
    ) -> None:
        """Build the message.

        Args:
            step: 1-based step of the epoch, the first whose loss is not finite; None where all of
                them are, and the validation loss is not.
            step_losses: the epoch's losses up to the first that is not finite.
            probes: those of the epoch.
        """
        self.epoch = epoch
        self.step = step
        # None where already the epoch's first step has no finite loss.
        self.last_loss = step_losses[-1] if step_losses else None
        self.step_losses = step_losses
        self.probes = probes
        if step is None:
            problem = f"validation loss not finite after epoch {epoch}"
        else:
            problem = f"loss not finite in epoch {epoch}, step {step}"
        super().__init__(f"{problem}; last finite loss {self.last_loss}")
