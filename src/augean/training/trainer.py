"""Train one run into its directory: load, seed, build, resume, fit, select, test, write."""

import importlib.metadata
import io
import json
import logging
import math
import platform
import signal
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy
import torch
from omegaconf import OmegaConf

from augean.config.run_id import CORE, SCHEMA
from augean.config.schema import Config
from augean.config.validation import flatten_config
from augean.datasets.base import Source
from augean.errors import ConfigError, Pruned
from augean.signals import Interrupted, StopSignals
from augean.store.checkpoints import (
    foreign_checkpoint_error,
    load_checkpoint,
    remove_checkpoints,
    save_checkpoint,
)
from augean.store.files import write_atomic, write_csv
from augean.store.run_directory import METRICS, clear_leftovers, write_metrics
from augean.store.summary import Divergence, RunState, RunSummary, write_summary
from augean.system_errors import explaining_system_errors
from augean.training.build import build_model, build_optimizer
from augean.training.data import Data, load_data
from augean.training.device import (
    algorithms,
    choose_layout,
    device_title,
    find_device,
    precision_hint,
    seed_all,
)
from augean.training.loggers import Loggers
from augean.training.loop import evaluate, fit
from augean.training.lr_schedule import LRSchedule
from augean.training.model_summary import describe_model
from augean.training.progress import ProgressDisplay
from augean.training.provenance import git_commit
from augean.training.results import DivergedError, EpochResult, Score
from augean.version import version

log = logging.getLogger("augean.run")


