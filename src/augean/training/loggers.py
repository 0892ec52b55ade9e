"""Send a run's numbers to TensorBoard and Weights & Biases. No logger can fail a run or hold it up.

Each works in a thread of its own, behind a queue: one that raises is left out from there on, and
one that hangs is left alone. Their files lie beside the runs, in `<outputs>/tensorboard/<run>` and
`<outputs>/wandb`, so that a run's directory is the same with them and without.
"""

import importlib
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from augean.config.schema import RuntimeConfig
from augean.store.run_files import id_in_name
from augean.system_errors import require_packages

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 15.0
"""Longest wait at the end of a run for each logger to write what it has received."""
LoggedRow = Mapping[str, float | None]
"""The numbers of an epoch by name, `epoch` among them; None stands for what does not exist."""


class TensorBoard:
    """Writes to `<outputs>/tensorboard/<run>`."""

    def __init__(self, path: Path, config: Mapping[str, Any], first_epoch: int) -> None:
        folder = path.parents[1] / "tensorboard" / path.name
        tensorboard: Any = importlib.import_module("torch.utils.tensorboard")
        # Epochs that an interrupted run logged after its last checkpoint are trained again:
        # `purge_step` hides the old ones.
        self.writer = tensorboard.SummaryWriter(str(folder), purge_step=first_epoch)
        # TensorBoard renders text as Markdown, where four spaces keep a line as it is.
        self.writer.add_text(
            "config", "\n".join(f"    {key}: {value}" for key, value in config.items())
        )

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, epoch)
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


class WandB:
    """Writes to `<outputs>/wandb`, offline unless WANDB_MODE says otherwise.

    `wandb sync <outputs>/wandb/offline-run-*` uploads.
    """

    def __init__(self, path: Path, config: Mapping[str, Any], first_epoch: int) -> None:
        wandb: Any = importlib.import_module("wandb")
        # Less than `CLOSE_SECONDS`, so that a short run still has time left for writing.
        settings = wandb.Settings(console="off", silent=True, init_timeout=CLOSE_SECONDS * 2 / 3)
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "augean"),
            mode=os.environ.get("WANDB_MODE", "offline"),
            dir=str(path.parents[1]),
            name=path.name,
            # The run's id ends the directory's name: a resumed run continues its own curves.
            id=id_in_name(path.name),
            resume="allow",
            reinit="create_new",  # runs of one process overlap where one of them hangs
            config=dict(config),
            settings=settings,
        )

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        self.run.log(dict(values), step=epoch)

    def close(self) -> None:
        self.run.finish()


LOGGERS: dict[str, Callable[[Path, Mapping[str, Any], int], TensorBoard | WandB]] = {
    "tensorboard": TensorBoard,
    "wandb": WandB,
}


class Loggers:
    """The loggers that `runtime.loggers` names, for one run."""

    def __init__(self, runtime: RuntimeConfig, path: Path, config: Mapping[str, Any]) -> None:
        """Make sure that the loggers are installed; nothing is written before the first epoch.

        Args:
            path: the run's directory.
            config: by dotted key, to be shown.

        Raises:
            SetupError: when one of them is not installed.
        """
        self.queues: list[SimpleQueue[LoggedRow | None]] = []
        self.threads: list[Thread] = []
        for name in runtime.loggers:
            require_packages(name, extra=name)
            queue = SimpleQueue[LoggedRow | None]()
            arguments = (name, queue, path, config)
            self.queues.append(queue)
            self.threads.append(Thread(target=_serve, args=arguments, name=name, daemon=True))

    def log(self, row: LoggedRow) -> None:
        """Hand over the numbers of an epoch."""
        for thread in self.threads:
            # Threads start at the first epoch, so that a run refused before it leaves no files.
            if thread.ident is None:
                thread.start()
        for queue in self.queues:
            queue.put(row)

    def close(self) -> None:
        """Let the loggers end, and wait for each at most `CLOSE_SECONDS`."""
        # All are told to end before the first is waited for: they write at the same time.
        for queue in self.queues:
            queue.put(None)
        for thread in self.threads:
            if thread.ident is not None:  # it was started
                thread.join(CLOSE_SECONDS)
            if thread.is_alive():
                logger.warning(f"{thread.name}: not done after {CLOSE_SECONDS:g} s; left alone")


def _serve(
    name: str, queue: "SimpleQueue[LoggedRow | None]", path: Path, config: Mapping[str, Any]
) -> None:
    """Make one logger at the first row, and hand it each row until None comes; runs in a thread."""
    try:
        writer = None
        while (row := queue.get()) is not None:
            values = {key: value for key, value in row.items() if value is not None}
            epoch = int(values.pop("epoch"))
            writer = writer or LOGGERS[name](path, config, epoch)
            writer.log(epoch, values)
        if writer is not None:
            writer.close()
    except Exception as error:  # whatever a logger does, the run goes on
        logger.warning(
            f"{name}: failed ({type(error).__name__}: {error}); the run goes on without it"
        )
