"""The sweeper: writes a sweep's record, skips what is finished, runs the rest, and accounts for every job.

Everything that touches Hydra's internals is in this file.
"""

import hashlib
import os
import re
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import product
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from augean import rundir
from augean.config import Config, flatten, parse, row_label
from augean.errors import AugeanError, ConfigError, RunLocked
from augean.records import Job, Record
from augean.run import Address, find_address, finished, note_failure
from augean.workers import WORKER, supervise


@dataclass
class AugeanSweeperConfig:
    _target_: str = "hydra_plugins.augean_sweeper.augean_sweeper.AugeanSweeper"
    params: dict[str, Any] = field(default_factory=dict)
    """Overrides, some with several values: the grid is their product."""


ConfigStore.instance().store(group="hydra/sweeper", name="augean", node=AugeanSweeperConfig, provider="augean")

POLL_SECONDS = 0.5
"""Wait before asking again for runs that other workers are training."""


@dataclass(frozen=True)
class Planned:
    """One job of the grid, composed and addressed."""

    overrides: tuple[str, ...]
    row: str
    config: Config
    address: Address


def swept_keys(overrides: Sequence[Override]) -> list[str]:
    return [override.get_key_element() for override in overrides if override.is_sweep_override()]


def expand(overrides: Sequence[Override]) -> list[tuple[str, ...]]:
    """The product of all overrides, in the order written; the last override of a key counts, at the place of the first.

    Raises:
        AugeanError: for a sweep without a finite list of values.
    """
    axes: dict[str, list[str]] = {}
    for override in overrides:
        key = override.get_key_element()
        if not override.is_sweep_override():
            axes[key] = [str(override.input_line)]
        elif override.is_discrete_sweep():
            axes[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
        else:
            raise AugeanError(f"{override.input_line}: a grid needs a list of values such as {key}=a,b,c")
    return list(product(*axes.values()))


class AugeanSweeper(Sweeper):
    def __init__(self, params: DictConfig | None = None) -> None:
        self.params = {str(key): value for key, value in (params or {}).items()}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.master = hydra_context, config
        self.jobs_launcher = Plugins.instance().instantiate_launcher(
            config=config, hydra_context=hydra_context, task_function=task_function
        )

    def sweep(self, arguments: list[str]) -> list[float]:
        """Run the grid of `params` and `arguments`; returns the objectives of its jobs, in order.

        Raises:
            SystemExit: with status 1 when a job failed, after all others have run.
        """
        try:
            return self._sweep(arguments)
        except AugeanError as error:
            raise SystemExit(str(error)) from error

    def _sweep(self, arguments: list[str]) -> list[float]:
        parser = OverridesParser.create(config_loader=self.context.config_loader)
        overrides = parser.parse_overrides([f"{key}={value}" for key, value in self.params.items()] + arguments)
        jobs = self._plan(overrides)
        runtime, runs = jobs[0].config.runtime, {job.address.id: job for job in jobs}
        if WORKER in os.environ:
            self._work(runs, since=float(os.environ[WORKER]))
            raise SystemExit(0)
        record = self._write_record(jobs, overrides, arguments)
        before = {identity for identity, job in runs.items() if finished(job.address)}
        print(f"Sweep {record}: {len(runs)} runs, {len(before)} of them there already.", flush=True)
        start = time.time()
        if len(before) < len(runs):
            if runtime.workers > 1:
                supervise(min(runtime.workers, len(runs) - len(before)), runtime, since=start)
            else:
                self._work(runs, since=start)
        return self._account(record, jobs, num_before=len(before))

    def _work(self, runs: dict[str, Planned], *, since: float) -> None:
        """Run what is not over yet; runs that another worker holds are asked for again until they are over."""
        pending = dict(runs)
        while pending:
            held_elsewhere = 0
            for identity, job in list(pending.items()):
                if finished(job.address) or failure(job.address, since) is not None:
                    del pending[identity]
                    continue
                if rundir.is_locked(job.address.outputs, identity):
                    held_elsewhere += 1
                    continue
                print(f"[{len(pending)} left] {job.row}, seed {job.config.seed}", flush=True)
                error = self._launch(job)
                if isinstance(error, RunLocked):
                    held_elsewhere += 1
                    continue
                if error is not None and failure(job.address, since) is None:
                    # It failed before it had a directory; other workers would try it again in vain.
                    job.address.path.mkdir(parents=True, exist_ok=True)
                    note_failure(job.address.path, error)
                del pending[identity]
            if held_elsewhere == len(pending):
                time.sleep(POLL_SECONDS)

    def _launch(self, job: Planned) -> Exception | None:
        """Run one job through Hydra's launcher; returns the exception that ended it."""
        result: JobReturn = self.jobs_launcher.launch([list(job.overrides)], initial_job_idx=0)[0]
        return result._return_value if result.status == JobStatus.FAILED else None

    def _account(self, record: str, jobs: list[Planned], *, num_before: int) -> list[float]:
        """Print how the sweep ended; returns the objectives of its jobs.

        Raises:
            SystemExit: with status 1 when a run is not over.
        """
        outcomes = {job.address.id: finished(job.address) for job in jobs}
        diverged = [o for o in outcomes.values() if o is not None and o.summary["status"] == "diverged"]
        failed = {job.address.id: job for job in jobs if outcomes[job.address.id] is None}
        num_finished = len(outcomes) - len(diverged) - len(failed)
        print(
            f"Sweep {record}: {num_finished} finished, {len(diverged)} diverged, {len(failed)} failed"
            f" ({num_before} were there before)."
        )
        for over in diverged:
            print(f"  diverged: {over.address.path}")
        for job in failed.values():
            reason = (failure(job.address, since=0) or "ended without a word").splitlines()[-1]
            print(f"  failed: {' '.join(job.overrides)}: {reason}", file=sys.stderr)
            print(f"    see {job.address.path}", file=sys.stderr)
        if failed:
            raise SystemExit(1)
        return [outcome.objective for job in jobs if (outcome := outcomes[job.address.id]) is not None]

    def _plan(self, overrides: Sequence[Override]) -> list[Planned]:
        """Compose, check and address every job before any work.

        Raises:
            AugeanError: for the first config that is wrong, or a baseline that is not among the rows.
        """
        loader = self.context.config_loader
        axes = [key for key in swept_keys(overrides) if key != "seed"]
        jobs = []
        for point in expand(overrides):
            composed = loader.load_sweep_config(self.master, list(point))
            config = parse(OmegaConf.masked_copy(composed, [str(name) for name in composed if name != "hydra"]))
            table, flat = config.runtime.table, flatten(config)
            keys = [key.strip() for key in table.row.split(",")] if table.row is not None else []
            for key in filter(None, [*keys, table.band]):
                if key not in flat:
                    raise ConfigError(f"runtime.table: {key} is no key of the config; for example activation.name")
            values = dict(item.split("=", 1) for item in point if "=" in item)
            row = ", ".join([row_label(flat[key]) for key in keys] or [values[axis] for axis in axes]) or "all"
            jobs.append(Planned(point, row, config, find_address(config)))
        table = jobs[0].config.runtime.table
        rows = list(dict.fromkeys(job.row for job in jobs))
        if table.baseline is not None and row_label(table.baseline) not in rows:
            raise ConfigError(
                f"runtime.table.baseline={table.baseline}: not among the rows {', '.join(rows)}; "
                f"choose one of them with runtime.table.baseline=..., or none with runtime.table.baseline=null"
            )
        return jobs

    def _write_record(self, jobs: list[Planned], overrides: Sequence[Override], arguments: list[str]) -> str:
        """Write the sweep's record and return its name."""
        table = jobs[0].config.runtime.table
        swept_by_hydra = [item for item in self.master.hydra.overrides.hydra if "sweeper.params" in item]
        extra = sorted(
            item for item in [*arguments, *swept_by_hydra] if not re.match(r"[+~]*(runtime\.|launcher=)", item)
        )
        file = str(self.master.hydra.job.config_name)
        axes = swept_keys(overrides)
        name = file if file != "config" else "+".join(key for key in axes if key != "seed") or "runs"
        title = table.title or ("Sweep of " + ", ".join(axes) if axes else "Runs")
        if extra:
            name += "--" + hashlib.sha256("\n".join(extra).encode()).hexdigest()[:8]
        record = Record(
            name=re.sub(r"[^A-Za-z0-9_.+-]", "_", name),
            title=title,
            figure=table.figure,
            note=table.note,
            command=command_line(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            overrides=extra,
            row_key=table.row,
            band=table.band,
            baseline=row_label(table.baseline) if table.baseline is not None else None,
            reference={row_label(row): dict(numbers) for row, numbers in table.reference.items()},
            jobs=[Job(job.address.id, job.address.path.name, job.row, job.config.seed) for job in jobs],
        )
        record.write(jobs[0].address.outputs)
        return record.name


def failure(address: Address, since: float) -> str | None:
    """What failure.txt says, if it was written at or after `since` (seconds of the epoch)."""
    path = address.path / "failure.txt"
    try:
        return path.read_text() if path.stat().st_mtime >= since else None
    except OSError:
        return None


def command_line() -> str:
    """The command that launched this sweep, as a person would type it again."""
    program = "python train.py" if sys.argv[0].endswith("train.py") else "augean train"
    return f"{program} {shlex.join(sys.argv[1:])}"
