"""What a run shows while it trains: a bar on a terminal, a plain line per epoch elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from tqdm import tqdm

from augean.config.schema import Config
from augean.terminal import readable_seconds

if TYPE_CHECKING:
    from augean.training.results import EpochResult


BAR = "{desc} {percentage:3.0f}% |{bar:16}| {remaining} left{postfix}"
"""Fits into 80 columns; what is left is that of the whole run."""
ESTIMATE_AFTER = 3
"""Steps after which a run on a CPU says how long it will take; the first is a warm-up."""
WORTH_SAYING_SECONDS, LONG_SECONDS = 60.0, 300.0
"""Estimates above the first are shown; above the second they come with advice on what is
smaller."""


class ProgressDisplay:
    """The progress of one run, from its first epoch in this process to its last."""

    def __init__(self, config: Config, identity: str, *, on_cpu: bool, first_epoch: int) -> None:
        """Choose how to show the progress.

        Args:
            on_cpu: then an estimate of the whole time is said, once.
        """
        self.mode: str = config.runtime.progress
        if self.mode == "auto":
            self.mode = "bar" if sys.stderr.isatty() else "plain"
        self.config = config
        self.identity = identity
        self.epoch = first_epoch
        """The epoch in training."""
        self.estimated = not on_cpu or self.mode == "none"
        self.bar: tqdm | None = None

    def track(self, steps: Iterable[int]) -> Iterator[int]:
        """Yield the steps of one epoch, a range, and show how they go by."""
        total = len(steps)  # type: ignore[arg-type]
        epochs = self.config.trainer.epochs
        if self.mode == "bar":
            if self.bar is None:
                remaining = (epochs - self.epoch + 1) * total
                self.bar = tqdm(total=remaining, bar_format=BAR, dynamic_ncols=True, smoothing=0.05)
            self.bar.set_description_str(f"epoch {self.epoch}/{epochs}")
        start = 0.0
        for step in steps:
            if not self.estimated and step == 1:
                start = time.perf_counter()
            yield step
            if self.bar is not None:
                self.bar.update()
            if not self.estimated and step == ESTIMATE_AFTER:
                seconds_per_step = (time.perf_counter() - start) / ESTIMATE_AFTER
                self._estimate(seconds_per_step * total * (epochs - self.epoch + 1))
        self.epoch += 1

    def _estimate(self, seconds: float) -> None:
        self.estimated = True
        if seconds < WORTH_SAYING_SECONDS:
            return
        text = f"Run {self.identity} on this CPU will take about {readable_seconds(seconds)}."
        if seconds > LONG_SECONDS:
            text += (
                " Smaller: width=w16, trainer.epochs=10, dataset.num_train=10000, "
                "or all of it at once: experiment=demo (digits)."
            )
        self._line(text)

    def show(self, result: "EpochResult") -> None:
        """Show the numbers of an epoch."""
        held_out = result.val_accuracy is not None
        if self.bar is not None:
            val = f", val {result.val_accuracy:.2%}" if held_out else ""
            self.bar.set_postfix_str(f"train {result.train_accuracy:.2%}{val}")
        elif self.mode == "plain":
            val = (
                f"val {result.val_accuracy:.2%} (loss {result.val_loss:.4f})  " if held_out else ""
            )
            text = f"train {result.train_accuracy:.2%} (loss {result.train_loss:.4f})  {val}"
            left = (self.config.trainer.epochs - result.epoch) * result.seconds
            self._line(
                f"epoch {result.epoch:>3}/{self.config.trainer.epochs}  lr {result.lr:.4g}  {text}"
                f"{result.images_per_second:,.0f} images/s  {readable_seconds(left)} left"
            )

    def _line(self, text: str) -> None:
        if self.bar is not None:
            self.bar.write(text, file=sys.stderr)
        else:
            print(text, flush=True)

    def close(self) -> None:
        """End the bar."""
        if self.bar is not None:
            self.bar.close()
