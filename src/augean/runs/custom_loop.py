"""Any training loop as a run of Augean: its address, the skip, the resume, the account of failures
and the report.

    with augean.run({"name": "logistic", "lr": 0.1, "seed": 0}, table="Learning rates", row="0.1")
        as run: for epoch in run.epochs(20):                         # those that are still to do
            run.log(train_loss=..., val_accuracy=...)        # a line of metrics.csv
            run.save(state)                                  # what run.load() gives after an
            interruption
        run.finish(test_accuracy=...)                        # a line of the table

The run's address holds the config and the code of the calling file with all that it imports from
beside it: results of another loop, or of the same loop before an edit, are never taken for this
one's.
"""

import io
import math
import platform
import re
import shlex
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from augean.config.code_digest import file_digest
from augean.config.run_id import SCHEMA, plain_value, short_hash
from augean.config.schema import Config, RuntimeConfig
from augean.config.validation import flatten_config
from augean.errors import AugeanError, ConfigError
from augean.runs.address import RunAddress, find_address, find_outcome
from augean.runs.execute import note_failure
from augean.store.checkpoints import (
    foreign_checkpoint_error,
    load_checkpoint,
    remove_checkpoints,
    save_checkpoint,
)
from augean.store.files import write_atomic
from augean.store.locks import hold_lock, is_locked
from augean.store.run_directory import METRICS, clear_leftovers, runs_dir, write_metrics
from augean.store.summary import Divergence, RunState, RunSummary, parse_entries, write_summary
from augean.store.sweep_record import SweepJob, SweepRecord, read_record
from augean.version import version

if TYPE_CHECKING:
    from torch import Tensor

    from augean.signals import StopSignals
    from augean.training.loggers import Loggers


class Diverged(Exception):
    """The loss is NaN or infinite, which is a result; ends the `with` block."""


