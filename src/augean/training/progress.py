"""What a run shows while it trains: a bar on a terminal or a plain line per epoch, and a file."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from augean.config.schema import Config
from augean.store.run_progress import WRITE_SECONDS, RunProgress
from augean.terminal import readable_seconds
from augean.training.results import EpochResult

logger = logging.getLogger(__name__)

BAR = "{desc} {percentage:3.0f}% |{bar:16}| {remaining} left{postfix}"
"""Fits into 80 columns; the time left is that of the whole run."""
NUM_TIMED_STEPS = 3
"""Steps that a run on a CPU times before it says how long it will take, after one to warm up."""
WORTH_SAYING_SECONDS, LONG_SECONDS = 60.0, 300.0
"""Estimates above the first are shown; above the second they come with advice on what is
smaller."""


class ProgressDisplay:
    """The progress of one run, from its first epoch in this process to its last."""

    def __init__(self, config: Config, run_id: str, *, on_cpu: bool, first_epoch: int) -> None:
        """Choose how to show the progress.

        Args:
            on_cpu: then an estimate of the whole time is said, once.
        """
        self.mode: str = config.runtime.progress
        if self.mode == "auto":
            self.mode = "bar" if sys.stderr.isatty() else "plain"
        self.config = config
        self.run_id = run_id
        self.epoch = first_epoch
        """The epoch in training."""
        # An estimate is for people who wait at a CPU, where a run may take hours.
        self.wants_estimate = on_cpu and self.mode != "none"
        """Whether the estimate of the whole time is still to be shown."""
        self.bar: tqdm | None = None

    def track(self, steps: Iterable[int]) -> Iterator[int]:
        """Yield the steps of one epoch, a range, and show how they go by."""
        total = len(steps)  # type: ignore[arg-type]
        epochs = self.config.trainer.epochs
        if self.mode == "bar":
            # One bar for all epochs, so that its time left is that of the run.
            if self.bar is None:
                remaining = (epochs - self.epoch + 1) * total
                self.bar = tqdm(total=remaining, bar_format=BAR, dynamic_ncols=True, smoothing=0.05)
            self.bar.set_description_str(f"epoch {self.epoch}/{epochs}")
        start = 0.0
        for step in steps:
            if self.wants_estimate and step == 1:
                start = time.perf_counter()
            yield step
            if self.bar is not None:
                self.bar.update()
            # The clock started before step 1, so the warm-up, step 0, is not in the mean.
            if self.wants_estimate and step == NUM_TIMED_STEPS:
                seconds_per_step = (time.perf_counter() - start) / NUM_TIMED_STEPS
                self._estimate(seconds_per_step * total * (epochs - self.epoch + 1))
        self.epoch += 1

    def _estimate(self, seconds: float) -> None:
        self.wants_estimate = False
        if seconds < WORTH_SAYING_SECONDS:
            return
        text = f"Run {self.run_id} on this CPU will take about {readable_seconds(seconds)}."
        if seconds > LONG_SECONDS:
            keys = ["trainer.epochs", "dataset.num_train"]
            # A network of torchvision has its own width.
            if self.config.width.channels is not None:
                keys.append("width.channels")
            text += (
                f" Smaller values of {', '.join(keys)} shorten it; `augean train experiment=demo`"
                " is a small run, on digits."
            )
        self._line(text)

    def show(self, result: EpochResult) -> None:
        """Show the numbers of an epoch."""
        has_val = result.val_accuracy is not None
        if self.bar is not None:
            text = f"train {result.train_accuracy:.2%}"
            if has_val:
                text += f", val {result.val_accuracy:.2%}"
            self.bar.set_postfix_str(text)
        elif self.mode == "plain":
            text = f"train {result.train_accuracy:.2%} (loss {result.train_loss:.4f})  "
            if has_val:
                text += f"val {result.val_accuracy:.2%} (loss {result.val_loss:.4f})  "
            seconds_left = (self.config.trainer.epochs - result.epoch) * result.seconds
            self._line(
                f"epoch {result.epoch:>3}/{self.config.trainer.epochs}  lr {result.lr:.4g}  {text}"
                f"{result.images_per_second:,.0f} images/s  {readable_seconds(seconds_left)} left"
            )

    def _line(self, text: str) -> None:
        # A bar is drawn over its own line: what is printed must go through it.
        if self.bar is not None:
            self.bar.write(text, file=sys.stderr)
        else:
            logger.info(text)

    def close(self) -> None:
        """End the bar."""
        if self.bar is not None:
            self.bar.close()


class ProgressFile:
    """Keeps the run's progress file up to date, see `augean.store.run_progress`.

    The run's session removes it in the end.
    """

    def __init__(self, path: Path, *, epochs: int, num_steps: int, first_epoch: int) -> None:
        """Write nothing yet.

        Args:
            path: the run's directory.
            epochs: of the whole run.
            num_steps: of the whole run.
            first_epoch: the first that this process trains.
        """
        self.path = path
        self.epochs = epochs
        self.num_steps = num_steps
        self._epoch = first_epoch
        # Steps of the earlier sessions, of which a resumed run has the results already.
        self._first_step = num_steps // epochs * (first_epoch - 1)
        self._num_done = self._first_step
        self._start = time.monotonic()
        self._last_written = self._start
        self._train_accuracy: float | None = None
        self._val_accuracy: float | None = None

    def track(self, steps: Iterable[int]) -> Iterator[int]:
        """Yield the steps of one epoch, and count them.

        On CUDA the steps are counted when they are handed to the device, which lags behind.
        """
        for step in steps:
            yield step
            self._num_done += 1
            self._write_if_due()

    def end_epoch(self, result: EpochResult) -> None:
        """Note the scores of an epoch."""
        self._epoch = min(result.epoch + 1, self.epochs)
        self._train_accuracy = result.train_accuracy
        self._val_accuracy = result.val_accuracy
        self._write_if_due()

    def _write_if_due(self) -> None:
        now = time.monotonic()
        if now - self._last_written < WRITE_SECONDS:
            return
        self._last_written = now
        # The speed is that of this process: earlier ones may have run on another machine.
        num_here = self._num_done - self._first_step
        seconds_left = None
        if num_here:
            seconds_left = (now - self._start) / num_here * (self.num_steps - self._num_done)
        RunProgress(
            epoch=self._epoch,
            epochs=self.epochs,
            fraction=self._num_done / self.num_steps,
            seconds_left=seconds_left,
            train_accuracy=self._train_accuracy,
            val_accuracy=self._val_accuracy,
        ).write(self.path)
