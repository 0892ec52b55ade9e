"""The content of a checkpoint: what a run goes on from, as bytes and back.

The files that hold it, and the digests that prove them, are `augean.store.checkpoints`.
"""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from augean.store.checkpoints import foreign_checkpoint_error
from augean.store.run_directory import METRICS
from augean.training.build import TrainingContext
from augean.training.loss_landscape import ProbeRow
from augean.training.provenance import History
from augean.training.results import EpochResult


@dataclass
class Progress(History):
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


def training_state(
    context: TrainingContext, progress: Progress, environment: Environment
) -> dict[str, Any]:
    """Return all that `restore_training` needs."""
    return {
        "network": context.network.state_dict(),
        "optimizer": context.optimizer.state_dict(),
        "schedule": context.schedule.state(),
        "scaler": context.scaler.state_dict(),
        "progress": vars(progress),
        "environment": asdict(environment),
    }


def restore_training(context: TrainingContext, state: Mapping[str, Any]) -> Progress:
    """Bring network, optimizer, schedule and scaler to where `training_state` found them.

    Raises whatever torch raises when the state is of something else.
    """
    context.network.load_state_dict(state["network"])
    # Settings come from the config; the checkpoint's may be those of another device.
    groups = context.optimizer.state_dict()["param_groups"]
    optimizer_state = {"state": state["optimizer"]["state"], "param_groups": groups}
    context.optimizer.load_state_dict(optimizer_state)
    context.schedule.restore(state["schedule"])
    context.scaler.load_state_dict(state["scaler"])
    return Progress(**state["progress"])


def encode_checkpoint(identity: str, state: Mapping[str, Any]) -> bytes:
    """Return the content of a checkpoint of the run `identity`."""
    return serialize({"run": identity, **state})


def decode_checkpoint(content: bytes, identity: str) -> dict[str, Any]:
    """Return the state in a checkpoint, with tensors on the CPU; runs no code from it.

    Raises whatever torch raises for bytes that are not a checkpoint, or a ValueError for one of
    another run; see `refusing_foreign_checkpoint`.
    """
    state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    run = state.get("run", identity)
    if run != identity:
        raise ValueError(f"it is of run {run}")
    return state


def serialize(content: Any) -> bytes:
    """Return what `torch.save` writes."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


@contextmanager
def refusing_foreign_checkpoint(path: Path) -> Iterator[None]:
    """Turn what goes wrong with a checkpoint of the run in `path` into an AugeanError."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # rubbish fails in every way that torch knows
        raise foreign_checkpoint_error(path, error) from error