class CustomRun:
    """One run while its loop is at work, as `run` makes it.

    A run that is over has its `summary`, no epochs left, and ignores what is still given to it: so
    a script may be started again as it is.
    """

    def __init__(
        self,
        address: RunAddress,
        config: Mapping[str, Any],
        loop: Mapping[str, str],
        runtime: RuntimeConfig,
    ) -> None:
        """Args: the config flat, as the report shows it; the name of the file whose code trains,
        and its digest.
        """
        self.address, self.config, self.loop, self.runtime = address, config, loop, runtime
        self.summary: RunSummary | None = None
        self.rows: list[dict[str, Any]] = []
        self.stop: StopSignals | None = None
        self.loggers: Loggers | None = None
        self._state: Any = None
        self._past: dict[str, Any] = {"seconds": 0.0, "num_resumes": 0, "started": _now()}
        self._start = self._epoch_start = self._last_saved = time.perf_counter()

    @property
    def finished(self) -> bool:
        """Whether the run is over, diverged ones included: there is nothing left to train."""
        return self.summary is not None

    @property
    def best_epoch(self) -> int:
        """The epoch of highest validation accuracy, the earliest on ties; 0 before the first."""
        scores = {row["epoch"]: row["val_accuracy"] or 0.0 for row in self.rows}
        return max(scores, key=lambda epoch: scores[epoch], default=0)

    def epochs(self, count: int) -> Iterator[int]:
        """The epochs from 1 to `count` that are still to do; each must be logged before the next.

        After a stop signal there is no next one: the process ends with status 128 + signal number.
        """
        while not self.finished and len(self.rows) < count:
            self._leave_if_stopped()
            epoch, self._epoch_start = len(self.rows) + 1, time.perf_counter()
            yield epoch
            if len(self.rows) < epoch and not self.finished:
                raise AugeanError(f"epoch {epoch} ended without run.log(...)")

    def log(self, **values: Any) -> None:
        """Note the numbers of an epoch: losses, accuracies as fractions, `lr`, `seconds`,
        `images_per_second`.

        Args:
            values: by column of metrics.csv; None or absent is an empty cell. `epoch` and `seconds`
                are known.

        Raises:
            AugeanError: for another column, another epoch than the next, or an accuracy that is no
                fraction.
        """
        if self.finished:
            return
        epoch, seconds = len(self.rows) + 1, time.perf_counter() - self._epoch_start
        if unknown := values.keys() - {*METRICS}:
            raise AugeanError(
                f"run.log: {', '.join(unknown)}: no such column; there are {', '.join(METRICS)}"
            )
        if values.pop("epoch", epoch) != epoch:
            raise AugeanError(f"run.log: another epoch than the next, which is {epoch}")
        row = dict.fromkeys(METRICS) | {"epoch": epoch, "seconds": seconds}
        row |= {name: None if value is None else float(value) for name, value in values.items()}
        if not all(math.isfinite(row[name] or 0.0) for name in ("train_loss", "val_loss")):
            last = self.rows[-1]["train_loss"] if self.rows else None
            divergence = Divergence(epoch=epoch, last_loss=last)
            self._end(RunState.DIVERGED, {"diverged": asdict(divergence)})
            raise Diverged
        _check_fractions(row)
        self.rows.append(row)
        write_metrics(self.address.path, self.rows)
        self._epoch_start = time.perf_counter()
        if self.loggers is not None:
            self.loggers.log(row)

    def save(self, state: Any) -> None:
        """Keep what is needed to go on after the epochs logged so far, at most every
        `checkpoint_seconds`.

        After a stop signal it is kept at once, and the process ends with status 128 + signal
        number.

        Args:
            state: tensors, numbers, text, bytes, and lists and dictionaries of them, which is what
                `torch.load(weights_only=True)` reads: a checkpoint can run no code.

        Raises:
            AugeanError: when the state holds anything else.
        """
        stopped = self.stop is not None and self.stop.signal is not None
        due = time.perf_counter() - self._last_saved >= self.runtime.checkpoint_seconds
        if self.finished or not (due or stopped):
            return
        import torch

        buffer = io.BytesIO()
        past = self._past | {"seconds": self._seconds()}
        torch.save(
            {"run": self.address.id, "rows": self.rows, "state": state, "past": past}, buffer
        )
        if self._state is None:  # once, and not on the day when it is needed
            try:
                self._state = _load(buffer.getvalue())["state"]
            except Exception as error:
                what = (
                    "only tensors, numbers, text, bytes, and lists and dictionaries of them can be"
                    " kept"
                )
                raise AugeanError(f"run.save: {what} ({str(error).splitlines()[0]})") from error
        save_checkpoint(self.address.path, buffer.getvalue())
        self._last_saved = time.perf_counter()
        self._leave_if_stopped()

    def load(self) -> Any:
        """What an interrupted run kept last, with tensors on the CPU; None where there is nothing
        to go on from.
        """
        return self._state

    def finish(
        self,
        *,
        test_accuracy: float,
        selected_epoch: int | None = None,
        weights: "Mapping[str, Tensor] | None" = None,
        **facts: Any,
    ) -> None:
        """End the run with its test score, a fraction.

        Args:
            selected_epoch: the epoch whose weights were tested, whose validation scores the report
                shows; None: the last. Choose it by validation scores alone, such as `best_epoch`.
            weights: a state dict to be kept as best.pt.
            facts: further plain entries of the summary. The report shows `device`, `precision`,
                `parameters`, `dataset_title`, and `num_train`, `num_val`, `num_test` images.

        Raises:
            AugeanError: when the accuracy is no fraction, or the epoch was not logged.
        """
        if self.finished:
            return
        selected = selected_epoch or len(self.rows)
        if selected > len(self.rows):
            raise AugeanError(
                f"run.finish: selected_epoch={selected}, but only {len(self.rows)} were logged"
            )
        _check_fractions({"test_accuracy": test_accuracy})
        if weights is not None:
            import torch

            buffer = io.BytesIO()
            torch.save(
                {name: value.detach().cpu().contiguous() for name, value in weights.items()}, buffer
            )
            write_atomic(self.address.path / "best.pt", buffer.getvalue())
        scores = {
            name: self.rows[selected - 1][name] if selected else None for name in METRICS[3:6]
        }
        scores |= {"test_accuracy": float(test_accuracy), "selected_epoch": selected}
        if self.loggers is not None:
            self.loggers.log({"epoch": len(self.rows), "test_accuracy": scores["test_accuracy"]})
        self._end(RunState.FINISHED, facts | scores)

    def _end(self, status: RunState, content: Mapping[str, Any]) -> None:
        write_metrics(self.address.path, self.rows)
        summary = {"dataset_title": self.runtime.dataset_title, **content, **self._past}
        summary |= {
            "schema": SCHEMA,
            "id": self.address.id,
            "status": status,
            "config": dict(self.config),
        }
        summary |= {
            **self.loop,
            "epochs": len(self.rows),
            "seconds": self._seconds(),
            "finished": _now(),
        }
        versions = {"augean": version(), "python": platform.python_version()}
        summary |= {"host": socket.gethostname(), "versions": versions}
        self.summary = write_summary(self.address.path, parse_entries(summary, "run.finish"))
        remove_checkpoints(self.address.path)

    def _seconds(self) -> float:
        return float(self._past["seconds"] + time.perf_counter() - self._start)

    def _leave_if_stopped(self) -> None:
        if self.stop is not None and self.stop.signal is not None:
            raise SystemExit(128 + self.stop.signal)

    def resume(self) -> None:
        """Go on from the newest good checkpoint, if there is one."""
        self._start = self._epoch_start = self._last_saved = time.perf_counter()
        content, remark = load_checkpoint(self.address.path)
        if content is not None:
            try:
                kept = _load(content)
                if (run := kept.get("run", self.address.id)) != self.address.id:
                    raise ValueError(f"it is of run {run}")
                self.rows, self._state, self._past = kept["rows"], kept["state"], kept["past"]
                self._past["num_resumes"] += 1
            except Exception as error:  # rubbish fails in every way that torch knows
                raise foreign_checkpoint_error(self.address.path, error) from error
            remark = "; ".join(filter(None, [remark, f"goes on after epoch {len(self.rows)}"]))
        if remark:
            print(f"Run {self.address.id}: {remark}", flush=True)


