"""The sweeper: writes a sweep's record, skips what is finished, runs the rest, and accounts for
every job.

Everything that touches Hydra's internals is in this file.
"""

import copy
import hashlib
import os
import re
import shlex
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, cast

import yaml
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus, env_override
from hydra.errors import HydraException
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, RunMode, TaskFunction
from hydra.utils import instantiate
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from augean.config.labels import row_label
from augean.config.override_errors import explain_error
from augean.config.paths import config_dir
from augean.config.run_id import CORE, SCHEMA
from augean.config.schema import Config
from augean.config.validation import (
    check_config,
    fill_schema,
    flatten_config,
    parse_config,
    walk_fields,
)
from augean.errors import AugeanError, ConfigError, RunLocked, SetupError
from augean.runs.address import RunAddress, build_source, find_address, find_outcome
from augean.runs.execute import note_failure
from augean.store.locks import folder_id, is_locked
from augean.store.run_directory import run_state
from augean.store.summary import RunState
from augean.store.sweep_record import (
    NOT_PART,
    SweepJob,
    SweepRecord,
    identifying_overrides,
    read_record,
)
from augean.sweeps.job import TRIAL
from augean.sweeps.slurm import submit, train_run, work_on_study
from augean.sweeps.workers import WORKER, orphaned, supervise
from augean.terminal import readable_seconds


@dataclass
class AugeanSweeperConfig:
    """A grid; with `n_trials`, a study. Search spaces, samplers and their options are
    hydra-optuna-sweeper's.
    """

    defaults: list[Any] = field(
        default_factory=lambda: ["_self_", {"sampler": "tpe"}, {"pruner": "none"}]
    )
    _target_: str = "hydra_plugins.augean_sweeper.augean_sweeper.AugeanSweeper"
    params: dict[str, Any] = field(default_factory=dict)
    """Overrides, some with several values: the grid is their product; in a study, the search
    space."""
    rows: Any = None
    """Rows without a product: {label: [overrides]}; `study:<sweep>` stands for that study's
    winner."""
    ablate: Any = None
    """{key: [values]}: after the base run one row per value, which differs in that key alone."""
    n_trials: int | None = None
    """Trials of the whole study, whoever ran them; null: a grid."""
    final_seeds: int = 0
    """Seeds that a study's winner is trained with, as rows of its table."""
    max_failures: int = 10
    """Trials that may raise before a study stops."""
    sampler: Any = MISSING
    pruner: Any = MISSING
    direction: str = "maximize"
    storage: str | None = None
    """SQLAlchemy URL; null: a journal file in <outputs>/studies."""
    study_name: str | None = None
    """null: the name of the sweep's record."""


ConfigStore.instance().store(
    group="hydra/sweeper", name="augean", node=AugeanSweeperConfig, provider="augean"
)
# After one or two epochs the order of trials says little of their order at the end
# (benchmarks/README.md).
for pruner, options in {
    "none": {"_target_": "optuna.pruners.NopPruner"},
    "median": {
        "_target_": "optuna.pruners.MedianPruner",
        "n_startup_trials": 5,
        "n_warmup_steps": 3,
    },
    "percentile": {
        "_target_": "optuna.pruners.PercentilePruner",
        "percentile": 25.0,
        "n_startup_trials": 5,
        "n_warmup_steps": 3,
    },
    "halving": {
        "_target_": "optuna.pruners.SuccessiveHalvingPruner",
        "min_resource": 3,
        "reduction_factor": 3,
    },
    "hyperband": {
        "_target_": "optuna.pruners.HyperbandPruner",
        "min_resource": 3,
        "reduction_factor": 3,
    },
}.items():
    ConfigStore.instance().store(
        group="hydra/sweeper/pruner", name=pruner, node=options, provider="augean"
    )

NAME, NAME_RULE = (
    r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,149}",
    "letters, digits, '_', '-', '+' and '.' only, as it names a file",
)
POLL_SECONDS = 0.5
"""Wait before asking again for runs that other workers are training."""


@dataclass(frozen=True)
class Planned:
    """One job of the grid, composed and addressed."""

    overrides: tuple[str, ...]
    row: str
    config: Config
    address: RunAddress

    def as_cell(self) -> SweepJob:
        """The job as the sweep's record has it."""
        return SweepJob(self.address.id, self.address.path.name, self.row, self.config.seed)


