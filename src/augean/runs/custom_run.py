"""Define the run of a custom loop, which `augean.run` hands to the body of a `with` statement."""

import logging
import math
import operator
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy

from augean.config.schema import RuntimeConfig
from augean.errors import AugeanError
from augean.runs.address import RunAddress
from augean.runs.loop_checkpoint import LoopCheckpoint
from augean.runs.session import RunSession
from augean.store.run_directory import METRICS, write_metrics
from augean.store.run_progress import WRITE_SECONDS, RunProgress
from augean.store.summary import Divergence, RunState, RunSummary, parse_entries
from augean.terminal import counted
from augean.training.provenance import History, library_versions

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

SELECTED_SCORES = ("train_accuracy", "val_loss", "val_accuracy")
"""Columns of metrics.csv that the summary repeats for the selected epoch."""


@dataclass(frozen=True, kw_only=True)
class RunOrigin:
    """The code, data and folder that a run was trained from, for its summary.

    The fields have the names of those of `RunSummary`.
    """

    loop: str
    """Name of the file whose code trains."""
    loop_digest: str
    code_digests: Mapping[str, str]
    data_digest: str | None
    places: Mapping[str, str]


class Diverged(Exception):
    """The loss is NaN or infinite, which is a result; ends the `with` block."""


class CustomRun:
    """One run of a custom loop.

    A completed run has its `summary` and no epochs left, and it ignores further calls of `log`,
    `save` and `finish`. So the same script can be started again without a change.
    """

    def __init__(
        self,
        address: RunAddress,
        config: Mapping[str, Any],
        runtime: RuntimeConfig,
        origin: RunOrigin,
    ) -> None:
        """Describe a run that has not begun yet.

        Args:
            config: with dotted keys, as the report shows it.
        """
        self.address = address
        self.config = config
        self.runtime = runtime
        self.origin = origin
        self.summary: RunSummary | None = None
        self.session: RunSession | None = None
        """None for a run that was completed before this process asked for it."""
        self.rows: list[dict[str, Any]] = []
        """Lines of metrics.csv, one an epoch."""
        self._num_epochs: int | None = None
        """Epochs of the whole run; None for a loop that does not call `epochs`."""
        self._num_epochs_before = 0
        """Epochs that earlier sessions had logged when `epochs` was called."""
        self._state: Any = None
        """What `load` returns: the user's state in the checkpoint that the run goes on from."""
        self._history = History()
        self._checkpoint = LoopCheckpoint(address, runtime.checkpoint_seconds)
        self._start_clocks()

    def _start_clocks(self) -> None:
        """Start the times of this process, in seconds of `time.perf_counter`."""
        now = time.perf_counter()
        self._start = now
        self._epoch_start = now
        self._last_shown = now

    @property
    def finished(self) -> bool:
        """Whether the run is completed, diverged runs included: nothing is left to train."""
        return self.summary is not None

    @property
    def best_epoch(self) -> int:
        """The epoch of highest validation accuracy, the earliest on ties; 0 where none has one."""
        scores = {}
        for row in self.rows:
            if row["val_accuracy"] is not None:
                scores[row["epoch"]] = row["val_accuracy"]
        return max(scores, key=lambda epoch: scores[epoch], default=0)

    def epochs(self, count: int) -> Iterator[int]:
        """Yield the epochs from 1 to `count` that are still to do.

        After a stop signal no further epoch begins: the process ends with status 128 + signal
        number.

        Raises:
            AugeanError: when an epoch was not logged before the next.
        """
        self._num_epochs = count
        self._num_epochs_before = len(self.rows)
        while not self.finished and len(self.rows) < count:
            self._exit_if_stopped()
            epoch = len(self.rows) + 1
            self._epoch_start = time.perf_counter()
            yield epoch
            if len(self.rows) < epoch and not self.finished:
                raise AugeanError(f"epoch {epoch} ended without run.log(...)")

    def log(self, **values: Any) -> None:
        """Write the numbers of an epoch as a line of metrics.csv.

        Losses, accuracies as fractions, `lr`, `seconds`, `images_per_second`.

        Args:
            values: by column of metrics.csv; None or absent is an empty cell. `epoch` and `seconds`
                need not be given: they are the next epoch and the time since it began.

        Raises:
            AugeanError: for another column, another epoch than the next, or an accuracy that is not
                a fraction.
        """
        if self.finished:
            return
        row = self._read_row(values)
        # A missing loss does not end the run, so None counts as 0 here.
        losses = [row["train_loss"] or 0.0, row["val_loss"] or 0.0]
        if not all(map(math.isfinite, losses)):
            last_loss = self.rows[-1]["train_loss"] if self.rows else None
            divergence = Divergence(epoch=row["epoch"], last_loss=last_loss)
            self._end(RunState.DIVERGED, {"diverged": asdict(divergence)})
            raise Diverged
        _check_fractions(row)
        self.rows.append(row)
        write_metrics(self.address.path, self.rows)
        # For a loop without `epochs`: its next epoch begins where this one was logged.
        self._epoch_start = time.perf_counter()
        if self.session is not None:
            self.session.loggers.log(row)
        self._show_progress()

    def _show_progress(self) -> None:
        """Write the progress file, at most every few seconds."""
        now = time.perf_counter()
        if self._num_epochs is None or now - self._last_shown < WRITE_SECONDS:
            return
        self._last_shown = now
        last_row = self.rows[-1]
        num_done = len(self.rows)
        # The clock began with this process, so only the epochs trained here count.
        num_done_here = max(1, num_done - self._num_epochs_before)
        seconds_per_epoch = (now - self._start) / num_done_here
        RunProgress(
            epoch=min(num_done + 1, self._num_epochs),
            epochs=self._num_epochs,
            fraction=num_done / self._num_epochs,
            seconds_left=seconds_per_epoch * (self._num_epochs - num_done),
            train_accuracy=last_row["train_accuracy"],
            val_accuracy=last_row["val_accuracy"],
        ).write(self.address.path)

    def _read_row(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return the next line of metrics.csv, with None for each value that was not given."""
        epoch = len(self.rows) + 1
        unknown = values.keys() - {*METRICS}
        if unknown:
            raise AugeanError(
                f"run.log: {', '.join(unknown)}: no such column; there are {', '.join(METRICS)}"
            )
        given_epoch = values.pop("epoch", epoch)
        if given_epoch != epoch:
            raise AugeanError(
                f"run.log: epoch={given_epoch}: the next epoch is {epoch}; epochs count from 1"
            )
        row: dict[str, Any] = dict.fromkeys(METRICS)
        row["epoch"] = epoch
        row["seconds"] = time.perf_counter() - self._epoch_start
        for name, value in values.items():
            row[name] = None if value is None else float(value)
        return row

    def save(self, state: Any) -> None:
        """Keep what is needed to go on after the epochs logged so far, as it is now.

        It is written at most every `checkpoint_seconds`, and after a stop signal: then the process
        ends with status 128 + signal number.

        Args:
            state: tensors, numbers, text, bytes, and lists and dictionaries of them, which is what
                `torch.load(weights_only=True)` reads: a checkpoint can run no code. Numbers of
                NumPy become Python's.

        Raises:
            AugeanError: when the state holds anything else.
        """
        if self.finished:
            return
        history = vars(self._history) | {"seconds": self._seconds()}
        self._checkpoint.keep(self.rows, state, history)
        if self._checkpoint.is_due:
            self._checkpoint.write()
        self._exit_if_stopped()

    def load(self) -> Any:
        """Return the state that an interrupted run saved last, with tensors on the CPU.

        Returns:
            None for a run that begins anew.
        """
        return self._state

    def finish(
        self,
        *,
        test_accuracy: float,
        selected_epoch: int | None = None,
        weights: "Mapping[str, Tensor] | None" = None,
        correct: "Sequence[bool] | Tensor | None" = None,
        **facts: Any,
    ) -> None:
        """End the run with its test score, a fraction.

        Args:
            selected_epoch: the epoch whose weights were tested; the report shows its validation
                scores. None: the last. Choose it by validation scores alone, such as `best_epoch`.
            weights: a state dict to be kept as best.pt.
            correct: which test images are classified right, in the order of the test set, kept as
                correct.npy; `num_test` is their number.
            facts: further plain entries of the summary. The report shows `device`, `precision`,
                `parameters`, `dataset_title`, and `num_train`, `num_val`, `num_test` images.
                Numbers of NumPy become Python's.

        Raises:
            AugeanError: when the accuracy is not a fraction or not the one of `correct`, or the
                epoch was not logged.
        """
        if self.finished:
            return
        selected = self._find_selected(selected_epoch)
        _check_fractions({"test_accuracy": test_accuracy})
        # First the files, then the summary: it holds their digests and completes the run.
        if correct is not None:
            facts = {"num_test": len(correct), **facts}
            self._write_correct(correct, test_accuracy)
        if weights is not None:
            from augean.training.artifacts import write_weights

            write_weights(self.address.path, weights)
        scores: dict[str, Any] = dict.fromkeys(SELECTED_SCORES)
        if selected:  # 0 for a loop that logged no epoch
            scores = {name: self.rows[selected - 1][name] for name in SELECTED_SCORES}
        scores["test_accuracy"] = float(test_accuracy)
        scores["selected_epoch"] = selected
        if self.session is not None:
            last_epoch = len(self.rows)
            self.session.loggers.log({"epoch": last_epoch, "test_accuracy": float(test_accuracy)})
        self._end(RunState.FINISHED, plain_numbers(facts) | scores)

    def _find_selected(self, selected_epoch: int | None) -> int:
        """Return the number of the epoch that was tested; 0 for a loop that logged no epoch."""
        # 0 is what `best_epoch` says where no epoch has a validation accuracy.
        if selected_epoch is None or (selected_epoch == 0 and self.best_epoch == 0):
            return len(self.rows)
        try:
            # Python's number for one of NumPy or torch.
            selected = operator.index(selected_epoch)
        except TypeError:
            selected = -1
        if not 1 <= selected <= len(self.rows):
            raise AugeanError(
                f"run.finish: selected_epoch={selected_epoch}: {counted(len(self.rows), 'epoch')}"
                " logged, and epochs count from 1"
            )
        return selected

    def _write_correct(self, correct: "Sequence[bool] | Tensor", test_accuracy: float) -> None:
        """Write correct.npy, which must agree with the test accuracy."""
        import torch

        from augean.training.artifacts import write_correct

        is_right = torch.as_tensor(correct).bool().cpu()  # [N]
        accuracy = is_right.double().mean().item() if is_right.numel() else 0.0
        # A mean that was computed in fp32 has 7 digits.
        if is_right.dim() != 1 or not math.isclose(accuracy, test_accuracy, abs_tol=1e-6):
            raise AugeanError(
                f"run.finish: test_accuracy={test_accuracy}, but in `correct`, of shape"
                f" {list(is_right.shape)}, {accuracy:.6f} are right; give one value for each test"
                " image, and both for the same weights"
            )
        write_correct(self.address.path, is_right)

    def _end(self, status: RunState, content: Mapping[str, Any]) -> None:
        """Write the summary, which completes the run.

        Args:
            content: further entries of the summary.
        """
        assert self.session is not None  # a completed run does not end again
        # Here too, for a run that ends without a logged epoch: metrics.csv is then its header.
        write_metrics(self.address.path, self.rows)
        # Later entries replace earlier ones: `content` has facts of the user, who may choose the
        # title of the data set, but not the entries below.
        entries = {
            "dataset_title": self.runtime.dataset_title,
            **content,
            **vars(self._history),
            "id": self.address.id,
            "status": status,
            "config": dict(self.config),
            **vars(self.origin),
            "epochs": len(self.rows),
            "seconds": self._seconds(),
            "versions": library_versions(),
        }
        self.summary = self.session.complete(parse_entries(entries, "run.finish"))

    def _seconds(self) -> float:
        """Return the wall time of all sessions so far."""
        return self._history.seconds + time.perf_counter() - self._start

    def _exit_if_stopped(self) -> None:
        if self.session is not None and self.session.stop.signal is not None:
            self.write_checkpoint()
            self.session.exit_if_stopped()

    def write_checkpoint(self) -> None:
        """Write the state of the last `save`, where it was not due then."""
        self._checkpoint.write()

    def resume(self) -> None:
        """Go on from the newest good checkpoint, if there is one.

        Raises:
            AugeanError: when it cannot be loaded or is not this run's.
        """
        self._start_clocks()
        progress, remark = self._checkpoint.read()
        if progress is not None:
            self._history = progress.history
            self._history.num_resumes += 1
            self.rows = progress.rows
            self._state = progress.state
            where = f"goes on after epoch {len(self.rows)}"
            remark = f"{remark}; {where}" if remark else where
        if remark:
            logger.info(f"Run {self.address.id}: {remark}")


def _check_fractions(values: Mapping[str, Any]) -> None:
    # The usual mistake is an accuracy in percent.
    for name, value in values.items():
        if name.endswith("accuracy") and value is not None and not 0 <= value <= 1:
            raise AugeanError(f"{name}={value}: must be a fraction from 0 to 1")


def plain_numbers(value: Any) -> Any:
    """Return a value in which numbers of NumPy are Python's, and tuples are lists, as in JSON."""
    if isinstance(value, numpy.generic):
        return value.item()
    if isinstance(value, dict):
        return {key: plain_numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_numbers(item) for item in value]
    return value