def run(
    config: Config | Mapping[str, Any] | Any,
    *,
    name: str | None = None,
    table: str | None = None,
    row: str | None = None,
    baseline: str | None = None,
    wait: bool = True,
    **runtime: Any,
) -> AbstractContextManager[CustomRun]:
    """A run whose training is the body of a `with` statement.

    Args:
        config: what the address is made of: a composed config (`augean.config.compose.compose`), or
            a mapping or dataclass of plain values, in which `seed` is the seed. Of data it knows
            what it says: name the version there.
        name: first part of the directory's name where the config is a mapping; None: its `name`, or
            that of the file.
        table: title of the table in the report that the run belongs to.
        row: its row there; None: the name.
        baseline: the row that the others are compared with.
        wait: for another process that trains the same run; otherwise that is an error.
        runtime: keys of `augean.config.schema.RuntimeConfig`, such as `outputs`,
            `checkpoint_seconds` or `loggers`.

    Raises:
        ConfigError: when the config or a keyword cannot be used, or the calling code has no file.
        RunLocked: on entering the block, without `wait`.
        AugeanError: on leaving the block without `finish`.
        SystemExit: 128 + signal number, on leaving the block after a stop signal.
    """
    frame = sys._getframe(1)
    loop, package = Path(frame.f_code.co_filename), str(frame.f_globals.get("__package__") or "")
    if not loop.is_file():
        raise ConfigError(
            "augean.run: a prompt or notebook has no file whose code could be part of the run's"
            " address"
        )
    digest = file_digest(loop, loop.parents[len(package.split(".")) if package else 0])
    try:
        node = replace(config.runtime if isinstance(config, Config) else RuntimeConfig(), **runtime)
        if isinstance(config, Config):
            config = replace(config, runtime=node)
            values = {key: value for key, value in asdict(config).items() if key != "runtime"}
            address, flat, seed, name = (
                find_address(config, digest),
                flatten_config(config),
                config.seed,
                config.model.name,
            )
        else:
            given: dict[str, Any] = dict(config) if isinstance(config, Mapping) else asdict(config)
            values, seed = plain_value(given, floats=False), int(given.get("seed", 0))
            flat = dict(_flat(values))
            name = re.sub(r"[^A-Za-z0-9_.-]", "_", str(name or values.get("name") or loop.stem))[
                :64
            ]
            facts = {
                "schema": SCHEMA,
                "loop": digest,
                "name": name,
                "config": plain_value(given, floats=True),
            }
            id_, outputs = short_hash(facts), Path(node.outputs)
            address = RunAddress(outputs, id_, runs_dir(outputs) / f"{name}-s{seed}-{id_}")
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"augean.run: plain finite values and keys of `runtime` only: {error}"
        ) from error
    if table is not None:
        _note_in_record(address, table, baseline, row or name, seed)
    text = f"# Trained by {loop.name}\n{OmegaConf.to_yaml(OmegaConf.create(values))}"
    return _running(
        CustomRun(address, flat, {"loop": loop.name, "loop_digest": digest}, node), text, wait
    )