@dataclass(frozen=True)
class Plan:
    """What a sweep asks for, known before anything runs."""

    record: SweepRecord
    """As the launch will write it; of a study still without trials."""
    jobs: list[Planned]
    """Of a study its base, with the overrides that all trials share, and points that show its whole
    space."""
    space: Mapping[str, Any] = field(default_factory=dict)
    """Of a study: key to Optuna's distribution."""


def plan_sweep(name: str, overrides: Sequence[str] = (), folder: Path | None = None) -> Plan:
    """Compose, check and plan a sweep file without running or writing anything.

    Args:
        folder: of the sweep file, if it is not one of Augean's own.

    Raises:
        AugeanError: for whatever is wrong with the file or the overrides.
    """
    from augean.config.compose import register
    from augean.hydra_main import task

    register(name)
    search_path = create_config_search_path(str(config_dir()))
    if folder is not None:
        search_path.append("command-line", f"file://{folder.absolute()}")
    try:
        loader = Hydra.create_main_hydra2("train", search_path).config_loader
        master = loader.load_configuration(name, list(overrides), run_mode=RunMode.MULTIRUN)
        sweeper = Plugins.instance().instantiate_sweeper(
            config=master, hydra_context=HydraContext(loader, Callbacks()), task_function=task
        )
        return cast(AugeanSweeper, sweeper).plan(list(master.hydra.overrides.task))
    except (HydraException, OmegaConfBaseException, ValueError, yaml.YAMLError) as error:
        raise ConfigError(explain_error(error, ["-cn", name, *overrides])) from error
    finally:
        GlobalHydra.instance().clear()


def check_jobs(jobs: Iterable[Planned], check: Callable[[Config], None]) -> int:
    """Apply a check to each network, with its optimizer, that the jobs have; returns how many
    differed.

    Raises:
        ConfigError: for all that the check refuses, each with its rows.
    """
    checked: dict[str, str | None] = {}
    rows: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for job in jobs:
        config = job.config
        key = repr(
            (config.model, config.activation, config.optimizer, config.regularization, config.width)
        )
        key += str(config.dataset.image_size)
        if key not in checked:
            try:
                check(config)
                checked[key] = None
            except AugeanError as error:
                checked[key] = str(error)
        if problem := checked[key]:
            rows[problem][job.row] = None
    if rows:
        raise ConfigError(
            "\n".join(f"{problem}\n  in {'; '.join(where)}" for problem, where in rows.items())
        )
    return len(checked)


def swept_keys(overrides: Sequence[Override]) -> list[str]:
    return [override.get_key_element() for override in overrides if override.is_sweep_override()]


