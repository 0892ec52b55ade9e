"""The content of a checkpoint, and a run that can be interrupted and resumed from it.

The files that hold it, and the digests that prove them, are `augean.store.checkpoints`.
"""

import io
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from augean.errors import AugeanError
from augean.store.checkpoints import (
    foreign_checkpoint_error,
    load_checkpoint,
    save_checkpoint,
)
from augean.store.run_directory import METRICS
from augean.store.run_prefix import RunPrefix
from augean.training.artifacts import serialize, train_log
from augean.training.build import TrainingContext
from augean.training.device import device_title, instruction_set
from augean.training.loss_landscape import ProbeRow
from augean.training.optimizer import DEVICE_ARGUMENTS
from augean.training.provenance import History, timestamp
from augean.training.results import EpochResult

logger = logging.getLogger(__name__)

SET_ANEW = {"params", "lr", "lr_factor", *DEVICE_ARGUMENTS}
"""Entries of an optimizer's group that are not restored: which weights it has, its learning rate,
which the schedule sets at each step, and what depends on the device."""


@dataclass
class TrainingHistory(History):
    """Everything of a run that a checkpoint holds beside the weights and the optimizer."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    """Lines of metrics.csv, one an epoch."""
    step_losses: list[float] = field(default_factory=list)
    probes: list[ProbeRow] = field(default_factory=list)
    best_accuracy: float = -1.0
    best_epoch: int = 0
    """The epoch whose weights are tested in the end; 0 before the first."""
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    """Empty without a validation split."""
    note: str = ""
    continued: dict[str, Any] | None = None
    """Fields of the summary's `Continuation`, where the run began with the state of a shorter
    one."""

    def add_epoch(self, result: EpochResult, network: nn.Module) -> None:
        """Note the numbers of an epoch, and keep its weights if they are the best so far."""
        self.rows.append({name: getattr(result, name) for name in METRICS})
        accuracy = result.val_accuracy
        if accuracy is None:
            # Without a validation split the last epoch is selected: its weights are the network's.
            self.best_epoch = result.epoch
        elif accuracy > self.best_accuracy:
            self.best_epoch = result.epoch
            self.best_accuracy = accuracy
            weights = network.state_dict()
            self.best_weights = {name: value.clone() for name, value in weights.items()}


@dataclass(frozen=True)
class Environment:
    """What an exact resume depends on."""

    device: str
    torch: str
    threads: int
    instruction_set: str | None
    """None on another device than a CPU."""
    compile: bool
    fused_norm: bool


def training_state(
    context: TrainingContext, history: TrainingHistory, environment: Environment
) -> dict[str, Any]:
    """Return all that `restore_training` needs."""
    return {
        "network": context.network.state_dict(),
        "optimizer": context.optimizer.state_dict(),
        "schedule": context.schedule.state(),
        "scaler": context.scaler.state_dict(),
        "progress": vars(history),  # the name is part of the file format
        "environment": asdict(environment),
    }


def restore_training(context: TrainingContext, state: Mapping[str, Any]) -> TrainingHistory:
    """Bring network, optimizer, schedule and scaler to where `training_state` found them.

    Raises whatever torch raises when the state is of something else.
    """
    context.network.load_state_dict(state["network"])
    _restore_optimizer(context.optimizer, state["optimizer"])
    context.schedule.restore(state["schedule"])
    context.scaler.load_state_dict(state["scaler"])
    return TrainingHistory(**state["progress"])


def _restore_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Restore the state of each weight, and what the optimizer keeps in its groups.

    Schedule-free optimizers and Prodigy, for instance, count their steps in a group.
    """
    device = optimizer.param_groups[0]["params"][0].device
    groups = []
    # What `optimizer` was built with is that of this device: `fused`, for one, may not be that of
    # the checkpoint.
    new_groups = optimizer.state_dict()["param_groups"]
    for new_group, saved_group in zip(new_groups, saved["param_groups"], strict=True):
        group = dict(new_group)
        for name, value in saved_group.items():
            if name not in SET_ANEW:
                group[name] = value.to(device) if isinstance(value, Tensor) else value
        groups.append(group)
    optimizer.load_state_dict({"state": saved["state"], "param_groups": groups})


def encode_checkpoint(run_id: str, state: Mapping[str, Any]) -> bytes:
    """Return the content of a checkpoint of the run `run_id`."""
    return serialize({"run": run_id, **state})


def decode_checkpoint(content: bytes, run_id: str) -> dict[str, Any]:
    """Return the state in a checkpoint, with tensors on the CPU; runs no code from it.

    Raises whatever torch raises for bytes that are not a checkpoint, or a ValueError for one of
    another run; see `refusing_foreign_checkpoint`.
    """
    # `weights_only` refuses all but tensors and plain values, so no code of the file runs.
    state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    run = state.get("run", run_id)
    if run != run_id:
        raise ValueError(f"it is of run {run}")
    return state