@contextmanager
def _running(run: CustomRun, config: str, wait: bool) -> Iterator[CustomRun]:
    address = run.address
    with ExitStack() as stack:
        if not (over := find_outcome(address)):
            if wait and is_locked(address.outputs, address.id):
                print(
                    f"Run {address.id} is being trained by another process; waiting for it.",
                    flush=True,
                )
            stack.enter_context(hold_lock(address.outputs, address.id, wait=wait))
            over = find_outcome(address, say=True)
        if over:
            print(f"Run {address.id} is over, not trained again: {address.path}")
            run.summary = over.summary
            yield run
            return
        from augean.signals import Interrupted, StopSignals
        from augean.training.loggers import Loggers

        run.loggers = Loggers(run.runtime, address.path, run.config)
        address.path.mkdir(parents=True, exist_ok=True)
        clear_leftovers(address.path)
        write_atomic(address.path / "config.yaml", config)
        run.stop = stop = stack.enter_context(StopSignals(run.runtime.grace_seconds))
        try:
            run.resume()
            yield run
            if not run.finished:
                raise AugeanError(f"run {address.id} ended without run.finish(test_accuracy=...)")
            print(f"Run {address.id} finished: {address.path}")
        except Diverged:
            print(f"Run {address.id} diverged in epoch {len(run.rows) + 1}: {address.path}")
        except Interrupted:
            raise SystemExit(128 + (stop.signal or 0)) from None
        except Exception as error:
            note_failure(address.path, error)
            raise
        finally:
            run.loggers.close()
        run._leave_if_stopped()


def _note_in_record(
    address: RunAddress, table: str, baseline: str | None, row: str, seed: int
) -> None:
    """Add a run to the record of its table, in place of an older one of the same row and seed."""
    name = re.sub(r"[^A-Za-z0-9.+-]+", "_", table)
    path = address.outputs / "sweeps" / f"{name}.json"
    with hold_lock(address.outputs, f"sweep-{name}", wait=True):
        command = shlex.join(["python", *sys.argv])
        new = SweepRecord(
            name=name, title=table, command=command, created=_now(), jobs=[], baseline=baseline
        )
        before = read_record(path) if path.exists() else new
        jobs = {(job.row, job.seed): job for job in before.jobs}
        jobs[row, seed] = SweepJob(address.id, address.path.name, row, seed)
        record = replace(before, jobs=[*jobs.values()], baseline=baseline or before.baseline)
        if record != before:
            record.write(address.outputs)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        yield from (
            _flat(value, f"{prefix}{key}.")
            if isinstance(value, dict)
            else [(f"{prefix}{key}", value)]
        )


def _check_fractions(values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if name.endswith("accuracy") and value is not None and not 0 <= value <= 1:
            raise AugeanError(f"{name}={value}: must be a fraction from 0 to 1")


def _load(content: bytes) -> Any:
    import torch

    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