def expand(overrides: Sequence[Override]) -> list[tuple[str, ...]]:
    """The product of all overrides, in the order written; the last override of a key counts, at the
    place of the first.

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
            raise AugeanError(
                f"{override.input_line}: a grid needs a list of values such as {key}=a,b,c"
            )
    return list(product(*axes.values()))


class AugeanSweeper(Sweeper):
    def __init__(self, params: DictConfig | None = None, **options: Any) -> None:
        self.params = {str(key): value for key, value in (params or {}).items()}
        self.options = AugeanSweeperConfig(**options)
        self.composed: dict[tuple[str, ...], DictConfig] = {}
        self.studies: list[str] = []
        self.budgets: list[str] = []
        """What the studies of the rows were given, for the table's caption."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.context, self.master = hydra_context, config
        self.jobs_launcher = Plugins.instance().instantiate_launcher(
            config=config, hydra_context=hydra_context, task_function=task_function
        )
        own = config.hydra
        # Hydra's own launcher composes each job anew, which costs more than a tiny run: only for
        # what it alone can do.
        self.direct = isinstance(self.jobs_launcher, BasicLauncher) and not (
            own.job.env_set or own.job.chdir or own.callbacks
        )

    def sweep(self, arguments: list[str]) -> list[float]:
        """Run the grid of `params` and `arguments`; returns the objectives of its jobs, in order.

        Raises:
            AugeanError: for a sweep that cannot be planned, and for what no run can do without.
            SystemExit: with status 1 when a job failed, after all others have run.
        """
        plan = self.plan(arguments)
        return self._sweep_study(plan) if plan.record.kind == "study" else self._sweep_grid(plan)

    def plan(self, arguments: list[str]) -> Plan:
        """Compose, check and address what `params` and `arguments` ask for; nothing is run or
        written.

        Raises:
            AugeanError: for whatever is wrong with it.
        """
        lists = {key for key, _, value in walk_fields(Config(), "") if isinstance(value, list)}
        for key, value in self.params.items():
            if OmegaConf.is_list(value) and key not in lists and ".arguments." not in key:
                values = ",".join(map(str, value))
                raise ConfigError(
                    f"hydra.sweeper.params.{key}={value}: is one list; several values are {key}:"
                    f" {values}"
                )
        own = [f"{key}={'null' if value is None else value}" for key, value in self.params.items()]
        lines = own + arguments
        overrides = OverridesParser.create(
            config_loader=self.context.config_loader
        ).parse_overrides(lines)
        if self.options.n_trials is not None:
            return self._plan_study(lines, overrides, arguments)
        jobs = self._plan(self._points(overrides, self._suffix(arguments)), swept_keys(overrides))
        if not jobs:
            raise ConfigError("the sweep is empty: one of its keys has no values")
        record = self._draft_record(jobs[0].config, overrides, arguments)
        record = replace(record, design=_design(jobs[0].address.outputs, record.name))
        jobs += self._further_seeds(jobs, record.design.get("seeds", {}))
        _check_baseline(record, [job.row for job in jobs])
        return Plan(replace(record, jobs=[job.as_cell() for job in jobs]), jobs)

    def _sweep_grid(self, plan: Plan) -> list[float]:
        record, jobs = plan.record, plan.jobs
        if WORKER in os.environ:
            self._work(jobs, since=float(os.environ[WORKER]))
            raise SystemExit(0)
        before = {job.address.id for job in jobs if find_outcome(job.address)}
        left = {
            job.address.id: partial(train_run, job.config, job.address.id)
            for job in jobs
            if job.address.id not in before
        }
        if left:
            from augean.training.build import (
                check_names,  # it brings torch, which a sweep with nothing to train does without
            )

            check_jobs([job for job in jobs if job.address.id in left], check_names)
        record.write(jobs[0].address.outputs)
        print(
            f"Sweep {record.name}: {len(left) + len(before)} runs, {len(before)} of them there"
            " already.",
            flush=True,
        )
        if left:
            self._share(
                record.name, jobs[0].config, left, lambda since: self._work(jobs, since=since)
            )
        return self._account(record.name, jobs, num_before=len(before))

    def _share(
        self,
        name: str,
        config: Config,
        left: Mapping[str, Callable[[], None]],
        work: Callable[[float], None],
    ) -> None:
        """Do the sweep's work, here or in `runtime.workers` processes of this command, at most one
        for each of `left`.

        Raises:
            SystemExit: when SLURM is to do it: `left` is what its jobs do, by key.
        """
        start = time.time()
        if config.runtime.launcher.name == "slurm":
            submit(name, config.runtime, left)
            raise SystemExit(0)
        if config.runtime.workers > 1 and len(left) > 1:
            supervise(min(config.runtime.workers, len(left)), config.runtime, since=start)
        else:
            work(start)

    def _plan_study(
        self, lines: list[str], overrides: Sequence[Override], arguments: list[str]
    ) -> Plan:
        from hydra_plugins.hydra_optuna_sweeper._impl import create_params_from_overrides

        options = self.options
        if options.rows or options.ablate:
            raise ConfigError(
                "hydra.sweeper.rows and ablate make a grid: leave hydra.sweeper.n_trials out"
            )
        if options.n_trials is not None and options.n_trials < 1:
            raise ConfigError(f"hydra.sweeper.n_trials={options.n_trials}: must be at least 1")
        if options.direction not in ("maximize", "minimize"):
            raise ConfigError(
                f"hydra.sweeper.direction={options.direction}: must be maximize or minimize"
            )
        try:
            space, fixed, deletions = create_params_from_overrides(lines)
        except (ValueError, TypeError, AssertionError) as error:
            spaces, reason = (
                " ".join(line for line in lines if "(" in line),
                str(error).splitlines()[0],
            )
            raise ConfigError(
                f"{spaces}: cannot be searched ({reason}); a space is key=a,b or"
                " key=interval(low,high) or, on a logarithmic scale,"
                " key=tag(log,interval(low,high))"
            ) from error
        if not space:
            raise ConfigError(
                "hydra.sweeper.n_trials makes a study, which needs something to search: "
                "for example optimizer.lr='tag(log,interval(1e-4,1))' or activation=relu,elu"
            )
        point = (*(f"{key}={value}" for key, value in fixed.items()), *deletions)
        span = (
            [] if WORKER in os.environ else [assignments(item) for item in spanning_points(space)]
        )
        base, *samples = self._plan(
            [(point, "base"), *(((*point, *item), " ".join(item)) for item in span)], []
        )
        if base.config.dataset.num_val == 0:
            raise ConfigError(
                "dataset.num_val=0: a study chooses by validation accuracy, hold out images for it"
            )
        self._make_sampler(space, 0)  # refuses what it cannot sample
        texts = dict(line.split("=", 1) for line in lines if "=" in line)
        record = replace(
            self._draft_record(base.config, overrides, arguments),
            kind="study",
            num_trials=options.n_trials,
            space={key: texts[key] for key in space},
        )
        return Plan(record, [base, *samples], space)

    def _sweep_study(self, plan: Plan) -> list[float]:
        """Run a study to its number of trials, then its winner on the final seeds."""
        from augean.sweeps.study import Study, StudySetup

        options, record, base, space = self.options, plan.record, plan.jobs[0], plan.space
        outputs, point = base.address.outputs, base.overrides
        name = options.study_name or record.name
        if not re.fullmatch(NAME, name):
            raise ConfigError(f"hydra.sweeper.study_name={name}: {NAME_RULE}")
        facts = {
            key: value for key, value in flatten_config(base.config).items() if key not in space
        }
        # A worker's sign of life lies in the output folder: without a shared one it would be taken
        # for dead.
        facts |= {
            "data": build_source(base.config).digest(),
            "runtime.outputs": f".id {folder_id(outputs)}",
        }
        setup = StudySetup(
            name=name,
            storage=options.storage or str((outputs / "studies" / f"{name}.journal").absolute()),
            space=space,
            direction="minimize" if options.direction == "minimize" else "maximize",
            base={**facts, "schema": SCHEMA, "core": CORE},
            num_trials=options.n_trials or 0,
            max_failures=options.max_failures,
            pruner=dict(options.pruner),
        )
        study = Study(setup, outputs, partial(self._make_sampler, space))

        def work(since: float) -> None:
            with study.working():
                self._work_on_study(study, point, record)
            self._work(self._winners(study, point, record), since=since)

        if WORKER in os.environ:
            work(float(os.environ[WORKER]))
            raise SystemExit(0)
        print(
            f"Study {name}: {setup.num_trials} trials, {study.num_over()} of them over already.",
            flush=True,
        )
        self._update_record(record, study, [])
        if study.num_over() < setup.num_trials or not all(
            find_outcome(job.address) for job in self._winners(study, point, record)
        ):
            most = min(base.config.runtime.workers, setup.num_trials + options.final_seeds)
            worker = partial(work_on_study, sys.argv, time.time())
            self._share(
                record.name,
                base.config,
                {f"{record.name} worker {i}": worker for i in range(most)},
                work,
            )
        winners, best = self._winners(study, point, record), study.best()
        print(f"Study {name}: {study.count()}; best {best.value:.2%} in trial {best.number}:")
        for key, value in best.params.items():
            print(f"  {key}={value}")
        return self._account(record.name, winners, num_before=0) if winners else [best.value or 0.0]

    def _make_sampler(self, space: Mapping[str, Any], num_trials: int) -> Any:
        """The configured sampler; a seed is shifted by the trials seen, so that none of their
        points comes again.

        Raises:
            ConfigError: for the sampler of a grid and a range without steps.
        """
        options = OmegaConf.create(self.options.sampler)
        is_grid = options.get(
            "_partial_", False
        )  # the only one that wants its points, and it counts the trials itself
        if options.get("seed") is not None and not is_grid:
            options.seed += num_trials
        made = instantiate(
            options,
            _execution_whitelist_=("hydra_plugins.hydra_optuna_sweeper.*", "optuna.samplers.*"),
        )
        return made(grid_values(space)) if is_grid else made

    def _work_on_study(self, study: Any, point: tuple[str, ...], record: SweepRecord) -> None:
        """Ask for trials and run them until the study has all of its own."""
        while not orphaned():
            try:
                trial = study.next()
            except RunLocked:
                time.sleep(POLL_SECONDS)
                continue
            if trial is None:
                return
            try:
                job = self._plan(
                    [((*point, *assignments(trial.params)), f"trial {trial.number}")], []
                )[0]
                study.note_run(trial, job.address.id, job.address.path.name, job.config.seed)
                self._update_record(record, study, [])
                print(f"[trial {trial.number}] {' '.join(assignments(trial.params))}", flush=True)
                (error,) = self._launch([job], study.environment(trial))
            except SetupError:
                raise
            except (AugeanError, HydraException) as refused:
                error = refused
            if error is not None:
                print(f"[trial {trial.number}] failed: {error}", file=sys.stderr)
                study.give_up(trial, error)
            self._update_record(record, study, [])

    def _winners(self, study: Any, point: tuple[str, ...], record: SweepRecord) -> list[Planned]:
        """The winner's runs on the final seeds; the record tells of them from here on."""
        best = (*point, *assignments(study.best().params))
        without_seed = tuple(item for item in best if not item.startswith("seed="))
        seeds = range(self.options.final_seeds)
        jobs = self._plan([((*without_seed, f"seed={seed}"), "winner") for seed in seeds], [])
        self._update_record(replace(record, winner=list(best)), study, jobs)
        return jobs

    def _update_record(self, record: SweepRecord, study: Any, winners: list[Planned]) -> None:
        with study.locked():
            jobs = [*study.jobs(), *(job.as_cell() for job in winners)]
            replace(record, jobs=jobs).write(study.outputs)

    def _work(self, jobs: list[Planned], *, since: float) -> None:
        """Run what is not over yet; runs that another worker holds are asked for again until they
        are over.
        """
        pending = {job.address.id: job for job in jobs if not find_outcome(job.address)}
        num_jobs, start = len(pending), time.monotonic()
        size = num_jobs if self.master.runtime.launcher.name == "ray" else 1  # Ray gets all at once

        def announce(job: Planned) -> None:
            seconds = (time.monotonic() - start) / max(num_jobs - len(pending), 1) * len(pending)
            left = f", about {readable_seconds(seconds)}" if len(pending) < num_jobs else ""
            print(f"[{len(pending)} left{left}] {job.row}, seed {job.config.seed}", flush=True)

        while pending:
            held_elsewhere, asked = 0, list(pending.values())
            for first in range(0, len(asked), size):
                free = []
                for job in asked[first : first + size]:
                    if find_outcome(job.address) or failure(job.address, since) is not None:
                        del pending[job.address.id]
                    elif is_locked(job.address.outputs, job.address.id):
                        held_elsewhere += 1
                    else:
                        free.append(job)
                if orphaned():
                    return
                for job, error in zip(
                    free, self._launch(free, begin=announce) if free else [], strict=True
                ):
                    if isinstance(error, RunLocked):
                        held_elsewhere += 1
                        continue
                    if error is not None and failure(job.address, since) is None:
                        # It failed before it had a directory; other workers would try it again in
                        # vain.
                        job.address.path.mkdir(parents=True, exist_ok=True)
                        note_failure(job.address.path, error)
                    del pending[job.address.id]
            if held_elsewhere == len(pending):
                time.sleep(POLL_SECONDS)

    def _launch(
        self,
        jobs: Sequence[Planned],
        trial: str | None = None,
        begin: Callable[[Planned], None] = lambda job: None,
    ) -> list[Exception | None]:
        """Run jobs, here or through Hydra's launcher; returns the exceptions that ended them.

        Args:
            trial: of a study, the value of the environment variable `TRIAL` in the job.
            begin: called with a job that is really trained, where that can be known.

        Raises:
            SetupError: when one is that, which ends the sweep: no other job can do better.
        """
        if self.direct:
            errors = [_run_here(job, trial, partial(begin, job)) for job in jobs]
        else:
            for job in jobs:
                begin(job)
            quoted = (trial or "").replace("\\", "\\\\").replace("'", "\\'")
            environment = [f"+hydra.job.env_set.{TRIAL}='{quoted}'"] if trial else []
            results: Sequence[JobReturn] = self.jobs_launcher.launch(
                [[*job.overrides, *environment] for job in jobs], initial_job_idx=0
            )
            errors = [
                result._return_value if result.status == JobStatus.FAILED else None
                for result in results
            ]
        for error in errors:
            if isinstance(error, SetupError):
                raise error
        return errors

    def _account(self, record: str, jobs: list[Planned], *, num_before: int) -> list[float]:
        """Print how the sweep ended; returns the objectives of its jobs.

        Raises:
            SystemExit: with status 1 when a run is not over.
        """
        outcomes = {job.address.id: find_outcome(job.address) for job in jobs}
        diverged = [
            o for o in outcomes.values() if o is not None and o.summary.status == RunState.DIVERGED
        ]
        failed = {job.address.id: job for job in jobs if outcomes[job.address.id] is None}
        states: Counter[str] = Counter(
            run_state(job.address.outputs, job.address.path, id_) for id_, job in failed.items()
        )
        num_finished = len(outcomes) - len(diverged) - len(failed)
        others = "".join(
            f", {states[state]} {state}"
            for state in ("running", "interrupted", "missing")
            if states[state]
        )
        print(
            f"Sweep {record}: {num_finished} finished, {len(diverged)} diverged, {states['failed']}"
            f" failed{others} ({num_before} were there before)."
        )
        for over in diverged:
            print(f"  diverged: {over.address.path}")
        for job in failed.values():
            if reason := failure(job.address, since=0):
                print(
                    f"  failed: {' '.join(job.overrides)}: {reason.splitlines()[-1]}",
                    file=sys.stderr,
                )
                print(f"    see {job.address.path}", file=sys.stderr)
        if failed:
            raise SystemExit(1)
        return [
            outcome.objective for job in jobs if (outcome := outcomes[job.address.id]) is not None
        ]

    def _points(
        self, overrides: Sequence[Override], suffix: str
    ) -> list[tuple[tuple[str, ...], str | None]]:
        """Overrides of every job of a grid, and its row's label where that is given."""
        for name, key, items in (
            *(("rows", *item) for item in (self.options.rows or {}).items()),
            *(("ablate", *item) for item in (self.options.ablate or {}).items()),
        ):
            if not OmegaConf.is_list(items):
                raise ConfigError(
                    f"hydra.sweeper.{name}.{key}: must be a list,"
                    f" [{'' if items is None else items}]"
                )
        rows: dict[str | None, list[str]] = {}
        for label, items in (self.options.rows or {}).items():
            rows[label] = [part for item in items for part in self._winner_of(item, suffix)]
        if self.options.ablate:
            rows["base"] = []
            rows |= {
                f"{key}={value}": [f"{key}={value}"]
                for key, items in self.options.ablate.items()
                for value in items
            }
        return [
            ((*point, *extra), label)
            for point in expand(overrides)
            for label, extra in (rows or {None: []}).items()
        ]

    def _winner_of(self, item: str, suffix: str) -> list[str]:
        """The overrides that `study:<name>` stands for; any other item is an override itself."""
        if not item.startswith("study:"):
            return [item]
        if not re.fullmatch(NAME, item.removeprefix("study:")):
            raise ConfigError(f"hydra.sweeper.rows: {item}: {NAME_RULE}")
        path = (
            Path(self.master.runtime.outputs)
            / "sweeps"
            / f"{item.removeprefix('study:')}{suffix}.json"
        )
        if not path.exists():
            raise ConfigError(
                f"hydra.sweeper.rows: {item} has no record {path}; run that study first"
            )
        record = read_record(path)
        if not record.winner:
            raise ConfigError(
                f"hydra.sweeper.rows: {item} is not over yet; to go on: {record.command}"
            )
        space = ", ".join(f"{key} {text}" for key, text in record.space.items())
        self.studies.append(record.name)
        self.budgets.append(f"{record.title}: {record.num_trials} trials over {space}.")
        return [part for part in record.setting if not part.startswith("seed=")]

    def _plan(
        self, points: Sequence[tuple[tuple[str, ...], str | None]], axes: Sequence[str]
    ) -> list[Planned]:
        """Compose, check and address every job before any work.

        Raises:
            AugeanError: for all configs that are wrong, with the first job that each mistake is in.
        """
        jobs, wrong = [], list[tuple[str, str]]()
        for point, label in points:
            try:
                jobs.append(self._plan_job(point, label, axes))
            except (ConfigError, HydraException, OmegaConfBaseException, ValueError) as error:
                if (text := explain_error(error, point)) is None:
                    raise
                wrong.append((text, " ".join(item for item in point if not NOT_PART.match(item))))
        counts = Counter(text for text, _ in wrong)
        if not wrong:
            return jobs
        if len(counts) == 1 and len(wrong) == len(points):
            raise ConfigError(wrong[0][0])  # nothing that a job adds
        first = dict(reversed(wrong))
        raise ConfigError(
            "\n".join(
                text
                + (f"\n  in {first[text]}" + (f" and {count - 1} more" if count > 1 else ""))
                * (not text.startswith(f"{first[text]}:"))
                for text, count in counts.items()
            )
        )

    def _compose(self, point: tuple[str, ...]) -> Config:
        """A job's config as Hydra composes it.

        Choosing files and checking types costs some hundred milliseconds; jobs that differ in
        values alone, such as seeds, share it.
        """
        loader = cast(ConfigLoaderImpl, self.context.config_loader)
        overrides = OverridesParser.create().parse_overrides(list(point))
        values = [
            item for item in overrides if not loader.repository.group_exists(item.key_or_group)
        ]
        if any(item.type == OverrideType.DEL or item.package is not None for item in values):
            values = []  # rare, and left to Hydra as a whole
        shared = tuple(str(item.input_line) for item in overrides if item not in values)
        if shared not in self.composed:
            whole = loader.load_sweep_config(self.master, list(shared))
            self.composed[shared] = fill_schema(
                OmegaConf.masked_copy(whole, [str(name) for name in whole if name != "hydra"])
            )
        config = copy.deepcopy(self.composed[shared])
        loader._apply_overrides_to_config(values, config)
        added = any(item.type != OverrideType.CHANGE for item in values)
        return parse_config(config) if added else check_config(config)

    def _plan_job(self, point: tuple[str, ...], label: str | None, axes: Sequence[str]) -> Planned:
        config = self._compose(point)
        table, flat = config.runtime.table, flatten_config(config)
        keys = [key.strip() for key in table.row.split(",")] if table.row is not None else []
        for key in filter(None, [*keys, table.band]):
            if key not in flat:
                raise ConfigError(
                    f"runtime.table: {key} is no key of the config; for example activation.name"
                )
        values = dict(item.split("=", 1) for item in point if "=" in item)
        parts = [row_label(flat[key]) for key in keys] or [
            values[axis] for axis in axes if axis != "seed"
        ]
        return Planned(point, label or ", ".join(parts) or "all", config, find_address(config))

    def _further_seeds(self, jobs: Sequence[Planned], wanted: Mapping[str, int]) -> list[Planned]:
        """What settling asked for beyond the grid: for each of these rows the next seeds, until it
        has as many.
        """
        points: list[tuple[tuple[str, ...], str | None]] = []
        for row, number in wanted.items():
            own = [job for job in jobs if job.row == row]
            seeds = {job.config.seed for job in own}
            fixed = (
                [item for item in own[0].overrides if not item.startswith("seed=")] if own else []
            )
            further = range(max(seeds) + 1, max(seeds) + 1 + number - len(seeds)) if own else ()
            points += [((*fixed, f"seed={seed}"), row) for seed in further]
        return self._plan(points, [])

    def _extra(self, arguments: list[str]) -> list[str]:
        """The overrides of the command line that change a run or the set of rows."""
        return identifying_overrides([*arguments, *self.master.hydra.overrides.hydra])

    def _suffix(self, arguments: list[str]) -> str:
        extra = self._extra(arguments)
        return "--" + hashlib.sha256("\n".join(extra).encode()).hexdigest()[:8] if extra else ""

    def _draft_record(
        self, config: Config, overrides: Sequence[Override], arguments: list[str]
    ) -> SweepRecord:
        """The sweep's record, still without jobs."""
        table, axes = config.runtime.table, swept_keys(overrides)
        file = str(self.master.hydra.job.config_name)
        name = (
            file
            if file != "config"
            else "+".join(key.lstrip("+") for key in axes if key != "seed") or "runs"
        )
        return SweepRecord(
            name=re.sub(r"[^A-Za-z0-9_.+-]", "_", name[:120] + self._suffix(arguments)),
            title=table.title
            or (
                "Sweep of " + (", ".join(key for key in axes if key != "seed") or "seed")
                if axes
                else "Runs"
            ),
            figure=table.figure,
            note=" ".join(filter(None, [table.note, *self.budgets])) or None,
            command=command_line(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            experiment=self.master.hydra.runtime.choices.get("experiment"),
            overrides=self._extra(arguments),
            studies=self.studies,
            row_key=table.row,
            band=table.band,
            baseline=row_label(table.baseline) if table.baseline is not None else None,
            reference={row_label(row): dict(numbers) for row, numbers in table.reference.items()},
            jobs=[],
        )


def _run_here(job: Planned, trial: str | None, begin: Callable[[], None]) -> Exception | None:
    """Run a job in this process; returns the exception that ended it."""
    from augean.sweeps.job import run_job

    try:
        with env_override({TRIAL: trial} if trial else {}):
            run_job(job.config, begin)
    except Exception as error:
        return error
    return None


def _design(outputs: Path, name: str) -> dict[str, Any]:
    """The sequential design of a table that is being settled: a plain launch of the sweep must not
    forget it.
    """
    path = outputs / "sweeps" / f"{name}.json"
    try:
        return read_record(path).design if path.exists() else {}
    except AugeanError as error:
        raise AugeanError(f"{error}; remove it to have it written anew") from error


def _check_baseline(record: SweepRecord, rows: Sequence[str]) -> None:
    if record.baseline is not None and record.baseline not in rows:
        raise ConfigError(
            f"runtime.table.baseline={record.baseline}: not among the rows"
            f" {', '.join(dict.fromkeys(rows))}; choose one of them with"
            " runtime.table.baseline=..., or none with runtime.table.baseline=null"
        )


def spanning_points(space: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Few points of a search space that together have every choice and both ends of every range."""
    values = {
        key: list(item.choices) if hasattr(item, "choices") else [item.low, item.high]
        for key, item in space.items()
    }
    most = max(map(len, values.values()))
    return [
        {key: items[number % len(items)] for key, items in values.items()} for number in range(most)
    ]


def grid_values(space: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Every value of every key of a search space without continuous ranges."""
    for key, item in space.items():
        if not hasattr(item, "choices") and item.step is None:
            raise ConfigError(
                f"hydra/sweeper/sampler=grid: {key} needs a list of values such as {key}=a,b,c"
            )
    return {
        key: (
            list(item.choices)
            if hasattr(item, "choices")
            else [
                item.low + step * item.step
                for step in range(round((item.high - item.low) / item.step) + 1)
            ]
        )
        for key, item in space.items()
    }


def assignments(params: Mapping[str, Any]) -> list[str]:
    """A trial's point as overrides."""
    return [f"{key}={value}" for key, value in params.items()]


def failure(address: RunAddress, since: float) -> str | None:
    """What failure.txt says, if it was written at or after `since` (seconds of the epoch)."""
    path = address.path / "failure.txt"
    try:
        return path.read_text() if path.stat().st_mtime >= since else None
    except OSError:
        return None


def command_line() -> str:
    """The command that launched this sweep, as a person would type it again."""
    program = "python train.py" if sys.argv[0].endswith("train.py") else "augean train"
    # A storage's password does not belong into a record, which a report prints.
    words = [re.sub(r"(://[^\s:/@]+):[^\s@]+@", r"\1:***@", word) for word in sys.argv[1:]]
    return f"{program} {shlex.join(words)}"