@contextmanager
def refusing_foreign_checkpoint(path: Path) -> Iterator[None]:
    """Turn what goes wrong with a checkpoint of the run in `path` into an AugeanError."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise  # it says nothing of the checkpoint
    except Exception as error:  # torch raises many kinds of errors for damaged content
        raise foreign_checkpoint_error(path, error) from error


class ResumableRun:
    """The part of a run that outlives its process: weights, optimizer's state and history."""

    def __init__(self, path: Path, run_id: str, context: TrainingContext) -> None:
        """Begin a run from nothing.

        Args:
            path: the run's directory.
            run_id: the run's id.
        """
        self.path = path
        self.run_id = run_id
        self.context = context
        self.history = TrainingHistory()
        self.threads = context.config.runtime.threads or torch.get_num_threads()
        """Threads that the training must have."""
        self._session_start = time.perf_counter()
        self._last_saved = self._session_start

    @property
    def seconds(self) -> float:
        """The wall time of all sessions, this one included."""
        return self.history.seconds + time.perf_counter() - self._session_start

    @property
    def last_epoch(self) -> int:
        """The number of the last epoch that was trained; 0 before the first."""
        return len(self.history.rows)

    def save(self) -> None:
        """Write a checkpoint of the epochs so far."""
        save_checkpoint(self.path, self.encode())
        self._last_saved = time.perf_counter()

    def encode(self) -> bytes:
        """Return the content of a checkpoint of the epochs so far."""
        # `history.seconds` counts the earlier sessions; the copy has this one added.
        history = replace(self.history, seconds=self.seconds)
        state = training_state(self.context, history, self._environment())
        return encode_checkpoint(self.run_id, state)

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
                state = decode_checkpoint(content, self.run_id)
                self._restore(state)
        if remark:
            self._note(remark)

    def _restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint of this run, and note what makes the result inexact."""
        self._load(state)
        self.history.num_resumes += 1
        changes = self._changes(state["environment"])
        if changes:
            what = " and ".join(changes)
            self._note(f"resumed after epoch {self.last_epoch} with another {what}: not exact")
        train_log.info("resumed after epoch %d", self.last_epoch)

    def _load(self, state: Mapping[str, Any]) -> None:
        """Take over a training's state and, on a CPU, the number of threads that made it."""
        if self.context.device.type == "cpu":
            # Another number of threads adds in another order, which gives other last bits.
            self.threads = state["environment"]["threads"]
        self.history = restore_training(self.context, state)

    def begin(self, prefixes: Sequence[RunPrefix]) -> None:
        """Begin with the longest state that a shorter training left, or else from nothing.

        The state must come from this environment, so that the end is the same as that of a
        training from the start.

        Args:
            prefixes: the shorter trainings, the longest first.
        """
        longest: dict[str, Any] = {}
        num_epochs = 0
        for prefix in prefixes:
            # The state of an interrupted run may have fewer epochs than that of a shorter one.
            if prefix.epochs <= num_epochs:
                break
            state = self._read_prefix(prefix)
            rows = state["progress"]["rows"] if state else []
            if len(rows) > num_epochs:
                longest = state
                num_epochs = len(rows)
        if not longest:
            return
        self._load(longest)
        # The run keeps a history of its own.
        self.history.continued = {
            "run": longest["run"],
            "epoch": num_epochs,
            "seconds": self.history.seconds,
        }
        self.history.started = timestamp()
        self.history.num_resumes = 0
        self._say(f"begins after epoch {num_epochs} of run {longest['run']}")

    def _read_prefix(self, prefix: RunPrefix) -> dict[str, Any]:
        """Return the state of a shorter training; empty where it cannot be used."""
        try:
            content = prefix.read_state()
        except AugeanError as error:
            self._say(f"the state of run {prefix.id} cannot be used ({error})")
            return {}
        if content is None:
            return {}
        try:
            state = decode_checkpoint(content, prefix.id)
            changes = self._changes(state["environment"])
        except Exception as error:  # torch raises many kinds of errors for damaged content
            self._say(f"the state of run {prefix.id} cannot be used ({type(error).__name__})")
            return {}
        if "threads" in changes and self.context.config.runtime.threads is None:
            changes.remove("threads")
        if changes:
            what = " and ".join(changes)
            self._say(f"does not continue run {prefix.id}, which was trained with another {what}")
            return {}
        return state

    def _changes(self, saved: Mapping[str, Any]) -> list[str]:
        """Return what differs now from the environment of a checkpoint, in words."""
        changes = []
        on_cpu = self.context.device.type == "cpu"
        for name, value in vars(self._environment()).items():
            # Off the CPU the number of threads changes no bit of the result.
            if name == "threads" and not on_cpu:
                continue
            # Checkpoints of earlier releases lack what was not recorded then.
            if name in saved and value != saved[name]:
                changes.append(name.replace("_", " "))
        return changes

    def _say(self, text: str) -> None:
        """Log a line both in train.log and for the user."""
        train_log.info(text)
        logger.info(f"Run {self.run_id}: {text}")

    def _environment(self) -> Environment:
        return Environment(
            device=device_title(self.context.device),
            torch=str(torch.__version__),
            threads=self.threads,
            instruction_set=instruction_set(self.context.device),
            compile=self.context.config.runtime.compile,
            fused_norm=self.context.config.runtime.fused_norm,
        )

    def _note(self, text: str) -> None:
        """Log a remark, and keep it for the summary."""
        train_log.info(text)
        logger.warning(f"Run {self.run_id}: {text}")
        note = self.history.note
        self.history.note = f"{note}; {text}" if note else text