@dataclass
class Progress:
    """Everything of a run that a checkpoint holds beside the weights and the optimizer."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    step_losses: list[float] = field(default_factory=list)
    probes: list[dict[str, float]] = field(default_factory=list)
    best_accuracy: float = -1.0
    best_epoch: int = 0
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)
    seconds: float = 0.0
    """Wall time of all sessions so far: training, evaluation and checkpoints."""
    started: str = ""
    num_resumes: int = 0
    note: str = ""


@explaining_system_errors()
def train(
    config: Config,
    source: Source,
    path: Path,
    identity: str,
    should_stop: Callable[[int, float | None], bool] | None,
) -> RunSummary:
    """Train or resume one run whose lock is held; returns its summary.

    Args:
        path: the run's directory; made here, once everything is known to be in order.
        should_stop: as for `augean.runs.execute.execute`.

    Raises:
        AugeanError: for whatever the user can mend.
        SystemExit: after a stop signal, with a checkpoint written.
    """
    device = find_device(config.runtime.device)
    node = config.dataset
    data = load_data(source, node.num_val, node.num_train, node.split_seed, device)
    if len(data.train) % config.trainer.batch_size == 1:
        raise ConfigError(
            f"trainer.batch_size={config.trainer.batch_size}: {len(data.train)} training images"
            " leave a last batch of one image, which batch norm cannot use; choose another size"
        )
    description = describe_model(config, len(data.classes))
    session = _Session(config, data, device, path, identity)
    num_steps = session.schedule.num_steps
    if config.record.probe_every > num_steps:
        raise ConfigError(
            f"record.probe_every={config.record.probe_every}: the run has only {num_steps} steps; "
            f"probe more often, for example record.probe_every={max(1, num_steps // 50)}"
        )
    path.mkdir(parents=True, exist_ok=True)
    clear_leftovers(path)
    threads = torch.get_num_threads()
    with _logging_to(path / "train.log"), StopSignals(config.runtime.grace_seconds) as stop:
        write_atomic(path / "config.yaml", config_yaml(config))
        write_atomic(path / "model.json", json.dumps(description, indent=1) + "\n")
        try:
            with algorithms(config.trainer.deterministic):
                session.resume()
                session.fit(stop, should_stop)
                stop.disarm()  # the little that is left is not worth abandoning
                summary = session.finish(description["parameters"])
        except Interrupted:
            log.info("stopped by signal %s after epoch %d", stop.signal, len(session.progress.rows))
            raise SystemExit(128 + (stop.signal or signal.SIGINT)) from None
        finally:
            session.loggers.close()
            torch.set_num_threads(
                threads
            )  # the next run of this process is not bound by this one's checkpoint
        if stop.signal is not None:
            raise SystemExit(128 + stop.signal)
        return summary


def config_yaml(config: Config) -> str:
    """The run's config.yaml: `python train.py -cp <absolute run directory> -cn config` is the same
    run.
    """
    body = {key: value for key, value in asdict(config).items() if key != "runtime"}
    return OmegaConf.to_yaml(OmegaConf.create({"defaults": ["augean", "_self_"], **body}))


@contextmanager
def _logging_to(file: Path) -> Iterator[None]:
    handler = logging.FileHandler(file)
    # A full disk shows in the files that matter.
    handler.handleError = lambda _record: None  # type: ignore[assignment, method-assign]
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()


class _Session:
    """One process's share of a run: from a checkpoint, or from nothing, to the summary or the next
    checkpoint.
    """

    def __init__(
        self, config: Config, data: Data, device: torch.device, path: Path, identity: str
    ) -> None:
        self.config, self.data, self.device, self.path, self.identity = (
            config,
            data,
            device,
            path,
            identity,
        )
        self.threads = config.runtime.threads or torch.get_num_threads()
        self.start = self.last_checkpoint = time.perf_counter()
        self.diverged: Divergence | None = None
        self.loggers = Loggers(config.runtime, path, flatten_config(config))
        seed_all(config.seed, 0)
        network = build_model(config, len(data.classes)).to(device)
        self.network = network.to(memory_format=choose_layout(network, device))
        self.optimizer = build_optimizer(config, self.network)
        num_steps = math.ceil(len(data.train) / config.trainer.batch_size) * config.trainer.epochs
        self.schedule = LRSchedule(config.schedule, config.optimizer.lr, num_steps)
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.trainer.precision == "fp16")
        self.progress = Progress(started=datetime.now(UTC).isoformat(timespec="seconds"))

    def _environment(self) -> dict[str, Any]:
        """What an exact resume depends on."""
        return {
            "device": device_title(self.device),
            "torch": str(torch.__version__),
            "threads": self.threads,
        }

    def resume(self) -> None:
        """Go on from the newest good checkpoint, if there is one."""
        content, remark = load_checkpoint(self.path)
        try:
            if content is not None:
                self._restore(
                    torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
                )
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # rubbish fails in every way that torch knows
            raise foreign_checkpoint_error(self.path, error) from error
        if remark:
            self._note(remark)

    def _restore(self, state: dict[str, Any]) -> None:
        if (run := state.get("run", self.identity)) != self.identity:
            raise ValueError(f"it is of run {run}")
        if self.device.type == "cpu":
            self.threads = state["environment"][
                "threads"
            ]  # another number of threads gives other bits
        self.network.load_state_dict(state["network"])
        # Settings come from the config; the checkpoint's may be those of another device.
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict(
            {"state": state["optimizer"]["state"], "param_groups": groups}
        )
        self.schedule.restore(state["schedule"])
        self.scaler.load_state_dict(state["scaler"])
        self.progress = Progress(**state["progress"])
        self.progress.num_resumes += 1
        if changed := [
            key for key, value in self._environment().items() if value != state["environment"][key]
        ]:
            self._note(
                f"resumed after epoch {len(self.progress.rows)} with another"
                f" {' and '.join(changed)}: not exact"
            )
        log.info("resumed after epoch %d", len(self.progress.rows))

    def _note(self, text: str) -> None:
        log.info(text)
        print(f"Run {self.identity}: {text}", file=sys.stderr)
        self.progress.note = "; ".join(filter(None, [self.progress.note, text]))

    def _seconds(self) -> float:
        return self.progress.seconds + time.perf_counter() - self.start

    def checkpoint(self) -> None:
        buffer = io.BytesIO()
        torch.save(
            {
                "run": self.identity,
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state(),
                "scaler": self.scaler.state_dict(),
                "progress": vars(self.progress) | {"seconds": self._seconds()},
                "environment": self._environment(),
            },
            buffer,
        )
        save_checkpoint(self.path, buffer.getvalue())
        self.last_checkpoint = time.perf_counter()

    def fit(
        self, stop: StopSignals, should_stop: Callable[[int, float | None], bool] | None
    ) -> None:
        """Train to the last epoch or to divergence, with checkpoints on the way.

        Raises:
            Interrupted: after a stop signal, with a checkpoint.
            Pruned: when `should_stop` said so, with a checkpoint.
        """
        config, progress = self.config, self.progress
        torch.set_num_threads(self.threads)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        log.info(
            "started on %s, %s, %d threads",
            device_title(self.device),
            config.trainer.precision,
            self.threads,
        )
        if hint := precision_hint(config.trainer.precision, self.device):
            log.info(hint)
            if config.runtime.progress != "none":
                print(hint, file=sys.stderr)
        display = ProgressDisplay(
            config,
            self.identity,
            on_cpu=self.device.type == "cpu",
            first_epoch=len(progress.rows) + 1,
        )
        results = fit(
            self.network,
            self.optimizer,
            self.schedule,
            self.scaler,
            self.data.train,
            self.data.val,
            config,
            first_epoch=len(progress.rows) + 1,
            track=display.track,
        )
        try:
            for result in results:
                self._take(result)
                display.show(result)
                if should_stop is not None and should_stop(result.epoch, result.val_accuracy):
                    self.checkpoint()
                    raise Pruned(f"pruned after epoch {result.epoch}")
                if stop.signal is not None and result.epoch < config.trainer.epochs:
                    self.checkpoint()
                    raise Interrupted
                if time.perf_counter() - self.last_checkpoint >= config.runtime.checkpoint_seconds:
                    self.checkpoint()
        except DivergedError as error:
            self.diverged = Divergence(
                epoch=error.epoch, step=error.step, last_loss=error.last_loss
            )
            self._record(error.step_losses, error.probes)
            log.info(str(error))
        finally:
            display.close()

    def _take(self, result: EpochResult) -> None:
        """Note an epoch's numbers and keep its weights if they are the best so far."""
        progress = self.progress
        progress.rows.append({name: getattr(result, name) for name in METRICS})
        self._record(result.step_losses, result.probes)
        accuracy = result.val_accuracy
        # Without a validation split the last epoch is taken: its weights are simply those at the
        # end.
        if accuracy is None or accuracy > progress.best_accuracy:
            progress.best_epoch, progress.best_accuracy = (
                result.epoch,
                -1.0 if accuracy is None else accuracy,
            )
        if accuracy is not None and progress.best_epoch == result.epoch:
            progress.best_weights = {
                name: value.clone() for name, value in self.network.state_dict().items()
            }
        write_metrics(self.path, progress.rows)
        self.loggers.log(progress.rows[-1])
        log.info(" ".join(f"{name}={getattr(result, name)}" for name in METRICS))

    def _record(self, step_losses: list[float], probes: list[dict[str, float]]) -> None:
        if self.config.record.step_loss:
            self.progress.step_losses.extend(step_losses)
        self.progress.probes.extend(probes)

    def _test(self) -> Score | None:
        """Read the test set, once, with the selected weights, and write what belongs to them.

        Returns None, for a diverged run, when the loss is NaN or infinite, which the last step of a
        run without validation split may cause.
        """
        if self.progress.best_weights:
            self.network.load_state_dict(self.progress.best_weights)
        score = evaluate(self.network, self.data.test, self.config)
        if not math.isfinite(score.loss):
            last = self.progress.rows[-1]
            self.diverged = Divergence(epoch=last["epoch"], last_loss=last["train_loss"])
            return None
        weights = {
            name: value.cpu().contiguous() for name, value in self.network.state_dict().items()
        }
        buffer = io.BytesIO()
        torch.save(weights, buffer)
        write_atomic(self.path / "best.pt", buffer.getvalue())
        counts = zip(self.data.classes, score.confusion.tolist(), strict=True)
        write_csv(
            self.path / "confusion.csv",
            [["true", *self.data.classes], *([name, *row] for name, row in counts)],
        )
        return score

    def finish(self, num_parameters: int) -> RunSummary:
        """Test, write everything that a finished or diverged run has, the summary last, and drop
        the checkpoints.
        """
        config, data, progress = self.config, self.data, self.progress
        score = None if self.diverged else self._test()
        write_metrics(self.path, progress.rows)
        if config.record.step_loss:
            buffer = io.BytesIO()
            numpy.save(buffer, numpy.asarray(progress.step_losses, dtype=numpy.float32))
            write_atomic(self.path / "steps.npy", buffer.getvalue())
        if progress.probes:
            rows: list[list[Any]] = [
                list(progress.probes[0]),
                *(list(row.values()) for row in progress.probes),
            ]
            write_csv(self.path / "probe.csv", rows)
        selected = progress.rows[progress.best_epoch - 1] if progress.best_epoch else {}
        if score is not None:
            self.loggers.log(
                {
                    "epoch": len(progress.rows),
                    "test_accuracy": score.accuracy,
                    "test_loss": score.loss,
                }
            )
        cuda = self.device.type == "cuda"
        rates = [row["images_per_second"] for row in progress.rows]
        summary = RunSummary(
            schema=SCHEMA,
            core=CORE,
            id=self.identity,
            status=RunState.DIVERGED if self.diverged else RunState.FINISHED,
            diverged=self.diverged,
            config=flatten_config(config),
            dataset_title=config.runtime.dataset_title or config.dataset.name,
            num_train=len(data.train),
            num_val=len(data.val) if data.val else 0,
            num_test=len(data.test),
            epochs=len(progress.rows),
            selected_epoch=progress.best_epoch,
            val_accuracy=selected.get("val_accuracy"),
            val_loss=selected.get("val_loss"),
            train_accuracy=selected.get("train_accuracy"),
            test_accuracy=score.accuracy if score else None,
            test_loss=score.loss if score else None,
            seconds=self._seconds(),
            train_seconds=sum(row["seconds"] for row in progress.rows),
            images_per_second=statistics.median(rates or [0.0]),
            peak_memory_mb=torch.cuda.max_memory_allocated(self.device) / 2**20 if cuda else None,
            parameters=num_parameters,
            device=device_title(self.device),
            precision=config.trainer.precision,
            threads=self.threads,
            versions={
                "augean": version(),
                "python": platform.python_version(),
                "torch": str(torch.__version__),
                "torchvision": importlib.metadata.version("torchvision"),
            },
            git_commit=git_commit(),
            host=socket.gethostname(),
            started=progress.started,
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            num_resumes=progress.num_resumes,
            note=progress.note,
        )
        summary = write_summary(self.path, summary)
        remove_checkpoints(self.path)
        return summary
